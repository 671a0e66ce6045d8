"""How methods stand among each other: means, spreads and ranks of their scores over pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.columns import Column, find_mains
from flows.words import count, name_first
from prior.registry import Direction
from storage.schema import OK, ScoreRow

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mean:
    """One metric's scores of one method over the pairs on which they are defined and finite.

    Attributes:
        value: their mean; nan where there are none.
        deviation: their standard deviation, with n - 1; nan where there are fewer than two.
        count: n.
        magnitude: the mean of |score|, by which methods stand where 0 is the best: in a mean, plus and minus cancel.
    """

    value: float
    deviation: float
    count: int
    magnitude: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One method among the others.

    Attributes:
        method: its name.
        scored: the pairs on which it could be scored.
        rank: its mean rank, as from `find_ranks`.
        means: by the names of the columns.
    """

    method: str
    scored: int
    rank: float
    means: Mapping[str, Mean]


def find_standings(rows: Sequence[ScoreRow], columns: Sequence[Column]) -> tuple[Standing, ...]:
    """How every method that the rows name stands, in the order of their names."""
    methods, scores = _gather(rows, columns)
    mains = find_mains(columns)
    ranks = find_ranks(scores[[column in mains for column in columns]], [column.metric.better for column in mains])
    scored = [sum(row.status == OK for row in rows if row.method == method) for method in methods]
    return tuple(
        Standing(method, scored[at], float(ranks[at]), {one.name: _average(scores[k, :, at]) for k, one in enumerate(columns)})
        for at, method in enumerate(methods)
    )


def keep_common(rows: Sequence[ScoreRow]) -> tuple[ScoreRow, ...]:
    """The rows of the pairs on which every method could be scored; methods that could be scored nowhere are not waited for."""
    common = set.intersection(*_find_scored(rows).values()) if _find_scored(rows) else set()
    return tuple(row for row in rows if row.pair_id in common)


def describe_pairs(rows: Sequence[ScoreRow], compared: Sequence[ScoreRow]) -> str:
    """Over which pairs methods are compared, in a sentence; empty where that is all of them, for every method.

    Args:
        rows: all rows.
        compared: those that are compared, as from `keep_common`, or all.
    """
    total, kept = (len({row.pair_id for row in some}) for some in (rows, compared))
    if kept < total:
        return f"means and ranks are over the {count(kept, 'pair')}, of {total}, on which every method has a score"
    scored = _find_scored(rows)
    if len({frozenset(pairs) for pairs in scored.values()}) < 2:
        return ""
    fewer = sorted((len(pairs), method) for method, pairs in scored.items() if len(pairs) < total)
    named = [f"{method} {'has scores on' if not at else 'on'} {number}" for at, (number, method) in enumerate(fewer)]
    return (
        f"{name_first(named)} of {total} pairs: means and ranks compare different pairs; "
        "--common compares all methods on the pairs that all have"
    )


def _find_scored(rows: Sequence[ScoreRow]) -> dict[str, set[str]]:
    """The pairs on which each method could be scored, without methods that could be scored nowhere."""
    scored: dict[str, set[str]] = {}
    for row in rows:
        if row.status == OK:
            scored.setdefault(row.method, set()).add(row.pair_id)
    return scored


def find_ranks(scores: Scores, better: Sequence[Direction]) -> Scores:
    """The mean rank of every method: 1 is the best on every pair by every metric.

    For each pair and metric the methods that have a score are ranked, equal ones share the mean of their ranks; a method's ranks are
    averaged over the pairs, and then over the metrics, so that a metric that is often undefined weighs no less.

    Args:
        scores: `(metrics, pairs, methods)`, nan where undefined.
        better: the direction of each metric.

    Returns:
        `(methods,)`; nan where a method has no score.
    """
    by_metric = [_mean(_rank(_turn(one, direction)), axis=0) for one, direction in zip(scores, better, strict=True)]
    return _mean(np.array(by_metric).reshape(len(better), scores.shape[2]), axis=0)


def find_places(values: Sequence[float], better: Direction) -> list[int]:
    """1 for each best value, 2 for each second best, 0 for all others."""
    turned = _turn(np.array(values, float), better)
    first, second, *_ = (*np.unique(turned[~np.isnan(turned)]), math.nan, math.nan)
    return [1 if value == first else 2 if value == second else 0 for value in turned]


def _gather(rows: Sequence[ScoreRow], columns: Sequence[Column]) -> tuple[list[str], Scores]:
    """The methods, and the scores of all `(metrics, pairs, methods)`."""
    methods, pairs = sorted({row.method for row in rows}), sorted({row.pair_id for row in rows})
    places = {name: at for at, name in enumerate(methods)}, {name: at for at, name in enumerate(pairs)}
    scores = np.full((len(columns), len(pairs), len(methods)), math.nan)
    for row in rows:
        if row.status == OK:
            scores[:, places[1][row.pair_id], places[0][row.method]] = [row.scores[column.metric.name] for column in columns]
    return methods, scores


def _turn(scores: Scores, better: Direction) -> Scores:
    """The scores so that smaller is better."""
    return -scores if better == "higher" else np.abs(scores) if better == "zero" else scores


def _rank(scores: Scores) -> Scores:
    """The ranks along the last axis, the smallest first."""
    one, other = scores[..., :, None], scores[..., None, :]
    ranks: Scores = (other < one).sum(axis=-1) + ((other == one).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(scores), math.nan, ranks)


def _mean(scores: Scores, axis: int) -> Scores:
    """The mean of what is defined along an axis; nan where nothing is."""
    defined = ~np.isnan(scores)
    counts = defined.sum(axis=axis)
    means: Scores = np.where(counts > 0, np.where(defined, scores, 0).sum(axis=axis) / np.maximum(counts, 1), math.nan)
    return means


def _average(scores: Scores) -> Mean:
    # an infinite score has a rank, and would take every mean with it
    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return Mean(math.nan, math.nan, 0, math.nan)
    deviation = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return Mean(float(finite.mean()), deviation, finite.size, float(np.abs(finite).mean()))
