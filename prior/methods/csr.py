"""CSR: details as sparse codes of learned filters; around each pixel the codes of the source that has more of them are kept.

The base is what a screened smoothing leaves, averaged. The detail is coded over the whole image at once, not patch by patch, so that
a structure has one code wherever it lies; the sum of code magnitudes, averaged over a window, says whose codes stay.

Reference: Y. Liu, X. Chen, R. K. Ward, Z. J. Wang, "Image fusion with convolutional sparse representation", IEEE Signal Processing
Letters 23(12):1882-1886, 2016, doi 10.1109/LSP.2016.2618776; constants of the authors' program for images of several modalities.
Deviations: the 32 filters are learned anew (prior/learning/learn_filters.py); 20 iterations, not up to 500: the objective is then within
four per cent of its least; codes lie in the middle of their filters, not at a corner; images of more
than 1400 px are fused in overlapping tiles. Detail that no code holds is left out, as in
the paper: the method denoises, and of two equal sources fuses that source without its finest noise.
"""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from prior import weights
from prior.arrays import Image
from prior.registry import method
from prior.steps.coding import blend_filters, crop, find_codes, shrink_each
from prior.steps.solve import solve_screened
from prior.steps.tiles import fuse_in_tiles

SMOOTHING = 5.0  # px², of the base
SPARSITY = 0.01  # lambda, of details in [-1, 1]
PENALTY = 100 * SPARSITY + 0.5  # rho
ITERATIONS = 20
RADIUS = 3  # px, of the window that activity is averaged over


def _measure_activity(codes: NDArray[np.float32], radius: int) -> Image:
    """The magnitudes of all codes `(M, H, W)` of a pixel, averaged over its window."""
    side = 2 * radius + 1
    activity: Image = cv2.boxFilter(np.abs(codes).sum(axis=0), -1, (side, side)).astype(np.float32, copy=False)
    return activity


def _fuse_tile(a: Image, b: Image, sparsity: float, iterations: int, radius: int) -> Image:
    filters = weights.load("coding_filters")
    base_a, base_b = (solve_screened(image, SMOOTHING) for image in (a, b))
    codes_a, codes_b = (
        find_codes(detail[None], filters, shrink_each(sparsity / PENALTY), penalty=PENALTY, iterations=iterations)[0]
        for detail in (a - base_a, b - base_b)
    )
    chosen = _measure_activity(codes_a, radius) > _measure_activity(codes_b, radius)
    detail = blend_filters(np.where(chosen, codes_a, codes_b), filters)
    return np.float32(0.5) * (base_a + base_b) + crop(detail, (a.shape[0], a.shape[1]))


@method(
    "csr",
    family="convolutional sparse coding",
    reference="Liu, Chen, Ward, Wang 2016, doi 10.1109/LSP.2016.2618776",
    reconstructed="the filters, learned from other photographs",
    idempotent=False,
    tasks=("infrared-visible", "medical"),
    cost="heavy",
)
def fuse_csr(a: Image, b: Image, *, sparsity: float = SPARSITY, iterations: int = ITERATIONS, radius: int = RADIUS) -> Image:
    """Codes of the more active source, on the mean of the bases.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        sparsity: the price of a code's magnitude beside that of half a squared error.
        iterations: of the search for the codes.
        radius: of the window of the activity, px.

    Returns:
        float32 `(H, W)`; detail of one source on the base of both may leave [0, 1].
    """
    return fuse_in_tiles(functools.partial(_fuse_tile, sparsity=sparsity, iterations=iterations, radius=radius), a, b)
