"""LP-SR: a Laplacian pyramid whose coarsest images are fused by sparse codes instead of their mean, which would cost contrast.

Detail comes from the source with the larger magnitude around each pixel, checked against its neighbours; the coarsest image is taken
patch by patch from the source that has the larger code in a learned dictionary.

Reference: Y. Liu, S. Liu, Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse representation",
Information Fusion 24:147-164, 2015, doi 10.1016/j.inffus.2014.09.004; four levels as in the authors' program.
Deviations: those of `prior.steps.sparse`; small images have fewer levels, so that a patch fits into the coarsest. The authors fuse the
channels of a colour image one by one, where here the luma is fused.
"""

from prior.arrays import Image
from prior.registry import method
from prior.steps.pyramid import build_laplacian, collapse, count_levels
from prior.steps.sparse import SIDE, fuse_sparse, pick_consistent

LEVELS = 4


@method(
    "lp_sr",
    family="sparse representation",
    reference="Liu, Liu, Wang 2015, doi 10.1016/j.inffus.2014.09.004",
    tasks=("infrared-visible", "medical", "multi-focus"),
    reconstructed="the dictionary, learned from other photographs",
)
def fuse_lp_sr(a: Image, b: Image, *, levels: int = LEVELS) -> Image:
    """The stronger detail at every scale over the coarsest images, patch by patch the one with the larger sparse code.

    Args:
        a: one source, float32 `(H, W)` in [0, 1], 8 px high and wide at least.
        b: the other source, of the same size.
        levels: halvings of the size, fewer where the image is small.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    count = count_levels(a.shape, levels, smallest=SIDE)
    *details_a, low_a = build_laplacian(a, count)
    *details_b, low_b = build_laplacian(b, count)
    return collapse([*map(pick_consistent, details_a, details_b), fuse_sparse(low_a, low_b)])
