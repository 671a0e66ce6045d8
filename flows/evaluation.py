"""The evaluation of pictures that others fused: folders in, a score of every picture out, with every failure as a row.

The checks are those of a build: of the pairs, and of published results. One pair is the unit of work: it is read and prepared once for all
its methods.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
from dask.system import CPU_COUNT

from flows.columns import Column, list_undefined
from flows.processes import Crew, open_crew
from flows.progress import Report, stay_silent
from flows.words import count, describe_death, name_first
from prior import evaluate, registry
from prior.evaluate import Candidate, Scene
from prior.folders import list_folder, normalise_stem
from prior.pairs import PairRef, Scan, Source, inspect, load, scan, set_aside
from prior.pictures import show_path
from prior.published import (
    PREFIX,
    PublishedFile,
    PublishedIndex,
    find_files,
    index_published,
    inspect_published,
    is_method,
    list_methods,
    load_published,
)
from prior.registry import Metric
from prior.signatures import PairSignature, SignatureGroup, group_signatures
from storage.errors import CandidateError, InputError
from storage.schema import FAILED, OK, PairRow, ScoreRow

Groups = Mapping[tuple[int, int], SignatureGroup]

CONVERTED = "converted"
"""The flag of a row whose picture was not judged as it lies there; its message says what was done."""
METRIC_FAILED = "metric_failed"
"""The flag of a row that lacks a score because a metric failed; its message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        a: folder of the first sources.
        b: folder of the second.
        fused: folder with one folder of fused pictures per method.
        columns: by which metrics.
        variant: the public implementation whose metrics they are; empty where they are the project's.
        pattern: how the files of a pair are named, as in `prior.pairs.Source`.
        workers: processes; 0 is one per core.
    """

    a: Path
    b: Path
    fused: Path
    columns: tuple[Column, ...]
    variant: str = ""
    pattern: str = ""
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of it.

    Attributes:
        columns: the metrics.
        variant: as it was asked for.
        rows: one per pair and method, in the order of both names; scores by the metrics' ids.
        notes: sentences about what is no row.
        unusable: the pairs that could not be used, with their reasons, which all their rows repeat, whether or not there is a picture.
    """

    columns: tuple[Column, ...]
    variant: str = ""
    rows: tuple[ScoreRow, ...]
    notes: tuple[str, ...]
    unusable: tuple[PairRow, ...] = ()

    @property
    def problems(self) -> tuple[ScoreRow, ...]:
        """The rows without scores, and those with a metric that failed."""
        return tuple(row for row in self.rows if row.status != OK or METRIC_FAILED in row.flags)

    @property
    def converted(self) -> tuple[ScoreRow, ...]:
        """The rows whose pictures were not judged as they lie there."""
        return tuple(row for row in self.rows if CONVERTED in row.flags)

    @property
    def is_whole(self) -> bool:
        """Whether no row failed, and every pair has a method that could be scored; a file that is not there is no failure."""
        scored = {row.pair_id for row in self.rows if row.status == OK}
        return all(row.status != FAILED and row.pair_id in scored for row in self.rows)


@dataclass(frozen=True, slots=True)
class _PairTask:
    """One pair whose fused pictures are to be scored: its files, its size, and by method the files of its fused pictures."""

    ref: PairRef
    size: tuple[int, int]
    files: Mapping[str, tuple[Path, ...]]


