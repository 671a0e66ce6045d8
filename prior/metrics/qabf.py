"""How well the edges of the two sources are kept in a candidate: their strength and their direction.

Sobel gradients as in the public implementations most used, which differ from the paper in three ways kept here: the border of zeros
counts as an edge (constant images score about 0.97), where two strengths are equal the strength itself stands for their ratio, and the
difference of two directions is not folded (it reaches pi, where the paper means pi / 2 at most). The variants undo or change one each.

Reference: Xydeas, Petrovic 2000, 10.1049/el:20000267.
"""

import math
from dataclasses import replace

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.gradients import Curves, Edges, add, find_edges, keep

REFERENCE = "Xydeas, Petrovic 2000, 10.1049/el:20000267"
CURVES = Curves(
    ceiling=0.9994 * 0.9879,  # the two constants Gamma of the paper: no edge is kept better
    strength_slope=15,
    strength_middle=0.5,
    equal=(0, 2),  # from 2 on the curve of the strengths is flat
    angle_slope=22,
    angle_middle=0.8,
    opposed=1,
)
FOLDED = replace(CURVES, opposed=-1)
TIE_LARGE = replace(CURVES, equal=(2, 2))
SUM = (
    "sum(QA gA + QB gB) / sum(gA + gB), Q = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (D - 0.8))), "
    "G = smaller / larger strength (equal strengths: G = gF), D = 1 - |difference of angles| / (pi / 2), {fold}, "
    "Sobel on {levels} with a border of zeros, angle = atan(sy / sx), pi / 2 where sx = 0"
)
DEFINITION = SUM.format(fold="angles not folded", levels="0..255")
PASSPORT = Passport(
    title="edge preservation of Xydeas and Petrovic",
    symbol="$Q^{AB/F}$",
    meaning="How well strength and direction of the sources' edges are kept, stronger edges weighing more.",
    combination="weighted",
    dynamic_range="0..255, as they are",
    undefined="where both sources are black or 1 px; 0.967 for other constants, 0.975 where all three images are equal",
    noise="falls",
    blur="falls",
    window="3 x 3",
    border="zeros, which count as edges",
    golden="Qabf(tie=gF)",
    differences=(
        Difference("the paper", "the difference of two directions folded to pi / 2", "c04: 0.574, not 0.541; see qabf_folded"),
        Difference("the paper", "equal strengths have the ratio 1", "at most 6e-4; c04: 0.5405117, not 0.5405120"),
        Difference("Topanxal", "angles by atan2, slopes swapped", "c04: 0.550"),
        Difference("bfliu7 (Python)", "images stretched, border mirrored, angles by atan2", "c04: 0.517"),
        Difference("chenzpstar", "folded, border mirrored, weights g^1.5", "c04: 0.687"),
        Difference("Petrovic, Shreyamsha Kumar (MATLAB)", "other curves, weights and borders", "c04: 0.853; see qabf_petrovic"),
        Difference(
            "any of these codes given levels in 0..1",
            "where strengths are equal, the strength itself stands for their ratio, and is small there",
            "c03, a maximum, equal to a source nearly everywhere: 0.377, not 0.606; c10: 0.011, not 0.975; c04: 0.5402, not 0.5405",
        ),
        Difference("VIFB, MEFB (MATLAB)", "levels multiplied by 255 once more", "below 2e-6; see qabf_vifb"),
        Difference("Linfeng Tang's published tables", "for an unknown reason not what the code gives today", "up to 0.001"),
    ),
)


@metric("qabf", better="higher", bounds=(0, CURVES.ceiling), reference=REFERENCE, definition=DEFINITION, passport=PASSPORT)
def qabf(fused: Fused) -> float:
    """Edge preservation of both sources, weighted by their edge strengths; nan where both sources are black everywhere."""
    return _preserve(fused, CURVES)


@metric(
    "qabf_folded",
    better="higher",
    bounds=(0, FOLDED.ceiling),
    reference=REFERENCE,
    definition=SUM.format(fold="its absolute value: angles folded", levels="0..255") + "; the paper's, which no public code prints",
    passport=replace(
        PASSPORT,
        title="edge preservation, directions folded",
        golden="Qabf(tie=gF,folded angle)",
        differences=(Difference("Linfeng Tang, VIFB, Diff-IF", "directions not folded", "c04: 0.541, not 0.574; see qabf"),),
    ),
    variant_of="qabf",
)
def qabf_folded(fused: Fused) -> float:
    """The same with opposite directions agreeing, as the paper means it; nan where both sources are black everywhere."""
    return _preserve(fused, FOLDED)


@metric(
    "qabf_vifb",
    better="higher",
    bounds=(0, TIE_LARGE.ceiling),
    reference=REFERENCE,
    definition=SUM.format(fold="angles not folded", levels="0..65025") + "; printed by VIFB and MEFB",
    passport=replace(
        PASSPORT,
        title="edge preservation of levels times 255",
        dynamic_range="multiplied by 255, to 0..65025",
        golden="Qabf",
        golden_by="VIFB.m @Octave7.3",
        differences=(Difference("Linfeng Tang, Diff-IF", "levels 0..255", "below 2e-6: only where equal strengths are below 2; see qabf"),),
    ),
    variant_of="qabf",
)
def qabf_vifb(fused: Fused) -> float:
    """The same of levels times 255, where equal strengths count as the best of ratios; nan where both sources are black everywhere."""
    return _preserve(fused, TIE_LARGE)


def _preserve(fused: Fused, curves: Curves) -> float:
    """The share of both sources' edge strengths that is kept; nan where there is no edge at all."""
    of_a, of_b, weight = fused.sources.once(_prepare)
    if weight == 0:
        return math.nan
    of_f = find_edges(fused.image, "zero")
    return (_sum_kept(of_a, of_f, curves) + _sum_kept(of_b, of_f, curves)) / weight


def _prepare(sources: Sources) -> tuple[Edges, Edges, float]:
    """The edges of both sources and the sum of all their strengths."""
    of_a, of_b = find_edges(sources.a, "zero"), find_edges(sources.b, "zero")
    return of_a, of_b, add(of_a.strengths) + add(of_b.strengths)


def _sum_kept(x: Edges, f: Edges, curves: Curves) -> float:
    kept = keep(x, f, curves)
    return add(np.multiply(kept, x.strengths, out=kept))
