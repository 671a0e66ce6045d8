"""Feature mutual information: against its definition spelt out, its windows without information, and the laws it obeys."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.metrics import fmi
from prior.registry import find_metric
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]
Textbook = Mapping[str, Callable[[Grey, Grey, Grey], float]]

COMPARE = {"fmi_pixel": fmi.compare_pixels, "fmi_gradient": fmi.compare_gradients, "fmi_dct": fmi.compare_transforms}
KINDS = ("smooth", "noise", "few levels", "extremes", "saturated", "flat", "black", "spot", "ramp", "rows alike")


def judge(name: str, a: Grey, b: Grey, f: Grey) -> tuple[float, float]:
    return COMPARE[name](Fused(f, Sources(a, b)))


def draw_image(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Grey:
    levels: NDArray[np.generic] = np.full(shape, rng.integers(256))
    if kind == "smooth":
        levels = 128 + 240 * cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 2).reshape(shape)
    elif kind == "noise":
        levels = rng.integers(0, 256, shape)
    elif kind == "few levels":
        levels = 85 * rng.integers(0, 4, shape)
    elif kind == "extremes":
        levels = np.where(rng.random(shape) < 0.5, 255, 0)
    elif kind == "saturated":
        levels = rng.integers(252, 256, shape)
    elif kind == "black":
        levels = np.zeros(shape)
    elif kind == "spot":
        levels[rng.integers(shape[0]), rng.integers(shape[1])] = rng.integers(256)
    elif kind == "ramp":
        levels = np.add.outer(rng.uniform(-4, 4) * np.arange(shape[0]), rng.uniform(-4, 4) * np.arange(shape[1])) + 128
    elif kind == "rows alike":
        levels = np.broadcast_to(rng.integers(0, 256, shape[1]), shape)
    return np.clip(levels, 0, 255).astype(np.uint8)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Grey, Grey, Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    shape = (draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(st.sampled_from(KINDS)), shape) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a, b]))


@pytest.fixture
def scene() -> tuple[Grey, Grey, Grey]:
    rng = np.random.default_rng(7)
    a, b = (draw_image(rng, "smooth", (30, 300)) for _ in range(2))
    return a, b, np.maximum(a, b)


# --- the definition ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPARE)
@given(scene=scenes())
@settings(max_examples=40)
def test_numbers_are_those_of_the_definition(textbook: Textbook, name: str, scene: tuple[Grey, Grey, Grey]) -> None:
    score = find_metric(name).judge(Fused(scene[2], Sources(scene[0], scene[1])))
    assert score == pytest.approx(textbook[name](*scene), rel=1e-8, abs=1e-8, nan_ok=True)


@given(st.floats(-1e6, 1e6, allow_subnormal=False) | st.floats(-1e-12, 1e-12, allow_subnormal=False) | st.floats(0.7, 1.42))
def test_the_logarithm_is_that_of_the_library(number: float) -> None:
    expected = number * math.log(abs(number)) if number else 0.0
    assert fmi._multiply_log(number) == pytest.approx(expected, rel=1e-13, abs=2e-14 * abs(number))


def test_every_window_counts_once_wherever_a_block_ends(scene: tuple[Grey, Grey, Grey]) -> None:
    """Two parts that share two columns have all the windows of the whole between them."""
    whole, left, right = (judge("fmi_pixel", *(image[:, cut] for image in scene)) for cut in (slice(300), slice(138), slice(136, 300)))
    for term in (0, 1):
        assert 298 * whole[term] == pytest.approx(136 * left[term] + 162 * right[term], rel=1e-12)


# --- windows without information --------------------------------------------------------------------------------------------------------


def test_constant_pictures_tell_everything_of_each_other() -> None:
    case = golden.read_case("c09_constant")
    assert len({int(image[0, 0]) for image in (case.a, case.b, case.f)}) > 1
    for name in ("fmi_pixel", "fmi_gradient"):
        assert judge(name, case.a, case.b, case.f) == (1, 1)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_source_tells_nothing_of_a_candidate_without_flat_windows(level: int) -> None:
    noise = draw_image(np.random.default_rng(2), "noise", (20, 24))
    for name in ("fmi_pixel", "fmi_gradient"):
        assert judge(name, np.full_like(noise, level), noise, noise) == pytest.approx((0, 1), abs=1e-14)


def test_a_lone_bright_value_counts_for_b_only_where_a_has_it_too() -> None:
    """The order of the comparisons in the authors' code: the window of F is moved to 0..1 before B's is compared with it."""
    spot, dark, other = (np.zeros((3, 3), np.uint8) for _ in range(3))
    spot[1, 2], other[0, 0] = 90, 200
    assert judge("fmi_pixel", spot, spot, spot) == (1, 1)
    assert judge("fmi_pixel", spot, dark, spot) == (1, 0)
    assert judge("fmi_pixel", dark, spot, spot) == (0, 0)
    assert judge("fmi_pixel", dark, spot // 90, spot) == (0, 1)
    assert judge("fmi_pixel", other, 2 * spot, spot) == (0, 0)


@pytest.mark.parametrize("shape", [(3, 3), (3, 40), (15, 47), (16, 16), (37, 41), (60, 41), (93, 127)])
@pytest.mark.parametrize(
    ("levels", "missing"),
    [
        ((200, 100, 50), (1, 1)),
        ((255, 255, 255), (0, 0)),
        ((9, 7, 9), (0, 1)),
        ((7, 9, 9), (1, 1)),  # the order of the comparisons: F is moved to 0..1 before B is compared with it
        ((7, 0, 0), (1, 0)),  # black has no coefficient to move
        ((0, 0, 0), (0, 0)),
    ],
)
def test_the_transforms_of_constants_differ_in_one_window(
    shape: tuple[int, int], levels: tuple[int, int, int], missing: tuple[int, int]
) -> None:
    """The one window with the mean of the picture holds one value alone, whatever rounding leaves of the others."""
    windows = (shape[0] - 2) * (shape[1] - 2)
    scores = judge("fmi_dct", *(np.full(shape, level, np.uint8) for level in levels))
    assert scores == pytest.approx(tuple(1 - lacking / windows for lacking in missing), abs=1e-14)


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 50), (50, 2), (1, 7), (7, 1)])
def test_undefined_below_3_px(name: str, shape: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    assert all(math.isnan(term) for term in judge(name, image, image, image))
    assert find_metric(name).passport is not None and math.isnan(find_metric(name).judge(Fused(image, Sources(image, image))))


# --- laws -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPARE)
def test_a_copy_tells_everything_and_the_terms_swap_with_the_sources(name: str, scene: tuple[Grey, Grey, Grey]) -> None:
    a, b, f = scene
    assert judge(name, a, b, a)[0] == pytest.approx(1, abs=1e-12)
    assert judge(name, a, b, f) == pytest.approx(judge(name, b, a, f)[::-1], rel=1e-12)  # no window here has a lone value
    assert find_metric(name).judge(Fused(f, Sources(a, b))) == sum(judge(name, a, b, f)) / 2


def test_contrast_and_brightness_of_a_window_do_not_matter() -> None:
    a, f = (draw_image(np.random.default_rng(seed), "noise", (20, 24)) // 4 for seed in (1, 2))
    assert judge("fmi_pixel", a, 3 * a + 40, 2 * f + 9) == pytest.approx((judge("fmi_pixel", a, a, f)[0],) * 2, rel=1e-12)
    assert judge("fmi_pixel", 3 * a + 40, 3 * a + 40, a)[0] == pytest.approx(1, rel=1e-12)


def test_the_gradient_is_that_along_the_rows_alone() -> None:
    rng = np.random.default_rng(3)
    a, f = (draw_image(rng, "rows alike", (24, 20)).T for _ in range(2))
    assert judge("fmi_gradient", a, a, f) == (1, 1)  # every row is constant: all windows are flat
    assert judge("fmi_gradient", a.T, a.T, f.T)[0] < 0.9
    assert judge("fmi_pixel", a, a, f)[0] < 0.9
