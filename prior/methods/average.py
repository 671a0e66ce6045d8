"""Average: each pixel is the mean of the two sources.

The plainest fusion there is: no artefacts, half the contrast of what only one source sees.
It is the yardstick that every other method has to beat, and the way out where nothing better is defined.

Reference: H. B. Mitchell, "Image Fusion: Theories, Techniques and Applications", Springer 2010, doi 10.1007/978-3-642-11216-4.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method

HALF = np.float32(0.5)


@method("average", family="pixel", reference="Mitchell 2010, doi 10.1007/978-3-642-11216-4", sets=("fast",))
def fuse_average(a: Image, b: Image) -> Image:
    """The mean of the two sources.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return HALF * (a + b)
