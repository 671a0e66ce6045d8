"""Time the metrics of the named criteria on one thread, beside plain float64 SciPy in the same run.

Usage: python benchmarks/bench_score.py [--width 640 --height 480 --repeats 20]
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.metrics import qabf, ssim, vif
from prior.registry import metrics
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]

FAMILIES = {"SSIM (L=255 and L=2)": ("ssim", "ssim_a", "ssim_b", "ssim_l2"), "VIF": ("vif", "vif_a", "vif_b"), "Qabf": ("qabf",)}
PREPARATIONS = (ssim._prepare, vif._prepare, qabf._prepare)


def main() -> None:
    """Print the times and the largest error."""
    parser = argparse.ArgumentParser(description="Time the metrics of the named criteria on one thread.")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    reference = load_reference()
    a, b, candidates = make_scene(arguments.height, arguments.width)
    print(f"{arguments.width} x {arguments.height} px, one thread, median of {arguments.repeats} rounds over {len(candidates)} candidates")
    started = time.perf_counter()
    sources = prepare(a, b)
    everything = tuple(name for names in FAMILIES.values() for name in names)
    scores = [judge(f, sources, everything) for f in candidates]
    report("first use, compilation or its cache included", 1e3 * (time.perf_counter() - started))
    report("source statistics, once per pair", measure(lambda: prepare(a, b), arguments.repeats))
    for family, names in FAMILIES.items():
        report(f"{family}, per candidate", measure_judging(candidates, sources, names, arguments.repeats))
    total = measure_judging(candidates, sources, everything, arguments.repeats)
    report("all of them, per candidate", total)
    plain = measure(lambda: reference.score(a, b, candidates[0]), max(3, arguments.repeats // 10))
    report(f"plain float64 SciPy, per candidate ({plain / total:.0f} times slower)", plain)
    print(f"largest error against it: {largest_error(scores, [reference.score(a, b, f) for f in candidates]):.1e}")


def make_scene(height: int, width: int) -> tuple[Grey, Grey, list[Grey]]:
    """Two smooth noisy sources and four candidates made from them."""
    rng = np.random.default_rng(0)
    a, b = (draw(rng, height, width) for _ in range(2))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, [np.maximum(a, b), average, cv2.GaussianBlur(average, (0, 0), 1.5), a]


def draw(rng: np.random.Generator, height: int, width: int) -> Grey:
    """Shapes at three scales and a little noise, over the whole range of levels."""
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) * sigma for sigma in (2.0, 8.0, 32.0)]
    image = sum(layers, np.zeros((height, width)))
    levels: Grey = np.clip(128 + 60 * image / image.std() + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    return levels


def prepare(a: Grey, b: Grey) -> Sources:
    """A pair with every source statistic computed."""
    sources = Sources(a, b)
    for one in PREPARATIONS:
        sources.once(one)
    return sources


def judge(f: Grey, sources: Sources, names: tuple[str, ...]) -> dict[str, float]:
    """The named metrics of one candidate."""
    fused = Fused(f, sources)
    return {name: metrics()[name].judge(fused) for name in names}


def judge_all(candidates: list[Grey], sources: Sources, names: tuple[str, ...]) -> None:
    """Judge every candidate once."""
    for f in candidates:
        judge(f, sources, names)


def measure_judging(candidates: list[Grey], sources: Sources, names: tuple[str, ...], repeats: int) -> float:
    """The median time of the named metrics for one candidate in ms."""
    return measure(lambda: judge_all(candidates, sources, names), repeats) / len(candidates)


def measure(work: Callable[[], Any], repeats: int) -> float:
    """The median time of one call in ms."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def report(what: str, milliseconds: float) -> None:
    """Print one line of the table."""
    print(f"{milliseconds:9.1f} ms  {what}")


def largest_error(scores: list[dict[str, float]], expected: list[dict[str, float]]) -> float:
    """The largest difference between two lists of scores."""
    return max(abs(one[name] - other[name]) for one, other in zip(scores, expected, strict=True) for name in one)


def load_reference() -> ModuleType:
    """The float64 reference of the tests, by its path: the name `tests` belongs to a package that pyiqa installs."""
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).resolve().parents[1] / "tests" / "reference.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/reference.py is not there: run this from a checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
