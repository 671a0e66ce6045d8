"""Entropy of a candidate: how many bits its grey levels carry, whatever they show.

Reference: Roberts, van Aardt, Ahmed 2008, Journal of Applied Remote Sensing 2:023522.
"""

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate

MOST = 8.0  # bits in a grey level


@metric(
    "en",
    better="higher",
    bounds=(0, MOST),
    reference="Roberts, van Aardt, Ahmed 2008, Journal of Applied Remote Sensing 2:023522",
    definition="- sum p(f) log2 p(f) over 256 bins of 8-bit levels, in bits",
    passport=Passport(
        title="entropy",
        symbol="EN",
        meaning="How evenly the fused image uses its grey levels; noise counts as information.",
        combination="candidate alone",
        dynamic_range="0..255, one bin per level, as they are",
        undefined="never; 0 where the fused image is constant",
        noise="rises",
        blur="varies",
        golden="EN",
        differences=(
            Difference("Topanxal", "levels 0 and 1 share a bin", "c04: 3.5e-5 less"),
            Difference("Linfeng Tang (Python)", "1e-7 added within the logarithm", "about 1e-5"),
        ),
    ),
)
def en(fused: Fused) -> float:
    """Entropy of the candidate in bits."""
    of_a, _ = fused.once(count_candidate)
    return of_a.y.entropy
