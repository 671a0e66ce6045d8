"""Steps of an image pyramid: halve, double, and whole Gaussian and Laplacian pyramids.

The kernel is Burt and Adelson's [1 4 6 4 1] / 16 in both directions; borders are mirrored.
"""

import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from prior.arrays import Image

ONE = np.float32(1)
SMALLEST_TOP = 4  # px: a coarser level would hold little but its own borders


def count_levels(shape: tuple[int, ...], wanted: int, smallest: int = SMALLEST_TOP) -> int:
    """How often an image can be halved, `wanted` times at most, before its shorter side falls below `smallest` px."""
    return min(wanted, (min(shape) // smallest).bit_length() - 1)


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


def blend_scales(a: Image, b: Image, weight: Image, levels: int) -> Image:
    """The multi-resolution spline of two images: coarse scales are joined over wide seams, fine ones over narrow seams.

    Reference: P. J. Burt, E. H. Adelson, ACM Trans. Graphics 2(4):217-236, 1983, doi 10.1145/245.247.

    Args:
        a: float32 `(H, W)`.
        b: of the same size.
        weight: of `a`, in [0, 1]; that of `b` is the rest to one.
        levels: halvings.

    Returns:
        float32 `(H, W)`; it may overshoot both beside a seam.
    """
    scales = zip(build_laplacian(a, levels), build_laplacian(b, levels), build_gaussian(weight, levels), strict=True)
    return collapse([of_b + share * (of_a - of_b) for of_a, of_b, share in scales])


Rule = Callable[[Image, Image], Image]


def fuse_contrasts(a: Image, b: Image, levels: int, floor: np.float32, pick: Rule, join: Rule) -> Image:
    """An image multiplied up, coarse to fine, from the contrasts that a rule picks.

    Contrast is the ratio of an image to its own smoothed version, less one. Every level is kept in the range of an image, since contrast
    picked for a dark surround overshoots on a bright one.

    Args:
        a: float32 `(H, W)` in [0, 1].
        b: of the same size.
        levels: halvings.
        floor: light that is added first and taken off last, so that noise in the dark is not taken for contrast and black stays defined.
        pick: of two contrasts of one scale.
        join: of the two coarsest images.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    (*fine_a, coarse_a), (*fine_b, coarse_b) = build_gaussian(a + floor, levels), build_gaussian(b + floor, levels)
    fused = join(coarse_a, coarse_b)
    for light_a, light_b in zip(reversed(fine_a), reversed(fine_b), strict=True):
        contrast = pick(light_a / double(coarse_a, light_a.shape) - ONE, light_b / double(coarse_b, light_b.shape) - ONE)
        fused = np.clip(double(fused, light_a.shape) * (ONE + contrast), floor, ONE + floor)
        coarse_a, coarse_b = light_a, light_b
    return fused - floor
