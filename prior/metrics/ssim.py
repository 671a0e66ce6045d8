"""Structural similarity of a candidate to its two sources, with the dynamic range 255 and with the range 2 of the released Diff-IF.

Uniform 7 x 7 windows that lie wholly inside the image, sample covariance, the mean over all windows: what scikit-image computes.
The window sums are exact integers and the quotients float64, so nothing but the last rounding separates these numbers from the definition.

Reference: Wang, Bovik, Sheikh, Simoncelli 2004, 10.1109/TIP.2003.819861.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused, Sources

SIDE = 7
PIXELS = SIDE * SIDE
K1, K2 = 0.01, 0.03
RANGE = 255.0
RANGE_RELEASED = 2.0  # what scikit-image before 0.20 assumed for float images, whatever they held

REFERENCE = "Wang, Bovik, Sheikh, Simoncelli 2004, 10.1109/TIP.2003.819861"
DEFINITION = (
    "mean over all 7x7 windows of (2 mx mf + C1)(2 cxf + C2) / ((mx^2 + mf^2 + C1)(vx + vf + C2)), "
    "uniform weights, sample covariance (48 degrees of freedom), C1 = (0.01 L)^2, C2 = (0.03 L)^2, "
)
PASSPORT = Passport(
    title="structural similarity",
    symbol="SSIM",
    meaning="How much the fused image has the local brightness, contrast and structure of the sources.",
    combination="sum",
    dynamic_range="0..255 with L = 255",
    window="7x7, uniform weights",
    border="windows wholly inside",
    smallest=SIDE,
    undefined="below 7 px",
    noise="falls",
    blur="varies",
    golden="SSIM_skimage_L255_sum",
    differences=(
        Difference("Diff-IF, released, with scikit-image before 0.20", "L = 2 on levels of 0..255: `ssim_l2`", "c04: 0.934, not 1.072"),
        Difference("Diff-IF, released, with scikit-image 0.20 and later", "gives no data_range: raises an error", "no number"),
        Difference("VIFB", "Gaussian window of 11 px, plain covariance: `ssim_gaussian`", "c04: 1.088, not 1.072"),
        Difference("Linfeng Tang (MATLAB)", "Gaussian window of 11 px, L = 1 on levels of 0..255, mean", "c04: 0.464, not 1.072"),
        Difference(
            "Linfeng Tang (Python)",
            "Gaussian window of 11 px, mean, L = 255 on levels multiplied by 255 once more, if they are floating point",
            "c01: 0.450, where levels as bytes give 0.788, not 1.554",
        ),
        Difference("chenzpstar (torch)", "Gaussian window of 11 px, mean", "c04: 0.544, not 1.072"),
        Difference("Topanxal (torch)", "uniform window of 11 px beyond a border of zeros", "c04: 1.092, not 1.072"),
    ),
)
PASSPORT_RELEASED = replace(
    PASSPORT,
    title="structural similarity as released with Diff-IF",
    symbol=r"SSIM$_{L=2}$",
    dynamic_range="0..255 with L = 2",
    blur="falls",
    golden="SSIM_skimage_L2_sum(DiffIF old skimage)",
    differences=(Difference("Diff-IF", "adds in float32", "c04: 3e-8"),),
)


@dataclass(frozen=True, slots=True)
class Windows:
    """What every window of one image sums to.

    Attributes:
        image: uint8 `(H, W)`, contiguous.
        sums: uint16 `(H - 6, W - 6)`, the sum of x; 49 times the mean.
        spreads: int32, 49 times the sum of x^2 less the square of the sum of x; 49 * 48 times the sample variance.
    """

    image: Picture
    sums: NDArray[np.uint16]
    spreads: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Similarity:
    """The similarity to one source: `intended` with the range 255, `released` with the range 2."""

    intended: float
    released: float


UNDEFINED = Similarity(math.nan, math.nan)


@metric_of_sources(
    "ssim",
    "sum",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION + "L = 255",
    passport=PASSPORT,
)
def compare_structure(fused: Fused) -> tuple[float, float]:
    """SSIM with the range 255 to source a and to source b; nan below 7 px."""
    of_a, of_b = fused.once(_compare)
    return of_a.intended, of_b.intended


@metric_of_sources(
    "ssim_l2",
    "sum",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION + "L = 2",
    passport=PASSPORT_RELEASED,
    variant_of="ssim",
)
def compare_structure_as_released(fused: Fused) -> tuple[float, float]:
    """SSIM with the range 2 on grey levels of 0 to 255, as released with Diff-IF, to source a and to source b; nan below 7 px."""
    of_a, of_b = fused.once(_compare)
    return of_a.released, of_b.released


def _compare(fused: Fused) -> tuple[Similarity, Similarity]:
    """The candidate's similarity to source a and to source b."""
    if min(fused.image.shape) < SIDE:
        return UNDEFINED, UNDEFINED
    of_a, of_b = fused.sources.once(_prepare)
    of_f = _windows(fused.image)
    return _similarity(of_a, of_f), _similarity(of_b, of_f)


