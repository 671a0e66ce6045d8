"""Laplacian pyramid: at every scale keep the stronger detail, at the coarsest keep the mean.

Each image is taken apart into what every halving of its size loses. The fused image is put together, coarse to fine, from the mean
of the two coarsest images and, at each scale, the detail of the source that is more active around the pixel.

Reference: P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans. Communications 31(4):532-540,
1983, doi 10.1109/TCOM.1983.1095851; activity as local energy: P. J. Burt, R. J. Kolczynski, "Enhanced image capture through
fusion", ICCV 1993, doi 10.1109/ICCV.1993.378222. Reconstructed: the rule of choice is common knowledge, the text was not at hand.
Deviations: the stronger detail is taken whole (no weighted mean of similar details); small images have fewer levels.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_stronger
from prior.steps.pyramid import build_laplacian, collapse, count_levels

LEVELS = 5
HALF = np.float32(0.5)


@method(
    "laplacian_pyramid",
    family="pyramid",
    reference="Burt, Adelson 1983, doi 10.1109/TCOM.1983.1095851",
    sets=("fast",),
    reconstructed="the rule of choice",
)
def fuse_laplacian_pyramid(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The stronger detail at every scale over the mean of the coarsest images.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        levels: halvings of the size, fewer where the image is small.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    count = count_levels(a.shape, levels)
    (*details_a, top_a), (*details_b, top_b) = build_laplacian(a, count), build_laplacian(b, count)
    return collapse([*map(pick_stronger, details_a, details_b), HALF * (top_a + top_b)])
