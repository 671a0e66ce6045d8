"""How much of the structure that two exposures offer stands in the candidate, at one scale and at three.

In every window the sources make one wanted patch: of the strongest contrast among them, with a structure that leans to the source of more
contrast, the more so the better the two agree. The wanted patch is p A + q B less its mean, and p and q depend on the sources alone. So
its variance and its covariance with a candidate follow from those of the pictures, and no patch is ever cut out.

Reference: Ma, Zeng, Wang 2015, 10.1109/TIP.2015.2442920; as in the authors' code for grey images, without brightness.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.rows import Field, cut_bands
from prior.statistics.windows import (
    TAPS,
    WIDTH,
    Comparison,
    Map,
    Moments,
    compare,
    compare_coarser,
    measure_coarser_sources,
    measure_covariances,
    measure_sources,
)

PIXELS = WIDTH * WIDTH
CONSTANT = (0.03 * 255) ** 2
FLOOR = 0.001  # added to the contrast of a source
STEEPEST = 10.0  # the largest exponent of the weights
LEVELS = 16.0  # steps in a grey level at scale 3; at the finer scales there are fewer
TINY = float(np.finfo(float).eps)
EXPONENTS = tuple(weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001))
SMALLEST_OF_SCALES = 44  # px: four windows' width, as the authors' code asks for

REFERENCE = "Ma, Zeng, Wang 2015, 10.1109/TIP.2015.2442920"
DEFINITION = (
    "mean over all 11x11 windows of (2 crf + C) / (vr + vf + C), C = (0.03 * 255)^2, moments under a Gaussian of sigma 1.5, "
    "r = c s / |s|, s = sum w_k (x_k - mean) / (c_k + 0.001), c_k = |x_k - mean|, c = max(c_k + 0.001), "
    "w_k = ((c_k + 0.001) / 11)^p + 2.2e-16 over their sum, p = min(10, tan(pi / 2 * R)), R = |sum (x_k - mean)| / sum c_k"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted patch of every window at one scale.

    Attributes:
        of_sum: float32, one number per window: what the sum of the sources is multiplied by.
        of_difference: likewise for source a less source b.
        spreads: float32, its variance under the Gaussian window, plus C.
    """

    of_sum: Map
    of_difference: Map
    spreads: Map


@metric(
    "mef_ssim",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION,
    passport=Passport(
        title="structural similarity to the best of two exposures",
        symbol="MEF-SSIM",
        meaning="How much of the strongest contrast and the common structure of the sources stands in the fused image.",
        combination="joint",
        dynamic_range="0..255 with L = 255",
        window="11x11, uniform for the wanted patch, Gaussian of sigma 1.5 for the similarity",
        border="windows wholly inside",
        smallest=WIDTH,
        undefined="below 11 px",
        noise="falls",
        blur="falls",
        golden="MEF_SSIM",
    ),
)
def mef_ssim(fused: Fused) -> float:
    """The mean similarity to the wanted patches; nan below 11 px."""
    return fused.once(_judge_finest)


@metric(
    "mef_ms_ssim",
    better="higher",
    bounds=(0, 1),
    reference=REFERENCE,
    definition=(
        "product over 3 scales of max(0, M_k)^w_k, w = 0.0448, 0.2856, 0.3001 over their sum, halved by means of 2x2 px, the border "
        f"mirrored; M = {DEFINITION}"
    ),
    passport=Passport(
        title="multi-scale structural similarity to the best of two exposures",
        symbol="MEF-MS-SSIM",
        meaning="How much of the strongest contrast and the common structure of the sources stands in the fused image, at three scales.",
        combination="joint",
        dynamic_range="0..255 with L = 255",
        window="11x11, uniform for the wanted patch, Gaussian of sigma 1.5 for the similarity, at 3 scales",
        border="windows wholly inside; mirrored for halving",
        smallest=SMALLEST_OF_SCALES,
        undefined="below 44 px",
        noise="falls",
        blur="falls",
        golden="MEF_MS_SSIM",
        differences=(
            Difference("Linfeng Tang (MATLAB)", "calls it MS_SSIM", "equal: c04: 0.853; true MS-SSIM: 0.472"),
            Difference("Linfeng Tang (MATLAB)", "-Inf below 44 px; a negative mean of a scale is not set to 0", "undefined and 0 here"),
        ),
    ),
)
def mef_ms_ssim(fused: Fused) -> float:
    """The product of the mean similarities at three scales; nan below 44 px."""
    if min(fused.image.shape) < SMALLEST_OF_SCALES:
        return math.nan
    wanted = fused.sources.once(_want_coarser)
    coarser = (_average(scale, patches) for scale, patches in zip(fused.once(compare_coarser), wanted, strict=False))
    means = (fused.once(_judge_finest), *coarser)
    return float(np.prod([max(0.0, mean) ** exponent for mean, exponent in zip(means, EXPONENTS, strict=True)]))


