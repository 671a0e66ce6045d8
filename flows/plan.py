"""The plan of a build: which pairs there are, which candidates they have, and what of it is still to be done.

Everything is found by content key: what a key covers decides the number, and what it does not cover (paths, the number of workers,
the time of day) does not. So a build that is started again, or for one method more, does only what is missing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.kept import Kept, list_kept
from flows.recipe import Recipe
from flows.survey import Survey
from flows.work import CandidateTask, PairTask
from prior import registry
from prior.evaluate import EVALUATION, fail
from prior.pairs import PairRef
from prior.published import PublishedFile
from prior.registry import Method
from prior.select import Choice, Policy, select
from storage import journal
from storage.files import Files
from storage.journal import Entry
from storage.repository import Store
from storage.schema import FAILED, OK, PAIRS, SCHEMA_VERSION, PairRow, ScoreRow, SelectionRow
from storage.snapshot import Snapshot
from storage.tables import to_bytes, to_score_rows, to_table

Judges = tuple[tuple[str, int | str], ...]
"""The metrics that score, with their versions."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known from before: the newest snapshot, if there is one, and the journal.

    Attributes:
        snapshot: the newest snapshot of `main`.
        rows: every score row that may be used again, by content key.
        kept: every snapshot, whose pictures may be used again, the newest one of `main` first.
        entries: finished pairs of builds that were not published, by key.
    """

    snapshot: Snapshot | None
    rows: Mapping[str, ScoreRow]
    kept: tuple[Kept, ...]
    entries: Mapping[str, Entry]

    @property
    def newest(self) -> Kept | None:
        """The newest snapshot with its selections."""
        return self.kept[0] if self.snapshot else None

    @property
    def winners(self) -> Mapping[str, SelectionRow]:
        """The newest snapshot's selections, by pair_id."""
        return self.kept[0].winners if self.snapshot else {}

    def find_picture(self, pair_id: str, content_key: str) -> Kept | None:
        """A snapshot that holds this candidate's picture."""
        return next((one for one in self.kept if one.holds(pair_id, content_key)), None)

    def find_sources(self, row: PairRow) -> Kept | None:
        """A snapshot that holds the pictures of a pair's sources."""
        return next((one for one in self.kept if one.holds_sources(row)), None)

    def find_candidates(self, pair_id: str, content_keys: list[str]) -> Kept | None:
        """A snapshot that holds the pictures of exactly these candidates."""
        return next((one for one in self.kept if one.list_candidates(pair_id) == content_keys), None)


