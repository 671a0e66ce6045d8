"""Smoothing that spares edges does what it says, and the hybrid decomposition puts together what it took apart."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from prior.arrays import Image
from prior.steps.smoothing import (
    Hybrid,
    _compare,
    _emphasise,
    blur,
    blur_wide,
    decompose_hybrid,
    filter_bilateral_grid,
    fuse_hybrid,
    roll_guidance,
)

Array = NDArray[np.float64]


def draw_image(shape: tuple[int, int] = (57, 43), seed: int = 0) -> Image:
    """A cloudy image with a bright block and a little noise."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 4)
    image = (clouds - clouds.min()) / np.ptp(clouds) * 0.6 + 0.05 * rng.random(shape)
    image[5:19, 8:20] += 0.3
    drawn: Image = image.astype(np.float32)
    return drawn


def draw_step(low: float = 0.2, high: float = 0.8) -> Image:
    """Dark on the left, bright on the right."""
    return np.repeat(np.array([low, high], np.float32), 20)[None, :].repeat(36, axis=0)


# The Gaussian.


@pytest.mark.parametrize("sigma", [1.0, 2.0, 8.0, 64.0])
def test_blur_is_a_mirrored_gaussian_cut_off_at_three_sigmas(sigma: float) -> None:
    image = draw_image()
    expected = ndimage.gaussian_filter(image.astype(np.float64), sigma, mode="reflect", radius=int(3 * sigma))
    np.testing.assert_allclose(blur(image, sigma), expected, atol=2e-6)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_wide_blur_is_a_mirrored_gaussian_cut_off_at_four_sigmas(sigma: float) -> None:
    image = draw_image()
    expected = ndimage.gaussian_filter(image.astype(np.float64), sigma, mode="reflect", radius=int(4 * sigma))
    np.testing.assert_allclose(blur_wide(image, sigma), expected, atol=2e-6)
    assert np.abs(blur_wide(image, sigma) - blur(image, sigma)).max() > 1e-5


@pytest.mark.parametrize("sigma", [0.0, 0.2, 0.33])
def test_blur_of_a_third_of_a_pixel_changes_nothing(sigma: float) -> None:
    np.testing.assert_array_equal(blur(draw_image(), sigma), draw_image())


# The bilateral grid.


def filter_grid_plainly(image: Array, sigma_space: float, sigma_range: float) -> Array:
    """The grid filled pixel by pixel, smoothed and read by SciPy, in float64."""
    pad = 6
    place = [np.arange(side) / sigma_space for side in image.shape]
    brightness = (image - image.min()) / sigma_range
    cells = [int(axis.max()) + 2 * pad for axis in (*place, brightness)]
    grids = np.zeros((2, *cells))
    for i, j in np.ndindex(*image.shape):
        cell = tuple(int(np.floor(x + 0.5)) + pad for x in (place[0][i], place[1][j], brightness[i, j]))
        grids[0][cell] += image[i, j]
        grids[1][cell] += 1
    for axis in (1, 2, 3):
        grids = ndimage.correlate1d(grids, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="constant")
    rows, columns = np.meshgrid(*place, indexing="ij")
    total, count = (ndimage.map_coordinates(grid, np.stack([rows, columns, brightness]) + pad, order=1) for grid in grids)
    filtered: Array = total / count
    return filtered


@pytest.mark.parametrize(("sigma_space", "sigma_range"), [(2.0, 0.05), (3.7, 0.013), (16.0, 0.1), (90.0, 5.0)])
def test_bilateral_grid_is_the_one_of_its_description(sigma_space: float, sigma_range: float) -> None:
    # Brightnesses half-way between two cells may be gathered in either: there are none here.
    image = np.rint(draw_image((31, 25)) * 255).astype(np.float32) / np.float32(255) + np.float32(0.0003)
    expected = filter_grid_plainly(image.astype(np.float64), sigma_space, sigma_range)
    np.testing.assert_allclose(filter_bilateral_grid(image, sigma_space, sigma_range), expected, atol=1e-5)


def test_bilateral_grid_comes_near_the_bilateral_filter() -> None:
    image = draw_image().astype(np.float64)
    rows, columns = np.indices(image.shape)
    expected = np.empty_like(image)
    for i, j in np.ndindex(*image.shape):
        distance = (rows - i) ** 2 + (columns - j) ** 2
        weight = np.exp(-distance / (2 * 4.0**2) - (image - image[i, j]) ** 2 / (2 * 0.1**2))
        expected[i, j] = (weight * image).sum() / weight.sum()
    filtered = filter_bilateral_grid(draw_image(), 4.0, 0.1)
    assert np.abs(filtered - expected).mean() < 0.01 < np.abs(filtered - image).mean()


