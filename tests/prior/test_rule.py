"""Ranks, z-scores and conditions: beside an independent count, by their laws, and all that is refused in words that help."""

import math
import pickle
import random
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from prior.criterion import MAX_LENGTH, PROFILES, Criterion, parse_criterion
from prior.rule import MAX_DEPTH, count_points, standardise
from storage.errors import InputError

NAN = math.nan
METRICS = ("ssim", "vif", "qabf")


def draw_values(rule: str, values: Sequence[float], counted: list[bool] | None = None) -> list[float]:
    return parse_criterion(rule).values([{"x": value} for value in values], counted)


def passes(condition: str, values: Sequence[float], counted: list[bool] | None = None) -> list[bool]:
    return parse_criterion(f"x where {condition}").passes([{"x": value} for value in values], counted)


# Ranks and z-scores.


def test_rank_counts_those_that_are_worse_and_half_of_those_that_are_equal() -> None:
    assert draw_values("rank(x)", [0.5, 0.1, 0.9, 0.5]) == [1.5, 0, 3, 1.5]
    assert draw_values("rank(-x)", [0.5, 0.1, 0.9, 0.5]) == [1.5, 3, 0, 1.5]
    assert draw_values("2*rank(x) + x", [1, 2]) == [1, 4]
    assert draw_values("rank(x)", [7]) == [0] and draw_values("rank(x)", []) == []


def test_z_is_the_distance_from_the_mean_in_standard_deviations() -> None:
    assert draw_values("z(x)", [1, 3]) == [-1, 1]
    assert draw_values("z(x)", [2, 4, 4, 4, 5, 5, 7, 9]) == [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]
    assert draw_values("z(x)", [0.1] * 7) == [0] * 7
    assert draw_values("z(x)", [7]) == [0] and draw_values("z(x)", []) == []


@pytest.mark.parametrize(("rule", "values"), [("rank(x)", [0, 0, 1]), ("z(x)", [0, -1, 1])])
@pytest.mark.parametrize("undefined", [NAN, math.inf, -math.inf])
def test_what_is_undefined_has_no_place_and_counts_for_nobody(rule: str, values: list[float], undefined: float) -> None:
    assert draw_values(rule, [undefined, 1, 3])[1:] == values[1:]
    assert math.isnan(draw_values(rule, [undefined, 1, 3])[0])
    assert all(map(math.isnan, draw_values(rule, [undefined, undefined])))
    assert math.isnan(draw_values(rule, [undefined, 1, 1])[0]) and all(map(math.isfinite, draw_values(rule, [undefined, 1, 1])[1:]))


@pytest.mark.parametrize(("rule", "values"), [("rank(x)", [0, 1.5, 1, 2]), ("z(x)", [-1, 0, 1, 7])])
def test_who_does_not_count_is_placed_beside_those_that_do(rule: str, values: list[float]) -> None:
    numbers = [1, 2, 3, 9] if rule == "z(x)" else [1, 3, 3, 9]
    assert draw_values(rule, numbers, [True, False, True, False]) == values


@pytest.mark.parametrize("scale", [1e-320, 1e-160, 1, 1e160, 1.7e308])
def test_z_does_not_depend_on_how_large_numbers_are(scale: float) -> None:
    assert draw_values("z(x)", [0.5 * scale, scale, -scale]) == pytest.approx(standardise([0.5, 1, -1], [True] * 3), abs=1e-3)


def test_z_bears_one_that_does_not_count_and_is_far_away() -> None:
    assert draw_values("z(x)", [1e-300, 3e-300, 1e300], [True, True, False]) == [-1, 1, math.inf]


FEW = st.lists(st.one_of(st.sampled_from([NAN, 0.0, 0.5, 0.5, 1.0]), st.floats(-1e6, 1e6)), min_size=1, max_size=12)


@settings(deadline=None, derandomize=True)
@given(values=FEW)
def test_places_are_those_of_a_second_count(values: list[float]) -> None:
    defined = np.array([value for value in values if not math.isnan(value)])
    everybody = [True] * len(values)
    points = [one for one in count_points(values, everybody) if not math.isnan(one)]
    assert points == (list(rankdata(defined) - 1) if defined.size else [])
    spread = defined.std() if defined.size else 0
    assume(spread > 1e-6 or len(set(defined)) <= 1)
    own = [one for one in standardise(values, everybody) if not math.isnan(one)]
    assert own == pytest.approx(list((defined - defined.mean()) / spread) if len(set(defined)) > 1 else [0] * defined.size, abs=1e-6)


GRID = st.integers(-8, 8).map(lambda number: number / 8)  # exact in a float, and after any of the maps below
CANDIDATES = st.lists(st.fixed_dictionaries(dict.fromkeys(METRICS, st.one_of(GRID, st.just(NAN)))), min_size=1, max_size=8)
MAPS = st.fixed_dictionaries(dict.fromkeys(METRICS, st.tuples(st.integers(-3, 3).map(lambda power: 2.0**power), GRID)))


