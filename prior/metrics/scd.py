"""The sum of the correlations of differences: whether what a candidate adds to one source is what the other source shows.

All sums are whole numbers and exact at any size of image, so a difference that is constant is known to be; only the root is rounded.

Reference: Aslantas, Bendes 2015, 10.1016/j.aeue.2015.09.004.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from prior.arrays import Picture
from prior.registry import metric
from prior.statistics import Fused, Sources


@dataclass(frozen=True, slots=True)
class Spread:
    """What is known of the two sources; each number is the number of pixels, squared, times a (co)variance.

    Attributes:
        sum_a, sum_b: the sums of the grey levels.
        aa, bb, ab: the variances and the covariance.
    """

    sum_a: int
    sum_b: int
    aa: int
    bb: int
    ab: int


@metric(
    "scd",
    better="higher",
    bounds=(-2, 2),
    reference="Aslantas, Bendes 2015, 10.1016/j.aeue.2015.09.004",
    definition="r(F - B, A) + r(F - A, B), r the correlation of Pearson over all pixels, on 0..255, signed",
)
def scd(fused: Fused) -> float:
    """Sum of the correlations of differences; nan where a source, or the candidate less a source, is constant."""
    x, pixels = fused.sources.once(_prepare), fused.image.size
    sum_f, squares_f = _sum_products(fused.image, fused.image)
    _, products_a = _sum_products(fused.image, fused.sources.a)
    _, products_b = _sum_products(fused.image, fused.sources.b)
    ff = pixels * squares_f - sum_f**2
    fa, fb = pixels * products_a - sum_f * x.sum_a, pixels * products_b - sum_f * x.sum_b
    return _correlate(fa - x.ab, ff + x.bb - 2 * fb, x.aa) + _correlate(fb - x.ab, ff + x.aa - 2 * fa, x.bb)


def _prepare(sources: Sources) -> Spread:
    pixels = sources.a.size
    sum_a, squares_a = _sum_products(sources.a, sources.a)
    sum_b, squares_b = _sum_products(sources.b, sources.b)
    _, products = _sum_products(sources.a, sources.b)
    aa, bb, ab = pixels * squares_a - sum_a**2, pixels * squares_b - sum_b**2, pixels * products - sum_a * sum_b
    return Spread(sum_a, sum_b, aa, bb, ab)


def _sum_products(x: Picture, y: Picture) -> tuple[int, int]:
    """The sum of x and the sum of x * y, as whole numbers of any size: their products overflow 64 bits from 17 megapixels on."""
    plain, products = _add_up(x, y)
    return int(plain), int(products)


def _correlate(covariance: int, variance_x: int, variance_y: int) -> float:
    if variance_x == 0 or variance_y == 0:
        return math.nan
    return covariance / (math.sqrt(variance_x) * math.sqrt(variance_y))


@njit(cache=True, nogil=True)
def _add_up(x, y):  # type: ignore[no-untyped-def]
    plain, products = np.int64(0), np.int64(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            plain += np.int64(x[i, j])
            products += np.int64(np.int32(x[i, j]) * np.int32(y[i, j]))
    return plain, products
