"""The bilateral filter is the one of its equation, window by window."""

import numpy as np
import pytest
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.bilateral import filter_cross_bilateral

SHAPE = (23, 31)


def draw(seed: int, shape: tuple[int, int] = SHAPE) -> Image:
    """Noise on a step."""
    image = 0.6 * np.random.default_rng(seed).random(shape)
    image[:, shape[1] // 2 :] += 0.4
    return image.astype(np.float32)


def filter_naively(image: Image, guide: Image, radius: int, sigma_space: float, sigma_range: float) -> NDArray[np.float64]:
    """Every window by itself, in float64."""
    values, near = (np.pad(each.astype(np.float64), radius, mode="reflect") for each in (image, guide))
    offsets = np.arange(-radius, radius + 1)
    distances = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma_space**2))
    filtered = np.empty(image.shape)
    for i, j in np.ndindex(*image.shape):
        window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
        weights = distances * np.exp(-((near[window] - guide[i, j]) ** 2) / (2 * sigma_range**2))
        filtered[i, j] = (weights * values[window]).sum() / weights.sum()
    return filtered


@pytest.mark.parametrize(("radius", "sigma_space", "sigma_range"), [(5, 1.8, 25 / 255), (1, 1, 0.5), (3, 8, 0.02), (4, 2, 5)])
def test_is_the_filter_of_its_equation(radius: int, sigma_space: float, sigma_range: float) -> None:
    image, guide = draw(0), draw(1)
    expected = filter_naively(image, guide, radius, sigma_space, sigma_range)
    filtered = filter_cross_bilateral(image, guide, radius, sigma_space, sigma_range)
    assert filtered.dtype == np.float32
    np.testing.assert_allclose(filtered, expected, atol=5e-6)


def test_takes_the_edges_of_the_guide_and_no_others() -> None:
    step = np.repeat(np.float32([0, 1]), 20)[None, :].repeat(30, axis=0)
    flat = np.full_like(step, 0.5)
    np.testing.assert_allclose(filter_cross_bilateral(step, step, 5, 3, 0.1), step, atol=1e-4)
    blurred = filter_cross_bilateral(step, flat, 5, 3, 0.1)
    assert 0.3 < blurred[15, 19] < 0.5 < blurred[15, 20] < 0.7


def test_without_any_width_of_range_only_equals_mix() -> None:
    image = np.tile(np.float32([0.1, 0.3]), (12, 6))
    np.testing.assert_allclose(filter_cross_bilateral(image, image, 3, 2, 0), image, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (16, 3)], ids=str)
def test_a_window_may_be_larger_than_the_image(shape: tuple[int, int]) -> None:
    image = draw(3, shape)
    filtered = filter_cross_bilateral(image, image, 7, 3, 0.2)
    assert filtered.shape == shape
    assert image.min() - 1e-6 <= filtered.min() and filtered.max() <= image.max() + 1e-6


def test_leaves_read_only_views_alone() -> None:
    image, guide = draw(4, (40, 50)), draw(5, (40, 50))
    for each in (image, guide):
        each.setflags(write=False)
    np.testing.assert_array_equal(
        filter_cross_bilateral(image[::2, ::2], guide[::2, ::2], 3, 2, 0.1),
        filter_cross_bilateral(image[::2, ::2].copy(), guide[::2, ::2].copy(), 3, 2, 0.1),
    )
