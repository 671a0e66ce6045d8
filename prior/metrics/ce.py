"""Cross entropy of a candidate and its two sources: how far its distribution of grey levels is from theirs.

Reference: Bulanon, Burks, Alchanatis 2009, 10.1016/j.biosystemseng.2009.02.009.
"""

import math

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import LevelCounts, count_candidate

LEAST = -math.log2(math.e) / math.e  # p log2 p at its minimum: where one level is shared, the only one of the candidate


@metric_of_sources(
    "ce",
    "mean",
    better="lower",
    bounds=(LEAST, math.inf),
    reference="Bulanon, Burks, Alchanatis 2009, 10.1016/j.biosystemseng.2009.02.009",
    definition="sum p(x) log2(p(x) / p(f)) over the levels that both images have, 256 bins of 8-bit levels, in bits",
    passport=Passport(
        title="cross entropy",
        symbol="CE",
        meaning=(
            "How far the grey levels of the fused image are from being distributed as those of the sources; "
            "levels that it lacks are not held against it."
        ),
        combination="mean",
        dynamic_range="0..255, one bin per level, as they are",
        undefined="never; 0 where no level is shared",
        noise="varies",
        blur="varies",
        golden="CE",
        differences=(Difference("chenzpstar", "the sum of both terms, not their mean", "twice as much; c04: 2.624, not 1.312"),),
    ),
)
def compare_distributions(fused: Fused) -> tuple[float, float]:
    """The divergence of source a and of source b from the candidate, over the levels that they share with it."""
    with_a, with_b = fused.once(count_candidate)
    return _diverge(with_a.x, with_a.y), _diverge(with_b.x, with_b.y)


def _diverge(x: LevelCounts, f: LevelCounts) -> float:
    shared = (x.counts > 0) & (f.counts > 0)
    of_x, of_f = x.counts[shared], f.counts[shared]
    return float((of_x * np.log2(of_x / of_f)).sum()) / x.pixels
