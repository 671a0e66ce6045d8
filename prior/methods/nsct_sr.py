"""NSCT-SR: one level of a contourlet-type transform whose low band is fused by sparse codes, at full size.

Detail is what a low pass of half the bandwidth loses, shared among four directions. In each the source with the larger magnitude around
a pixel is kept, checked against its neighbours; the low band is taken patch by patch from the source that has the larger code in a
learned dictionary.

Reference: Y. Liu, S. Liu, Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse representation",
Information Fusion 24:147-164, 2015, doi 10.1016/j.inffus.2014.09.004; one level of four directions as in VIFB's program (the authors' has
four levels). Reconstructed: low pass and directions are smooth windows in frequency, and the bands are added up again, where the authors
have the filters of the contourlet toolbox.
Deviations: those of `prior.steps.sparse`; codes end at `MOST` atoms, a quarter of the time for nearly the same choice, and the patch that
is kept then differs from the sum of its atoms. The authors fuse the channels of a colour image one by one, where here the luma is fused.
A flat bright region has no code to speak of, so that the texture of the other source replaces it, by the rule itself and however many atoms
a code may have: patches at full size lie inside the region, where those of a pyramid's coarsest images reach beyond it (`lp_sr`).
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.nsct import decompose
from prior.steps.sparse import fuse_sparse, pick_consistent

MOST = 24  # atoms in a code


@method(
    "nsct_sr",
    family="sparse representation",
    reference="Liu, Liu, Wang 2015, doi 10.1016/j.inffus.2014.09.004",
    tasks=("infrared-visible", "multi-focus"),  # bone is flat: the larger code is that of the MRI's texture, which hollows it
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
    bands = decompose(np.stack([a, b]))
    fused = fuse_sparse(*next(bands), most=MOST)
    for detail_a, detail_b in bands:
        fused += pick_consistent(detail_a, detail_b)
    return fused
