"""How well the edges of the two sources are kept in a candidate: their strength and their direction.

Sobel gradients as in the public implementations most used, which differ from the paper in three ways kept here: the border of zeros
counts as an edge (constant images score about 0.97), where two strengths are equal the strength itself stands for their ratio, and the
difference of two directions is not folded (it reaches pi, where the paper means pi / 2 at most).

Reference: Xydeas, Petrovic 2000, 10.1049/el:20000267.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.registry import metric
from prior.statistics import Fused, Sources

SINGLE = np.float32
ONE, TWO, SIXTEENTH, HALF_PI = SINGLE(1), SINGLE(2), SINGLE(1 / 16), SINGLE(math.pi / 2)
CEILING = SINGLE(0.9994 * 0.9879)  # the two constants Gamma of the paper: no edge is kept better
STRENGTH_SLOPE, STRENGTH_MIDDLE = SINGLE(-15), SINGLE(0.5)  # kappa and sigma of the strengths
ANGLE_SLOPE, ANGLE_MIDDLE = SINGLE(-22), SINGLE(0.8)  # kappa and sigma of the directions
# Abramowitz, Stegun 1964, 4.4.49: arctan(t) / t in powers of t^2, error below 2e-8 for t in [0, 1].
ARCTAN = tuple(
    SINGLE(c)
    for c in (1, -0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393, -0.0752896400, 0.0429096138, -0.0161657367, 0.0028662257)
)
EXP = tuple(SINGLE(1 / math.factorial(k)) for k in range(8))

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Edges:
    """The gradient of one image.

    Attributes:
        strengths: float32 `(H, W)`, in grey levels times 8.
        angles: float32 `(H, W)`, in (-pi/2, pi/2]; pi/2 where the horizontal derivative is 0.
    """

    strengths: Singles
    angles: Singles


@metric(
    "qabf",
    better="higher",
    bounds=(0, float(CEILING)),
    reference="Xydeas, Petrovic 2000, 10.1049/el:20000267",
    definition=(
        "sum(QA gA + QB gB) / sum(gA + gB), Q = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (D - 0.8))), "
        "G = smaller / larger strength (equal strengths: G = gF), D = 1 - |difference of angles| / (pi / 2), angles not folded, "
        "Sobel on 0..255 with a border of zeros, angle = atan(sy / sx), pi / 2 where sx = 0"
    ),
)
def qabf(fused: Fused) -> float:
    """Edge preservation of both sources, weighted by their edge strengths; nan where both sources are black everywhere."""
    of_a, of_b, weight = fused.sources.once(_prepare)
    if weight == 0:
        return math.nan
    of_f = _find_edges(fused.image)
    return (_preserve(of_a, of_f) + _preserve(of_b, of_f)) / weight


def _prepare(sources: Sources) -> tuple[Edges, Edges, float]:
    """The edges of both sources and the sum of all their strengths."""
    of_a, of_b = _find_edges(sources.a), _find_edges(sources.b)
    return of_a, of_b, float(of_a.strengths.sum(dtype=np.float64) + of_b.strengths.sum(dtype=np.float64))


def _find_edges(image: Picture) -> Edges:
    return Edges(*_differentiate(cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)))


def _preserve(x: Edges, f: Edges) -> float:
    total: float = _sum_preserved(x.strengths, x.angles, f.strengths, f.angles)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _differentiate(padded):  # type: ignore[no-untyped-def]
    """Strength and angle of the Sobel gradient of the inside of a picture with a border of 1 px."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    strengths, angles = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    for i in range(height):
        above, here, below = padded[i], padded[i + 1], padded[i + 2]
        for j in range(width):
            corners = np.int32(below[j]) - np.int32(above[j + 2])
            diagonal = np.int32(above[j]) - np.int32(below[j + 2])
            sx = np.int32(corners + diagonal + 2 * (np.int32(here[j]) - np.int32(here[j + 2])))
            sy = np.int32(corners - diagonal + 2 * (np.int32(below[j + 1]) - np.int32(above[j + 1])))
            x, y = SINGLE(abs(sx)), SINGLE(abs(sy))
            strengths[i, j] = np.sqrt(x * x + y * y)  # exact below the root: both are integers below 2^11
            angle = _arctan(min(x, y) / max(x, y, ONE))
            angle = HALF_PI - angle if y > x or sx == 0 else angle
            angles[i, j] = -angle if sx != 0 and (sx < 0) != (sy < 0) else angle
    return strengths, angles


# The order of the additions may change: that alone lets the compiler add up several pixels at once.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _sum_preserved(x_strengths, x_angles, f_strengths, f_angles):  # type: ignore[no-untyped-def]
    """The sum of a source's edge strengths, each times the share of it that the candidate preserves."""
    preserved = 0.0
    for i in range(x_strengths.shape[0]):
        for j in range(x_strengths.shape[1]):
            g, f = x_strengths[i, j], f_strengths[i, j]
            # From 2 on the curve of the strengths is flat; below 1 a strength is 0, and the quotient with it.
            ratio = min(f, TWO) if g == f else min(g, f) / max(g, f, ONE)
            agreement = ONE - abs(x_angles[i, j] - f_angles[i, j]) / HALF_PI
            doubt = _exp(STRENGTH_SLOPE * (ratio - STRENGTH_MIDDLE))
            turn = _exp(ANGLE_SLOPE * (agreement - ANGLE_MIDDLE))
            preserved += np.float64(CEILING * g / ((ONE + doubt) * (ONE + turn)))
    return preserved


@njit(cache=True, nogil=True, fastmath={"contract"})
def _arctan(t):  # type: ignore[no-untyped-def]
    total = ARCTAN[8]
    for k in range(7, -1, -1):
        total = ARCTAN[k] + t * t * total
    return t * total


@njit(cache=True, nogil=True, fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """The exponential for x in [-23, 40]: of a sixteenth by its series, then four squarings; accurate where 1 / (1 + exp) is not 0 or 1."""
    t = x * SIXTEENTH
    total = EXP[7]
    for k in range(6, -1, -1):
        total = EXP[k] + t * total
    total *= total
    total *= total
    total *= total
    return total * total
