"""VIF in four versions, VIFF, Q_CV and Q_CB against their textbook versions, where they are undefined, and their traps."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.metrics import q_cb, q_cv, vif, viff
from prior.statistics import Fused, Sources, scales

Grey = NDArray[np.uint8]
Triple = tuple[Grey, Grey, Grey]

JUDGES: dict[str, Callable[[Fused], float]] = {
    "vif": lambda fused: sum(vif.measure_fidelity(fused)),
    "vif_released": vif.measure_fidelity_as_released,
    "vif_saturated": lambda fused: sum(vif.measure_fidelity_of_bytes(fused)),
    "viff_sum": lambda fused: sum(vif.measure_fidelity_above_noise(fused)),
    "viff": viff.judge_fidelity_of_fusion,
    "q_cv": q_cv.judge_visible_differences,
    "q_cb": q_cb.judge_contrast,
}
VERSIONS = ("vif_released", "vif_saturated", "viff_sum")
AT_SCALES = ("vif", *VERSIONS, "viff")


def load_textbook() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "textbook" / "vision.py"
    spec = importlib.util.spec_from_file_location("textbook_of_vision", path)
    if spec is None or spec.loader is None:
        pytest.fail(f"{path} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


textbook = load_textbook()


def judge(name: str, a: Grey, b: Grey, f: Grey) -> float:
    return JUDGES[name](Fused(f, Sources(a, b)))


# --- against the textbook -------------------------------------------------------------------------------------------------------------


def draw_smooth(rng: np.random.Generator, height: int, width: int) -> Grey:
    field = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2)
    levels: Grey = np.clip(rng.uniform(20, 235) + rng.uniform(10, 400) * field, 0, 255).astype(np.uint8)
    return levels


def draw_noise(rng: np.random.Generator, height: int, width: int) -> Grey:
    return rng.integers(rng.integers(200), 256, (height, width)).astype(np.uint8)


def draw_black_and_white(rng: np.random.Generator, height: int, width: int) -> Grey:
    levels: Grey = np.where(rng.random((height, width)) < rng.uniform(0.2, 0.8), np.uint8(255), np.uint8(0))
    return levels


def draw_ramp(rng: np.random.Generator, height: int, width: int) -> Grey:
    field = np.add.outer(rng.uniform(-4, 4) * np.arange(height), rng.uniform(-4, 4) * np.arange(width))
    levels: Grey = np.clip(field + 128, 0, 255).astype(np.uint8)
    return levels


def draw_dark(rng: np.random.Generator, height: int, width: int) -> Grey:
    return rng.integers(0, 18, (height, width)).astype(np.uint8)


def draw_flat(rng: np.random.Generator, height: int, width: int) -> Grey:
    return np.full((height, width), rng.integers(256), np.uint8)


def draw_spot(rng: np.random.Generator, height: int, width: int) -> Grey:
    image = draw_flat(rng, height, width)
    image[rng.integers(height), rng.integers(width)] ^= np.uint8(rng.integers(1, 256))
    return image


DRAWS = (draw_smooth, draw_noise, draw_black_and_white, draw_ramp, draw_dark, draw_flat, draw_spot)


@st.composite
def triples(draw: st.DrawFn, shortest: int = 1) -> Triple:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    height, width = draw(st.integers(shortest, 60)), draw(st.integers(shortest, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw(st.sampled_from(DRAWS))(rng, height, width) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))


@given(triples(shortest=38))
@settings(max_examples=40, deadline=None)
def test_versions_of_vif_are_those_of_the_textbook(triple: Triple) -> None:
    expected = {name: textbook.METRICS[name](*triple) for name in VERSIONS}
    assert {name: judge(name, *triple) for name in VERSIONS} == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


@given(triples(shortest=38))
@settings(max_examples=40, deadline=None)
def test_viff_is_that_of_the_textbook(triple: Triple) -> None:
    assume(min(triple[0].shape) < 41 or not has_close_gains(*triple))
    assert judge("viff", *triple) == pytest.approx(textbook.viff(*triple), abs=1e-6, nan_ok=True)


def has_close_gains(a: Grey, b: Grey, f: Grey) -> bool:
    """Whether rounding decides in any window which gain is smaller, or whether there is any variance."""
    for of_a, of_b in zip(textbook.list_windows(a, f), textbook.list_windows(b, f), strict=True):
        gains, zero = [], []
        for vx, vf, shared in (of_a, of_b):
            if any(((variance > 1e-12) & (variance < 1e-7)).any() for variance in (vx, vf)):
                return True
            flat = (vx < 1e-12) | (vf < 1e-12)
            gain = np.where(flat, 0, shared / np.maximum(vx, 1e-12))
            gains.append(np.maximum(gain, 0))
            zero.append(flat | (gain < -1e-9))
        if ((np.abs(gains[0] - gains[1]) < 1e-9) & ~(zero[0] & zero[1])).any():
            return True
    return False


@given(triples())
@settings(max_examples=40, deadline=None)
def test_q_cv_is_that_of_the_textbook(triple: Triple) -> None:
    assert judge("q_cv", *triple) == pytest.approx(textbook.q_cv(*triple), rel=1e-6, abs=1e-6, nan_ok=True)


@given(triples())
@settings(max_examples=40, deadline=None)
def test_q_cb_is_that_of_the_textbook(triple: Triple) -> None:
    score = judge("q_cb", *triple)
    assert math.isnan(score) or -1e-9 <= score <= 1 + 1e-9
    if not has_black_area(*triple):
        assert score == pytest.approx(textbook.q_cb(*triple), abs=1e-6, nan_ok=True)


def has_black_area(*images: Grey) -> bool:
    """Whether what the eye sees is nothing but rounding errors anywhere in an image: its contrast is anything there."""
    stretched = [image for image in map(textbook.stretch, images) if image is not None and image.any()]
    return any((np.abs(textbook.surround(image)[1]) < 1e-6).any() for image in stretched)


# --- where they are undefined -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene() -> list[Grey]:
    """Two sources and a candidate with structure at every scale, 61 x 83 px."""
    rng = np.random.default_rng(7)
    a, b = (draw_smooth(rng, 61, 83) for _ in range(2))
    return [a, b, np.maximum(a, b)]


@pytest.mark.parametrize("name", AT_SCALES)
@pytest.mark.parametrize("shape", [(40, 70), (70, 40), (17, 17), (16, 16), (1, 1)])
def test_fidelity_needs_41_px(name: str, shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    assert math.isnan(judge(name, *images))


@pytest.mark.parametrize("level", [0, 3, 60, 255])
def test_fidelity_to_a_constant_source(scene: list[Grey], level: int) -> None:
    flat = np.full_like(scene[0], level)
    scores = {name: judge(name, flat, scene[1], scene[2]) for name in AT_SCALES}
    assert all(math.isnan(scores[name]) for name in ("vif", "vif_saturated", "viff_sum"))
    assert scores["vif_released"] == 1 + vif.measure_fidelity(Fused(scene[2], Sources(flat, scene[1])))[1]
    # gain 0 is the smaller one everywhere, and of nothing all is kept
    assert judge("viff", flat, scene[1], 255 - scene[1]) <= scores["viff"] <= 1


def test_all_is_kept_of_constant_sources() -> None:
    flat = np.full((50, 60), 90, np.uint8)
    assert judge("viff", flat, flat, flat) == 1
    assert judge("vif_released", flat, flat, flat) == 2


@pytest.mark.parametrize("name", ["q_cv", "q_cb"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_levels_of_a_constant_image_cannot_be_stretched(scene: list[Grey], name: str, which: int) -> None:
    scene[which] = np.full_like(scene[which], 60)
    assert math.isnan(judge(name, *scene))


def test_black_images(scene: list[Grey]) -> None:
    a, b, f = scene
    black = np.zeros_like(a)
    assert math.isnan(judge("q_cv", black, black, f))  # nothing is salient
    assert judge("q_cv", black, b, f) == pytest.approx(textbook.q_cv(black, b, f))
    assert judge("q_cv", a, b, black) == pytest.approx(textbook.q_cv(a, b, black))
    for triple in ((black, b, f), (a, black, f), (a, b, black)):
        assert math.isnan(judge("q_cb", *triple))  # the contrast of nothing is 0 / 0


# --- traps ------------------------------------------------------------------------------------------------------------------------------


def test_a_copy_of_both_sources_is_perfect(scene: list[Grey]) -> None:
    one = scene[0]
    assert judge("viff", one, one, one) == pytest.approx(1, abs=1e-8)
    assert judge("viff_sum", one, one, one) == pytest.approx(2, abs=1e-8)
    assert judge("q_cv", one, one, one) < 1e-6
    assert judge("q_cb", one, one, one) == pytest.approx(1, abs=1e-6)


def test_the_order_of_the_sources_matters_to_viff_where_gains_are_equal(scene: list[Grey]) -> None:
    a, b, f = scene
    assert judge("viff", a, b, f) == pytest.approx(judge("viff", b, a, f), abs=1e-12)
    case = golden.read_case("c13_saturated_max")
    assert abs(judge("viff", case.a, case.b, case.f) - judge("viff", case.b, case.a, case.f)) > 1e-3


def test_a_source_copied_is_worth_less_to_viff_than_both_kept(scene: list[Grey]) -> None:
    a, b, _ = scene
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    assert judge("viff", a, b, a) < judge("viff", a, b, average)
    assert judge("vif", a, b, a) > judge("vif", a, b, average)


def test_saturated_bytes_see_other_contrasts(scene: list[Grey]) -> None:
    assert abs(judge("vif_saturated", *scene) - judge("vif", *scene)) > 0.01
    dark = [image // 17 for image in scene]  # levels up to 15, whose squares fit
    assert judge("vif_saturated", *dark) == pytest.approx(judge("vif", *dark), abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (15, 17), (33, 31)])
def test_images_may_be_smaller_than_blocks_and_windows(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(5).integers(0, 256, (3, *shape)).astype(np.uint8)
    for name in ("q_cv", "q_cb"):
        assert judge(name, *images) == pytest.approx(textbook.METRICS[name](*images), rel=1e-6, abs=1e-6, nan_ok=True)


def test_levels_are_stretched_before_the_eye_sees_them(scene: list[Grey]) -> None:
    half = [image // 2 for image in scene]
    wide = [((image.astype(int) - image.min()) * 255 / np.ptp(image) + 0.5).astype(np.uint8) for image in half]
    for name in ("q_cv", "q_cb"):
        assert judge(name, *half) == judge(name, *wide)


def test_scales_are_made_once_for_all_that_use_them(scene: list[Grey]) -> None:
    sources = Sources(scene[0], scene[1])
    fused = Fused(scene[2], sources)
    together = {name: JUDGES[name](fused) for name in reversed(AT_SCALES)}
    assert together == {name: judge(name, *scene) for name in AT_SCALES}
    assert sources.once(scales.scale_sources) is sources.once(scales.scale_sources)
    of_f = fused.once(scales.scale_candidate)
    assert of_f is fused.once(scales.scale_candidate)
    assert [scale.image.shape for scale in of_f] == [(61, 83), (27, 38), (12, 17), (5, 8)]
    assert of_f[0].image is fused.image  # only what is smaller takes memory of its own
    shapes = [variances.shape for variances in sources.once(scales.vary_sources)[0]]
    assert shapes == [(45, 67), (19, 30), (8, 13), (3, 6)]


@pytest.mark.parametrize("name", [*VERSIONS, "viff"])
@pytest.mark.parametrize("height", [41, 47, 48, 49, 50, 51, 80, 81, 113])
def test_every_row_of_windows_lies_in_one_band(name: str, height: int) -> None:
    """Bands of 32 rows of windows, filtered four at a time, and what is left of them at the end."""
    rng = np.random.default_rng(height)
    a, b = draw_smooth(rng, height, 44), draw_noise(rng, height, 44)
    triple = a, b, np.maximum(a, b)
    assert judge(name, *triple) == pytest.approx(textbook.METRICS[name](*triple), rel=1e-9)
