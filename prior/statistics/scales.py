"""The sources and the candidate at the four scales of visual information fidelity, and the moments of every window, band by band.

Gaussian windows of 17, 9, 5 and 3 px (sigma = width / 5), only where they lie wholly inside; before scales 2 to 4 the image is filtered
with that scale's window and every second row and column kept. Levels are counted from the commonest one: nothing that is built on this
depends on their origin, and from there flat areas come out as exactly 0.

Everything is float64, so little is remembered: of the sources the variances, of all three images what they are at the coarser scales. The
other moments of a band of rows are made anew for each candidate and each metric, and stay in the cache until they are used up. The filters
run along one axis at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from prior.arrays import Picture
from prior.statistics import Fused, Sources
from prior.statistics.rows import Field, Taps, filter_line, filter_row

WIDTHS = (17, 9, 5, 3)
SMALLEST = 41  # px: below it the fourth scale has no window left
FLAT = 1e-10  # a variance below is none
BAND = 32  # rows of windows worked on at once
QUAD = 4  # rows of windows filtered at once, so that their pixels are read from further away but once; BAND is a multiple


@dataclass(frozen=True, slots=True)
class Scale:
    """One image at one scale.

    Attributes:
        image: `(H, W)`: the picture itself, uint8, at the first scale, float64 below.
        origin: the grey level that counts as 0; below the first scale it is 0.
    """

    image: Picture | Field
    origin: float


Scales = tuple[Scale, ...]
Variances = tuple[Field, ...]
Moments = tuple[Field, Field, Field, Field, Field]


def scale_sources(sources: Sources) -> tuple[Scales, Scales]:
    """Both sources at their four scales; they must have 41 px at least. For `sources.once`."""
    return _scale(sources.a), _scale(sources.b)


def vary_sources(sources: Sources) -> tuple[Variances, Variances]:
    """The variance of every window of both sources at the four scales, exactly 0 where flat. For `sources.once`."""
    of_a, of_b = sources.once(scale_sources)
    return _vary(of_a), _vary(of_b)


def scale_candidate(fused: Fused) -> Scales:
    """The candidate at its four scales; it must have 41 px at least. For `fused.once`."""
    return _scale(fused.image)


def measure_bands(fused: Fused, number: int) -> Iterator[Moments]:
    """What every window of both sources and the candidate holds at one scale.

    Args:
        fused: the candidate and its sources, of 41 px at least.
        number: of the scale, 0 to 3.

    Yields:
        Of the next rows of windows, 32 at most, float64 `(rows, columns)` each: the variances of a, of b and of f, the covariances of a
        and f, those of b and f. All but the first two are overwritten by those of the next band.
    """
    of_a, of_b = fused.sources.once(scale_sources)
    a, b, f = of_a[number], of_b[number], fused.once(scale_candidate)[number]
    variances_a, variances_b = (variances[number] for variances in fused.sources.once(vary_sources))
    taps, (rows, columns) = weigh_window(WIDTHS[number]), variances_a.shape
    below = WIDTHS[number] - 1
    variances_f, covariances_a, covariances_b = moments = tuple(np.empty((3, BAND, columns)))
    scratch = _make_scratch(f.image.shape[1], below)
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        cut = slice(top, bottom + below)
        _measure((a.image[cut], b.image[cut], f.image[cut]), (a.origin, b.origin, f.origin), taps, scratch, moments)
        filled = slice(bottom - top)
        yield variances_a[top:bottom], variances_b[top:bottom], variances_f[filled], covariances_a[filled], covariances_b[filled]


def weigh_window(width: int) -> Taps:
    """The right half of a Gaussian window, centre first. Its length is part of its type: each width gets a filter compiled for it."""
    weights = np.exp(-0.5 * (np.arange(-(width // 2), width // 2 + 1) / (width / 5)) ** 2)
    return tuple((weights / weights.sum())[width // 2 :].tolist())


def _scale(image: Picture) -> Scales:
    # Of one kind in memory, whatever was given: each kind would get filters compiled for it.
    plain, origin = np.require(image, requirements=["C", "W"]), _find_commonest(image)
    scales = [Scale(plain, float(origin))]
    level = np.subtract(plain, origin, dtype=np.int16)
    for width in WIDTHS[1:]:
        level = np.asarray(_halve(level, weigh_window(width)))
        scales.append(Scale(level, 0.0))
    return tuple(scales)


def _vary(scales: Scales) -> Variances:
    return tuple(_vary_scale(scale, width) for scale, width in zip(scales, WIDTHS, strict=True))


def _vary_scale(scale: Scale, width: int) -> Field:
    below = width - 1
    rows, columns = (side - below for side in scale.image.shape)
    variances, filled = np.empty((rows, columns)), np.empty((BAND, columns))
    scratch = _make_scratch(columns + below, below)
    for top in range(0, rows, BAND):
        _measure_variances(scale.image[top : top + BAND + below], scale.origin, weigh_window(width), scratch, filled)
        variances[top : top + BAND] = filled[: rows - top]
    return variances


def _make_scratch(width: int, below: int) -> tuple[Field, Field, Field, Field]:
    """Room for a band of rows, for four rows filtered down the columns, for the means of one image and for those of another.

    A last group of fewer than four rows of windows reads up to three rows more.
    """
    means = np.empty((2, BAND, width - below))
    return np.zeros((BAND + below + QUAD - 1, width)), np.empty((QUAD, width)), means[0], means[1]


def _find_commonest(image: Picture) -> np.int16:
    return np.int16(cv2.calcHist([image], [0], None, [256], [0, 256]).argmax())


@njit(cache=True, nogil=True)
def _measure_variances(image, zero, taps, scratch, variances):  # type: ignore[no-untyped-def]
    """Fill in the variances of a band of rows; rows beyond the last window hold nothing of meaning."""
    band, lines, means, _ = scratch
    rows = image.shape[0] - 2 * (len(taps) - 1)
    _load(image, zero, band)
    _filter_band(band, rows, taps, lines, means)
    _multiply(image, image, zero, zero, band)
    _filter_band(band, rows, taps, lines, variances)
    _subtract_squares(variances, means)


@njit(cache=True, nogil=True)
def _measure(images, origins, taps, scratch, moments):  # type: ignore[no-untyped-def]
    """Fill in the candidate's variances and covariances of a band of rows; rows beyond the last window hold nothing of meaning."""
    (a, b, f), (zero_a, zero_b, zero_f), (band, lines, f_means, x_means) = images, origins, scratch
    variances, covariances_a, covariances_b = moments
    rows = f.shape[0] - 2 * (len(taps) - 1)
    _load(f, zero_f, band)
    _filter_band(band, rows, taps, lines, f_means)
    _multiply(f, f, zero_f, zero_f, band)
    _filter_band(band, rows, taps, lines, variances)
    _subtract_squares(variances, f_means)
    _load(a, zero_a, band)
    _filter_band(band, rows, taps, lines, x_means)
    _multiply(a, f, zero_a, zero_f, band)
    _filter_band(band, rows, taps, lines, covariances_a)
    _subtract_products(covariances_a, x_means, f_means)
    _load(b, zero_b, band)
    _filter_band(band, rows, taps, lines, x_means)
    _multiply(b, f, zero_b, zero_f, band)
    _filter_band(band, rows, taps, lines, covariances_b)
    _subtract_products(covariances_b, x_means, f_means)


