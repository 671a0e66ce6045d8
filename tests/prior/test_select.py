"""Selection: who wins, who may not, by how much, and that a bare source does not win under `balanced`."""

import csv
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prior.criterion import parse_criterion
from prior.select import Choice, Policy, find_values, rank, select
from storage.schema import BY_HAND, COPY_OF_SOURCE, FAILED, MISSING, OK, ScoreRow

POLICY = Policy(parse_criterion("qabf"))
LENIENT = replace(POLICY, allow_copies=True)
COPY = (COPY_OF_SOURCE,)


def row(method: str, value: float, status: str = OK, flags: tuple[str, ...] = ()) -> ScoreRow:
    return ScoreRow(pair_id="p", method=method, version="1", content_key=method, status=status, flags=flags, scores={"qabf": value})


def by_hand(method: str, policy: Policy = POLICY) -> Policy:
    return replace(policy, by_hand={"p": (method, "no halo"), "q": ("nobody", "another pair")})


def pick(*rows: ScoreRow, policy: Policy = POLICY) -> Choice:
    """The choice, where there must be one."""
    choice = select("p", rows, policy)
    assert choice is not None
    return choice


# The largest value wins.


def test_the_largest_value_wins_and_the_runner_up_is_named() -> None:
    assert pick(row("b", 0.25), row("a", 0.5), row("c", 0.375)) == Choice("a", 0.5, "c", 0.125)


def test_values_may_be_negative() -> None:
    assert pick(row("a", -3), row("b", -1)) == Choice("b", -1, "a", 2)


def test_ties_go_by_the_name_of_the_method() -> None:
    assert pick(row("tif", 0.5), row("gff", 0.5), row("pca", 0.5)) == Choice("gff", 0.5, "pca", 0)


def test_a_winner_without_a_rival_has_no_margin() -> None:
    choice = pick(row("a", 0.5), row("b", math.nan))
    assert (choice.method, choice.runner_up) == ("a", "")
    assert math.isnan(choice.margin)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_wins(value: float) -> None:
    assert pick(row("a", value), row("b", -100), row("c", -200)) == Choice("b", -100, "c", 100)
    assert select("p", [row("a", value)], POLICY) is None


@pytest.mark.parametrize("status", [FAILED, MISSING, ""])
def test_only_valid_candidates_win(status: str) -> None:
    assert pick(row("a", 9, status), row("b", 1)).method == "b"
    assert select("p", [row("a", 9, status)], POLICY) is None


def test_without_candidates_there_is_no_winner() -> None:
    assert select("p", [], POLICY) is None
    assert rank([], POLICY) == []


def test_a_candidate_without_the_metric_does_not_win() -> None:
    assert pick(replace(row("a", 9), scores={"vif": 9}), row("b", 1)).method == "b"


def test_a_copy_wins_only_where_copies_are_allowed() -> None:
    rows = [row("copy", 9, flags=COPY), row("a", 2), row("b", 1)]
    assert pick(*rows) == Choice("a", 2, "b", 1)
    assert pick(*rows, policy=LENIENT) == Choice("copy", 9, "a", 7)
    assert pick(*rows, row("z", 3, flags=(BY_HAND,))).method == "z", "another flag is no reason"
    assert select("p", rows[:1], POLICY) is None


def test_rank_gives_every_candidate_that_may_win_best_first() -> None:
    rows = [row("d", 1), row("a", 2), row("x", math.nan), row("c", 2), row("y", 5, FAILED), row("z", 5, flags=COPY)]
    assert rank(rows, POLICY) == [(2, "a"), (2, "c"), (1, "d")]
    assert rank(rows, LENIENT) == [(5, "z"), (2, "a"), (2, "c"), (1, "d")]


# Winners set by hand.


def test_a_winner_set_by_hand_wins_with_its_reason_and_margin() -> None:
    rows = [row("best", 9), row("mine", 4), row("last", 1)]
    assert pick(*rows, policy=by_hand("mine")) == Choice("mine", 4, "best", -5, by_hand=True, note="no halo")
    assert pick(*rows, policy=by_hand("best")) == Choice("best", 9, "mine", 5, by_hand=True, note="no halo")


