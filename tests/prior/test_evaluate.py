"""Evaluation: what may go wrong inside a candidate becomes a row with its reason, and scores are of exactly what is stored."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prior import evaluate
from prior.arrays import Image, Picture, luma
from prior.evaluate import STANDARD_METRICS, Candidate, Scene, find_metrics
from prior.pictures import read_picture, write_png
from prior.registry import Fuse, Method, Metric, find_method, methods
from prior.statistics import Fused
from storage.errors import CandidateError, UnknownName
from storage.schema import CANDIDATE_REASONS, COPY_OF_SOURCE, FAILED, MISSING, OK, ScoreRow

SHAPE = (47, 61)
BLANK = ScoreRow(pair_id="street/1", method="odd", version="3", content_key="k", status="")


def draw(seed: int, channels: int = 1) -> Picture:
    """A smooth picture with a little noise, grey or colour."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    waves = [120 + 70 * np.sin(rows / rng.uniform(4, 12) + columns / rng.uniform(4, 12)) + rng.normal(0, 8, SHAPE) for _ in range(channels)]
    picture = np.clip(np.dstack(waves), 0, 255).astype(np.uint8)
    return picture if channels == 3 else picture[:, :, 0]


PAIRS = {"none": (1, 1), "a": (3, 1), "b": (1, 3), "weighted": (3, 3)}
"""The channels of a pair's two pictures, by where the colour of its fused image comes from."""


def prepare(kind: str = "none") -> Scene:
    first, second = PAIRS[kind]
    return evaluate.prepare("street/1", draw(1, first), draw(2, second))


def make_method(fuse: Fuse) -> Method:
    return Method("odd", fuse, "test", "Nobody 2000", 3, (), (), "MIT", True)


def make_metric(name: str, judge: Callable[[Fused], float]) -> Metric:
    return Metric(name, judge, "higher", (0, 1), 1, "Nobody 2000", "none", (), "MIT")


def run(fuse: Fuse, metrics: tuple[Metric, ...] = (), scene: Scene | None = None) -> tuple[ScoreRow, Picture | None]:
    """Evaluate one live method."""
    scene = scene or prepare()
    return evaluate.evaluate(scene, BLANK, lambda: evaluate.fuse(make_method(fuse), scene, {}), metrics)


def place(picture: Picture, chroma: str = "none") -> Callable[[], Candidate]:
    """What gives a picture as the candidate."""
    return lambda: Candidate(picture, 0.5, 0.0, chroma)  # type: ignore[arg-type]


def dim(image: Image) -> Image:
    """Half as bright, so that nothing is a copy."""
    return image * np.float32(0.5)


# What a method may give back.


def with_one_nan(a: Image, b: Image) -> Image:
    fused = dim(a)
    fused[3, 4] = np.nan
    fused[5, 6] = np.inf
    return fused


