"""The arithmetic of an evaluation: intervals, pairs left out, and a student beside its rivals."""

import json
import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from storage.errors import InputError
from train.evaluate import (
    CHAMPION,
    SECONDS,
    STUDENT,
    TEACHER,
    Contest,
    Image,
    Marks,
    Pair,
    add_champion,
    bootstrap_mean,
    evaluate,
    find_difference,
    find_standing,
    judge,
    stack,
    to_difference_rows,
    to_json,
    to_standing_rows,
)

NAN = math.nan


# Intervals.


def test_interval_of_a_normal_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(3).normal(5, 2, size=400)
    interval = bootstrap_mean(values, np.arange(400))
    error = values.std() / math.sqrt(400)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_mean(rng.normal(size=60), np.arange(60), resamples=400) for _ in range(300)]
    assert 0.90 <= np.mean([one.low <= 0 <= one.high for one in intervals]) <= 0.98


def test_pairs_of_one_scene_count_as_one_scene() -> None:
    scenes = np.random.default_rng(1).normal(size=20)
    values, groups = np.repeat(scenes, 10), np.repeat(np.arange(20), 10)
    by_scene, by_pair = bootstrap_mean(values, groups), bootstrap_mean(values, np.arange(200))
    widths = by_scene.high - by_scene.low, by_pair.high - by_pair.low
    assert by_scene.mean == by_pair.mean
    assert widths[0] == pytest.approx(math.sqrt(10) * widths[1], rel=0.15)


def test_mean_is_over_pairs_where_scenes_differ_in_size() -> None:
    interval = bootstrap_mean([1.0, 1.0, 1.0, 5.0], ["big", "big", "big", "small"])
    assert (interval.mean, interval.low, interval.high) == (2.0, 1.0, 5.0)  # two draws of one of the two scenes are that scene


def test_one_scene_has_a_mean_and_no_interval() -> None:
    interval = bootstrap_mean([1.0, 2.0], ["street", "street"])
    assert interval.mean == 1.5 and math.isnan(interval.low) and math.isnan(interval.high)


def test_no_value_has_no_mean() -> None:
    interval = bootstrap_mean([], [])
    assert all(math.isnan(one) for one in (interval.mean, interval.low, interval.high))


def test_interval_depends_on_the_seed_alone_and_not_on_the_order_of_the_scenes() -> None:
    values, groups = [0.1, 0.4, 0.7, 0.2], ["a", "b", "c", "c"]
    first = bootstrap_mean(values, groups, seed=4)
    assert bootstrap_mean(values, groups, seed=4) == first
    turned = bootstrap_mean(values[::-1], groups[::-1], seed=4)
    assert (turned.low, turned.high) == pytest.approx((first.low, first.high))
    many = np.random.default_rng(0).random(50)
    assert bootstrap_mean(many, range(50), seed=1) != bootstrap_mean(many, range(50), seed=2)


def test_values_without_their_groups_are_refused() -> None:
    with pytest.raises(InputError, match="3 values came with 2 groups"):
        bootstrap_mean([1.0, 2.0, 3.0], ["a", "b"])


# A contest.

LEVELS = (0.2, 0.4, 0.6, 0.8)
GROUPS = {f"p{number}": f"scene{number // 2}" for number in range(len(LEVELS))}


def open_pairs() -> Iterator[Pair]:
    """Flat pairs whose `value` is the level of what was fused."""
    for pair_id, level in zip(GROUPS, LEVELS, strict=True):
        image = np.full((2, 2), level, np.float32)
        image.setflags(write=False)
        yield Pair(pair_id, image, image, lambda fused: {"value": float(fused[0, 0]), "shape": float(fused.size)})


def make_contest(**marks: Mapping[str, list[float]]) -> Contest:
    """A contest against a teacher and others with these values."""
    arrays: dict[str, Marks] = {name: {column: np.array(own) for column, own in table.items()} for name, table in marks.items()}
    return Contest(GROUPS, ("value",), ("value", "shape"), open_pairs, arrays, {"value": "single"})


def copy_a(a: Image, b: Image) -> Image:
    return a


PLAIN = {
    "teacher": {"value": [0.1, 0.5, 0.5, 0.9], "shape": [4.0] * 4},
    "single": {"value": [0.1, 0.1, 0.1, 0.1]},
}


