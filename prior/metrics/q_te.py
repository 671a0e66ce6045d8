"""Mutual information after Tsallis of a candidate and its sources, over that of the sources and their entropies.

Tsallis' order q weights rare and common levels unlike Shannon's logarithm does. Both public orders are here, and both as their public
code computes them: with the marginal of one image indexed by the levels of the other, which is no information of either.

Reference: Nava, Cristobal, Escalante-Ramirez 2007, SPIE Newsroom (mutual information improves image fusion quality assessments);
Cvejic, Canagarajah, Bull 2006, Electronics Letters 42(11):626.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prior.passport import Difference, Passport
from prior.registry import metric, metric_of_sources
from prior.statistics import Fused, Sources
from prior.statistics.histograms import Joint, LevelCounts, count_candidate, count_sources
from prior.statistics.levels import stretch_table

Measure = Callable[[Joint], float]
Weights = NDArray[np.float64]

NAVA = 0.43137  # q of Nava 2007
CVEJIC = 1.85  # q of Cvejic 2006
# I(X,F) is at most I(X,X), which is largest where all 256 levels are equally frequent.
MOST_CVEJIC = (256 ** (CVEJIC - 1) - 1) / (CVEJIC - 1)
REFERENCE_NAVA = (
    "Nava, Cristobal, Escalante-Ramirez 2007, SPIE Newsroom, Mutual information improves image fusion quality assessments; "
    "Liu et al. 2012, 10.1109/TPAMI.2011.109"
)
REFERENCE_CVEJIC = "Cvejic, Canagarajah, Bull 2006, Electronics Letters 42(11):626"
STRETCHED = "each image stretched by round(255 (x - min) / (max - min)), halves up, a black image left as it is"
TSALLIS = "(1 - sum p(x,y)^q / (p(x) p(y))^(q-1)) / (1 - q) over 256 x 256 bins"
SWAPPED = (
    "(1 - sum p(x,y)^q / (pY(x) pX(y))^(q-1)) / (1 - q) over 256 x 256 bins, pX and pY the marginals, each at the level of the other image "
    "and the bin left out where one of them is 0"
)
RATIO = "(I(A,F) + I(B,F)) / (H(A)^q + H(B)^q + I(A,B)), q = 0.43137, H in bits, I(X,Y) = "
DYNAMIC_RANGE = "each image stretched to 0..255 and rounded"
ANY_CONSTANT = "where any of the three images is constant and not black, or both sources are black"
ONE_CONSTANT = "where the fused image or a source is constant and not black"


@metric(
    "q_te",
    better="higher",
    bounds=(0, 1),  # not tight: single images bound it, and I(X,X) / H^q is 0.768 at most, where about 14 levels are equally frequent
    reference=REFERENCE_NAVA,
    definition=f"{RATIO}{TSALLIS}; {STRETCHED}",
    passport=Passport(
        title="Tsallis entropy metric",
        symbol=r"$Q_{TE}$",
        meaning=(
            "How much the fused image tells of its sources, with rare grey levels counting more than in Shannon's information; "
            "below about 10000 pixels the histograms are so sparse that noise scores as high."
        ),
        combination="joint",
        dynamic_range=DYNAMIC_RANGE,
        undefined=ANY_CONSTANT,
        noise="falls",
        blur="varies",
        golden="Q_TE_nava",
        differences=(
            Difference("Liu et al. 2012 (MATLAB)", "the two marginals are swapped", "c04: 0.415, not 0.208; see q_te_swapped"),
            Difference(
                "MEFB, cslib",
                "the sum of Cvejic, q = 1.85, the two marginals swapped",
                "c04: 1233.6, where that sum is 6.67; see q_te_cvejic_swapped and q_te_cvejic",
            ),
            Difference("Liu et al. 2012, MEFB (MATLAB)", "a constant image that is not black is an error", "nan here"),
        ),
    ),
)
def q_te(fused: Fused) -> float:
    """Tsallis entropy metric of Nava; nan where an image is constant and not black."""
    return _relate(fused, _measure_nava, _between_nava)


@metric(
    "q_te_swapped",
    variant_of="q_te",
    better="higher",
    bounds=(0, math.inf),
    reference=REFERENCE_NAVA,
    definition=f"{RATIO}{SWAPPED}; {STRETCHED}",
    passport=Passport(
        title="Tsallis entropy metric with swapped marginals",
        symbol=r"$Q_{TE}$ (swapped)",
        meaning="No information: a ratio that depends on which level stands for which, as public code prints it.",
        combination="joint",
        dynamic_range=DYNAMIC_RANGE,
        undefined=ANY_CONSTANT,
        noise="varies",
        blur="varies",
        golden="Q_TE_nava(swapped marginals, as in source)",
    ),
)
def q_te_swapped(fused: Fused) -> float:
    """Tsallis entropy metric of Nava with each marginal at the levels of the other image."""
    return _relate(fused, _swap_nava, _between_swapped)


@metric_of_sources(
    "q_te_cvejic",
    "sum",
    variant_of="q_te",
    better="higher",
    bounds=(0, MOST_CVEJIC),
    reference=REFERENCE_CVEJIC,
    definition=f"I(X,F), I(X,Y) = {TSALLIS}, q = 1.85; {STRETCHED}; the paper's, for which public code prints q_te_cvejic_swapped",
    passport=Passport(
        title="sum of the Tsallis mutual informations",
        symbol=r"$Q_{TE}$ (Cvejic)",
        meaning="How much the fused image tells of its sources, with common grey levels counting more than in Shannon's information.",
        combination="sum",
        dynamic_range=DYNAMIC_RANGE,
        undefined=ONE_CONSTANT,
        noise="falls",
        blur="varies",
        golden="Q_TE_cvejic",
    ),
)
def compare_tsallis(fused: Fused) -> tuple[float, float]:
    """Tsallis mutual information of order 1.85 of the candidate with source a and with source b."""
    with_a, with_b = fused.once(count_candidate)
    return _measure_cvejic(with_a), _measure_cvejic(with_b)


@metric_of_sources(
    "q_te_cvejic_swapped",
    "sum",
    variant_of="q_te",
    better="higher",
    bounds=(-1 / (CVEJIC - 1), math.inf),
    reference=REFERENCE_CVEJIC,
    definition=f"I(X,F), I(X,Y) = {SWAPPED}, q = 1.85; {STRETCHED}",
    passport=Passport(
        title="sum of the Tsallis mutual informations with swapped marginals",
        symbol=r"$Q_{TE}$ (Cvejic, swapped)",
        meaning="No information: a sum that depends on which level stands for which, as public code prints it.",
        combination="sum",
        dynamic_range=DYNAMIC_RANGE,
        undefined=ONE_CONSTANT,
        noise="varies",
        blur="varies",
        golden="Q_TE_cvejic(swapped marginals, as in source)",
    ),
)
def compare_swapped(fused: Fused) -> tuple[float, float]:
    """The same of source a and of source b with each marginal at the levels of the other image."""
    with_a, with_b = fused.once(count_candidate)
    return _swap_cvejic(with_a), _swap_cvejic(with_b)


def _relate(fused: Fused, measure: Measure, between: Callable[[Sources], float]) -> float:
    """What the candidate tells of both sources, over what the sources hold."""
    with_a, with_b = fused.once(count_candidate)
    held = with_a.x.entropy**NAVA + with_b.x.entropy**NAVA + fused.sources.once(between)
    return (measure(with_a) + measure(with_b)) / held if held != 0 else math.nan


def _between_nava(sources: Sources) -> float:
    return _measure_nava(sources.once(count_sources))


def _between_swapped(sources: Sources) -> float:
    return _swap_nava(sources.once(count_sources))


def _measure_nava(joint: Joint) -> float:
    return _measure(joint, NAVA)


def _measure_cvejic(joint: Joint) -> float:
    return _measure(joint, CVEJIC)


def _swap_nava(joint: Joint) -> float:
    return _swap(joint, NAVA)


def _swap_cvejic(joint: Joint) -> float:
    return _swap(joint, CVEJIC)


def _measure(joint: Joint, order: float) -> float:
    """Tsallis mutual information: of the levels as they are, since stretching them only renames the bins.

    Exactly 0 where an image is black, since entropies that may be 0 divide it, and not below.
    """
    if not (joint.x.stretches and joint.y.stretches):
        return math.nan
    if joint.x.constant or joint.y.constant:
        return 0.0
    return max(0.0, _add(joint, order, _weigh(joint.x, order)[joint.of_x], _weigh(joint.y, order)[joint.of_y]))


def _swap(joint: Joint, order: float) -> float:
    """The same with each marginal at the level of the other image, which stretching does move."""
    to_x, to_y = stretch_table(joint.x.low, joint.x.high), stretch_table(joint.y.low, joint.y.high)
    if to_x is None or to_y is None:
        return math.nan
    if joint.x.constant and joint.y.constant:
        return 0.0
    weights_x, weights_y = np.zeros(256), np.zeros(256)
    for weights, table, levels in ((weights_x, to_x, joint.x), (weights_y, to_y, joint.y)):
        present = np.flatnonzero(levels.counts)
        weights[table[present]] = _weigh(levels, order)[present]
    return _add(joint, order, weights_y[to_x[joint.of_x]], weights_x[to_y[joint.of_y]])


def _weigh(levels: LevelCounts, order: float) -> Weights:
    """n^(1 - q) of every level, 0 where there is none of it."""
    counts = levels.counts.astype(np.float64)
    return np.power(counts, 1 - order, out=np.zeros(256), where=counts > 0)


def _add(joint: Joint, order: float, weights_x: Weights, weights_y: Weights) -> float:
    """(1 - sum) / (1 - q) in counts instead of shares: what they lack of N adds up to N^(q - 2)."""
    total = float((joint.counts**order * weights_x * weights_y).sum()) * math.pow(joint.x.pixels, order - 2)
    return (1 - total) / (1 - order)
