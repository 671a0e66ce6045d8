"""Time every registered method on one thread; where real pairs are at hand, compare with the images their authors' programs made.

Usage: python benchmarks/bench_methods.py [--part speed|fidelity] [--width 640 --height 480 --repeats 3] [--pairs 6] [--shared DIR]
VIFB's programs fuse the channels of a colour picture one by one and this one the luma, so that theirs agrees only nearly.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from prior.arrays import Image, to_image
from prior.examples import make_examples
from prior.pictures import Decoded, read_picture
from prior.registry import Method, methods

SHARED = Path(__file__).resolve().parents[2] / "shared"
RIM = 18  # px, left out of the comparison: TIF treats its borders otherwise, by intent


SETS = {"vifb": ("ir", "vis"), "tno": ("ir", "vis"), "roadscene": ("ir", "vis"), "lytro": ("a", "b")}
PUBLISHED_AS = {("lytro", "MST_SR"): "lp_sr"}  # where a set's folder has another name than the method; RoadScene's MST_SR is not LP-SR


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a method is to the published images of its name on one set: medians over the pairs, and the lowest correlation."""

    method: str
    set: str
    correlation: float
    lowest: float
    psnr: float
    pairs: int


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Time every registered method, and compare it with published images of its name.")
    parser.add_argument("--part", choices=("speed", "fidelity", "all"), default="all")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=6, help="pairs of each set that are compared, 0 for all")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds data/vifb and the others")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console()
    if arguments.part != "fidelity":
        title = f"{arguments.width} x {arguments.height} px, one thread, median of {arguments.repeats} rounds"
        console.print(show_speed(title, measure(arguments.height, arguments.width, arguments.repeats)))
    if arguments.part != "speed":
        console.print(show_fidelity(compare_all(arguments.shared, arguments.pairs)))


def measure(height: int, width: int, repeats: int) -> dict[str, float]:
    """The median time of every method in ms; rounds go over all methods, so that a busy moment hits each of them alike."""
    a, b = draw_pair(height, width)
    for method in methods().values():
        method.fuse(a, b)  # first use, compilation included
    rounds = [{name: time_once(method, a, b) for name, method in methods().items()} for _ in range(repeats)]
    return {name: statistics.median(one[name] for one in rounds) for name in methods()}


def draw_pair(height: int, width: int) -> tuple[Image, Image]:
    """The first infrared-visible example pair, resized."""
    example = next(one for one in make_examples() if one.task == "infrared-visible")
    a, b = (to_image(cv2.resize(picture, (width, height)).astype(np.uint8)) for picture in (example.a, example.b))
    return a, b


def time_once(method: Method, a: Image, b: Image) -> float:
    """The time of one call in ms."""
    started = time.perf_counter()
    method.fuse(a, b)
    return 1e3 * (time.perf_counter() - started)


def compare_all(shared: Path, pairs: int) -> list[Agreement]:
    """How near each method is to the published images of its name, set by set, for the first `pairs` pairs of each."""
    found = []
    for name, (a, b) in SETS.items():
        folder = shared / "data" / name
        if not (folder / "fused").is_dir():
            continue
        for published in sorted((folder / "fused").iterdir()):
            method = methods().get(PUBLISHED_AS.get((name, published.name), published.name.lower()))
            if method:
                figures = np.array(list(compare_pairs(method, folder / a, folder / b, published, pairs)))
                if not len(figures):  # every chosen pair is defective
                    continue
                correlation, psnr = np.median(figures, axis=0)
                found.append(Agreement(method.name, name, float(correlation), float(figures[:, 0].min()), float(psnr), len(figures)))
    return found


def compare_pairs(method: Method, first: Path, second: Path, published: Path, pairs: int) -> Iterator[tuple[float, float]]:
    """Correlation and PSNR in dB of our luma and the published one's, pair by pair."""
    for path in sorted(published.iterdir())[: pairs or None]:
        a, b, theirs = (read_picture(find_file(folder, path.stem)) for folder in (first, second, published))
        if is_defective(method.name, a):
            continue
        ours = np.clip(method.fuse(to_image(a.pixels), to_image(b.pixels)), 0, 1)[RIM:-RIM, RIM:-RIM]
        wanted = to_image(theirs.pixels)[RIM:-RIM, RIM:-RIM]
        yield float(np.corrcoef(ours.ravel(), wanted.ravel())[0, 1]), float(-10 * np.log10(np.mean((ours - wanted) ** 2)))


def find_file(folder: Path, stem: str) -> Path:
    """The file of this stem, whatever its extension."""
    return next(path for path in folder.iterdir() if path.stem == stem)


def is_defective(name: str, infrared: Decoded) -> bool:
    """Whether a published image is no image of its method.

    Where the infrared file has one channel, the loader of the published GFF wrote it into the visible's green channel.
    """
    return name == "gff" and infrared.format.endswith("grey8")


def show_speed(title: str, times: Mapping[str, float]) -> Table:
    """Milliseconds per method, fastest first, and their sum."""
    table = Table(title=title, title_justify="left")
    for column in ("method", "family", "cost", "ms"):
        table.add_column(column, justify="right" if column == "ms" else "left", no_wrap=True)
    for name in sorted(times, key=lambda one: times[one]):
        table.add_row(name, methods()[name].family, methods()[name].cost, f"{times[name]:.1f}")
    light = sum(time < 1000 for time in times.values())
    table.add_row(f"all {len(times)}", "", f"{light} under 1 s", f"{sum(times.values()):.1f}", style="bold")
    return table


def show_fidelity(agreements: Sequence[Agreement]) -> Table:
    """How near each method is to its published images."""
    title = f"Against the published images of the same method: luma, without a rim of {RIM} px, medians over the pairs"
    table = Table(title=title, title_justify="left")
    for column in ("method", "set", "correlation", "lowest", "PSNR, dB", "pairs"):
        table.add_column(column, justify="left" if column in ("method", "set") else "right", no_wrap=True)
    for one in sorted(agreements, key=lambda one: (one.method, one.set)):
        table.add_row(one.method, one.set, f"{one.correlation:.4f}", f"{one.lowest:.4f}", f"{one.psnr:.1f}", str(one.pairs))
    return table


if __name__ == "__main__":
    main()
