"""Steps of an image pyramid: halve, double, and whole Gaussian and Laplacian pyramids.

The kernel is Burt and Adelson's [1 4 6 4 1] / 16 in both directions; borders are mirrored.
"""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from prior.arrays import Image

SMALLEST_TOP = 4  # px: a coarser level would hold little but its own borders


def count_levels(shape: tuple[int, ...], wanted: int) -> int:
    """How often an image can be halved, `wanted` times at most, before its shorter side falls below `SMALLEST_TOP`."""
    return min(wanted, (min(shape) // SMALLEST_TOP).bit_length() - 1)


def halve(image: Image) -> Image:
    """The next coarser level: smoothed, then every second row and column; odd sides are rounded up."""
    return cv2.pyrDown(image).astype(np.float32, copy=False)


def double(image: Image, shape: tuple[int, ...]) -> Image:
    """A level brought to the size of the finer one below it, whose shape is given: odd sizes need to be told."""
    return cv2.pyrUp(image, dstsize=(shape[1], shape[0])).astype(np.float32, copy=False)


def build_gaussian(image: Image, levels: int) -> list[Image]:
    """The image and its `levels` halvings, fine to coarse."""
    pyramid = [image]
    for _ in range(levels):
        pyramid.append(halve(pyramid[-1]))
    return pyramid


def build_laplacian(image: Image, levels: int) -> list[Image]:
    """What each of `levels` halvings loses, fine to coarse, and last the coarsest image: `levels + 1` images."""
    gaussian = build_gaussian(image, levels)
    details = [fine - double(coarse, fine.shape) for fine, coarse in itertools.pairwise(gaussian)]
    return [*details, gaussian[-1]]


def collapse(laplacian: Sequence[Image]) -> Image:
    """The image of a Laplacian pyramid: that of `build_laplacian(image, levels)` is the image up to rounding."""
    *details, image = laplacian
    for detail in reversed(details):
        image = double(image, detail.shape) + detail
    return image