def test_student_stands_first_beside_the_others() -> None:
    verdict = judge(make_contest(**PLAIN), copy_a)
    assert [one.contestant for one in verdict.standings] == [STUDENT, TEACHER, "single"]
    assert verdict.standings[0].scores["value"].mean == pytest.approx(0.5)
    assert (verdict.pairs, verdict.groups, verdict.left_out) == (4, 2, {})
    assert verdict.columns == ("value", "shape", SECONDS)
    assert verdict.standings[0].scores[SECONDS].mean >= 0 and SECONDS not in verdict.standings[1].scores


def test_differences_are_pair_by_pair() -> None:
    verdict = judge(make_contest(**PLAIN), copy_a)
    lead = find_difference(verdict, TEACHER, "value")
    assert lead.difference.mean == pytest.approx(0.0, abs=1e-7)
    assert (lead.difference.low, lead.difference.high) == pytest.approx((0.0, 0.0), abs=1e-7)  # scene by scene they are equal
    assert lead.percent == pytest.approx(100)
    assert lead.wins is not None and lead.wins.mean == 0.5
    single = find_difference(verdict, "single", "value")
    assert single.difference.mean == pytest.approx(0.4) and single.percent == pytest.approx(500)
    assert find_difference(verdict, TEACHER, "shape").wins is None  # nobody said that more is better
    assert [one for one in verdict.differences if one.against == "single" and one.column == "shape"] == []  # it has no such column


def test_student_equal_to_its_teacher_wins_nowhere() -> None:
    marks = evaluate(copy_a, open_pairs())
    lead = find_difference(judge(make_contest(teacher={"value": list(marks["value"])}, single=PLAIN["single"]), copy_a), TEACHER, "value")
    assert lead.difference.mean == 0 and lead.percent == 100
    assert lead.wins is not None and (lead.wins.mean, lead.wins.high) == (0, 0)


def test_percent_of_a_mean_that_is_not_positive_is_undefined() -> None:
    verdict = judge(make_contest(teacher={"value": [-1.0, 0.0, 0.5, 0.5]}, single=PLAIN["single"]), copy_a)
    assert math.isnan(find_difference(verdict, TEACHER, "value").percent)


def test_pair_undefined_for_one_is_left_out_of_the_column_for_all() -> None:
    contest = make_contest(
        teacher={"value": [0.1, NAN, 0.5, 0.9], "shape": [4.0] * 4},
        single={"value": [0.3, 0.3, 0.3, 0.6]},
    )
    verdict = judge(contest, copy_a)
    means = {one.contestant: one.scores["value"].mean for one in verdict.standings}
    assert means == pytest.approx({STUDENT: np.mean([0.2, 0.6, 0.8]), TEACHER: 0.5, "single": 0.4})
    assert verdict.standings[0].scores["shape"].mean == 4  # the other columns keep the pair
    assert verdict.left_out == {"value": 1}
    assert [one.undefined for one in verdict.standings] == [{}, {"value": 1}, {}]


def test_student_undefined_everywhere_has_no_mean() -> None:
    def fuse(a: Image, b: Image) -> Image:
        return np.full_like(a, np.nan)

    verdict = judge(make_contest(**PLAIN), fuse)
    assert math.isnan(verdict.standings[0].scores["value"].mean) and verdict.left_out == {"value": 4}
    assert verdict.standings[0].undefined == {"value": 4}


def test_column_that_one_pair_lacks_is_blank() -> None:
    marks = stack([{"x": 1.0, "y": 2.0}, {"x": 3.0}])
    assert list(marks) == ["x"] and marks["x"].tolist() == [1.0, 3.0]
    assert stack([]) == {}


def test_student_may_work_in_place() -> None:
    def fuse(a: Image, b: Image) -> Image:
        a += b
        return a

    pairs = list(open_pairs())
    assert evaluate(fuse, pairs)["value"] == pytest.approx([0.4, 0.8, 1.2, 1.6])
    assert [float(pair.a[0, 0]) for pair in pairs] == pytest.approx(LEVELS)


# A champion.


def halve_a(a: Image, b: Image) -> Image:
    return a / 2


