"""What runs on a Dask worker: one pair at a time, from its files to its journal entry.

A worker process has one thread, and the clock of a method is the process's own: when time runs out the process notes the method and
ends itself, Dask gives the pair to another process, and that one leaves the method out. A process that finds that the last one died
in this pair notes every method before it begins; the method in which it dies too is left out by the next.
"""

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from flows.kept import Kept
from flows.watch import Watch
from prior import evaluate, registry
from prior.arrays import Picture
from prior.evaluate import Candidate, Scene
from prior.pairs import PairRef, load
from prior.pictures import try_hash
from prior.published import PublishedFile, load_published
from prior.registry import Method, Metric
from prior.select import Policy, select
from storage import journal
from storage.errors import CandidateError, FusionPriorError, InputError, UnknownName
from storage.files import Files, parse_location
from storage.planes import unstack
from storage.repository import open_store
from storage.schema import FAILED, OK, ScoreRow

SAME_SCORE = 1e-3
"""A candidate made again may differ so much in any score: some pixels round the other way on another release of a library."""


@dataclass(frozen=True, slots=True)
class CandidateTask:
    """One candidate to make.

    Attributes:
        blank: its row so far.
        parameters: of a live method.
        limit: seconds that the method may run.
        file: the published result, or None for a live method.
    """

    blank: ScoreRow
    parameters: Mapping[str, object]
    limit: float
    file: PublishedFile | None = None


@dataclass(frozen=True, slots=True)
class PairTask:
    """One pair to evaluate: small, and all that a worker needs to know.

    Attributes:
        key: of its journal entry; covers everything below.
        store: the store's address.
        ref: its files.
        candidates: all its candidates, in the order of the methods' names.
        known: by content key, the rows that need no new evaluation.
        policy: how the winner is picked.
        metrics: what to score by, with the versions that are wanted.
        keep: whose pictures to keep, "winners" or "all".
        kept_in: the id of the snapshot that the sources are taken from; empty where they are read from their files.
    """

    key: str
    store: str
    ref: PairRef
    candidates: tuple[CandidateTask, ...]
    known: Mapping[str, ScoreRow]
    policy: Policy
    metrics: Mapping[str, int | str]
    keep: str
    kept_in: str = ""

    @property
    def content_keys(self) -> list[str]:
        """Those of all candidates, in their order."""
        return [one.blank.content_key for one in self.candidates]

    def find_key(self, method: str) -> str:
        """The content key of one method's candidate."""
        return next(one.blank.content_key for one in self.candidates if one.blank.method == method)


@dataclass(frozen=True, slots=True)
class PairDone:
    """What goes back about one pair: `problem` is (reason, sentence) where its own files could not be read any more."""

    pair_id: str
    evaluated: int = 0
    failed: int = 0
    problem: tuple[str, str] | None = None


def run_pair(task: PairTask) -> PairDone:
    """Evaluate one pair and write its journal entry; a pair that has its entry already is left as it is."""
    cv2.setNumThreads(1)
    files = Files(parse_location(task.store))
    if journal.has_entry(files, task.key):
        return PairDone(task.ref.pair_id)
    try:
        a, b = _load_kept(task) if task.kept_in else load(task.ref)
    except (InputError, OSError) as error:
        return PairDone(task.ref.pair_id, problem=(getattr(error, "code", "unreadable"), str(error)))
    scene = evaluate.prepare(task.ref.pair_id, a, b)
    with Watch(files, task.key) as watch:
        rows, pictures = _evaluate_candidates(task, scene, watch)
    winner = select(scene.pair_id, rows.values(), task.policy)
    kept = {"a": a, "b": b, "winner": pictures[winner.method]} if winner else {}
    candidates = pictures if task.keep == "all" else {}
    new = [row for row in rows.values() if row.content_key not in task.known or row != task.known[row.content_key]]
    # all rows, not the new ones alone: the entry must hold when another build has replaced the snapshot that the known rows came from
    journal.write_entry(files, task.key, rows.values(), tuple(task.metrics), kept, candidates)
    return PairDone(scene.pair_id, len(new), sum(row.status == FAILED for row in new))


def _load_kept(task: PairTask) -> tuple[Picture, Picture]:
    pictures = unstack(*_open(task.store, task.kept_in).read_image(task.ref.pair_id))
    return pictures["a"], pictures["b"]


@functools.lru_cache(maxsize=1)
def _open(store: str, snapshot_id: str) -> Kept:
    return Kept(open_store(store), snapshot_id)


def _evaluate_candidates(task: PairTask, scene: Scene, watch: Watch) -> tuple[dict[str, ScoreRow], dict[str, Picture]]:
    """Every candidate's row, and the pictures that are kept, by method."""
    metrics = _find_judges(task.metrics)
    rows: dict[str, ScoreRow] = {one.blank.method: task.known[one.blank.content_key] for one in _known(task)}
    pictures: dict[str, Picture] = {}
    for one in task.candidates:
        method = one.blank.method
        known = rows.get(method)
        if known is not None and (task.keep != "all" or known.status != OK):
            continue
        if known is None:
            rows[method], picture = _evaluate_candidate(one, scene, metrics, watch)
        else:
            rows[method], picture = _make_again(one, known, scene, metrics, watch)
        if picture is not None:
            pictures[method] = picture
        _drop_losers(task, scene, rows, pictures)
    _produce_winner(task, scene, rows, pictures, watch)
    return dict(sorted(rows.items())), pictures


