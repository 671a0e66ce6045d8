"""The grey levels of a pair and of its candidate, counted alone and together: what the metrics of information and of error follow from.

One pass over the pixels per pair of images. Counts and sums are whole numbers and exact, so nothing that follows from them depends on the
order of the pixels; with s(n) = n log2 n and N pixels the entropy is log2 N - (sum of s) / N, and only logarithms are rounded.

Stretching the levels to 0..255, as Liu et al. 2012 do first, never moves two levels onto one: their steps only grow. Entropies and
information do not ask which level stands for which, so they are those of the stretched images too, wherever these are defined.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.statistics import Fused, Sources

Counts = NDArray[np.int64]

_VALUES = np.arange(256)


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """The grey levels of one image.

    Attributes:
        counts: int64 `(256,)`, the pixels of every level.
        pixels: all of them.
        low: the lowest level that occurs.
        high: the highest.
        total: the sum of the levels.
        squares: the sum of their squares.
        logs: the sum of n log2 n over the counts.
    """

    counts: Counts
    pixels: int
    low: int
    high: int
    total: int
    squares: int
    logs: float

    @property
    def entropy(self) -> float:
        """In bits; exactly 0 where the image is constant."""
        return 0.0 if self.constant else max(0.0, math.log2(self.pixels) - self.logs / self.pixels)

    @property
    def variance(self) -> int:
        """Of the population, times the number of pixels squared."""
        return self.pixels * self.squares - self.total**2

    @property
    def constant(self) -> bool:
        """Whether they are a single one."""
        return self.low == self.high

    @property
    def stretches(self) -> bool:
        """Whether they can be stretched to 0..255: not where they are a single one, unless it is black."""
        return not self.constant or self.high == 0


@dataclass(frozen=True, slots=True)
class Joint:
    """The grey levels of two images x and y at the same pixels: the joint histogram without its empty bins.

    Attributes:
        x: the levels of the first image alone.
        y: the levels of the second.
        of_x: intp `(K,)`, the level of x in every bin, rising.
        of_y: intp `(K,)`, the level of y, rising where that of x is the same.
        counts: int64 `(K,)`, the pixels in every bin, 1 at least.
        products: the sum of x * y over the pixels.
    """

    x: LevelCounts
    y: LevelCounts
    of_x: NDArray[np.intp]
    of_y: NDArray[np.intp]
    counts: Counts
    products: int

    @property
    def covariance(self) -> int:
        """Of the population, times the number of pixels squared."""
        return self.x.pixels * self.products - self.x.total * self.y.total

    @property
    def squared_errors(self) -> int:
        """The sum of (x - y)^2 over the pixels."""
        return self.x.squares - 2 * self.products + self.y.squares

    @property
    def correlation(self) -> float:
        """Of Pearson; nan where either image is constant."""
        return divide_root(self.covariance, self.x.variance, self.y.variance)


def count_sources(sources: Sources) -> Joint:
    """The levels of source a and source b; for `sources.once`."""
    counts = _count(sources.a, sources.b)
    return _join(counts, _describe(counts.sum(axis=1)), _describe(counts.sum(axis=0)))


def count_candidate(fused: Fused) -> tuple[Joint, Joint]:
    """The levels of source a and of source b, each with the candidate's; for `fused.once`."""
    of_sources = fused.sources.once(count_sources)
    with_a, with_b = _count(fused.sources.a, fused.image), _count(fused.sources.b, fused.image)
    of_f = _describe(with_a.sum(axis=0))
    return _join(with_a, of_sources.x, of_f), _join(with_b, of_sources.y, of_f)


def inform_sources(sources: Sources) -> float:
    """The mutual information of the two sources in bits; for `sources.once`."""
    return _inform(sources.once(count_sources))


def inform_candidate(fused: Fused) -> tuple[float, float]:
    """The mutual information of the candidate with source a and with source b in bits; for `fused.once`."""
    with_a, with_b = fused.once(count_candidate)
    return _inform(with_a), _inform(with_b)


def sum_logs(counts: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """The sum of n log2 n over counts n of 1 at least."""
    return float((counts * np.log2(counts)).sum())


def divide_root(covariance: int, variance_x: int, variance_y: int) -> float:
    """A covariance over the root of the product of two variances; nan where one of these is 0."""
    if variance_x == 0 or variance_y == 0:
        return math.nan
    return covariance / (math.sqrt(variance_x) * math.sqrt(variance_y))


def _inform(joint: Joint) -> float:
    """The mutual information in a joint histogram; exactly 0 where an image is constant, and not below."""
    if joint.x.constant or joint.y.constant:
        return 0.0
    shared = sum_logs(joint.counts) - joint.y.logs - joint.x.logs
    return max(0.0, math.log2(joint.x.pixels) + shared / joint.x.pixels)


def _describe(counts: Counts) -> LevelCounts:
    present = np.flatnonzero(counts)
    total, squares = int(counts @ _VALUES), int(counts @ _VALUES**2)
    return LevelCounts(counts, int(counts.sum()), int(present[0]), int(present[-1]), total, squares, sum_logs(counts[present]))


def _join(counts: Counts, x: LevelCounts, y: LevelCounts) -> Joint:
    bins = np.flatnonzero(counts)
    of_x, of_y, numbers = bins >> 8, bins & 255, counts.ravel()[bins]
    return Joint(x, y, of_x, of_y, numbers, int((of_x * of_y * numbers).sum()))


def _count(x: Picture, y: Picture) -> Counts:
    """The joint histogram, int64 `(256, 256)`, rows by the level of x."""
    counts: Counts = _count_pixels(np.ascontiguousarray(x), np.ascontiguousarray(y))
    return counts


@njit(cache=True, nogil=True)
def _count_pixels(x, y):  # type: ignore[no-untyped-def]
    counts = np.zeros((256, 256), np.int64)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            counts[x[i, j], y[i, j]] += 1
    return counts
