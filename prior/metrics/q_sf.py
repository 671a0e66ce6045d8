"""The ratio of spatial frequency error: whether a candidate changes from pixel to pixel as much as the livelier of its sources.

Four directions; the reference takes in each place the larger difference of the two sources. All sums are of whole numbers, exact.

Reference: Zheng, Essock, Hansen, Haun 2007, 10.1016/j.inffus.2005.04.003.
"""

import math

import cv2
import numpy as np

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources

SMALLEST = 2
DIAGONAL = math.sqrt(0.5)  # the weight of a squared difference along a diagonal


@metric(
    "q_sf",
    better="zero",
    bounds=(-1, math.inf),
    reference="Zheng, Essock, Hansen, Haun 2007, 10.1016/j.inffus.2005.04.003",
    definition=(
        "(S(F) - R) / R, S^2 = sum of w d^2 over the differences d to the next pixel in 4 directions, w = 1 in rows and columns and "
        "1 / sqrt(2) on diagonals, R the same of max(|dA|, |dB|), on 0..255"
    ),
    passport=Passport(
        title="ratio of spatial frequency error",
        symbol="$Q_{SF}$",
        meaning="Whether the fused image is as active as the livelier source in each place: below 0 activity was lost, above 0 added.",
        combination="joint",
        dynamic_range="0..255, as they are",
        undefined="where a side is 1 px or both sources are constant",
        noise="rises",
        blur="falls",
        window="3 neighbours",
        smallest=SMALLEST,
        golden="Q_SF",
        differences=(
            Difference(
                "tables that mark the larger as the better", "the number itself, not its distance from 0", "a sign: c04 0.060, c01 -0.477"
            ),
        ),
    ),
)
def compare_activity(fused: Fused) -> float:
    """The relative error of the candidate's spatial frequency; nan below 2 px or where both sources are constant."""
    reference = fused.sources.once(_sum_reference)
    if math.isnan(reference) or reference == 0:
        return math.nan
    straight, diagonal = (sum(cv2.norm(*ends, cv2.NORM_L2SQR) for ends in pairs) for pairs in _list_neighbours(fused.image))
    return math.sqrt((straight + DIAGONAL * diagonal) / reference) - 1


def _sum_reference(sources: Sources) -> float:
    """The weighted sum of the squares of the larger differences; nan where there are none."""
    if min(sources.a.shape) < SMALLEST:
        return math.nan
    of_a, of_b = _list_neighbours(sources.a), _list_neighbours(sources.b)
    straight, diagonal = (
        sum(
            cv2.norm(np.maximum(cv2.absdiff(*in_a), cv2.absdiff(*in_b)), cv2.NORM_L2SQR)
            for in_a, in_b in zip(pairs_a, pairs_b, strict=True)
        )
        for pairs_a, pairs_b in zip(of_a, of_b, strict=True)
    )
    return float(straight + DIAGONAL * diagonal)


def _list_neighbours(x: Picture) -> tuple[list[tuple[Picture, Picture]], list[tuple[Picture, Picture]]]:
    """A picture beside itself moved by one pixel: along the rows and the columns, and along the two diagonals."""
    straight = [(x[:, 1:], x[:, :-1]), (x[1:], x[:-1])]
    return straight, [(x[1:, 1:], x[:-1, :-1]), (x[1:, :-1], x[:-1, 1:])]
