"""Reselection: the winners of another criterion, from the scores that a snapshot keeps; nothing is scored again.

A winner's picture is taken from wherever it is kept; only one that is kept nowhere is made again, from the sources in the snapshot, and
must then have the scores that it had.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.build import Outcome, RunBatches, find_newest, finish, settle
from flows.plan import PairPlan, Past, Plan, find_done, is_todo, make_build_key, make_pair_key, recall
from flows.recipe import Recipe
from flows.survey import Survey
from flows.work import CandidateTask, PairDone, PairTask
from prior import registry
from prior.criterion import check_metrics, parse_criterion
from prior.pairs import PairRef
from prior.pictures import try_hash
from prior.published import PREFIX, PublishedFile
from prior.select import Policy
from storage import journal
from storage.errors import SchemaMismatch, StoreError, UnknownName
from storage.locks import IfHeld, hold_lock
from storage.repository import Store, check_tag, open_store
from storage.schema import NO_CANDIDATE, OK, PairRow, ScoreRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_score_rows

logger = logging.getLogger(__name__)


def reselect(
    address: str, version: str, criterion: str, run: RunBatches, *, tag: str = "", who: str = "a reselection", if_held: IfHeld = "wait"
) -> Outcome:
    """Make the snapshot that another criterion picks from the scores of an older one; it becomes the newest.

    Args:
        address: the store's.
        version: of the snapshot whose pairs, candidates and scores are used: a tag, a branch or an id.
        criterion: a profile's name or a rule.
        run: makes the pictures that are kept nowhere; not called where there are none.
        tag: a name for the new snapshot, for good.
        who: named to those who want to build into the store meanwhile.
        if_held: whether to wait for a build of the store, or to be refused.

    Raises:
        FusionPriorError: what was asked cannot be done; nothing half-done is visible.
    """
    store = open_store(address)
    with hold_lock(store.files, "build", who, if_held=if_held):
        journal.delete_leftovers(store.files)
        origin, newest = Snapshot(store, version), find_newest(store)
        recipe = read_made_recipe(origin).model_copy(update={"criterion": criterion})
        check_metrics(parse_criterion(criterion), origin.manifest["metrics"])
        plan = plan_reselection(recipe, origin, recall(store, newest, origin))
        if tag:
            check_tag(store, tag, plan.published.id if plan.published else None)
        logger.info("%d pairs to select from; %d pictures to make", len(plan.pairs), len(plan.todo))
        plan = finish(plan, store, run, lambda plan, done: _plan_again(recipe, store, origin, plan, done))
        return settle(recipe, store, plan, tag)


def read_made_recipe(snapshot: Snapshot) -> Recipe:
    """The recipe that a snapshot was made by.

    Raises:
        SchemaMismatch: this release does not understand it.
    """
    try:
        return Recipe.model_validate(snapshot.manifest["recipe"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SchemaMismatch(
            f"the recipe of snapshot {snapshot.id} is not understood ({where}: {first['msg']}); build again with a recipe of this release"
        ) from None


def plan_reselection(recipe: Recipe, origin: Snapshot, past: Past) -> Plan:
    """The plan of a build whose pairs, candidates and scores are those of a snapshot."""
    policy = recipe.policy()
    scores: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in to_score_rows(origin.table("scores")):
        scores[row.pair_id].append(row)
    rows = tuple(_open_again(row) for row in to_pair_rows(origin.table("pairs")))
    survey = Survey(
        rows,
        refs={},
        blocks={block.name: block for block in recipe.source},
        published={},
        orphans=_to_paths(origin, "orphans"),
        clutter=_to_paths(origin, "clutter"),
        warnings=(),
    )
    methods = _complete_methods(origin, recipe)
    pairs = tuple(_plan_pair(recipe, policy, row, scores[row.pair_id], origin, past, methods) for row in rows if row.status == OK)
    return Plan(survey, pairs, past, policy, origin.manifest["metrics"], methods, make_build_key(recipe, rows, pairs, methods))


def _plan_again(recipe: Recipe, store: Store, origin: Snapshot, plan: Plan, done: Sequence[PairDone]) -> Plan:
    problems = [f"{one.pair_id}: {one.problem[1]}" for one in done if one.problem]
    if problems:
        raise StoreError(f"{len(problems)} pairs cannot be read any more ({problems[0]}); build again")
    return plan_reselection(recipe, origin, recall(store, plan.past.snapshot, origin))


def _open_again(row: PairRow) -> PairRow:
    """A pair as before anything was picked for it: one without a candidate may have one now."""
    row = replace(row, array="")
    return replace(row, status=OK, reason="", message="") if row.status == NO_CANDIDATE else row


def _to_paths(origin: Snapshot, name: str) -> tuple[Path, ...]:
    return tuple(Path(path) for path in origin.manifest.get(name, ()))


def _complete_methods(origin: Snapshot, recipe: Recipe) -> dict[str, Mapping[str, Any]]:
    """The live methods as the snapshot's manifest describes them; one of an older schema does not tell the parameters."""
    return {name: {"parameters": _guess_parameters(name, recipe), **one} for name, one in origin.manifest["methods"].items()}


