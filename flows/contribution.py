"""What each method contributes to a snapshot: where it wins, and what the best of all candidates would lose without it.

The bare criterion of the paper can be won by a copy of one source, so that every figure is given under `diff-if` and `balanced`.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flows.summary import BALANCED, group_scores
from prior.criterion import parse_criterion
from prior.published import PREFIX
from prior.select import Choice, Policy, find_values, select
from storage.errors import InputError, unknown_name
from storage.schema import ScoreRow
from storage.snapshot import Snapshot

CRITERIA = ("diff-if", BALANCED)
REFERENCES = ("average", "maximum")
"""Methods that any other should beat: they stand beside the pool, not in it."""

ALL = "/all"
"""In place of a source's name: all sources. No source's name has a slash in it."""

UNNAMED = "/unnamed"
"""In place of a source's name where it has none."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The live methods' best candidates of one source's pairs, beside the best of the published results.

    Attributes:
        criterion: what candidates are valued by.
        source: whose pairs; `ALL` for the total of several sources, `UNNAMED` where the source has no name.
        pairs: with a live winner.
        unwon: pairs that have live candidates, all of them failed or copies of a source.
        live: the mean value of the best live candidate, without the references.
        compared: pairs that have a published winner too.
        published: the mean value of the best published candidate of those; nan where there is none.
        lead: by how much the live mean exceeds the published one on those pairs, as a share of it.
        better: pairs on which the live best is the better one.
        copies: pairs whose best live candidate is a copy of a source, and was passed over for it.
        references: the mean value of each reference.
    """

    criterion: str
    source: str
    pairs: int
    unwon: int
    live: float
    compared: int
    published: float
    lead: float
    better: int
    copies: int
    references: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one live method does for the pool.

    Attributes:
        criterion: what candidates are valued by.
        method: its name.
        wins: pairs won, by source.
        loss: by how much the mean value of the best falls without it.
        share: the same as a share of that mean.
        seconds: its median time per pair.
    """

    criterion: str
    method: str
    wins: Mapping[str, int]
    loss: float
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Contest:
    """One pair under one criterion."""

    source: str
    live: Choice
    published: Choice | None
    copied: bool
    references: Mapping[str, float]


def find_contributions(snapshot: Snapshot, without: Collection[str] = ()) -> tuple[tuple[Pool, ...], tuple[Contribution, ...]]:
    """How strong the live methods are together, by criterion and source, and what each contributes, most needed first.

    Args:
        snapshot: of a store.
        without: methods that are left out of the pool, such as one that on these pairs is hardly another picture than a reference; the
            scores alone do not tell how much alike two pictures are.

    Raises:
        UnknownName: the snapshot has no candidate of a method that is to be left out.
        InputError: the snapshot has no candidate of a live method other than the references and those left out.
    """
    sources = {row["pair_id"]: row["source"] or UNNAMED for row in snapshot.table("pairs", ["pair_id", "source"]).to_pylist()}
    groups = _leave_out(without, group_scores(snapshot))
    pools: list[Pool] = []
    contributions: list[Contribution] = []
    for criterion in CRITERIA:
        found = {pair_id: _compete(sources[pair_id], pair_id, rows, criterion) for pair_id, rows in groups.items()}
        contests = [one for one in found.values() if one]
        unwon = Counter(
            sources[pair_id] for pair_id, one in found.items() if one is None and any(is_live(row.method) for row in groups[pair_id])
        )
        if not contests:
            raise InputError(
                f"{snapshot.store.address} holds no candidate of a live method beside {' and '.join([*REFERENCES, *without])}; "
                f"{'leave fewer out' if without else 'build with `--methods standard` first'}"
            )
        pools += _pool(contests, unwon, criterion)
        contributions += _share(contests, groups, criterion)
    return tuple(pools), tuple(contributions)


def is_live(method: str) -> bool:
    """Whether a name is that of a method of the pool: neither a published result, a student, nor a reference."""
    return ":" not in method and method not in REFERENCES


def _leave_out(without: Collection[str], groups: Mapping[str, Sequence[ScoreRow]]) -> dict[str, list[ScoreRow]]:
    """The scores without those of some live methods."""
    live = {row.method for rows in groups.values() for row in rows if is_live(row.method)}
    for name in without:
        if name not in live:
            raise unknown_name("live method of this store", name, live)
    return {pair_id: [row for row in rows if row.method not in without] for pair_id, rows in groups.items()}


def _compete(source: str, pair_id: str, rows: Sequence[ScoreRow], criterion: str) -> _Contest | None:
    policy = Policy(parse_criterion(criterion))
    live = [row for row in rows if is_live(row.method)]
    winner = select(pair_id, live, policy)
    if winner is None:
        return None
    with_copies = select(pair_id, live, replace(policy, allow_copies=True))
    return _Contest(
        source=source,
        live=winner,
        published=select(pair_id, [row for row in rows if row.method.startswith(PREFIX)], policy),
        copied=with_copies is not None and with_copies.method != winner.method,
        references=find_values([row for row in rows if row.method in REFERENCES], policy),
    )


def _pool(contests: Sequence[_Contest], unwon: Mapping[str, int], criterion: str) -> list[Pool]:
    by_source: dict[str, list[_Contest]] = defaultdict(list)
    for one in contests:
        by_source[one.source].append(one)
    named = [*sorted(by_source.items()), *([(ALL, list(contests))] if len(by_source) > 1 else [])]
    missing = {**unwon, ALL: sum(unwon.values())}
    return [replace(_measure(own, criterion, source), unwon=missing.get(source, 0)) for source, own in named]


def _measure(contests: Sequence[_Contest], criterion: str, source: str) -> Pool:
    both = [(one.live.value, one.published.value) for one in contests if one.published]
    live, published = (_mean(values) for values in zip(*both, strict=True)) if both else (math.nan, math.nan)
    return Pool(
        criterion=criterion,
        source=source,
        pairs=len(contests),
        unwon=0,
        live=_mean(one.live.value for one in contests),
        compared=len(both),
        published=published,
        lead=live / published - 1,
        better=sum(ours > theirs for ours, theirs in both),
        copies=sum(one.copied for one in contests),
        references={name: _mean(one.references[name] for one in contests if name in one.references) for name in REFERENCES},
    )


def _share(contests: Sequence[_Contest], groups: Mapping[str, Sequence[ScoreRow]], criterion: str) -> list[Contribution]:
    wins: dict[str, Counter[str]] = defaultdict(Counter)
    losses: dict[str, float] = defaultdict(float)
    for one in contests:
        wins[one.live.method][one.source] += 1
        # without the winner the runner-up takes its place; nobody else matters
        losses[one.live.method] += one.live.margin if one.live.runner_up else one.live.value
    whole = math.fsum(one.live.value for one in contests)
    rows = [
        Contribution(criterion, name, dict(wins[name]), losses[name] / len(contests), losses[name] / whole, statistics.median(seconds))
        for name, seconds in _time(groups).items()
    ]
    return sorted(rows, key=lambda one: (-one.loss, -sum(one.wins.values()), one.method))


def _time(groups: Mapping[str, Sequence[ScoreRow]]) -> dict[str, list[float]]:
    """The seconds of every live method that has made a candidate, pair by pair."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for rows in groups.values():
        for row in rows:
            if is_live(row.method) and math.isfinite(row.seconds):
                seconds[row.method].append(row.seconds)
    return seconds


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan
