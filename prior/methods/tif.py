"""TIF: two scales; the coarse ones are averaged, the fine ones weighted by how much each source stands out from its surroundings.

A wide mean is the base, the rest is detail. A source is salient where its base and its median-filtered self differ; the share of the
squared difference is the weight of its detail.

Reference: D. P. Bavirisetti, R. Dhuli, "Two-scale image fusion of visible and infrared images using saliency detection", Infrared Physics and
Technology 76:52-64, 2016, doi 10.1016/j.infrared.2016.01.009.
Deviations: the published program joins each border to the opposite one and takes black beyond the border for the median; here borders are
mirrored, which changes a rim of 17 px. Where neither source is salient (0/0 there) the weights are equal.
"""

from typing import NamedTuple

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method

WINDOW = 35  # px, side of the mean that makes the base
MEDIAN = 3  # px
HALF, ONE = np.float32(0.5), np.float32(1)


class _Scales(NamedTuple):
    base: Image
    detail: Image
    saliency: Image


def _take_apart(image: Image, window: int) -> _Scales:
    base = cv2.boxFilter(image, -1, (window, window), borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)
    median = cv2.medianBlur(image, MEDIAN).astype(np.float32, copy=False)
    return _Scales(base, image - base, np.square(base - median))


def _weigh(saliency_a: Image, saliency_b: Image) -> Image:
    """The weight of `a`'s detail; that of `b`'s is the rest to one."""
    total = saliency_a + saliency_b
    flat = total == 0
    return np.where(flat, HALF, saliency_a / np.where(flat, ONE, total))


@method(
    "tif",
    family="two-scale",
    reference="Bavirisetti, Dhuli 2016, doi 10.1016/j.infrared.2016.01.009",
    sets=("fast",),
)
def fuse_tif(a: Image, b: Image, *, window: int = WINDOW) -> Image:
    """The mean of the bases and the saliency-weighted mean of the details.

    Args:
        a, b: float32 `(H, W)` in [0, 1].
        window: side of the mean that makes the base, px.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave [0, 1].
    """
    of_a, of_b = _take_apart(a, window), _take_apart(b, window)
    weight = _weigh(of_a.saliency, of_b.saliency)
    return HALF * (of_a.base + of_b.base) + weight * of_a.detail + (ONE - weight) * of_b.detail
