"""Crops for training: from the store by the trainer's loader, and from three PNG files per pair.

Usage: python benchmarks/bench_loader.py [--size 640x480 --crop 128 --batch 8 --rounds 7]

The example scenes in colour, enlarged and with a camera's noise, each as a grey infrared picture, a visible one in colour and a winner in
colour, are kept both ways. In every round each way makes one random crop of every pair, as luma in batches; it computes the luma of the
crop alone. All files lie in the system's memory. "kept" is the loader with the pictures in its own memory; the others read every time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from prior.arrays import luma
from prior.example_scenes import make_scenes
from storage.planes import stack
from storage.repository import IMAGES, Draft, ImageChange, create_store, find_head
from storage.schema import OK, PAIRS, SCHEMA_VERSION, SELECTIONS, TRAIN, PairRow, SelectionRow, scores_schema
from storage.tables import to_table, write_table
from train.data import Crop, Crops, load_batches, stack_crops

Picture = NDArray[np.uint8]
Pair = dict[str, Picture]
Run = Callable[[int], None]
"""Makes one crop of every pair; the argument is the round."""

NAMES = ("a", "b", "winner")
NOISE = 2.0  # grey levels


@dataclass(frozen=True, slots=True)
class Decoder:
    """Reads a PNG file as a picture and cuts a window out of it, `(H, W)` or RGB."""

    name: str
    read: Callable[[Path], Picture]
    to_rgb: Callable[[Picture], Picture]


def flip_channels(picture: Picture) -> Picture:
    """From BGR to RGB; grey stays grey."""
    return picture if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, ::-1])


DECODERS = (
    Decoder("Pillow", lambda path: np.asarray(Image.open(path)), lambda picture: picture),
    Decoder("OpenCV", lambda path: np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8), flip_channels),
)


def draw_pairs(width: int, height: int, copies: int) -> Iterator[tuple[str, Pair]]:
    """The example scenes that are in colour, with the mean of the two for a winner."""
    rng = np.random.default_rng(0)
    in_colour = [scene for scene in make_scenes() if scene[1].ndim == 3]
    for number, scene in enumerate(in_colour):
        large = [cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in scene]
        for copy in range(copies):
            a, b = (np.clip(one + NOISE * rng.standard_normal(one.shape), 0, 255).astype(np.uint8) for one in large)
            winner = np.asarray(cv2.addWeighted(np.dstack([a] * 3), 0.5, b, 0.5, 0), np.uint8)
            yield f"scene_{number:02}_{copy:02}", {"a": a, "b": b, "winner": winner}


def keep_pairs(folder: Path, pairs: Iterator[tuple[str, Pair]]) -> list[str]:
    """Write pairs into a store and as PNG files; their ids."""
    store = create_store(str(folder / "store"))
    draft = Draft(store, find_head(store))
    rows = []
    for pair_id, pair in pairs:
        planes, names = stack(pair)
        draft.put(IMAGES, pair_id, ImageChange(planes, names, {}))
        for name in NAMES:
            # OpenCV's files are a little larger than Pillow's, and faster to decode
            cv2.imwrite(str(find_file(folder, pair_id, name)), flip_channels(pair[name]))
        height, width = pair["a"].shape
        rows.append(PairRow(pair_id=pair_id, source="", task="", status=OK, height=height, width=width, group=pair_id, split=TRAIN))
    selected = [SelectionRow(pair_id=one.pair_id, method="", content_key="", value=1.0) for one in rows]
    tables = {"pairs": to_table(rows, PAIRS), "scores": to_table([], scores_schema(())), "selections": to_table(selected, SELECTIONS)}
    references = {name: write_table(store.files, name, table).to_json() for name, table in tables.items()}
    with draft:
        draft.commit("all", {"schema_version": SCHEMA_VERSION, "tables": references}, {})
        draft.publish()
    return [one.pair_id for one in rows]


def find_file(folder: Path, pair_id: str, name: str) -> Path:
    """Where a picture's PNG file is."""
    return folder / f"{pair_id}.{name}.png"


def make_loader_run(crops: Crops, batch: int) -> Run:
    """An epoch of the trainer's loader, in this process."""
    steps = len(crops) // batch

    def run(number: int) -> None:
        for _ in load_batches(crops, start=number * steps, steps=steps, batch=batch):
            pass

    return run


def make_png_run(folder: Path, pair_ids: list[str], size: int, batch: int, decoder: Decoder) -> Run:
    """The same from files."""

    def cut(pair_id: str, rng: np.random.Generator) -> Crop:
        pictures = [decoder.read(find_file(folder, pair_id, name)) for name in NAMES]
        top, left = (int(rng.integers(side - size + 1)) for side in pictures[0].shape[:2])
        windows = (decoder.to_rgb(one[top : top + size, left : left + size]) for one in pictures)
        a, b, winner = (torch.from_numpy(np.array(luma(one)))[None] for one in windows)
        return Crop(a, b, winner, 1.0, pair_id)

    def run(number: int) -> None:
        rng = np.random.default_rng(number)
        order = rng.permutation(len(pair_ids))
        for first in range(0, len(order), batch):
            stack_crops([cut(pair_ids[index], rng) for index in order[first : first + batch]])

    return run


def check_files(folder: Path, pair_id: str, pair: Pair) -> None:
    """Stop where a decoder reads another picture than was written."""
    for decoder in DECODERS:
        if not all(np.array_equal(decoder.to_rgb(decoder.read(find_file(folder, pair_id, name))), pair[name]) for name in NAMES):
            raise SystemExit(f"{decoder.name} does not read back what was written")


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """The seconds of every round, the ways taking turns; a first round that is not counted fills every memory."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run(number)
            seconds[name].append(time.perf_counter() - started)
    return {name: each[1:] for name, each in seconds.items()}


def main() -> None:
    """Print one row per way."""
    parser = argparse.ArgumentParser(description="Crops from the store and from PNG files.")
    parser.add_argument("--size", default="640x480", help="width x height")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8, help="crops per batch, and copies of every scene, so that the last batch is full")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pair_ids = keep_pairs(folder, draw_pairs(width, height, arguments.batch))
        check_files(folder, *next(draw_pairs(width, height, 1)))
        ways = {f"three PNG files, {one.name}": make_png_run(folder, pair_ids, arguments.crop, arguments.batch, one) for one in DECODERS}
        for name, kept_bytes in (("store", 0), ("store, kept", 2**40)):
            crops = Crops(str(folder / "store"), "main", TRAIN, luma, size=arguments.crop, seed=0, kept_bytes=kept_bytes)
            ways[name] = make_loader_run(crops, arguments.batch)
        seconds = measure(ways, arguments.rounds)
    medians = {name: statistics.median(each) / len(pair_ids) * 1e3 for name, each in seconds.items()}
    fastest = min(median for name, median in medians.items() if "PNG" in name)
    table = Table(
        "way", title=f"One crop of {arguments.crop} px from each of {len(pair_ids)} pairs of {width} x {height}, {arguments.rounds} rounds"
    )
    for heading in ("ms/pair, median", "fastest … slowest round", "pairs/s", "faster than the faster PNG"):
        table.add_column(heading, justify="right")
    for name, median in medians.items():
        spread = f"{min(seconds[name]) / len(pair_ids) * 1e3:.2f} … {max(seconds[name]) / len(pair_ids) * 1e3:.2f}"
        table.add_row(name, f"{median:.2f}", spread, f"{1e3 / median:.0f}", f"{fastest / median:.1f}×")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
