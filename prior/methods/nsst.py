"""NSST: of every direction of every scale keep the larger coefficient, of the low band the mean.

A non-subsampled shearlet transform (NSST) takes the sources apart by scale and direction, so that an edge of one source competes only with
edges that run the same way in the other one; nothing is subsampled, so that the choice does not jump with the position of an edge.

Reference: transform: G. Easley, D. Labate, W.-Q. Lim, "Sparse directional image representations using the discrete shearlet transform",
Applied and Computational Harmonic Analysis 25(1):25-46, 2008, doi 10.1016/j.acha.2007.09.003. Reconstructed: the rule is the common
baseline of the papers on fusion with this transform; the transform is of NSST type (`prior.steps.nsst`).
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_larger
from prior.steps.nsst import DIRECTIONS, combine

HALF = np.float32(0.5)


def _take_mean(a: Image, b: Image) -> Image:
    return HALF * (a + b)


@method(
    "nsst",
    family="shearlet",
    reference="Easley, Labate, Lim 2008, doi 10.1016/j.acha.2007.09.003",
    reconstructed="the transform's filters; the rule is the common baseline",
)
def fuse_nsst(a: Image, b: Image, *, directions: tuple[int, ...] = DIRECTIONS) -> Image:
    """The larger coefficient of every detail band over the mean of the low bands.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        directions: of each scale, coarse to fine.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    return combine(a, b, _take_mean, pick_larger, directions)
