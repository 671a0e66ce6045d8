"""Visual information fidelity of a candidate to its two sources, in the pixel domain.

How much of the information in a source survives in the candidate: local gains and residuals under Gaussian windows at four scales.
All sums are float64 and every filter runs along one axis at a time, so the numbers are those of the definition, only sooner.

Reference: Sheikh, Bovik 2006, 10.1109/TIP.2005.859378 (the authors' pixel-domain version, "VIFp").
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.registry import metric
from prior.statistics import Fused, Sources

REFERENCE = "Sheikh, Bovik 2006, 10.1109/TIP.2005.859378 (pixel domain)"
DEFINITION = (
    "4 scales with Gaussian windows of 17, 9, 5, 3 px (sigma = width / 5, valid part only; before scales 2 to 4 filtered with "
    "that scale's window and halved), noise variance 2: "
    "VIF(X,F) = sum log(1 + g^2 vx / (vf - g cxf + 2)) / sum log(1 + vx / 2), g = cxf / vx, negative g = 0; "
)
WIDTHS = (17, 9, 5, 3)
SMALLEST = 41  # px: below it the fourth scale has no window left
NOISE = 2.0
FLAT = 1e-10  # a variance below is none; the same is added to the divisor of the gain and bounds the residual from below
BAND = 64  # rows worked on at once: they stay in the cache, and 64 factors below 2^14 multiply to less than float64 can hold

Field = NDArray[np.float64]
Taps = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """One image at one scale.

    Attributes:
        image: grey levels less the commonest, float64 `(H, W)`.
        means: of every window, float64, a window's width less one smaller.
        variances: likewise; exactly 0 where flat.
    """

    image: Field
    means: Field
    variances: Field


@dataclass(frozen=True, slots=True)
class Source:
    """A source at its four scales and the information in it (natural logarithm, summed over all windows and scales)."""

    scales: tuple[Scale, ...]
    information: float


@metric("vif", better="higher", bounds=(0, math.inf), reference=REFERENCE, definition=DEFINITION + "VIF(A,F) + VIF(B,F)")
def vif(fused: Fused) -> float:
    """VIF summed over the two sources; nan below 41 px or where a source is constant."""
    return sum(fused.once(_compare))


@metric("vif_a", better="higher", bounds=(0, math.inf), reference=REFERENCE, definition=DEFINITION + "VIF(A,F)")
def vif_a(fused: Fused) -> float:
    """VIF of source a; nan below 41 px or where the source is constant."""
    return fused.once(_compare)[0]


@metric("vif_b", better="higher", bounds=(0, math.inf), reference=REFERENCE, definition=DEFINITION + "VIF(B,F)")
def vif_b(fused: Fused) -> float:
    """VIF of source b; nan below 41 px or where the source is constant."""
    return fused.once(_compare)[1]


def _compare(fused: Fused) -> tuple[float, float]:
    """The candidate's fidelity to source a and to source b."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan, math.nan
    of_a, of_b = fused.sources.once(_prepare)
    of_f = _scales(fused.image)
    return _fidelity(of_a, of_f), _fidelity(of_b, of_f)


def _prepare(sources: Sources) -> tuple[Source, Source]:
    return _describe(sources.a), _describe(sources.b)


def _describe(image: Picture) -> Source:
    scales = _scales(image)
    return Source(scales, sum(float(np.log1p(scale.variances / NOISE).sum()) for scale in scales))


def _fidelity(source: Source, of_f: tuple[Scale, ...]) -> float:
    """The share of the source's information that the candidate keeps; nan where there is none to keep."""
    if source.information == 0:
        return math.nan
    kept = 0.0
    for x, f, width in zip(source.scales, of_f, WIDTHS, strict=True):
        kept += _keep(x.image, x.means, x.variances, f.image, f.means, f.variances, _taps(width))
    return kept / source.information


def _scales(image: Picture) -> tuple[Scale, ...]:
    level = image.astype(np.float64, order="C") - _commonest(image)
    scales = [Scale(level, *_moments(level, _taps(WIDTHS[0])))]
    for width in WIDTHS[1:]:
        level = _halve(level, _taps(width))
        scales.append(Scale(level, *_moments(level, _taps(width))))
    return tuple(scales)


def _commonest(image: Picture) -> float:
    """The commonest grey level: VIF does not depend on the origin of the levels, and from here flat areas come out as exactly 0."""
    return float(cv2.calcHist([image], [0], None, [256], [0, 256]).argmax())


def _taps(width: int) -> Taps:
    """The right half of a Gaussian window, centre first. Its length is part of its type: each width gets a filter compiled for it."""
    weights = np.exp(-0.5 * (np.arange(-(width // 2), width // 2 + 1) / (width / 5)) ** 2)
    return tuple((weights / weights.sum())[width // 2 :].tolist())


@njit(cache=True, nogil=True)
def _halve(image, taps):  # type: ignore[no-untyped-def]
    """Every second mean along both axes."""
    span = 2 * len(taps) - 1
    rows, columns = image.shape[0] - span + 1, image.shape[1] - span + 1
    out = np.empty(((rows + 1) // 2, (columns + 1) // 2))
    line, means = np.empty(image.shape[1]), np.empty(columns)
    for i in range(0, rows, 2):
        _filter(image[i : i + span], taps, line, means)
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
        _multiply(image[top : bottom + span - 1], image[top : bottom + span - 1], band)
        for i in range(top, bottom):
            _filter(image[i : i + span], taps, line, means[i])
            _filter(band[i - top : i - top + span], taps, line, variances[i])
            _subtract_square(variances[i], means[i])
    return means, variances


@njit(cache=True, nogil=True)
def _keep(x, x_means, x_variances, f, f_means, f_variances, taps):  # type: ignore[no-untyped-def]
    """The information in the source that the candidate keeps at one scale; one logarithm serves a column of a band."""
    span = 2 * len(taps) - 1
    rows, columns = x_means.shape
    band, line, products = np.empty((BAND + span - 1, x.shape[1])), np.empty(x.shape[1]), np.empty(columns)
    kept = 0.0
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        _multiply(x[top : bottom + span - 1], f[top : bottom + span - 1], band)
        factors = np.ones(columns)
        for i in range(top, bottom):
            _filter(band[i - top : i - top + span], taps, line, products)
            _multiply_ratios(factors, products, x_means[i], x_variances[i], f_means[i], f_variances[i])
        for factor in factors:
            kept += math.log(factor)
    return kept


@njit(cache=True, nogil=True, fastmath={"contract"})
def _filter(image, taps, line, out):  # type: ignore[no-untyped-def]
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
def _multiply(x, y, out):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * y[i, j]


@njit(cache=True, nogil=True)
def _subtract_square(squares, means):  # type: ignore[no-untyped-def]
    """Turn a row of means of squares into variances, in place."""
    for j in range(squares.size):
        variance = squares[j] - means[j] * means[j]
        squares[j] = variance if variance >= FLAT else 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _multiply_ratios(factors, products, x_means, x_variances, f_means, f_variances):  # type: ignore[no-untyped-def]
    """Multiply each factor by the signal-to-noise ratio (plus 1) of its window in one row."""
    for j in range(factors.size):
        shared = products[j] - x_means[j] * f_means[j]
        gain = shared / (x_variances[j] + FLAT)
        residual = max(f_variances[j] - gain * shared, FLAT)
        ratio = gain * gain * x_variances[j] / (residual + NOISE)
        counts = (shared > 0) & (x_variances[j] > 0) & (f_variances[j] > 0)
        factors[j] *= 1.0 + (ratio if counts else 0.0)