def _find_judges(wanted: Mapping[str, int | str]) -> tuple[Metric, ...]:
    """The metrics in the versions that are wanted; scores of an older snapshot can be by others, which nobody can judge by any more."""
    found = []
    for name, version in wanted.items():
        with contextlib.suppress(UnknownName):
            found.append(registry.find_metric(name))
            if found[-1].version != version:
                found.pop()
    return tuple(found)


def _known(task: PairTask) -> Iterator[CandidateTask]:
    return (one for one in task.candidates if one.blank.content_key in task.known)


def _drop_losers(task: PairTask, scene: Scene, rows: Mapping[str, ScoreRow], pictures: dict[str, Picture]) -> None:
    """Forget every picture that cannot win any more, so that memory holds two candidates at most."""
    if task.keep != "all":
        winner = select(scene.pair_id, rows.values(), task.policy)
        for method in [name for name in pictures if winner is None or name != winner.method]:
            del pictures[method]


def _produce_winner(task: PairTask, scene: Scene, rows: dict[str, ScoreRow], pictures: dict[str, Picture], watch: Watch) -> None:
    """Make the picture of a winner whose scores were known; one that fails now has a failed row, and the next best is tried."""
    tasks = {one.blank.method: one for one in task.candidates}
    metrics = _find_judges(task.metrics)
    while (winner := select(scene.pair_id, rows.values(), task.policy)) and winner.method not in pictures:
        method = winner.method
        rows[method], picture = _make_again(tasks[method], rows[method], scene, metrics, watch)
        if picture is not None:
            pictures[method] = picture


def _make_again(
    one: CandidateTask, known: ScoreRow, scene: Scene, metrics: tuple[Metric, ...], watch: Watch
) -> tuple[ScoreRow, Picture | None]:
    """The picture of a candidate whose scores are known: it must have these scores, or its row says that it is another one now."""
    row, picture = _evaluate_candidate(one, scene, metrics, watch)
    if picture is None:
        return row, None
    apart = {name: abs(known.scores[name] - score) for name, score in row.scores.items() if name in known.scores}
    name = max(apart, key=lambda name: apart[name] if apart[name] > SAME_SCORE else 0.0, default="")
    if not name or not apart[name] > SAME_SCORE:
        return known, picture
    what = f"{one.blank.method} on {scene.pair_id} is not what was scored: {name} {row.scores[name]:.4f}, before {known.scores[name]:.4f}"
    return evaluate.fail(one.blank, "changed", f"{what}; score it again with: fusion-prior build --retry-failed"), None


def _evaluate_candidate(one: CandidateTask, scene: Scene, metrics: tuple[Metric, ...], watch: Watch) -> tuple[ScoreRow, Picture | None]:
    method = one.blank.method
    who = f"{method} on {scene.pair_id}"
    if method in watch.note.timeouts:
        return evaluate.fail(one.blank, "timeout", f"{who} ran longer than {one.limit:g} s; raise its time limit or leave it out"), None
    if method in watch.note.deadly:
        cause = "a crash, too little memory, or a hang that nothing interrupts"
        return evaluate.fail(one.blank, "killed", f"{who} took two worker processes with it ({cause}); leave it out"), None
    if one.file is not None:
        return evaluate.evaluate(scene, one.blank, functools.partial(_read_published, one.file, scene), metrics)

    def produce() -> Candidate:
        found = _find_method(one.blank)  # the first of a process loads all methods, which is not this one's time
        with watch.limit(method, one.limit):
            return evaluate.fuse(found, scene, one.parameters)

    return evaluate.evaluate(scene, one.blank, produce, metrics)


def _find_method(blank: ScoreRow) -> Method:
    """The method that a row names, in the version that it names."""
    try:
        method = registry.find_method(blank.method)
    except FusionPriorError as error:
        raise CandidateError(f"{blank.method} cannot fuse {blank.pair_id} again: {error}", "changed") from error
    if str(method.version) != blank.version:
        raise CandidateError(
            f"{blank.method} was scored on {blank.pair_id} in version {blank.version} and has version {method.version} now; "
            "score it again with: fusion-prior build --retry-failed",
            "changed",
        )
    return method


def _read_published(file: PublishedFile, scene: Scene) -> Candidate:
    started = time.perf_counter()
    if not try_hash(Path(file.path)).startswith(file.file_hash):
        what = f"{file.path} is gone, or not the file that was scored as {file.method}"
        raise CandidateError(f"{what}; put it back, and score it again with: fusion-prior build --retry-failed", "changed")
    height, width = scene.a.shape
    picture = load_published(file, (height, width))
    return Candidate(picture, time.perf_counter() - started, 0.0, "published")
