"""Seconds per training step and to fuse 256 x 256, and peak memory, of each preset on one thread; each in a process of its own.

Usage: python benchmarks/bench_train.py [PRESET …]
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from train.config import PRESETS
from train.fuse import fuse
from train.losses import Objective, Scenes
from train.model import Student
from train.report import measure_peak_memory

ROUNDS = 3
BATCH = 2  # crops of 128 x 128 per step: of the largest preset, 16 would take minutes and more memory than many machines have
CROP = 128
SIDE = 256


def main() -> None:
    """Measure every preset, or those named."""
    print(f"one thread, {BATCH} crops of {CROP} px per step, median of {ROUNDS} after one to warm up")
    print(f"{'preset':10}{'parameters':>12}{'s/step':>9}{'last stage':>12}{'peak MB':>9}{'s to fuse':>11}{'peak MB':>9}")
    for preset in sys.argv[1:] or PRESETS:
        done = subprocess.run([sys.executable, __file__, "--alone", preset], check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{preset:10}{row['parameters']:12,}{row['step']:9.2f}{row['last']:12.2f}{row['step_memory']:9.0f}"
            f"{row['fuse']:11.2f}{row['fuse_memory']:9.0f}"
        )


def measure(name: str) -> dict[str, float]:
    """The figures of one preset."""
    torch.set_num_threads(1)
    preset = PRESETS[name]
    student = Student(preset.network)
    a, b = np.random.default_rng(0).random((2, SIDE, SIDE), dtype=np.float32)
    seconds = take_median(lambda: fuse(student.eval(), a, b))
    fuse_memory = measure_peak_memory()
    objective, training = Objective(student.train()), preset.training
    crops = torch.rand((3, BATCH, 1, CROP, CROP)) * 2 - 1
    scenes = Scenes(*crops, torch.ones(BATCH), torch.randn_like(crops[0]))
    levels = torch.randint(0, 1000, (BATCH,))

    def learn(*stage: object) -> None:
        torch.stack(list(objective(scenes, levels, *stage).values())).sum().backward()
        student.zero_grad()

    return {
        "parameters": sum(one.numel() for one in student.parameters()),
        "fuse": seconds,
        "fuse_memory": fuse_memory,
        "step": take_median(lambda: learn(training.mix)),
        "last": take_median(lambda: learn(training.last_mix, preset.network.steps - 1)),
        "step_memory": measure_peak_memory(),
    }


def take_median(work: Callable[[], object]) -> float:
    """The median time of a call, in seconds."""
    times = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main()
