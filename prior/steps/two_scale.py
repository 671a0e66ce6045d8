"""Two scales fused: the bases averaged, the details weighted for the whole image by their first principal component.

Methods that do so differ in how they smooth an image to its base; the rest of the image is its detail.
"""

import numpy as np

from prior.arrays import Image
from prior.steps.principal import weigh_by_variance

HALF = np.float32(0.5)


def fuse_principal_details(a: Image, b: Image, base_a: Image, base_b: Image) -> Image:
    """The mean of the bases and the details in the proportion of their first principal component.

    Args:
        a: one source, float32 `(H, W)`.
        b: the other source, of the same size.
        base_a: `a` smoothed.
        base_b: `b` smoothed.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave the range of the sources.
    """
    detail_a, detail_b = a - base_a, b - base_b
    weight = np.float32(weigh_by_variance(detail_a, detail_b))
    fused: Image = HALF * (base_a + base_b) + weight * detail_a + (np.float32(1) - weight) * detail_b
    return fused
