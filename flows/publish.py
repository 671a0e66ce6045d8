"""Publishing: everything a build has finished becomes one snapshot, is read back as a reader would, and gets its tag."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, TypeVar

from flows.plan import PairPlan, Plan, choose, holds_image
from flows.recipe import Recipe
from flows.summary import count_failures, name_reasons
from flows.work import PairTask
from prior import registry
from prior.published import PREFIX
from prior.select import Choice
from storage import journal
from storage.errors import BuildFailed, StoreError
from storage.repository import CANDIDATES, IMAGES, Draft, ImageChange, Store, array_path, find_head
from storage.schema import (
    BY_HAND,
    EXCLUDED,
    FAILED,
    MISSING,
    NO_CANDIDATE,
    OK,
    PAIRS,
    QUARANTINED,
    SCHEMA_VERSION,
    SELECTIONS,
    PairRow,
    ScoreRow,
    SelectionRow,
    scores_schema,
)
from storage.snapshot import Snapshot, read_snapshot
from storage.tables import TableReference, to_selection_rows, to_table, write_table

T = TypeVar("T")
R = TypeVar("R")

THREADS = 4
"""Images written or read back at once."""

LIBRARIES = ("fusion-prior", "numpy", "scipy", "opencv-python-headless", "numba", "PyWavelets", "pillow", "zarr", "icechunk", "pyarrow")


@dataclass(frozen=True, slots=True)
class Finished:
    """One pair with all its candidates known: its rows by method, and what was picked."""

    task: PairTask
    pair: PairRow
    rows: tuple[ScoreRow, ...]
    choice: Choice | None
    changed: bool

    @property
    def pair_id(self) -> str:
        """The pair's id."""
        return self.pair.pair_id


def publish(recipe: Recipe, store: Store, plan: Plan) -> Snapshot:
    """Commit a plan all of whose pairs are finished, as the newest snapshot, and read it back.

    Raises:
        BuildFailed: more live candidates failed than the recipe allows; nothing is committed, nothing is lost.
        CommitConflict: somebody committed in between; likewise.
        StoreError: what was committed does not read back; the snapshot stays, untagged.
    """
    finished = [_finish(one, plan, recipe.keep) for one in plan.pairs]
    check_failures(finished, recipe.max_failures)
    draft = Draft(store, plan.past.snapshot.id if plan.past.snapshot else find_head(store))
    changed = [one for one in finished if one.changed]
    _do_all(lambda one: _put_images(store, draft, one, plan), changed)
    _delete_others(draft, finished, plan, recipe.keep)
    manifest = make_manifest(recipe, plan, write_tables(store, plan, finished, recipe.metric_names()), count(plan, finished))
    counts = manifest["counts"]
    message = f"{counts['selections']} of {counts['pairs']} pairs, {counts['candidates']} candidates, by {plan.policy.criterion.name}"
    snapshot = read_snapshot(store, draft.commit(message, manifest, {"build_key": plan.build_key, **counts}))
    _check(snapshot, [one.pair_id for one in changed])
    _forget(store, plan, finished)
    return snapshot


