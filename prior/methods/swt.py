"""SWT: the larger coefficient in every band of a stationary wavelet transform.

The transform leaves out the halving of the wavelet transform, so that every band is as large as the image and moves with it: coefficients
are chosen without the stair-steps and the flicker that a choice among halved bands leaves along edges. The coarse images are averaged.

Reference: O. Rockinger, "Image sequence fusion using a shift-invariant wavelet transform", ICIP 1997, doi 10.1109/ICIP.1997.632093.
Reconstructed: the text was not at hand; wavelet and number of scales are chosen here.
Deviations: the image is mirrored to a size that the scales divide, with a rim that keeps its borders from joining the opposite ones.
"""

from typing import Any

import cv2
import numpy as np
import pywt

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_larger
from prior.steps.pyramid import count_levels

LEVELS = 5
WAVELET = "haar"  # the shortest: least ringing at edges, which a black background shows most
HALF = np.float32(0.5)


def _count_rim(levels: int) -> int:
    """Mirrored pixels on every side: as far as the coarsest scale reaches, and what its step is."""
    return int(2**levels)


def _decompose(image: Image, levels: int) -> list[Any]:
    """The coarse image, then the three bands of every scale, coarse to fine, all of the mirrored image."""
    rim = _count_rim(levels)
    height, width = image.shape
    mirrored = cv2.copyMakeBorder(image, rim, rim + -height % rim, rim, rim + -width % rim, cv2.BORDER_REFLECT_101)
    bands: list[Any] = pywt.swt2(mirrored, WAVELET, levels, trim_approx=True)
    return bands


@method(
    "swt",
    family="wavelet",
    reference="Rockinger 1997, doi 10.1109/ICIP.1997.632093",
    reconstructed="wavelet, number of scales",
)
def fuse_swt(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The larger coefficient of every band and the mean of the coarse images.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: scales of the transform, one at least; fewer on small images.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    depth = max(count_levels(a.shape, levels), 1)
    (low_a, *details_a), (low_b, *details_b) = (_decompose(image, depth) for image in (a, b))
    details = [
        tuple(pick_larger(band_a, band_b) for band_a, band_b in zip(bands_a, bands_b, strict=True))
        for bands_a, bands_b in zip(details_a, details_b, strict=True)
    ]
    fused, rim = pywt.iswt2([HALF * (low_a + low_b), *details], WAVELET), _count_rim(depth)
    return np.ascontiguousarray(fused[rim : rim + a.shape[0], rim : rim + a.shape[1]], dtype=np.float32)
