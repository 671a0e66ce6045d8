"""Nonlinear correlation information entropy: how strongly two sources and a candidate depend on each other, all three together.

The eigenvalues of the matrix of their nonlinear correlations (mutual information over its maximum of 8 bits) are shares of a whole of 3;
the less evenly they divide it, the stronger the dependence.

Reference: Wang, Shen, Zhang 2005, Physica D 200:287; Wang, Shen, Jin 2008, Image Fusion: Algorithms and Applications, chapter 19.
"""

import math

import numpy as np

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate, inform_candidate, inform_sources

MOST = 8.0  # bits in a grey level
IMAGES = 3
LEAST = 1 - math.log2(IMAGES) / MOST  # where nothing depends on anything


@metric(
    "q_ncie",
    better="higher",
    bounds=(LEAST, 1),
    reference="Wang, Shen, Zhang 2005, Physica D 200:287; Wang, Shen, Jin 2008, Image Fusion: Algorithms and Applications, chapter 19",
    definition=(
        "1 + sum (r/3) log256(r/3), r the eigenvalues of [[1, c(A,B), c(A,F)], [c(A,B), 1, c(B,F)], [c(A,F), c(B,F), 1]], "
        "c(X,Y) = I(X,Y) / 8 with I in bits over 256 x 256 bins, 0 log 0 = 0, each image stretched by round(255 (x - min) / (max - min)), "
        "halves up, a black image left as it is"
    ),
    passport=Passport(
        title="nonlinear correlation information entropy",
        symbol=r"$Q_{NCIE}$",
        meaning="How strongly the fused image and its two sources depend on each other; real images move it within a few hundredths.",
        combination="joint",
        dynamic_range="each image stretched to 0..255 and rounded, which joins no two levels",
        undefined="where any of the three images is constant and not black",
        noise="falls",
        blur="varies",
        golden="Q_NCIE",
        differences=(
            Difference("Liu et al. 2012, MEFB (MATLAB)", "a constant image that is not black is an error", "nan here; else equal"),
        ),
    ),
)
def q_ncie(fused: Fused) -> float:
    """Nonlinear correlation information entropy; nan where an image is constant and not black."""
    with_a, with_b = fused.once(count_candidate)
    if not (with_a.x.stretches and with_b.x.stretches and with_a.y.stretches):
        return math.nan
    ab = fused.sources.once(inform_sources) / MOST
    af, bf = (shared / MOST for shared in fused.once(inform_candidate))
    shares = np.linalg.eigvalsh(np.array([[1, ab, af], [ab, 1, bf], [af, bf, 1]])) / IMAGES
    # What rounding leaves of a vanishing eigenvalue may lie below 0.
    return 1 + sum(float(share) * math.log2(share) for share in shares if share > 0) / MOST
