"""Compare ways to keep pairs: one raw array per pair (what the store does), the same with zstd, PNG files, one Parquet column.

Usage: python benchmarks/bench_store.py [--pairs 5000 --size 160x120 --reads 1000] [--part all, ways, triples or snapshot]

A pair is two grey sources and a winner in colour: five planes, smooth with noise. Every way writes the same pairs and reads the same ones
back in random order, after the system was asked to forget the files.

Then the reader that users have, with everything in the system's memory: one pair of 640 x 480 pixels at random from a snapshot, against
three PNG files by OpenCV and by Pillow, turn by turn. At last a snapshot of 10,000 pairs of 64 x 64 pixels, 20 methods and 8 metrics: what
publishing it takes step by step, and opening it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from zarr.codecs import ZstdCodec

from storage.planes import stack
from storage.repository import IMAGES, MAIN, MANIFEST, Draft, ImageChange, Store, array_path, create_store, find_head
from storage.schema import OK, PAIRS, SCHEMA_VERSION, SELECTIONS, PairRow, ScoreRow, SelectionRow, scores_schema
from storage.seals import write_seal
from storage.snapshot import Snapshot
from storage.tables import TableReference, to_table, write_table

Picture = NDArray[np.uint8]
Pair = dict[str, Picture]
Commit = Callable[[], object]
Read = Callable[[int], Pair]

NAME = "pair_{:06d}"
SCENES = 32  # so many are drawn and then written again under other names
ROWS = 64  # per row group of the Parquet file
THREADS = 4  # images written or read back at once, as in a build

TRIPLES, TRIPLE_SIZE, ROUNDS = 32, (480, 640), 15
SNAPSHOT_PAIRS, SNAPSHOT_SIZE, OPENINGS = 10_000, (64, 64), 5
METHODS = tuple(f"method_{number:02d}" for number in range(20))
METRICS = tuple(f"metric_{number}" for number in range(8))
PARTS = ("all", "ways", "triples", "snapshot")

Steps = dict[str, float]
"""Seconds by what they were spent on."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to keep pairs: `write` takes pairs one by one and gives back what commits them, `open_reader` opens what was committed."""

    name: str
    write: Callable[[Path, Iterator[Pair]], Commit]
    open_reader: Callable[[Path], Read]


def draw_pair(rng: np.random.Generator, height: int, width: int) -> Pair:
    """Two grey pictures and one in colour, smooth with a little noise."""
    planes = [draw_plane(rng, height, width) for _ in range(5)]
    return {"a": planes[0], "b": planes[1], "winner": np.dstack(planes[2:])}


