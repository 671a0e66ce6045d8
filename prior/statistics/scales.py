"""The sources and the candidate at the four scales of visual information fidelity, with the mean and the variance of every window.

Gaussian windows of 17, 9, 5 and 3 px (sigma = width / 5), only where they lie wholly inside; before scales 2 to 4 the image is filtered
with that scale's window and every second row and column kept. Levels are counted from the commonest one: nothing that is built on this
depends on their origin, and from there flat areas come out as exactly 0.

Everything is float64, but the filters run along one axis at a time and bands of rows are worked on at once, so that they stay in the cache.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.statistics import Fused, Sources

WIDTHS = (17, 9, 5, 3)
SMALLEST = 41  # px: below it the fourth scale has no window left
FLAT = 1e-10  # a variance below is none
BAND = 64  # rows worked on at once

Field = NDArray[np.float64]
Taps = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """One image at one scale.

    Attributes:
        image: grey levels less the commonest, `(H, W)`: int16 at the first scale, float64 below.
        means: of every window, float64, a window's width less one smaller.
        variances: likewise; exactly 0 where flat.
    """

    image: NDArray[np.int16] | Field
    means: Field
    variances: Field


Scales = tuple[Scale, ...]


def scale_sources(sources: Sources) -> tuple[Scales, Scales]:
    """Both sources at their four scales; they must have 41 px at least. For `sources.once`."""
    return _scale(sources.a), _scale(sources.b)


def scale_candidate(fused: Fused) -> Scales:
    """The candidate at its four scales; it must have 41 px at least. For `fused.once`."""
    return _scale(fused.image)


def weigh_window(width: int) -> Taps:
    """The right half of a Gaussian window, centre first. Its length is part of its type: each width gets a filter compiled for it."""
    weights = np.exp(-0.5 * (np.arange(-(width // 2), width // 2 + 1) / (width / 5)) ** 2)
    return tuple((weights / weights.sum())[width // 2 :].tolist())


def _scale(image: Picture) -> Scales:
    level: NDArray[np.int16] | Field = np.subtract(image, _find_commonest(image), order="C", dtype=np.int16)
    scales = [Scale(level, *_moments(level, weigh_window(WIDTHS[0])))]
    for width in WIDTHS[1:]:
        level = _halve(level, weigh_window(width))
        scales.append(Scale(level, *_moments(level, weigh_window(width))))
    return tuple(scales)


def _find_commonest(image: Picture) -> np.int16:
    return np.int16(cv2.calcHist([image], [0], None, [256], [0, 256]).argmax())


@njit(cache=True, nogil=True)
def multiply(x, y, out):  # type: ignore[no-untyped-def]
    """Products of two bands of rows, as float64."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = np.float64(x[i, j]) * np.float64(y[i, j])


@njit(cache=True, nogil=True, fastmath={"contract"})
def filter_row(image, taps, line, out):  # type: ignore[no-untyped-def]
    """One row of Gaussian means: down the columns into `line`, then along it; only windows wholly inside."""
    reach = len(taps) - 1
    for j in range(line.size):
        total = taps[0] * image[reach, j]
        for k in range(1, len(taps)):
            total += taps[k] * (image[reach - k, j] + image[reach + k, j])
        line[j] = total
    for j in range(out.size):
        total = taps[0] * line[j + reach]
        for k in range(1, len(taps)):
            total += taps[k] * (line[j + reach - k] + line[j + reach + k])
        out[j] = total


@njit(cache=True, nogil=True)
def _halve(image, taps):  # type: ignore[no-untyped-def]
    """Every second mean along both axes."""
    span = 2 * len(taps) - 1
    rows, columns = image.shape[0] - span + 1, image.shape[1] - span + 1
    out = np.empty(((rows + 1) // 2, (columns + 1) // 2))
    band, line, means = np.empty((BAND + span - 1, image.shape[1])), np.empty(image.shape[1]), np.empty(columns)
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        _copy(image[top : bottom + span - 1], band)
        for i in range(top, bottom, 2):
            filter_row(band[i - top : i - top + span], taps, line, means)
            out[i // 2] = means[::2]
    return out


@njit(cache=True, nogil=True)
def _moments(image, taps):  # type: ignore[no-untyped-def]
    """The mean and the variance of every window."""
    span = 2 * len(taps) - 1
    rows, columns = image.shape[0] - span + 1, image.shape[1] - span + 1
    means, variances = np.empty((rows, columns)), np.empty((rows, columns))
    band, line = np.empty((BAND + span - 1, image.shape[1])), np.empty(image.shape[1])
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        _copy(image[top : bottom + span - 1], band)
        for i in range(top, bottom):
            filter_row(band[i - top : i - top + span], taps, line, means[i])
        multiply(band, band, band)
        for i in range(top, bottom):
            filter_row(band[i - top : i - top + span], taps, line, variances[i])
            _subtract_square(variances[i], means[i])
    return means, variances


@njit(cache=True, nogil=True)
def _copy(image, out):  # type: ignore[no-untyped-def]
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            out[i, j] = image[i, j]


@njit(cache=True, nogil=True)
def _subtract_square(squares, means):  # type: ignore[no-untyped-def]
    """Turn a row of means of squares into variances, in place."""
    for j in range(squares.size):
        variance = squares[j] - means[j] * means[j]
        squares[j] = variance if variance >= FLAT else 0.0