def test_a_winner_set_by_hand_may_be_a_copy_but_its_rivals_may_not() -> None:
    rows = [row("copy", 9, flags=COPY), row("mine", 4, flags=COPY), row("last", 1)]
    assert pick(*rows, policy=by_hand("mine")) == Choice("mine", 4, "last", 3, by_hand=True, note="no halo")
    assert pick(*rows, policy=by_hand("mine", LENIENT)) == Choice("mine", 4, "copy", -5, by_hand=True, note="no halo")


@pytest.mark.parametrize("status", [FAILED, MISSING])
def test_an_invalid_candidate_set_by_hand_leaves_the_choice_to_the_criterion(status: str) -> None:
    assert pick(row("best", 9), row("mine", 10, status), row("last", 1), policy=by_hand("mine")) == Choice("best", 9, "last", 8)
    assert pick(row("best", 9), row("last", 1), policy=by_hand("mine")) == Choice("best", 9, "last", 8)


def test_a_winner_set_by_hand_holds_for_its_pair_alone() -> None:
    choice = select("r", [row("best", 9), row("nobody", 1)], by_hand("mine"))
    assert choice == Choice("best", 9, "nobody", 8)


def test_a_valid_candidate_without_a_value_can_be_set_by_hand() -> None:
    choice = pick(row("mine", math.nan), row("best", 9), policy=by_hand("mine"))
    assert (choice.method, choice.runner_up, choice.by_hand) == ("mine", "best", True)
    assert math.isnan(choice.value) and math.isnan(choice.margin)


# Ranks and z-scores.

SCORES = {"a": (0.9, 0.1, 0.5), "b": (0.5, 0.8, 0.1), "c": (0.1, 0.4, 0.4), "copy": (1.0, 0.9, 0.0)}


def rows_of(scores: dict[str, tuple[float, float, float]]) -> list[ScoreRow]:
    """Rows with SSIM, VIF and Qabf, a copy flagged as one."""
    return [
        replace(row(method, math.nan, flags=COPY if method == "copy" else ()), scores=dict(zip(("ssim", "vif", "qabf"), own, strict=True)))
        for method, own in scores.items()
    ]


def under(text: str, allow_copies: bool = False) -> Policy:
    return Policy(parse_criterion(text), allow_copies)


def test_borda_points_are_counted_among_those_that_may_win() -> None:
    rows = [*rows_of(SCORES), row("failed", 9, FAILED)]
    assert rank(rows, under("rank-sum")) == [(4, "a"), (3, "b"), (2, "c")]
    assert rank(rows, under("rank-sum", allow_copies=True)) == [(6, "copy"), (5, "a"), (4, "b"), (3, "c")]
    assert find_values(rows, under("rank-sum")) == {"a": 4, "b": 3, "c": 2, "copy": 6}
    assert pick(*rows, policy=under("rank-sum")) == Choice("a", 4, "b", 1)


def test_a_winner_set_by_hand_takes_no_points_from_the_others() -> None:
    policy = replace(under("rank-sum"), by_hand={"p": ("copy", "no halo")})
    assert pick(*rows_of(SCORES), policy=policy) == Choice("copy", 6, "a", 2, by_hand=True, note="no halo")


def test_two_that_stand_alike_in_z_tie() -> None:
    rows = rows_of({"b": (0.3, 0.3, 0.7), "a": (0.1, 0.2, 0.9)})
    assert pick(*rows, policy=under("z-score")) == Choice("a", 0, "b", 0)


# Conditions.

