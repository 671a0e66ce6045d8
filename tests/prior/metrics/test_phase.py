"""Q_P and the phase congruency it rests on: against the definition spelt out, where they are undefined, and the laws they obey."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.metrics.q_p import judge_phase
from prior.statistics import Fused, Sources
from prior.statistics.phase import measure_phase

Grey = NDArray[np.uint8]
Textbook = Mapping[str, Callable[[Grey, Grey, Grey], float]]

# Single precision in the responses; where a picture is all but flat, beside a lone spot, its moments there are little but rounding.
CLOSE, CLOSE_BESIDE_SPOTS = 1e-6, 2e-5
THRESHOLD, UNSURE = 0.1, 1e-6  # of structure, and how near to it single precision may not tell


def judge(a: Grey, b: Grey, f: Grey) -> float:
    return judge_phase(Fused(f, Sources(a, b)))


def draw_image(rng: np.random.Generator, kind: str, height: int, width: int) -> Grey:
    """An image of one kind: noise, smooth, black and white, a ramp, saturated, one level, or one spot."""
    image = np.full((height, width), rng.integers(256), np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, (height, width)).astype(np.uint8)
    elif kind == "smooth":
        image = to_levels(128 + 240 * cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2))
    elif kind == "extremes":
        image = np.where(rng.random((height, width)) < 0.5, np.uint8(255), np.uint8(0))
    elif kind == "ramp":
        image = to_levels(np.add.outer(rng.uniform(-4, 4) * np.arange(height), rng.uniform(-4, 4) * np.arange(width)) + 128)
    elif kind == "saturated":
        image = to_levels(128 + 2000 * cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 3))
    elif kind == "spot":
        image[rng.integers(height), rng.integers(width)] ^= np.uint8(rng.integers(1, 256))
    return image


def to_levels(field: NDArray[Any]) -> Grey:
    levels: Grey = np.rint(np.clip(field, 0, 255)).astype(np.uint8)
    return levels


def smooth(seed: int, height: int = 48, width: int = 60) -> Grey:
    return draw_image(np.random.default_rng(seed), "smooth", height, width)


PLAIN = ["noise", "smooth", "extremes", "ramp", "saturated", "flat"]


@st.composite
def scenes(draw: st.DrawFn, kinds: list[str]) -> list[Grey]:
    """Two sources and a candidate of 1 to 60 px, each of any kind, the candidate sometimes made from the sources."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(st.sampled_from(kinds)), height, width) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


# --- definitions; the golden numbers of this metric stand in test_passports.py ----------------------------------------------------------


def is_sure(*sources: Grey) -> bool:
    """Whether no pixel of a source is so near the threshold that single precision may count it otherwise."""
    phases = [phase for source in sources if (phase := measure_phase(source)) is not None]
    return all(np.abs(phase.congruency - THRESHOLD).min() > UNSURE for phase in phases)


@given(scenes(PLAIN))
@settings(max_examples=40, deadline=None)
def test_the_number_is_that_of_the_definition(textbook: Textbook, scene: list[Grey]) -> None:
    assume(is_sure(*scene[:2]))
    assert judge(*scene) == pytest.approx(textbook["q_p"](*scene), abs=CLOSE, nan_ok=True)


@given(scenes([*PLAIN, "spot"]))
@settings(max_examples=20, deadline=None)
def test_the_number_is_that_of_the_definition_beside_lone_spots(textbook: Textbook, scene: list[Grey]) -> None:
    assume(is_sure(*scene[:2]))
    assert judge(*scene) == pytest.approx(textbook["q_p"](*scene), abs=CLOSE_BESIDE_SPOTS, nan_ok=True)


# Sides for either transform, and every mix of odd and even; the side of a large prime too.
@pytest.mark.parametrize("shape", [(48, 60), (49, 60), (48, 61), (49, 61), (50, 62), (2, 3), (3, 2), (97, 16)])
def test_every_size_has_its_filters(textbook: Textbook, shape: tuple[int, int]) -> None:
    a, b = smooth(1, *shape), smooth(2, *shape)
    f = np.maximum(a, b)
    assert judge(a, b, f) == pytest.approx(textbook["q_p"](a, b, f), abs=CLOSE, nan_ok=True)


