"""Patches: cut where they should be, and pasted to the image they came from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prior.steps.patches import cut_patches, paste_patches, place_patches
from storage.errors import InputError


def test_cuts_rows_of_pixels_left_to_right_then_down_and_the_last_ones_at_the_border() -> None:
    image = np.arange(30, dtype=np.float32).reshape(5, 6)
    corners = [(0, 0), (0, 2), (0, 3), (2, 0), (2, 2), (2, 3)]
    expected = [image[i : i + 3, j : j + 3].ravel() for i, j in corners]
    np.testing.assert_array_equal(cut_patches(image, 3, 2), expected)


def test_starts_lie_a_stride_apart_and_the_last_ones_at_the_border() -> None:
    rows, columns = place_patches((6, 18), 6, 5)
    assert (rows.tolist(), columns.tolist()) == ([0], [0, 5, 10, 12])


@given(height=st.integers(8, 30), width=st.integers(8, 30), side=st.integers(1, 8), stride=st.integers(1, 8), seed=st.integers(0, 99))
def test_pastes_what_it_cut(height: int, width: int, side: int, stride: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width), np.float32)
    patches = cut_patches(image, side, min(stride, side))
    np.testing.assert_allclose(paste_patches(patches, image.shape, min(stride, side)), image, atol=1e-6)


def test_pastes_the_mean_where_patches_overlap() -> None:
    patches = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [4, 4, 4, 4], [7, 7, 7, 7]], np.float32)
    expected = np.array([[0, 0.5, 1], [2, 3, 4], [4, 5.5, 7]], np.float32)
    np.testing.assert_allclose(paste_patches(patches, (3, 3), 1), expected)


@pytest.mark.parametrize(("side", "stride"), [(8, 1), (4, 5), (4, 0), (0, 0)])
def test_refuses_patches_that_do_not_fit_or_do_not_cover(side: int, stride: int) -> None:
    with pytest.raises(InputError, match="stride <= side"):
        cut_patches(np.zeros((7, 9), np.float32), side, stride)


def test_refuses_patches_of_another_image() -> None:
    with pytest.raises(InputError, match="has 4 patches of 2 px, 1 px apart, and 3 came"):
        paste_patches(np.zeros((3, 4), np.float32), (3, 3), 1)
