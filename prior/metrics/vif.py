"""Visual information fidelity of a candidate to its two sources, in the pixel domain.

How much of the information in a source survives in the candidate: local gains and residuals under Gaussian windows at four scales.
All sums are float64 and every filter runs along one axis at a time, so the numbers are those of the definition, only sooner.

Beside it three others that go by the name: as released with Diff-IF, as computed on unsigned bytes, and with the noise of VIFF.

Reference: Sheikh, Bovik 2006, 10.1109/TIP.2005.859378 (the authors' pixel-domain version, "VIFp").
"""

import math
from collections.abc import Iterable

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric, metric_of_sources
from prior.statistics import Fused
from prior.statistics.scales import FLAT, SMALLEST, WIDTHS, measure_bands, weigh_window

REFERENCE = "Sheikh, Bovik 2006, 10.1109/TIP.2005.859378 (pixel domain)"
FORMULA = (
    "sum log(1 + g^2 vx / (vf - g cxf + {0})) / sum log(1 + vx / {0}), g = cxf / vx, negative g = 0, variances below 1e-10 = 0; 4 scales "
    "with Gaussian windows of 17, 9, 5, 3 px (sigma = width / 5, valid part only; before scales 2 to 4 filtered with that scale's window "
    "and halved), noise variance {0}, grey levels 0..255"
)
DEFINITION = FORMULA.format("2")
NOISE, NOISE_OF_VIFF = 2.0, 0.005 * 255**2
MOST = 255  # of an unsigned byte

SCALES, LATER_SCALES = range(4), range(1, 4)

Field = NDArray[np.float64]
Information = tuple[float, float]  # kept and there, natural logarithms, summed over windows
WINDOW = "Gaussians of 17, 9, 5 and 3 px, sigma = width / 5, at four scales"
PASSPORT = Passport(
    title="visual information fidelity",
    symbol="VIF",
    meaning="How much of the information in the sources survives in the fused image; contrast added to a source can lift it above 1 each.",
    combination="sum",
    dynamic_range="0..255; the noise variance of 2 belongs to it",
    undefined="where a source is constant, and below 41 px",
    noise="falls",
    blur="falls",
    window=WINDOW,
    border="windows wholly inside only",
    smallest=SMALLEST,
    golden="VIF_sum",
    differences=(
        Difference("Diff-IF", "calls it VIFF; an undefined term counts as 1", "none, but 1 for every constant source"),
        Difference("Diff-IF", "below 17 px swaps image and window in the convolution", "a wrong number: 1.69 on 16 px (c11)"),
        Difference("other codes below 17 px", "MATLAB prints nan, torch stops", "no number"),
        Difference("Linfeng Tang (published tables)", "squares and products of unsigned bytes stop at 255", "c04: 0.922, not 0.510"),
        Difference("code given images in [0, 1]", "keeps the noise variance of 2", "2 to 4 times as large"),
        Difference("chenzpstar (torch)", "noise variance 325, as in VIFF", "c04: 1.483, not 0.510"),
        Difference("some papers", "the mean of both terms", "half"),
        Difference("pyiqa (vif)", "the wavelet version", "another metric: c01, one source: 0.289, not 0.239"),
    ),
)
RELEASED = Passport(
    title="visual information fidelity as released with Diff-IF",
    symbol="VIF$_{\\mathrm{released}}$",
    meaning="VIF, where a source without any information counts as kept in full.",
    combination="sum",
    dynamic_range=PASSPORT.dynamic_range,
    undefined="below 41 px; the released code prints another number there, or fails",
    noise="falls",
    blur="falls",
    window=WINDOW,
    border=PASSPORT.border,
    smallest=SMALLEST,
    golden="VIF_sum(called VIFF)",
    golden_by="Diff-IF Evaluator.py",
)
SATURATED = Passport(
    title="visual information fidelity of saturated bytes",
    symbol="VIF$_{\\mathrm{uint8}}$",
    meaning="VIF as some published tables hold it: at the first scale it sees little but levels below 16.",
    combination="sum",
    dynamic_range="0..255 as unsigned bytes: at the first scale squares and products stop at 255, below it nothing does",
    undefined="where a source is constant, and below 41 px",
    noise="falls",
    blur="falls",
    window=WINDOW,
    border=PASSPORT.border,
    smallest=SMALLEST,
    differences=(Difference("Linfeng Tang (MATLAB today)", "converts to double first: VIF", "c04: 0.510, not 0.922"),),
)
NOISY = Passport(
    title="visual information fidelity with the noise of VIFF",
    symbol="VIFF$_{\\mathrm{sum}}$",
    meaning="VIF in which only contrasts above the noise that an eye overlooks count for much.",
    combination="sum",
    dynamic_range="0..255; the noise variance of 325.125 belongs to it",
    undefined="where a source is constant, and below 41 px",
    noise="falls",
    blur="falls",
    window=WINDOW,
    border=PASSPORT.border,
    smallest=SMALLEST,
    golden="VIFF(sum, nsq=325)",
    golden_by="chenzpstar(torch)",
    tolerance=2e-4,  # theirs is float32
    differences=(Difference("chenzpstar (torch)", "float32", "up to 2e-4 (c12); noise alone where a source is constant (c15: 3.32)"),),
)