def _guess_parameters(name: str, recipe: Recipe) -> dict[str, Any]:
    try:
        return registry.find_method(name).parameters | recipe.parameters.get(name, {})
    except UnknownName:
        return {}  # it cannot fuse any more, whatever its parameters


def _plan_pair(
    recipe: Recipe,
    policy: Policy,
    row: PairRow,
    scores: Sequence[ScoreRow],
    origin: Snapshot,
    past: Past,
    methods: Mapping[str, Mapping[str, Any]],
) -> PairPlan:
    settled = tuple(one for one in scores if one.method.startswith(PREFIX) and one.status != OK)
    candidates = tuple(_plan_candidate(recipe, one, methods) for one in scores if one not in settled)
    key = make_pair_key(row.pair_id, candidates, policy, recipe.keep)
    rows = {one.content_key: one for one in scores} | find_done(past, key)
    known = {one.blank.content_key: rows[one.blank.content_key] for one in candidates}
    block = next(block for block in recipe.source if block.name == row.source)
    task = PairTask(
        key=key,
        store=origin.store.files.location.resolved,
        ref=PairRef(pair_id=row.pair_id, source=block.to_source(), key=row.pair_id, a=Path(row.a_path), b=Path(row.b_path)),
        candidates=candidates,
        known=known,
        policy=policy,
        metrics=origin.manifest["metrics"],
        keep=recipe.keep,
    )
    if not is_todo(task, settled, past):
        return PairPlan(row, task, settled, todo=False)
    kept = past.find_sources(row)
    if kept is None:
        _check_files(row)
    return PairPlan(row, replace(task, kept_in=kept.id if kept else ""), settled, todo=True)


def _plan_candidate(recipe: Recipe, row: ScoreRow, methods: Mapping[str, Mapping[str, Any]]) -> CandidateTask:
    blank = ScoreRow(pair_id=row.pair_id, method=row.method, version=row.version, content_key=row.content_key, status="", file=row.file)
    if row.method.startswith(PREFIX):
        return CandidateTask(blank, {}, recipe.time_limit, PublishedFile(row.method, row.file, row.version, OK))
    return CandidateTask(blank, methods[row.method]["parameters"], recipe.limit_of(row.method))


def _check_files(row: PairRow) -> None:
    """Refuse a pair that the snapshot keeps no pictures of, and whose files are not those it was scored on."""
    if (try_hash(Path(row.a_path)), try_hash(Path(row.b_path))) != (row.a_hash, row.b_hash):
        raise StoreError(
            f"{row.pair_id} would have a winner now, but no snapshot keeps pictures of it, and its files are gone or others "
            f"({row.a_path}, {row.b_path}); put them back, or build again"
        )
