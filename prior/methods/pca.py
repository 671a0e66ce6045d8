"""PCA: one weighted mean for the whole image, with the weights of the first principal component.

The two sources are the two coordinates of every pixel; the direction of largest variance through that cloud says how much of each
source to take, so the source with more contrast counts more.

Reference: V. P. S. Naidu, J. R. Raol, "Pixel-level image fusion using wavelets and principal component analysis", Defence Science
Journal 58(3):338-352, 2008, doi 10.14429/dsj.58.1653. Reconstructed: the text was not at hand.
Deviations: where the sources are negatively correlated the direction has mixed signs, and weights made from it would extrapolate or
divide by nearly zero; its magnitudes are taken instead. Where no direction stands out (two flat images) the weights are equal.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.principal import weigh_by_variance


@method(
    "pca",
    family="statistical",
    reference="Naidu, Raol 2008, doi 10.14429/dsj.58.1653",
    sets=("fast",),
    reconstructed="the formulae, as they are commonly given",
)
def fuse_pca(a: Image, b: Image) -> Image:
    """The weighted mean of the sources along their first principal component.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    weight = np.float32(weigh_by_variance(a, b))
    return weight * a + (np.float32(1) - weight) * b
