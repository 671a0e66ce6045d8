"""Wavelet: in every detail band of a discrete wavelet transform keep the larger coefficient, in the coarsest approximation the mean.

The transform is PyWavelets' decimated one; spline wavelets are symmetric, so that edges stay where they are.

Reference: H. Li, B. S. Manjunath, S. K. Mitra, "Multisensor image fusion using the wavelet transform",
Graphical Models and Image Processing 57(3):235-245, 1995, doi 10.1006/gmip.1995.1022. Reconstructed: the text was not at hand.
Deviations: coefficients are compared one by one, without the paper's area rule and consistency check.
"""

import numpy as np
import pywt

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_larger

LEVELS = 4
WAVELET = "bior2.2"
BORDER = "symmetric"
HALF = np.float32(0.5)


def _count_levels(shape: tuple[int, ...], levels: int) -> int:
    """As many levels as asked for, but none in which the filter is longer than the image."""
    return min(levels, int(pywt.dwt_max_level(min(shape), WAVELET)))


@method(
    "wavelet",
    family="wavelet",
    reference="Li, Manjunath, Mitra 1995, doi 10.1006/gmip.1995.1022",
    sets=("fast",),
    reconstructed="the rule without its area and consistency check",
)
def fuse_wavelet(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The larger coefficient in every detail band of a biorthogonal spline wavelet transform.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: scales of the transform; fewer on small images.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    depth = _count_levels(a.shape, levels)
    (base_a, *details_a), (base_b, *details_b) = (pywt.wavedec2(image, WAVELET, BORDER, depth) for image in (a, b))
    details = [
        tuple(pick_larger(band_a, band_b) for band_a, band_b in zip(bands_a, bands_b, strict=True))
        for bands_a, bands_b in zip(details_a, details_b, strict=True)
    ]
    fused = pywt.waverec2([HALF * (base_a + base_b), *details], WAVELET, BORDER)
    height, width = a.shape  # an odd side comes back one longer
    return np.ascontiguousarray(fused[:height, :width], dtype=np.float32)
