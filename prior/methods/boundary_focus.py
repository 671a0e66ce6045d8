"""Boundary focus: large regions belong to the source in focus, their boundary and all that both sources agree on to both.

Morphological gradients of five sizes say how sharp a source is, and the sharper one takes whole regions. At their boundary the weights
pass from one source to the other by the distances to both; and where the sources hardly differ, their mean has less noise than either.

Reference: Y. Zhang, X. Bai, T. Wang, "Boundary finding based multi-focus image fusion through multi-scale morphological
focus-measure", Information Fusion 35:81-101, 2017, doi 10.1016/j.inffus.2016.09.006; constants from the authors' program.
Reconstructed: the windows decide, without thinned boundary lines and watersheds between regions shrunk by 20 px, which lose what is
narrower than 40 px (a fence in front of the scene); the mean of sources that agree is not of the paper.
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.focus import Mask, remove_specks

RADII = (3, 5, 7, 9, 11)  # px, of the discs; each gradient counts by one over its radius
WINDOW = (7, 7)  # px, over which sharpness is summed
SMALLEST = 1 / 40  # of the image, a region that counts
MARGIN = 3  # px, on either side of a boundary: where both sources count
NEAR = (15, 15)  # px, of the window in which the sources are compared
NOISE = 2 / 255  # root mean square difference of which half is noise
HALF, NEVER_ZERO = np.float32(0.5), np.float32(1e-9)


def _measure_focus(image: Image) -> Image:
    """The weighted sum of the differences between the largest and the smallest value inside discs around each pixel."""
    focus = np.zeros(image.shape, np.float32)
    for radius in RADII:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        focus += (cv2.dilate(image, disc) - cv2.erode(image, disc)) / np.float32(radius)
    return focus


def _find_region(a: Image, b: Image, smallest: float) -> Mask:
    """Where `a` is in focus rather than `b`."""
    advantage = cv2.boxFilter(_measure_focus(a) - _measure_focus(b), -1, WINDOW, borderType=cv2.BORDER_REFLECT)
    return remove_specks(advantage > 0, smallest * a.size)


def _soften(region: Mask) -> Image:
    """One inside the region, zero outside, and in between the distance to the outside over the sum of both distances."""
    if region.all() or not region.any():
        return region.astype(np.float32)
    to_outside, to_inside = (cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for mask in (region, ~region))
    from_boundary = to_outside - to_inside + np.where(region, -HALF, HALF)  # signed; pixel centres are half a pixel from it
    weight: Image = np.clip(HALF + HALF * from_boundary / np.float32(MARGIN), 0, 1)
    return weight.astype(np.float32, copy=False)


def _find_difference(a: Image, b: Image, noise: float) -> Image:
    """How much of the difference of the sources around a pixel is no noise, from 0 to 1."""
    squares = cv2.boxFilter((a - b) ** 2, -1, NEAR, borderType=cv2.BORDER_REFLECT)
    difference = np.sqrt(np.maximum(squares, 0))  # a running sum may end just below zero
    return (difference / np.maximum(difference + np.float32(noise), NEVER_ZERO)).astype(np.float32, copy=False)


@method(
    "boundary_focus",
    family="focus map",
    reference="Zhang, Bai, Wang 2017, doi 10.1016/j.inffus.2016.09.006",
    tasks=("multi-focus",),
    reconstructed="the regions, and the mean of sources that agree",
)
def fuse_boundary_focus(a: Image, b: Image, *, smallest: float = SMALLEST, noise: float = NOISE) -> Image:
    """The source in focus in large regions, with soft boundaries and the mean of sources that agree.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        smallest: part of the image below which a region or a hole in one does not count.
        noise: root mean square difference of the sources that counts as noise by half, range [0, 1]; 0 for none.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    weight = HALF + (_soften(_find_region(a, b, smallest)) - HALF) * _find_difference(a, b, noise)
    return b + weight * (a - b)
