"""Descriptors are the ones of their definition."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data

from prior.arrays import Image, to_image
from prior.steps.dense_sift import NUMBERS, gather_cells, measure_activity, write_descriptor


def describe_naively(image: Image, row: int, column: int) -> NDArray[np.float64]:
    """The descriptor of one pixel: the gradients of a patch of 24 px, gathered in 4 x 4 cells of 8 orientations."""
    padded = np.pad(image.astype(np.float64), 30, mode="symmetric") / image.max()
    bell = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    across = np.outer(bell, np.gradient(bell))
    across *= 2 / np.abs(across).sum()
    x, y = ndimage.correlate(padded, across), ndimage.correlate(padded, across.T)
    numbers = []
    for top in (-11, -5, 1, 7):
        for left in (-11, -5, 1, 7):
            cell = np.zeros(8)
            for i in range(-4, 8):
                for j in range(-4, 8):
                    # the triangle of 12 px is centred 1.5 px beyond its start
                    weight = (1 - abs(i - 1.5) / 6) * (1 - abs(j - 1.5) / 6)
                    at = (30 + row + top + i, 30 + column + left + j)
                    angles = np.arange(8) * np.pi / 4
                    cosines = np.cos(np.arctan2(y[at], x[at]) - angles)
                    cell += weight * np.hypot(x[at], y[at]) * np.maximum(cosines, 0) ** 9
            numbers.append(cell)
    return np.concatenate(numbers)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (20, 31), (39, 5)])
def test_describes_pixels_by_the_gradients_around(row: int, column: int) -> None:
    image = to_image(np.ascontiguousarray(data.brick()[:80:2, :92:2]))
    cells = gather_cells(image)
    expected = describe_naively(image, row, column)
    assert measure_activity(cells, image.shape)[row, column] == pytest.approx(expected.sum(), rel=1e-4)
    found = np.empty(NUMBERS, np.float32)
    write_descriptor(cells, row, column, found)
    length = float(np.linalg.norm(expected))
    assert length > 1
    cut = np.minimum(expected / length, 0.2)
    np.testing.assert_allclose(found, cut / np.linalg.norm(cut), atol=1e-5)


def test_a_flat_image_has_no_activity_and_short_descriptors() -> None:
    cells = gather_cells(np.full((20, 30), 0.4, np.float32))
    assert measure_activity(cells, (20, 30)).max() < 1e-4
    found = np.empty(NUMBERS, np.float32)
    write_descriptor(cells, 10, 10, found)
    assert np.abs(found).max() < 1e-5  # what is shorter than one is not stretched


def test_activity_does_not_depend_on_the_brightness_of_the_light() -> None:
    image = to_image(np.ascontiguousarray(data.brick()[:80:2, :92:2]))
    bright, dark = (measure_activity(gather_cells(light * image), image.shape) for light in (np.float32(1), np.float32(0.25)))
    np.testing.assert_allclose(dark, bright, rtol=1e-4)
