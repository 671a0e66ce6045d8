"""Contrast pyramid: pixel by pixel and at every scale the larger contrast, on the brighter of the two coarsest images.

Contrast is Weber's: how much an image differs from its own smoothed version, as a share of that one. The fused image is multiplied up from
the pixelwise maximum of the coarsest images, so that what glows in one source alone (heat, uptake) stays as bright as it is.

Reference: A. Toet, L. J. van Ruyven, J. M. Valeton, "Merging thermal and visual images by a contrast pyramid", Optical Engineering
28(7):789-792, 1989, doi 10.1117/12.7977034. Reconstructed: the text was not at hand; the rule of the coarsest images, the number of scales
and the floor are chosen here.
Deviations: `FLOOR` is added to the light first and taken off last, so that noise in the dark is not taken for contrast and black stays
defined; every level is kept in the range of an image; small images have fewer levels. The method `ratio_pyramid` has the same contrast, but
compares its energy in 3x3 px, has a lower floor, and averages the coarsest images.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_larger
from prior.steps.pyramid import count_levels, fuse_contrasts

LEVELS = 4
FLOOR = np.float32(128 / 255)  # light at which contrast counts half of what it would without a floor


@method(
    "contrast_pyramid",
    family="pyramid",
    reference="Toet, van Ruyven, Valeton 1989, doi 10.1117/12.7977034",
    tasks=("infrared-visible", "medical", "multi-focus"),  # the brighter of the coarsest images is the overexposed one
    reconstructed="coarsest level's rule, number of scales, floor",
)
def fuse_contrast_pyramid(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The larger contrast at every scale times the brighter of the coarsest images.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: halvings of the size, fewer where the image is small.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return fuse_contrasts(a, b, count_levels(a.shape, levels), FLOOR, pick_larger, np.maximum)