FIVE = [row("a", 5), row("b", 4), row("c", 3), row("d", math.nan), row("copy", 9, flags=COPY)]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("qabf where qabf < 5", Choice("b", 4, "c", 1)),
        ("qabf where qabf <= 3", Choice("c", 3, "", math.nan)),
        ("qabf where qabf > 1", Choice("a", 5, "b", 1)),
        ("qabf where qabf > 5", Choice("a", 5, "b", 1, unconstrained=True)),
        ("qabf where qabf > 5 else best", Choice("a", 5, "b", 1, unconstrained=True)),
        ("qabf where qabf > 5 else none", None),
        ("qabf where qabf > 3 else none", Choice("a", 5, "b", 1)),
        ("rank(qabf) where qabf < 5", Choice("b", 1.0, "c", 1.0)),
        ("rank(qabf) where rank(qabf) < 1 else none", Choice("c", 0.0, "", math.nan)),
        ("-qabf where otherwise(qabf, 9) > 5", Choice("c", -3, "b", 1, unconstrained=True)),  # the one that passes has no value
    ],
)
def test_conditions_say_who_could_win(text: str, choice: Choice | None) -> None:
    assert repr(select("p", FIVE, under(text))) == repr(choice)
    ranked = rank(FIVE, under(text))
    assert (ranked[0][1] if ranked else None) == (choice.method if choice else None)


def test_a_winner_set_by_hand_keeps_to_no_condition_but_its_rivals_do() -> None:
    policy = under("qabf where qabf < 5 else none")
    assert pick(*FIVE, policy=by_hand("a", policy)) == Choice("a", 5, "b", 1, by_hand=True, note="no halo")
    assert pick(*FIVE, policy=by_hand("copy", policy)) == Choice("copy", 9, "b", 5, by_hand=True, note="no halo")
    policy = under("qabf where qabf > 5")
    assert pick(*FIVE, policy=by_hand("b", policy)) == Choice("b", 4, "a", -1, by_hand=True, note="no halo")
    alone = pick(*FIVE, policy=by_hand("b", under("qabf where qabf > 5 else none")))
    assert (alone.method, alone.runner_up, alone.unconstrained) == ("b", "", False)


# Laws.

VALUES = st.sampled_from([-1.0, 0.0, 0.5, 0.5, 1.0, math.nan, math.inf])
ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from([f"m{number}" for number in range(12)]),
        VALUES,
        st.sampled_from([OK, OK, OK, FAILED, MISSING]),
        st.sampled_from([(), (), COPY]),
    ),
    max_size=10,
    unique_by=lambda one: one.method,
)
POLICIES = st.sampled_from([POLICY, LENIENT, by_hand("m1"), by_hand("m2", LENIENT)])
RELATIVE = st.sampled_from([under("rank(qabf)"), under("z(qabf)", allow_copies=True), by_hand("m2", under("z(qabf)"))])
CONSTRAINED = st.sampled_from(
    [under("qabf where qabf < 0 else none"), under("z(qabf) where rank(qabf) <= 2"), by_hand("m1", under("qabf where qabf <= 0.5"))]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=ROWS, policy=POLICIES | RELATIVE | CONSTRAINED, order=st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[ScoreRow], policy: Policy, order: random.Random) -> None:
    shuffled = order.sample(rows, len(rows))
    assert repr(select("p", shuffled, policy)) == repr(select("p", rows, policy))  # by text, because nan differs from nan


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=ROWS, policy=POLICIES, index=st.integers(0, 9))
def test_a_loser_that_is_not_the_runner_up_can_be_taken_away(rows: list[ScoreRow], policy: Policy, index: int) -> None:
    choice = select("p", rows, policy)
    placed = (choice.method, choice.runner_up) if choice else ()
    losers = [one for one in rows if one.method not in placed]
    away = losers[index % len(losers)] if losers else None
    assert repr(select("p", [one for one in rows if one is not away], policy)) == repr(choice)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=ROWS, policy=st.sampled_from([POLICY, LENIENT]))
