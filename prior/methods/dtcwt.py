"""DTCWT: the coefficient of larger magnitude in every direction and scale of a dual-tree complex wavelet transform.

The magnitude of a complex coefficient says how much detail there is, and hardly where its crests lie, as the size of a real one does:
neighbouring choices agree more, and fewer edges are put together of both sources. The coarse images are averaged.

Reference: J. J. Lewis, R. J. O'Callaghan, S. G. Nikolov, D. R. Bull, N. Canagarajah, "Pixel- and region-based image fusion with complex
wavelets", Information Fusion 8(2):119-130, 2007, doi 10.1016/j.inffus.2005.09.006: the pixel-based one. Reconstructed: the text was not at
hand; filters are the usual ones, six scales are chosen here.
Deviations: small images have fewer scales.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.dtcwt import Bands, Stack, decompose, reconstruct
from prior.steps.pyramid import count_levels

LEVELS = 6
HALF = np.float32(0.5)


def _measure_power(bands: Stack) -> Image:
    power: Image = bands.real**2 + bands.imag**2
    return power


def _pick_longer(a: Stack, b: Stack) -> Stack:
    """The coefficient of larger magnitude, the mean of two that are equally large."""
    power_a, power_b = _measure_power(a), _measure_power(b)
    return np.where(power_a > power_b, a, np.where(power_a < power_b, b, HALF * (a + b)))


@method(
    "dtcwt",
    family="wavelet",
    reference="Lewis, O'Callaghan, Nikolov, Bull, Canagarajah 2007, doi 10.1016/j.inffus.2005.09.006",
    reconstructed="filters, number of scales",
)
def fuse_dtcwt(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The larger complex coefficient of every band and the mean of the coarse images.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: scales of the transform, one at least; fewer on small images.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    depth = max(count_levels(a.shape, levels), 1)
    of_a, of_b = decompose(a, depth), decompose(b, depth)
    details = tuple(_pick_longer(bands_a, bands_b) for bands_a, bands_b in zip(of_a.details, of_b.details, strict=True))
    return reconstruct(Bands(HALF * (of_a.low + of_b.low), details, of_a.shape))
