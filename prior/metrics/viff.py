"""Visual information fidelity for fusion: in every window the candidate is compared with the source of the smaller gain.

The gains, residuals and scales are those of the pixel-domain visual information fidelity; the scales' ratios are then weighed. Where both
gains are equal, as where nothing of either source survives, source b stands for both, so the order of the sources matters a little.

Reference: Han, Cai, Cao, Xu 2013, 10.1016/j.inffus.2011.08.002.
"""

import math

import numpy as np
from numba import njit

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.scales import BAND, FLAT, SMALLEST, WIDTHS, Scale, filter_row, multiply, scale_candidate, scale_sources, weigh_window

NOISE = 0.005 * 255**2
GUARD = 1e-7  # added per window to the information, in digits
WEIGHTS = (1 / 2.15, 0.0, 0.15 / 2.15, 1 / 2.15)

PASSPORT = Passport(
    title="visual information fidelity for fusion",
    symbol="VIFF",
    meaning="How much of the visible information survives where the sources differ in it: in every window the worse kept source counts.",
    combination="joint",
    dynamic_range="0..255; the noise variance of 325.125 belongs to it",
    undefined="below 41 px; 1 where both sources, or the one with the smaller gain, hold nothing at all",
    noise="falls",
    blur="falls",
    window="Gaussians of 17, 9, 5 and 3 px, sigma = width / 5, at four scales",
    border="windows wholly inside only",
    smallest=SMALLEST,
    symmetric=False,
    golden="VIFF_Han",
    tolerance=2e-5,  # equal gains: c07
    differences=(
        Difference("every implementation", "equal gains are ordered by rounding", "1e-5 on smooth gradients (c07)"),
        Difference("Topanxal, chenzpstar (torch)", "float32", "c04: 2e-5; another number where a source is constant"),
        Difference("Diff-IF", "VIF under this name", "c04: 0.510, not 0.326"),
        Difference("chenzpstar (torch)", "a version that adds two VIF of this noise", "c04: 1.483, not 0.326"),
        Difference("the authors (MATLAB), on colour images", "the lightness of CIE Lab", "another image"),
    ),
)


@metric(
    "viff",
    better="higher",
    bounds=(0, math.inf),
    reference="Han, Cai, Cao, Xu 2013, 10.1016/j.inffus.2011.08.002",
    definition=(
        "sum over 4 scales of w sum(n + 1e-7) / sum(d + 1e-7), w = (1, 0, 0.15, 1) / 2.15; "
        "n = log10(1 + g^2 vx / (vf - g cxf + 325.125)), d = log10(1 + vx / 325.125), g = cxf / vx, negative g = 0, "
        "X = A where g(A,F) < g(B,F), else B; Gaussian windows of 17, 9, 5, 3 px (sigma = width / 5, valid part only; "
        "before scales 2 to 4 filtered with that scale's window and halved), grey levels 0..255"
    ),
    passport=PASSPORT,
)
def judge_fidelity_of_fusion(fused: Fused) -> float:
    """VIFF; nan below 41 px."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan
    of_a, of_b = fused.sources.once(scale_sources)
    scales = zip(WEIGHTS, of_a, of_b, fused.once(scale_candidate), WIDTHS, strict=True)
    return sum(weight * _weigh_scale(a, b, f, width) for weight, a, b, f, width in scales if weight)


def _weigh_scale(a: Scale, b: Scale, f: Scale, width: int) -> float:
    """The information kept over the information there at one scale, of the source that is kept worse, window by window."""
    images, means, variances = (a.image, b.image, f.image), (a.means, b.means, f.means), (a.variances, b.variances, f.variances)
    kept, there = _add_up(images, means, variances, weigh_window(width))
    guard = GUARD * f.means.size * math.log(10)  # the sums are of natural logarithms
    return float((kept + guard) / (there + guard))


@njit(cache=True, nogil=True)
def _add_up(images, means, variances, taps):  # type: ignore[no-untyped-def]
    """The information kept and there at one scale; one logarithm serves a column of a band, whose 64 factors are below 64."""
    span = 2 * len(taps) - 1
    (a, b, f), (rows, columns) = images, means[0].shape
    band_a, band_b = np.empty((BAND + span - 1, a.shape[1])), np.empty((BAND + span - 1, a.shape[1]))
    line, products_a, products_b = np.empty(a.shape[1]), np.empty(columns), np.empty(columns)
    kept, there = 0.0, 0.0
    for top in range(0, rows, BAND):
        bottom = min(top + BAND, rows)
        multiply(a[top : bottom + span - 1], f[top : bottom + span - 1], band_a)
        multiply(b[top : bottom + span - 1], f[top : bottom + span - 1], band_b)
        factors_kept, factors_there = np.ones(columns), np.ones(columns)
        for i in range(top, bottom):
            filter_row(band_a[i - top : i - top + span], taps, line, products_a)
            filter_row(band_b[i - top : i - top + span], taps, line, products_b)
            rows_of_means = means[0][i], means[1][i], means[2][i]
            rows_of_variances = variances[0][i], variances[1][i], variances[2][i]
            _multiply_ratios(factors_kept, factors_there, products_a, products_b, rows_of_means, rows_of_variances)
        for j in range(columns):
            kept += math.log(factors_kept[j])
            there += math.log(factors_there[j])
    return kept, there


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _multiply_ratios(kept, there, products_a, products_b, means, variances):  # type: ignore[no-untyped-def]
    """Multiply each factor by what is 1 more than a signal-to-noise ratio of its window in one row."""
    (mean_a, mean_b, mean_f), (variance_a, variance_b, variance_f) = means, variances
    for j in range(kept.size):
        va, vb, vf = variance_a[j], variance_b[j], variance_f[j]
        shared_a, shared_b = products_a[j] - mean_a[j] * mean_f[j], products_b[j] - mean_b[j] * mean_f[j]
        shared_a = shared_a if (shared_a > 0) & (va > 0) & (vf > 0) else 0.0
        shared_b = shared_b if (shared_b > 0) & (vb > 0) & (vf > 0) else 0.0
        worse = shared_a * (vb + FLAT) < shared_b * (va + FLAT)  # the gains, both times both divisors
        shared, variance = shared_a if worse else shared_b, va if worse else vb
        squared, whole = shared * shared, variance + FLAT
        residual = max(vf * whole - squared, FLAT * whole)  # times `whole`, to divide but once
        kept[j] *= 1.0 + squared * variance / (whole * (residual + NOISE * whole))
        there[j] *= 1.0 + variance / NOISE
