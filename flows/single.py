"""By hand: fuse two files or two folders of them, or score a fused file, exactly as a build would."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.columns import Column
from flows.progress import Report
from flows.words import count, name_first
from prior import evaluate, pairs
from prior.arrays import luma
from prior.evaluate import Scene
from prior.pairs import PairRef, Source
from prior.pictures import MIN_SIDE, Decoded, read_picture, show_path, write_png
from prior.published import describe_reading
from prior.registry import Method
from storage.errors import FusionPriorError, InputError

logger = logging.getLogger(__name__)


def fuse_files(method: Method, a: Path, b: Path, out: Path) -> None:
    """Write the candidate of one method for two files; the file appears whole or not at all.

    Raises:
        InputError: a file cannot be used or written, or the two differ in size.
        CandidateError: the method failed.
    """
    picture = evaluate.fuse(method, _read_scene(a, b), {}).picture
    try:
        write_png(out, picture)
    except OSError as error:
        raise InputError(f"{show_path(out)} cannot be written ({error.strerror or error}); name another file") from error


def fuse_folders(method: Method, a: Path, b: Path, out: Path, report: Report) -> tuple[int, int]:
    """Write the candidates of one method for the pairs of two folders, as `<name>.png` each; a pair that fails is told and left out.

    Args:
        method: what fuses.
        a: folder of the first sources.
        b: folder of the second, under equal names.
        out: folder of the fused pictures, neither of the two.
        report: told of progress.

    Returns:
        How many pairs were fused, and how many failed.

    Raises:
        InputError: a folder cannot be used, or nothing pairs.
    """
    found = pairs.scan([Source(a=a, b=b)])
    if out.resolve() in (a.resolve(), b.resolve()) or (out.exists() and not out.is_dir()):
        raise InputError(f"{show_path(out)} is a file or holds the sources, which fused pictures must not replace; name another folder")
    if found.orphans:
        names = name_first([show_path(path) for path in found.orphans])
        logger.warning("%s without a partner of the same name: %s", count(len(found.orphans), "picture"), names)
    for row in found.refused:
        logger.warning("%s", row.message)
    fused = 0
    for done, ref in enumerate(found.pairs, 1):
        fused += _fuse_pair(method, ref, out)
        report("fusing", done, len(found.pairs))
    return fused, len(found.pairs) + len(found.refused) - fused


def _fuse_pair(method: Method, ref: PairRef, out: Path) -> bool:
    """Whether a pair could be fused; if not, its one line is said."""
    try:
        fuse_files(method, ref.a, ref.b, out / f"{ref.key}.png")
    except FusionPriorError as error:
        logger.warning("pair %s: %s", ref.pair_id, error)
        return False
    return True


def score_files(a: Path, b: Path, fused: Path, columns: Sequence[Column]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The scores of one fused file.

    Returns:
        By the names of the columns; and in sentences, what was done to the file before it was judged, and which metric failed.

    Raises:
        InputError: a file cannot be used, or the three differ in size.
    """
    scene = _read_scene(a, b)
    decoded = _read(fused)
    picture = decoded.pixels
    if picture.shape[:2] != scene.a.shape:
        raise InputError(f"{fused} is {_size(picture.shape)}, its sources are {_size(scene.a.shape)}; scores need equal sizes")
    scores, problems = evaluate.score(luma(picture), scene, [column.metric for column in columns])
    remarks = describe_reading(fused, decoded)
    return {column.name: scores[column.metric.name] for column in columns}, (*remarks, *problems)


def _read_scene(a: Path, b: Path) -> Scene:
    first, second = _read(a).pixels, _read(b).pixels
    if first.shape[:2] != second.shape[:2]:
        raise InputError(f"{a} is {_size(first.shape)}, {b} is {_size(second.shape)}; register and resize them to one size first")
    if min(first.shape[:2]) < MIN_SIDE:
        raise InputError(f"{a} is {_size(first.shape)}; expected at least {MIN_SIDE} px on each side")
    return evaluate.prepare(f"{a.name} and {b.name}", first, second)


def _read(path: Path) -> Decoded:
    if not path.exists():
        raise InputError(f"{show_path(path)}: there is no such file; check the path, which counts from the current folder")
    return read_picture(path)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
