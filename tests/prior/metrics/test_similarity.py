"""The SSIM family under Gaussian windows, and the maps it is made of."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from prior import golden
from prior.registry import metrics
from prior.statistics import Fused, Sources, windows

Grey = NDArray[np.uint8]
Textbook = Callable[[Grey, Grey, Grey], float]

NAMES = ("ssim_gaussian", "ssim_matlab", "ssim_matlab_l1", "ms_ssim", "mef_ssim", "mef_ms_ssim")
# What MATLAB sources print, in its author's words for it.
PRINTED = {
    "ssim_gaussian": ("SSIM", "VIFB.m @Octave7.3"),
    "ssim_matlab": ("SSIM_uint8_mean", "MATLAB_ssim_uint8_shim @Octave7.3"),
    "ssim_matlab_l1": ("SSIM_doubleL1_mean", "LinfengTang.m @Octave7.3"),
    "mef_ssim": ("MEF_SSIM", "LinfengTang.m @Octave7.3"),
    "mef_ms_ssim": ("MS_SSIM", "LinfengTang.m @Octave7.3"),
}
SMALLEST = {"ssim_gaussian": 11, "ms_ssim": 161, "mef_ssim": 11, "mef_ms_ssim": 44}


def judge(a: Grey, b: Grey, f: Grey, names: tuple[str, ...] = NAMES) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in names}


def draw_image(rng: np.random.Generator, kind: str, height: int, width: int) -> Grey:
    if kind == "noise":
        return rng.integers(0, 256, (height, width)).astype(np.uint8)
    if kind == "extremes":
        return np.where(rng.random((height, width)) < rng.random(), np.uint8(255), np.uint8(0))
    if kind == "relief":
        return np.clip(np.cumsum(np.cumsum(rng.normal(size=(height, width)), 0), 1) + 128, 0, 255).astype(np.uint8)
    if kind == "ramp":
        steps = np.add.outer(rng.uniform(-4, 4) * np.arange(height), rng.uniform(-4, 4) * np.arange(width))
        return np.clip(steps + 128, 0, 255).astype(np.uint8)
    image = np.full((height, width), 255 if kind == "saturated" else rng.integers(256), np.uint8)
    if kind == "spot":
        image[rng.integers(height), rng.integers(width)] ^= np.uint8(rng.integers(1, 256))
    if kind == "saturated":
        image[rng.integers(height) :, rng.integers(width) :] = rng.choice([0, 254])
    return image


KINDS = st.sampled_from(["noise", "extremes", "relief", "ramp", "flat", "spot", "saturated"])


@st.composite
def triples(draw: st.DrawFn, shortest: int = 1, longest: int = 60) -> tuple[Grey, Grey, Grey]:
    """Two sources and a candidate, each of any kind; the second source and the candidate sometimes made from the others."""
    height, width = draw(st.integers(shortest, longest)), draw(st.integers(shortest, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, f = (draw_image(rng, draw(KINDS), height, width) for _ in range(3))
    b = draw(st.sampled_from([b, b, b, 255 - a, a]))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, draw(st.sampled_from([f, np.maximum(a, b), average, 255 - a, a]))


def draw_scene(seed: int, height: int, width: int) -> tuple[Grey, Grey, Grey]:
    rng = np.random.default_rng(seed)
    a, b = draw_image(rng, "relief", height, width), draw_image(rng, "relief", height, width)
    return a, b, np.maximum(a, b)


# --- against the definitions, and against other code --------------------------------------------------------------------------------


@given(triple=triples())
@settings(max_examples=40, deadline=None)
def test_errors_against_the_textbook(textbook: Mapping[str, Textbook], triple: tuple[Grey, Grey, Grey]) -> None:
    assert judge(*triple) == pytest.approx({name: textbook[name](*triple) for name in NAMES}, abs=1e-6, nan_ok=True)


@given(triple=triples(shortest=44, longest=70))
@settings(max_examples=25, deadline=None)
def test_errors_of_three_scales_against_the_textbook(textbook: Mapping[str, Textbook], triple: tuple[Grey, Grey, Grey]) -> None:
    assert judge(*triple, ("mef_ms_ssim",))["mef_ms_ssim"] == pytest.approx(textbook["mef_ms_ssim"](*triple), abs=1e-6)


@given(triple=triples(shortest=161, longest=190))
@settings(max_examples=15, deadline=None)
def test_errors_of_five_scales_against_the_textbook(textbook: Mapping[str, Textbook], triple: tuple[Grey, Grey, Grey]) -> None:
    assert judge(*triple, ("ms_ssim",))["ms_ssim"] == pytest.approx(textbook["ms_ssim"](*triple), abs=1e-6)


@pytest.mark.parametrize("case", golden.list_values(*PRINTED["ssim_gaussian"]))
def test_scores_are_those_of_the_matlab_sources(case: str) -> None:
    one = golden.read_case(case)
    scores = judge(one.a, one.b, one.f, tuple(PRINTED))
    for name, (printed, code) in PRINTED.items():
        expected = golden.list_values(printed, code)[case]
        if math.isfinite(expected):
            assert scores[name] == pytest.approx(expected, abs=1e-6), name
        else:
            assert math.isnan(scores[name]), name


def test_tang_prints_another_metric_as_ms_ssim() -> None:
    a, b, f = draw_scene(3, 180, 170)
    scores = judge(a, b, f)
    assert abs(scores["ms_ssim"] - scores["mef_ms_ssim"]) > 0.05


# --- where they are defined -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALLEST)
def test_metrics_are_undefined_below_their_smallest_side(name: str) -> None:
    side = SMALLEST[name]
    for height, width in ((side, side), (side, side + 5), (side + 5, side)):
        images = draw_scene(1, height, width)
        assert math.isfinite(judge(*images, (name,))[name])
        assert math.isnan(judge(*(image[: side - 1] for image in images), (name,))[name])
        assert math.isnan(judge(*(image[:, : side - 1] for image in images), (name,))[name])


def test_matlabs_border_defines_ssim_for_one_pixel() -> None:
    one, other = np.full((1, 1), 100, np.uint8), np.full((1, 1), 200, np.uint8)
    expected = (2 * 100 * 200 + 2.55**2) / (100**2 + 200**2 + 2.55**2)
    assert judge(one, one, other, ("ssim_matlab",))["ssim_matlab"] == pytest.approx(expected, rel=1e-7)


def test_ms_ssim_and_mef_ms_ssim_of_a_negative_are_zero() -> None:
    a = draw_image(np.random.default_rng(0), "noise", 161, 161)
    scores = judge(a, a, 255 - a)
    assert scores["mef_ssim"] < 0
    assert scores["ms_ssim"] == scores["mef_ms_ssim"] == 0


# --- laws ---------------------------------------------------------------------------------------------------------------------------------


@given(triple=triples(shortest=11))
@settings(max_examples=25, deadline=None)
def test_a_copy_of_both_sources_is_perfect(triple: tuple[Grey, Grey, Grey]) -> None:
    a = triple[0]
    scores = judge(a, a, a)
    assert scores["ssim_gaussian"] == 2
    assert scores["ssim_matlab"] == scores["ssim_matlab_l1"] == 1
    # The wanted patch is a thousandth of its length stronger than the source.
    assert scores["mef_ssim"] == pytest.approx(1, abs=1e-6)


def test_a_copy_at_five_scales_is_perfect() -> None:
    a = draw_image(np.random.default_rng(0), "noise", 170, 161)
    assert judge(a, a, a)["ms_ssim"] == 1


@given(triple=triples(shortest=11))
@settings(max_examples=25, deadline=None)
def test_swapping_the_sources_changes_nothing(triple: tuple[Grey, Grey, Grey]) -> None:
    a, b, f = triple
    assert judge(b, a, f) == pytest.approx(judge(a, b, f), abs=1e-9, nan_ok=True)


def test_opposite_sources_want_nothing() -> None:
    """Their structures cancel exactly at every scale: what is left is how flat the candidate is."""
    a, _, f = draw_scene(2, 60, 71)
    seen = Fused(f, Sources(a, 255 - a)).once(windows.compare)
    assert seen is not None
    expected = (7.65**2 / (seen.f.variances.astype(np.float64) + 7.65**2)).mean()
    assert judge(a, 255 - a, f)["mef_ssim"] == pytest.approx(expected, abs=1e-7)


def test_a_flat_source_leaves_the_wish_to_the_other() -> None:
    a, _, _ = draw_scene(4, 60, 71)
    flat = np.full_like(a, 77)
    assert judge(a, flat, a)["mef_ssim"] == judge(flat, a, a)["mef_ssim"] == pytest.approx(1, abs=1e-5)


# --- the maps -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(11, 11), (75, 11), (139, 40), (138, 41)])
def test_maps_are_those_of_scipy(shape: tuple[int, int]) -> None:
    """Heights on both sides of a band's end."""
    a, b, f = draw_scene(5, *shape)
    seen = Fused(f, Sources(a, b)).once(windows.compare)
    assert seen is not None

    def average(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.gaussian_filter(z, 1.5, radius=5)[5:-5, 5:-5]

    x, y = a.astype(np.float64), f.astype(np.float64)
    np.testing.assert_allclose(seen.a.means, average(x), rtol=1e-6)
    np.testing.assert_allclose(seen.f.means, average(y), rtol=1e-6)
    np.testing.assert_allclose(seen.a.variances, average(x * x) - average(x) ** 2, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(seen.with_a, average(x * y) - average(x) * average(y), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("level", [0, 1, 85, 171, 254, 255])
def test_flat_windows_have_no_variance_at_all(level: int) -> None:
    other = draw_image(np.random.default_rng(1), "noise", 90, 90)
    image = np.full((90, 90), level, np.uint8)
    image[70, 70] ^= 1
    seen = Fused(other, Sources(image, image)).once(windows.compare)
    assert seen is not None
    assert np.count_nonzero(seen.a.variances) == np.count_nonzero(seen.with_a) == 11 * 11
    assert seen.a.variances[seen.a.variances > 0].min() == pytest.approx(1.06e-6, rel=0.01)


def test_scales_are_there_as_far_as_a_window_fits() -> None:
    for side, count in ((11, 0), (20, 0), (21, 1), (80, 2), (81, 3), (160, 3), (161, 4)):
        a, b, f = draw_scene(6, side, side + 1)
        assert len(Fused(f, Sources(a, b)).once(windows.compare_coarser)) == count, side


def test_scores_do_not_depend_on_what_else_was_judged() -> None:
    a, b, f = draw_scene(7, 170, 161)
    sources = Sources(a, b)
    other = Fused(255 - f, sources)
    for name in reversed(NAMES):
        metrics()[name].judge(other)
    shared = Fused(f, sources)
    together = {name: metrics()[name].judge(shared) for name in reversed(NAMES)}
    assert together == {name: judge(a, b, f, (name,))[name] for name in NAMES}
