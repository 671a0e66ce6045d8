"""GFF: two scales, with weights from local contrast that a guided filter fits to the edges of their source.

Every pixel first belongs wholly to the source with more local contrast. Filtered with its source as guide, this map becomes smooth
weights for the base (wide window, strong smoothing) and sharp weights for the detail (narrow window, hardly any smoothing).

Reference: S. Li, X. Kang, J. Hu, "Image fusion with guided filtering", IEEE Trans. Image Processing 22(7):2864-2875, 2013,
doi 10.1109/TIP.2013.2244222.
Deviations: weights are not rounded to 8 bits; where both sources have the same contrast each gets one half, not the first one all.
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import mix
from prior.steps.guided import Map, filter_guided

BASE_WINDOW = (31, 31)  # px, of the mean that makes the base
SALIENCY_WINDOW, SALIENCY_SIGMA = (11, 11), 5.0  # px
BASE_RADIUS, BASE_EPS = 45, 0.3  # guided filter of the base weights: px, squared range
DETAIL_RADIUS, DETAIL_EPS = 7, 1e-6  # of the detail weights
NEVER_ZERO = 1e-12  # two weights of zero become one half each


def _find_base(image: Image) -> Image:
    return cv2.boxFilter(image, -1, BASE_WINDOW, borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)


def _measure_saliency(image: Image) -> Image:
    """Local contrast: the magnitude of the Laplacian, smoothed."""
    edges = np.abs(cv2.Laplacian(image, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    return cv2.GaussianBlur(edges, SALIENCY_WINDOW, SALIENCY_SIGMA, borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)


def _choose(a: Image, b: Image) -> Map:
    """One where `a` is more salient, zero where `b` is, one half on a tie."""
    return 0.5 + 0.5 * np.sign(_measure_saliency(a).astype(np.float64) - _measure_saliency(b))


def _weigh(a: Map, b: Map, choice: Map, radius: int, eps: float) -> Image:
    """The weight of `a`; that of `b` is the rest to one."""
    weight_a = np.clip(filter_guided(a, choice, radius, eps), 0, 1) + NEVER_ZERO
    weight_b = np.clip(filter_guided(b, 1 - choice, radius, eps), 0, 1) + NEVER_ZERO
    return (weight_a / (weight_a + weight_b)).astype(np.float32)


@method("gff", family="guided filter", reference="Li, Kang, Hu 2013, doi 10.1109/TIP.2013.2244222", sets=("fast",))
def fuse_gff(
    a: Image,
    b: Image,
    *,
    base_radius: int = BASE_RADIUS,
    base_eps: float = BASE_EPS,
    detail_radius: int = DETAIL_RADIUS,
    detail_eps: float = DETAIL_EPS,
) -> Image:
    """Bases and details mixed with guided-filtered weights.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        base_radius: of the guided filter that makes the base's weights, px.
        base_eps: its smoothing, squared range.
        detail_radius: of the one that makes the detail's weights, px.
        detail_eps: its smoothing, squared range.

    Returns:
        float32 `(H, W)`; detail of one source on the base of the other may leave [0, 1].
    """
    guide_a, guide_b, choice = a.astype(np.float64), b.astype(np.float64), _choose(a, b)
    base_a, base_b = _find_base(a), _find_base(b)
    base = mix(base_a, base_b, _weigh(guide_a, guide_b, choice, base_radius, base_eps))
    return base + mix(a - base_a, b - base_b, _weigh(guide_a, guide_b, choice, detail_radius, detail_eps))
