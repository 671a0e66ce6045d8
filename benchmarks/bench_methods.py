"""Time every registered method on one thread; where real pairs are at hand, compare with the images their authors' programs made.

Usage: python benchmarks/bench_methods.py [--width 640 --height 480 --repeats 10] [--shared DIR]
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a method is to the published images of the same name, median over the pairs."""

    correlation: float
    psnr: float
    pairs: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time every registered method on one thread.")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds data/vifb with published images")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    times = measure(arguments.height, arguments.width, arguments.repeats)
    agreements = compare_all(arguments.shared / "data" / "vifb")
    title = f"{arguments.width} x {arguments.height} px, one thread, median of {arguments.repeats} rounds"
    Console().print(lay_out(title, times, agreements))


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


def compare_all(vifb: Path) -> dict[str, Agreement]:
    """By name, how near each method is to the published folder of the same name in lower case; empty where there are none."""
    if not (vifb / "fused").is_dir():
        return {}
    folders = {folder.name.lower(): folder for folder in (vifb / "fused").iterdir()}
    return {name: compare(method, vifb, folders[name]) for name, method in methods().items() if name in folders}


def compare(method: Method, vifb: Path, published: Path) -> Agreement:
    """The agreement of one method with its published images."""
    found = np.array(list(compare_pairs(method, vifb, published)))
    correlation, psnr = np.median(found, axis=0)
    return Agreement(float(correlation), float(psnr), len(found))


def compare_pairs(method: Method, vifb: Path, published: Path) -> Iterator[tuple[float, float]]:
    """Correlation and PSNR in dB of our luma and the published one's, pair by pair (a = infrared, b = visible)."""
    for path in sorted(published.iterdir()):
        a, b, theirs = (read_picture(folder / path.name) for folder in (vifb / "ir", vifb / "vis", published))
        if is_defective(method.name, a):
            continue
        ours = np.clip(method.fuse(to_image(a.pixels), to_image(b.pixels)), 0, 1)[RIM:-RIM, RIM:-RIM]
        wanted = to_image(theirs.pixels)[RIM:-RIM, RIM:-RIM]
        yield float(np.corrcoef(ours.ravel(), wanted.ravel())[0, 1]), float(-10 * np.log10(np.mean((ours - wanted) ** 2)))


def is_defective(name: str, infrared: Decoded) -> bool:
    """Whether a published image is no image of its method.

    Where the infrared file has one channel, the loader of the published GFF wrote it into the visible's green channel.
    """
    return name == "gff" and infrared.format.endswith("grey8")


def lay_out(title: str, times: Mapping[str, float], agreements: Mapping[str, Agreement]) -> Table:
    """The table, fastest first."""
    caption = f"against the published images of VIFB: medians over the pairs, luma, without a rim of {RIM} px" if agreements else None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for column in ("method", "family", "ms", *(("correlation", "PSNR, dB", "pairs") if agreements else ())):
        table.add_column(column, justify="left" if column in ("method", "family") else "right", no_wrap=True)
    for name in sorted(times, key=lambda one: times[one]):
        table.add_row(name, methods()[name].family, f"{times[name]:.1f}", *show(agreements.get(name)))
    return table


def show(agreement: Agreement | None) -> tuple[str, ...]:
    """The cells of an agreement, none where there is nothing to compare with."""
    if agreement is None:
        return ()
    return f"{agreement.correlation:.4f}", f"{agreement.psnr:.1f}", str(agreement.pairs)


if __name__ == "__main__":
    main()
