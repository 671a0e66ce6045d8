"""The plan of a build: which pairs there are, which candidates they have, and what of it is still to be done.

Everything is found by content key: what a key covers decides the number, and what it does not cover (paths, the number of workers,
the time of day) does not. So a build that is started again, or for one method more, does only what is missing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flows.recipe import Recipe
from flows.survey import Survey
from flows.work import CandidateTask, PairTask
from prior import registry
from prior.evaluate import EVALUATION, fail
from prior.pairs import PairRef
from prior.published import PublishedFile
from prior.select import Choice, Policy, select
from storage import journal
from storage.files import Files
from storage.journal import Entry
from storage.schema import FAILED, OK, PAIRS, SCHEMA_VERSION, PairRow, ScoreRow, SelectionRow
from storage.snapshot import Snapshot
from storage.tables import to_bytes, to_score_rows, to_selection_rows, to_table


@dataclass(frozen=True, slots=True)
class Past:
    """What is known from before: the newest snapshot, if there is one, and the journal.

    Attributes:
        snapshot: the newest snapshot of `main`.
        rows: every score row that may be used again, by content key.
        winners: by pair_id, the snapshot's selections.
        entries: finished pairs of builds that were not published, by key.
    """

    snapshot: Snapshot | None
    rows: Mapping[str, ScoreRow]
    winners: Mapping[str, SelectionRow]
    entries: Mapping[str, Entry]


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
        build_key: covers everything that decides the snapshot's content.
    """

    survey: Survey
    pairs: tuple[PairPlan, ...]
    past: Past
    policy: Policy
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


def recall(files: Files, snapshot: Snapshot | None) -> Past:
    """Gather what may be used again."""
    entries = journal.read_entries(files)
    rows = to_score_rows(snapshot.table("scores")) if snapshot else []
    winners = {one.pair_id: one for one in to_selection_rows(snapshot.table("selections"))} if snapshot else {}
    kept = [*rows, *(row for entry in entries.values() for row in entry.rows)]
    return Past(snapshot, {row.content_key: row for row in kept}, winners, entries)


def forget_failures(files: Files, past: Past) -> Past:
    """The same past without failed candidates, so that they are tried again."""
    stale = {key for key, entry in past.entries.items() if any(row.status == FAILED for row in entry.rows)}
    journal.delete_entries(files, stale)
    entries = {key: entry for key, entry in past.entries.items() if key not in stale}
    return replace(past, rows={key: row for key, row in past.rows.items() if row.status == OK}, entries=entries)


def make_plan(recipe: Recipe, store: str, survey: Survey, past: Past) -> Plan:
    """Everything that a build must do, from what was asked for, what the survey found and what is known from before."""
    policy = recipe.policy()
    pairs = tuple(_plan_pair(recipe, store, ref, row, survey, past, policy) for ref, row in survey.usable())
    return Plan(survey, pairs, past, policy, _build_key(recipe, survey.rows, pairs))


def _plan_pair(recipe: Recipe, store: str, ref: PairRef, row: PairRow, survey: Survey, past: Past, policy: Policy) -> PairPlan:
    files = survey.published.get(row.pair_id, ())
    live = [_live_candidate(recipe, row, method) for method in recipe.methods_of(survey.block_of(ref))]
    found = [_published_candidate(recipe, row, file) for file in files if file.status == OK]
    settled = tuple(fail(_published_candidate(recipe, row, file).blank, file.reason, file.message) for file in files if file.status != OK)
    candidates = tuple(sorted((*live, *found), key=lambda one: one.blank.method))
    known = {key: again for key, again in ((one.blank.content_key, _reuse(one.blank, past)) for one in candidates) if again}
    key = _hash("pair", row.pair_id, [one.blank.content_key for one in candidates], _policy_key(policy, row.pair_id), recipe.keep)
    task = PairTask(key, store, ref, candidates, known, policy, recipe.metric_names(), recipe.keep)
    return PairPlan(row, task, settled, _is_todo(task, settled, recipe, past))


def _is_todo(task: PairTask, settled: tuple[ScoreRow, ...], recipe: Recipe, past: Past) -> bool:
    """Whether a candidate is not evaluated yet, or a picture that is to be kept is neither in the journal nor in the snapshot."""
    if task.key in past.entries:
        return False
    if len(task.known) < len(task.candidates):
        return True
    winner = choose(task, settled)
    return winner is not None and not holds_image(task, winner, recipe.keep, past)


def choose(task: PairTask, settled: Iterable[ScoreRow]) -> Choice | None:
    """The winner of a pair all of whose candidates are known."""
    return select(task.ref.pair_id, [*task.known.values(), *settled], task.policy)


def holds_image(task: PairTask, winner: Choice, keep: str, past: Past) -> bool:
    """Whether the newest snapshot holds exactly the image that this pair is to have."""
    if past.snapshot is None or past.snapshot.manifest["recipe"]["keep"] != keep:
        return False
    if keep == "all" and past.snapshot.candidate_keys(task.ref.pair_id) != [one.blank.content_key for one in task.candidates]:
        return False
    key = next(one.blank.content_key for one in task.candidates if one.blank.method == winner.method)
    held = past.winners.get(task.ref.pair_id)
    return held is not None and held.content_key == key


def _live_candidate(recipe: Recipe, row: PairRow, name: str) -> CandidateTask:
    method = registry.find_method(name)
    parameters = method.parameters | recipe.parameters.get(name, {})
    key = _candidate_key(recipe, row, "live", name, method.version, parameters)
    blank = ScoreRow(pair_id=row.pair_id, method=name, version=str(method.version), content_key=key, status="")
    return CandidateTask(blank, parameters, recipe.limit_of(name))


def _published_candidate(recipe: Recipe, row: PairRow, file: PublishedFile) -> CandidateTask:
    key = _candidate_key(recipe, row, "published", file.method, file.file_hash, file.reason)
    blank = ScoreRow(pair_id=row.pair_id, method=file.method, version=file.file_hash[:16], content_key=key, status="", file=file.path)
    return CandidateTask(blank, {}, recipe.time_limit, file)


def _candidate_key(recipe: Recipe, row: PairRow, *what: object) -> str:
    """What decides a candidate's picture and scores: the pair's content, the method with its version and parameters, the judges."""
    judges = [(name, registry.find_metric(name).version) for name in recipe.metric_names()]
    return _hash("candidate", EVALUATION, row.pair_hash, judges, *what)


def _reuse(blank: ScoreRow, past: Past) -> ScoreRow | None:
    """The row known under a content key; a failure's sentence names its pair, so it is used again for that pair only."""
    known = past.rows.get(blank.content_key)
    if known is None or (known.status != OK and known.pair_id != blank.pair_id):
        return None
    return replace(known, pair_id=blank.pair_id, method=blank.method, file=blank.file)


def _policy_key(policy: Policy, pair_id: str) -> tuple[object, ...]:
    return policy.criterion.name, policy.criterion.rule, policy.allow_copies, (policy.by_hand or {}).get(pair_id)


def _build_key(recipe: Recipe, rows: tuple[PairRow, ...], pairs: tuple[PairPlan, ...]) -> str:
    """The snapshot's content, but for where its files lay."""
    asked = to_bytes(to_table([replace(row, a_path="", b_path="") for row in rows], PAIRS))
    settled = [(row.method, row.content_key) for one in pairs for row in one.settled]
    return _hash("build", SCHEMA_VERSION, hashlib.sha256(asked).hexdigest(), [one.task.key for one in pairs], settled, recipe.max_failures)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
