"""Edge preservation pixel by pixel: the relative of Qabf in the comparison of Liu et al.

It differs from Qabf in its constants, folds the difference of two directions to pi / 2 at most, and averages the share that is kept over
all pixels: flat places count as much as edges, where Qabf weighs by the edges of the whole image.

Their code puts 1e-5 for a strength or a horizontal slope of 0, for the candidate only after it has been compared with source a: the two
sources then differ by less than 5e-7 of a score. Here both are treated alike, and a strength of 0 has the ratio 0 to any other.

Reference: Xydeas, Petrovic 2000, 10.1049/el:20000267, as in Liu, Blasch, Xue, Zhao, Laganiere, Wu 2012, 10.1109/TPAMI.2011.109.
"""

import numpy as np

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.gradients import Curves, Edges, Singles, add, find_edges, keep

TINY = 1e-5  # what stands for a strength or a slope of 0
CURVES = Curves(ceiling=1, strength_slope=10, strength_middle=0.5, equal=(1, 1), angle_slope=20, angle_middle=0.75, opposed=-1)


@metric(
    "q_g",
    better="higher",
    bounds=(0, 1),
    reference="Xydeas, Petrovic 2000, 10.1049/el:20000267, in Liu et al. 2012, 10.1109/TPAMI.2011.109",
    definition=(
        "mean over all pixels of (QA wA + QB wB) / (wA + wB), w = strength, Q = 1 / (1 + exp(-10 (G - 0.5))) * "
        "1 / (1 + exp(-20 (D - 0.75))), G = smaller / larger strength (both 0: 1), "
        "D = |1 - |difference of angles| / (pi / 2)|, 1 for parallel or opposite ones, Sobel on 0..255 with a border of zeros, "
        "angle = atan(sy / sx), 1e-5 for w = 0 and for sx = 0"
    ),
    passport=Passport(
        title="gradient-based metric of Liu et al.",
        symbol="$Q_G$",
        meaning="How well strength and direction of the sources' edges are kept at each pixel, flat places counting as much as edges.",
        combination="weighted",
        dynamic_range="0..255, as they are",
        undefined=(
            "never; 0.987 where all three images are equal; for other constants less, as the edges at the border are lost: "
            "from 0.979 on at 640x480 px, from 0.916 on at 64x48 px"
        ),
        noise="falls",
        blur="falls",
        window="3 x 3",
        border="zeros",
        golden="Q_G(Liu)",
        differences=(
            Difference(
                "Liu et al.", "a fused strength of 0 becomes 1e-5 for source b alone, so that swapping the sources counts", "below 5e-7"
            ),
            Difference("Qabf", "other constants, directions not folded, weighted over the whole image", "c04: 0.541, not 0.504; see qabf"),
        ),
    ),
)
def compare_gradients(fused: Fused) -> float:
    """The mean share of the sources' edges that is kept."""
    of_f = find_edges(fused.image, "zero", level=TINY)
    kept, weight = _weigh(fused.sources.a, of_f)
    kept_of_b, weight_of_b = _weigh(fused.sources.b, of_f)
    kept += kept_of_b
    weight += weight_of_b
    kept /= weight
    return add(kept) / kept.size


def _weigh(x: Picture, f: Edges) -> tuple[Singles, Singles]:
    """What is kept of each of a source's edges, times its weight, and that weight."""
    # To find a source's edges again costs less than a millisecond; to keep those with this level, two images for as long as the pair.
    edges = find_edges(x, "zero", level=TINY)
    kept = keep(edges, f, CURVES)
    weights: Singles = np.maximum(edges.strengths, np.float32(TINY), out=edges.strengths)
    kept *= weights
    return kept, weights
