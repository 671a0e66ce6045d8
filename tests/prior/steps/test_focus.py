"""Decision maps lose their specks and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from prior.steps.focus import fill_small_holes, remove_small_regions, remove_specks

TOUCHING = np.ones((3, 3))  # corners too


def remove_naively(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask, TOUCHING)
    kept = np.zeros_like(mask)
    for label in range(1, count + 1):
        region = labels == label
        if region.sum() >= smallest:
            kept |= region
    return kept


@pytest.mark.parametrize("smallest", [1, 4, 7.5, 40])
def test_small_regions_go_and_large_ones_stay_as_they_are(smallest: float) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(0).random((57, 43)), 1.2) > 0.52
    np.testing.assert_array_equal(remove_small_regions(mask, smallest), remove_naively(mask, smallest))
    np.testing.assert_array_equal(fill_small_holes(mask, smallest), ~remove_naively(~mask, smallest))
    np.testing.assert_array_equal(remove_specks(mask, smallest), ~remove_naively(~remove_naively(mask, smallest), smallest))


def test_a_region_of_just_the_smallest_size_stays() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[1, 1:4] = mask[2, 4] = True  # four pixels, the last of them across a corner
    np.testing.assert_array_equal(remove_small_regions(mask, 4), mask)
    assert not remove_small_regions(mask, 5).any()


@pytest.mark.parametrize("value", [False, True])
def test_a_mask_without_a_boundary_stays(value: bool) -> None:
    mask = np.full((20, 30), value)
    np.testing.assert_array_equal(remove_small_regions(mask, 10), mask)
    np.testing.assert_array_equal(fill_small_holes(mask, 10), mask)
