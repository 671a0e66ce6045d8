"""Publishing: everything a build has finished becomes one snapshot, is read back as a reader would, and gets its tag."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.plan import PairPlan, Plan, choose
from flows.provenance import hash_sources, list_versions
from flows.recipe import Recipe, SourceBlock
from flows.summary import count_failures, name_reasons
from flows.words import count, name_first
from flows.work import PairTask
from prior import registry
from prior.evaluate import EVALUATION
from prior.pictures import show_path
from prior.published import PREFIX
from prior.select import Choice, Policy, find_values, may_win
from storage import journal
from storage.errors import BuildFailed, StoreError
from storage.files import hash_bytes
from storage.planes import Planes
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
    UNCONSTRAINED,
    PairRow,
    ScoreRow,
    SelectionRow,
    scores_schema,
)
from storage.seals import do_all, write_seal
from storage.snapshot import Snapshot
from storage.tables import TableReference, to_selection_rows, to_table, write_table

LIBRARIES = ("fusion-prior", "numpy", "scipy", "opencv-python-headless", "numba", "PyWavelets", "pillow", "zarr", "icechunk", "pyarrow")
"""What decides the numbers: workers must have the same versions."""

RECORDED = (*LIBRARIES, "scikit-image", "dask", "prefect")
"""What a manifest names the versions of."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One pair with all its candidates known: its rows by method, what was picked, and which images the newest snapshot lacks."""

    task: PairTask
    pair: PairRow
    rows: tuple[ScoreRow, ...]
    choice: Choice | None
    image_changed: bool
    candidates_changed: bool

    @property
    def pair_id(self) -> str:
        """The pair's id."""
        return self.pair.pair_id


@dataclass(frozen=True, slots=True)
class Images:
    """What is kept of one pair: the hash of its pictures' planes, how many there are, and how many its candidates have."""

    image_hash: str
    planes: int
    candidate_planes: int


def publish(recipe: Recipe, store: Store, plan: Plan, tag: str = "") -> Snapshot:
    """Commit a plan all of whose pairs are finished, read it back as a reader would, and only then make it the newest snapshot.

    Raises:
        BuildFailed: more live candidates failed than the recipe allows; nothing is published, nothing is lost.
        CommitConflict: somebody published in between; likewise.
        InputError: the tag names another snapshot; likewise.
        StoreError: what was committed does not read back; likewise.
    """
    finished = [_finish(one, plan, recipe.keep) for one in plan.pairs]
    check_failures(finished, recipe.max_failures)
    with Draft(store, plan.past.snapshot.id if plan.past.snapshot else find_head(store)) as draft:
        won = [one for one in finished if one.choice]
        images = do_all(lambda one: _keep_images(store, draft, one, plan, recipe.keep), won)
        _delete_others(draft, finished, plan, recipe.keep)
        selections = [_select_row(one, kept, plan) for one, kept in zip(won, images, strict=True)]
        references = write_tables(store, plan, finished, selections)
        manifest = make_manifest(recipe, plan, finished, selections, references)
        facts = describe_commit(manifest, finished, selections)
        scored = count(facts["candidates"], "candidate")
        message = f"{facts['selections']} of {count(facts['pairs'], 'pair')}, {scored}, by {facts['criterion']}"
        snapshot = Snapshot(store, draft.commit(message, manifest, facts))
        _check(snapshot, [one.pair_id for one in won if one.image_changed])
        write_seal(store, snapshot.id, draft, references.values())
        draft.publish(tag)
    _forget(store, plan, finished)
    return snapshot


def _finish(one: PairPlan, plan: Plan, keep: str) -> Finished:
    task = one.task
    left = [candidate.blank.method for candidate in task.candidates if candidate.blank.content_key not in task.known]
    if left:
        raise StoreError(f"{task.ref.pair_id} is not finished: {', '.join(left)} left no trace; run the same command again")
    rows = tuple(sorted((*task.known.values(), *one.settled), key=lambda row: row.method))
    choice = choose(task, one.settled)
    if choice is None:
        return Finished(task, one.pair, rows, None, image_changed=False, candidates_changed=False)
    pair_id, newest = task.ref.pair_id, plan.past.newest
    image_held = newest is not None and newest.is_winner(pair_id, task.find_key(choice.method))
    candidates_held = keep != "all" or (newest is not None and newest.list_candidates(pair_id) == task.content_keys)
    return Finished(task, one.pair, rows, choice, image_changed=not image_held, candidates_changed=not candidates_held)


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