@pytest.mark.parametrize("case", golden.list_values("Q_P", "MEFB.m @Octave7.3"))
@pytest.mark.parametrize("code", ["LiuTPAMI2012.m @Octave7.3", "MEFB.m @Octave7.3"])
def test_public_code_prints_the_same(case: str, code: str) -> None:
    one = golden.read_case(case)
    assert judge(one.a, one.b, one.f) == pytest.approx(golden.list_values("Q_P", code)[case], abs=CLOSE, nan_ok=True)


@pytest.mark.parametrize("shape", [(48, 60), (49, 61)])
def test_the_maps_hold_no_more_than_themselves(shape: tuple[int, int]) -> None:
    phase = measure_phase(smooth(3, *shape))
    assert phase is not None
    for one in (phase.congruency, phase.largest, phase.smallest):
        assert one.dtype == np.float32 and one.shape == shape and one.base is None


# --- what phase congruency is -----------------------------------------------------------------------------------------------------------


def draw_steps(height: int) -> Grey:
    """Two edges of one height, 32 px apart."""
    image = np.full((64, 64), 100, np.uint8)
    image[:, 16:48] += np.uint8(height)
    return image


def test_congruency_is_found_at_edges_whatever_their_contrast() -> None:
    weak, strong = measure_phase(draw_steps(8)), measure_phase(draw_steps(128))
    assert weak is not None and strong is not None
    for phase in (weak, strong):
        row = phase.congruency[32]
        assert min(row[15], row[16], row[47], row[48]) > 0.5 > 0.1 > row[30:34].max()
    assert weak.congruency == pytest.approx(strong.congruency, abs=0.02)
    assert weak.congruency[32, 16] < strong.congruency[32, 16]


def test_edges_have_a_large_moment_and_corners_two() -> None:
    image = np.full((64, 64), 50, np.uint8)
    image[20:44, 20:44] = 200
    phase = measure_phase(image)
    assert phase is not None
    assert phase.largest[32, 20] > 4 * phase.smallest[32, 20]
    assert phase.smallest[20, 20] > 2 * phase.smallest[32, 20]


# --- where it is undefined --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_constant_candidate_has_no_phase(level: int) -> None:
    assert math.isnan(judge(smooth(1), smooth(2), np.full((48, 60), level, np.uint8)))


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_constant_source_asks_for_nothing(textbook: Textbook, level: int) -> None:
    a, f = smooth(1), smooth(2)
    flat = np.full_like(a, level)
    assert judge(a, flat, f) == judge(flat, a, f) == pytest.approx(textbook["q_p"](a, flat, f), abs=CLOSE)
    # Nothing is lost for want of it, and where the other is contradicted it counts 0.
    assert judge(a, flat, a) == pytest.approx(judge(a, a, a), abs=1e-12)
    assert judge(a, flat, f) > judge(a, a, f)
    assert math.isnan(judge(flat, flat, f))


def test_one_row_or_column_has_no_phase() -> None:
    assert math.isnan(judge(*(smooth(seed, 1, 40) for seed in (1, 2, 3))))
    assert math.isnan(judge(*(smooth(seed, 40, 1) for seed in (1, 2, 3))))
    assert math.isfinite(judge(*(smooth(seed, 2, 40) for seed in (1, 2, 3))))


# --- laws -------------------------------------------------------------------------------------------------------------------------------


@given(scenes([*PLAIN, "spot"]))
@settings(max_examples=20, deadline=None)
def test_numbers_stay_inside_the_bounds_and_the_sources_may_change_places(scene: list[Grey]) -> None:
    a, b, f = scene
    score = judge(a, b, f)
    assert math.isnan(score) or -1 <= score <= 1 + 1e-12
    assert judge(b, a, f) == pytest.approx(score, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_keeps_a_source_of_some_size_better_than_a_copy(seed: int) -> None:
    a = smooth(seed)
    copy = judge(a, a, a)
    for kind in ("noise", "smooth", "saturated"):
        assert judge(a, a, draw_image(np.random.default_rng(100 + seed), kind, *a.shape)) < copy


def test_better_candidates_score_higher() -> None:
    a, b = smooth(1), smooth(2)
    f = np.maximum(a, b)
    noisy = to_levels(f + np.random.default_rng(0).normal(0, 20, f.shape))
    assert judge(a, b, f) > judge(a, b, noisy) > judge(a, b, smooth(3))
