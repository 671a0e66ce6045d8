"""The difference between two snapshots: which winners changed, what each of them changed for, and what that did to the mean value.

Everything is read from the tables and the manifests, and `flows.causes` says why. Both snapshots are valued under the newer one's
criterion, for a mean under one criterion says nothing beside a mean under another.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from flows.causes import CAUSES, Held, add_candidates, explain, has_other_sources, read_side, tell_version
from prior.select import may_win
from storage.snapshot import Snapshot

CHANGED_WINNERS = pa.schema(
    [
        *((name, pa.string()) for name in ("pair_id", "split", "cause", "detail", "method_before", "method_after")),
        *((name, pa.float64()) for name in ("value_before", "value_after", "effect")),
    ]
)


@dataclass(frozen=True, slots=True)
class ChangedWinner:
    """One pair whose winner changed; what there is none of is empty or nan.

    Attributes:
        pair_id, split: the pair.
        cause: one of `flows.causes.CAUSES`.
        detail: the cause in words, one line.
        method_before, method_after: who won.
        value_before, value_after: both under the newer snapshot's criterion.
        effect: what the change did to the mean value; nan where it is left out of the means.
    """

    pair_id: str
    split: str
    cause: str
    detail: str
    method_before: str
    method_after: str
    value_before: float
    value_after: float
    effect: float


@dataclass(frozen=True, slots=True)
class Toll:
    """What one cause did: to how many winners, and to the mean value."""

    cause: str
    winners: int
    effect: float


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from one snapshot to another.

    Attributes:
        older, newer: their ids.
        criterion: the newer one's, under which everything is valued.
        added, removed, changed: the pairs asked for that are new, gone, or have other sources.
        kept: how many winners are the same image by the same method.
        winners: the changed ones, in the order of the pairs' ids.
        mean_before, mean_after: the mean value of the older and of the newer winners; nan where there are none.
        unvalued: pairs left out of both means, as a winner of theirs has no value under the newer criterion.
    """

    older: str
    newer: str
    criterion: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: int
    winners: tuple[ChangedWinner, ...]
    mean_before: float
    mean_after: float
    unvalued: int

    @property
    def tolls(self) -> tuple[Toll, ...]:
        """What each cause did, in the order of `CAUSES`; those that did nothing are left out."""
        own = {cause: [one.effect for one in self.winners if one.cause == cause] for cause in CAUSES}
        return tuple(Toll(cause, len(effects), _add(effects)) for cause, effects in own.items() if effects)

    @property
    def effect(self) -> float:
        """What all of them did: the newer mean less the older, a mean of nothing counted as 0."""
        return _add(one.effect for one in self.winners)


def find_diff(older: Snapshot, newer: Snapshot) -> Diff:
    """What changed from `older` to `newer`, and why."""
    before, after = read_side(older), read_side(newer)
    changed = find_changed(before.winners, after.winners)
    if changed:
        before, after = add_candidates((before, after), (older, newer), changed)
    values_after = {pair_id: float(row["value"]) for pair_id, row in after.winners.items()}
    values_before = {
        pair_id: value_older_winner(Held(before, pair_id), Held(after, pair_id)) if pair_id in changed else values_after[pair_id]
        for pair_id in before.winners
    }
    left_out = {pair_id for values in (values_before, values_after) for pair_id, value in values.items() if not math.isfinite(value)}
    valued_before, valued_after = _without(values_before, left_out), _without(values_after, left_out)
    effects = find_effects(valued_before, valued_after)
    pairs_before, pairs_after = before.pairs.keys(), after.pairs.keys()
    return Diff(
        older=older.id,
        newer=newer.id,
        criterion=after.policy.criterion.name,
        added=tuple(sorted(pairs_after - pairs_before)),
        removed=tuple(sorted(pairs_before - pairs_after)),
        changed=tuple(sorted(one for one in pairs_before & pairs_after if has_other_sources(Held(before, one), Held(after, one)))),
        kept=len((before.winners.keys() | after.winners.keys()) - changed),
        winners=tuple(
            _describe(Held(before, one), Held(after, one), values_before.get(one, math.nan), effects.get(one, math.nan))
            for one in sorted(changed)
        ),
        mean_before=_average(valued_before.values()),
        mean_after=_average(valued_after.values()),
        unvalued=len(left_out),
    )