def evaluate_folders(request: EvaluationRequest, report: Report = stay_silent) -> Evaluation:
    """Score every fused picture of every method.

    Args:
        request: the folders and the metrics.
        report: told of progress.

    Raises:
        InputError: a folder is missing or not laid out as expected, or nothing pairs.
    """
    _check_layout(request.fused)
    found = scan([Source(a=request.a, b=request.b, published=request.fused, pattern=request.pattern)])
    index = index_published(request.fused)
    with open_crew(min(request.workers or CPU_COUNT, len(found.pairs) or 1)) as crew:
        inspected, signed, warnings = _inspect_all(crew, found.pairs, report)
        unusable = [row for row in (*found.refused, *inspected) if row.status != OK]
        rows = _score_all(crew, [ref for ref in found.pairs if ref.pair_id in signed], signed, index, request.columns, report)
    methods = [_shorten(method) for method in index.methods]
    rows += [_fail(pair.pair_id, method, pair.reason, pair.message) for pair in unusable for method in methods]
    too_small = _note_small(request.columns, [min(one.size) for one in signed.values()])
    notes = (*_note_files(found, request.fused), *_note_strangers(request.fused, index, found), *warnings, *too_small)
    ordered = tuple(sorted(rows, key=lambda row: (row.pair_id, row.method)))
    return Evaluation(columns=request.columns, variant=request.variant, rows=ordered, notes=notes, unusable=tuple(unusable))


def _check_layout(folder: Path) -> None:
    """Refuse a folder of pictures in place of the folder of the methods' folders."""
    listing = list_folder(folder)
    if listing.pictures and not any(map(is_method, listing.clutter)):
        name = show_path(folder)
        raise InputError(
            f"{name} holds {count(len(listing.pictures), 'picture')} and no folders; expected one folder of pictures per method, such as "
            f"{name}/GFF/{show_path(listing.pictures[0].name)}; put the pictures into a folder that bears their method's name"
        )


def _inspect_all(crew: Crew, refs: Sequence[PairRef], report: Report) -> tuple[list[PairRow], dict[str, PairSignature], tuple[str, ...]]:
    """The row of every pair, the signatures of those that can be used, and warnings."""
    rows: list[PairRow] = []
    signed: dict[str, PairSignature] = {}
    warnings: list[str] = []
    # a metric says of itself on how few pixels it is undefined
    for done, (ref, inspection) in enumerate(crew.run(partial(inspect, smallest=1), refs), 1):
        if inspection is None:
            row = set_aside(ref, "killed", describe_death("inspecting it"))
        else:
            row = inspection.row
            warnings += inspection.warnings
            if inspection.signature:
                signed[ref.pair_id] = inspection.signature
        rows.append(row)
        report("inspecting pairs", done, len(refs))
    return rows, signed, tuple(sorted(warnings))


def _score_all(
    crew: Crew,
    refs: Sequence[PairRef],
    signed: Mapping[str, PairSignature],
    index: PublishedIndex,
    columns: Sequence[Column],
    report: Report,
) -> list[ScoreRow]:
    metrics = tuple(dict.fromkeys(column.metric.name for column in columns))
    tasks = [
        _PairTask(ref, signed[ref.pair_id].size, {_shorten(method): files for method, files in find_files(index, ref).items()})
        for ref in refs
    ]
    rows: list[ScoreRow] = []
    for done, (task, scored) in enumerate(crew.run(score_pair, tasks, metrics, group_signatures(signed.values())), 1):
        if scored is None:
            scored = _fail_all(task, "killed", describe_death("scoring it"))
        rows += scored
        report("scoring pairs", done, len(tasks))
    return rows


def score_pair(metrics: Sequence[str], groups: Groups, task: _PairTask) -> tuple[ScoreRow, ...]:
    """Score the fused pictures of one pair; runs in a process of its own.

    Args:
        metrics: their ids.
        groups: the signatures of all pairs by size.
        task: the pair.
    """
    cv2.setNumThreads(1)
    pair_id = task.ref.pair_id
    try:
        a, b = load(task.ref)
    except (InputError, OSError) as error:  # it could be read a moment ago
        return _fail_all(task, "unreadable", str(error))
    scene = evaluate.prepare(pair_id, a, b)
    judges = [registry.find_metric(name) for name in metrics]
    return tuple(_score_file(file, scene, judges) for file in inspect_published(pair_id, task.size, task.files, groups[task.size]))