def _keep_images(store: Store, draft: Draft, one: Finished, plan: Plan, keep: str) -> Images:
    """Put those images of a pair into the draft that the newest snapshot does not hold."""
    image_hash, planes, candidate_planes = _describe_held(one, plan)
    candidate_planes = candidate_planes if keep == "all" else 0  # those that are not to be kept are deleted
    if one.image_changed:
        pictures, names = _find_planes(store, one, plan)
        attributes = {"pair_hash": one.pair.pair_hash, "winner": one.choice.method if one.choice else ""}
        draft.put(IMAGES, one.pair_id, ImageChange(pictures, names, attributes))
        image_hash, planes = hash_bytes(pictures.data), len(pictures)
    if one.candidates_changed:
        pictures, names = _find_candidates(store, one, plan)
        draft.put(CANDIDATES, one.pair_id, ImageChange(pictures, names, {"content_keys": one.task.content_keys}))
        candidate_planes = len(pictures)
    return Images(image_hash, planes, candidate_planes)


def _describe_held(one: Finished, plan: Plan) -> tuple[str, int, int]:
    """What the newest snapshot says of a pair's images."""
    held = plan.past.winners.get(one.pair_id)
    if held is None or plan.past.snapshot is None:
        return "", 0, 0
    if held.planes:
        return held.image_hash, held.planes, held.candidate_planes
    return held.image_hash, *plan.past.snapshot.count_planes(one.pair_id)  # a snapshot of an older schema does not say


def _find_planes(store: Store, one: Finished, plan: Plan) -> tuple[Planes, Sequence[str]]:
    """The pictures of a pair with its winner: from the journal, or from a snapshot that keeps them."""
    entry = plan.past.entries.get(one.task.key)
    if entry is not None:
        return journal.read_planes(store.files, entry), entry.planes
    method = one.choice.method if one.choice else ""
    key = one.task.find_key(method)
    kept = plan.past.find_picture(one.pair_id, key)
    if kept is None:
        raise StoreError(f"{one.pair_id} is not finished: the picture of {method} is kept nowhere; run the same command again")
    return kept.read_with_winner(one.pair_id, method, key)


def _find_candidates(store: Store, one: Finished, plan: Plan) -> tuple[Planes, Sequence[str]]:
    """The pictures of all candidates of a pair, likewise."""
    entry = plan.past.entries.get(one.task.key)
    if entry is not None:
        return journal.read_candidates(store.files, entry), entry.candidate_planes
    kept = plan.past.find_candidates(one.pair_id, one.task.content_keys)
    if kept is None:
        raise StoreError(f"{one.pair_id} is not finished: the pictures of its candidates are kept nowhere; run the same command again")
    return kept.snapshot.candidate_planes(one.pair_id)


def _delete_others(draft: Draft, finished: Sequence[Finished], plan: Plan, keep: str) -> None:
    """Take out the images of pairs that have no winner any more, and the candidates nobody asked to keep."""
    held = {one.pair_id for one in finished if one.choice}
    for pair_id in plan.past.winners:
        if pair_id not in held:
            draft.delete(IMAGES, pair_id)
        if pair_id not in held or keep != "all":
            draft.delete(CANDIDATES, pair_id)


def write_tables(store: Store, plan: Plan, finished: Sequence[Finished], selections: Sequence[SelectionRow]) -> dict[str, TableReference]:
    """Write the three tables; each is found under its own hash, and nothing refers to it until the commit."""
    by_id = {one.pair_id: one for one in finished}
    pairs = [_close_pair(row, by_id.get(row.pair_id), plan.policy) for row in plan.survey.rows]
    scores = [row for one in finished for row in one.rows]
    return {
        "pairs": write_table(store.files, "pairs", to_table(pairs, PAIRS)),
        "scores": write_table(store.files, "scores", to_table(scores, scores_schema(tuple(plan.metrics)))),
        "selections": write_table(store.files, "selections", to_table(selections, SELECTIONS)),
    }


def _close_pair(row: PairRow, one: Finished | None, policy: Policy) -> PairRow:
    if one is None:
        return row
    if one.choice is not None:
        return replace(row, array=array_path(IMAGES, row.pair_id))
    out = "outside the criterion's conditions" if _could_win(one.rows, policy) else "copy of a source, or an undefined metric"
    reasons = ", ".join(sorted({row.reason or out for row in one.rows})) or "no method was asked for"
    return replace(row, status=NO_CANDIDATE, reason=NO_CANDIDATE, message=f"{row.pair_id} has no valid candidate ({reasons})")


def _could_win(rows: Sequence[ScoreRow], policy: Policy) -> bool:
    """Whether a candidate has a value, so that nothing but the criterion's conditions keeps it from winning."""
    values = find_values(rows, policy)
    return any(may_win(row, policy) and math.isfinite(values[row.method]) for row in rows)


