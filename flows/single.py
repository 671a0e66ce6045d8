"""One pair by hand: fuse two files, or score a fused one, exactly as a build would."""

from collections.abc import Sequence
from pathlib import Path

from prior import evaluate, registry
from prior.arrays import Picture, luma
from prior.evaluate import Scene
from prior.pictures import MIN_SIDE, read_picture
from storage.errors import InputError


def fuse_files(method: str, a: Path, b: Path) -> Picture:
    """The candidate of one method for two files.

    Raises:
        UnknownName: no such method.
        InputError: a file cannot be used, or the two differ in size.
        CandidateError: the method failed.
    """
    found = registry.find_method(method)
    return evaluate.fuse(found, _read_scene(a, b), {}).picture


def score_files(a: Path, b: Path, fused: Path, metrics: Sequence[str]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The standard metrics and those named for one fused file, as from `evaluate.score`.

    Raises:
        UnknownName: no such metric.
        InputError: a file cannot be used, or the three differ in size.
    """
    judges = evaluate.find_metrics(metrics)
    scene = _read_scene(a, b)
    picture = read_picture(fused).pixels
    if picture.shape[:2] != scene.a.shape:
        raise InputError(f"{fused} is {_size(picture.shape)}, its sources are {_size(scene.a.shape)}; scores need equal sizes")
    return evaluate.score(luma(picture), scene, judges)


def _read_scene(a: Path, b: Path) -> Scene:
    first, second = read_picture(a).pixels, read_picture(b).pixels
    if first.shape[:2] != second.shape[:2]:
        raise InputError(f"{a} is {_size(first.shape)}, {b} is {_size(second.shape)}; register and resize them to one size first")
    if min(first.shape[:2]) < MIN_SIDE:
        raise InputError(f"{a} is {_size(first.shape)}; expected at least {MIN_SIDE} px on each side")
    return evaluate.prepare(f"{a.name} and {b.name}", first, second)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
