"""Structural similarity under the Gaussian window of its authors, and as MATLAB's `ssim` computes it.

The authors leave out the windows that reach beyond the image; MATLAB repeats the last pixel instead, so that every pixel has a window.

Reference: Wang, Bovik, Sheikh, Simoncelli 2004, 10.1109/TIP.2003.819861.
"""

import math
from dataclasses import replace

import cv2
import numpy as np

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused, Sources
from prior.statistics.windows import WIDTH, Comparison, Moments, compare, compare_images, map_similarity, measure_moments

REACH = WIDTH // 2  # px from the middle of the window to its edge
CONSTANTS = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
CONSTANTS_OF_ONE = (0.01**2, 0.03**2)  # for the range 1, whatever the levels

REFERENCE = "Wang, Bovik, Sheikh, Simoncelli 2004, 10.1109/TIP.2003.819861"
DEFINITION = (
    "mean over all windows of (2 mx mf + C1)(2 cxf + C2) / ((mx^2 + mf^2 + C1)(vx + vf + C2)), "
    "Gaussian 11x11 of sigma 1.5, C1 = (0.01 L)^2, C2 = (0.03 L)^2, "
)
PASSPORT = Passport(
    title="structural similarity under a Gaussian window",
    symbol=r"SSIM$_G$",
    meaning="How much the fused image has the local brightness, contrast and structure of the sources.",
    combination="sum",
    dynamic_range="0..255 with L = 255",
    window="11x11, Gaussian, sigma 1.5",
    border="windows wholly inside",
    smallest=WIDTH,
    undefined="below 11 px",
    noise="falls",
    blur="varies",
    golden="SSIM_wang_sum",
    differences=(
        Difference("chenzpstar (torch)", "mean of the sources", "half: c04: 0.544, not 1.088"),
        Difference("MATLAB, ssim() of uint8", "replicated border, mean: `ssim_matlab`", "c04: 0.545, not 1.088"),
        Difference("Linfeng Tang (MATLAB)", "ssim() of doubles 0..255, so L = 1: `ssim_matlab_l1`", "c04: 0.464, not 1.088"),
        Difference(
            "Linfeng Tang (Python)",
            "mean; L = 255 on levels multiplied by 255 once more, to 0..65025, if they are floating point",
            "c01: 0.450, where levels as bytes give 0.788, not 1.576",
        ),
        Difference("Topanxal (torch)", "uniform window beyond a border of zeros", "c04: 1.092, not 1.088"),
        Difference("Diff-IF", "uniform 7x7 window, sample covariance: `ssim`", "c04: 1.072, not 1.088"),
    ),
)
PASSPORT_MATLAB = replace(
    PASSPORT,
    title="structural similarity as MATLAB's ssim of 8-bit images",
    symbol=r"SSIM$_{\mathrm{MATLAB}}$",
    combination="mean",
    border="replicated",
    smallest=1,
    undefined="never",
    golden="SSIM_matlab_L255_mean",
    differences=(Difference("VIFB", "windows wholly inside, sum", "c04: 1.088, not 0.545"),),
)
PASSPORT_MATLAB_OF_ONE = replace(
    PASSPORT_MATLAB,
    title="structural similarity as MATLAB's ssim of doubles from 0 to 255",
    symbol=r"SSIM$_{L=1}$",
    dynamic_range="0..255 with L = 1",
    blur="falls",
    golden="SSIM_matlab_L1_mean",
    differences=(Difference("MATLAB, ssim() of uint8", "L = 255", "c04: 0.545, not 0.464"),),
)


@metric_of_sources(
    "ssim_gaussian",
    "sum",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION + "L = 255, windows wholly inside",
    passport=PASSPORT,
)
def compare_structure(fused: Fused) -> tuple[float, float]:
    """SSIM under the Gaussian window to source a and to source b; nan below 11 px."""
    seen = fused.once(compare)
    return _average(seen, CONSTANTS) if seen else (math.nan, math.nan)


@metric_of_sources(
    "ssim_matlab",
    "mean",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION + "L = 255, the border replicated; printed by MATLAB's ssim() given bytes",
    passport=PASSPORT_MATLAB,
    variant_of="ssim_gaussian",
)
def compare_as_matlab(fused: Fused) -> tuple[float, float]:
    """SSIM as MATLAB computes it from 8-bit images, to source a and to source b."""
    return _average(fused.once(_compare_extended), CONSTANTS)


@metric_of_sources(
    "ssim_matlab_l1",
    "mean",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=DEFINITION + "L = 1 on levels of 0..255, the border replicated",
    passport=PASSPORT_MATLAB_OF_ONE,
    variant_of="ssim_gaussian",
)
def compare_as_matlab_of_doubles(fused: Fused) -> tuple[float, float]:
    """SSIM as MATLAB computes it from doubles in 0..255, taking their range to be 1, to source a and to source b."""
    return _average(fused.once(_compare_extended), CONSTANTS_OF_ONE)


def _average(seen: Comparison, constants: tuple[float, float]) -> tuple[float, float]:
    """The mean similarity of the candidate to source a and to source b."""
    of_a = map_similarity(seen.a, seen.f, seen.with_a, constants)
    of_b = map_similarity(seen.b, seen.f, seen.with_b, constants)
    return float(of_a.mean(dtype=np.float64)), float(of_b.mean(dtype=np.float64))


def _compare_extended(fused: Fused) -> Comparison:
    return compare_images(*fused.sources.once(_measure_extended), _extend(fused.image))


def _measure_extended(sources: Sources) -> tuple[Moments, Moments]:
    return measure_moments(_extend(sources.a)), measure_moments(_extend(sources.b))


def _extend(image: Picture) -> Picture:
    return np.asarray(cv2.copyMakeBorder(image, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE), np.uint8)
