"""Time every metric on one thread beside its textbook version in the same run, with its errors, and weigh the whole suite.

Usage: OMP_NUM_THREADS=1 python benchmarks/bench_metrics.py [--width 640 --height 480 --repeats 15] [--only ssim,vif]
       [--part speed|errors|memory]

Speed: each metric alone, its sources' statistics ready, then groups of metrics that share what they have in common; medians. Errors: the
largest relative one against the golden values (of all 15 cases where the folder `shared` lies beside the checkout, else of the six that
travel with the package). Memory: what the process grows by while a pair and a candidate are judged by everything.
"""

import argparse
import csv
import importlib.util
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prior import golden
from prior.arrays import luma
from prior.pictures import read_picture
from prior.registry import metrics
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]
Textbook = Callable[[Grey, Grey, Grey], float]

ROOT = Path(__file__).resolve().parents[1]
SLOW = ("q_p", "fmi_pixel", "fmi_gradient", "fmi_dct")
PARTS = ("speed", "errors", "memory")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description="Time every metric on one thread beside its textbook version.")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="", help="metrics, with commas")
    parser.add_argument("--part", choices=PARTS, default=None)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    names = tuple(filter(None, arguments.only.split(","))) or list_mains()
    parts = (arguments.part,) if arguments.part else PARTS
    if "speed" in parts:
        print_speed(names, arguments.height, arguments.width, arguments.repeats)
    if "errors" in parts:
        print_errors(names)
    if "memory" in parts and arguments.part:
        print_memory(arguments.height, arguments.width)
    elif "memory" in parts:
        # in a process of its own, which nothing has made large before
        size = ("--width", str(arguments.width), "--height", str(arguments.height))
        subprocess.run([sys.executable, __file__, "--part", "memory", *size], check=True)


def list_mains() -> tuple[str, ...]:
    """Every metric that stands for itself: no terms, no variants."""
    return tuple(name for name, one in metrics().items() if not (one.term_of or one.variant_of))


def print_speed(names: Sequence[str], height: int, width: int, repeats: int) -> None:
    """The table of times, and of the groups."""
    textbook = load_textbook()
    a, b, candidates = make_scene(height, width)
    sources = Sources(a, b)
    everything = tuple(name for name, one in metrics().items() if not one.variant_of)
    for f in candidates:
        judge(f, sources, everything)  # compiles, and fills the sources' statistics
    print(
        f"\n{width} x {height} px, one thread, the sources' statistics ready; median of {repeats} rounds over {len(candidates)} candidates"
    )
    print(f"{'metric':<14}{'ms alone':>10}{'textbook ms':>13}{'ratio':>8}{'error':>10}")
    for name in names:
        own = measure_judging(candidates, sources, (name,), repeats)
        version = textbook[name]
        plain = measure(lambda version=version: version(a, b, candidates[0]), 3)
        print(f"{name:<14}{own:>10.2f}{plain:>13.1f}{plain / own:>8.1f}{measure_error(name, candidates, sources, version):>10.0e}")
    most = tuple(name for name in everything if not name.startswith(SLOW))
    groups = {
        "ssim + vif + qabf, with their terms": ("ssim", "ssim_a", "ssim_b", "ssim_l2", "vif", "vif_a", "vif_b", "qabf"),
        "everything but q_p and fmi": most,
        "everything": everything,
    }
    print(f"\n{'ms per candidate':<44}")
    for group, members in groups.items():
        print(f"{measure_judging(candidates, sources, members, max(3, repeats // 2)):>10.1f}  {group}")
    statistics_alone = measure(lambda: judge(candidates[0], Sources(a, b), everything), 3) - measure(
        lambda: judge(candidates[0], sources, everything), 3
    )
    print(f"{statistics_alone:>10.1f}  the sources' statistics of everything, once per pair")