@settings(deadline=None, derandomize=True)
@given(candidates=CANDIDATES, maps=MAPS)
def test_units_and_offsets_of_the_scores_change_no_place(candidates: list[dict[str, float]], maps: dict[str, tuple[float, float]]) -> None:
    mapped = [{name: maps[name][0] * value + maps[name][1] for name, value in own.items()} for own in candidates]
    by_rank, by_z = parse_criterion("rank-sum"), parse_criterion("z-score")
    assert by_rank.values(mapped) == pytest.approx(by_rank.values(candidates), abs=0, nan_ok=True)
    assert by_z.values(mapped) == pytest.approx(by_z.values(candidates), abs=1e-9, nan_ok=True)


@settings(deadline=None, derandomize=True)
@given(candidates=CANDIDATES, order=st.randoms())
@pytest.mark.parametrize("profile", ["rank-sum", "z-score"])
def test_values_do_not_depend_on_the_order(profile: str, candidates: list[dict[str, float]], order: random.Random) -> None:
    numbers = order.sample(range(len(candidates)), len(candidates))
    values = parse_criterion(profile).values(candidates)
    assert repr(parse_criterion(profile).values([candidates[n] for n in numbers])) == repr([values[n] for n in numbers])


def test_a_relative_criterion_has_no_value_for_a_picture_alone() -> None:
    for text, relative in (
        ("z-score", True),
        ("x - rank(x)", True),
        ("min(x, 1)", False),
        ("x where rank(x) > 1", True),
        ("x where x > 1", False),
    ):
        assert parse_criterion(text).relative == relative
    assert parse_criterion("x where x > 9").value({"x": 3}) == 3
    with pytest.raises(InputError, match="criterion 'z-score' has no value for a picture alone"):
        parse_criterion("z-score").value({"ssim": 1, "vif": 1, "qabf": 1})


# Conditions.


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("x > 2", [False, False, True, False]),
        ("x >= 2", [False, True, True, False]),
        ("x < 2", [True, False, False, False]),
        ("x <= 2", [True, True, False, False]),
        ("2 < x", [False, False, True, False]),
        ("1 < x <= 2", [False, True, False, False]),
        ("x > 1 and x < 3", [False, True, False, False]),
        ("(x > 1 and 2*x < 6) and x + 1 > x", [False, True, False, False]),
        ("otherwise(x, 5) > 2", [False, False, True, True]),
        ("rank(x) > 0", [False, True, True, False]),
        ("z(x) <= 0", [True, True, False, False]),
        ("absent < 9", [False] * 4),
    ],
)
def test_conditions(condition: str, kept: list[bool]) -> None:
    assert passes(condition, [1, 2, 3, NAN]) == kept


def test_conditions_are_about_those_that_may_win() -> None:
    assert passes("rank(x) > 0", [1, 2, 3], [False, True, True]) == [False, False, True]
    assert parse_criterion("x").passes([{}, {}]) == [True, True] and passes("x > 0", []) == []


def test_conditions_do_not_change_values() -> None:
    candidates = [{"ssim": 0.1, "vif": 0.5, "qabf": 0.3}, {"ssim": 0.2, "vif": 0.4, "qabf": 0.5}, {"ssim": 0.3, "vif": 0.3, "qabf": NAN}]
    for profile in ("diff-if", "rank-sum", "z-score"):
        constrained = parse_criterion(f"{profile} where qabf > 0.4")
        assert repr(constrained.values(candidates)) == repr(parse_criterion(profile).values(candidates))
        assert constrained.passes(candidates) == [False, True, False]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("balanced where qabf > 0.4", f"{PROFILES['balanced']} where qabf > 0.4"),
        (" rank-sum  where  qabf > 0.4  else best ", f"{PROFILES['rank-sum']} where qabf > 0.4"),
        ("diff-if\nwhere(corr_a > 0)and iqa:fsim<1 else none", f"{PROFILES['diff-if']} where (corr_a > 0)and iqa:fsim<1 else none"),
    ],
)
def test_the_rule_is_the_whole_text_and_reads_as_the_same_criterion(text: str, rule: str) -> None:
    criterion = parse_criterion(text)
    assert (criterion.name, criterion.rule) == (text.strip(), rule)
    assert criterion.constrained and criterion.falls_back == ("none" not in text)
    again = parse_criterion(rule)
    assert again == Criterion(rule, rule, criterion.metrics) and pickle.loads(pickle.dumps(again)) == again
    assert again.falls_back == criterion.falls_back


