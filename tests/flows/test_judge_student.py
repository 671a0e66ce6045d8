"""Judging a student on a snapshot: the same scores as in the build, and a copy of a source is seen for what it is."""

import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from distributed import Client
from numpy.typing import NDArray

from flows import judge_student as judging
from flows.build import build
from flows.judge_student import PREPARING, find_best_singles, find_judges, find_split, prepare_contest
from flows.output import print_verdict
from flows.recipe import make_recipe
from flows.summary import group_scores
from prior.arrays import Image
from prior.criterion import parse_criterion
from prior.evaluate import prepare
from prior.methods.average import fuse_average
from prior.pictures import write_png
from prior.statistics import Fused
from storage.errors import CandidateError, InputError, UnknownName
from storage.schema import FAILED, OK, ScoreRow
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows
from train.evaluate import STUDENT, TEACHER, Contest, Standing, Verdict, judge, to_json

METHODS = ("average", "laplacian_pyramid", "maximum")
GROUPS = {"p00": "street", "p01": "street", "p02": "park", "p03": "park"}


def draw(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two views of one made-up scene that share some of it; every second one has a colour picture."""
    rng = np.random.default_rng(number)
    common, own, other = (cv2.GaussianBlur(rng.random((56, 64)).astype(np.float32), (0, 0), 2) for _ in range(3))
    a, b = (cv2.normalize(one, None, 20, 235, cv2.NORM_MINMAX, cv2.CV_8U) for one in (common + own, common - other))
    return a, cv2.applyColorMap(b, cv2.COLORMAP_AUTUMN) if number % 2 else b


@pytest.fixture(scope="module")
def snapshot(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Four pairs, two of them with colour."""
    folder = tmp_path_factory.mktemp("judged")
    for name in ("ir", "vis"):
        (folder / name).mkdir()
    for number, pair_id in enumerate(GROUPS):
        for name, picture in zip(("ir", "vis"), draw(number), strict=True):
            write_png(folder / name / f"{pair_id}.png", picture)
    recipe = make_recipe({"source": [{"a": str(folder / "ir"), "b": str(folder / "vis")}], "methods": list(METHODS)})
    return build(recipe, str(folder / "store"), client).snapshot


@pytest.fixture(scope="module")
def contest(snapshot: Snapshot) -> Contest:
    return prepare_contest(snapshot, GROUPS, metrics=("ssim",))


def copy_a(a: Image, b: Image) -> Image:
    return a


def find_standing(verdict: Verdict, contestant: str) -> Standing:
    return next(one for one in verdict.standings if one.contestant == contestant)


# The others.


def test_teacher_has_the_values_of_the_snapshot(snapshot: Snapshot, contest: Contest) -> None:
    kept = {row.pair_id: row.value for row in to_selection_rows(snapshot.table("selections"))}
    assert contest.marks[TEACHER]["diff-if"].tolist() == [kept[pair_id] for pair_id in GROUPS]


def test_plain_methods_have_the_scores_of_the_build(snapshot: Snapshot, contest: Contest) -> None:
    rows = group_scores(snapshot)
    for method in ("average", "maximum"):
        kept = [next(row for row in rows[pair_id] if row.method == method).scores for pair_id in GROUPS]
        for column in ("ssim_a", "vif_b", "qabf", "ssim"):
            assert contest.marks[method][column].tolist() == [one[column] for one in kept]


def test_best_single_has_the_largest_mean_by_each_criterion(snapshot: Snapshot, contest: Contest) -> None:
    rows = group_scores(snapshot)
    for name in ("diff-if", "balanced"):
        value = parse_criterion(name).value
        means = {m: np.mean([value(row.scores) for own in rows.values() for row in own if row.method == m]) for m in METHODS}
        best = max(means, key=lambda method: means[method])
        assert contest.best[name] == f"best single: {best}"
        assert contest.marks[f"best single: {best}"][name].mean() == pytest.approx(means[best])


def make_row(pair_id: str, method: str, quality: float, status: str = OK) -> ScoreRow:
    return ScoreRow(pair_id=pair_id, method=method, version="1", content_key="", status=status, scores={"qabf": quality})


def make_tables(**tables: pa.Table) -> Any:
    """All of a snapshot that is asked for its tables alone."""
    return SimpleNamespace(id="S1", table=lambda name, columns=None: tables[name].select(columns or tables[name].column_names))


def find_best(rows: dict[str, list[ScoreRow]], winners: dict[str, str]) -> dict[str, str]:
    records = [{"pair_id": k, "method": m, "content_key": "", "value": 1.0, "flags": []} for k, m in winners.items()]
    stub = make_tables(selections=pa.Table.from_pylist(records))
    return find_best_singles(stub, rows, [parse_criterion("qabf")])


def test_method_that_failed_once_is_no_best_single() -> None:
    rows = {
        "p0": [make_row("p0", "good", 0.9), make_row("p0", "safe", 0.2)],
        "p1": [make_row("p1", "good", math.nan, FAILED), make_row("p1", "safe", 0.3)],
    }
    assert find_best(rows, {"p0": "good", "p1": "safe"}) == {"qabf": "safe"}
    assert find_best({"p0": rows["p0"]}, {"p0": "good"}) == {"qabf": "good"}


def test_pair_on_which_the_winner_is_undefined_does_not_count_for_the_best_single() -> None:
    rows = {
        "p0": [make_row("p0", "good", 0.9), make_row("p0", "undefined", math.nan)],
        "p1": [make_row("p1", "good", math.nan), make_row("p1", "undefined", math.nan)],
    }
    assert find_best(rows, {"p0": "good", "p1": "good"}) == {"qabf": "good"}


def test_pairs_without_a_common_method_have_no_best_single() -> None:
    rows = {"p0": [make_row("p0", "x", 0.9)], "p1": [make_row("p1", "y", 0.2)]}
    assert find_best(rows, {"p0": "x", "p1": "y"}) == {}


def test_best_single_whose_pictures_are_gone_keeps_its_criteria_and_leaves_the_rest_blank(
    snapshot: Snapshot, contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "recover", lambda snapshot, row: None)
    blank = prepare_contest(snapshot, GROUPS, metrics=("ssim",))
    name = contest.best["diff-if"]
    assert set(contest.marks[name]) - set(blank.marks[name]) == {"corr_a", "corr_b"}
    for column, values in blank.marks[name].items():
        assert values.tolist() == contest.marks[name][column].tolist()
    verdict = judge(blank, copy_a)
    assert verdict.left_out == {} and "corr_a" not in find_standing(verdict, name).scores


def select_by(snapshot: Snapshot, rule: str) -> Any:
    """As much of a snapshot selected by a criterion of its own as its judges are found from."""
    return SimpleNamespace(id=snapshot.id, manifest={**snapshot.manifest, "criterion": {"name": "mine", "rule": rule}})


def test_snapshot_with_a_criterion_of_its_own_is_judged_by_that_too(snapshot: Snapshot) -> None:
    own = select_by(snapshot, "qabf + ssim")
    judges = find_judges(own, ())
    assert [one.name for one in judges.criteria] == ["diff-if", "balanced", "mine"] and judges.criteria[2].rule == "qabf + ssim"
    assert len(find_judges(snapshot, ()).criteria) == 2


@pytest.mark.parametrize("rule", ["2*rank(qabf) + rank(ssim)", "qabf where z(ssim) > 0"])
def test_criterion_that_sets_candidates_beside_each_other_judges_no_student(
    rule: str, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    own = select_by(snapshot, rule)
    with caplog.at_level(logging.WARNING):
        judges = find_judges(own, ())
    assert judges == find_judges(snapshot, ()) and "mine" not in judges.columns
    assert f"snapshot {snapshot.id} was selected by mine, which values candidates only beside each other" in caplog.text


# A student.


def test_student_that_is_the_average_has_exactly_its_row(contest: Contest) -> None:
    verdict = judge(contest, fuse_average)
    student, average = dict(find_standing(verdict, STUDENT).scores), find_standing(verdict, "average").scores
    assert student.pop("seconds").mean >= 0
    assert student == average


def test_student_that_copies_a_source_is_that_source(contest: Contest) -> None:
    verdict = judge(contest, copy_a)
    student, source = dict(find_standing(verdict, STUDENT).scores), find_standing(verdict, "source a").scores
    assert student.pop("seconds").mean >= 0
    assert student == source
    assert student["corr_a"].mean == pytest.approx(1, abs=1e-3) and student["corr_b"].mean < 0.9  # joined with the colour of b
    grey = judge(Contest({"p00": "x"}, (), ("corr_a",), lambda: list(contest.open_pairs())[:1], {TEACHER: {}}, {}), copy_a)
    assert find_standing(grey, STUDENT).scores["corr_a"].mean == pytest.approx(1, abs=1e-12)


def test_student_is_judged_alike_every_time(contest: Contest) -> None:
    first, second = (to_json(judge(contest, fuse_average)) for _ in range(2))
    for told in (first, second):
        del told["standings"][0]["scores"]["seconds"]
    assert first == second


@pytest.mark.parametrize(
    ("fuse", "what"),
    [
        (lambda a, b: np.full_like(a, np.nan), "not finite"),
        (lambda a, b: a[1:], "shape"),
        (lambda a, b: a.astype(np.float64), "float64"),
    ],
)
def test_answer_that_is_no_image_of_the_pair_is_an_error(contest: Contest, fuse: Callable[[Image, Image], Any], what: str) -> None:
    with pytest.raises(CandidateError, match=f"the student on p00.*{what}"):
        judge(contest, fuse)


def test_correlation_of_a_flat_picture_is_undefined() -> None:
    picture = draw(0)[0]
    assert judging.correlate(picture, picture) == pytest.approx(1, abs=1e-12)
    assert judging.correlate(picture, 255 - picture) == pytest.approx(-1, abs=1e-12)
    assert math.isnan(judging.correlate(picture, np.full_like(picture, 7)))


def test_flat_student_is_left_out_of_what_is_undefined_for_it_and_counted(contest: Contest) -> None:
    verdict = judge(contest, lambda a, b: np.full_like(a, 0.5))
    assert find_standing(verdict, STUDENT).undefined["corr_a"] >= 2 and verdict.left_out["corr_a"] >= 2  # p00 and p02 have no colour
    assert "qabf" not in verdict.left_out


def test_metric_that_breaks_is_told_and_undefined(snapshot: Snapshot, caplog: pytest.LogCaptureFixture) -> None:
    def fail(fused: Fused) -> float:
        raise ValueError("no such window")

    judges = find_judges(snapshot, ("ssim",))
    broken = replace(judges, metrics=tuple(replace(one, judge=fail) if one.name == "qabf" else one for one in judges.metrics))
    with caplog.at_level(logging.WARNING, "flows.judge_student"):
        scores = judging.score_luma(draw(0)[0], prepare("p00", *draw(0)), broken)
    assert math.isnan(scores["qabf"]) and math.isnan(scores["diff-if"]) and scores["ssim"] > 0
    assert "no such window" in caplog.text


# Which pairs.


def make_stub(rows: list[tuple[str, str, str]], winners: list[str]) -> Any:
    pairs = pa.Table.from_pylist([dict(zip(("pair_id", "group", "split"), row, strict=True)) for row in rows])
    return make_tables(pairs=pairs, selections=pa.table({"pair_id": pa.array(winners, pa.string())}))


ROWS = [("p0", "x", "train"), ("p1", "y", "test"), ("p2", "", "test"), ("p3", "y", "test")]


def test_split_holds_the_pairs_that_have_a_winner() -> None:
    assert find_split(make_stub(ROWS, ["p0", "p1", "p2"]), "test") == {"p1": "y", "p2": "p2"}


def test_few_pairs_of_a_split_are_spread_over_it() -> None:
    stub = make_stub([(f"p{n}", f"g{n}", "val") for n in range(10)], [f"p{n}" for n in range(10)])
    assert list(find_split(stub, "val", most=4)) == ["p0", "p3", "p6", "p9"]
    assert len(find_split(stub, "val", most=20)) == 10


@pytest.mark.parametrize(("winners", "has"), [(["p0", "p1"], "test 1, train 1"), ([], "no pair at all")])
def test_split_without_a_pair_is_refused_with_a_remedy(winners: list[str], has: str) -> None:
    with pytest.raises(InputError, match=rf"no pair with a winner in the split 'val' \(it has: {has}\); evaluate another split"):
        find_split(make_stub(ROWS, winners), "val")


def test_snapshot_without_splits_is_refused_with_a_remedy() -> None:
    stub = make_tables(pairs=pa.table({"pair_id": ["p0"]}), selections=pa.table({"pair_id": ["p0"]}))
    with pytest.raises(InputError, match="before pairs were split; run its build again"):
        find_split(stub, "test")


def test_contest_without_pairs_or_with_an_unknown_metric_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(InputError, match="name at least one"):
        prepare_contest(snapshot, {})
    with pytest.raises(UnknownName, match="nonsense"):
        prepare_contest(snapshot, GROUPS, metrics=("nonsense",))


# Telling.


def test_a_split_of_the_snapshot_is_judged_and_told_pair_by_pair(snapshot: Snapshot) -> None:
    splits = Counter(snapshot.table("pairs")["split"].to_pylist())
    split, count = splits.most_common(1)[0]
    told: list[tuple[str, int, int]] = []
    verdict = judging.judge_student(snapshot, fuse_average, split, metrics=(), report=lambda *one: told.append(one))
    assert set(splits) <= {"train", "val", "test"} and verdict.pairs == count
    assert told == [(what, done, count) for what in (PREPARING, judging.JUDGING) for done in range(1, count + 1)]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_verdict_is_printed_in_every_form(contest: Contest, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_verdict(judge(contest, lambda a, b: np.full_like(a, 0.5)), form)
    printed = capsys.readouterr()
    for name in (STUDENT, TEACHER, "source b", "maximum", contest.best["balanced"], "corr_b", "seconds"):
        assert name in printed.out
    if form == "json":
        assert json.loads(printed.out)["pairs"] == 4
    if form == "csv":
        assert len(printed.out.splitlines()) == 1 + len(contest.marks) + 1
    if form == "table":
        assert "The student's lead" in printed.out and "corr_a: " in printed.err


def test_published_winners_of_real_pairs_have_the_values_of_the_snapshot(shared: Path, client: Client, tmp_path: Path) -> None:
    for name in ("ir", "vis", "fused/CDDFuse", "fused/IFCNN"):
        (tmp_path / name).mkdir(parents=True)
        for stem in ("01", "02"):
            shutil.copy(shared / "data" / "tno" / name / f"{stem}.png", tmp_path / name)
    source = {"a": str(tmp_path / "ir"), "b": str(tmp_path / "vis"), "published": str(tmp_path / "fused")}
    snapshot = build(make_recipe({"source": [source], "methods": ["average"]}), str(tmp_path / "store"), client).snapshot
    selections = to_selection_rows(snapshot.table("selections"))
    contest = prepare_contest(snapshot, {row.pair_id: row.pair_id for row in selections}, metrics=())
    assert contest.marks[TEACHER]["diff-if"].tolist() == [row.value for row in selections]
    assert contest.best["diff-if"].startswith("best single: published:")
    assert set(contest.marks[contest.best["diff-if"]]) == set(contest.columns)  # its files were read again