WRONG: dict[str, tuple[Fuse, str]] = {
    "shape": (lambda a, b: dim(a)[:, :-1], "got float32 of shape (47, 60)"),
    "turned": (lambda a, b: dim(a).T.copy(), "got float32 of shape (61, 47)"),
    "colour": (lambda a, b: np.dstack([a, a, a]), "got float32 of shape (47, 61, 3)"),
    "float64": (lambda a, b: a.astype(np.float64), "got float64 of shape (47, 61)"),
    "uint8": (lambda a, b: np.zeros(a.shape, np.uint8), "got uint8 of shape (47, 61)"),
    "big-endian": (lambda a, b: a.astype(">f4"), "got >f4 of shape (47, 61)"),
    "nan and inf": (with_one_nan, "got 2 values that are not finite"),
    "list": (lambda a, b: a.tolist(), "got list"),
    "nothing": (lambda a, b: None, "got NoneType"),  # type: ignore[dict-item, return-value]
    "number": (lambda a, b: 0.5, "got float"),  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image_of_the_pair_is_a_wrong_output(kind: str) -> None:
    fuse, got = WRONG[kind]
    row, picture = run(fuse, find_metrics([]))
    assert picture is None
    assert (row.status, row.reason, row.scores) == (FAILED, "wrong_output", {})
    assert row.message == f"odd on street/1: expected a finite float32 array of shape (47, 61), {got}"


def test_an_error_inside_a_method_names_method_pair_and_cause() -> None:
    def divide_by_nothing(a: Image, b: Image) -> Image:
        raise ZeroDivisionError("no light at all")

    row, picture = run(divide_by_nothing)
    assert (picture, row.status, row.reason) == (None, FAILED, "raised")
    for part in ("odd", "street/1", "ZeroDivisionError", "no light at all", "divide_by_nothing, line "):
        assert part in row.message


def test_an_error_keeps_its_cause() -> None:
    with pytest.raises(CandidateError, match="odd raised on street/1") as caught:
        evaluate.fuse(make_method(lambda a, b: a.nothing), prepare(), {})
    assert caught.value.code == "raised"
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_method_that_writes_to_its_inputs_fails() -> None:
    def blacken(a: Image, b: Image) -> Image:
        a[:] = 0
        return a

    row, _ = run(blacken)
    assert row.reason == "raised" and "read-only" in row.message


def test_parameters_reach_the_method_and_unknown_ones_fail() -> None:
    def mix(a: Image, b: Image, *, share: float = 0.5) -> Image:
        return np.float32(share) * a + np.float32(1 - share) * b

    scene = prepare()
    np.testing.assert_array_equal(evaluate.fuse(make_method(mix), scene, {"share": 1.0}).picture, scene.sources.a)
    np.testing.assert_array_equal(evaluate.fuse(make_method(mix), scene, {"share": 0.0}).picture, scene.sources.b)
    with pytest.raises(CandidateError, match="unexpected keyword argument 'radius'"):
        evaluate.fuse(make_method(mix), scene, {"radius": 3})


def test_what_leaves_the_range_is_clipped_and_counted() -> None:
    def overshoot(a: Image, b: Image) -> Image:
        fused = np.full(a.shape, 0.5, np.float32)
        fused[0, :10], fused[1, :20] = 1.5, -0.5
        fused[2, :5], fused[3, :5] = 0, 1  # the range's own ends
        return fused

    row, picture = run(overshoot)
    assert row.clipped == pytest.approx(30 / (47 * 61))
    assert picture is not None
    assert [picture[i, 0] for i in range(5)] == [255, 0, 0, 255, 128]
    assert run(lambda a, b: dim(a))[0].clipped == 0


# Rows.


def test_a_valid_candidate_fills_its_row_and_keeps_who_it_is() -> None:
    row, picture = run(lambda a, b: dim(a), find_metrics([]), prepare("b"))
    assert (row.pair_id, row.method, row.version, row.content_key) == ("street/1", "odd", "3", "k")
    assert (row.status, row.reason, row.message, row.flags, row.chroma) == (OK, "", "", (), "b")
    assert row.seconds >= 0 and row.judge_seconds >= 0
    assert tuple(row.scores) == STANDARD_METRICS and all(map(math.isfinite, row.scores.values()))
    assert picture is not None and picture.shape == (*SHAPE, 3)
    assert BLANK.status == "" and BLANK.scores == {}


@pytest.mark.parametrize("reason", CANDIDATE_REASONS)
def test_a_candidate_that_cannot_be_made_is_a_row_with_its_reason(reason: str) -> None:
    def refuse() -> Candidate:
        raise CandidateError("there is nothing to see", reason)

    row, picture = evaluate.evaluate(prepare(), BLANK, refuse, find_metrics([]))
    assert picture is None
    assert (row.status, row.reason, row.message) == (MISSING if reason == "missing" else FAILED, reason, "there is nothing to see")
    assert row.scores == {} and row.content_key == "k"


def test_an_undefined_metric_stays_undefined_and_a_broken_one_costs_no_other() -> None:
    def break_down(fused: Fused) -> float:
        raise ArithmeticError("too grey")

    judges = (make_metric("never", lambda _: math.nan), make_metric("broken", break_down), make_metric("always", lambda _: 1))
    row, picture = run(lambda a, b: dim(a), judges)
    assert row.status == OK and picture is not None
    assert math.isnan(row.scores["never"]) and math.isnan(row.scores["broken"])
    assert row.scores["always"] == 1 and type(row.scores["always"]) is float
    assert row.message == "broken failed on street/1: ArithmeticError: too grey"


def move(picture: Picture, up: int) -> Picture:
    """A picture that differs by `up` levels in total."""
    moved = picture.copy()
    flat = moved.ravel()
    flat[: up % flat.size] += 1
    return moved + np.uint8(up // flat.size)


@pytest.mark.parametrize(("levels", "is_copy"), [(0, True), (0.5, True), (0.99, True), (1.01, False), (20, False)])
@pytest.mark.parametrize("source", ["a", "b"])
def test_a_candidate_within_one_level_of_a_source_is_a_copy(levels: float, is_copy: bool, source: str) -> None:
    scene = evaluate.prepare("street/1", draw(1) // 2, draw(2) // 2)
    near = getattr(scene.sources, source)
    picture = move(near, round(levels * near.size))
    assert np.abs(picture.astype(int) - near).mean() == pytest.approx(levels, abs=1e-3)
    row, _ = evaluate.evaluate(scene, BLANK, place(picture), ())
    assert row.flags == ((COPY_OF_SOURCE,) if is_copy else ())


def test_a_copy_is_found_by_its_luma() -> None:
    scene = prepare("b")
    row, _ = evaluate.evaluate(scene, BLANK, place(draw(2, 3), "published"), ())
    assert row.flags == (COPY_OF_SOURCE,) and row.chroma == "published"
    assert evaluate.is_copy(luma(draw(2, 3)), scene) and not evaluate.is_copy(luma(draw(3)), scene)


# Scores are of what is stored.


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", ["average", "laplacian_pyramid"])
def test_a_written_candidate_scores_the_same(tmp_path: Path, name: str, kind: str) -> None:
    scene, judges = prepare(kind), find_metrics([])
    row, picture = evaluate.evaluate(scene, BLANK, lambda: evaluate.fuse(find_method(name), scene, {}), judges)
    assert picture is not None and row.chroma == scene.policy == kind
    assert (picture.ndim == 3) == (kind != "none")
    write_png(tmp_path / "fused.png", picture)
    stored = read_picture(tmp_path / "fused.png").pixels
    np.testing.assert_array_equal(stored, picture)
    assert evaluate.score(luma(stored), scene, judges) == (row.scores, ())


@pytest.mark.parametrize("kind", PAIRS)
def test_a_joined_picture_keeps_the_luma_that_the_method_chose(kind: str) -> None:
    scene = prepare(kind)
    for method in methods().values():
        chosen = np.rint(255 * np.clip(method.fuse(scene.a, scene.b), 0, 1)).astype(int)
        off = np.abs(luma(evaluate.fuse(method, scene, {}).picture) - chosen)
        assert off.max() <= (kind != "none") and (off == 0).mean() >= 0.998, method.name


def test_a_scene_is_what_methods_and_metrics_are_given() -> None:
    a, b = draw(1), draw(2, 3)
    scene = evaluate.prepare("street/1", a, b)
    np.testing.assert_array_equal(scene.sources.a, a)
    np.testing.assert_array_equal(scene.sources.b, luma(b))
    for image, source in ((scene.a, scene.sources.a), (scene.b, scene.sources.b)):
        assert image.dtype == np.float32 and not image.flags.writeable
        np.testing.assert_array_equal(image, source / np.float32(255))


def test_candidates_do_not_touch_each_other() -> None:
    scene, judges = prepare("weighted"), find_metrics([])
    made = {name: luma(evaluate.fuse(find_method(name), scene, {}).picture) for name in ("pca", "tif")}
    alone = {name: evaluate.score(candidate, prepare("weighted"), judges) for name, candidate in made.items()}
    for first, second in itertools.permutations(alone):
        pictures = [evaluate.fuse(find_method(name), scene, {}).picture for name in (first, second)]
        assert [evaluate.score(luma(picture), scene, judges) for picture in pictures] == [alone[first], alone[second]]


# Metrics by name.


def test_the_standard_metrics_come_first_and_each_once() -> None:
    assert [one.name for one in find_metrics([])] == list(STANDARD_METRICS)
    assert [one.name for one in find_metrics(["vif", "qabf", "ssim"])] == list(STANDARD_METRICS)


def test_metrics_that_are_asked_for_follow_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    judges = {name: make_metric(name, lambda _: 0) for name in ("zeta", "alpha", *STANDARD_METRICS)}
    monkeypatch.setattr("prior.registry._metrics", judges)
    found = [one.name for one in find_metrics(["zeta", "vif", "alpha", "zeta"])]
    assert found == [*STANDARD_METRICS, "zeta", "alpha"]


def test_an_unknown_metric_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownName, match=r"unknown metric 'ssmi'; did you mean .*ssim"):
        find_metrics(["vif", "ssmi"])
