"""Steps of an image pyramid, shared by the methods that climb one: halve, double, and pick the stronger detail.

No method in itself. The kernel is Burt and Adelson's [1 4 6 4 1] / 16 in both directions; borders are mirrored.
"""

import cv2
import numpy as np

from prior.arrays import Image

SMALLEST_TOP = 4  # px: a coarser level would hold little but its own borders
NEIGHBOURHOOD = (3, 3)  # px: one strong coefficient alone does not decide


def count_levels(shape: tuple[int, ...], wanted: int) -> int:
    """How often an image can be halved, `wanted` times at most, before its shorter side falls below `SMALLEST_TOP`."""
    return min(wanted, (min(shape) // SMALLEST_TOP).bit_length() - 1)


def halve(image: Image) -> Image:
    """The next coarser level: smoothed, then every second row and column; odd sides are rounded up."""
    return cv2.pyrDown(image).astype(np.float32, copy=False)


def double(image: Image, shape: tuple[int, ...]) -> Image:
    """A level brought to the size of the finer one below it, whose shape is given: odd sizes need to be told."""
    return cv2.pyrUp(image, dstsize=(shape[1], shape[0])).astype(np.float32, copy=False)


def pick_stronger(a: Image, b: Image) -> Image:
    """Of two layers of detail, pixel by pixel the one with the larger energy in its neighbourhood."""
    return np.where(_measure_energy(a) >= _measure_energy(b), a, b)


def _measure_energy(detail: Image) -> Image:
    return cv2.boxFilter(detail * detail, -1, NEIGHBOURHOOD).astype(np.float32, copy=False)
