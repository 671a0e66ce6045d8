"""Evaluation: run a method on a pair, check what comes back, and score it.

A candidate is an 8-bit picture, and its scores are of the 8-bit luma of exactly that picture, so that scoring the exported file gives
the same numbers. Whatever goes wrong inside one candidate is a row with a reason and never leaves this module as an exception.
"""

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from prior import registry
from prior.arrays import Chroma, ChromaPolicy, Image, Picture, choose_chroma, join, luma, to_image
from prior.registry import Method, Metric
from prior.statistics import Fused, Sources
from storage.errors import CandidateError
from storage.schema import COPY_OF_SOURCE, FAILED, MISSING, OK, ScoreRow

EVALUATION = 2
"""Raised whenever anything between a method's answer and its scores changes: clipping, joining colour, rounding."""

STANDARD_METRICS = ("ssim", "ssim_a", "ssim_b", "ssim_l2", "vif", "vif_a", "vif_b", "qabf")
"""What is stored for every candidate: everything the named criteria read."""

COPY_LEVELS = 1.0
"""A candidate nearer than this to a source, in grey levels on average, is a copy of it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One pair, decoded and prepared for all its candidates.

    Attributes:
        pair_id: names the pair in messages.
        a, b: the luma that methods are given, float32 `(H, W)` in [0, 1], read-only.
        sources: the 8-bit luma that metrics are given, with its statistics.
        policy: where the colour of a fused image comes from.
        colour: the colour differences of a fused image, or None.
    """

    pair_id: str
    a: Image
    b: Image
    sources: Sources
    policy: ChromaPolicy
    colour: Chroma | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method's picture of a pair, and how it came about."""

    picture: Picture
    seconds: float
    clipped: float
    chroma: ChromaPolicy


def prepare(pair_id: str, a: Picture, b: Picture) -> Scene:
    """A scene from a pair's two decoded pictures of equal size."""
    policy, colour = choose_chroma(a, b)
    image_a, image_b = to_image(a), to_image(b)
    image_a.setflags(write=False)
    image_b.setflags(write=False)
    return Scene(pair_id, image_a, image_b, Sources(luma(a), luma(b)), policy, colour)


def fuse(method: Method, scene: Scene, parameters: Mapping[str, object]) -> Candidate:
    """One live method's candidate: fused luma, checked, clipped, joined with the pair's colour, rounded to 8 bits.

    Args:
        method: what fuses.
        scene: the pair.
        parameters: keyword parameters in place of the method's defaults.

    Raises:
        CandidateError: the method raised, or returned something that is no image of this pair.
    """
    started = time.perf_counter()
    try:
        image = method.fuse(scene.a, scene.b, **parameters)
    except Exception as error:
        # Whatever a method raises is its own failure: one row, and the build goes on.
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        raise CandidateError(f"{method.name} raised on {scene.pair_id}: {what}", "raised") from error
    seconds = time.perf_counter() - started
    checked = check_image(image, scene.a.shape, f"{method.name} on {scene.pair_id}")
    clipped = float(np.count_nonzero((checked < 0) | (checked > 1)) / checked.size)
    return Candidate(join(np.clip(checked, 0, 1), scene.colour), seconds, clipped, scene.policy)


def check_image(image: object, shape: tuple[int, ...], who: str) -> Image:
    """A method's answer, if it is a finite float32 image of the given shape.

    Raises:
        CandidateError: with what was expected and what came.
    """
    expected = f"{who}: expected a finite float32 array of shape {shape}"
    if not isinstance(image, np.ndarray):
        raise CandidateError(f"{expected}, got {type(image).__name__}", "wrong_output")
    if image.shape != shape or image.dtype != np.float32:
        raise CandidateError(f"{expected}, got {image.dtype} of shape {image.shape}", "wrong_output")
    if not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image)))
        raise CandidateError(f"{expected}, got {count} values that are not finite", "wrong_output")
    return image


def score(candidate: Picture, scene: Scene, metrics: Sequence[Metric]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Judge one candidate by every metric.

    Args:
        candidate: its 8-bit luma.
        scene: its pair.
        metrics: the judges.

    Returns:
        Every metric's number, nan where it is undefined; and a sentence for each metric that failed, which is undefined too.
    """
    fused = Fused(candidate, scene.sources)
    scores, problems = {}, []
    for metric in metrics:
        try:
            scores[metric.name] = float(metric.judge(fused))
        except Exception as error:
            # a judge that breaks must not cost the candidate the scores of all others
            scores[metric.name] = math.nan
            problems.append(f"{metric.name} failed on {scene.pair_id}: {type(error).__name__}: {error}")
    return scores, tuple(problems)


def is_copy(candidate: Picture, scene: Scene) -> bool:
    """Whether a candidate's 8-bit luma differs from a source's by less than one grey level on average."""
    pixels = candidate.size * COPY_LEVELS
    return any(cv2.norm(candidate, source, cv2.NORM_L1) < pixels for source in (scene.sources.a, scene.sources.b))


def evaluate(scene: Scene, blank: ScoreRow, produce: Callable[[], Candidate], metrics: Sequence[Metric]) -> tuple[ScoreRow, Picture | None]:
    """Produce one candidate and score it.

    Args:
        scene: its pair.
        blank: its row so far: who it is, and nothing else.
        produce: makes the candidate, or raises CandidateError.
        metrics: what to score it by.

    Returns:
        The filled row, and the picture where the candidate is valid.
    """
    try:
        candidate = produce()
    except CandidateError as error:
        return fail(blank, error.code, str(error)), None
    started = time.perf_counter()
    judged = luma(candidate.picture)
    scores, problems = score(judged, scene, metrics)
    row = replace(
        blank,
        status=OK,
        message="; ".join(problems),
        flags=(COPY_OF_SOURCE,) if is_copy(judged, scene) else (),
        chroma=candidate.chroma,
        seconds=candidate.seconds,
        judge_seconds=time.perf_counter() - started,
        clipped=candidate.clipped,
        scores=scores,
    )
    return row, candidate.picture


def fail(blank: ScoreRow, reason: str, message: str) -> ScoreRow:
    """The row of a candidate that is not there, with the reason why."""
    return replace(blank, status=MISSING if reason == "missing" else FAILED, reason=reason, message=message)


def find_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The standard metrics and those named ("all" is every one), each once; raises UnknownName."""
    return tuple(registry.find_metric(name) for name in registry.resolve_metrics((*STANDARD_METRICS, *names)))