def test_champion_is_judged_on_the_same_pairs_and_stands_beside_the_others() -> None:
    contest = make_contest(**PLAIN)
    joined = add_champion(contest, halve_a)
    assert CHAMPION not in contest.marks and joined.groups == contest.groups
    assert joined.marks[CHAMPION]["value"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    verdict = judge(joined, copy_a)
    assert [one.contestant for one in verdict.standings] == [STUDENT, TEACHER, "single", CHAMPION]
    assert find_standing(verdict, CHAMPION).scores["value"].mean == pytest.approx(0.25)
    assert find_standing(verdict, CHAMPION).scores[SECONDS].mean >= 0


def test_student_is_compared_with_the_champion_in_every_column() -> None:
    verdict = judge(add_champion(make_contest(**PLAIN), halve_a), copy_a)
    lead = find_difference(verdict, CHAMPION, "value")
    assert lead.difference.mean == pytest.approx(0.25) and lead.percent == pytest.approx(200)
    assert (lead.difference.low, lead.difference.high) == pytest.approx((0.15, 0.35))  # two scenes, and each can be drawn twice
    assert lead.wins is not None and lead.wins.low == 1
    assert find_difference(verdict, CHAMPION, "shape").difference.mean == 0
    assert list(dict.fromkeys(one.against for one in verdict.differences)) == [TEACHER, CHAMPION, "single"]
    rows = to_difference_rows(verdict)
    assert [row["student against"] for row in rows] == [TEACHER, CHAMPION, "single"]
    assert rows[1]["low"] == lead.difference.low


def test_student_beside_itself_leads_by_nothing() -> None:
    lead = find_difference(judge(add_champion(make_contest(**PLAIN), copy_a), copy_a), CHAMPION, "value")
    assert (lead.difference.mean, lead.difference.low, lead.difference.high) == (0, 0, 0)


def test_pair_undefined_for_the_champion_counts_for_nobody() -> None:
    def fuse(a: Image, b: Image) -> Image:
        return np.full_like(a, np.nan) if a[0, 0] > 0.7 else a

    verdict = judge(add_champion(make_contest(**PLAIN), fuse), copy_a)
    assert verdict.left_out == {"value": 1} and find_standing(verdict, CHAMPION).undefined == {"value": 1}
    assert find_standing(verdict, STUDENT).scores["value"].mean == pytest.approx(0.4)


def test_without_a_champion_there_is_nothing_to_find() -> None:
    verdict = judge(make_contest(**PLAIN), copy_a)
    assert find_standing(verdict, TEACHER) == verdict.standings[1]
    with pytest.raises(InputError, match="no champion was judged; it were: student, teacher, single"):
        find_standing(verdict, CHAMPION)
    with pytest.raises(InputError, match="the student and the champion are not compared in 'value'; they are in: nothing"):
        find_difference(verdict, CHAMPION, "value")
    with pytest.raises(InputError, match="the student and the teacher are not compared in 'mi'; they are in: shape, value"):
        find_difference(verdict, TEACHER, "mi")


# What is told.


def test_same_student_gives_the_same_verdict() -> None:
    first, second = (to_json(judge(make_contest(**PLAIN), copy_a)) for _ in range(2))
    for told in (first, second):
        del told["standings"][0]["scores"][SECONDS]
    assert first == second


def test_verdict_is_json_without_nan() -> None:
    contest = make_contest(teacher={"value": [NAN] * 4}, single=PLAIN["single"])
    told = json.loads(json.dumps(to_json(judge(contest, copy_a)), allow_nan=False))
    assert told["left_out"] == {"value": 4} and told["best"] == {"value": "single"}
    assert told["standings"][1]["scores"]["value"] == {"mean": None, "low": None, "high": None}
    assert {(one["against"], one["column"]) for one in told["differences"]} == {("teacher", "value"), ("single", "value")}


def test_rows_hold_every_column_for_every_contestant() -> None:
    verdict = judge(make_contest(**PLAIN), copy_a)
    rows = to_standing_rows(verdict)
    assert [row["contestant"] for row in rows] == [STUDENT, TEACHER, "single"]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[1]["value"] == 0.5 and rows[1]["value low"] == pytest.approx(0.3) and rows[1]["value high"] == pytest.approx(0.7)
    assert math.isnan(rows[2]["shape"])


def test_lead_is_told_by_criterion_against_teacher_and_best_single() -> None:
    rows = to_difference_rows(judge(make_contest(**PLAIN), copy_a))
    assert [(row["criterion"], row["student against"]) for row in rows] == [("value", "teacher"), ("value", "single")]
    assert rows[1]["difference"] == pytest.approx(0.4) and rows[1]["share of pairs won"] == 1
