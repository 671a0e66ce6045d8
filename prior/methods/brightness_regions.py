"""Brightness regions: whole regions of the brighter source, joined by a multi-resolution spline.

Warm targets, tissue with uptake and bone are what shines in one modality. Which source is brighter on average around a pixel says whose
region it is, so that dark detail inside a bright region stays, which a pixel-wise maximum would fill. The seams are joined scale by
scale: coarse ones over a wide zone, fine ones over a narrow one.

Reference: P. J. Burt, E. H. Adelson, "A multiresolution spline with application to image mosaics", ACM Trans. Graphics 2(4):217-236,
1983, doi 10.1145/245.247.
Reconstructed: the seams are the paper's, the rule that draws the regions is this project's.
Deviations: a pixel goes at most a quarter beyond the darker and the brighter source, so that what is black in both stays black.
Where one source is the brighter one pixel by pixel, too, that is `maximum`: on many real pairs the two differ by less than a grey level in
the mean (docs/methods.md), and what wins there is hardly more than `maximum`.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.pyramid import blend_scales, count_levels
from prior.steps.smoothing import blur_wide
from prior.steps.solve import keep_between

SIGMA = 4.0  # px, of the Gaussian window in which brightness is averaged
LEVELS = 3
ROOM = 0.25  # beyond the darker and the brighter source, as a part of it


def _choose(a: Image, b: Image, sigma: float) -> Image:
    """One where `a` is brighter around, zero where `b` is, one half on a tie."""
    choice: Image = np.float32(0.5) + np.float32(0.5) * np.sign(blur_wide(a, sigma) - blur_wide(b, sigma))
    return choice


@method(
    "brightness_regions",
    family="region",
    reference="Burt, Adelson 1983, doi 10.1145/245.247",
    tasks=("infrared-visible", "medical"),
    reconstructed="the rule that draws the regions",
)
def fuse_brightness_regions(a: Image, b: Image, *, sigma: float = SIGMA, levels: int = LEVELS, room: float = ROOM) -> Image:
    """The regions in which each source is the brighter one.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        sigma: of the window in which brightness is averaged, px.
        levels: scales at which the seams are joined, fewer where the image is small.
        room: how far a pixel may go beyond the darker and the brighter source, as a part of it.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    blended = blend_scales(a, b, _choose(a, b, sigma), count_levels(a.shape, levels))
    return keep_between(blended, a, b, room)
