"""Structural similarity at five scales: contrast and structure at each, brightness at the coarsest alone.

From scale to scale the images are halved by means of 2 x 2 px; an odd last row or column counts twice.

Reference: Wang, Simoncelli, Bovik 2003, 10.1109/ACSSC.2003.1292216.
"""

import math
from collections.abc import Sequence

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.windows import SCALES, Map, Moments, compare, compare_coarser, map_similarity

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
CONSTANTS = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)


@metric_of_sources(
    "ms_ssim",
    "mean",
    better="higher",
    term_noise="varies",  # one that is 0, for negative structures, stays 0
    bounds=(0, 1),
    reference="Wang, Simoncelli, Bovik 2003, 10.1109/ACSSC.2003.1292216",
    definition=(
        "product over 5 scales of max(0, mean of cs_k)^w_k, at scale 5 of l cs; cs = (2 cxf + C2) / (vx + vf + C2), "
        "l = (2 mx mf + C1) / (mx^2 + mf^2 + C1), Gaussian 11x11 of sigma 1.5, windows wholly inside, C1 = 2.55^2, C2 = 7.65^2, "
        "w = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333, halved by means of 2x2 px, the border mirrored"
    ),
    passport=Passport(
        title="multi-scale structural similarity",
        symbol="MS-SSIM",
        meaning="How much the fused image has the contrast and structure of the sources, from fine details to coarse forms.",
        combination="mean",
        dynamic_range="0..255 with L = 255",
        window="11x11, Gaussian, sigma 1.5, at 5 scales",
        border="windows wholly inside; mirrored for halving",
        smallest=161,
        undefined="below 161 px, where scale 5 has no window",
        noise="falls",
        blur="varies",
        golden="MS_SSIM_wang_mean",
        differences=(
            Difference("Linfeng Tang (MATLAB)", "another metric under this name: `mef_ms_ssim`", "c04: 0.853, not 0.472"),
            Difference("Topanxal (torch)", "prints 0", "c04: 0, not 0.472"),
            Difference(
                "chenzpstar (torch)", "other numbers, below 161 px too", "c05: + 0.011, c06: + 0.020, c04: none; c11 of 16 px: 0.714"
            ),
        ),
    ),
)
def compare_scales(fused: Fused) -> tuple[float, float]:
    """MS-SSIM to source a and to source b; nan below 161 px."""
    finest = fused.once(compare)
    scales = (finest, *fused.once(compare_coarser)) if finest else ()
    if len(scales) < SCALES:
        return math.nan, math.nan
    of_a = _multiply([(scale.a, scale.f, scale.with_a) for scale in scales])
    of_b = _multiply([(scale.b, scale.f, scale.with_b) for scale in scales])
    return of_a, of_b


def _multiply(scales: Sequence[tuple[Moments, Moments, Map]]) -> float:
    """The product over the scales, finest first: each the moments of both pictures and their covariances."""
    means = [_average_structure(*scale) for scale in scales[:-1]]
    means.append(float(map_similarity(*scales[-1], CONSTANTS).mean(dtype=np.float64)))
    return float(np.prod([max(0.0, mean) ** exponent for mean, exponent in zip(means, EXPONENTS, strict=True)]))


def _average_structure(x: Moments, f: Moments, covariances: Map) -> float:
    """The mean of (2 cxf + C2) / (vx + vf + C2)."""
    constant = np.float32(CONSTANTS[1])
    return float(((2 * covariances + constant) / (x.variances + f.variances + constant)).mean(dtype=np.float64))
