"""Ratio pyramid: at every scale keep the stronger contrast, so that dark and bright parts of a scene count alike.

Detail is the ratio of an image to its own smoothed version, less one: Weber's local contrast. The fused image is multiplied up,
coarse to fine, from the mean of the two coarsest images and, at each scale, the stronger contrast around the pixel.

Reference: A. Toet, "Image fusion by a ratio of low-pass pyramid", Pattern Recognition Letters 9(4):245-253, 1989,
doi 10.1016/0167-8655(89)90003-2. Reconstructed: the text was not at hand.
Deviations: `FLOOR` is added to the light first and taken off last, so that noise in the dark is not taken for contrast and black stays
defined; every level is kept in the range of an image, since contrast picked for a dark surround overshoots on a bright one; contrast
is compared by its energy in 3x3 px; small images have fewer levels.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_stronger
from prior.steps.pyramid import count_levels, fuse_contrasts

LEVELS = 5
FLOOR = np.float32(32 / 255)  # light below which contrast fades
HALF = np.float32(0.5)


def _average(a: Image, b: Image) -> Image:
    return HALF * (a + b)


@method(
    "ratio_pyramid",
    family="pyramid",
    reference="Toet 1989, doi 10.1016/0167-8655(89)90003-2",
    sets=("fast",),
    reconstructed="the rule of choice, the floor",
)
def fuse_ratio_pyramid(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The stronger contrast at every scale times the mean of the coarsest images.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: halvings of the size, fewer where the image is small.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return fuse_contrasts(a, b, count_levels(a.shape, levels), FLOOR, pick_stronger, _average)
