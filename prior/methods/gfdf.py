"""GFDF: guided filters find the regions in focus and bend their boundary to the edges of the fused image.

What a small mean takes away, filtered with its source as guide, says how sharp a source is. The sharper one takes whole regions; these,
filtered with what they fuse as guide, are the weights.

Reference: X. Qiu, M. Li, L. Zhang, X. Yuan, "Guided filter-based multi-focus image fusion through focus region detection", Signal
Processing: Image Communication 72:35-46, 2019, doi 10.1016/j.image.2018.12.004; constants from the authors' program.
Deviations: weights are kept inside [0, 1].
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.focus import Mask, remove_specks
from prior.steps.guided import Map, filter_guided

WINDOW = (7, 7)  # px, of the mean
RADIUS, EPS = 5, 0.3  # px, squared range: of both guided filters
SMALLEST = 0.01  # of the image, a region that counts


def _measure_focus(image: Image) -> Map:
    mean = cv2.boxFilter(image, -1, WINDOW, borderType=cv2.BORDER_REPLICATE)
    return filter_guided(image.astype(np.float64), np.abs(image - mean).astype(np.float64), RADIUS, EPS)


def _find_region(a: Image, b: Image, smallest: float) -> Mask:
    """Where `a` is in focus rather than `b`."""
    return remove_specks(_measure_focus(a) > _measure_focus(b), smallest * a.size)


@method(
    "gfdf",
    family="focus map",
    reference="Qiu, Li, Zhang, Yuan 2019, doi 10.1016/j.image.2018.12.004",
    tasks=("multi-focus",),
)
def fuse_gfdf(a: Image, b: Image, *, smallest: float = SMALLEST) -> Image:
    """The source in focus in large regions, with boundaries that follow the fused image.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        smallest: part of the image below which a region or a hole in one does not count.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    region = _find_region(a, b, smallest)
    weight = np.clip(filter_guided(np.where(region, a, b).astype(np.float64), region.astype(np.float64), RADIUS, EPS), 0, 1)
    return b + weight.astype(np.float32) * (a - b)