def _prepare(sources: Sources) -> tuple[Windows, Windows]:
    return _windows(sources.a), _windows(sources.b)


def _windows(image: Picture) -> Windows:
    contiguous = np.ascontiguousarray(image)
    return Windows(contiguous, *_sum_windows(contiguous))


def _similarity(x: Windows, y: Windows) -> Similarity:
    intended, released = _mean_ratios(x.image, x.sums, x.spreads, y.image, y.sums, y.spreads, _constants(RANGE), _constants(RANGE_RELEASED))
    return Similarity(intended, released)


def _constants(dynamic_range: float) -> tuple[float, float]:
    """C1 and C2 in the units of the integer sums: 49^2 times a product of means, 49 * 48 times a sample covariance."""
    return (K1 * dynamic_range) ** 2 * PIXELS * PIXELS, (K2 * dynamic_range) ** 2 * PIXELS * (PIXELS - 1)


@njit(cache=True, nogil=True)
def _sum_windows(image):  # type: ignore[no-untyped-def]
    """The sums and the spreads of all windows; 49 * 255 fits in uint16, 49 * 49 * 255^2 in int32."""
    height, width = image.shape
    sums = np.empty((height - SIDE + 1, width - SIDE + 1), np.uint16)
    spreads = np.empty(sums.shape, np.int32)
    plain, square = np.zeros(width, np.int32), np.zeros(width, np.int32)
    for i in range(height):
        _slide_sums(plain, image, i)
        _slide_products(square, image, image, i)
        if i >= SIDE - 1:
            top = i - SIDE + 1
            for j in range(sums.shape[1]):
                total = _sum_side(plain, j)
                sums[top, j] = total
                spreads[top, j] = np.int32(PIXELS) * _sum_side(square, j) - total * total
    return sums, spreads


# The order of the additions may change: that alone lets the compiler add up several windows at once.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _mean_ratios(x, x_sums, x_spreads, y, y_sums, y_spreads, constants, constants_released):  # type: ignore[no-untyped-def]
    """The mean similarity of all windows under either pair of constants."""
    c1, c2 = constants
    d1, d2 = constants_released
    intended, released = 0.0, 0.0
    product = np.zeros(x.shape[1], np.int32)
    for i in range(x.shape[0]):
        _slide_products(product, x, y, i)
        if i >= SIDE - 1:
            top = i - SIDE + 1
            for j in range(x_sums.shape[1]):
                mean_x, mean_y = np.float64(x_sums[top, j]), np.float64(y_sums[top, j])
                crossed = 2 * mean_x * mean_y
                squared = mean_x * mean_x + mean_y * mean_y
                shared = 2 * (np.float64(PIXELS * _sum_side(product, j)) - mean_x * mean_y)
                spread = np.float64(x_spreads[top, j] + y_spreads[top, j])
                intended += (crossed + c1) * (shared + c2) / ((squared + c1) * (spread + c2))
                released += (crossed + d1) * (shared + d2) / ((squared + d1) * (spread + d2))
    return intended / x_sums.size, released / x_sums.size


@njit(cache=True, nogil=True)
def _slide_sums(columns, x, i):  # type: ignore[no-untyped-def]
    """Move the column sums of x down to the seven rows that end with row i."""
    for j in range(columns.size):
        columns[j] += np.int32(x[i, j])
    if i >= SIDE:
        for j in range(columns.size):
            columns[j] -= np.int32(x[i - SIDE, j])


@njit(cache=True, nogil=True)
def _slide_products(columns, x, y, i):  # type: ignore[no-untyped-def]
    """Move the column sums of x * y down to the seven rows that end with row i."""
    for j in range(columns.size):
        columns[j] += np.int32(x[i, j]) * np.int32(y[i, j])
    if i >= SIDE:
        for j in range(columns.size):
            columns[j] -= np.int32(x[i - SIDE, j]) * np.int32(y[i - SIDE, j])


@njit(cache=True, nogil=True)
def _sum_side(columns, j):  # type: ignore[no-untyped-def]
    """The sum of seven neighbouring column sums."""
    total = np.int32(0)
    for k in range(SIDE):
        total += columns[j + k]
    return total
