"""Where the edges of a candidate come from: kept from the sources, lost, or added by the fusion.

Qabf_petrovic + Nabf + Labf = 1: the share of the sources' edges that is kept, the loss where the candidate's edge is stronger than both
(artefacts), and the loss where it is not. Edges, curves and weights are those of Petrovic, Xydeas 2005; Nabf as modified by Shreyamsha
Kumar 2013, who counts of each source what it lost there.

References: Shreyamsha Kumar 2013, 10.1007/s11760-012-0361-x; Petrovic, Xydeas 2005, 10.1109/ICCV.2005.175.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.gradients import Curves, find_edges, keep

KUMAR = "Shreyamsha Kumar 2013, 10.1007/s11760-012-0361-x"
PETROVIC = "Petrovic, Xydeas 2005, 10.1109/ICCV.2005.175"
# The square of what is kept; where both strengths are 0 their ratio is 0, all other equal ones have the ratio 1.
CURVES = Curves(ceiling=0.9999 * 0.9995, strength_slope=19, strength_middle=0.5, equal=(0, 1), angle_slope=22, angle_middle=0.5, opposed=-1)
SCALE = np.float32(1 / 8)  # of a Sobel response, to grey levels per pixel
STRONG, WEAK_WEIGHT = np.float32(2), np.float32(0.001)  # below this strength an edge has this weight, else its strength to the power 1.5
EDGES = (
    "Q^2 = 0.9999 / (1 + exp(-19 (G - 0.5))) * 0.9995 / (1 + exp(-22 (D - 0.5))), G = smaller / larger strength g (0 where either is 0), "
    "D = |1 - |difference of angles| / (pi / 2)|, 1 for parallel or opposite ones, w = g^1.5, 0.001 where g < 2, Sobel / 8 on 0..255, "
    "mirrored border"
)

PASSPORT = Passport(
    title="fusion artefacts, modified",
    symbol="$N^{AB/F}$",
    meaning="The share of the sources' edges that is lost under stronger edges which neither source has: artefacts of the fusion.",
    combination="weighted",
    dynamic_range="0..255, as they are",
    undefined="never; 0 for constants",
    noise="rises",
    blur="varies",
    window="3 x 3",
    border="mirrored about the outermost pixel",
    golden="Nabf",
    differences=(
        Difference(
            "Linfeng Tang, analysis_Reference.m", "source a is passed for the fused image", "c02: 0.0085, not 0.0170; see nabf_swapped"
        ),
        Difference("Petrovic, Xydeas 2005", "the losses of both sources times both weights", "c04: 0.651, not 0.074; see nabf_petrovic"),
        Difference("Topanxal", "Sobel not divided by 8, border of zeros", "c04: 0.067, not 0.074"),
        Difference("chenzpstar", "the constants of Qabf", "c04: 0.171, not 0.074"),
    ),
)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the sources' edges, as shares of all of them.

    Attributes:
        kept: the share that is kept.
        lost: what is lost where the candidate's edge is not stronger than both.
        added: what is lost where it is.
        added_in_full: there, the sum of what both lose times the sum of their weights.
    """

    kept: float
    lost: float
    added: float
    added_in_full: float


@metric(
    "nabf",
    better="lower",
    bounds=(0, 1),
    reference=KUMAR,
    definition=f"sum over gF > max(gA, gB) of ((1 - QA) wA + (1 - QB) wB) / sum(wA + wB), {EDGES}",
    passport=PASSPORT,
)
def measure_artefacts(fused: Fused) -> float:
    """The share of the sources' edges that is lost under added ones."""
    return fused.once(_trace).added


@metric(
    "labf",
    better="lower",
    bounds=(0, 1),
    reference=PETROVIC,
    definition=f"sum over gF <= max(gA, gB) of ((1 - QA) wA + (1 - QB) wB) / sum(wA + wB), {EDGES}",
    passport=replace(
        PASSPORT,
        title="fusion loss",
        symbol="$L^{AB/F}$",
        meaning="The share of the sources' edges that is lost where the fused image adds none of its own.",
        undefined="never; 0.991 for constants, where the weak weights of 0.001 are all there is",
        noise="varies",
        blur="rises",
        golden="Labf",
        differences=(Difference("chenzpstar", "the constants of Qabf", "c04: 0.141, not 0.073"),),
    ),
)
def measure_loss(fused: Fused) -> float:
    """The share of the sources' edges that is lost where none are added."""
    return fused.once(_trace).lost


