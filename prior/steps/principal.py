"""One weight for two whole images from their first principal component: the one that varies more counts more."""

import math

import numpy as np

from prior.arrays import Image


def weigh_by_variance(a: Image, b: Image) -> float:
    """The weight of `a`, in [0, 1]; that of `b` is the rest to one.

    It is the first coordinate of the leading eigenvector of the 2x2 covariance of the pixels, over the sum of both. Where the images are
    negatively correlated its coordinates have opposite signs and a weight made from them would extrapolate: magnitudes are taken.

    Args:
        a: float32 `(H, W)`, of any range.
        b: of the same shape.

    Returns:
        0.5 where no direction stands out, such as for two flat images.
    """
    return _weigh(*_measure_covariance(a, b))


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