def test_bilateral_grid_smooths_on_both_sides_of_an_edge_and_not_across() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, draw_step().shape).astype(np.float32)
    filtered = filter_bilateral_grid(draw_step() + noise, 4.0, 0.05)
    assert np.abs(filtered - draw_step()).max() < 0.01
    assert (filtered - draw_step()).std() < 0.3 * noise.std()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 16), (17, 40)], ids=str)
def test_bilateral_grid_leaves_a_flat_image_of_any_size_alone(shape: tuple[int, int]) -> None:
    flat = np.full(shape, 0.3, np.float32)
    np.testing.assert_array_equal(filter_bilateral_grid(flat, 2.0, 0.05), flat)


# Rolling guidance.


def test_rolling_guidance_drops_what_is_small_and_keeps_the_edges_of_what_is_large() -> None:
    image = draw_step()
    image[10, 8] = 1.0
    rolled, blurred = roll_guidance(image, 3, 0.05**2, 4), blur(image, 3)
    assert abs(rolled[10, 8] - 0.2) < 0.05
    edge = np.abs(np.diff(image[25])).argmax()
    assert rolled[25, edge + 1] - rolled[25, edge] > 0.35 > 0.1 > blurred[25, edge + 1] - blurred[25, edge]


def test_rolling_guidance_without_a_pass_is_the_blur_it_starts_from() -> None:
    np.testing.assert_array_equal(roll_guidance(draw_image(), 2, 0.05**2, 0), blur(draw_image(), 2))


# The hybrid decomposition.

FILTERS = [(partial(blur, sigma=2.0 * 2**k), partial(filter_bilateral_grid, sigma_space=2.0 * 2**k, sigma_range=0.05)) for k in range(3)]


def test_layers_of_a_hybrid_decomposition_add_up_to_the_image() -> None:
    layers = decompose_hybrid(draw_image(), FILTERS)
    assert len(layers.textures) == len(layers.edges) == 3
    total = layers.base + sum(layers.textures) + sum(layers.edges)
    np.testing.assert_allclose(total, draw_image(), atol=1e-6)


def test_an_edge_is_in_the_edges_and_fine_noise_in_the_textures() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, draw_step().shape).astype(np.float32)
    layers = decompose_hybrid(draw_step() + noise, FILTERS[:1])
    assert np.abs(layers.edges[0]).max() > 0.2 > 0.05 > np.abs(layers.textures[0]).max()
    assert np.corrcoef(layers.textures[0].ravel(), noise.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_two_equal_decompositions_fuse_to_their_image(scales: int) -> None:
    layers = decompose_hybrid(draw_image(), FILTERS[:scales])
    np.testing.assert_allclose(fuse_hybrid(layers, layers, 30, 16, 1), draw_image(), atol=1e-6)


def test_a_flat_infrared_leaves_the_visible_alone() -> None:
    flat = decompose_hybrid(np.full((57, 43), 0.9, np.float32), FILTERS)
    np.testing.assert_allclose(fuse_hybrid(flat, decompose_hybrid(draw_image(), FILTERS), 30, 16, 1), draw_image(), atol=1e-6)


def test_a_flat_visible_takes_all_strong_structure_of_the_infrared() -> None:
    flat = Hybrid(np.zeros((9, 9), np.float32), (np.zeros((9, 9), np.float32),) * 2, (np.zeros((9, 9), np.float32),) * 2)
    strong = Hybrid(flat.base, (np.full((9, 9), 0.1, np.float32),) * 2, (np.full((9, 9), 0.2, np.float32),) * 2)
    np.testing.assert_allclose(fuse_hybrid(strong, flat, 30, 2, 1), 0.6, atol=1e-6)


def test_emphasis_rises_steeply_from_zero_to_one() -> None:
    infrared, visible = np.array([[0.1, -0.3, 0.2, -0.5, 0.0]], np.float32), np.array([[-0.2, 0.1, 0.1, 0.1, 0.1]], np.float32)
    lead = np.array([[0, 0.2, 0.1, 0.4, 0]]) / 0.4
    np.testing.assert_allclose(_emphasise(infrared, visible, 30.0), np.arctan(30 * lead) / np.arctan(30), atol=1e-6)
    np.testing.assert_array_equal(_emphasise(visible, visible, 30.0), 0)


def test_the_visible_is_kept_where_both_are_equally_strong() -> None:
    np.testing.assert_array_equal(_compare(np.array([[0.2, -0.2, -0.3]], np.float32), np.array([[0.2, 0.2, 0.2]], np.float32)), [[0, 0, 1]])
