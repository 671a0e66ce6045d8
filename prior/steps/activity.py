"""Measures of activity: how much a detail band, or an image, has to say around each pixel.

Every function takes one float32 layer `(H, W)` of any range and gives one of the same shape, never negative; beyond the borders the layer
is mirrored. They answer the same question in ways that differ in what they reward: energy large values, deviation contrast, Laplacians fine
structure.

References: weighted local energy and weighted sum of eight-neighbour modified Laplacians: M. Yin, X. Liu, Y. Liu, X. Chen, "Medical image
fusion with parameter-adaptive pulse coupled neural network in nonsubsampled shearlet transform domain", IEEE Trans. Instrumentation and
Measurement 68(1):49-64, 2019, doi 10.1109/TIM.2018.2838778; modified Laplacian: S. K. Nayar, Y. Nakagawa, "Shape from focus", IEEE
Trans. Pattern Analysis and Machine Intelligence 16(8):824-831, 1994, doi 10.1109/34.308479.
"""

import cv2
import numpy as np

from prior.arrays import Image

BORDER = cv2.BORDER_REFLECT_101
ALONG_DIAGONAL = np.float32(1 / np.sqrt(2))  # a neighbour there is further away by sqrt(2)

# Second differences, twice the pixel less its two neighbours, through the pixel along one line each.
ACROSS = np.array([[0, 0, 0], [-1, 2, -1], [0, 0, 0]], np.float32)
DOWN = ACROSS.T.copy()
FALLING = np.array([[-1, 0, 0], [0, 2, 0], [0, 0, -1]], np.float32)
RISING = FALLING[:, ::-1].copy()


def measure_local_energy(detail: Image, side: int = 3) -> Image:
    """The mean square around each pixel, with binomial weights that sum to one: the nearer, the more.

    Args:
        detail: float32 `(H, W)`.
        side: of the window, px, odd.

    Returns:
        float32 `(H, W)`, >= 0.
    """
    return _smooth(detail * detail, side)


def measure_local_deviation(image: Image, side: int = 3) -> Image:
    """The standard deviation in the square window around each pixel, all of its pixels counting alike.

    Args:
        image: float32 `(H, W)`.
        side: of the window, px, odd.

    Returns:
        float32 `(H, W)`, >= 0.
    """
    window, wide = (side, side), image.astype(np.float64)  # squares of nearly equal values are subtracted
    mean = cv2.boxFilter(wide, -1, window, borderType=BORDER)
    variance = cv2.boxFilter(wide * wide, -1, window, borderType=BORDER) - mean * mean
    return np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def measure_nsml(detail: Image) -> Image:
    """The novel sum-modified Laplacian: the local energy of the modified Laplacian of all eight neighbours."""
    laplacian = _measure_laplacian(detail)
    return _smooth(laplacian * laplacian, 3)


def measure_wseml(detail: Image) -> Image:
    """The weighted sum of eight-neighbour modified Laplacians: the modified Laplacian, smoothed with binomial weights."""
    return _smooth(_measure_laplacian(detail), 3)


def _measure_laplacian(layer: Image) -> Image:
    """Nayar's modified Laplacian, magnitudes of second differences so that those of opposite signs do not cancel, with the diagonals."""
    across, down, falling, rising = (
        np.abs(cv2.filter2D(layer, cv2.CV_32F, kernel, borderType=BORDER)) for kernel in (ACROSS, DOWN, FALLING, RISING)
    )
    laplacian: Image = across + down + ALONG_DIAGONAL * (falling + rising)
    return laplacian


def _smooth(layer: Image, side: int) -> Image:
    """Binomial weights, `[1 2 1] / 4` both ways for a side of 3 px."""
    weights = np.poly1d([0.5, 0.5]) ** (side - 1)
    line = weights.coeffs.astype(np.float32)
    return cv2.sepFilter2D(layer, cv2.CV_32F, line, line, borderType=BORDER).astype(np.float32, copy=False)
