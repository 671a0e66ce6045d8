"""RP-SR: a ratio pyramid whose coarsest images are fused by sparse codes.

Detail is the ratio of an image to its own smoothed version. At every scale the larger ratio is kept, the brighter detail, checked against
its neighbours; the coarsest image is taken patch by patch from the source that has the larger code in a learned dictionary.

Reference: Y. Liu, S. Liu, Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse representation",
Information Fusion 24:147-164, 2015, doi 10.1016/j.inffus.2014.09.004; four levels and the larger ratio, where Toet's pyramid keeps the
ratio further from one, as in the authors' program.
Deviations: those of `prior.steps.sparse`; every level is kept in the range of an image, since a ratio picked for a dark surround overshoots
on a bright one; small images have fewer levels, so that a patch fits into the coarsest. The authors fuse the channels of a colour image
one by one, where here the luma is fused.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.pyramid import build_gaussian, count_levels, double
from prior.steps.sparse import SIDE, fuse_sparse, pick_consistent

LEVELS = 4
FLOOR = np.float32(1e-6 / 255)  # light added to what is divided by


def _divide(level: Image, coarser: Image) -> Image:
    ratio: Image = level / (double(coarser, level.shape) + FLOOR)
    return ratio


@method(
    "rp_sr",
    family="sparse representation",
    reference="Liu, Liu, Wang 2015, doi 10.1016/j.inffus.2014.09.004",
    tasks=("multi-focus",),  # in the black of medical, infrared and underexposed images the ratio is that of noise
    reconstructed="the dictionary, learned from other photographs",
)
def fuse_rp_sr(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The larger ratio at every scale times the coarsest images, patch by patch the one with the larger sparse code.

    Args:
        a: one source, float32 `(H, W)` in [0, 1], 8 px high and wide at least.
        b: the other source, of the same size.
        levels: halvings of the size, fewer where the image is small.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    count = count_levels(a.shape, levels, smallest=SIDE)
    *fine_a, low_a = build_gaussian(a, count)
    *fine_b, low_b = build_gaussian(b, count)
    fused = fuse_sparse(low_a, low_b)
    for level_a, level_b in zip(reversed(fine_a), reversed(fine_b), strict=True):
        ratio = pick_consistent(_divide(level_a, low_a), _divide(level_b, low_b))
        fused = np.clip((double(fused, ratio.shape) + FLOOR) * ratio, 0, 1)
        low_a, low_b = level_a, level_b
    return fused
