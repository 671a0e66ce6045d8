"""Measures of activity, against their formulae pixel by pixel."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.activity import measure_local_deviation, measure_local_energy, measure_nsml, measure_wseml

BINOMIAL = {3: np.outer([1, 2, 1], [1, 2, 1]) / 16, 5: np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256}
MEASURES = [measure_local_energy, measure_local_deviation, measure_nsml, measure_wseml]


def draw(shape: tuple[int, int] = (13, 9), seed: int = 0) -> Image:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def slide(layer: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """The window around each pixel, `(H, W, side, side)`."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(layer, side // 2, "reflect"), (side, side))


def laplace(layer: NDArray[np.float64]) -> NDArray[np.float64]:
    """The modified Laplacian of eight neighbours, as its equation is written."""
    windows, modified = slide(layer, 3), np.zeros_like(layer)
    for i, j in itertools.product(*map(range, layer.shape)):
        w = windows[i, j]
        straight = abs(2 * w[1, 1] - w[0, 1] - w[2, 1]) + abs(2 * w[1, 1] - w[1, 0] - w[1, 2])
        diagonal = abs(2 * w[1, 1] - w[0, 0] - w[2, 2]) + abs(2 * w[1, 1] - w[0, 2] - w[2, 0])
        modified[i, j] = straight + diagonal / np.sqrt(2)
    return modified


@pytest.mark.parametrize("side", [3, 5])
def test_local_energy_is_the_weighted_mean_square(side: int) -> None:
    layer = draw()
    expected = (slide(layer.astype(np.float64) ** 2, side) * BINOMIAL[side]).sum(axis=(2, 3))
    np.testing.assert_allclose(measure_local_energy(layer, side), expected, rtol=1e-5)


@pytest.mark.parametrize("side", [3, 5])
def test_local_deviation_is_the_one_of_the_window(side: int) -> None:
    layer = draw()
    np.testing.assert_allclose(measure_local_deviation(layer, side), slide(layer.astype(np.float64), side).std(axis=(2, 3)), rtol=1e-5)


def test_local_deviation_survives_a_large_mean() -> None:
    layer = draw() * np.float32(1e-3)
    np.testing.assert_allclose(measure_local_deviation(layer + np.float32(1)), measure_local_deviation(layer), atol=2e-7)


def test_nsml_is_the_energy_of_the_modified_laplacian() -> None:
    layer = draw()
    expected = (slide(laplace(layer.astype(np.float64)) ** 2, 3) * BINOMIAL[3]).sum(axis=(2, 3))
    np.testing.assert_allclose(measure_nsml(layer), expected, rtol=1e-5)


def test_wseml_is_the_weighted_sum_of_the_modified_laplacian() -> None:
    layer = draw()
    expected = (slide(laplace(layer.astype(np.float64)), 3) * BINOMIAL[3]).sum(axis=(2, 3))
    np.testing.assert_allclose(measure_wseml(layer), expected, rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_keeps_shape_and_type_and_is_never_negative(measure: object) -> None:
    assert callable(measure)
    for shape in [(1, 1), (2, 7), (16, 17)]:
        layer = draw(shape)
        kept = layer.copy()
        layer.setflags(write=False)
        activity = measure(layer)
        assert activity.dtype == np.float32
        assert activity.shape == shape
        assert activity.min() >= 0
        np.testing.assert_array_equal(layer, kept)


def test_flat_layers_have_energy_alone() -> None:
    flat = np.full((9, 8), 0.5, np.float32)
    np.testing.assert_allclose(measure_local_energy(flat), 0.25, rtol=1e-6)
    for measure in (measure_local_deviation, measure_nsml, measure_wseml):
        np.testing.assert_array_equal(measure(flat), 0)
