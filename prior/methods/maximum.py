"""Maximum: each pixel is the brighter one of the two sources.

Keeps hot targets and lit structure at full strength and loses whatever is dark in front of something bright.
It is what many trained fusion networks imitate, so it belongs among the yardsticks.

Reference: H. B. Mitchell, "Image Fusion: Theories, Techniques and Applications", Springer 2010, doi 10.1007/978-3-642-11216-4.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method


@method("maximum", family="pixel", reference="Mitchell 2010, doi 10.1007/978-3-642-11216-4", sets=("fast",))
def fuse_maximum(a: Image, b: Image) -> Image:
    """The brighter pixel of the two sources.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return np.maximum(a, b)
