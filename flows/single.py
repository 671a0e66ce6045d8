"""By hand: fuse two files or two folders of them, or score a fused file, as a build without a recipe would."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.columns import Column, list_undefined
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
    if out.resolve() in (a.resolve(), b.resolve()):
        raise InputError(f"{show_path(out)} is a source, which the fused picture must not replace; name another file")
    scene, remarks = _read_scene(a, b)
    if min(scene.a.shape) < MIN_SIDE:
        raise InputError(
            f"{show_path(a)} is {_size(scene.a.shape)}; expected at least {MIN_SIDE} px on each side, as in a build; name larger pictures"
        )
    flat = _find_flat(a, b, scene)
    if flat:
        raise InputError(f"{flat}; name pictures that show something")
    for remark in remarks:
        logger.warning("%s", remark)
    write_png(out, evaluate.fuse(method, scene, {}).picture)


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
        By the names of the columns; and in sentences, what was done to the files before they were judged, which metrics are undefined
        on pictures so small, and which failed.

    Raises:
        InputError: a file cannot be used, or the three differ in size.
    """
    scene, remarks = _read_scene(a, b)
    decoded = _read(fused)
    picture = decoded.pixels
    if picture.shape[:2] != scene.a.shape:
        sizes = f"{show_path(fused)} is {_size(picture.shape)}, its sources are {_size(scene.a.shape)}"
        raise InputError(f"{sizes}; scores need equal sizes: name the picture in the size in which it was fused, or crop all three alike")
    scores, problems = evaluate.score(luma(picture), scene, [column.metric for column in columns])
    remarks += describe_reading(fused, decoded)
    flat = _find_flat(a, b, scene)
    if flat:
        remarks.append(f"{flat}; a build sets such a pair aside")
    side = min(scene.a.shape)
    undefined = list_undefined(columns, side)
    if undefined:
        remarks.append(f"undefined, since the shorter side has {side} px: {undefined}")
    return {column.name: scores[column.metric.name] for column in columns}, (*remarks, *problems)


def _read_scene(a: Path, b: Path) -> tuple[Scene, list[str]]:
    """Two sources, and what their reader warns of, as it does in a build."""
    first, second = _read(a), _read(b)
    if first.pixels.shape[:2] != second.pixels.shape[:2]:
        sizes = f"{show_path(a)} is {_size(first.pixels.shape)}, {show_path(b)} is {_size(second.pixels.shape)}"
        raise InputError(f"{sizes}; register and resize them to one size first")
    remarks = [f"{show_path(path)}: {text}" for path, one in ((a, first), (b, second)) for text in one.warnings]
    return evaluate.prepare(f"{show_path(a.name)} and {show_path(b.name)}", first.pixels, second.pixels), remarks


def _find_flat(a: Path, b: Path, scene: Scene) -> str:
    """Which source shows nothing at all, or nothing."""
    grey = {a: scene.sources.a, b: scene.sources.b}
    return "; ".join(f"{show_path(path)}: every pixel is {one.min()}" for path, one in grey.items() if one.min() == one.max())


def _read(path: Path) -> Decoded:
    if not path.exists():
        raise InputError(f"{show_path(path)}: there is no such file; check the path, which counts from the current folder")
    if path.is_dir():
        raise InputError(f"{show_path(path)} is a folder, where a file is expected; name one picture in it")
    return read_picture(path)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
