"""The multi-scale metric of Wang and Liu: how near a candidate's Haar details are to those of its sources, at two scales.

Details of 8-bit levels are whole numbers (times 2 at the first scale, times 4 at the second), so exp(-|difference|) comes from a table and
the weights are exact.

Reference: Wang, Liu 2008, Proc. 9th International Conference on Signal Processing, 965-968.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources

SMALLEST = 4
LEVELS = (1, 2)
EXPONENTS = (2 / 3, 1 / 3)  # of the finer and the coarser scale
MOST = 3.0  # every one of three details kept; the division by 3 is left out, as in Liu's code
# exp(-|difference|) for every whole number that the difference of two details, times 2^level, can be.
NEARNESS = tuple(np.exp(-np.arange(1020 * 4 ** (level - 1) + 1) / 2**level) for level in LEVELS)

Integers = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Details:
    """The Haar details of one picture at one scale.

    Attributes:
        bands: int16 `(3, h, w)`: down the columns, along the rows and on the diagonal, times 2^level.
        energies: float64 `(h, w)`: the sum of their squares, exact.
    """

    bands: Integers
    energies: NDArray[np.float64]


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
    of_a, of_b = fused.sources.once(_prepare)
    scales = zip(of_a, of_b, _decompose(fused.image), NEARNESS, strict=True)
    fine, coarse = (_compare(*scale) for scale in scales)
    return math.pow(fine, EXPONENTS[0]) * math.pow(coarse, EXPONENTS[1])


def _prepare(sources: Sources) -> tuple[list[Details], list[Details]]:
    return _decompose(sources.a), _decompose(sources.b)


def _compare(a: Details, b: Details, f: Details, nearness: NDArray[np.float64]) -> float:
    """The mean nearness of the details at one scale, weighted by their energies."""
    total = float(a.energies.sum() + b.energies.sum())
    near = sum(
        float((nearness[np.abs(band - kept)] * x.energies).sum()) for x in (a, b) for band, kept in zip(x.bands, f.bands, strict=True)
    )
    return near / total if total > 0 else math.nan


def _decompose(image: Picture) -> list[Details]:
    """The details of a picture at both scales."""
    level: Integers = image.astype(np.int16, order="C")
    scales = []
    for _ in LEVELS:
        height, width = (side // 2 * 2 for side in level.shape)
        top, bottom = level[0:height:2, :width], level[1:height:2, :width]
        added, lost = top + bottom, top - bottom
        level = added[:, ::2] + added[:, 1::2]
        bands = np.stack([lost[:, ::2] + lost[:, 1::2], added[:, ::2] - added[:, 1::2], lost[:, ::2] - lost[:, 1::2]])
        scales.append(Details(bands, np.square(bands, dtype=np.float64).sum(axis=0)))
    return scales