def test_a_criterion_names_the_metrics_of_its_conditions_too() -> None:
    criterion = parse_criterion("rank-sum where iqa:fsim > mi and ssim/nabf < 2")
    assert criterion.metrics == ("iqa:fsim", "mi", "nabf", "qabf", "ssim", "vif")


# All that is refused.

SENTENCES = {
    "rank(rank(x))": r"'rank\(rank\(x\)\)' in a criterion has a rank\(\) or z\(\) inside another; give rank\(\) a rule without them",
    "z(x - min(rank(x), 1))": r"give z\(\) a rule without them",
    "rank(x, y)": r"rank\(\) in a criterion was given 2 values: 'rank\(x, y\)'",
    "z()": r"z\(\) in a criterion was given 0 values",
    "x > 1": "'x > 1' compares within a rule of the criterion; a comparison stands after 'where'",
    "x + (y < 1)": "'y < 1' compares within a rule",
    "x where (y < 1) + 1 > 0": "'y < 1' compares within a rule",
    "x where y > 1 where x > 2": "has more than one 'where'; join its conditions by 'and'",
    "x where": "has no condition after 'where'",
    "x where else none": "has no condition after 'where'",
    "where x > 1": "has no rule before 'where'",
    "where": "has no condition after 'where'",
    "x where y >": "'y >' after the 'where' of a criterion is no condition",
    "x where balanced rule > 1": "after the 'where' of a criterion is no condition",
    "x where y": "'y' is no condition of a criterion; use comparisons",
    "x where y > 1 or x > 1": "'y > 1 or x > 1' is no condition of a criterion",
    "x where not y > 1": "is no condition of a criterion",
    "x where y == 1": "'y == 1' is no condition of a criterion; use comparisons by >, <, >= or <=, joined by 'and'",
    "x where 0 < y != 1": "is no condition of a criterion",
    "x where y > 1 and x": "'x' is no condition of a criterion",
    "x where 1 < 2": "the condition '1 < 2' of the criterion reads no metric",
    "x where y > 'a'": "\"'a'\" cannot stand in a criterion",
    "x where y > 1 else worst": "says 'else worst'; after the conditions stands 'else best', 'else none' or nothing",
    "x where y > 1 else": "says 'else '; after the conditions",
    "x where y > 1 else best else none": "says 'else best else none'; after the conditions",
    "x else best": "has an 'else' that follows no condition",
    "x else best where y > 1": "has an 'else' that follows no condition",
    "1 where y > 1": "reads no metric; write for example",
    "(x where y > 1)": "neither a profile",
    "diff-if rule where x > 1": "neither a profile",
}


@pytest.mark.parametrize("text", SENTENCES)
def test_every_mistake_has_its_sentence(text: str) -> None:
    with pytest.raises(InputError, match=SENTENCES[text]):
        parse_criterion(text)


@pytest.mark.parametrize("text", ["y>0.6else none", "y>0.6and x>1"])
def test_what_python_warns_of_is_refused_without_a_warning(text: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")  # here they are errors otherwise
        with pytest.raises(InputError, match=f"'{text}' after the 'where' of a criterion is no condition"):
            parse_criterion(f"x where {text}")
    assert told == []


def test_conditions_are_no_longer_and_no_deeper_than_rules() -> None:
    with pytest.raises(InputError, match=f"at most {MAX_LENGTH}"):
        parse_criterion("x where " + " and ".join(["y > 1"] * 100))
    with pytest.raises(InputError, match=f"at most {MAX_LENGTH}"):
        parse_criterion("balanced where qabf >" + " " * (MAX_LENGTH - 30) + "1")  # the profile written out is what counts
    with pytest.raises(InputError, match=f"more than {MAX_DEPTH}"):
        parse_criterion("x where " + "-" * 200 + "y > 1")
    assert parse_criterion("x where " + " and ".join(["y > 1"] * 90)).passes([{"y": 2}]) == [True]


WORDS = ["ssim", "balanced", "z-score", "iqa:fsim", "0.4", "2", "where", "else", "best", "none", "and", "or"]
SIGNS = ["rank(", "z(", "min(", "(", ")", ",", ">", "<=", "+", "-", "*", "/", "'", "#", "\n"]
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS + SIGNS), max_size=12).map(" ".join))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_any_text_is_a_criterion_that_reads_back_or_is_refused(text: str) -> None:
    try:
        criterion = parse_criterion(text)
    except InputError as error:
        assert str(error)
        return
    again = parse_criterion(criterion.rule)
    assert (again.rule, again.metrics) == (criterion.rule, criterion.metrics)
    candidates = [dict.fromkeys(criterion.metrics, number) for number in (0.25, 0.5, NAN)]
    assert repr(again.values(candidates)) == repr(criterion.values(candidates))
    assert again.passes(candidates) == criterion.passes(candidates) and again.falls_back == criterion.falls_back
