"""Edge intensity: the mean strength of the edges in a candidate.

Reference: Rajalingam, Priya 2018, International Journal of Engineering Science Invention 2 (special issue), 52-60.
"""

import math

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.gradients import add, join, slope_right, slope_up

MOST = 1020 * math.sqrt(2)


@metric(
    "ei",
    better="higher",
    bounds=(0, MOST),
    reference="Rajalingam, Priya 2018, Int. J. Eng. Sci. Invention 2 (special issue), 52-60",
    definition="mean of sqrt(sx^2 + sy^2), s the Sobel responses [1 2 1] x [-1 0 1] of levels 0..255, the outermost pixels repeated",
    passport=Passport(
        title="edge intensity",
        symbol="EI",
        meaning="How strong the edges of the fused image are on average, noise included.",
        combination="candidate alone",
        dynamic_range="0..255, as they are",
        undefined="never; 0 where the fused image is constant",
        noise="rises",
        blur="falls",
        window="3 x 3",
        border="the outermost pixels repeated",
        golden="EI",
        differences=(Difference("bfliu7", "the image mirrored at its border", "c04: 102.619, not 102.846"),),
    ),
)
def measure_edges(fused: Fused) -> float:
    """The mean strength of the Sobel gradient, in grey levels times 8."""
    return add(join(slope_right(fused.image, "replicate"), slope_up(fused.image, "replicate"))) / fused.image.size