@dataclass(frozen=True, slots=True)
class PairPlan:
    """One usable pair: its candidates, and what of it is to be done.

    Attributes:
        pair: its row.
        task: what a worker is told; not all of it needs doing.
        settled: rows of published results that cannot be candidates.
        todo: whether a worker must look at it.
    """

    pair: PairRow
    task: PairTask
    settled: tuple[ScoreRow, ...]
    todo: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A build, planned.

    Attributes:
        survey: every pair that was asked for, and what was noticed about it.
        pairs: the usable ones, in the order of their ids.
        past: what is known from before.
        policy: how winners are picked.
        metrics: what candidates are scored by, with the versions.
        methods: the live methods, as the manifest describes them.
        build_key: covers everything that decides the snapshot's content.
    """

    survey: Survey
    pairs: tuple[PairPlan, ...]
    past: Past
    policy: Policy
    metrics: Mapping[str, int | str]
    methods: Mapping[str, Mapping[str, Any]]
    build_key: str

    @property
    def todo(self) -> tuple[PairTask, ...]:
        """What workers must do."""
        return tuple(one.task for one in self.pairs if one.todo)

    @property
    def published(self) -> Snapshot | None:
        """The newest snapshot, if it is exactly what this build would make."""
        snapshot = self.past.snapshot
        return snapshot if snapshot is not None and snapshot.manifest.get("build_key") == self.build_key else None


def recall(store: Store, newest: Snapshot | None, origin: Snapshot | None = None) -> Past:
    """Gather what may be used again.

    Args:
        store: where all of it lies.
        newest: the newest snapshot of `main`, if there is one.
        origin: another one whose scores are used.
    """
    entries = journal.read_entries(store.files)
    named = [one for one in (newest, origin) if one is not None]
    rows = [row for one in reversed(named) for row in to_score_rows(one.table("scores"))]
    rows += (row for entry in entries.values() for row in entry.rows)
    known: dict[str, ScoreRow] = {}
    for row in rows:
        if row.status == OK or row.content_key not in known:
            known[row.content_key] = row
    return Past(newest, known, list_kept(store, *named), entries)


def forget_failures(files: Files, past: Past) -> Past:
    """The same past without failed candidates, so that they are tried again."""
    stale = {key for key, entry in past.entries.items() if any(row.status == FAILED for row in entry.rows)}
    journal.delete_entries(files, stale)
    entries = {key: entry for key, entry in past.entries.items() if key not in stale}
    return replace(past, rows={key: row for key, row in past.rows.items() if row.status == OK}, entries=entries)


def make_plan(recipe: Recipe, store: str, survey: Survey, past: Past) -> Plan:
    """Everything that a build must do, from what was asked for, what the survey found and what is known from before."""
    policy, metrics = recipe.policy(), find_versions(recipe.metric_names())
    live = {name: [_find_live(recipe, method) for method in recipe.methods_of(block)] for name, block in survey.blocks.items()}
    pairs = tuple(_plan_pair(recipe, store, ref, row, survey, past, policy, metrics, live[ref.source.name]) for ref, row in survey.usable())
    methods = _describe_methods(pairs)
    return Plan(survey, pairs, past, policy, metrics, methods, make_build_key(recipe, survey.rows, pairs, methods))


def find_versions(metrics: Iterable[str]) -> dict[str, int | str]:
    """The versions of some metrics; raises UnknownName."""
    return {name: registry.find_metric(name).version for name in metrics}


def _describe_methods(pairs: Iterable[PairPlan]) -> dict[str, dict[str, Any]]:
    """Every live method: what version and parameters it runs with, and the licence of what it rests on."""
    live = {one.blank.method: one for pair in pairs for one in pair.task.candidates if one.file is None}
    return {
        name: {"version": one.blank.version, "parameters": dict(one.parameters), "licence": registry.find_method(name).licence}
        for name, one in sorted(live.items())
    }


def _plan_pair(
    recipe: Recipe,
    store: str,
    ref: PairRef,
    row: PairRow,
    survey: Survey,
    past: Past,
    policy: Policy,
    metrics: Mapping[str, int | str],
    methods: Sequence[tuple[Method, Mapping[str, object]]],
) -> PairPlan:
    judges = tuple(metrics.items())
    live = [_live_candidate(recipe, row, *method, judges) for method in methods]
    found = [(file, _published_candidate(recipe, row, file, judges)) for file in survey.published.get(row.pair_id, ())]
    settled = tuple(fail(one.blank, file.reason, file.message) for file, one in found if file.status != OK)
    published = [one for file, one in found if file.status == OK]
    candidates = tuple(sorted((*live, *published), key=lambda one: one.blank.method))
    key = make_pair_key(row.pair_id, candidates, policy, recipe.keep)
    done = find_done(past, key)
    again = {one.blank.content_key: done.get(one.blank.content_key) or reuse(one.blank, past) for one in candidates}
    known = {content_key: one for content_key, one in again.items() if one}
    task = PairTask(key, store, ref, candidates, known, policy, metrics, recipe.keep)
    return PairPlan(row, task, settled, is_todo(task, settled, past))


def make_pair_key(pair_id: str, candidates: Iterable[CandidateTask], policy: Policy, keep: str) -> str:
    """What decides everything that is kept of a pair."""
    return _hash("pair", pair_id, [one.blank.content_key for one in candidates], _policy_key(policy, pair_id), keep)


def find_done(past: Past, key: str) -> dict[str, ScoreRow]:
    """The rows of a pair's own journal entry by content key: its pictures go with them, whatever else is known."""
    return {row.content_key: row for row in past.entries[key].rows} if key in past.entries else {}


