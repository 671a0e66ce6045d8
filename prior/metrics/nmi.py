"""Mutual information of a candidate and its sources over the mean of their entropies, so that sources of unequal entropy count alike.

Reference: Hossny, Nahavandi, Creighton 2008, 10.1049/el:20081754.
"""

import math

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import Joint, count_candidate, inform_candidate


@metric_of_sources(
    "nmi",
    "sum",
    better="higher",
    bounds=(0, 1),
    reference="Hossny, Nahavandi, Creighton 2008, 10.1049/el:20081754",
    definition=(
        "2 I(X,F) / (H(X) + H(F)), I and H in bits over bins of 8-bit levels, each image stretched by round(255 (x - min) / (max - min)), "
        "halves up, a black image left as it is"
    ),
    passport=Passport(
        title="normalised mutual information",
        symbol=r"$Q_{MI}$",
        meaning="The share of the entropy of each source and the fused image that they have in common; 2 where all three are equal.",
        combination="sum",
        dynamic_range="each image stretched to 0..255 and rounded, which joins no two levels",
        undefined="where the fused image or a source is constant and not black, or the fused image and a source are black",
        noise="falls",
        blur="varies",
        golden="Q_MI",
        differences=(
            Difference(
                "chenzpstar", "levels are not stretched: defined on a constant source too", "c15: 0.905 where others fail; else equal"
            ),
            Difference("Liu et al. 2012, MEFB (MATLAB)", "a constant image that is not black is an error", "nan here; else equal"),
        ),
    ),
)
def compare_normalised(fused: Fused) -> tuple[float, float]:
    """Normalised mutual information of the candidate with source a and with source b."""
    joints, shared = fused.once(count_candidate), fused.once(inform_candidate)
    return _normalise(joints[0], shared[0]), _normalise(joints[1], shared[1])


def _normalise(joint: Joint, shared: float) -> float:
    both = joint.x.entropy + joint.y.entropy
    return 2 * shared / both if both > 0 and joint.x.stretches and joint.y.stretches else math.nan
