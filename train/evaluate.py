"""Evaluation: a student beside its teacher and the plain alternatives on the same held-out pairs, with intervals.

Everything is a mean over pairs. Pairs of one scene are alike, so intervals come from a bootstrap that draws whole groups (scenes), with
a fixed seed: the same scores give the same report. A pair on which a column is undefined for any contestant is left out of that column
for all of them, and counted: otherwise each contestant would be judged on other pairs.

Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, doi 10.1201/9780429246593 (percentile interval).
"""

import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storage.errors import InputError

Image = NDArray[np.float32]
Fuse = Callable[[Image, Image], Image]
Scores = Mapping[str, float]
Marks = Mapping[str, NDArray[np.float64]]
"""One contestant's scores: column to its values, one per pair, nan where undefined. A column that cannot be had is not there."""

STUDENT, TEACHER, CHAMPION = "student", "teacher", "champion"
SECONDS = "seconds"
RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Pair:
    """One held-out pair, ready to be fused and judged.

    Attributes:
        pair_id: its name.
        a, b: the luma of its sources, float32 `(H, W)` in [0, 1].
        score: fused luma, float32 `(H, W)` in [0, 1], to its scores by column.
    """

    pair_id: str
    a: Image
    b: Image
    score: Callable[[Image], Scores]


@dataclass(frozen=True, slots=True)
class Contest:
    """Everything that does not depend on the student: made once, judged as often as wanted.

    Attributes:
        groups: pair_id to the pair's group (scene), in the order of the pairs.
        criteria: the columns that are criteria, the larger the better.
        columns: every column, in the order of the report.
        open_pairs: the pairs, in the order of `groups`; called once per judgement, so that no picture has to stay in memory.
        marks: contestant to its scores; the teacher among them.
        best: criterion to the contestant that is the best single method by it.
    """

    groups: Mapping[str, str]
    criteria: tuple[str, ...]
    columns: tuple[str, ...]
    open_pairs: Callable[[], Iterable[Pair]]
    marks: Mapping[str, Marks]
    best: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval; nan where there is none."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant's means by column, and on how many pairs it was itself undefined."""

    contestant: str
    scores: Mapping[str, Interval]
    undefined: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """The student against another contestant in one column, pair by pair.

    Attributes:
        against: the other.
        column: what is compared.
        difference: student minus other.
        percent: the student's mean in percent of the other's; nan where the other's is not positive.
        wins: for a criterion the share of pairs, in [0, 1], where the student is better; else None.
    """

    against: str
    column: str
    difference: Interval
    percent: float
    wins: Interval | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluation ends with.

    Attributes:
        pairs, groups: how many.
        criteria, columns, best: as in `Contest`; the student's seconds per pair are a column more.
        left_out: column to the number of pairs left out of it; columns that lost none are not there.
        standings: every contestant, the student first.
        differences: the student against the teacher, the champion where there is one, and the best single methods, every column.
    """

    pairs: int
    groups: int
    criteria: tuple[str, ...]
    columns: tuple[str, ...]
    best: Mapping[str, str]
    left_out: Mapping[str, int]
    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]


def judge(contest: Contest, fuse: Fuse, *, resamples: int = RESAMPLES, seed: int = 0) -> Verdict:
    """Let a student fuse every pair of a contest, and put it beside the others.

    Args:
        contest: the pairs and the other contestants.
        fuse: the student.
        resamples: how many bootstrap resamples an interval is made from.
        seed: of the bootstrap.

    Raises:
        FusionPriorError: the student's answer is no image of its pair.
    """
    marks = {STUDENT: evaluate(fuse, contest.open_pairs()), **contest.marks}
    kept = {column: find_kept(marks.values(), column, len(contest.groups)) for column in (*contest.columns, SECONDS)}
    groups = np.asarray(list(contest.groups.values()))

    def bound(values: Values, column: str) -> Interval:
        return bootstrap_mean(values[kept[column]], groups[kept[column]], resamples=resamples, seed=seed)

    standings = {name: _stand(name, own, tuple(kept), bound) for name, own in marks.items()}
    rivals = dict.fromkeys((TEACHER, *(name for name in (CHAMPION,) if name in marks), *contest.best.values()))
    return Verdict(
        pairs=len(contest.groups),
        groups=len(set(contest.groups.values())),
        criteria=contest.criteria,
        columns=tuple(kept),
        best=contest.best,
        left_out={column: int((~mask).sum()) for column, mask in kept.items() if not mask.all()},
        standings=tuple(standings.values()),
        differences=tuple(
            Difference(
                against=rival,
                column=column,
                difference=bound(marks[STUDENT][column] - marks[rival][column], column),
                percent=_to_percent(standings[STUDENT].scores[column].mean, standings[rival].scores[column].mean),
                wins=bound(marks[STUDENT][column] > marks[rival][column], column) if column in contest.criteria else None,
            )
            for rival in rivals
            for column in contest.columns
            if column in marks[rival]
        ),
    )


def add_champion(contest: Contest, fuse: Fuse) -> Contest:
    """The same contest with one student more to be better than: the champion, judged now on every pair."""
    return replace(contest, marks={**contest.marks, CHAMPION: evaluate(fuse, contest.open_pairs())})


def find_standing(verdict: Verdict, contestant: str) -> Standing:
    """One contestant's means; raises InputError where it did not take part."""
    for one in verdict.standings:
        if one.contestant == contestant:
            return one
    raise InputError(f"no {contestant} was judged; it were: {', '.join(one.contestant for one in verdict.standings)}")