def _score_file(file: PublishedFile, scene: Scene, judges: Sequence[Metric]) -> ScoreRow:
    blank = _make_blank(scene.pair_id, file.method, file.path)

    def read() -> Candidate:
        if file.status != OK:
            raise CandidateError(file.message, file.reason)
        height, width = scene.a.shape
        return Candidate(load_published(file, (height, width)), 0.0, 0.0, "published")

    row, _ = evaluate.evaluate(scene, blank, read, judges)
    if row.status != OK:
        return row
    flags = (*row.flags, *((METRIC_FAILED,) if row.message else ()), *((CONVERTED,) if file.remarks else ()))
    message = "; ".join(filter(None, (row.message, *file.remarks)))
    # what a clock says is no part of a table that must not depend on the number of processes
    return replace(row, flags=flags, message=message, judge_seconds=blank.judge_seconds)


def _make_blank(pair_id: str, method: str, file: str = "") -> ScoreRow:
    return ScoreRow(pair_id=pair_id, method=method, version="", content_key="", status=FAILED, file=file)


def _fail(pair_id: str, method: str, reason: str, message: str) -> ScoreRow:
    return evaluate.fail(_make_blank(pair_id, method), reason, message)


def _fail_all(task: _PairTask, reason: str, message: str) -> tuple[ScoreRow, ...]:
    """The rows of a pair of which nothing could be scored; a method without a picture of it is missing all the same."""
    pair_id = task.ref.pair_id
    return tuple(
        _fail(pair_id, method, reason, f"pair {pair_id}: {message}")
        if files
        else _fail(pair_id, method, "missing", f"{method} has no file for pair {pair_id}")
        for method, files in task.files.items()
    )


def _shorten(method: str) -> str:
    """A method's name as its authors know it."""
    return method.removeprefix(PREFIX)


def _note_files(found: Scan, fused: Path) -> Iterator[str]:
    """Sentences about files that belong to no row."""
    if found.orphans:
        named = name_first([show_path(path) for path in found.orphans])
        yield f"{count(len(found.orphans), 'picture')} without a partner of the same name: {named}"
    beside = list_folder(fused).pictures
    if beside:
        named = name_first([show_path(path.name) for path in beside])
        yield f"left out, beside the folders of the methods in {show_path(fused)}: {count(len(beside), 'picture')}: {named}"


def _note_small(columns: Sequence[Column], sides: Sequence[int]) -> Iterator[str]:
    """A sentence about metrics that are undefined on some pairs, since these are small."""
    short = [side for side in sides if list_undefined(columns, side)]
    if short:
        undefined = list_undefined(columns, min(short))
        yield f"undefined on {count(len(short), 'pair')} with too short a side, the shortest of {min(short)} px: {undefined}"


def _note_strangers(fused: Path, index: PublishedIndex, found: Scan) -> Iterator[str]:
    """Pictures of methods that bear no pair's name; where all of a method's do, they are most likely named otherwise."""
    stems = {stem for ref in found.pairs for stem in (ref.key, normalise_stem(ref.a), normalise_stem(ref.b))}
    stems |= {stem for row in found.refused for stem in (row.pair_id, normalise_stem(Path(row.a_path)), normalise_stem(Path(row.b_path)))}
    first = min([*(ref.pair_id for ref in found.pairs), *(row.pair_id for row in found.refused)])
    for method, folder in list_methods(fused).items():
        files, name = index.methods[method], _shorten(method)
        strange = [show_path(path.name) for stem, paths in files.items() if stem not in stems for path in paths]
        if not files:
            yield _explain_empty(name, folder)
        elif not stems & files.keys():
            yield f"no picture of {name} is named like a pair: its first is {min(files)!r}, the first pair {first!r}; rename the pictures"
        elif strange:
            yield f"left out, {count(len(strange), 'picture')} of {name} named like no pair: {name_first(strange)}"


def _explain_empty(name: str, folder: Path) -> str:
    inner = [show_path(entry.name) for entry in list_folder(folder).clutter if is_method(entry)]
    if inner:
        return (
            f"{name} holds no pictures but {count(len(inner), 'folder')} ({name_first(inner)}); put its pictures into {show_path(folder)}"
        )
    return f"{name} holds no pictures; put them into {show_path(folder)}, or take the folder out"