def _select_row(one: Finished, images: Images, plan: Plan) -> SelectionRow:
    choice = one.choice
    if choice is None:
        raise StoreError(f"{one.pair_id} has no winner to keep")
    winner = next(row for row in one.rows if row.method == choice.method)
    how = ((BY_HAND,) if choice.by_hand else ()) + ((UNCONSTRAINED,) if choice.unconstrained else ())
    return SelectionRow(
        pair_id=one.pair_id,
        method=choice.method,
        content_key=winner.content_key,
        value=choice.value,
        runner_up=choice.runner_up,
        margin=choice.margin,
        flags=(*winner.flags, *one.pair.flags, *how),
        note=choice.note,
        licence=find_licence(choice.method, plan.survey.blocks[one.pair.source], plan),
        image_hash=images.image_hash,
        planes=images.planes,
        candidate_planes=images.candidate_planes,
    )


def find_licence(method: str, block: SourceBlock, plan: Plan) -> str:
    """The licence of what a winner was made by: of a live method's, or of the folder of published results; empty where nobody said."""
    if method.startswith(PREFIX):
        return block.find_published_licence(method)
    return str(plan.methods[method]["licence"])


def count_all(plan: Plan, finished: Sequence[Finished]) -> dict[str, int]:
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


def make_manifest(
    recipe: Recipe,
    plan: Plan,
    finished: Sequence[Finished],
    selections: Sequence[SelectionRow],
    references: Mapping[str, TableReference],
) -> dict[str, Any]:
    """What made the snapshot, as JSON: nothing in it depends on when, where or on how many workers it was made."""
    blocks = plan.survey.blocks.values()
    criterion = plan.policy.criterion
    return {
        "schema_version": SCHEMA_VERSION,
        "build_key": plan.build_key,
        "recipe": recipe.model_dump(mode="json"),
        "criterion": {"name": criterion.name, "rule": criterion.rule},
        "evaluation": EVALUATION,
        "methods": {name: dict(one) for name, one in plan.methods.items()},
        "metrics": dict(plan.metrics),
        "licences": {block.name or show_path(block.a.name): block.licence for block in blocks},
        "used": _list_used(plan, finished, selections),
        "sources": hash_sources(plan.survey.rows),
        "versions": list_versions(RECORDED),
        "counts": count_all(plan, finished),
        "orphans": [show_path(path) for path in plan.survey.orphans],
        "clutter": [show_path(path) for path in plan.survey.clutter],
        "tables": {name: reference.to_json() for name, reference in references.items()},
    }


def _list_used(plan: Plan, finished: Sequence[Finished], selections: Sequence[SelectionRow]) -> dict[str, Any]:
    """The licences of what the snapshot hands on: of pairs and of winners by method, how often each; of the criterion's metrics."""
    chosen = {row.pair_id: row for row in selections}
    pairs = Counter(one.pair.licence for one in finished if one.pair_id in chosen)
    methods: dict[str, Counter[str]] = defaultdict(Counter)
    for row in selections:
        methods[row.method][row.licence] += 1
    return {
        "pairs": dict(sorted(pairs.items())),
        "methods": {name: dict(sorted(one.items())) for name, one in sorted(methods.items())},
        "metrics": {name: registry.find_metric(name).licence for name in plan.policy.criterion.metrics},
    }


def describe_commit(manifest: Mapping[str, Any], finished: Sequence[Finished], selections: Sequence[SelectionRow]) -> dict[str, Any]:
    """What is kept with the commit itself, so that snapshots can be listed without opening each of them; `bytes` are of all pictures."""
    values = [row.value for row in selections]
    sizes = {one.pair_id: one.pair.height * one.pair.width for one in finished}
    return {
        "build_key": manifest["build_key"],
        **manifest["counts"],
        "criterion": manifest["criterion"]["name"],
        "methods": len({row.method for one in finished for row in one.rows}),
        "mean_value": math.fsum(values) / len(values) if values else None,
        "bytes": sum((row.planes + row.candidate_planes) * sizes[row.pair_id] for row in selections),
    }


def _check(snapshot: Snapshot, pair_ids: Sequence[str]) -> None:
    """Read every new image back: a chunk that is missing reads as black without an error, so hashes are compared."""
    hashes = {row.pair_id: row.image_hash for row in to_selection_rows(snapshot.table("selections"))}
    found = do_all(snapshot.image_hash, pair_ids)
    wrong = [pair_id for pair_id, digest in zip(pair_ids, found, strict=True) if digest != hashes[pair_id]]
    if wrong:
        raise StoreError(
            f"{snapshot.store.address} does not read back what was written for {name_first(wrong, 5)}; nothing was published: "
            "check the disk, then build again"
        )


def _forget(store: Store, plan: Plan, finished: Sequence[Finished]) -> None:
    """Take out of the journal everything that the snapshot holds now."""
    held = {row.content_key for one in finished for row in one.rows}
    entries = plan.past.entries.values()
    journal.delete_entries(store.files, [entry.key for entry in entries if all(row.content_key in held for row in entry.rows)])
