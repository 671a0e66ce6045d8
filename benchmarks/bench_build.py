"""A whole build against the bare sum of its kernels' time, and one worker against two.

    python benchmarks/bench_build.py [--pairs 24] [--size 640x480] [--repeats 3]

The pairs are the embedded examples, resized; the methods are the default set. "Kernels" is checking, decoding, fusing and scoring every
candidate in a plain loop in one worker process; a build adds the plan, Dask, the journal, the tables and the commit. The clusters are
started before the clock.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
from distributed import Client

from flows.build import build
from flows.cluster import open_client
from flows.recipe import Recipe, make_recipe
from prior import evaluate, registry
from prior.arrays import luma
from prior.examples import make_examples
from prior.pairs import inspect, load, scan
from prior.pictures import write_png


def write_pairs(folder: Path, count: int, size: tuple[int, int]) -> Recipe:
    """Example pairs in one size, in two folders."""
    examples = list(make_examples())
    for number in range(count):
        example = examples[number % len(examples)]
        for name, picture in (("a", example.a), ("b", example.b)):
            write_png(folder / name / f"p{number:03d}.png", cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))
    return make_recipe({"source": [{"a": str(folder / "a"), "b": str(folder / "b")}]})


def time_kernels(recipe: Recipe) -> float:
    """Seconds to check, decode, fuse and score every candidate, one after the other."""
    cv2.setNumThreads(1)
    metrics = evaluate.find_metrics(())
    methods = [registry.find_method(name) for name in recipe.methods_of(recipe.source[0])]
    started = time.perf_counter()
    for ref in scan([recipe.source[0].to_source()]).pairs:
        inspect(ref)
        scene = evaluate.prepare(ref.pair_id, *load(ref))
        for method in methods:
            evaluate.score(luma(evaluate.fuse(method, scene, {}).picture), scene, metrics)
    return time.perf_counter() - started


def run_kernels(client: Client, recipe: Recipe) -> float:
    """`time_kernels` in a worker process, where memory is handled as in a build."""
    seconds: float = client.submit(time_kernels, recipe, pure=False).result()
    return seconds


def time_build(recipe: Recipe, client: Client) -> float:
    """Seconds of one build into a new store."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build(recipe, folder, client)
        return time.perf_counter() - started


def tell(name: str, seconds: Sequence[float], kernels: Sequence[float], workers: int) -> None:
    """One line: the median, and its ratio to the kernels' time divided by the workers."""
    ratios = [one * workers / bare for one, bare in zip(seconds, kernels, strict=True)]
    print(f"{name:32} median {statistics.median(seconds):6.1f} s   x workers / kernels: median {statistics.median(ratios):.3f}")


def main() -> None:
    """Measure in turns, so that a machine that slows down slows everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    kernels, alone, together = [], [], []
    with tempfile.TemporaryDirectory() as folder, open_client(1) as one, open_client(2) as two:
        recipe = write_pairs(Path(folder), options.pairs, (width, height))
        few = write_pairs(Path(folder) / "warm-up", 4, (width, height))
        for client in (one, two):
            time_build(few, client)
        run_kernels(one, few)
        for _ in range(options.repeats):
            kernels.append(run_kernels(one, recipe))
            alone.append(time_build(recipe, one))
            together.append(time_build(recipe, two))
    print(f"{options.pairs} pairs of {options.size}, {len(recipe.methods_of(recipe.source[0]))} methods, {options.repeats} rounds")
    print(f"{'kernels, plain loop, 1 process':32} median {statistics.median(kernels):6.1f} s")
    tell("build, 1 worker", alone, kernels, 1)
    tell("build, 2 workers", together, kernels, 2)
    gains = [first / second for first, second in zip(alone, together, strict=True)]
    print(f"{'1 worker / 2 workers':32} median {statistics.median(gains):6.2f}")


if __name__ == "__main__":
    main()
