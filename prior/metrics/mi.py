"""Mutual information of a candidate and its two sources: how much the grey level in one tells of the grey level in the other.

Joint histograms of the 8-bit levels as they are, one bin per level. With whole counts n, N pixels and s(n) = n log2 n the definition is
log2 N + (sum of s over the joint histogram - sums of s over the two histograms) / N; only the logarithms are rounded.

Reference: Qu, Zhang, Yan 2002, 10.1049/el:20020212.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused

MOST = 8.0  # bits in a grey level

Counts = NDArray[np.int64]


@metric_of_sources(
    "mi",
    "sum",
    better="higher",
    bounds=(0, MOST),
    reference="Qu, Zhang, Yan 2002, 10.1049/el:20020212",
    definition="sum p(x,f) log2(p(x,f) / (p(x) p(f))) over 256 x 256 bins of 8-bit levels, in bits",
    passport=Passport(
        title="mutual information",
        symbol="MI",
        meaning="How much the grey level of the fused image tells of the grey levels of the sources.",
        combination="sum",
        dynamic_range="0..255, one bin per level, as they are",
        undefined="never; 0 where the fused image or a source is constant",
        noise="falls",
        blur="falls",
        golden="MI(log2,raw)",
        differences=(
            Difference("Diff-IF", "natural logarithm", "c04: 1.796, not 2.592"),
            Difference(
                "VIFB", "natural logarithm, each image stretched to 0..255 first", "a factor of 0.69 and the bins that the stretching moves"
            ),
            Difference("Linfeng Tang (MATLAB)", "levels 254 and 255 share a bin of the joint histogram", "c04: + 0.014"),
            Difference("bfliu7 (Python)", "a Kullback-Leibler divergence under this name", "c04: 2.624, not 2.592"),
        ),
    ),
)
def compare_levels(fused: Fused) -> tuple[float, float]:
    """Mutual information of the candidate with source a and with source b, in bits; 0 where either is constant."""
    of_a, of_b = _count_levels(fused.sources.a, fused.sources.b, fused.image)
    return _measure(of_a), _measure(of_b)


def _measure(joint: Counts) -> float:
    """The mutual information in a joint histogram; what rounding leaves below 0 is 0."""
    pixels = int(joint.sum())
    shared = _sum_logs(joint.ravel()) - _sum_logs(joint.sum(axis=0)) - _sum_logs(joint.sum(axis=1))
    return max(0.0, math.log2(pixels) + shared / pixels)


def _sum_logs(counts: Counts) -> float:
    """The sum of n log2 n."""
    present = counts[counts > 0]
    return float((present * np.log2(present)).sum())


@njit(cache=True, nogil=True)
def _count_levels(a, b, f):  # type: ignore[no-untyped-def]
    """The joint histograms of a candidate with either source, rows by the source's level."""
    of_a, of_b = np.zeros((256, 256), np.int64), np.zeros((256, 256), np.int64)
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            of_a[a[i, j], f[i, j]] += 1
            of_b[b[i, j], f[i, j]] += 1
    return of_a, of_b
