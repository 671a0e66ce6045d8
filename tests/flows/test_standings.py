"""Means, ranks and marks against plain loops, and the columns that a table has."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from flows.columns import Column, choose_columns, find_mains
from flows.standings import describe_pairs, find_places, find_ranks, find_standings, keep_common
from prior.evaluate import STANDARD_METRICS
from prior.registry import Direction, Metric, find_metric, metrics
from prior.variants import VARIANTS
from storage.errors import UnknownName
from storage.schema import FAILED, OK, ScoreRow

LEVELS = st.sampled_from([math.nan, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, math.inf])


def make_metric(name: str, better: Direction = "higher", term_of: str = "") -> Metric:
    return replace(find_metric("mi"), name=name, better=better, term_of=term_of)


def make_row(pair_id: str, method: str, **scores: float) -> ScoreRow:
    return ScoreRow(pair_id=pair_id, method=method, version="", content_key="", status=OK if scores else FAILED, scores=scores)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.data())
def test_mean_ranks_are_those_of_plain_loops(metric_count: int, pairs: int, methods: int, data: st.DataObject) -> None:
    size = metric_count * pairs * methods
    scores = np.array(data.draw(st.lists(LEVELS, min_size=size, max_size=size))).reshape(metric_count, pairs, methods)
    better = data.draw(st.lists(st.sampled_from(["higher", "lower", "zero"]), min_size=metric_count, max_size=metric_count))
    expected = []
    for method in range(methods):
        of_metrics = []
        for one, direction in zip(scores, better, strict=True):
            of_pairs = []
            for row in one:
                there = [at for at in range(methods) if not math.isnan(row[at])]
                turned = [{"higher": -row[at], "lower": row[at], "zero": abs(row[at])}[direction] for at in there]
                of_pairs += [rank for at, rank in zip(there, rankdata(turned), strict=True) if at == method]
            of_metrics += [sum(of_pairs) / len(of_pairs)] if of_pairs else []
        expected.append(sum(of_metrics) / len(of_metrics) if of_metrics else math.nan)
    assert find_ranks(scores, better) == pytest.approx(expected, nan_ok=True)


def test_a_metric_that_is_often_undefined_weighs_no_less() -> None:
    often, rarely = [[1.0, 2.0]] * 9, [[1.0, 2.0]] + [[math.nan, math.nan]] * 8
    assert find_ranks(np.array([often, rarely]), ["higher", "lower"]).tolist() == [1.5, 1.5]


def test_standings_tell_mean_deviation_and_count_where_a_metric_is_defined() -> None:
    columns = (Column("mi", make_metric("mi")), Column("mse", make_metric("mse", "lower")))
    rows = [
        make_row("p1", "x", mi=1.0, mse=5.0),
        make_row("p2", "x", mi=3.0, mse=math.nan),
        make_row("p3", "x", mi=5.0, mse=math.inf),
        make_row("p1", "y", mi=2.0, mse=4.0),
        make_row("p2", "y"),
        make_row("p3", "z"),
    ]
    x, y, z = find_standings(rows, columns)
    assert (x.method, x.scored, y.scored, z.scored) == ("x", 3, 1, 0)
    assert (x.means["mi"].value, x.means["mi"].deviation, x.means["mi"].count) == (3.0, pytest.approx(2.0), 3)
    assert (x.means["mse"].value, x.means["mse"].count) == (5.0, 1) and math.isnan(x.means["mse"].deviation)
    assert z.means["mi"].count == 0 and math.isnan(z.means["mi"].value) and math.isnan(z.rank)
    assert (x.rank, y.rank) == (pytest.approx(((2 + 1 + 1) / 3 + (2 + 1) / 2) / 2), 1.0)


def test_terms_and_variants_count_only_where_their_metric_does_not_stand_beside_them() -> None:
    whole, term = Column("vif", find_metric("vif")), Column("vif_a", find_metric("vif_a"))
    assert find_mains((whole, term)) == (whole,)
    assert find_mains((term,)) == (term,)
    variant = Column("other", replace(find_metric("vif"), name="vif_other", variant_of="vif"))
    assert find_mains((variant, whole)) == (whole,) and find_mains((variant,)) == (variant,)


def test_terms_do_not_move_the_mean_rank() -> None:
    whole, term = Column("w", make_metric("w")), Column("w_a", make_metric("w_a", term_of="w"))
    rows = [make_row("p", "x", w=2.0, w_a=0.0), make_row("p", "y", w=1.0, w_a=9.0)]
    assert [one.rank for one in find_standings(rows, (whole, term))] == [1.0, 2.0]


@pytest.mark.parametrize(("better", "places"), [("higher", [0, 2, 1, 1, 0]), ("lower", [2, 0, 0, 0, 1]), ("zero", [1, 2, 0, 0, 0])])
def test_best_and_second_best_are_marked_with_their_equals(better: Direction, places: list[int]) -> None:
    assert find_places([-1.0, 2.0, 3.0, 3.0, -4.0], better) == places
    assert find_places([math.nan, 1.0], better) == [0, 1] and find_places([math.nan], better) == [0]


def test_columns_are_the_standard_ones_or_those_named() -> None:
    assert tuple(one.name for one in choose_columns([])) == STANDARD_METRICS
    assert [one.name for one in choose_columns(["vif", "mi", "vif"])] == ["vif", "mi"]
    assert {one.name for one in choose_columns(["all"])} == {name for name, one in metrics().items() if not one.variant_of}
    with pytest.raises(UnknownName, match="did you mean ssim"):
        choose_columns(["sim"])


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_columns_of_a_variant_bear_our_names_and_those_that_it_prints(name: str) -> None:
    columns = choose_columns([], name)
    assert [(one.name, one.metric.name) for one in columns] == list(VARIANTS[name].metrics.items())
    assert [one.printed for one in columns] == [VARIANTS[name].printed[one.name] for one in columns]
    assert all(one.label == one.printed and one.heading.startswith(one.printed) for one in columns)
    assert choose_columns(["all"], name) == columns
    assert [choose_columns([one], name) for one in VARIANTS[name].metrics] == [(column,) for column in columns]
    assert all(column in choose_columns([column.printed], name) for column in columns)
    with pytest.raises(UnknownName, match=f"unknown metric of the variant {name} 'nothing'"):
        choose_columns(["nothing"], name)


def test_a_name_that_a_variant_prints_twice_is_both() -> None:
    assert [(one.name, one.printed) for one in choose_columns(["Nabf"], "tang-matlab")] == [("nabf", "Nabf"), ("nabf_swapped", "Nabf")]
    assert [one.name for one in choose_columns(["nabf_swapped", "Nabf"], "tang-matlab")] == ["nabf_swapped", "nabf"]


def test_a_column_without_a_variant_is_called_by_its_id() -> None:
    assert (Column("mi", find_metric("mi")).label, Column("mi", find_metric("mi")).heading) == ("mi", "mi ↑")


def test_a_variant_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean vifb"):
        choose_columns([], "vifbb")


def test_a_good_rank_is_one_on_every_pair() -> None:
    rows = [make_row(f"p{number}", method, mi=value) for number, (method, value) in enumerate(itertools.product("xyz", [1.0]))]
    assert [one.rank for one in find_standings(rows, (Column("mi", find_metric("mi")),))] == [1.0, 1.0, 1.0]


def test_the_mean_of_magnitudes_does_not_let_signs_cancel() -> None:
    rows = [make_row("p1", "x", m=5.0), make_row("p2", "x", m=-5.0), make_row("p1", "y", m=1.0), make_row("p2", "y", m=1.0)]
    x, y = find_standings(rows, (Column("m", make_metric("m", "zero")),))
    assert (x.means["m"].value, x.means["m"].magnitude) == (0.0, 5.0) and y.means["m"].magnitude == 1.0 and x.rank > y.rank


def test_methods_over_different_pairs_are_told_and_can_be_made_equal() -> None:
    scored = {"x": "123", "y": "12", "z": "23", "none": ""}
    rows = [make_row(pair_id, method, **({"mi": 1.0} if pair_id in pairs else {})) for method, pairs in scored.items() for pair_id in "123"]
    assert describe_pairs(rows, rows) == (
        "y has scores on 2, z on 2 of 3 pairs: means and ranks compare different pairs; "
        "--common compares all methods on the pairs that all have"
    )
    common = keep_common(rows)
    assert {row.pair_id for row in common} == {"2"} and len(common) == 4
    assert describe_pairs(rows, common) == "means and ranks are over the 1 pair, of 3, on which every method has a score"
    assert describe_pairs(common, common) == "" and keep_common([]) == () and describe_pairs([], []) == ""
