"""NSCT-SR: one level of a contourlet-type transform whose low band is fused by sparse codes, at full size.

Detail is what a low pass of half the bandwidth loses, shared among four directions. In each the source with the larger magnitude around
a pixel is kept, checked against its neighbours; the low band is taken patch by patch from the source that has the larger code in a
learned dictionary.

Reference: Y. Liu, S. Liu, Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse representation",
Information Fusion 24:147-164, 2015, doi 10.1016/j.inffus.2014.09.004; one level of four directions as in VIFB's program (the authors' has
four levels). Reconstructed: low pass and directions are smooth windows in frequency, and the bands are added up again, where the authors
have the filters of the contourlet toolbox.
Deviations: those of `prior.steps.sparse`; codes end at `MOST` atoms, a quarter of the time for nearly the same choice, and the
patch that is kept then differs from the sum of its atoms. The authors fuse the
channels of a colour image one by one, where here the luma is fused.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image
from prior.registry import method
from prior.steps.nsst import Layers, crop, mirror
from prior.steps.sparse import fuse_sparse, pick_consistent

DIRECTIONS = 4
PASSED, STOPPED = 0.25, 0.5  # cycles per px, along the axis of the higher frequency: the low pass falls between them
MOST = 24  # atoms in a code


def _rise(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A quarter of a cosine wave from 0 to 1 on [0, 1], squared: at x and at 1 - x they add up to one."""
    return np.sin(np.pi / 2 * np.clip(x, 0, 1)) ** 2


def _make_windows(shape: tuple[int, int]) -> Iterator[Image]:
    """The low pass and then the windows of all directions, on the half of the spectrum that a real image needs; they sum to one."""
    rows, columns = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    lost = _rise((np.maximum(np.abs(rows), columns) - PASSED) / (STOPPED - PASSED))
    yield (1 - lost).astype(np.float32)
    angle = np.arctan2(rows, columns)
    for direction in range(DIRECTIONS):
        turns = np.mod(angle * DIRECTIONS / np.pi - direction, DIRECTIONS)
        yield (lost * (1 - _rise(np.minimum(turns, DIRECTIONS - turns)))).astype(np.float32)


def _decompose(images: Layers) -> Iterator[Layers]:
    """The low bands of images `(..., H, W)`, then their details direction by direction; the images are their sum."""
    mirrored = mirror(images)
    shape = mirrored.shape[-2], mirrored.shape[-1]
    spectrum = fft.rfft2(mirrored)
    for window in _make_windows(shape):
        yield crop(fft.irfft2(spectrum * window, shape, overwrite_x=True), (images.shape[-2], images.shape[-1]))


@method(
    "nsct_sr",
    family="sparse representation",
    reference="Liu, Liu, Wang 2015, doi 10.1016/j.inffus.2014.09.004",
    tasks=("infrared-visible", "medical", "multi-focus"),
    cost="medium",
    reconstructed="the filters of the contourlet transform; the dictionary, learned from other photographs",
)
def fuse_nsct_sr(a: Image, b: Image) -> Image:
    """The stronger detail in every direction added to the low bands, patch by patch the one with the larger sparse code.

    Args:
        a: one source, float32 `(H, W)` in [0, 1], 8 px high and wide at least.
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    bands = _decompose(np.stack([a, b]))
    fused = fuse_sparse(*next(bands), most=MOST)
    for detail_a, detail_b in bands:
        fused += pick_consistent(detail_a, detail_b)
    return fused