def is_todo(task: PairTask, settled: tuple[ScoreRow, ...], past: Past) -> bool:
    """Whether a candidate is not evaluated yet, or a picture that is to be kept is neither in the journal nor in a snapshot."""
    if task.key in past.entries:
        return False
    if len(task.known) < len(task.candidates):
        return True
    winner = choose(task, settled)
    if winner is None:
        return False
    pair_id = task.ref.pair_id
    all_there = task.keep != "all" or past.find_candidates(pair_id, task.content_keys) is not None
    return not all_there or past.find_picture(pair_id, task.find_key(winner.method)) is None


def choose(task: PairTask, settled: Iterable[ScoreRow]) -> Choice | None:
    """The winner of a pair all of whose candidates are known."""
    return select(task.ref.pair_id, [*task.known.values(), *settled], task.policy)


def _find_live(recipe: Recipe, name: str) -> tuple[Method, Mapping[str, object]]:
    """A live method, with the parameters that it runs with."""
    method = registry.find_method(name)
    return method, method.parameters | recipe.parameters.get(name, {})


def _live_candidate(recipe: Recipe, row: PairRow, method: Method, parameters: Mapping[str, object], judges: Judges) -> CandidateTask:
    key = _candidate_key(row, judges, "live", method.name, method.version, parameters)
    blank = ScoreRow(pair_id=row.pair_id, method=method.name, version=str(method.version), content_key=key, status="")
    return CandidateTask(blank, parameters, recipe.limit_of(method.name))


def _published_candidate(recipe: Recipe, row: PairRow, file: PublishedFile, judges: Judges) -> CandidateTask:
    key = _candidate_key(row, judges, "published", file.method, file.file_hash, file.reason)
    blank = ScoreRow(pair_id=row.pair_id, method=file.method, version=file.file_hash[:16], content_key=key, status="", file=file.path)
    return CandidateTask(blank, {}, recipe.time_limit, file)


def _candidate_key(row: PairRow, judges: Judges, *what: object) -> str:
    """What decides a candidate's picture and scores: the pair's content, the method with its version and parameters, the judges."""
    return _hash("candidate", EVALUATION, row.pair_hash, judges, *what)


def reuse(blank: ScoreRow, past: Past) -> ScoreRow | None:
    """The row known under a content key; a failure's sentence names its pair, so it is used again for that pair only."""
    known = past.rows.get(blank.content_key)
    if known is None or (known.status != OK and known.pair_id != blank.pair_id):
        return None
    return replace(known, pair_id=blank.pair_id, method=blank.method, file=blank.file)


def _policy_key(policy: Policy, pair_id: str) -> tuple[object, ...]:
    return policy.criterion.name, policy.criterion.rule, policy.allow_copies, (policy.by_hand or {}).get(pair_id)


def make_build_key(recipe: Recipe, rows: tuple[PairRow, ...], pairs: tuple[PairPlan, ...], methods: Mapping[str, Mapping[str, Any]]) -> str:
    """The snapshot's content, but for where its files lay; what came of a candidate counts too, for another try may end otherwise."""
    asked = to_bytes(to_table([replace(row, a_path="", b_path="") for row in rows], PAIRS))
    settled = [(row.method, row.content_key) for one in pairs for row in one.settled]
    outcomes = [sorted((key, row.status) for key, row in one.task.known.items()) for one in pairs]
    licences = [(block.name, block.published_licence) for block in recipe.source], {name: one["licence"] for name, one in methods.items()}
    keys = [one.task.key for one in pairs]
    return _hash("build", SCHEMA_VERSION, hashlib.sha256(asked).hexdigest(), keys, settled, outcomes, licences, recipe.max_failures)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
