"""The metrics of information and of error: against their definitions spelt out, where they are undefined, and the laws they obey."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.metrics import mi, mse, scd
from prior.registry import metrics
from prior.statistics import Fused, Sources
from prior.statistics.histograms import count_candidate, count_sources
from prior.statistics.levels import stretch_table

Grey = NDArray[np.uint8]
Textbook = Mapping[str, Callable[[Grey, Grey, Grey], float]]

ALONE = ("en", "sd", "sd_saturated")
JOINED = ("q_te", "q_te_swapped", "q_ncie", "psnr", "psnr_unit", "psnr_peak_f", "psnr_vifb")
SUMS = ("mi", "mi_ln", "mi_ln_stretched", "mi_saturated", "nmi", "q_te_cvejic", "q_te_cvejic_swapped", "scd")
MEANS = ("ce", "cc", "mse", "mse_unit", "rmse_vifb")
WHOLES = (*ALONE, *JOINED, *SUMS, *MEANS)
OF_NAMES = ("q_te_swapped", "q_te_cvejic_swapped")
"""Those that change when levels are renamed: their marginals are swapped."""


def judge(a: Grey, b: Grey, f: Grey, names: tuple[str, ...] = WHOLES) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in names}


@pytest.fixture
def scene() -> list[Grey]:
    rng = np.random.default_rng(7)
    a, b = (cv2.GaussianBlur(rng.integers(0, 256, (160, 208)).astype(np.uint8), (0, 0), 2) for _ in range(2))
    return [a, b, np.maximum(a, b)]


# --- golden numbers and definitions: the rest of the golden numbers stands in test_passports.py -----------------------------------------


@pytest.mark.parametrize("name", ["nmi", "q_te", "q_te_swapped", "q_te_cvejic", "q_te_cvejic_swapped", "q_ncie", "cc", "scd"])
def test_constants_that_break_public_code_are_undefined(name: str) -> None:
    case = golden.read_case("c09_constant")
    assert math.isnan(judge(case.a, case.b, case.f)[name])


def draw_image(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Grey:
    """An image of one kind: noise, few levels, black and white, nearly saturated, one level, black, one spot, or a ramp."""
    image: Grey = np.full(shape, rng.integers(256), np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, shape).astype(np.uint8)
    elif kind == "few levels":
        image = (85 * rng.integers(0, 4, shape)).astype(np.uint8)
    elif kind == "extremes":
        image = np.where(rng.random(shape) < 0.5, np.uint8(255), np.uint8(0))
    elif kind == "saturated":
        image = rng.integers(252, 256, shape).astype(np.uint8)
    elif kind == "black":
        image = np.zeros(shape, np.uint8)
    elif kind == "spot":
        image[rng.integers(shape[0]), rng.integers(shape[1])] ^= np.uint8(rng.integers(1, 256))
    elif kind == "ramp":
        image = np.broadcast_to(np.linspace(rng.integers(128), rng.integers(128, 256), shape[1]).astype(np.uint8), shape)
    return image


KINDS = st.sampled_from(["noise", "few levels", "extremes", "saturated", "flat", "black", "spot", "ramp"])


@st.composite
def scenes(draw: st.DrawFn) -> list[Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    shape = (draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(KINDS), shape) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


@given(scene=scenes())
@settings(max_examples=40)
def test_numbers_are_those_of_the_definitions(textbook: Textbook, scene: list[Grey]) -> None:
    scores = judge(*scene)
    for name, score in scores.items():
        assert score == pytest.approx(textbook[name](*scene), rel=1e-9, abs=1e-9, nan_ok=True), name


@given(scene=scenes())
@settings(max_examples=40)
def test_sums_and_means_are_of_their_terms_which_swap_with_the_sources(scene: list[Grey]) -> None:
    a, b, f = scene
    names = tuple(f"{name}{end}" for name in (*SUMS, *MEANS) for end in ("", "_a", "_b"))
    scores, other_way = judge(a, b, f, names), judge(b, a, f, names)
    for name in (*SUMS, *MEANS):
        total = scores[f"{name}_a"] + scores[f"{name}_b"]
        assert scores[name] == pytest.approx(total if name in SUMS else total / 2, rel=1e-15, nan_ok=True), name
        assert other_way[f"{name}_a"] == pytest.approx(scores[f"{name}_b"], rel=1e-12, abs=1e-12, nan_ok=True), name
        for end in ("_a", "_b"):
            low, high = metrics()[name + end].bounds
            assert math.isnan(scores[name + end]) or low - 1e-12 <= scores[name + end] <= high * (1 + 1e-12) + 1e-12, name + end


@given(scene=scenes())
@settings(max_examples=20)
def test_histograms_are_those_of_the_pixels(scene: list[Grey]) -> None:
    sources = Sources(scene[0], scene[1])
    with_a, with_b = Fused(scene[2], sources).once(count_candidate)
    pairs = ((sources.once(count_sources), scene[0], scene[1]), (with_a, scene[0], scene[2]), (with_b, scene[1], scene[2]))
    for joint, x, y in pairs:
        dense = np.zeros((256, 256), np.int64)
        dense[joint.of_x, joint.of_y] = joint.counts
        assert np.array_equal(dense, np.histogram2d(x.ravel(), y.ravel(), bins=256, range=[[0, 256], [0, 256]])[0])
        assert np.array_equal(joint.x.counts, np.bincount(x.ravel(), minlength=256))
        assert (joint.y.low, joint.y.high, joint.y.total) == (y.min(), y.max(), y.sum())
        assert joint.squared_errors == ((x.astype(int) - y) ** 2).sum()


# --- laws -----------------------------------------------------------------------------------------------------------------------------


def test_stretching_moves_no_two_levels_onto_one() -> None:
    for low in range(255):
        for high in range(low + 1, 256):
            table = stretch_table(low, high)
            assert table is not None and (np.diff(table[low : high + 1].astype(np.int16)) > 0).all(), (low, high)


def test_information_does_not_ask_which_level_stands_for_which(scene: list[Grey]) -> None:
    shuffled = np.random.default_rng(0).permutation(256).astype(np.uint8)
    names = ("en", "mi", "mi_ln", "nmi", "q_te", "q_te_cvejic", "q_ncie")
    before, after = judge(*scene), judge(scene[0], scene[1], shuffled[scene[2]])
    assert [after[name] for name in names] == pytest.approx([before[name] for name in names], abs=1e-12)
    for name in OF_NAMES:
        assert after[name] != pytest.approx(before[name], rel=1e-3), name


def test_all_levels_alike_often_carry_eight_bits() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    scores = judge(image, image.T.copy(), image, ("mi_a", "en", "nmi_a"))
    assert scores == {"mi_a": 8.0, "en": 8.0, "nmi_a": 1.0}
    assert judge(image, image, image)["q_ncie"] == pytest.approx(1, abs=1e-12)


def test_equal_images_are_perfect(scene: list[Grey]) -> None:
    scores = judge(scene[0], scene[0], scene[0])
    perfect = {"nmi": 2, "cc": 1, "ce": 0, "mse": 0, "mse_unit": 0, "rmse_vifb": 0}
    assert {name: scores[name] for name in perfect} == pytest.approx(perfect, abs=1e-15)
    assert all(scores[name] == math.inf for name in JOINED if name.startswith("psnr"))


def test_images_that_know_nothing_of_each_other_share_nothing() -> None:
    a, b = np.meshgrid(np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8))
    f = np.zeros((16, 16), np.uint8)
    f[::2, ::2] = f[1::2, 1::2] = 1  # tells of neither alone
    scores = judge(a, b, f)
    for name in ("mi", "nmi", "q_te", "q_te_cvejic", "cc"):
        assert scores[name] == pytest.approx(0, abs=1e-12), name
    assert scores["q_ncie"] == pytest.approx(metrics()["q_ncie"].bounds[0], abs=1e-12)


def test_the_sum_of_both_sources_is_the_perfect_difference() -> None:
    a, b = (np.random.default_rng(seed).integers(0, 128, (20, 30)).astype(np.uint8) for seed in (1, 2))
    assert judge(a, b, a + b)["scd"] == pytest.approx(2, abs=1e-12)


def test_the_average_has_the_least_error_of_all(scene: list[Grey]) -> None:
    a, b, _ = scene
    scores = [judge(a, b, np.rint(a + share * (b.astype(np.float64) - a)).astype(np.uint8), ("mse", "psnr")) for share in (0, 0.25, 0.5, 1)]
    assert scores[2] == {"mse": min(one["mse"] for one in scores), "psnr": max(one["psnr"] for one in scores)}


def test_better_candidates_score_better(scene: list[Grey]) -> None:
    a, b, f = scene
    names = ("mi", "nmi", "q_te", "q_te_cvejic", "q_ncie", "ce", "cc", "scd", "mse", "psnr")
    good, bad = judge(a, b, f, names), judge(a, b, np.random.default_rng(3).integers(0, 256, a.shape).astype(np.uint8), names)
    for name in names:
        assert (good[name] > bad[name]) == (metrics()[name].better == "higher"), name


def test_sums_do_not_overflow() -> None:
    a = np.zeros((1, 20_000_000), np.uint8)
    a[:, ::2] = 255
    b = 255 - a
    assert judge(a, b, a // 2 + b // 4, ("scd",))["scd"] == pytest.approx(2, abs=1e-9)
    assert judge(a, b, np.maximum(a, b) - a // 2, ("mi", "cc")) == pytest.approx({"mi": 2, "cc": 0}, abs=1e-9)


# --- where they are undefined -----------------------------------------------------------------------------------------------------------


def test_noise_scores_high_where_pixels_are_few(scene: list[Grey]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, scene[0].shape).astype(np.uint8)
    large, small = (judge(a, b, f, ("q_te", "mi")) for a, b, f in ((*scene[:2], noise), tuple(x[:40, :52] for x in (*scene[:2], noise))))
    assert small["q_te"] > 5 * large["q_te"] and small["mi"] > 5 * large["mi"]


@pytest.mark.parametrize("level", [1, 128, 255])
def test_constants(scene: list[Grey], level: int) -> None:
    a, b, f = scene
    flat = np.full_like(a, level)
    undefined = {"nmi", "q_te", "q_te_swapped", "q_te_cvejic", "q_te_cvejic_swapped", "q_ncie", "cc"}
    assert {name for name, score in judge(a, b, flat).items() if math.isnan(score)} == undefined
    for scores in (judge(flat, b, f), judge(a, flat, f)):
        assert {name for name, score in scores.items() if math.isnan(score)} == undefined | {"scd"}
    assert judge(a, b, flat)["mi"] == judge(a, b, flat)["en"] == judge(a, b, flat)["sd"] == 0
    terms = judge(flat, b, f, ("mi_a", "nmi_a", "nmi_b", "cc_a", "cc_b"))
    assert terms["mi_a"] == 0 and math.isnan(terms["nmi_a"]) and math.isnan(terms["cc_a"])
    assert math.isfinite(terms["nmi_b"]) and math.isfinite(terms["cc_b"])


def test_scd_is_undefined_where_something_it_compares_is_constant(scene: list[Grey]) -> None:
    a, b, f = scene
    flat = np.full_like(a, 9)
    assert math.isnan(judge(flat, b, f)["scd"])
    assert math.isnan(judge(a, b, a)["scd"])  # it adds nothing to a, which correlates with nothing
    assert math.isfinite(judge(a, b, flat)["scd"])


def test_black_is_the_one_constant_that_stretches(scene: list[Grey]) -> None:
    a, b, f = scene
    black = np.zeros_like(a)
    names = ("nmi", "q_te", "q_te_cvejic", "q_ncie")
    for scores in (judge(black, b, f, names), judge(a, b, black, names)):
        assert all(math.isfinite(score) for score in scores.values())
    assert math.isnan(judge(black, b, black, ("nmi_a",))["nmi_a"])
    assert all(math.isnan(score) for score in judge(black, black, f, ("q_te", "q_te_swapped")).values())
    assert math.isnan(judge(black, black, black, ("q_te",))["q_te"])
    assert judge(a, b, black, ("nmi", "q_te")) == pytest.approx({"nmi": 0, "q_te": 0}, abs=1e-12)


def test_a_black_candidate_has_no_peak(scene: list[Grey]) -> None:
    a, b, _ = scene
    black = np.zeros_like(a)
    assert math.isnan(judge(a, b, black)["psnr_peak_f"]) and math.isnan(judge(black, black, black)["psnr_peak_f"])
    assert math.isfinite(judge(a, b, black)["psnr"])


# --- where public code differs ----------------------------------------------------------------------------------------------------------


def test_units_move_numbers_by_known_amounts(scene: list[Grey]) -> None:
    scores = judge(*scene)
    assert scores["mi_ln"] == scores["mi_ln_stretched"] == pytest.approx(scores["mi"] * math.log(2), rel=1e-15)
    assert scores["psnr_unit"] - scores["psnr"] == pytest.approx(20 * math.log10(255), abs=1e-12)
    assert scores["mse_unit"] == pytest.approx(scores["mse"] / 65025, rel=1e-15)
    assert scores["psnr_peak_f"] - scores["psnr"] == pytest.approx(20 * math.log10(scene[2].max() / 255), abs=1e-12)


def test_cross_entropy_does_not_see_levels_that_a_candidate_lacks() -> None:
    a = np.repeat(np.arange(16, dtype=np.uint8), 16).reshape(16, 16)
    one_level = np.full_like(a, 3)
    assert judge(a, a, one_level)["ce"] == pytest.approx(-4 / 16)
    assert judge(a, a, one_level + 100)["ce"] == 0


def test_saturation_counts_a_joint_level_once_and_a_level_alone_twice() -> None:
    image = np.tile(np.array([254, 255], np.uint8), (4, 4))
    assert judge(image, image, image, ("mi_a", "mi_saturated_a")) == {"mi_a": 1, "mi_saturated_a": 2}
    assert judge(image - 1, image - 1, image - 1, ("mi_saturated_a",)) == {"mi_saturated_a": 1}


def test_the_saturated_deviation_stops_growing_at_16_levels() -> None:
    black_and_white = np.tile(np.array([0, 255], np.uint8), (4, 4))
    assert judge(black_and_white, black_and_white, black_and_white, ("sd", "sd_saturated")) == {
        "sd": 127.5,
        "sd_saturated": math.sqrt(127.5),
    }


# --- what they share --------------------------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_pair_is_computed_once(scene: list[Grey]) -> None:
    before = [image.copy() for image in scene]
    sources, expected = Sources(scene[0], scene[1]), judge(*scene)
    fused = Fused(scene[2], sources)
    assert {name: metrics()[name].judge(fused) for name in reversed(WHOLES)} == expected
    assert all(np.array_equal(now, then) for now, then in zip(scene, before, strict=True))
    joint = sources.once(count_sources)
    assert all(one is other for one, other in zip((joint.x, joint.y), (one.x for one in fused.once(count_candidate)), strict=True))
    for compare in (mi.compare_levels, mse.compare_pixels, scd.compare_differences):
        assert fused.once(compare) is fused.once(compare)
