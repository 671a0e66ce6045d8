"""Convolutional sparse coding, against dense matrices, brute force and the conditions of a minimum."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal
from scipy.fft import idct

from prior import weights
from prior.arrays import Image, to_image
from prior.examples import load_photograph
from prior.steps.coding import Filters, Shrink, blend_filters, crop, find_codes, mirror, shrink_each, shrink_together, slide_windows
from prior.steps.solve import solve_screened

RHO = 1.5
LAMBDA, MU = 0.05, 0.02
PRICES = [(1, shrink_each(LAMBDA / RHO)), (2, shrink_together(LAMBDA / RHO, MU / RHO))]


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def draw_filters(count: int = 3, side: int = 4) -> Filters:
    filters = draw(count, side, side, seed=9)
    return filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True)


def correlate(image: Image, filters: Filters) -> NDArray[np.float32]:
    """D^T: the product of each filter with what lies under it, `(M, H, W)`."""
    return np.einsum("mkl,klij->mij", filters, slide_windows(image[None], filters.shape[1])[0])


def make_matrix(shape: tuple[int, int], filters: Filters) -> NDArray[np.float64]:
    """D as a dense matrix: one column for every filter at every pixel, wrapped around the borders."""
    before, columns = (filters.shape[1] - 1) // 2, []
    for one, i, j in itertools.product(filters, *map(range, shape)):
        image = np.zeros(shape)
        for (y, x), value in np.ndenumerate(one):
            image[(i + y - before) % shape[0], (j + x - before) % shape[1]] += value
        columns.append(image.ravel())
    return np.array(columns).T


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (41, 41), (57, 43)])
def test_the_rim_is_mirrored_and_comes_off_again(shape: tuple[int, int]) -> None:
    image = draw(*shape)
    mirrored = mirror(image)
    np.testing.assert_array_equal(crop(mirrored, shape), image)
    assert min(np.subtract(mirrored.shape, shape)) >= 16
    top, left = (np.array(mirrored.shape) - shape) // 2
    np.testing.assert_array_equal(mirrored[top - 1, left : left + shape[1]], image[0])
    np.testing.assert_array_equal(mirrored[top - 8, left : left + shape[1]], image[7])


@pytest.mark.parametrize("side", [3, 4])
def test_filters_are_blended_around_their_codes(side: int) -> None:
    filters, codes = draw_filters(side=side), draw(3, 8, 11)
    naive = sum(signal.convolve2d(np.pad(c, side, "wrap"), f) for c, f in zip(codes, filters, strict=True))
    start = side + (side - 1) // 2
    np.testing.assert_allclose(blend_filters(codes, filters), naive[start : start + 8, start : start + 11], atol=1e-5)


def test_sliding_is_the_adjoint_of_blending() -> None:
    filters, codes, image = draw_filters(), draw(3, 12, 10), draw(12, 10, seed=1)
    blended, seen = blend_filters(codes, filters), correlate(image, filters)
    assert np.vdot(blended, image) == pytest.approx(np.vdot(codes, seen), rel=1e-4)


@pytest.mark.parametrize(("count", "shrink"), PRICES)
def test_some_iterations_are_those_of_the_method_of_multipliers(count: int, shrink: Shrink) -> None:
    filters, images = draw_filters(2, 3), draw(count, 3, 4, seed=5)
    mirrored = np.stack([mirror(image) for image in images])
    matrix = make_matrix(mirrored.shape[1:], filters)
    inverse = np.linalg.inv(matrix.T @ matrix + RHO * np.eye(matrix.shape[1]))
    y, u = (np.zeros((count, matrix.shape[1])) for _ in range(2))
    for _ in range(4):
        x = np.stack([inverse @ (matrix.T @ s.ravel() + RHO * (one - other)) for s, one, other in zip(mirrored, y, u, strict=True)])
        relaxed = 1.8 * x + (1 - 1.8) * y
        y = shrink((relaxed + u).astype(np.float32))
        u = u + relaxed - y
    codes = find_codes(images, filters, shrink, penalty=RHO, iterations=4)
    np.testing.assert_allclose(codes.reshape(count, -1), y, atol=2e-5)
    assert np.abs(codes).max() > 0.05


@pytest.mark.parametrize(("count", "shrink"), PRICES)
def test_many_iterations_end_where_no_step_improves(count: int, shrink: Shrink) -> None:
    filters, images = draw_filters(), draw(count, 17, 20)
    codes = find_codes(images, filters, shrink, penalty=RHO, iterations=400)
    slopes = np.stack([correlate(mirror(s) - blend_filters(x, filters), filters) for s, x in zip(images, codes, strict=True)])
    np.testing.assert_allclose(shrink(codes + slopes / np.float32(RHO)), codes, atol=1e-4)
    assert 0.05 < np.mean(codes != 0) < 0.7


def test_each_is_shrunk_to_the_least_of_its_price() -> None:
    grid = np.linspace(-2, 2, 4001)
    for value in (-1.3, -0.2, 0.0, 0.31, 0.9):
        least = grid[np.argmin(0.5 * (grid - value) ** 2 + 0.3 * np.abs(grid))]
        assert shrink_each(0.3)(np.array([value], np.float32))[0] == pytest.approx(least, abs=1e-3)


def test_two_are_shrunk_to_the_least_of_their_common_price() -> None:
    grid = np.linspace(-2, 2, 801)
    x, y = grid[:, None], grid[None, :]
    for a, b in [(1.2, 1.0), (1.5, -0.9), (0.5, 0.1), (-1.4, 0.2), (0.1, 0.2), (-1.0, -1.0)]:
        price = 0.5 * (x - a) ** 2 + 0.5 * (y - b) ** 2 + 0.3 * (np.abs(x) + np.abs(y)) + 0.2 * np.abs(x - y)
        least = np.unravel_index(np.argmin(price), price.shape)
        shrunk = shrink_together(0.3, 0.2)(np.array([[a], [b]], np.float32))
        np.testing.assert_allclose(shrunk[:, 0], grid[list(least)], atol=6e-3)


def shrink_beside(x: float, side: float, threshold: float, coupling: float) -> float:
    """The LeSITA operator as its pieces are written: the least of (z - x)^2 / 2 + threshold |z| + coupling |z - side|."""
    if side < 0:
        return -shrink_beside(-x, -side, threshold, coupling)
    if x < -threshold - coupling:
        return x + threshold + coupling
    if x <= threshold - coupling:
        return 0.0
    if x < side + threshold - coupling:
        return x - threshold + coupling
    return side if x <= side + threshold + coupling else x - threshold - coupling


def test_either_of_two_is_shrunk_as_with_the_other_as_side_information() -> None:
    values = draw(2, 500) * 5
    a, b = shrink_together(0.3, 0.2)(values)
    np.testing.assert_allclose(a, [shrink_beside(x, s, 0.3, 0.2) for x, s in zip(values[0], b, strict=True)], atol=1e-5)
    np.testing.assert_allclose(b, [shrink_beside(x, s, 0.3, 0.2) for x, s in zip(values[1], a, strict=True)], atol=1e-5)


def test_equal_images_have_the_codes_of_one() -> None:
    filters, image = draw_filters(), draw(17, 20)
    alone = find_codes(image[None], filters, shrink_each(LAMBDA / RHO), penalty=RHO, iterations=20)
    a, b = find_codes(np.stack((image, image)), filters, shrink_together(LAMBDA / RHO, MU / RHO), penalty=RHO, iterations=20)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, alone[0], atol=1e-6)


def test_the_shipped_filters_say_more_with_less_than_cosines() -> None:
    image = to_image(load_photograph("motorcycle_left.png", (300, 200, 380, 280), 1))
    detail = image - solve_screened(image, 5.0)
    waves = idct(np.eye(8), norm="ortho", axis=0)
    cosines = np.array([np.outer(waves[:, i], waves[:, j]) for i in range(8) for j in range(8)][1:33], np.float32)
    learned = weights.load("coding_filters")
    np.testing.assert_allclose(np.linalg.norm(learned, axis=(1, 2)), 1, atol=1e-5)
    prices = []
    for filters in (learned, cosines):
        codes = find_codes(detail[None], filters, shrink_each(0.01 / RHO), penalty=RHO, iterations=20)[0]
        prices.append(0.5 * np.sum((mirror(detail) - blend_filters(codes, filters)) ** 2) + 0.01 * np.abs(codes).sum())
    assert learned.shape == cosines.shape
    assert prices[0] < 0.95 * prices[1]
