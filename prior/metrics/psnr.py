"""Peak signal to noise ratio of a candidate against its two sources, in decibels.

Of the mean of the two squared errors, not the mean of two ratios. It is infinite where candidate and sources are equal: a true limit and
the best there is, unlike the nan of what is undefined.

Reference: Jagalingam, Hegde 2015, 10.1016/j.aqpro.2015.02.019.
"""

import math

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate

REFERENCE = "Jagalingam, Hegde 2015, 10.1016/j.aqpro.2015.02.019"
MEANING = "How far the fused image is from both sources, pixel by pixel, on a logarithmic scale."
PEAK = 255


@metric(
    "psnr",
    better="higher",
    bounds=(0, math.inf),
    reference=REFERENCE,
    definition="10 log10(255^2 / M), M = (mean((A - F)^2) + mean((B - F)^2)) / 2 on 0..255, in dB",
    passport=Passport(
        title="peak signal to noise ratio",
        symbol="PSNR",
        meaning=MEANING,
        combination="joint",
        dynamic_range="0..255 as they are",
        undefined="never; infinite where the fused image and both sources are equal",
        noise="falls",
        blur="varies",
        golden="PSNR(peak255)",
        differences=(
            Difference("Linfeng Tang", "M of levels in 0..1, but a peak of 255", "48.13 dB more; c04: 61.61, not 13.48"),
            Difference("Diff-IF", "the peak is the highest level of the fused image", "c01: 18.73, not 19.62"),
            Difference("VIFB, MEFB, bfliu7", "sqrt(sum of squares) / N in place of M", "c04: 55.29"),
            Difference("Topanxal", "the mean of two ratios, each with the peak of its source", "c04: 13.53"),
        ),
    ),
)
def psnr(fused: Fused) -> float:
    """Peak signal to noise ratio in dB; infinite where there is no error."""
    return _to_decibels(PEAK**2, _mean_error(fused))


@metric(
    "psnr_unit",
    variant_of="psnr",
    better="higher",
    bounds=(20 * math.log10(PEAK), math.inf),
    reference=REFERENCE,
    definition="10 log10(255^2 / M), M = (mean((A - F)^2) + mean((B - F)^2)) / 2 on 0..1, in dB",
    passport=Passport(
        title="peak signal to noise ratio of unit levels with the peak of 8 bits",
        symbol="PSNR (0..1, peak 255)",
        meaning="The ratio plus the constant 48.13 dB: the peak belongs to other levels than the error.",
        combination="joint",
        dynamic_range="errors of levels in 0..1, peak 255",
        undefined="never; infinite where the fused image and both sources are equal",
        noise="falls",
        blur="varies",
        golden="PSNR(Tang: [0,1] MSE, peak 255)",
    ),
)
def psnr_unit(fused: Fused) -> float:
    """Peak signal to noise ratio of errors in 0..1 with the peak 255, in dB."""
    return _to_decibels(PEAK**2, _mean_error(fused) / PEAK**2)


@metric(
    "psnr_peak_f",
    variant_of="psnr",
    better="higher",
    bounds=(-20 * math.log10(PEAK), math.inf),
    reference=REFERENCE,
    definition="10 log10(max(F)^2 / M), M = (mean((A - F)^2) + mean((B - F)^2)) / 2 on 0..255, in dB",
    passport=Passport(
        title="peak signal to noise ratio with the peak of the fused image",
        symbol="PSNR (peak max F)",
        meaning="The ratio with a peak that a single bright pixel of the fused image sets.",
        combination="joint",
        dynamic_range="0..255 as they are",
        undefined="where the fused image is black; infinite where it is not and both sources are equal to it",
        noise="varies",
        blur="varies",
        golden="PSNR(DiffIF: peak max(F))",
    ),
)
def psnr_peak_f(fused: Fused) -> float:
    """Peak signal to noise ratio in dB with the candidate's highest level as the peak; nan where that is 0."""
    peak = fused.once(count_candidate)[0].y.high
    return _to_decibels(peak**2, _mean_error(fused)) if peak else math.nan


@metric(
    "psnr_vifb",
    variant_of="psnr",
    better="higher",
    bounds=(10 * math.log10(PEAK), math.inf),
    reference=REFERENCE,
    definition="20 log10(255 / sqrt(R)), R = (sqrt(sum((A - F)^2)) + sqrt(sum((B - F)^2))) / (2 N) over all N pixels on 0..255, in dB",
    passport=Passport(
        title="peak signal to noise ratio of the root of the summed squared errors per pixel",
        symbol="PSNR (VIFB)",
        meaning="The ratio with the root of an error in place of the error; it grows with the size of the image.",
        combination="joint",
        dynamic_range="0..255 as they are",
        undefined="never; infinite where the fused image and both sources are equal",
        noise="falls",
        blur="varies",
        golden="PSNR(VIFB)",
    ),
)
def psnr_vifb(fused: Fused) -> float:
    """Peak signal to noise ratio in dB of the number that VIFB takes for the mean squared error."""
    with_a, with_b = fused.once(count_candidate)
    roots = math.sqrt(with_a.squared_errors) + math.sqrt(with_b.squared_errors)
    return _to_decibels(PEAK**2, roots / (2 * fused.image.size))


def _mean_error(fused: Fused) -> float:
    with_a, with_b = fused.once(count_candidate)
    return (with_a.squared_errors + with_b.squared_errors) / (2 * fused.image.size)


def _to_decibels(power: float, error: float) -> float:
    return 10 * math.log10(power / error) if error > 0 else math.inf
