"""Mean squared error of a candidate against its two sources.

Reference: Jagalingam, Hegde 2015, 10.1016/j.aqpro.2015.02.019.
"""

import math

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate

REFERENCE = "Jagalingam, Hegde 2015, 10.1016/j.aqpro.2015.02.019"
PEAK = 255
MEANING = "How far the fused image is from each source, pixel by pixel; the plain average of the sources is the best there is."


@metric_of_sources(
    "mse",
    "mean",
    better="lower",
    bounds=(0, PEAK**2),
    reference=REFERENCE,
    definition="mean((X - F)^2) over all pixels, on 0..255",
    passport=Passport(
        title="mean squared error",
        symbol="MSE",
        meaning=MEANING,
        combination="mean",
        dynamic_range="0..255 as they are",
        undefined="never",
        noise="rises",
        blur="varies",
        golden="MSE(0-255)",
        differences=(
            Difference("Linfeng Tang, chenzpstar", "levels in 0..1", "divided by 65025; c04: 0.0449, not 2917"),
            Difference("VIFB, MEFB, bfliu7", "sqrt(sum of squares) / N in its place", "c04: 0.192"),
        ),
    ),
)
def compare_pixels(fused: Fused) -> tuple[float, float]:
    """Mean squared error against source a and against source b, in squared grey levels."""
    with_a, with_b = fused.once(count_candidate)
    return with_a.squared_errors / fused.image.size, with_b.squared_errors / fused.image.size


@metric_of_sources(
    "mse_unit",
    "mean",
    variant_of="mse",
    better="lower",
    bounds=(0, 1),
    reference=REFERENCE,
    definition="mean((X - F)^2) over all pixels, on 0..1",
    passport=Passport(
        title="mean squared error of unit levels",
        symbol="MSE (0..1)",
        meaning=MEANING,
        combination="mean",
        dynamic_range="0..1: 8-bit levels divided by 255",
        undefined="never",
        noise="rises",
        blur="varies",
        golden="MSE(0-1)",
    ),
)
def compare_unit_pixels(fused: Fused) -> tuple[float, float]:
    """Mean squared error against source a and against source b, of levels in 0..1."""
    of_a, of_b = fused.once(compare_pixels)
    return of_a / PEAK**2, of_b / PEAK**2


@metric_of_sources(
    "rmse_vifb",
    "mean",
    variant_of="mse",
    better="lower",
    bounds=(0, PEAK),
    reference=REFERENCE,
    definition="sqrt(sum((X - F)^2)) / N over all N pixels, on 0..255: not a root mean square",
    passport=Passport(
        title="root of the summed squared errors per pixel",
        symbol="RMSE (VIFB)",
        meaning="The number that VIFB prints as the root mean squared error: it is that over the root of the number of pixels.",
        combination="mean",
        dynamic_range="0..255 as they are",
        undefined="never",
        noise="rises",
        blur="varies",
        golden="RMSE(VIFB)",
    ),
)
def compare_roots(fused: Fused) -> tuple[float, float]:
    """The root of the sum of squared errors over the number of pixels, against source a and against source b."""
    with_a, with_b = fused.once(count_candidate)
    return math.sqrt(with_a.squared_errors) / fused.image.size, math.sqrt(with_b.squared_errors) / fused.image.size
