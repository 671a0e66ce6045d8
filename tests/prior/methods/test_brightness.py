"""The two methods that go by brightness: whole regions of the brighter source, and the loss of intensities and gradients."""

import numpy as np
import pytest

from prior.arrays import Image
from prior.methods.brightness_regions import fuse_brightness_regions
from prior.methods.intensity_gradient import _reconcile, fuse_intensity_gradient
from prior.steps.solve import find_gradients, pick_gradients


def draw(seed: int, shape: tuple[int, int] = (48, 56)) -> Image:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def fill(value: float, shape: tuple[int, int] = (64, 64)) -> Image:
    return np.full(shape, value, np.float32)


# Regions.


def test_a_bright_region_keeps_its_dark_detail() -> None:
    bright, dull = fill(0.8), fill(0.3)
    bright[32, 32] = 0.1  # a pixel-wise maximum would fill it
    fused = fuse_brightness_regions(bright, dull)
    assert fused[32, 32] == pytest.approx(0.1, abs=0.03)
    np.testing.assert_allclose(fuse_brightness_regions(dull, bright), fused, atol=1e-6)


def test_each_half_comes_from_the_source_that_shines_there() -> None:
    left, shape = np.arange(160) < 80, (48, 160)
    a = np.where(left, 0.7 + 0.2 * draw(0, shape), 0.1 * draw(1, shape)).astype(np.float32)
    b = np.where(left, 0.1 * draw(2, shape), 0.7 + 0.2 * draw(3, shape)).astype(np.float32)
    fused = fuse_brightness_regions(a, b)
    np.testing.assert_allclose(fused[:, :48], a[:, :48], atol=1e-5)
    np.testing.assert_allclose(fused[:, -48:], b[:, -48:], atol=1e-5)


def test_without_levels_the_seam_is_sharp_and_with_them_it_is_wide() -> None:
    left = np.arange(64)[None, :] < 32
    a, b = np.where(left, 0.8, 0.1) * fill(1), np.where(left, 0.2, 0.6) * fill(1)
    a, b = a.astype(np.float32), b.astype(np.float32)
    spline = fuse_brightness_regions(a, b)
    np.testing.assert_allclose(fuse_brightness_regions(a, b, levels=0), np.where(left, a, b), atol=1e-6)
    assert np.abs(spline - np.where(left, a, b))[:, 24:40].max() > 0.02


def test_room_bounds_how_far_a_pixel_leaves_the_sources() -> None:
    a, b = draw(0), draw(1)
    tight, wide = (fuse_brightness_regions(a, b, room=room) for room in (0, 0.25))
    assert (tight >= np.minimum(a, b)).all() and (tight <= np.maximum(a, b)).all()
    assert (wide > np.maximum(a, b)).any() and (wide < np.minimum(a, b)).any()
    np.testing.assert_array_equal(tight, np.clip(wide, np.minimum(a, b), np.maximum(a, b)))


def test_what_is_black_in_both_stays_black() -> None:
    a, b = fill(0), fill(0)
    a[20:30, 20:30], b[28:40, 28:40] = 1, 0.6
    for fuse in (fuse_brightness_regions, fuse_intensity_gradient):
        fused = fuse(a, b)
        assert fused[(a == 0) & (b == 0)].max() == 0 and fused.max() <= 1


# Intensities and gradients.


def measure_loss(image: Image, brightest: Image, field: Image, weight: float) -> float:
    bent = find_gradients(image).astype(np.float64) - field
    return float(np.abs(image.astype(np.float64) - brightest).sum() + weight * np.hypot(*bent).sum())


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_no_step_away_from_the_image_makes_the_loss_smaller(weight: float) -> None:
    a, b = draw(0), draw(1)
    brightest, field = np.maximum(a, b), pick_gradients(a, b, 1.0)
    image = _reconcile(brightest, field, weight, 60)
    least = measure_loss(image, brightest, field, weight)
    assert least < 0.97 * measure_loss(brightest, brightest, field, weight)
    rng = np.random.default_rng(2)
    for size in (0.01, 0.05):
        for _ in range(20):
            step = np.zeros_like(image)
            row, column = rng.integers(0, 40, 2)
            step[row : row + rng.integers(1, 8), column : column + rng.integers(1, 8)] = size * rng.choice([-1, 1])
            assert measure_loss(image + step, brightest, field, weight) > least - 1e-3
        assert measure_loss(image + size * (brightest - image), brightest, field, weight) > least - 0.02


def test_a_mostly_flat_pair_is_taken_as_far_as_a_busy_one() -> None:
    a, b = fill(0.2, (96, 96)), fill(0.25, (96, 96))
    a[20:60, 20:60] += 0.3 * draw(0, (40, 40))
    b[40:44, 30:80] = 0.9
    brightest, field = np.maximum(a, b), pick_gradients(a, b, 1.0)
    found, last, start = (measure_loss(_reconcile(brightest, field, 1.0, steps), brightest, field, 1.0) for steps in (60, 600, 0))
    assert found < 1.01 * last < 0.95 * start


def test_sources_that_do_not_contradict_each_other_are_joined_exactly() -> None:
    a, b = fill(0.2), fill(0.2)
    a[10:20, 10:20], b[40:50, 40:50] = 0.9, 0.7
    np.testing.assert_allclose(fuse_intensity_gradient(a, b), np.maximum(a, b), atol=2e-3)