def _judge_finest(fused: Fused) -> float:
    seen, wanted = fused.once(compare), fused.sources.once(_want)
    return _average(seen, wanted) if seen and wanted else math.nan


def _average(seen: Comparison, wanted: Wanted) -> float:
    """The mean over all windows at one scale; what rounding leaves above 1 is 1."""
    shared = wanted.of_sum * seen.with_sum
    shared += wanted.of_difference * (seen.with_a - seen.with_b)
    shared *= 2
    shared += np.float32(CONSTANT)
    shared /= wanted.spreads + seen.f.variances
    return min(1.0, float(shared.mean(dtype=np.float64)))


def _want(sources: Sources) -> Wanted | None:
    both = sources.once(measure_sources)
    return _make_wanted(*both) if both else None


def _want_coarser(sources: Sources) -> tuple[Wanted, ...]:
    """At the scales 2 and 3."""
    return tuple(_make_wanted(a, b) for a, b in sources.once(measure_coarser_sources)[: len(EXPONENTS) - 1])


def _make_wanted(a: Moments, b: Moments) -> Wanted:
    of_sum, of_difference, spreads = (np.empty_like(a.means) for _ in range(3))
    for windows, (rows_a, rows_b) in cut_bands(TAPS, a.image, b.image):
        p, q = _weigh(rows_a * LEVELS, rows_b * LEVELS)
        of_sum[windows], of_difference[windows] = (p + q) / 2, (p - q) / 2
        # Of the numbers as they are kept, so that no candidate can be more like the wanted patch than that is itself.
        u, v = of_sum[windows].astype(np.float64), of_difference[windows].astype(np.float64)
        both, apart = rows_a + rows_b, rows_a - rows_b
        spread = u * u * measure_covariances(both, both) + v * v * measure_covariances(apart, apart)
        spread += 2 * u * v * measure_covariances(both, apart)
        spreads[windows] = np.maximum(spread, 0) + CONSTANT
    return Wanted(of_sum, of_difference, spreads)


def _weigh(a: Field, b: Field) -> tuple[Field, Field]:
    """What the sources are multiplied by in every window of a band of rows, given in steps."""
    squares_a, squares_b, products = (_sum_products(x, y) for x, y in ((a, a), (b, b), (a, b)))
    length_a, length_b = np.sqrt(squares_a), np.sqrt(squares_b)
    contrast_a, contrast_b = length_a + FLOOR, length_b + FLOOR
    agreement = (np.sqrt(squares_a + squares_b + 2 * products) + TINY) / (length_a + length_b + TINY)
    power = np.minimum(np.tan(np.pi / 2 * np.minimum(agreement, 1)), STEEPEST)
    weight_a, weight_b = (contrast_a / WIDTH) ** power + TINY, (contrast_b / WIDTH) ** power + TINY
    p = weight_a / (weight_a + weight_b) / contrast_a
    q = weight_b / (weight_a + weight_b) / contrast_b
    length = np.sqrt(np.maximum(p * p * squares_a + q * q * squares_b + 2 * p * q * products, 0))
    # Where the structures cancel there is none to stretch.
    stretch = np.divide(np.maximum(contrast_a, contrast_b), length, out=np.ones_like(length), where=length > 0)
    return stretch * p, stretch * q


def _sum_products(x: Field, y: Field) -> Field:
    """The sum of (x - mean)(y - mean) in every window, in grey levels; of whole numbers, so that it is exactly 0 where either is flat."""
    return (PIXELS * _sum(x * y) - _sum(x) * _sum(y)) / (PIXELS * LEVELS * LEVELS)


def _sum(field: Field) -> Field:
    reach = WIDTH // 2
    sums = cv2.boxFilter(field, cv2.CV_64F, (WIDTH, WIDTH), normalize=False)
    return np.asarray(sums, np.float64)[reach:-reach, reach:-reach]