@metric_of_sources(
    "vif",
    "sum",
    better="higher",
    bounds=(0, math.inf),
    reference=REFERENCE,
    definition=DEFINITION,
    passport=PASSPORT,
    golden_terms=("VIF_AF", "VIF_BF"),
)
def measure_fidelity(fused: Fused) -> tuple[float, float]:
    """The candidate's fidelity to source a and to source b; nan below 41 px, and for a constant source."""
    return _compare(fused, NOISE)


@metric(
    "vif_released",
    better="higher",
    bounds=(0, math.inf),
    reference=REFERENCE,
    definition=f"VIF(A,F) + VIF(B,F), each 1 where it is 0 / 0, VIF(X,F) = {DEFINITION}",
    passport=RELEASED,
    variant_of="vif",
)
def measure_fidelity_as_released(fused: Fused) -> float:
    """The sum of both fidelities, 1 for a constant source; nan below 41 px."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan
    return sum(1.0 if math.isnan(term) else term for term in fused.once(measure_fidelity))


@metric_of_sources(
    "viff_sum",
    "sum",
    better="higher",
    bounds=(0, math.inf),
    reference="Sheikh, Bovik 2006, 10.1109/TIP.2005.859378, with the noise variance of Han, Cai, Cao, Xu 2013",
    definition=FORMULA.format("325.125") + "; printed by chenzpstar",
    passport=NOISY,
    term_noise="varies",
    variant_of="viff",
)
def measure_fidelity_above_noise(fused: Fused) -> tuple[float, float]:
    """The candidate's fidelity to each source under the noise of VIFF; nan below 41 px, and for a constant source."""
    return _compare(fused, NOISE_OF_VIFF)


