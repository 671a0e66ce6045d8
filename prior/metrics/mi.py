"""Mutual information of a candidate and its two sources: how much the grey level in one tells of the grey level in the other.

Joint histograms of the 8-bit levels as they are, one bin per level. With whole counts n, N pixels and s(n) = n log2 n the definition is
log2 N + (sum of s over the joint histogram - sums of s over the two histograms) / N; only the logarithms are rounded.

Reference: Qu, Zhang, Yan 2002, 10.1049/el:20020212.
"""

import math

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import Joint, count_candidate, inform_candidate, sum_logs

REFERENCE = "Qu, Zhang, Yan 2002, 10.1049/el:20020212"
MEANING = "How much the grey level of the fused image tells of the grey levels of the sources."
UNDEFINED = "never; 0 where the fused image or a source is constant"
MOST = 8.0  # bits in a grey level
NATURAL = math.log(2)
SHARED = 254  # the level whose bin 255 shares where 1 is added to it in 8 bits


@metric_of_sources(
    "mi",
    "sum",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition="sum p(x,f) log2(p(x,f) / (p(x) p(f))) over 256 x 256 bins of 8-bit levels, in bits",
    passport=Passport(
        title="mutual information",
        symbol="MI",
        meaning=MEANING,
        combination="sum",
        dynamic_range="0..255, one bin per level, as they are",
        undefined=UNDEFINED,
        noise="falls",
        blur="varies",
        golden="MI(log2,raw)",
        differences=(
            Difference("Diff-IF", "natural logarithm", "a factor of ln 2; c04: 1.796, not 2.592"),
            Difference(
                "VIFB", "natural logarithm, levels stretched to 0..255 first, which changes nothing", "a factor of ln 2; c04: 1.796"
            ),
            Difference("Linfeng Tang (MATLAB)", "levels 254 and 255 share a bin of the joint histogram", "c04: + 0.014"),
            Difference("bfliu7 (Python)", "a Kullback-Leibler divergence under this name", "c04: 2.624, not 2.592"),
        ),
    ),
)
def compare_levels(fused: Fused) -> tuple[float, float]:
    """Mutual information of the candidate with source a and with source b, in bits; 0 where either is constant."""
    return fused.once(inform_candidate)


@metric_of_sources(
    "mi_ln",
    "sum",
    variant_of="mi",
    better="higher",
    bounds=(0, MOST * NATURAL),
    reference=REFERENCE,
    definition="sum p(x,f) ln(p(x,f) / (p(x) p(f))) over 256 x 256 bins of 8-bit levels, in nats",
    passport=Passport(
        title="mutual information in nats",
        symbol="MI (ln)",
        meaning=MEANING,
        combination="sum",
        dynamic_range="0..255, one bin per level, as they are",
        undefined=UNDEFINED,
        noise="falls",
        blur="varies",
        golden="MI(ln)",
        golden_by="Diff-IF Evaluator.py",
    ),
)
@metric_of_sources(
    "mi_ln_stretched",
    "sum",
    variant_of="mi",
    better="higher",
    bounds=(0, MOST * NATURAL),
    reference=REFERENCE,
    definition="sum p(x,f) ln(p(x,f) / (p(x) p(f))) over 256 x 256 bins of levels stretched to 0..255 and rounded, in nats",
    passport=Passport(
        title="mutual information of stretched levels in nats",
        symbol="MI (ln, stretched)",
        meaning="The same number as that of the levels as they are: no two levels meet when they are stretched.",
        combination="sum",
        dynamic_range="each image stretched to 0..255 and rounded, a constant one black",
        undefined=UNDEFINED,
        noise="falls",
        blur="varies",
        golden="MI(ln,minmax)",
    ),
)
def compare_in_nats(fused: Fused) -> tuple[float, float]:
    """Mutual information of the candidate with either source in nats: of the levels as they are and of the stretched ones alike."""
    of_a, of_b = fused.once(inform_candidate)
    return NATURAL * of_a, NATURAL * of_b


@metric_of_sources(
    "mi_saturated",
    "sum",
    variant_of="mi",
    better="higher",
    # With the share p of levels 254 and 255 a term is at most h(p) + (1 - p) log2 254 + 2 p, whose maximum over p this is.
    bounds=(0, math.log2(SHARED + 4)),
    reference=REFERENCE,
    definition="H(X) + H(F) - H(X',F') in bits, H of 256 bins per axis of 8-bit levels, X' = min(X, 254) and F' = min(F, 254)",
    passport=Passport(
        title="mutual information with a saturated joint histogram",
        symbol="MI (uint8)",
        meaning="Mutual information, plus what the joint histogram loses where its two lightest levels are one.",
        combination="sum",
        dynamic_range="0..255, one bin per level; 254 and 255 share one in the joint histogram alone",
        undefined="never; 0 where the fused image or a source is constant and neither has both of the levels 254 and 255",
        noise="falls",
        blur="varies",
        golden="MI(log2,Tang uint8 saturation)",
    ),
)
def compare_saturated(fused: Fused) -> tuple[float, float]:
    """Mutual information of the candidate with either source where levels 254 and 255 share a bin of the joint histogram."""
    of_a, of_b = fused.once(count_candidate)
    return _measure_saturated(of_a), _measure_saturated(of_b)


def _measure_saturated(joint: Joint) -> float:
    bins = np.minimum(joint.of_x, SHARED) * 256 + np.minimum(joint.of_y, SHARED)
    counts = np.bincount(bins, weights=joint.counts)
    shared = sum_logs(counts[counts > 0]) - joint.y.logs - joint.x.logs
    return max(0.0, math.log2(joint.x.pixels) + shared / joint.x.pixels)