def print_errors(names: Sequence[str]) -> None:
    """The largest error of each metric against its golden values, and on which case."""
    rows, folder = find_golden()
    cases = sorted({case for case, _, _ in rows})
    print(f"\nerrors against the golden values of {len(cases)} cases, where both are defined; relative")
    worst: dict[str, tuple[float, str, int]] = {}
    for case in cases:
        a, b, f = (luma(read_picture(folder / case / f"{which}.png").pixels) for which in "abf")
        scores = judge(f, Sources(a, b), tuple(names))
        for name, score in scores.items():
            passport = metrics()[name].passport
            text = rows.get((case, passport.golden, passport.golden_by), "nan") if passport else "nan"
            expected = math.nan if text == "error" else float(text)
            asserted = (name, case) not in golden.EXCLUDED
            error = golden.measure_error(score, expected)
            if asserted and math.isfinite(error):
                largest, where, count = worst.get(name, (-1.0, "", 0))
                worst[name] = (error, case, count + 1) if error > largest else (largest, where, count + 1)
    for name, (error, case, count) in worst.items():
        print(f"{name:<14}{error:>10.1e}  {case} (of {count} cases)")


def print_memory(height: int, width: int) -> None:
    """What judging by everything adds to the process, in float32 images of the pair's size."""
    everything = tuple(name for name, one in metrics().items() if not one.variant_of)
    a, b, candidates = make_scene(64, 80)
    judge(candidates[0], Sources(a, b), everything)  # compiled code is no image
    a, b, candidates = make_scene(height, width)
    before = start_peak()
    judge(candidates[0], Sources(a, b), everything)
    grown = read_status("VmHWM") - before
    print(f"\n{grown / 2**20:.0f} MB at most for a pair and one candidate: {grown / (4 * height * width):.1f} float32 images of its size")


def start_peak() -> int:
    """Begin to record the most memory that this process holds, on Linux; what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_status("VmRSS")


def read_status(name: str) -> int:
    """A size that Linux keeps of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def measure_error(name: str, candidates: Sequence[Grey], sources: Sources, version: Textbook) -> float:
    """The relative error of a metric against its textbook version on the first candidate."""
    return golden.measure_error(judge(candidates[0], sources, (name,))[name], version(sources.a, sources.b, candidates[0]))


def make_scene(height: int, width: int) -> tuple[Grey, Grey, list[Grey]]:
    """Two smooth noisy sources and three candidates made from them."""
    rng = np.random.default_rng(0)
    a, b = (draw(rng, height, width) for _ in range(2))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, [np.maximum(a, b), average, cv2.GaussianBlur(average, (0, 0), 1.5)]


def draw(rng: np.random.Generator, height: int, width: int) -> Grey:
    """Shapes at three scales and a little noise, over the whole range of levels."""
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) * sigma for sigma in (2.0, 8.0, 32.0)]
    image = sum(layers, np.zeros((height, width)))
    levels: Grey = np.clip(128 + 60 * image / image.std() + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    return levels


def judge(f: Grey, sources: Sources, names: tuple[str, ...]) -> dict[str, float]:
    """The named metrics of one candidate, nothing of it known before."""
    fused = Fused(f, sources)
    return {name: metrics()[name].judge(fused) for name in names}


def measure_judging(candidates: Sequence[Grey], sources: Sources, names: tuple[str, ...], repeats: int) -> float:
    """The median time of the named metrics for one candidate in ms."""
    return measure(lambda: [judge(f, sources, names) for f in candidates], repeats) / len(candidates)


def measure(work: Callable[[], Any], repeats: int) -> float:
    """The median time of one call in ms."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def find_golden() -> tuple[dict[tuple[str, str, str], str], Path]:
    """The golden values by case, metric and implementation, and the folder of the cases."""
    beside = ROOT.parent / "shared" / "golden"
    folder = beside if (beside / "values.csv").is_file() else Path(golden.__file__).parent
    with (folder / "values.csv").open(newline="") as lines:
        return {(row["case"], row["metric"], row["implementation"]): row["value"] for row in csv.DictReader(lines)}, folder


def load_textbook() -> dict[str, Textbook]:
    """The textbook versions of the tests, by their paths: the name `tests` belongs to a package that pyiqa installs."""
    found: dict[str, Textbook] = {}
    for path in sorted((ROOT / "tests" / "textbook").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"textbook_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{path} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.METRICS
    return found


if __name__ == "__main__":
    main()
