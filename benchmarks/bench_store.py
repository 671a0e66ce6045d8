"""Compare ways to keep pairs: one raw array per pair (what the store does), the same with zstd, PNG files, one Parquet column.

Usage: python benchmarks/bench_store.py [--pairs 5000 --size 160x120 --reads 1000]

A pair is two grey sources and a winner in colour: five planes, smooth with noise. Every way writes the same pairs and reads the same ones
back in random order, after the system was asked to forget the files.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
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
from rich.console import Console
from rich.table import Table
from zarr.codecs import ZstdCodec

from storage.planes import stack
from storage.repository import IMAGES, MAIN, MANIFEST, Draft, ImageChange, array_path, create_store, find_head
from storage.snapshot import open_snapshot

Picture = NDArray[np.uint8]
Pair = dict[str, Picture]
Commit = Callable[[], object]
Read = Callable[[int], Pair]

NAME = "pair_{:06d}"
SCENES = 32  # so many are drawn and then written again under other names
ROWS = 64  # per row group of the Parquet file


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
    return lambda: draft.commit("all", {}, {})


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
    snapshot = open_snapshot(str(folder))
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


def main() -> None:
    """Print one row per way."""
    parser = argparse.ArgumentParser(description="Compare ways to keep pairs.")
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--size", default="160x120", help="width x height")
    parser.add_argument("--reads", type=int, default=1000)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    rng = np.random.default_rng(0)
    scenes = [draw_pair(rng, height, width) for _ in range(SCENES)]
    order = rng.permutation(arguments.pairs)[: arguments.reads].tolist()
    megabytes = arguments.pairs * 5 * width * height / 1e6
    table = Table("way", title=f"{arguments.pairs} pairs of 5 planes of {width} x {height} pixels: {megabytes:.0f} MB")
    for heading in ("write, ms/pair", "commit, s", "open, s", "random read, ms/pair", "on disk, MB", "files"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as place:
        for way in WAYS:
            write, commit, opened, read, size, files = measure(way, Path(place) / "kept", scenes, arguments.pairs, order)
            shutil.rmtree(Path(place) / "kept")
            table.add_row(way.name, f"{write:.2f}", f"{commit:.2f}", f"{opened:.3f}", f"{read:.2f}", f"{size:.0f}", f"{files:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