def find_changed(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The pairs whose winner is another method's, another image, or there in one only."""
    images = [{pair_id: (row["method"], row["image_hash"]) for pair_id, row in winners.items()} for winners in (before, after)]
    return {pair_id for pair_id in before.keys() | after.keys() if images[0].get(pair_id) != images[1].get(pair_id)}


def value_older_winner(before: Held, after: Held) -> float:
    """The value of the older winner under the newer criterion, nan where there is none.

    It has its newer scores where it still is the very same candidate, else its older ones; ranks and z-scores are among the newer
    candidates, on whose scale the newer winner's value is. Where the newer snapshot has none of the same sources, they are among those
    it won against.
    """
    policy, own, field = after.side.policy, before.candidates[before.winner], before
    if after.candidates and not has_other_sources(before, after):
        field = after
        if after.has_valid(own.method) and not tell_version(before, after, (own.method,)):
            own = after.candidates[own.method]
    if own is before.candidates[own.method] and not before.side.metrics.issuperset(policy.criterion.metrics):
        return math.nan  # a metric that was not kept is not the same as an undefined one, for which a rule may have an answer
    others = [row for row in field.candidates.values() if row is not own and may_win(row, policy)]
    counted = [own is field.candidates.get(own.method) and may_win(own, policy), *(True for _ in others)]
    return policy.criterion.values([own.scores, *(row.scores for row in others)], counted)[0]


def find_effects(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What every pair did to the mean on the way from `before` to `after`: first pairs go, then values change, then pairs come.

    Args:
        before: finite values by pair_id.
        after: likewise.

    Returns:
        Numbers by pair_id whose sum is the mean of `after` less the mean of `before`; the mean of nothing counts as 0.
    """
    common, either = before.keys() & after.keys(), before.keys() | after.keys()
    if not common:  # on the way there is nothing left, and its mean is 0
        gone, come = ({pair_id: value / len(values) for pair_id, value in values.items()} for values in (before, after))
        return {pair_id: come.get(pair_id, 0.0) - gone.get(pair_id, 0.0) for pair_id in either}
    mean_before, mean_common = _average(before.values()), _average(after[pair_id] for pair_id in common)
    effects = {pair_id: (mean_before - before[pair_id]) / len(common) for pair_id in before.keys() - common}
    effects |= {pair_id: (after[pair_id] - before[pair_id]) / len(common) for pair_id in common}
    return effects | {pair_id: (after[pair_id] - mean_common) / len(after) for pair_id in after.keys() - common}


def to_json(diff: Diff) -> dict[str, Any]:
    """A diff as JSON knows it; numbers that are undefined are null."""
    plain = [
        {name: _finite_or_none(value) if isinstance(value, float) else value for name, value in asdict(one).items()} for one in diff.winners
    ]
    return {
        "older": diff.older,
        "newer": diff.newer,
        "criterion": diff.criterion,
        "pairs": {"added": list(diff.added), "removed": list(diff.removed), "changed": list(diff.changed)},
        "mean": {
            "before": _finite_or_none(diff.mean_before),
            "after": _finite_or_none(diff.mean_after),
            "effect": diff.effect,
            "unvalued": diff.unvalued,
        },
        "causes": [asdict(one) for one in diff.tolls],
        "winners": {"kept": diff.kept, "changed": plain},
    }


def to_table(diff: Diff) -> pa.Table:
    """The changed winners as an Arrow table, which says in its metadata whose they are."""
    named = {"older": diff.older, "newer": diff.newer, "criterion": diff.criterion}
    return pa.Table.from_pylist([asdict(one) for one in diff.winners], schema=CHANGED_WINNERS.with_metadata(named))


def _describe(before: Held, after: Held, value_before: float, effect: float) -> ChangedWinner:
    cause, detail = explain(before, after)
    return ChangedWinner(
        pair_id=before.pair_id,
        split=after.pair.get("split", "") or before.pair.get("split", ""),
        cause=cause,
        detail=detail,
        method_before=before.winner,
        method_after=after.winner,
        value_before=value_before,
        value_after=after.value,
        effect=effect,
    )


def _without(values: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in names}


def _add(effects: Iterable[float]) -> float:
    return math.fsum(effect for effect in effects if math.isfinite(effect))


def _average(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
