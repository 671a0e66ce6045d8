"""The slopes of a picture, the edges in them, and how well the edges of one picture are kept in another.

Sobel responses of 8-bit levels are whole numbers below 2^11, so strengths are the correctly rounded roots of whole numbers: two are equal
here exactly where they are equal in the definition, which the metrics of the tradition of Xydeas, Petrovic 2000 rely on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture

Border = Literal["zero", "replicate", "mirror"]
"""What stands beyond the edge of the image: black, the outermost pixel again, or the image mirrored about its outermost pixel."""
BORDERS: dict[Border, int] = {"zero": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE, "mirror": cv2.BORDER_REFLECT_101}

SINGLE = np.float32
ZERO, ONE, SMALL, SIXTEENTH, HALF_PI = SINGLE(0), SINGLE(1), SINGLE(1e-6), SINGLE(1 / 16), SINGLE(math.pi / 2)
# Abramowitz, Stegun 1964, 4.4.49: arctan(t) / t in powers of t^2, error below 2e-8 for t in [0, 1].
ARCTAN = tuple(
    SINGLE(c)
    for c in (1, -0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393, -0.0752896400, 0.0429096138, -0.0161657367, 0.0028662257)
)
EXP = tuple(SINGLE(1 / math.factorial(k)) for k in range(8))

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Edges:
    """The Sobel gradient of one picture.

    Attributes:
        strengths: float32 `(H, W)`, in grey levels times 8.
        angles: float32 `(H, W)`, in (-pi/2, pi/2], counter-clockwise from the row.
    """

    strengths: Singles
    angles: Singles


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What of an edge counts as kept: ceiling / ((1 + exp(-ks (G - ms))) (1 + exp(-ka (D - ma)))).

    G is the smaller strength over the larger, D the agreement of the angles 1 - |difference| / (pi / 2).

    Attributes:
        ceiling: the numerator.
        strength_slope: ks; ks (G - ms) must stay in [-40, 23], as ka (D - ma) must.
        strength_middle: ms.
        equal: G of two equal strengths is that strength, but neither below nor above these.
        angle_slope: ka.
        angle_middle: ma.
        opposed: the factor of a D below 0: 1 where directions are not folded, -1 where they are, so that no D is below 0.
    """

    ceiling: float
    strength_slope: float
    strength_middle: float
    equal: tuple[float, float]
    angle_slope: float
    angle_middle: float
    opposed: float


def slope_right(picture: Picture, border: Border) -> NDArray[np.int16]:
    """The Sobel response from left to right, int16 `(H, W)`, in grey levels times 8."""
    return np.asarray(cv2.Sobel(picture, cv2.CV_16S, 1, 0, borderType=BORDERS[border]), np.int16)


def slope_up(picture: Picture, border: Border) -> NDArray[np.int16]:
    """The Sobel response from below to above, int16 `(H, W)`, in grey levels times 8."""
    return np.asarray(cv2.Sobel(picture, cv2.CV_16S, 0, 1, scale=-1, borderType=BORDERS[border]), np.int16)


def find_edges(picture: Picture, border: Border, *, level: float = 0) -> Edges:
    """Strengths and angles of the Sobel gradient.

    Args:
        picture: uint8 `(H, W)`.
        border: what stands beyond its edge.
        level: what stands for a slope of 0 along the row; with 0 the angle is pi/2 there, also where the picture is flat.
    """
    edges = Edges(np.empty(picture.shape, np.float32), np.empty(picture.shape, np.float32))
    _measure(slope_right(picture, border), slope_up(picture, border), SINGLE(level), edges.strengths, edges.angles)
    return edges


def keep(x: Edges, f: Edges, curves: Curves) -> Singles:
    """How much of each edge of one picture is kept in another: float32 `(H, W)`, in [0, ceiling]."""
    slopes = SINGLE(-curves.strength_slope), SINGLE(-curves.angle_slope)
    middles = SINGLE(curves.strength_middle), SINGLE(curves.angle_middle)
    equal = SINGLE(curves.equal[0]), SINGLE(curves.equal[1])
    ends = SINGLE(curves.ceiling), SINGLE(curves.opposed)
    kept = np.empty_like(x.strengths)
    _keep(x.strengths, x.angles, f.strengths, f.angles, slopes, middles, equal, ends, kept)
    return kept


def join(across: NDArray[Any], down: NDArray[Any]) -> Singles:
    """The strength of a gradient of whole numbers, float32 `(H, W)`; OpenCV's depends on where in memory they lie."""
    x, y = across.astype(np.float32), down.astype(np.float32)
    x *= x
    y *= y
    x += y
    return np.sqrt(x, out=x)


def add(values: Singles) -> float:
    """The sum of all, in double precision."""
    return float(values.sum(dtype=np.float64))


# The kernels fill arrays that NumPy has allocated: it reuses memory, where each array that Numba allocates costs more than filling it.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _measure(right, up, level, strengths, angles):  # type: ignore[no-untyped-def]
    """Strength and angle of every gradient."""
    for i in range(strengths.shape[0]):
        for j in range(strengths.shape[1]):
            across, upwards = SINGLE(right[i, j]), SINGLE(up[i, j])
            x, y = abs(across), abs(upwards)
            strength = np.sqrt(x * x + y * y)  # exact below the root
            angle = _arctan(min(x, y) / max(x, y, ONE))
            angle = HALF_PI - angle if y > x else angle
            # arctan(s / level) is pi/2 - level / s for so small a level; where nothing rises it is 0, unless the level is 0.
            steep = HALF_PI - min(HALF_PI, level / max(strength, SMALL))
            angle = steep if x == ZERO else angle
            angle = -angle if (across < ZERO) != (upwards < ZERO) else angle
            strengths[i, j] = strength
            angles[i, j] = HALF_PI if angle <= -HALF_PI else angle


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _keep(x_strengths, x_angles, f_strengths, f_angles, slopes, middles, equal, ends, kept):  # type: ignore[no-untyped-def]
    """Fill `kept` with the share of every edge of x that f keeps."""
    for i in range(kept.shape[0]):
        for j in range(kept.shape[1]):
            g, f = x_strengths[i, j], f_strengths[i, j]
            # Below 1 a strength is 0, and the quotient with it.
            ratio = min(max(f, equal[0]), equal[1]) if g == f else min(g, f) / max(g, f, ONE)
            agreement = ONE - abs(x_angles[i, j] - f_angles[i, j]) / HALF_PI
            agreement = max(agreement, ends[1] * agreement)
            doubt = _exp(slopes[0] * (ratio - middles[0]))
            turn = _exp(slopes[1] * (agreement - middles[1]))
            kept[i, j] = ends[0] / ((ONE + doubt) * (ONE + turn))


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
