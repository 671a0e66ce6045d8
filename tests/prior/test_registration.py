"""Tests of prior.registration: the shift between two modalities."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prior.arrays import Picture, luma
from prior.pictures import read_picture
from prior.registration import REACH, estimate_shift


def draw_scene(height: int, width: int, seed: int = 0) -> Picture:
    """A smooth random scene."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload, no-any-return]


def cut(scene: Picture, y: int, x: int, height: int, width: int) -> Picture:
    """The view on a scene in which everything lies `y` px lower and `x` px further right."""
    top, left = REACH + 4 - y, REACH + 4 - x
    return scene[top : top + height, left : left + width]


@settings(max_examples=25, deadline=None)
@given(y=st.integers(-REACH, REACH), x=st.integers(-REACH, REACH), height=st.integers(41, 130), width=st.integers(41, 130))
def test_a_known_shift_is_found_though_contrast_is_reversed(y: int, x: int, height: int, width: int) -> None:
    scene = draw_scene(height + 40, width + 40)
    shift = estimate_shift(cut(scene, 0, 0, height, width), 255 - cut(scene, y, x, height, width))
    assert (shift.y, shift.x) == pytest.approx((y, x), abs=0.1)
    assert shift.length == pytest.approx(math.hypot(y, x), abs=0.15)
    assert 0.5 < shift.confidence <= 1


def test_a_shift_of_half_a_pixel_is_found_between_the_grid_points() -> None:
    scene = draw_scene(400, 400)
    moved = cv2.warpAffine(scene, np.array([[1, 0, 2.5], [0, 1, -1.5]]), (400, 400), flags=cv2.INTER_CUBIC)
    shift = estimate_shift(scene, moved.astype(np.uint8))
    assert (shift.y, shift.x) == pytest.approx((-1.5, 2.5), abs=0.2)


def test_large_pairs_are_reduced_and_measured_in_their_own_pixels() -> None:
    scene = cv2.resize(draw_scene(580, 540), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    shift = estimate_shift(cut(scene, 0, 0, 2200, 2100), cut(scene, 12, -8, 2200, 2100))
    assert (shift.y, shift.x) == pytest.approx((12, -8), abs=0.5)


def test_nothing_is_estimated_where_nothing_can_be_seen() -> None:
    flat = np.full((60, 60), 7, np.uint8)
    ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (60, 1))
    for a, b in ((flat, flat), (flat, draw_scene(60, 60)), (draw_scene(60, 60), flat), (ramp, ramp)):
        shift = estimate_shift(a, b)
        assert math.isnan(shift.y) and math.isnan(shift.x) and math.isnan(shift.length) and shift.confidence == 0


def test_two_different_scenes_inspire_little_confidence() -> None:
    shift = estimate_shift(draw_scene(480, 640, seed=1), draw_scene(480, 640, seed=2))
    assert shift.confidence < 0.1


def measure(folder: Path, a: str, b: str) -> list[float]:
    """The lengths of all shifts of a folder."""
    lengths = []
    for path in sorted((folder / a).iterdir()):
        pair = (read_picture(folder / part / path.name).pixels for part in (a, b))
        lengths.append(estimate_shift(*map(luma, pair)).length)
    return lengths


def test_every_warped_pair_is_above_six_pixels_and_its_original_below(shared: Path) -> None:
    folder = shared / "data" / "roadscene_warped"
    assert min(measure(folder, "ir_warped", "vis")) > 8
    assert max(measure(folder, "ir", "vis")) < 2


def test_no_pair_of_roadscene_is_above_six_pixels(shared: Path) -> None:
    lengths = measure(shared / "data" / "roadscene", "ir", "vis")
    assert len(lengths) == 96 and max(lengths) < 5
    assert np.median(lengths) < 1