@njit(cache=True, nogil=True)
def _load(x, zero, out):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - zero


@njit(cache=True, nogil=True)
def _multiply(x, y, zero_x, zero_y, out):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - zero_x) * (y[i, j] - zero_y)


@njit(cache=True, nogil=True)
def _filter_band(band, rows, taps, lines, out):  # type: ignore[no-untyped-def]
    """The Gaussian means of every window of a band."""
    span = 2 * len(taps) - 1
    for i in range(0, rows, QUAD):
        _filter_down(band[i : i + span + QUAD - 1], taps, lines)
        for k in range(QUAD):
            filter_line(lines[k], taps, out[i + k])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _filter_down(image, taps, lines):  # type: ignore[no-untyped-def]
    """Four rows of means down the columns."""
    reach = len(taps) - 1
    for j in range(lines.shape[1]):
        first, second = taps[0] * image[reach, j], taps[0] * image[reach + 1, j]
        third, fourth = taps[0] * image[reach + 2, j], taps[0] * image[reach + 3, j]
        for k in range(1, len(taps)):
            first += taps[k] * (image[reach - k, j] + image[reach + k, j])
            second += taps[k] * (image[reach - k + 1, j] + image[reach + k + 1, j])
            third += taps[k] * (image[reach - k + 2, j] + image[reach + k + 2, j])
            fourth += taps[k] * (image[reach - k + 3, j] + image[reach + k + 3, j])
        lines[0, j], lines[1, j], lines[2, j], lines[3, j] = first, second, third, fourth


@njit(cache=True, nogil=True)
def _halve(image, taps):  # type: ignore[no-untyped-def]
    """Every second mean along both axes."""
    span = 2 * len(taps) - 1
    rows, columns = image.shape[0] - span + 1, image.shape[1] - span + 1
    out = np.empty(((rows + 1) // 2, (columns + 1) // 2))
    band, line, means = np.empty((BAND + span - 1, image.shape[1])), np.empty(image.shape[1]), np.empty(columns)
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        _load(image[top : bottom + span - 1], 0, band)
        for i in range(top, bottom, 2):
            filter_row(band[i - top : i - top + span], taps, line, means)
            out[i // 2] = means[::2]
    return out


@njit(cache=True, nogil=True)
def _subtract_squares(squares, means):  # type: ignore[no-untyped-def]
    """Turn means of squares into variances, in place."""
    for i in range(squares.shape[0]):
        for j in range(squares.shape[1]):
            variance = squares[i, j] - means[i, j] * means[i, j]
            squares[i, j] = variance if variance >= FLAT else 0.0


@njit(cache=True, nogil=True)
def _subtract_products(products, x_means, y_means):  # type: ignore[no-untyped-def]
    """Turn means of products into covariances, in place."""
    for i in range(products.shape[0]):
        for j in range(products.shape[1]):
            products[i, j] -= x_means[i, j] * y_means[i, j]