def find_difference(verdict: Verdict, against: str, column: str) -> Difference:
    """The student against one other contestant in one column.

    Raises:
        InputError: the two were not compared in it.
    """
    for one in verdict.differences:
        if (one.against, one.column) == (against, column):
            return one
    known = ", ".join(sorted({one.column for one in verdict.differences if one.against == against})) or "nothing"
    raise InputError(f"the student and the {against} are not compared in {column!r}; they are in: {known}")


def evaluate(fuse: Fuse, pairs: Iterable[Pair]) -> Marks:
    """Fuse every pair and score what comes, with the seconds it took."""
    rows = []
    for pair in pairs:
        a, b = pair.a.copy(), pair.b.copy()  # a student may work in place, and torch warns of arrays it cannot write to
        started = time.perf_counter()
        fused = fuse(a, b)
        seconds = time.perf_counter() - started
        rows.append({**pair.score(fused), SECONDS: seconds})
    return stack(rows)


def stack(rows: Sequence[Scores]) -> Marks:
    """A contestant's scores pair by pair as arrays; a column that any pair lacks is not there."""
    columns = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in columns}


def find_kept(contestants: Iterable[Marks], column: str, pairs: int) -> NDArray[np.bool_]:
    """Which pairs count in a column: those where it is defined for every contestant that has it."""
    kept = np.ones(pairs, dtype=np.bool_)
    for marks in contestants:
        if column in marks:
            kept &= np.isfinite(marks[column])
    return kept


def bootstrap_mean(values: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of some values and its 95 % percentile bootstrap interval, whole groups drawn with replacement.

    Args:
        values: finite, one per pair.
        groups: the group of each pair.
        resamples: how many resamples are drawn.
        seed: of the draws.

    Returns:
        The mean over pairs. Without values everything is nan; with one group alone the bounds are nan, for one scene says nothing
        about how scenes differ.

    Raises:
        InputError: not one group per value.
    """
    numbers = np.asarray(values, dtype=np.float64)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if numbers.shape != index.shape:
        raise InputError(f"{numbers.size} values came with {index.size} groups; give each value its pair's group")
    if not numbers.size:
        return Interval(math.nan, math.nan, math.nan)
    if len(names) == 1:
        return Interval(float(numbers.mean()), math.nan, math.nan)
    weights = _draw_weights(len(names), resamples, seed)
    sums, counts = np.bincount(index, numbers), np.bincount(index)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((weights @ sums) / (weights @ counts), (tail, 1 - tail))
    return Interval(float(numbers.mean()), float(low), float(high))


def to_standing_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """One flat row per contestant: `contestant`, and for each column its mean, `<column> low` and `<column> high`; nan where blank."""
    blank = Interval(math.nan, math.nan, math.nan)
    rows = []
    for standing in verdict.standings:
        row: dict[str, Any] = {"contestant": standing.contestant}
        for column in verdict.columns:
            found = standing.scores.get(column, blank)
            row |= {column: found.mean, f"{column} low": found.low, f"{column} high": found.high}
        rows.append(row)
    return rows


def to_difference_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """One flat row per criterion and rival: the teacher, the champion, and the method that is the best single one by that criterion."""
    return [
        {
            "criterion": one.column,
            "student against": one.against,
            "difference": one.difference.mean,
            "low": one.difference.low,
            "high": one.difference.high,
            "% of its mean": one.percent,
            "share of pairs won": one.wins.mean if one.wins else math.nan,
        }
        for column in verdict.criteria
        for one in verdict.differences
        if one.column == column and one.against in (TEACHER, CHAMPION, verdict.best.get(column))
    ]


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Everything in a verdict as JSON knows it; what is undefined is null."""
    plain: dict[str, Any] = _to_plain(asdict(verdict))
    return plain


Values = NDArray[np.float64] | NDArray[np.bool_]
Bound = Callable[[Values, str], Interval]


def _stand(contestant: str, marks: Marks, columns: Sequence[str], bound: Bound) -> Standing:
    own = [column for column in columns if column in marks]
    undefined = {column: int((~np.isfinite(marks[column])).sum()) for column in own}
    return Standing(contestant, {column: bound(marks[column], column) for column in own}, {k: n for k, n in undefined.items() if n})


def _to_percent(mean: float, other: float) -> float:
    return 100 * mean / other if other > 0 else math.nan


@functools.lru_cache(maxsize=4)  # the same draws serve every column and contestant
def _draw_weights(groups: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each group is drawn in each resample, `(resamples, groups)`."""
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    weights = drawn.astype(np.float64)
    weights.setflags(write=False)
    return weights


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_to_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
