"""Standard deviation of a candidate's grey levels: its global contrast.

Reference: Rao 1997, 10.1088/0957-0233/8/4/002, which the field cites for it by custom: it is about sensors.
"""

import math

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate

REFERENCE = "Rao 1997, 10.1088/0957-0233/8/4/002"
MOST = 127.5  # one half black, the other white
CEILING = 255  # what uint8 makes of a larger square

_VALUES = np.arange(256)


@metric(
    "sd",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition="sqrt(mean((F - mean F)^2)), of the population, on 0..255",
    passport=Passport(
        title="standard deviation",
        symbol="SD",
        meaning="How far the grey levels of the fused image lie from their mean: its contrast; noise raises it as long as no level clips.",
        combination="candidate alone",
        dynamic_range="0..255 as they are",
        undefined="never; 0 where the fused image is constant",
        noise="rises",
        blur="falls",
        golden="SD",
        differences=(
            Difference("Topanxal", "of a sample: the divisor is N - 1", "c11 (256 px): 18.054, not 18.018; c04: + 3.6e-4"),
            Difference("VIFB, MEFB (MATLAB)", "called Variance in the code, which takes the root all the same", "none"),
            Difference(
                "Linfeng Tang (published tables)",
                "squares held in uint8 stop at 255 and negative differences are 0",
                "about 8 to 11 on photographs, 15.97 at most; see sd_saturated",
            ),
        ),
    ),
)
def sd(fused: Fused) -> float:
    """Standard deviation of the candidate in grey levels."""
    of_a, _ = fused.once(count_candidate)
    return math.sqrt(of_a.y.variance) / of_a.y.pixels


@metric(
    "sd_saturated",
    variant_of="sd",
    better="higher",
    bounds=(0, math.sqrt(CEILING)),
    reference=REFERENCE,
    definition="sqrt(mean(min(max(F - round(mean F), 0)^2, 255))) on 0..255, halves rounded up",
    passport=Passport(
        title="standard deviation in 8-bit arithmetic",
        symbol="SD (uint8)",
        meaning="The number that widely copied tables print as the standard deviation: it stops growing at 16 levels above the mean.",
        combination="candidate alone",
        dynamic_range="0..255 as they are; differences and squares saturate at 0 and 255",
        undefined="never; 0 where the fused image is constant",
        noise="varies",
        blur="varies",
    ),
)
def sd_saturated(fused: Fused) -> float:
    """Standard deviation as unsigned 8-bit arithmetic computes it."""
    of_f = fused.once(count_candidate)[0].y
    mean = (2 * of_f.total + of_f.pixels) // (2 * of_f.pixels)
    squares = np.minimum(np.maximum(_VALUES - mean, 0) ** 2, CEILING)
    return math.sqrt(int(of_f.counts @ squares) / of_f.pixels)
