"""The quality indices of Piella, Yang and Cvejic: against their definitions spelt out, in flat windows, and the laws they obey."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.metrics import piella, yang_cvejic
from prior.registry import metrics
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]
Textbook = Mapping[str, Callable[[Grey, Grey, Grey], float]]

JUDGES = {
    "q_s": piella.judge_windows,
    "q_w": piella.judge_varied_windows,
    "q_w_edges": piella.judge_edges,
    "q_e": piella.judge_windows_and_edges,
    "q_y": yang_cvejic.judge_alike,
    "q_c": yang_cvejic.judge_followed,
}
PIELLA = ("q_s", "q_w", "q_w_edges", "q_e")


def judge(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: one(fused) for name, one in JUDGES.items()}


def flat(level: int, side: int = 24) -> Grey:
    return np.full((side, side), level, np.uint8)


def noise(seed: int, side: int = 24, high: int = 256) -> Grey:
    return np.random.default_rng(seed).integers(0, high, (side, side)).astype(np.uint8)


# --- golden numbers and definitions: the rest of the golden numbers stands in test_passports.py -----------------------------------------


def draw_image(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Grey:
    """An image of one kind: noise, few levels, black and white, smooth, one level, one spot, half flat, a ramp, or a bar."""
    image: Grey = np.full(shape, rng.integers(256), np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, shape).astype(np.uint8)
    elif kind == "few levels":
        image = rng.integers(100, 103, shape).astype(np.uint8)
    elif kind == "extremes":
        image = np.where(rng.random(shape) < 0.5, np.uint8(255), np.uint8(0))
    elif kind == "smooth":
        image = cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2)
    elif kind == "spot":
        image[rng.integers(shape[0]), rng.integers(shape[1])] ^= np.uint8(rng.integers(1, 256))
    elif kind == "half":
        image[: shape[0] // 2] = rng.integers(0, 256, (shape[0] // 2, shape[1]))
    elif kind == "ramp":
        levels = np.add.outer(rng.integers(-3, 4) * np.arange(shape[0]), rng.integers(-3, 4) * np.arange(shape[1])) + 128
        image = np.clip(levels, 0, 255).astype(np.uint8)
    elif kind == "bar":
        image[:, rng.integers(shape[1]) :] = rng.integers(256)
    return image


KINDS = st.sampled_from(["noise", "few levels", "extremes", "smooth", "flat", "spot", "half", "ramp", "bar"])


@st.composite
def scenes(draw: st.DrawFn) -> list[Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    shape = (draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(KINDS), shape) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, draw(st.sampled_from([b, b, b, 255 - a, a])), draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


@given(scene=scenes())
@settings(max_examples=40)
def test_numbers_are_those_of_the_definitions(textbook: Textbook, scene: list[Grey]) -> None:
    # a window in which one corner differs by one level has a variance of 1e-6; of two such rounding leaves five figures of their share
    for name, score in judge(*scene).items():
        assert score == pytest.approx(textbook[name](*scene), abs=1e-5, nan_ok=True), name


@pytest.mark.parametrize("shape", [(74, 20), (75, 20), (139, 20), (7, 150), (11, 11)])
def test_every_row_of_windows_counts_once(textbook: Textbook, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    scene = [draw_image(rng, kind, shape) for kind in ("smooth", "noise", "smooth")]
    for name, score in judge(*scene).items():
        assert score == pytest.approx(textbook[name](*scene), abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("code", ["LiuTPAMI2012.m @Octave7.3", "MEFB.m @Octave7.3"])
@pytest.mark.parametrize("case", ["c07_gradients_avg", "c08_noise_avg", "c11_tiny16"])
def test_public_code_prints_the_same_where_no_window_is_flat(case: str, code: str) -> None:
    one = golden.read_case(case)
    scores = judge(one.a, one.b, one.f)
    rows = {"Q_S": "q_s", "Q_W": "q_w_edges" if code.startswith("MEFB") else "q_w", "Q_E": "q_e", "Q_Y": "q_y", "Q_C": "q_c"}
    printed = {name: golden.list_values(row, code)[case] for row, name in rows.items() if golden.list_values(row, code)}
    assert {name: scores[name] for name in printed} == pytest.approx(printed, abs=1e-8)


# --- flat windows -----------------------------------------------------------------------------------------------------------------------


def test_two_flat_windows_are_as_alike_as_their_levels() -> None:
    scores = judge(flat(50), flat(200), flat(60))
    assert scores["q_y"] == pytest.approx(2 * 50 * 60 / (50**2 + 60**2), abs=1e-12)
    to_a, to_b = ((2 * x * 60 + 2.55**2) / (x**2 + 60**2 + 2.55**2) for x in (50, 200))
    assert scores["q_s"] == scores["q_w"] == pytest.approx((to_a + to_b) / 2, abs=1e-12)


def test_a_flat_and_a_varied_window_have_nothing_in_common() -> None:
    scores = judge(flat(100), noise(0), flat(100))
    # the sources are not alike, so the better one counts: the flat source, which the candidate copies
    assert scores["q_y"] == pytest.approx(1, abs=1e-12)
    assert judge(flat(100), noise(0), noise(1))["q_c"] == pytest.approx(judge(noise(0), noise(0), noise(1))["q_c"], abs=1e-12)


def test_flat_sources_that_are_alike_leave_no_share_to_mix_by() -> None:
    for candidate in (flat(100), noise(0)):
        scores = judge(flat(100), flat(110), candidate)
        assert math.isnan(scores["q_y"])
        assert all(math.isfinite(scores[name]) for name in PIELLA)


@pytest.mark.parametrize("level", [0, 1, 100, 255])
def test_a_flat_candidate_follows_no_source(level: int) -> None:
    scores = judge(noise(0), noise(1), flat(level))
    assert math.isnan(scores["q_c"])
    assert scores["q_y"] == pytest.approx(0, abs=1e-12)


def test_a_source_and_its_negative_leave_no_share_to_mix_by() -> None:
    assert math.isnan(judge(noise(0), 255 - noise(0), noise(1))["q_c"])


def test_windows_without_an_index_are_left_out() -> None:
    a, b, f = noise(0), noise(1), noise(2)
    wide = [np.hstack([image, np.full((24, 7), level, np.uint8)]) for image, level in ((a, 90), (b, 90), (f, 80))]
    seam = judge(*(image[:, :30] for image in wide))
    scores = judge(*wide)
    for name in ("q_c", "q_y"):
        # the last column of windows alone is flat, and has no index
        assert scores[name] == pytest.approx(seam[name], abs=1e-12)


@pytest.mark.parametrize("case", ["c09_constant", "c13_saturated_max"])
def test_what_public_code_prints_of_flat_windows_is_rounding(case: str) -> None:
    one = golden.read_case(case)
    score = judge(one.a, one.b, one.f)["q_c"]
    printed = [golden.list_values(name, code)[case] for name, code in (("Q_C", "MEFB.m @Octave7.3"), ("Q_C(nanmean)", golden.REFERENCE))]
    assert abs(printed[0] - printed[1]) > 0.01  # two codes of one definition
    assert math.isnan(score) or min(abs(score - value) for value in printed) > 0.01


# --- laws -------------------------------------------------------------------------------------------------------------------------------


@given(scene=scenes())
@settings(max_examples=40)
def test_numbers_do_not_hang_on_rounding(scene: list[Grey]) -> None:
    scores = judge(*scene)
    for turn in (np.transpose, np.flipud, np.fliplr):
        turned = judge(*(np.ascontiguousarray(turn(image)) for image in scene))
        assert turned == pytest.approx(scores, abs=1e-9, nan_ok=True)


@given(scene=scenes())
@settings(max_examples=40)
def test_scores_stay_inside_their_bounds(scene: list[Grey]) -> None:
    for name, score in judge(*scene).items():
        low, high = metrics()[name].bounds
        assert math.isnan(score) or low - 1e-9 <= score <= high + 1e-9, name


@given(scene=scenes())
@settings(max_examples=20)
def test_only_the_index_of_cvejic_asks_which_source_is_which(scene: list[Grey]) -> None:
    a, b, f = scene
    scores, swapped = judge(a, b, f), judge(b, a, f)
    for name in (*PIELLA, "q_y"):
        assert swapped[name] == pytest.approx(scores[name], abs=1e-9, nan_ok=True), name


def test_the_index_of_cvejic_is_cut_to_what_the_first_source_says() -> None:
    a = noise(0, high=128)
    against = 200 - a // 2
    assert judge(a, against, a)["q_c"] == pytest.approx(1, abs=1e-12)
    assert judge(against, a, a)["q_c"] == pytest.approx(0, abs=1e-12)


def test_a_copy_of_both_sources_is_perfect() -> None:
    assert judge(noise(3), noise(3), noise(3)) == pytest.approx(dict.fromkeys(JUDGES, 1.0), abs=1e-12)


def test_the_edge_index_is_a_product() -> None:
    scores = judge(noise(0), noise(1), noise(2))
    assert scores["q_e"] == scores["q_w"] * scores["q_w_edges"]


def test_varied_windows_count_for_more() -> None:
    calm, busy = noise(4, high=4) + np.uint8(100), noise(5)
    a, b = np.hstack([calm, busy]), np.hstack([calm[::-1], busy[::-1]])
    spoilt_calm, spoilt_busy = np.hstack([noise(6), busy]), np.hstack([calm, noise(6)])
    assert judge(a, b, spoilt_calm)["q_w"] > judge(a, b, spoilt_busy)["q_w"]


@pytest.mark.parametrize(("names", "side"), [(PIELLA, 11), (("q_y", "q_c"), 7)])
def test_indices_are_defined_from_one_window_on(names: tuple[str, ...], side: int) -> None:
    for cut in ((side, 30), (30, side)):
        scores = judge(*(noise(seed, 30)[: cut[0], : cut[1]] for seed in range(3)))
        assert all(math.isfinite(scores[name]) for name in names)
    for cut in ((side - 1, 30), (30, side - 1), (1, 1)):
        scores = judge(*(noise(seed, 30)[: cut[0], : cut[1]] for seed in range(3)))
        assert all(math.isnan(scores[name]) for name in names)
