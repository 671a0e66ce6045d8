"""PCA: one weighted mean for the whole image, with the weights of the first principal component.

The two sources are the two coordinates of every pixel; the direction of largest variance through that cloud says how much of each
source to take, so the source with more contrast counts more.

Reference: V. P. S. Naidu, J. R. Raol, "Pixel-level image fusion using wavelets and principal component analysis", Defence Science
Journal 58(3):338-352, 2008, doi 10.14429/dsj.58.1653. Reconstructed: the text was not at hand.
Deviations: where the sources are negatively correlated the direction has mixed signs, and weights made from it would extrapolate or
divide by nearly zero; its magnitudes are taken instead. Where no direction stands out (two flat images) the weights are equal.
"""

import math

import numpy as np

from prior.arrays import Image
from prior.registry import method


def _measure_covariance(a: Image, b: Image) -> tuple[float, float, float]:
    """The variances of `a` and `b` and their covariance."""
    deviation_a = a - np.mean(a, dtype=np.float64).astype(np.float32)
    deviation_b = b - np.mean(b, dtype=np.float64).astype(np.float32)
    products = (deviation_a * deviation_a, deviation_b * deviation_b, deviation_a * deviation_b)
    variance_a, variance_b, covariance = (float(np.mean(product, dtype=np.float64)) for product in products)
    return variance_a, variance_b, covariance


def _weigh(variance_a: float, variance_b: float, covariance: float) -> float:
    """The weight of `a`; that of `b` is the rest to one."""
    if covariance == 0 and variance_a == variance_b:
        return 0.5
    angle = 0.5 * math.atan2(2 * covariance, variance_a - variance_b)  # of the leading eigenvector of a symmetric 2x2 matrix
    along_a, along_b = abs(math.cos(angle)), abs(math.sin(angle))
    return along_a / (along_a + along_b)


@method("pca", family="statistical", reference="Naidu, Raol 2008, doi 10.14429/dsj.58.1653", sets=("fast",))
def fuse_pca(a: Image, b: Image) -> Image:
    """The weighted mean of the sources along their first principal component.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    weight = np.float32(_weigh(*_measure_covariance(a, b)))
    return weight * a + (np.float32(1) - weight) * b
