"""TIF: two scales; the coarse ones are averaged, the fine ones weighted by how much each source stands out from its surroundings.

A wide mean is the base, the rest is detail. A source is salient where its base and its median-filtered self differ; its share of the
two squared differences is the weight of its detail.

Reference: D. P. Bavirisetti, R. Dhuli, "Two-scale image fusion of visible and infrared images using saliency detection", Infrared
Physics and Technology 76:52-64, 2016, doi 10.1016/j.infrared.2016.01.009.
Deviations: the published program joins each border to the opposite one for the mean and takes black beyond it for the median; here
borders are mirrored, which changes a rim of 17 px. Where neither source is salient (0/0) the weights are equal.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method

WINDOW = 35  # px, side of the mean that makes the base
MEDIAN = 3  # px
HALF, ONE = np.float32(0.5), np.float32(1)


@dataclass(frozen=True, slots=True)
class _Scales:
    base: Image
    detail: Image
    saliency: Image


def _take_apart(image: Image, window: int) -> _Scales:
    base = cv2.boxFilter(image, -1, (window, window), borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)
    median = cv2.medianBlur(image, MEDIAN).astype(np.float32, copy=False)
    contrast = base - median
    return _Scales(base, image - base, contrast * contrast)


def _weigh(saliency_a: Image, saliency_b: Image) -> Image:
    """The weight of `a`'s detail; that of `b`'s is the rest to one."""
    total = saliency_a + saliency_b
    weight = np.full(total.shape, HALF, np.float32)
    np.divide(saliency_a, total, out=weight, where=total > 0)
    return weight


@method(
    "tif",
    family="two-scale",
    reference="Bavirisetti, Dhuli 2016, doi 10.1016/j.infrared.2016.01.009",
    sets=("fast",),
)
def fuse_tif(a: Image, b: Image, *, window: int = WINDOW) -> Image:
    """The mean of the bases and the saliency-weighted mean of the details.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        window: side of the mean that makes the base, px.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave [0, 1].
    """
    of_a, of_b = _take_apart(a, window), _take_apart(b, window)
    weight = _weigh(of_a.saliency, of_b.saliency)
    fused: Image = HALF * (of_a.base + of_b.base) + weight * of_a.detail + (ONE - weight) * of_b.detail
    return fused
