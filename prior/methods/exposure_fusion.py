"""Exposure fusion: at every pixel the source with more contrast and the better exposure, blended scale by scale.

A source counts by its local contrast and by how near its grey levels are to the middle of the range. Its Laplacian pyramid is
multiplied with the Gaussian pyramid of these weights, so that changes of brightness are spread over the scale they belong to.

Reference: T. Mertens, J. Kautz, F. Van Reeth, "Exposure fusion: a simple and practical alternative to high dynamic range photography",
Computer Graphics Forum 28(1):161-171, 2009, doi 10.1111/j.1467-8659.2008.01171.x.
Deviations: luma alone, so that the saturation of colours does not count (they are joined outside).
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.pyramid import blend_scales

MIDDLE, SIGMA = 0.5, 0.2  # of the range: the best exposure, and how far from it a level still counts
CONTRAST, EXPOSURE = 1.0, 1.0  # exponents of the two measures
ROUNDING = 1e-6  # of a Laplacian: less is no contrast, or rounding would share out flat areas
NEVER_ZERO = 1e-12  # two weights of zero become one half each


def _measure_contrast(image: Image) -> Image:
    contrast = np.abs(cv2.Laplacian(image, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    return np.where(contrast > ROUNDING, contrast, np.float32(0))


def _measure_exposure(image: Image) -> Image:
    exposure: Image = np.exp(-0.5 * ((image - np.float32(MIDDLE)) / np.float32(SIGMA)) ** 2)
    return exposure


def _weigh(a: Image, b: Image, contrast: float, exposure: float) -> Image:
    """The weight of `a`; that of `b` is the rest to one."""
    weight_a, weight_b = (
        _measure_contrast(image).astype(np.float64) ** contrast * _measure_exposure(image) ** exposure + NEVER_ZERO for image in (a, b)
    )
    return (weight_a / (weight_a + weight_b)).astype(np.float32)


@method(
    "exposure_fusion",
    family="pyramid",
    reference="Mertens, Kautz, Van Reeth 2009, doi 10.1111/j.1467-8659.2008.01171.x",
    tasks=("multi-exposure",),
)
def fuse_exposure_fusion(a: Image, b: Image, *, contrast: float = CONTRAST, exposure: float = EXPOSURE) -> Image:
    """The pyramids of both sources, weighted by contrast and exposure.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        contrast: exponent of the local contrast; 0 to leave it out.
        exposure: exponent of the exposure; 0 to leave it out.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave [0, 1].
    """
    count = min(a.shape).bit_length() - 1  # down to a shorter side of 1 px, as OpenCV's
    return blend_scales(a, b, _weigh(a, b, contrast, exposure), count)
