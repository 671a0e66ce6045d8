"""What the windows of a pair's pictures hold, as maps: local means, variances and covariances under a Gaussian, at one scale or several.

The window has 11 px and a standard deviation of 1.5 px and lies wholly inside the picture. The maps are computed in float64, a band of
rows at a time so that it stays in the cache, and kept in float32: a variance is small where its two halves are large, so it is rounded
after their difference is taken, never before. For the same reason the covariances filter the sources anew instead of reading their
rounded means, and the one with the sum of two sources, which may be opposite, is a map of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.statistics import Fused, Sources
from prior.statistics.rows import Field, covary, cut_bands, filter_row, make_taps

Map = NDArray[np.float32]
Grey = Picture | Map

WIDTH = 11  # px
TAPS = make_taps(WIDTH)
SCALES = 5


@dataclass(frozen=True, slots=True)
class Moments:
    """What every window of one picture holds.

    Attributes:
        image: the picture itself, uint8 or float32 `(H, W)`, in grey levels.
        means: of every window, float32 `(H - 10, W - 10)`.
        variances: likewise; exactly 0 where flat.
    """

    image: Grey
    means: Map
    variances: Map


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside its two sources, window by window.

    Attributes:
        a: of source a.
        b: of source b.
        f: of the candidate.
        with_a: the covariance of the candidate and source a, float32, of the shape of the means; exactly 0 where either is flat.
        with_b: likewise with source b.
        with_sum: likewise with the sum of both.
    """

    a: Moments
    b: Moments
    f: Moments
    with_a: Map
    with_b: Map
    with_sum: Map


def measure_sources(sources: Sources) -> tuple[Moments, Moments] | None:
    """Both sources; for `sources.once`; None where they are smaller than the window."""
    if min(sources.a.shape) < WIDTH:
        return None
    return measure_moments(sources.a), measure_moments(sources.b)


def compare(fused: Fused) -> Comparison | None:
    """A candidate and its sources; for `fused.once`; None where they are smaller than the window."""
    both = fused.sources.once(measure_sources)
    return compare_images(*both, fused.image) if both else None


def measure_coarser_sources(sources: Sources) -> tuple[tuple[Moments, Moments], ...]:
    """Both sources at the scales 2 to 5, as far as they are no smaller than the window; for `sources.once`."""
    scales = zip(_list_coarser(sources.a), _list_coarser(sources.b), strict=True)
    return tuple((measure_moments(a), measure_moments(b)) for a, b in scales)


def compare_coarser(fused: Fused) -> tuple[Comparison, ...]:
    """A candidate and its sources at the scales 2 to 5, as far as they are no smaller than the window; for `fused.once`."""
    scales = zip(fused.sources.once(measure_coarser_sources), _list_coarser(fused.image), strict=True)
    return tuple(compare_images(a, b, image) for (a, b), image in scales)


def measure_moments(image: Grey) -> Moments:
    """The mean and the variance of every window.

    Args:
        image: uint8 or float32 `(H, W)`, no side below 11 px.
    """
    means, variances = _make_maps(image, 2)
    for windows, (x,) in cut_bands(TAPS, image):
        mean = _average(x, TAPS)
        means[windows], variances[windows] = mean, _covary(x, x, mean, mean, TAPS)
    return Moments(image, means, variances)


def compare_images(a: Moments, b: Moments, image: Grey) -> Comparison:
    """A picture's own moments and its covariances with two others.

    Args:
        a: the one other.
        b: the second other.
        image: uint8 or float32 `(H, W)`, of the size of theirs.
    """
    means, variances, with_a, with_b, with_sum = _make_maps(image, 5)
    for windows, (x, rows_a, rows_b) in cut_bands(TAPS, image, a.image, b.image):
        mean = _average(x, TAPS)
        means[windows], variances[windows] = mean, _covary(x, x, mean, mean, TAPS)
        of_a, of_b = (_covary(rows, x, _average(rows, TAPS), mean, TAPS) for rows in (rows_a, rows_b))
        with_a[windows], with_b[windows], with_sum[windows] = of_a, of_b, of_a + of_b
    return Comparison(a, b, Moments(image, means, variances), with_a, with_b, with_sum)


def measure_covariances(x: Field, y: Field) -> Field:
    """The covariance of the same band of rows of two pictures in every window, float64; exactly 0 where either is flat.

    Args:
        x: rows of one picture, float64 `(n, W)`, contiguous, as `cut_bands` gives them.
        y: those of the other.
    """
    covariances: Field = _covary(x, y, _average(x, TAPS), _average(y, TAPS), TAPS)
    return covariances


def map_similarity(x: Moments, y: Moments, covariances: Map, constants: tuple[float, float]) -> Map:
    """SSIM of every window: (2 mx my + C1)(2 cxy + C2) / ((mx^2 + my^2 + C1)(vx + vy + C2)).

    Args:
        x: one picture.
        y: the other.
        covariances: of both.
        constants: C1 and C2, above 0.

    Returns:
        float32, of the shape of the means, in [-1, 1].
    """
    similarity: Map = _map_ratios(x.means, x.variances, y.means, y.variances, covariances, *constants)
    return similarity


def _list_coarser(image: Picture) -> Iterator[Map]:
    """The picture at the scales 2 to 5, as far as it is no smaller than the window."""
    level = image.astype(np.float32, order="C")
    for _ in range(1, SCALES):
        level = _halve(level)
        if min(level.shape) < WIDTH:
            return
        yield level


def _halve(image: Map) -> Map:
    """The means of blocks of 2 x 2 px, an odd last row or column taken twice; exact: five scales of 8-bit levels are 16 bits."""
    height, width = image.shape
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    means: Map = (even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]) / np.float32(4)
    return means


def _make_maps(image: Grey, count: int) -> tuple[Map, ...]:
    height, width = image.shape
    return tuple(np.empty((height - WIDTH + 1, width - WIDTH + 1), np.float32) for _ in range(count))


@njit(cache=True, nogil=True)
def _average(x, taps):  # type: ignore[no-untyped-def]
    """The weighted mean of every window of a band."""
    reach = 2 * (len(taps) - 1)
    means, line = np.empty((x.shape[0] - reach, x.shape[1] - reach)), np.empty(x.shape[1])
    for i in range(means.shape[0]):
        filter_row(x[i : i + reach + 1], taps, line, means[i])
    return means


@njit(cache=True, nogil=True)
def _covary(x, y, x_means, y_means, taps):  # type: ignore[no-untyped-def]
    """The covariance in every window of a band of two pictures with these means."""
    reach = 2 * (len(taps) - 1)
    covariances, line = np.empty_like(x_means), np.empty(x.shape[1])
    for i in range(covariances.shape[0]):
        covary(x[i : i + reach + 1], y[i : i + reach + 1], taps, line, x_means[i], y_means[i], covariances[i])
    return covariances


@njit(cache=True, nogil=True, error_model="numpy")
def _map_ratios(x_means, x_variances, y_means, y_variances, covariances, c1, c2):  # type: ignore[no-untyped-def]
    out = np.empty_like(covariances)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            mean_x, mean_y = np.float64(x_means[i, j]), np.float64(y_means[i, j])
            spread = np.float64(x_variances[i, j]) + np.float64(y_variances[i, j])
            means = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
            out[i, j] = means * ((2 * np.float64(covariances[i, j]) + c2) / (spread + c2))
    return out