def test_nobody_who_may_win_is_better_than_the_winner(rows: list[ScoreRow], policy: Policy) -> None:
    choice = select("p", rows, policy)
    fair = {one.method: one.scores["qabf"] for one in rows if one.status == OK and (policy.allow_copies or not one.flags)}
    values = {method: value for method, value in fair.items() if math.isfinite(value)}
    assert (choice is None) == (not values)
    if choice is not None:
        best = max(values.values())
        tied = sorted(method for method, value in values.items() if value == best)
        assert (choice.value, choice.method) == (best, tied[0])
        assert len(tied) == 1 or (choice.runner_up, choice.margin) == (tied[1], 0)


NUMBERS = st.integers(-8, 8).map(lambda number: number / 8)  # exact in a float, and after any of the maps below
TRIPLES = st.dictionaries(st.sampled_from([*SCORES, "d", "e"]), st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=6)
MAP = st.tuples(st.integers(-3, 3).map(lambda power: 2.0**power), NUMBERS)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(scores=TRIPLES, maps=st.tuples(MAP, MAP, MAP), policy=st.sampled_from([under("rank-sum"), under("z-score")]))
def test_units_and_offsets_change_no_winner_by_rank_or_z(
    scores: dict[str, tuple[float, float, float]], maps: tuple[tuple[float, float], ...], policy: Policy
) -> None:
    mapped: dict[str, tuple[float, float, float]] = {}
    for method, own in scores.items():
        x, y, z = (factor * value + offset for (factor, offset), value in zip(maps, own, strict=True))
        mapped[method] = (x, y, z)
    before, after = (select("p", rows_of(one), policy) for one in (scores, mapped))
    assert (before and (before.method, before.runner_up)) == (after and (after.method, after.runner_up))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=ROWS, policy=POLICIES | RELATIVE, ending=st.sampled_from(["", "else best", "else none"]))
def test_a_condition_that_all_keep_to_changes_nothing(rows: list[ScoreRow], policy: Policy, ending: str) -> None:
    constrained = replace(policy, criterion=parse_criterion(f"{policy.criterion.rule} where otherwise(qabf, 0) >= -1 {ending}"))
    assert repr(select("p", rows, constrained)) == repr(select("p", rows, policy))


# A bare source as a candidate, scored beside the published results.


def read_pairs(path: Path, wanted: str) -> Iterator[list[ScoreRow]]:
    """For every pair of one published set: its published results and its two bare sources, with their scores."""
    with path.open(newline="") as file:
        records = [one for one in csv.DictReader(file) if one["dataset"] == wanted]
    for pair_id, of_pair in groupby(sorted(records, key=lambda one: one["pair"]), key=lambda one: one["pair"]):
        yield [to_row(pair_id, one) for one in of_pair if one["method"] not in ("reference:maximum", "reference:average")]


def to_row(pair_id: str, record: dict[str, str]) -> ScoreRow:
    scores = {name: float(record[name]) for name in ("ssim_a", "ssim_b", "vif_a", "vif_b", "qabf")}
    scores |= {name: scores[f"{name}_a"] + scores[f"{name}_b"] for name in ("ssim", "vif")}
    return ScoreRow(pair_id=pair_id, method=record["method"], version="1", content_key="", status=record["status"], scores=scores)


def count_bare_winners(pairs: Sequence[list[ScoreRow]], criterion: str) -> int:
    choices = [select(rows[0].pair_id, rows, Policy(parse_criterion(criterion))) for rows in pairs]
    return sum(choice is not None and choice.method in ("reference:source_a", "reference:source_b") for choice in choices)


@pytest.mark.parametrize(("dataset", "count"), [("vifb", 21), ("tno", 16), ("harvard_mri_ct", 11)])
def test_a_bare_source_never_wins_under_balanced_but_mostly_under_the_published_rule(shared: Path, dataset: str, count: int) -> None:
    pairs = list(read_pairs(shared / "golden" / "published_scores.csv", dataset))
    assert len(pairs) == count and all(one.status == OK for rows in pairs for one in rows)
    assert all(sum(one.method.startswith("reference:") for one in rows) == 2 < len(rows) for rows in pairs)
    assert count_bare_winners(pairs, "balanced") == 0
    assert count_bare_winners(pairs, "diff-if") > count / 2
