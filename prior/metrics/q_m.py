"""The multi-scale metric of Wang and Liu: how near a candidate's Haar details are to those of its sources, at two scales.

Details of 8-bit levels are whole numbers (times 2 at the first scale, times 4 at the second), so exp(-|difference|) comes from a table and
the weights are exact. They are so soon made anew that nothing is remembered.

Reference: Wang, Liu 2008, Proc. 9th International Conference on Signal Processing, 965-968.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused

SMALLEST = 4
LEVELS = (1, 2)
EXPONENTS = (2 / 3, 1 / 3)  # of the finer and the coarser scale
MOST = 3.0  # every one of three details kept; the division by 3 is left out, as in Liu's code
# exp(-|difference|) for every whole number that the difference of two details, times 2^level, can be.
NEARNESS = tuple(np.exp(-np.arange(1020 * 4 ** (level - 1) + 1) / 2**level) for level in LEVELS)

Integers = NDArray[np.int16]


@metric(
    "q_m",
    better="higher",
    bounds=(0, MOST),
    reference="Wang, Liu 2008, Proc. 9th Int. Conf. Signal Processing (ICSP), 965-968",
    definition=(
        "q1^(2/3) q2^(1/3), q = sum(EA wA + EB wB) / sum(wA + wB) over the Haar details (orthonormal) H, V, D of scale 1 or 2, "
        "EX = sum over H, V, D of exp(-|X - F|), wX = H^2 + V^2 + D^2, on 0..255, odd rows and columns left out"
    ),
    passport=Passport(
        title="multi-scale metric of Wang and Liu",
        symbol="$Q_M$",
        meaning="How exactly the fine details of both sources stand in the fused image, the stronger weighing more.",
        combination="weighted",
        dynamic_range="0..255, as they are",
        undefined="where a side is below 4 px, or both sources have no details at one of the scales",
        noise="falls",
        blur="falls",
        window="2 x 2 and 4 x 4 blocks",
        border="none: a last odd row or column is left out",
        smallest=SMALLEST,
        golden="Q_M",
        differences=(Difference("the paper", "each E divided by 3", "a third of it"),),
    ),
)
def compare_details(fused: Fused) -> float:
    """The weighted nearness of the details at both scales; nan below 4 px or where the sources have none at a scale."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan
    levels = [picture.astype(np.int16, order="C") for picture in (fused.sources.a, fused.sources.b, fused.image)]
    fine = _compare(levels, 1)
    coarse = _compare([_halve(level) for level in levels], 2)
    return math.pow(fine, EXPONENTS[0]) * math.pow(coarse, EXPONENTS[1])


def _compare(levels: list[Integers], scale: int) -> float:
    """The mean nearness of the details of a candidate, the last, to those of its sources at one scale, weighted by their energies."""
    a, b, f = levels
    near, total = _add_up(a, b, f, NEARNESS[scale - 1])
    return near / total if total > 0 else math.nan


def _halve(level: Integers) -> Integers:
    """The sums of all blocks of 2 x 2."""
    height, width = (side // 2 * 2 for side in level.shape)
    added = level[0:height:2, :width] + level[1:height:2, :width]
    return added[:, ::2] + added[:, 1::2]


@njit(cache=True, nogil=True)
def _add_up(a, b, f, nearness):  # type: ignore[no-untyped-def]
    """The nearness of all details, each times its energy, and the energies, of both sources."""
    near, total = 0.0, 0
    for i in range(0, f.shape[0] - 1, 2):
        in_row = 0.0  # a long sum of small numbers loses less in parts
        for j in range(0, f.shape[1] - 1, 2):
            kept = _detail(f, i, j)
            for x in (a, b):
                down, along, across = _detail(x, i, j)
                energy = down * down + along * along + across * across
                in_row += energy * (nearness[abs(down - kept[0])] + nearness[abs(along - kept[1])] + nearness[abs(across - kept[2])])
                total += energy
        near += in_row
    return near, total


@njit(cache=True, nogil=True)
def _detail(level, i, j):  # type: ignore[no-untyped-def]
    """The Haar details of a block of 2 x 2, times 2: down the columns, along the rows and on the diagonal."""
    first, second = np.int64(level[i, j]), np.int64(level[i, j + 1])
    third, fourth = np.int64(level[i + 1, j]), np.int64(level[i + 1, j + 1])
    return first + second - third - fourth, first - second + third - fourth, first - second - third + fourth