@metric(
    "qabf_petrovic",
    better="higher",
    bounds=(0, 1),
    reference=PETROVIC,
    definition=f"sum(QA wA + QB wB) / sum(wA + wB), {EDGES}",
    passport=replace(
        PASSPORT,
        title="edge preservation with the weights and curves of Petrovic and Xydeas",
        symbol=r"$Q^{AB/F}_{\mathrm{Petrovic}}$",
        meaning="The share of the sources' edges that is kept, strong edges weighing more than in Qabf.",
        undefined="never; 0.009 for constants, where the weak weights of 0.001 are all there is",
        noise="falls",
        blur="falls",
        golden="Qabf_petrovic",
        differences=(Difference("Linfeng Tang, VIFB, Diff-IF", "other curves, weights and borders", "c04: 0.541, not 0.853; see qabf"),),
    ),
    variant_of="qabf",
)
def measure_kept(fused: Fused) -> float:
    """The share of the sources' edges that is kept."""
    return fused.once(_trace).kept


@metric(
    "nabf_petrovic",
    better="lower",
    bounds=(0, 2),
    reference=PETROVIC,
    definition=f"sum over gF > max(gA, gB) of (2 - QA - QB) (wA + wB) / sum(wA + wB), {EDGES}",
    passport=replace(
        PASSPORT,
        title="fusion artefacts",
        symbol=r"$N^{AB/F}_{\mathrm{Petrovic}}$",
        meaning="What both sources lose under edges stronger than theirs, each loss weighing as much as both edges there.",
        golden="Nabf_petrovic",
        differences=(Difference("Shreyamsha Kumar 2013", "each source's loss times its own weight", "c04: 0.074, not 0.651; see nabf"),),
    ),
    variant_of="nabf",
)
def measure_artefacts_in_full(fused: Fused) -> float:
    """The added edges as Petrovic and Xydeas weigh them."""
    return fused.once(_trace).added_in_full


@metric(
    "nabf_swapped",
    better="lower",
    bounds=(0, 1),
    reference=KUMAR,
    definition=f"Nabf of A as the fused image of B and F: sum over gA > max(gB, gF) of ((1 - QB) wB + (1 - QF) wF) / sum(wB + wF), {EDGES}",
    passport=replace(
        PASSPORT,
        title="fusion artefacts, the arguments swapped",
        symbol=r"$N^{AB/F}_{\mathrm{swapped}}$",
        meaning="Artefacts of source a as if it had been fused from source b and the fused image: an error in published tables.",
        combination="joint",
        noise="varies",
        symmetric=False,
        golden="Nabf(args swapped as analysis_Reference.m calls it)",
        golden_by="LinfengTang.m @Octave7.3",
        differences=(Difference("the definition", "the fused image as the fused image", "c02: 0.0170, not 0.0085; see nabf"),),
    ),
    variant_of="nabf",
)
def measure_artefacts_of_a(fused: Fused) -> float:
    """The artefacts that published tables hold, where source a was taken for the fused image."""
    return _follow(fused.sources.b, fused.image, fused.sources.a).added


def _trace(fused: Fused) -> Fate:
    return _follow(fused.sources.a, fused.sources.b, fused.image)


def _follow(a: Picture, b: Picture, f: Picture) -> Fate:
    """What became of the edges of two pictures in a third."""
    of_a, of_b, of_f = (find_edges(picture, "mirror") for picture in (a, b, f))
    kept_a, kept_b = keep(of_a, of_f, CURVES), keep(of_b, of_f, CURVES)
    weight, *sums = _add_up(of_a.strengths, kept_a, of_b.strengths, kept_b, of_f.strengths)
    return Fate(*(one / weight for one in sums))


# The order of the additions may change: that alone lets the compiler add up several pixels at once.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _add_up(a, kept_a, b, kept_b, f):  # type: ignore[no-untyped-def]
    """The sum of all weights, and those of a `Fate`, from the strengths and the squares of what is kept."""
    weight, kept, lost, added, added_in_full = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            # From here on in double precision: swapping the sources then moves no more than its last digits.
            weight_a, weight_b = np.float64(_weigh(a[i, j])), np.float64(_weigh(b[i, j]))
            share_a, share_b = np.float64(np.sqrt(kept_a[i, j])), np.float64(np.sqrt(kept_b[i, j]))
            there = weight_a + weight_b
            loss = (1.0 - share_a) * weight_a + (1.0 - share_b) * weight_b
            artefact = 1.0 if f[i, j] > max(a[i, j], b[i, j]) else 0.0
            weight += there
            kept += share_a * weight_a + share_b * weight_b
            lost += (1.0 - artefact) * loss
            added += artefact * loss
            added_in_full += artefact * (2.0 - share_a - share_b) * there
    return weight, kept, lost, added, added_in_full


@njit(cache=True, nogil=True)
def _weigh(strength):  # type: ignore[no-untyped-def]
    g = SCALE * strength
    return g * np.sqrt(g) if g >= STRONG else WEAK_WEIGHT
