"""What a build would take, without making it: pairs, methods, the time measured on one pair, and the disk space. Nothing is kept."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Client

from flows.build import find_newest, with_sources
from flows.cluster import count_workers
from flows.plan import PairPlan, Past, make_plan, recall
from flows.progress import Report
from flows.recipe import Recipe
from flows.survey import take_survey
from flows.work import run_pair
from storage.errors import StoreError
from storage.repository import open_store


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build would take.

    Attributes:
        pairs, usable: asked for, and fit for work.
        methods: live and published, in alphabetical order.
        candidates: still to be evaluated.
        seconds: of the evaluation, on the workers there are.
        megabytes: of pictures, to be written.
        warnings: sentences for the user.
    """

    pairs: int
    usable: int
    methods: tuple[str, ...]
    candidates: int
    seconds: float
    megabytes: float
    warnings: tuple[str, ...]


def estimate(recipe: Recipe, address: str, client: Client, report: Report) -> Estimate:
    """What a build would take; the time comes from evaluating the pair of median size, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        asked = with_sources(recipe, Path(folder))
        past = _recall(address)
        survey = take_survey(asked, client, report, past.snapshot)
        plan = make_plan(asked, folder, survey, past)
        todo = [one for one in plan.pairs if one.todo]
        seconds = _rehearse(todo, Path(folder), client)
    return Estimate(
        pairs=len(survey.rows),
        usable=len(plan.pairs),
        methods=tuple(sorted({one.blank.method for pair in plan.pairs for one in pair.task.candidates})),
        candidates=sum(len(one.task.candidates) - len(one.task.known) for one in todo),
        seconds=seconds,
        megabytes=sum(_pixels(one) * _planes(one, recipe.keep) for one in todo) / 1e6,
        warnings=survey.warnings,
    )


def _recall(address: str) -> Past:
    try:
        store = open_store(address)
    except StoreError:
        return Past(None, {}, (), {})
    return recall(store, find_newest(store))


def _rehearse(todo: Sequence[PairPlan], folder: Path, client: Client) -> float:
    """Seconds for all of `todo`: the pair of median size twice, since only the second run has everything loaded."""
    if not todo:
        return 0.0
    median = sorted(todo, key=_pixels)[len(todo) // 2]
    for number in (1, 2):
        started = time.perf_counter()
        rehearsal = replace(median.task, store=str(folder / f"rehearsal-{number}"))
        client.submit(run_pair, rehearsal, pure=False).result()
        seconds = time.perf_counter() - started
    return seconds * sum(map(_pixels, todo)) / _pixels(median) / count_workers(client)


def count_channels(form: str) -> int:
    """How many planes a decoded file takes, from its format, such as "png grey-as-rgb8"; a palette is taken to be in colour."""
    return 1 if form.partition(" ")[2].startswith("grey") else 3


def _pixels(one: PairPlan) -> int:
    return one.pair.height * one.pair.width


def _planes(one: PairPlan, keep: str) -> int:
    """How many planes a pair's pictures take."""
    channels = [count_channels(form) for form in (one.pair.a_format, one.pair.b_format)]
    kept = len(one.task.candidates) if keep == "all" else 0
    return sum(channels) + max(channels) * (1 + kept)
