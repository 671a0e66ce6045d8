"""The build: survey, plan, evaluate, publish, as plain functions; Prefect and the command line are two ways to call them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from flows.cluster import run_all
from flows.plan import Plan, forget_failures, make_plan, recall
from flows.progress import Report, stay_silent
from flows.publish import publish
from flows.recipe import Recipe, SourceBlock
from flows.survey import quarantine, take_survey
from flows.words import count, describe_death
from flows.work import PairDone, PairTask, run_pair
from flows.workers import check_workers
from prior.examples import write_examples
from storage import journal
from storage.errors import SnapshotNotFound, StoreError
from storage.locks import IfHeld, hold_lock
from storage.repository import MAIN, Store, check_tag, create_store, find_snapshot, tag_snapshot
from storage.snapshot import Snapshot

logger = logging.getLogger(__name__)

BATCHES = 20
"""A long build is cut into about this many batches: each is retried alone and reports its end."""

SMALLEST_BATCH = 32

RESCUES = 12
"""How often a pair that Dask has given up, after four deaths, is handed out again: each death but the first leaves one method out."""

ROUNDS = 3
"""How often what is left is tried, when pairs vanish under the build's feet."""

WARNINGS = 20
"""How many warnings are told one by one."""

Batch = tuple[PairTask, ...]
RunBatches = Callable[[Sequence[Batch]], Iterable[PairDone]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build ended with: the snapshot, whether this build made it or found it, and the newest before it, None for the first."""

    snapshot: Snapshot
    made: bool
    before: Snapshot | None


def build(
    recipe: Recipe,
    address: str,
    client: Client,
    *,
    tag: str = "",
    retry_failed: bool = False,
    report: Report = stay_silent,
    run_batches: RunBatches | None = None,
    who: str = "a build",
    if_held: IfHeld = "wait",
) -> Outcome:
    """Make the snapshot that a recipe asks for, or find that it is there already.

    Args:
        recipe: what is asked for.
        address: the store's.
        client: of the Dask cluster that does the work.
        tag: a name for the snapshot, for good.
        retry_failed: try candidates again that failed before.
        report: told of progress.
        run_batches: how batches are run, if not one after the other.
        who: named to those who want to build into the store meanwhile.
        if_held: whether to wait for another build of the store, or to be refused.

    Raises:
        FusionPriorError: what was asked cannot be done; nothing half-done is visible, and finished work is kept.
    """
    store = create_store(address)
    recipe = with_sources(recipe, (store.files.location.folder or Path.cwd()) / "examples")
    if client.cluster is None:  # somebody else's; a local one needs no look
        check_workers(client, list_folders(recipe, store))
    with hold_lock(store.files, "build", who, if_held=if_held):
        journal.delete_leftovers(store.files)
        newest = find_newest(store)
        if tag:
            check_tag(store, tag, newest.id if newest else None)
        survey = take_survey(recipe, client, report, newest)
        past = recall(store, newest)
        plan = make_plan(recipe, store.files.location.resolved, survey, forget_failures(store.files, past) if retry_failed else past)
        if tag:
            check_tag(store, tag, plan.published.id if plan.published else None)
        run = run_batches or (lambda cut: run_in_turn(client, cut, report))
        _tell(plan)
        plan = finish(plan, store, run, lambda plan, done: _plan_again(recipe, store, plan, done))
        return settle(recipe, store, plan, tag)


def _plan_again(recipe: Recipe, store: Store, plan: Plan, done: Sequence[PairDone]) -> Plan:
    survey = quarantine(plan.survey, {one.pair_id: one.problem for one in done if one.problem})
    return make_plan(recipe, store.files.location.resolved, survey, recall(store, plan.past.snapshot))


def _tell(plan: Plan) -> None:
    logger.info("%s usable of %d; %s", count(len(plan.pairs), "pair"), len(plan.survey.rows), describe_todo(plan.todo))
    for sentence in plan.survey.warnings[:WARNINGS]:
        logger.warning("%s", sentence)
    if len(plan.survey.warnings) > WARNINGS:
        logger.warning("… and %s", count(len(plan.survey.warnings) - WARNINGS, "more warning"))


def describe_todo(todo: Sequence[PairTask]) -> str:
    """What is left for the workers: candidates to evaluate, or pairs whose pictures alone are to be made."""
    candidates, pairs = sum(len(task.candidates) - len(task.known) for task in todo), count(len(todo), "pair")
    if not todo:
        return "nothing to evaluate"
    return f"{count(candidates, 'candidate')} to evaluate on {pairs}" if candidates else f"{pairs} to finish, all candidates known"


def with_sources(recipe: Recipe, folder: Path) -> Recipe:
    """A recipe that names its sources: where it names none, the embedded example pairs, written into `folder` first."""
    if recipe.source:
        return recipe
    sources = write_examples(folder)
    blocks = tuple(SourceBlock(a=one.a, b=one.b, name=one.name, task=one.task, licence=one.licence) for one in sources)
    return recipe.model_copy(update={"source": blocks})


def list_folders(recipe: Recipe, store: Store) -> list[Path]:
    """The folders that every worker must be able to read; what is not there at all is told by the survey."""
    pictures = [folder for block in recipe.source for folder in (block.a, block.b, block.published) if folder and folder.is_dir()]
    return [*pictures, *([store.files.location.folder] if store.files.location.folder else [])]


def find_newest(store: Store) -> Snapshot | None:
    """The newest snapshot of a store, or None where nothing has been built."""
    try:
        return Snapshot(store, find_snapshot(store, MAIN))
    except SnapshotNotFound:
        return None


def finish(plan: Plan, store: Store, run: RunBatches, plan_again: Callable[[Plan, Sequence[PairDone]], Plan]) -> Plan:
    """Do all that a plan leaves to be done, and plan again with what is known then."""
    for _ in range(ROUNDS):
        if not plan.todo:
            return plan
        plan = plan_again(plan, list(run(cut_batches(plan.todo))))
    if plan.todo:
        raise StoreError(
            f"not finished in {store.address}: {count(len(plan.todo), 'pair')}; run the same command again: finished work is kept"
        )
    return plan


def settle(recipe: Recipe, store: Store, plan: Plan, tag: str) -> Outcome:
    """Publish a plan that is finished, or tag the newest snapshot where that is exactly what was planned."""
    before = plan.past.snapshot
    if plan.published is None:
        return Outcome(publish(recipe, store, plan, tag), made=True, before=before)
    logger.info("nothing to do: snapshot %s in %s is exactly this", plan.published.id, store.address)
    # a build that was ended in the instant after it published left its journal
    journal.delete_entries(store.files, [one.task.key for one in plan.pairs if one.task.key in plan.past.entries])
    if tag:
        tag_snapshot(store, tag, plan.published.id)
    return Outcome(plan.published, made=False, before=before)


def cut_batches(tasks: Sequence[PairTask]) -> list[Batch]:
    """The tasks in runs of equal size, about twenty of them, none very small."""
    size = max(SMALLEST_BATCH, -(-len(tasks) // BATCHES))
    return [tuple(tasks[start : start + size]) for start in range(0, len(tasks), size)]


def run_in_turn(client: Client, cut: Sequence[Batch], report: Report) -> list[PairDone]:
    """Run every batch on the cluster as one."""
    tasks = [task for batch in cut for task in batch]
    done: list[PairDone] = []
    for one in run_pairs(client, tasks):
        done.append(one)
        report("evaluating pairs", len(done), len(tasks))
    return done


def run_pairs(client: Client, tasks: Iterable[PairTask]) -> Iterator[PairDone]:
    """Evaluate pairs on the cluster, in the order in which they end; a pair that no process survives is set aside."""
    return run_all(client, run_pair, tasks, give_up=_give_up, rescues=RESCUES)


def _give_up(task: PairTask) -> PairDone:
    return PairDone(task.ref.pair_id, problem=("killed", describe_death("evaluating it")))
