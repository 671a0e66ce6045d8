"""Selection: of all candidates of a pair the one with the largest value, its runner-up and the margin between them."""

import math
from collections.abc import Iterable, Mapping
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
    """What was picked for one pair; `note` is the person's reason where it was set by hand."""

    method: str
    value: float
    runner_up: str
    margin: float
    by_hand: bool = False
    note: str = ""


def rank(rows: Iterable[ScoreRow], policy: Policy) -> list[tuple[float, str]]:
    """The (value, method) of every candidate that may win, best first; ties in the order of the methods' names."""
    values = [(policy.criterion.value(row.scores), row.method) for row in rows if may_win(row, policy)]
    return sorted((one for one in values if math.isfinite(one[0])), key=lambda one: (-one[0], one[1]))


def may_win(row: ScoreRow, policy: Policy) -> bool:
    """Whether a candidate is valid, and not a copy of a source unless copies are allowed."""
    return row.status == OK and (policy.allow_copies or COPY_OF_SOURCE not in row.flags)


def select(pair_id: str, rows: Iterable[ScoreRow], policy: Policy) -> Choice | None:
    """The winner of a pair, or None where no candidate may win.

    A winner set by hand wins wherever it is a valid candidate, a copy or not; its margin is against the best of the others and can
    be negative. Where it is not valid the criterion decides.
    """
    rows = list(rows)
    ranked = rank(rows, policy)
    method, reason = (policy.by_hand or {}).get(pair_id, ("", ""))
    chosen = next((row for row in rows if row.method == method and row.status == OK), None)
    if chosen is not None:
        others = [one for one in ranked if one[1] != method]
        return _choice(policy.criterion.value(chosen.scores), method, others, by_hand=reason)
    return _choice(*ranked[0], ranked[1:]) if ranked else None


def _choice(value: float, method: str, others: list[tuple[float, str]], by_hand: str | None = None) -> Choice:
    second, runner_up = others[0] if others else (math.nan, "")
    return Choice(method, value, runner_up, value - second, by_hand is not None, by_hand or "")
