"""Gradients, their adjoint, and what the screened Poisson equation gives back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.solve import find_gradients, gather_gradients, keep_between, pick_gradients, solve_screened

SHAPES = [(16, 16), (17, 40), (127, 93), (1, 5)]


def draw(*shape: int, seed: int = 0) -> Image:
    """Noise in [0, 1]."""
    return np.random.default_rng(seed).random(shape, np.float32)


def make_differences(shape: tuple[int, int]) -> NDArray[np.float64]:
    """∇ as a matrix on the pixels in reading order, one row per pair of neighbours."""
    index = np.arange(shape[0] * shape[1]).reshape(shape)
    pairs = [*zip(index[:-1].flat, index[1:].flat, strict=True), *zip(index[:, :-1].flat, index[:, 1:].flat, strict=True)]
    matrix = np.zeros((len(pairs), index.size))
    for row, (here, there) in enumerate(pairs):
        matrix[row, here], matrix[row, there] = -1, 1
    return matrix


def test_gradients_of_a_ramp() -> None:
    down, right = find_gradients((2 * np.arange(3)[:, None] + 5 * np.arange(4)).astype(np.float32))
    np.testing.assert_array_equal(down, [[2] * 4, [2] * 4, [0] * 4])
    np.testing.assert_array_equal(right, [[5, 5, 5, 0]] * 3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gathering_is_the_adjoint_of_differences(shape: tuple[int, int]) -> None:
    image, gradients = draw(*shape), draw(2, *shape, seed=1)
    across = np.vdot(find_gradients(image).astype(np.float64), gradients)
    assert np.vdot(image.astype(np.float64), gather_gradients(gradients)) == pytest.approx(across, abs=1e-3)
    assert gather_gradients(gradients).sum(dtype=np.float64) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("strength", [0, 0.3, 20, 1e4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_solution_holds_in_the_equation(shape: tuple[int, int], strength: float) -> None:
    image = draw(*shape)
    solved = solve_screened(image, strength)
    assert solved.dtype == np.float32
    back = solved + np.float32(strength) * gather_gradients(find_gradients(solved))
    np.testing.assert_allclose(back, image, atol=2e-6 * (1 + strength))
    assert solved.mean() == pytest.approx(image.mean(), abs=1e-5)


def test_solution_is_that_of_the_matrix() -> None:
    image, differences = draw(7, 9), make_differences((7, 9))
    system = np.eye(63) + 3.5 * differences.T @ differences
    np.testing.assert_allclose(solve_screened(image, 3.5).ravel(), np.linalg.solve(system, image.ravel().astype(np.float64)), atol=1e-6)


def test_image_comes_back_from_its_own_gradients() -> None:
    image = draw(57, 43)
    wanted = image.mean() + 1e5 * gather_gradients(find_gradients(image))
    np.testing.assert_allclose(solve_screened(wanted.astype(np.float32), 1e5), image, atol=2e-3)


def test_picks_the_gradients_of_the_active_source() -> None:
    noise, flat = draw(40, 60), np.full((40, 60), 0.4, np.float32)
    left = np.arange(60) < 30
    picked = pick_gradients(np.where(left, noise, flat), np.where(left, flat, noise), 1)
    np.testing.assert_array_equal(picked[:, :, :25], find_gradients(noise)[:, :, :25])
    np.testing.assert_array_equal(picked[:, :, 35:], find_gradients(noise)[:, :, 35:])


def test_bounds_leave_a_part_of_room() -> None:
    a, b = np.array([[0.4, 0, 0.9]], np.float32), np.array([[0.2, 0, 1]], np.float32)
    low, high = (keep_between(np.full((1, 3), value, np.float32), a, b, 0.25) for value in (-9, 9))
    np.testing.assert_allclose(low, [[0.15, 0, 0.675]], atol=1e-6)
    np.testing.assert_allclose(high, [[0.5, 0, 1]], atol=1e-6)
