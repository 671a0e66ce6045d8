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
from flows.standings import find_places, find_ranks, find_standings
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
    columns = (Column("MI", make_metric("mi")), Column("MSE", make_metric("mse", "lower")))
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
    assert (x.means["MI"].value, x.means["MI"].deviation, x.means["MI"].count) == (3.0, pytest.approx(2.0), 3)
    assert (x.means["MSE"].value, x.means["MSE"].count) == (5.0, 1) and math.isnan(x.means["MSE"].deviation)
    assert z.means["MI"].count == 0 and math.isnan(z.means["MI"].value) and math.isnan(z.rank)
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
def test_columns_of_a_variant_bear_the_names_that_it_prints(name: str) -> None:
    columns = choose_columns([], name)
    printed = [one.name for one in columns]
    assert len(set(printed)) == len(printed) == len(VARIANTS[name].metrics)
    assert choose_columns(["all"], name) == columns
    assert choose_columns(printed[1:3][::-1], name) == columns[1:3][::-1]
    assert [choose_columns([one], name) for one in VARIANTS[name].metrics] == [(column,) for column in columns]
    with pytest.raises(UnknownName, match=f"unknown metric of the variant {name} 'nothing'"):
        choose_columns(["nothing"], name)


def test_a_name_that_a_variant_prints_twice_is_told_apart() -> None:
    assert [one.name for one in choose_columns(["nabf_swapped", "nabf"], "tang-matlab")] == ["Nabf (nabf_swapped)", "Nabf (nabf)"]


def test_a_variant_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean vifb"):
        choose_columns([], "vifbb")


def test_a_good_rank_is_one_on_every_pair() -> None:
    rows = [make_row(f"p{number}", method, mi=value) for number, (method, value) in enumerate(itertools.product("xyz", [1.0]))]
    assert [one.rank for one in find_standings(rows, (Column("mi", find_metric("mi")),))] == [1.0, 1.0, 1.0]
