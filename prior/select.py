"""Selection: of all candidates of a pair the one with the largest value, its runner-up and the margin between them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prior.criterion import Criterion
from storage.schema import COPY_OF_SOURCE, OK, ScoreRow


@dataclass(frozen=True, slots=True)
class Policy:
    """How a pair's winner is picked.

    Attributes:
        criterion: the rule.
        allow_copies: whether a candidate flagged as a copy of a source may win.
        by_hand: pair_id to (method, reason): winners that a person has set.
    """

    criterion: Criterion
    allow_copies: bool = False
    by_hand: Mapping[str, tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked for one pair.

    `note` is the person's reason where it was set by hand; `unconstrained` says that no candidate kept to the criterion's conditions,
    and the best by value was taken.
    """

    method: str
    value: float
    runner_up: str
    margin: float
    by_hand: bool = False
    note: str = ""
    unconstrained: bool = False


@dataclass(frozen=True, slots=True)
class _Ranking:
    order: list[tuple[float, str]]
    unconstrained: bool = False


def rank(rows: Iterable[ScoreRow], policy: Policy) -> list[tuple[float, str]]:
    """The (value, method) of every candidate that could win, best first; ties in the order of the methods' names.

    Those that fail the criterion's conditions are not among them, unless all do and the criterion then falls back on the best by value.
    """
    rows = list(rows)
    return _rank(rows, find_values(rows, policy), policy).order


def find_values(rows: Iterable[ScoreRow], policy: Policy) -> dict[str, float]:
    """The value of every valid candidate of a pair by method, nan where it is undefined.

    Ranks and z-scores are among those that may win; what may not, such as a copy of a source, has the value it gets beside them.
    """
    valid = [row for row in rows if row.status == OK]
    values = policy.criterion.values([row.scores for row in valid], [may_win(row, policy) for row in valid])
    return {row.method: value for row, value in zip(valid, values, strict=True)}


def may_win(row: ScoreRow, policy: Policy) -> bool:
    """Whether a candidate is valid, and not a copy of a source unless copies are allowed; conditions are another matter."""
    return row.status == OK and (policy.allow_copies or COPY_OF_SOURCE not in row.flags)


def select(pair_id: str, rows: Iterable[ScoreRow], policy: Policy) -> Choice | None:
    """The winner of a pair, or None where no candidate may win.

    A winner set by hand wins wherever it is a valid candidate, a copy or not and whatever the conditions say; its margin is against the
    best of the others that could win, and can be negative. Where it is not valid the criterion decides.
    """
    rows = list(rows)
    values = find_values(rows, policy)
    ranking = _rank(rows, values, policy)
    method, reason = (policy.by_hand or {}).get(pair_id, ("", ""))
    if method in values:
        others = [one for one in ranking.order if one[1] != method]
        return Choice(method, values[method], *_find_rival(values[method], others), by_hand=True, note=reason)
    if not ranking.order:
        return None
    (value, winner), *others = ranking.order
    return Choice(winner, value, *_find_rival(value, others), unconstrained=ranking.unconstrained)


def _rank(rows: Sequence[ScoreRow], values: Mapping[str, float], policy: Policy) -> _Ranking:
    fair = [row for row in rows if may_win(row, policy)]
    finite = ((values[row.method], row.method) for row in fair if math.isfinite(values[row.method]))
    order = sorted(finite, key=lambda one: (-one[0], one[1]))
    if not policy.criterion.constrained:
        return _Ranking(order)
    passes = policy.criterion.passes([row.scores for row in fair])
    passing = {row.method for row, keeps in zip(fair, passes, strict=True) if keeps}
    within = [one for one in order if one[1] in passing]
    return _Ranking(order, unconstrained=True) if not within and policy.criterion.falls_back else _Ranking(within)


def _find_rival(value: float, others: Sequence[tuple[float, str]]) -> tuple[str, float]:
    """The runner-up and the margin to it; nobody and nan where there is no other."""
    second, runner_up = others[0] if others else (math.nan, "")
    return runner_up, value - second