def draw_plane(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Shapes of several sizes, and the noise of a camera."""
    scene = sum(cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), sigma) * sigma for sigma in (2, 6, 18))
    noisy = 128 + 60 * scene / np.std(scene) + 3 * rng.standard_normal((height, width))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def write_raw(folder: Path, pairs: Iterator[Pair]) -> Commit:
    """One uncompressed array per pair, by the store's own code."""
    store = create_store(str(folder))
    draft = Draft(store, find_head(store))
    for number, pair in enumerate(pairs):
        planes, names = stack(pair)
        draft.put(IMAGES, NAME.format(number), ImageChange(planes, names, {}))

    def commit() -> None:
        with draft:
            draft.commit("all", {}, {})
            draft.publish()

    return commit


def write_zstd(folder: Path, pairs: Iterator[Pair]) -> Commit:
    """The same arrays, compressed."""
    session = create_store(str(folder)).repository.writable_session(MAIN)
    root = zarr.open_group(session.store, mode="a")
    root.attrs[MANIFEST] = {}
    codec = ZstdCodec(level=1)
    for number, pair in enumerate(pairs):
        planes, names = stack(pair)
        path = array_path(IMAGES, NAME.format(number))
        attributes: dict[str, Any] = {"planes": list(names)}
        array = root.create_array(path, shape=planes.shape, chunks=planes.shape, dtype="uint8", compressors=codec, attributes=attributes)
        array[:] = planes
    return lambda: session.commit("all")


def open_store_reader(folder: Path) -> Read:
    """Read by the store's own code."""
    snapshot = Snapshot(str(folder))
    return lambda number: snapshot.pictures(NAME.format(number))


def write_png(folder: Path, pairs: Iterator[Pair]) -> Commit:
    """Three files per pair."""
    folder.mkdir()
    for number, pair in enumerate(pairs):
        for name, picture in pair.items():
            cv2.imwrite(str(folder / f"{NAME.format(number)}.{name}.png"), picture)
    return lambda: None


def open_png_reader(folder: Path) -> Read:
    """Read the files by name, once it is known which there are."""
    names = sorted({path.name.partition(".")[0] for path in folder.iterdir()})
    paths = [{one: f"{folder}/{name}.{one}.png" for one in ("a", "b", "winner")} for name in names]
    return lambda number: {one: np.asarray(cv2.imread(path, cv2.IMREAD_UNCHANGED), np.uint8) for one, path in paths[number].items()}


def write_parquet(folder: Path, pairs: Iterator[Pair]) -> Commit:
    """One uncompressed column of bytes; the footer, which the file needs, is the commit."""
    folder.mkdir()
    schema = pa.schema([("planes", pa.binary())])
    writer = pq.ParquetWriter(folder / "pairs.parquet", schema, compression="none", use_dictionary=False, write_statistics=False)
    while group := [stack(pair)[0] for pair in islice(pairs, ROWS)]:
        writer.write_table(pa.table([pa.array([planes.tobytes() for planes in group], pa.binary())], schema=schema))
        writer.add_key_value_metadata({"planes": ",".join(map(str, group[0].shape))})
    return writer.close  # type: ignore[no-any-return]


def open_parquet_reader(folder: Path) -> Read:
    """Read the row group that a pair is in."""
    file = pq.ParquetFile(folder / "pairs.parquet")
    count, height, width = map(int, file.metadata.metadata[b"planes"].split(b","))

    def read(number: int) -> Pair:
        content = file.read_row_group(number // ROWS)["planes"][number % ROWS].as_buffer()
        planes = np.frombuffer(content, np.uint8).reshape(count, height, width)
        return {"a": planes[0], "b": planes[1], "winner": np.ascontiguousarray(np.moveaxis(planes[2:], 0, 2))}

    return read


WAYS = (
    Way("raw array per pair (the store)", write_raw, open_store_reader),
    Way("zstd array per pair", write_zstd, open_store_reader),
    Way("three PNG files per pair", write_png, open_png_reader),
    Way("one Parquet column", write_parquet, open_parquet_reader),
)


def measure(way: Way, folder: Path, scenes: list[Pair], pairs: int, order: list[int]) -> tuple[float, ...]:
    """Write ms per pair, commit s, open s, read ms per pair, MB on the disk, files."""
    started = time.perf_counter()
    commit = way.write(folder, (scenes[number % len(scenes)] for number in range(pairs)))
    written = time.perf_counter()
    commit()
    committed = time.perf_counter()
    size, files = forget(folder)
    opening = time.perf_counter()
    read = way.open_reader(folder)
    opened = time.perf_counter()
    for number in order:
        read(number)
    done = time.perf_counter()
    found, wanted = read(order[0]), scenes[order[0] % len(scenes)]
    if not all(np.array_equal(found[name], wanted[name]) for name in wanted):
        raise SystemExit(f"{way.name} does not read back what was written")
    return (written - started) / pairs * 1e3, committed - written, opened - opening, (done - opened) / len(order) * 1e3, size / 1e6, files


def forget(folder: Path) -> tuple[int, int]:
    """Ask the system to drop the files below a folder from memory; the bytes that they take on the disk, and how many they are."""
    os.sync()
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in paths:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(path.stat().st_blocks * 512 for path in paths), len(paths)


def compare_ways(pairs: int, size: tuple[int, int], reads: int) -> Table:
    """One row per way."""
    width, height = size
    rng = np.random.default_rng(0)
    scenes = [draw_pair(rng, height, width) for _ in range(SCENES)]
    order = rng.permutation(pairs)[:reads].tolist()
    megabytes = pairs * 5 * width * height / 1e6
    table = Table("way", title=f"{pairs} pairs of 5 planes of {width} x {height} pixels: {megabytes:.0f} MB")
    for heading in ("write, ms/pair", "commit, s", "open, s", "random read, ms/pair", "on disk, MB", "files"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as place:
        for way in WAYS:
            write, commit, opened, read, size_kept, files = measure(way, Path(place) / "kept", scenes, pairs, order)
            shutil.rmtree(Path(place) / "kept")
            table.add_row(way.name, f"{write:.2f}", f"{commit:.2f}", f"{opened:.3f}", f"{read:.2f}", f"{size_kept:.0f}", f"{files:.0f}")
    return table


def read_with_pillow(folder: Path) -> Read:
    """Read the PNG files of a pair by Pillow."""
    return lambda number: {
        one: np.asarray(Image.open(f"{folder}/{NAME.format(number)}.{one}.png"), np.uint8) for one in ("a", "b", "winner")
    }


def compare_triples() -> Table:
    """A random read of one pair, a row per reader: the median, and how many times the snapshot's that is."""
    height, width = TRIPLE_SIZE
    rng = np.random.default_rng(0)
    scenes = [draw_pair(rng, height, width) for _ in range(TRIPLES)]
    with tempfile.TemporaryDirectory() as place:
        kept, files = Path(place) / "store", Path(place) / "files"
        publish(create_store(str(kept)), scenes, TRIPLES)
        write_png(files, iter(scenes))
        snapshot = Snapshot(str(kept))
        reads: dict[str, Callable[[int], object]] = {
            "Snapshot.pair": snapshot.pair,
            "Snapshot.pictures": lambda number: snapshot.pictures(NAME.format(number)),
            "three PNG files, OpenCV": open_png_reader(files),
            "three PNG files, Pillow": read_with_pillow(files),
        }
        seconds: dict[str, list[float]] = {name: [] for name in reads}
        for number in [*range(TRIPLES), *(int(one) for _ in range(ROUNDS) for one in rng.permutation(TRIPLES))]:
            for name in rng.permutation(list(reads)).tolist():  # or one of them would always follow the same other
                started = time.perf_counter()
                reads[name](number)
                seconds[name].append(time.perf_counter() - started)
    table = Table("read", title=f"A random pair of 5 planes of {width} x {height} pixels, warm, median of {ROUNDS * TRIPLES}")
    table.add_column("ms", justify="right")
    table.add_column("times the snapshot's", justify="right")
    medians = {name: statistics.median(some[TRIPLES:]) for name, some in seconds.items()}  # the first of each warms
    for name, median in medians.items():
        table.add_row(name, f"{median * 1e3:.2f}", f"{median / medians['Snapshot.pair']:.1f}")
    return table


def publish(store: Store, scenes: list[Pair], count: int) -> Steps:
    """Publish a snapshot of so many pairs in the steps of a build."""
    steps: Steps = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        steps[name], clock = time.perf_counter() - clock, time.perf_counter()

    stacked = [stack(scene) for scene in scenes]
    pair_ids = [NAME.format(number) for number in range(count)]
    with Draft(store, find_head(store)) as draft, ThreadPoolExecutor(THREADS) as pool:
        lap("start the draft")
        changes = [ImageChange(*stacked[number % len(stacked)], {"pair_hash": "", "winner": METHODS[0]}) for number in range(count)]
        list(pool.map(lambda number: draft.put(IMAGES, pair_ids[number], changes[number]), range(count)))
        lap("write the images")
        references = write_tables(store, pair_ids)
        lap("write the tables")
        manifest = {"schema_version": SCHEMA_VERSION, "tables": {name: one.to_json() for name, one in references.items()}}
        snapshot_id = draft.commit("all", manifest, {})
        lap("commit")
        list(pool.map(Snapshot(store, snapshot_id).image_hash, pair_ids))
        lap("read every image back")
        write_seal(store, snapshot_id, draft, references.values())
        lap("write the seal")
        draft.publish("v1")
        lap("publish: main and tag")
    return steps


def write_tables(store: Store, pair_ids: list[str]) -> dict[str, TableReference]:
    """The tables of a snapshot in which every method has a score for every pair."""
    rng = np.random.default_rng(0)
    digests = [rng.bytes(32).hex() for _ in pair_ids]
    shared: dict[str, Any] = {"source": "made", "task": "infrared-visible", "status": OK, "height": 64, "width": 64, "split": "train"}
    pairs = [
        PairRow(pair_id=name, a_hash=digest, b_hash=digest[::-1], pair_hash=digest, array=array_path(IMAGES, name), **shared)
        for name, digest in zip(pair_ids, digests, strict=True)
    ]
    numbers = rng.random((len(pair_ids), len(METHODS), len(METRICS)))
    scores = [
        ScoreRow(
            pair_id=name,
            method=method,
            version="1",
            content_key=f"{digests[one]}{method}",
            status=OK,
            seconds=0.1,
            scores=dict(zip(METRICS, numbers[one, other].tolist(), strict=True)),
        )
        for one, name in enumerate(pair_ids)
        for other, method in enumerate(METHODS)
    ]
    selections = [
        SelectionRow(pair_id=name, method=METHODS[0], content_key=digest, value=1.0, runner_up=METHODS[1], margin=0.1, image_hash=digest)
        for name, digest in zip(pair_ids, digests, strict=True)
    ]
    return {
        "pairs": write_table(store.files, "pairs", to_table(pairs, PAIRS)),
        "scores": write_table(store.files, "scores", to_table(scores, scores_schema(METRICS))),
        "selections": write_table(store.files, "selections", to_table(selections, SELECTIONS)),
    }


def measure_snapshot() -> Table:
    """What it takes to publish a large snapshot, and to open it: the medians of several openings."""
    height, width = SNAPSHOT_SIZE
    rng = np.random.default_rng(0)
    scenes = [draw_pair(rng, height, width) for _ in range(SCENES)]
    table = Table("step", title=f"A snapshot of {SNAPSHOT_PAIRS} pairs of 5 planes of {width} x {height} pixels, {len(METHODS)} methods")
    table.add_column("seconds", justify="right")
    with tempfile.TemporaryDirectory() as place:
        for step, seconds in publish(create_store(place), scenes, SNAPSHOT_PAIRS).items():
            table.add_row(step, f"{seconds:.2f}")
        table.add_section()
        openings = [open_snapshot(place) for _ in range(OPENINGS)]
    for step in openings[0]:
        table.add_row(step, f"{statistics.median(one[step] for one in openings):.3f}")
    return table


def open_snapshot(address: str) -> Steps:
    """Open a snapshot and read what everybody reads first."""
    times = [time.perf_counter()]
    snapshot = Snapshot(address)
    times.append(time.perf_counter())
    snapshot.pair(len(snapshot) // 2)
    times.append(time.perf_counter())
    for name in ("selections", "pairs", "scores"):
        snapshot.table(name)
        times.append(time.perf_counter())
    names = ("open: Snapshot(path)", "first pair, with the list of pairs", "table: selections", "table: pairs", "table: scores")
    steps = dict(zip(names, np.diff(times).tolist(), strict=True))
    return steps | {"open and first pair": sum(list(steps.values())[:2])}


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description="Compare ways to keep pairs.")
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--size", default="160x120", help="width x height")
    parser.add_argument("--reads", type=int, default=1000)
    parser.add_argument("--part", choices=PARTS, default=PARTS[0])
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    parts: dict[str, Callable[[], Table]] = {
        "ways": lambda: compare_ways(arguments.pairs, (width, height), arguments.reads),
        "triples": compare_triples,
        "snapshot": measure_snapshot,
    }
    for name, make in parts.items():
        if arguments.part in ("all", name):
            Console(width=120).print(make())


if __name__ == "__main__":
    main()