@metric_of_sources(
    "vif_saturated",
    "sum",
    better="higher",
    bounds=(0, math.inf),
    reference=REFERENCE,
    definition=f"{DEFINITION}; at scale 1 x^2, f^2 and x f are cut off at 255, negative variances are 0",
    passport=SATURATED,
    variant_of="vif",
)
def measure_fidelity_of_bytes(fused: Fused) -> tuple[float, float]:
    """The candidate's fidelity to each source in the arithmetic of unsigned bytes; nan below 41 px, and for a constant source."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan, math.nan
    later_a, later_b = _add_up(fused, NOISE, LATER_SCALES)
    return _weigh_bytes(fused.sources.a, fused.image, later_a), _weigh_bytes(fused.sources.b, fused.image, later_b)


def _compare(fused: Fused, noise: float) -> tuple[float, float]:
    if min(fused.image.shape) < SMALLEST:
        return math.nan, math.nan
    of_a, of_b = _add_up(fused, noise, SCALES)
    return _divide(*of_a), _divide(*of_b)


def _add_up(fused: Fused, noise: float, numbers: Iterable[int]) -> tuple[Information, Information]:
    """The information in either source that the candidate keeps and that is there, over some scales."""
    sums = np.zeros(4)
    for number in numbers:
        for of_a, of_b, of_f, shared_a, shared_b in measure_bands(fused, number):
            factors = np.ones((sums.size, of_f.shape[1]))
            _multiply_ratios(of_a, of_f, shared_a, noise, factors[0], factors[1])
            _multiply_ratios(of_b, of_f, shared_b, noise, factors[2], factors[3])
            sums += np.log(factors, out=factors).sum(axis=1)
    kept_a, there_a, kept_b, there_b = sums.tolist()
    return (kept_a, there_a), (kept_b, there_b)


def _divide(kept: float, there: float) -> float:
    """The share of the source's information that the candidate keeps; nan where there is none to keep."""
    return kept / there if there else math.nan


def _weigh_bytes(x: Picture, f: Picture, later: Information) -> float:
    """The fidelity in unsigned bytes at the first scale, as ever at the others."""
    mean_x, mean_f = _filter(x), _filter(f)
    vx, vf = (_filter(_multiply_bytes(z, z)) - mean**2 for z, mean in ((x, mean_x), (f, mean_f)))
    vx, vf = np.where(vx < FLAT, 0, vx), np.where(vf < FLAT, 0, vf)
    shared = _filter(_multiply_bytes(x, f)) - mean_x * mean_f
    gain = np.where((vx > 0) & (vf > 0) & (shared > 0), shared, 0) / (vx + FLAT)
    kept = np.log1p(gain**2 * vx / (np.maximum(vf - gain * shared, FLAT) + NOISE)).sum()
    there = np.log1p(vx / NOISE).sum()
    return _divide(float(kept) + later[0], float(there) + later[1])


def _multiply_bytes(x: Picture, y: Picture) -> Picture:
    """Products that stop at 255, as OpenCV's do."""
    return np.asarray(cv2.multiply(x, y), np.uint8)


def _filter(image: Picture) -> Field:
    """The Gaussian mean of every window at the first scale."""
    half = np.array(weigh_window(WIDTHS[0]))
    window, reach = np.concatenate([half[:0:-1], half]), half.size - 1
    means = cv2.sepFilter2D(image.astype(np.float64), cv2.CV_64F, window, window)
    return np.asarray(means[reach:-reach, reach:-reach], np.float64)


@njit(cache=True, nogil=True)
def _multiply_ratios(x_variances, f_variances, covariances, noise, kept, there):  # type: ignore[no-untyped-def]
    """Multiply, down each column of a band, what is 1 more than a signal-to-noise ratio, so that one logarithm serves all its windows.

    The factors, of what is kept and of what is there, are below 2^15: those of a band multiply to less than float64 can hold.
    """
    for i in range(covariances.shape[0]):
        _multiply_row(x_variances[i], f_variances[i], covariances[i], noise, kept, there)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _multiply_row(x_variances, f_variances, covariances, noise, kept, there):  # type: ignore[no-untyped-def]
    share = 1 / noise
    for j in range(kept.size):
        shared = covariances[j]
        squared = shared * shared
        whole = x_variances[j] + FLAT
        residual = max(f_variances[j] * whole - squared, FLAT * whole)  # times `whole`, to divide but once
        ratio = squared * x_variances[j] / (whole * (residual + noise * whole))
        counts = (shared > 0) & (x_variances[j] > 0) & (f_variances[j] > 0)
        kept[j] *= 1.0 + (ratio if counts else 0.0)
        there[j] *= 1.0 + x_variances[j] * share
