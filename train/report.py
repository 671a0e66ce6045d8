"""What a run tells while it goes: one JSON line per report, TensorBoard, and sheets of examples.

RUN/report.jsonl            losses, learning rate, seconds per step, memory; and the scores of every evaluation
RUN/tensorboard/            the same as curves
RUN/examples/step-….png     per line one validation pair: source a, source b, the prior's winner, the student
"""

import json
import logging
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

REPORTS, CURVES, EXAMPLES = "report.jsonl", "tensorboard", "examples"
SECONDS = "seconds_per_step"
SIDE, GAP = 256, 4  # px: of an example, and between two


class Reporter:
    """Gathers a run's numbers and writes them down; silent in all processes but the first."""

    def __init__(self, run: Path, step: int, speaks: bool) -> None:
        self._run, self._speaks = run, speaks
        self._steps: list[Mapping[str, float]] = []
        self._rate = 0.0
        self._curves = None
        if speaks:
            forget_later(run / REPORTS, step)
            self._curves = SummaryWriter(str(run / CURVES), purge_step=step + 1)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._curves:
            self._curves.close()

    def add(self, losses: Mapping[str, float], rate: float, seconds: float) -> None:
        """Take in one step."""
        self._steps.append({**losses, SECONDS: seconds})
        self._rate = rate

    def report(self, step: int) -> None:
        """Tell the means since the last report."""
        names = dict.fromkeys(name for one in self._steps for name in one)
        means = {name: statistics.fmean(one[name] for one in self._steps if name in one) for name in names}
        self._write("losses", step, means | {"rate": self._rate, "peak_memory_mb": measure_peak_memory()})
        if self._speaks:
            logger.info("step %d: loss %.4f, %.2f s per step", step, means["total"], means[SECONDS])
        self._steps = []

    def judge(self, step: int, scores: Mapping[str, float]) -> None:
        """Tell an evaluation on the validation pairs."""
        self._write("validation", step, scores)
        logger.info("step %d: %s", step, ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))

    def draw(self, step: int, scenes: Sequence[Sequence[NDArray[np.float32]]]) -> None:
        """Write the sheet of examples: one line per scene, its images side by side, the middle of each."""
        if not scenes:
            return
        folder = self._run / EXAMPLES
        folder.mkdir(exist_ok=True)
        sheet = np.concatenate([np.concatenate([_frame(one) for one in scene], axis=1) for scene in scenes])
        Image.fromarray(sheet).save(folder / f"step-{step:08d}.png")

    def _write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        if self._curves is None:
            return
        for name, number in numbers.items():
            self._curves.add_scalar(f"{kind}/{name}", number, step)
        with (self._run / REPORTS).open("a") as file:
            file.write(json.dumps({"kind": kind, "step": step} | {name: _plain(number) for name, number in numbers.items()}) + "\n")


def read_reports(run: Path) -> list[dict[str, Any]]:
    """Every report of a run, the oldest first; a line cut short by a kill is left out."""
    path = run / REPORTS
    return [report for line in path.read_text().splitlines() if (report := _parse(line))] if path.exists() else []


def forget_later(path: Path, step: int) -> None:
    """Drop the reports of steps that a resumed run takes again."""
    kept = [report for report in read_reports(path.parent) if report["step"] <= step]
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(json.dumps(report) + "\n" for report in kept))
    partial.replace(path)


def measure_peak_memory() -> float:
    """The most memory this process held so far, in MB: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _frame(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The middle of an image on a white ground of fixed size."""
    frame = np.full((SIDE + GAP, SIDE + GAP), 255, np.uint8)
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape)
    part = image[top : top + SIDE, left : left + SIDE]
    frame[: part.shape[0], : part.shape[1]] = np.rint(part * 255)
    return frame


def _plain(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _parse(line: str) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return report
