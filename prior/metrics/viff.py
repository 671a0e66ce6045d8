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
from prior.statistics.scales import FLAT, SMALLEST, measure_bands

NOISE = 0.005 * 255**2
SHARE = 1 / NOISE
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
    return sum(weight * _weigh_scale(fused, number) for number, weight in enumerate(WEIGHTS) if weight)


def _weigh_scale(fused: Fused, number: int) -> float:
    """The information kept over the information there at one scale, of the source that is kept worse, window by window."""
    sums, windows = np.zeros(2), 0
    for moments in measure_bands(fused, number):
        factors = np.ones((sums.size, moments[0].shape[1]))
        _multiply_ratios(moments, factors[0], factors[1])
        sums += np.log(factors, out=factors).sum(axis=1)
        windows += moments[0].size
    kept, there = sums + GUARD * windows * math.log(10)  # the sums are of natural logarithms
    return float(kept / there)


@njit(cache=True, nogil=True)
def _multiply_ratios(moments, kept, there):  # type: ignore[no-untyped-def]
    """Multiply, down each column of a band, what is 1 more than a signal-to-noise ratio: one logarithm serves all, each is below 64."""
    of_a, of_b, of_f, shared_a, shared_b = moments
    for i in range(of_f.shape[0]):
        _multiply_row(of_a[i], of_b[i], of_f[i], shared_a[i], shared_b[i], kept, there)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _multiply_row(variances_a, variances_b, variances_f, covariances_a, covariances_b, kept, there):  # type: ignore[no-untyped-def]
    for j in range(kept.size):
        va, vb, vf = variances_a[j], variances_b[j], variances_f[j]
        shared_a = covariances_a[j] if (covariances_a[j] > 0) & (va > 0) & (vf > 0) else 0.0
        shared_b = covariances_b[j] if (covariances_b[j] > 0) & (vb > 0) & (vf > 0) else 0.0
        worse = shared_a * (vb + FLAT) < shared_b * (va + FLAT)  # the gains, both times both divisors
        shared, variance = shared_a if worse else shared_b, va if worse else vb
        squared, whole = shared * shared, variance + FLAT
        residual = max(vf * whole - squared, FLAT * whole)  # times `whole`, to divide but once
        kept[j] *= 1.0 + squared * variance / (whole * (residual + NOISE * whole))
        there[j] *= 1.0 + variance * SHARE