def _do_all(function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
    """`function` of every task, some at once: reading, hashing and writing leave the interpreter free."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, tasks))


def _finish(one: PairPlan, plan: Plan, keep: str) -> Finished:
    task = one.task
    left = [candidate.blank.method for candidate in task.candidates if candidate.blank.content_key not in task.known]
    if left:
        raise StoreError(f"{task.ref.pair_id} is not finished: {', '.join(left)} left no trace; run the same command again")
    rows = tuple(sorted((*task.known.values(), *one.settled), key=lambda row: row.method))
    choice = choose(task, one.settled)
    return Finished(task, one.pair, rows, choice, choice is not None and not holds_image(task, choice, keep, plan.past))


def check_failures(finished: Sequence[Finished], allowed: float) -> None:
    """Refuse a build in which too large a share of the live candidates failed.

    Raises:
        BuildFailed: with the share, the reasons and the first of them.
    """
    live = [row for one in finished for row in one.rows if not row.method.startswith(PREFIX)]
    failures = count_failures(live)
    failed = sum(one.count for one in failures)
    if failed <= allowed * len(live):
        return
    raise BuildFailed(
        f"{failed} of {len(live)} live candidates failed ({name_reasons(failures)}), more than max_failures = {allowed:.0%}; "
        f"the first: {failures[0].first}; mend or leave out what fails and run again: finished work is kept",
        failures,
    )


def _put_images(store: Store, draft: Draft, one: Finished, plan: Plan) -> None:
    entry = plan.past.entries[one.task.key]
    attributes = {"pair_hash": one.pair.pair_hash, "winner": one.choice.method if one.choice else ""}
    draft.put(IMAGES, one.pair_id, ImageChange(journal.read_planes(store.files, entry), entry.planes, attributes))
    if entry.candidate_planes:
        keys = {"content_keys": [candidate.blank.content_key for candidate in one.task.candidates]}
        draft.put(CANDIDATES, one.pair_id, ImageChange(journal.read_candidates(store.files, entry), entry.candidate_planes, keys))


def _delete_others(draft: Draft, finished: Sequence[Finished], plan: Plan, keep: str) -> None:
    """Take out the images of pairs that have no winner any more, and the candidates nobody asked to keep."""
    held = {one.pair_id for one in finished if one.choice}
    for pair_id in plan.past.winners:
        if pair_id not in held:
            draft.delete(IMAGES, pair_id)
        if pair_id not in held or keep != "all":
            draft.delete(CANDIDATES, pair_id)


def write_tables(store: Store, plan: Plan, finished: Sequence[Finished], metrics: tuple[str, ...]) -> dict[str, TableReference]:
    """Write the three tables; each is found under its own hash, and nothing refers to it until the commit."""
    by_id = {one.pair_id: one for one in finished}
    pairs = [_close_pair(row, by_id.get(row.pair_id)) for row in plan.survey.rows]
    scores = [row for one in finished for row in one.rows]
    selections = [_selection(one, plan) for one in finished if one.choice]
    return {
        "pairs": write_table(store.files, "pairs", to_table(pairs, PAIRS)),
        "scores": write_table(store.files, "scores", to_table(scores, scores_schema(metrics))),
        "selections": write_table(store.files, "selections", to_table(selections, SELECTIONS)),
    }


def _close_pair(row: PairRow, one: Finished | None) -> PairRow:
    if one is None:
        return row
    if one.choice is not None:
        return replace(row, array=array_path(IMAGES, row.pair_id))
    reasons = ", ".join(sorted({row.reason or "copy of a source, or an undefined metric" for row in one.rows})) or "no method was asked for"
    return replace(row, status=NO_CANDIDATE, reason=NO_CANDIDATE, message=f"{row.pair_id} has no valid candidate ({reasons})")


def _selection(one: Finished, plan: Plan) -> SelectionRow:
    choice = one.choice
    if choice is None:
        raise StoreError(f"{one.pair_id} has no winner to keep")
    winner = next(row for row in one.rows if row.method == choice.method)
    hand = (BY_HAND,) if choice.by_hand else ()
    image_hash = plan.past.entries[one.task.key].image_hash if one.changed else plan.past.winners[one.pair_id].image_hash
    return SelectionRow(
        pair_id=one.pair_id,
        method=choice.method,
        content_key=winner.content_key,
        value=choice.value,
        runner_up=choice.runner_up,
        margin=choice.margin,
        flags=(*winner.flags, *one.pair.flags, *hand),
        note=choice.note,
        image_hash=image_hash,
    )


def count(plan: Plan, finished: Sequence[Finished]) -> dict[str, int]:
    """How many of everything."""
    statuses = Counter(row.status for one in finished for row in one.rows)
    return {
        "pairs": len(plan.survey.rows),
        "quarantined": sum(row.status == QUARANTINED for row in plan.survey.rows),
        "excluded": sum(row.status == EXCLUDED for row in plan.survey.rows),
        "no_candidate": sum(one.choice is None for one in finished),
        "selections": sum(one.choice is not None for one in finished),
        "candidates": statuses[OK],
        "failed": statuses[FAILED],
        "missing": statuses[MISSING],
    }


def make_manifest(recipe: Recipe, plan: Plan, references: Mapping[str, TableReference], counts: Mapping[str, int]) -> dict[str, Any]:
    """What made the snapshot, as JSON: nothing in it depends on when, where or on how many workers it was made."""
    blocks = plan.survey.blocks.values()
    candidates = (candidate for one in plan.pairs for candidate in one.task.candidates)
    live = sorted({one.blank.method for one in candidates if one.file is None})
    return {
        "schema_version": SCHEMA_VERSION,
        "build_key": plan.build_key,
        "recipe": recipe.model_dump(mode="json"),
        "criterion": {"name": plan.policy.criterion.name, "rule": plan.policy.criterion.rule},
        "methods": {name: {"version": one.version, "licence": one.licence} for name in live for one in (registry.find_method(name),)},
        "metrics": {name: registry.find_metric(name).version for name in recipe.metric_names()},
        "licences": {block.name or block.a.name: block.licence for block in blocks},
        "versions": {name: version(name) for name in LIBRARIES},
        "counts": dict(counts),
        "orphans": [str(path) for path in plan.survey.orphans],
        "clutter": [str(path) for path in plan.survey.clutter],
        "tables": {name: reference.to_json() for name, reference in references.items()},
    }


def _check(snapshot: Snapshot, pair_ids: Sequence[str]) -> None:
    """Read every new image back: a chunk that is missing reads as black without an error, so hashes are compared."""
    hashes = {row.pair_id: row.image_hash for row in to_selection_rows(snapshot.selections())}
    found = _do_all(snapshot.image_hash, pair_ids)
    wrong = [pair_id for pair_id, digest in zip(pair_ids, found, strict=True) if digest != hashes[pair_id]]
    if wrong:
        raise StoreError(
            f"snapshot {snapshot.id} does not read back what was written for {', '.join(wrong[:5])}; it was not tagged; build again"
        )


def _forget(store: Store, plan: Plan, finished: Sequence[Finished]) -> None:
    """Take out of the journal everything that the snapshot holds now."""
    held = {row.content_key for one in finished for row in one.rows}
    entries = plan.past.entries.values()
    journal.delete_entries(store.files, [entry.key for entry in entries if all(row.content_key in held for row in entry.rows)])
