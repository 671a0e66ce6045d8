"""Where the edges of a candidate come from: kept from the sources, lost, or added by the fusion.

Qabf_petrovic + Nabf + Labf = 1: the share of the sources' edges that is kept, the loss where the candidate's edge is stronger than both
(artefacts), and the loss where it is not. Edges, curves and weights are those of Petrovic, Xydeas 2005; Nabf as modified by Shreyamsha
Kumar 2013, who counts of each source what it lost there.

A perfectly kept edge loses 3e-4, and artefacts may be a few pixels' such losses: all is in double precision, from slopes that are whole
numbers, so that shares of 1e-8 have their digits, too.

References: Shreyamsha Kumar 2013, 10.1007/s11760-012-0361-x; Petrovic, Xydeas 2005, 10.1109/ICCV.2005.175.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.gradients import slope_right, slope_up

KUMAR = "Shreyamsha Kumar 2013, 10.1007/s11760-012-0361-x"
PETROVIC = "Petrovic, Xydeas 2005, 10.1109/ICCV.2005.175"
VERSION = 2  # 1 was computed in single precision, and lost digits of shares below 1e-5
CEILING, STRENGTH_SLOPE, ANGLE_SLOPE, MIDDLE = 0.9999 * 0.9995, 19.0, 22.0, 0.5  # of the square of what is kept
SCALE = 1 / 8  # of a Sobel response, to grey levels per pixel
STRONG, WEAK_WEIGHT = 2.0, 0.001  # below this strength an edge has this weight, else its strength to the power 1.5
# Taylor series: of arctan(t) / t in powers of t^2, error below 3e-9 for t below 0.415; of exp(t), below 1e-9 for t below 0.35.
ARCTAN = tuple((-1) ** k / (2 * k + 1) for k in range(9))
EXP = tuple(1 / math.factorial(k) for k in range(9))
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
    version=VERSION,
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
    version=VERSION,
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
    version=VERSION,
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
    version=VERSION,
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
    version=VERSION,
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
    weight, *sums = _add_up(*(_find_slopes(picture) for picture in (a, b, f)))
    return Fate(*(one / weight for one in sums))


def _find_slopes(picture: Picture) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    return slope_right(picture, "mirror"), slope_up(picture, "mirror")


# Row by row, in loops that branch nowhere, so that the compiler takes several pixels at once: four times as fast as pixel by pixel.
@njit(cache=True, nogil=True)
def _add_up(a, b, f):  # type: ignore[no-untyped-def]
    """The sum of all weights, and those of a `Fate`, from the slopes of the pictures to the right and upwards."""
    width = f[0].shape[1]
    share_a, share_b, of_a, of_b, of_f = np.empty(width), np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    sums = np.zeros(5)
    for i in range(f[0].shape[0]):
        _keep_row(a[0][i], a[1][i], f[0][i], f[1][i], of_a, of_f, share_a)
        _keep_row(b[0][i], b[1][i], f[0][i], f[1][i], of_b, of_f, share_b)
        _add_row(share_a, share_b, of_a, of_b, of_f, sums)
    return sums


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _keep_row(x_right, x_up, f_right, f_up, of_x, of_f, share):  # type: ignore[no-untyped-def]
    """Fill in the strengths of the edges of x and f, and what f keeps of those of x.

    Strengths are roots of whole numbers: two are equal only where they are so in the definition. Where a picture is flat, the edge points
    upwards. The cross product over |x| |f| + |dot product| is the tangent of half the acute angle between the edges.
    """
    for j in range(share.size):
        x, y, v, w = np.float64(x_right[j]), np.float64(x_up[j]), np.float64(f_right[j]), np.float64(f_up[j])
        g, h = math.sqrt(x * x + y * y), math.sqrt(v * v + w * w)
        up_x, up_f = 1.0 if g == 0 else y, 1.0 if h == 0 else w
        half = abs(x * up_f - up_x * v) / (max(g, 1.0) * max(h, 1.0) + abs(x * v + up_x * up_f))
        quarter = half / (1.0 + math.sqrt(1.0 + half * half))
        agreement = 1.0 - 8 / math.pi * _arctan(quarter)
        ratio = min(g, h) / max(g, h, 1.0)  # below 1 a strength is 0
        doubt, turn = _exp(STRENGTH_SLOPE * (MIDDLE - ratio)), _exp(ANGLE_SLOPE * (MIDDLE - agreement))
        share[j] = math.sqrt(CEILING / ((1.0 + doubt) * (1.0 + turn)))
        of_x[j], of_f[j] = g, h


# The order of the additions may change.
@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _add_row(share_a, share_b, of_a, of_b, of_f, sums):  # type: ignore[no-untyped-def]
    """Add what the strengths and the kept shares of a row amount to."""
    weight, kept, lost, added, added_in_full = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(share_a.size):
        weight_a, weight_b = _weigh(of_a[j]), _weigh(of_b[j])
        there = weight_a + weight_b
        loss = (1.0 - share_a[j]) * weight_a + (1.0 - share_b[j]) * weight_b
        artefact = 1.0 if of_f[j] > max(of_a[j], of_b[j]) else 0.0
        weight += there
        kept += share_a[j] * weight_a + share_b[j] * weight_b
        lost += (1.0 - artefact) * loss
        added += artefact * loss
        added_in_full += artefact * (2.0 - share_a[j] - share_b[j]) * there
    sums[0] += weight
    sums[1] += kept
    sums[2] += lost
    sums[3] += added
    sums[4] += added_in_full


@njit(cache=True, nogil=True)
def _weigh(strength):  # type: ignore[no-untyped-def]
    g = SCALE * strength
    return g * math.sqrt(g) if g >= STRONG else WEAK_WEIGHT


@njit(cache=True, nogil=True, fastmath={"contract"})
def _arctan(t):  # type: ignore[no-untyped-def]
    total = ARCTAN[8]
    for k in range(7, -1, -1):
        total = ARCTAN[k] + t * t * total
    return t * total


@njit(cache=True, nogil=True, fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """The exponential for x in [-11, 11]: of x / 32 by its series, then five squarings."""
    t = x * (1 / 32)
    total = EXP[8]
    for k in range(7, -1, -1):
        total = EXP[k] + t * total
    total *= total
    total *= total
    total *= total
    total *= total
    return total * total
