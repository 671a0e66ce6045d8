"""Q_P: how well the phase congruency of a candidate, and its moments, follow those of the sources where these have structure.

Three maps of every picture (phase congruency, largest and smallest moment) are compared in small windows with the maps of either source
and with those of the more congruent of the two at every pixel; the best of the three counts. The answers of the three maps are multiplied.

Reference: Zhao, Laganiere, Liu 2007, Int. J. Innovative Computing, Information and Control 3(6A).
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.phase import Phase, measure_phase

LEAST = 0.1  # congruency from which a pixel has structure
STABLE = 1e-4
SIDE, SIGMA = 11, 1.5
REACH = SIDE // 2
FIELDS = 11  # that the windows average


@dataclass(frozen=True, slots=True)
class Guide:
    """What the two sources ask of every candidate.

    Where either has structure, and which is the more congruent, are read off the maps.

    Attributes:
        a, b: the phase congruency of either source; zeros for a constant one, which has no phase and so asks for nothing.
        count: pixels where either has structure.
    """

    a: Phase
    b: Phase
    count: int


@metric(
    "q_p",
    better="higher",
    bounds=(-1, 1),
    reference="Zhao, Laganiere, Liu 2007, Int. J. Innovative Computing, Information and Control 3(6A)",
    definition="P(p) P(M) P(m): p, M, m = Kovesi's phase congruency and its largest and smallest moment (4 scales from 3 px by 2.1, "
    "6 orientations, sigma 0.55, angular factor 1.2, k = 2, T / 1.7, cut-off 0.5, g = 10, eps = 1e-4); P(z) = sum over the pixels with "
    "p_X > 0.1 of max(r(z_A), r(z_B), z_X of the source with the larger p: r(z_X)) / their number; r(z_S) = (cov + C) / "
    "(sqrt(|var z_S var z_F|) + C) where p_S > 0.1, else 0; z_S = 0 outside it; Gaussian windows 11x11 of sigma 1.5, C = 1e-4",
    passport=Passport(
        title="phase congruency of the sources kept in the candidate",
        symbol="$Q_P$",
        meaning="How closely edges and corners, found by phase whatever their contrast, of the fused image follow those of the sources.",
        combination="joint",
        dynamic_range="0..255 as they are; phase congruency hardly depends on it",
        window="the whole image by log-Gabor filters, then Gaussian 11x11, sigma 1.5",
        border="periodic for the filters, zeros for the windows",
        smallest=2,
        undefined="constant fused image; no pixel of either source with a phase congruency above 0.1; a side of 1 px",
        noise="falls",
        blur="falls",
        golden="Q_P",
        differences=(
            Difference("Liu (MATLAB), MEFB", "nan where a source is constant, which here asks for nothing", "c15: nan, not 0.759"),
            Difference("with Kovesi's later phase congruency", "the crossed sum of the moments counts four times", "c04: 0.320, not 0.303"),
        ),
    ),
)
def judge_phase(fused: Fused) -> float:
    """The product of the three correlations; nan where the candidate is constant or the sources have no structure."""
    guide = fused.sources.once(_guide)
    phase = measure_phase(fused.image) if guide is not None else None
    if guide is None or phase is None:
        return math.nan
    congruencies, window = (guide.a.congruency, guide.b.congruency), _window()
    maps = zip(*map(_list_maps, (guide.a, guide.b, phase)), strict=True)
    return math.prod(float(_correlate(a, b, f, congruencies, window)) for a, b, f in maps) / guide.count**3


def _guide(sources: Sources) -> Guide | None:
    """The maps of both sources; None where neither has structure."""
    a, b = (measure_phase(image) or _find_nothing(image) for image in (sources.a, sources.b))
    structure = a.congruency > LEAST
    structure |= b.congruency > LEAST
    count = int(np.count_nonzero(structure))
    return Guide(a, b, count) if count else None


def _find_nothing(image: Picture) -> Phase:
    zeros = np.zeros(image.shape, np.float32)
    return Phase(zeros, zeros, zeros)


def _list_maps(phase: Phase) -> tuple[NDArray[np.float32], ...]:
    return phase.congruency, phase.largest, phase.smallest


def _window() -> NDArray[np.float64]:
    weights = np.exp(-((np.arange(SIDE) - REACH) ** 2) / (2 * SIGMA**2))
    window: NDArray[np.float64] = weights / weights.sum()
    return window


@njit(cache=True, nogil=True, error_model="numpy")
def _correlate(a, b, f, congruencies, window):  # type: ignore[no-untyped-def]
    """The sum over all pixels of the best of the three correlations.

    The last eleven rows of what the windows average lie in a ring: no array of the size of the image is needed.
    """
    height, width = f.shape
    ring = np.zeros((SIDE, FIELDS, width))
    down = np.zeros((FIELDS, width + 2 * REACH))
    means = np.empty((FIELDS, width))
    total = 0.0
    for i in range(height + REACH):
        _fill(ring[i % SIDE], a, b, f, congruencies, i)
        if i >= REACH:
            for k in range(FIELDS):
                for j in range(width):
                    sum_down = 0.0
                    for t in range(SIDE):
                        sum_down += window[t] * ring[(i + 1 + t) % SIDE, k, j]  # slot i + 1 holds the oldest row
                    down[k, j + REACH] = sum_down
                for j in range(width):
                    sum_along = 0.0
                    for t in range(SIDE):
                        sum_along += window[t] * down[k, j + t]
                    means[k, j] = sum_along
            for j in range(width):
                total += _pick_best(means, congruencies[0][i - REACH, j] > LEAST, congruencies[1][i - REACH, j] > LEAST, j)
    return total


@njit(cache=True, nogil=True)
def _fill(fields, a, b, f, congruencies, i):  # type: ignore[no-untyped-def]
    """What the windows average of row i: f, f^2, and z, z^2, z f for a, for b, and for the more congruent; zeros below the last row."""
    if i >= f.shape[0]:
        fields[:] = 0
        return
    for j in range(f.shape[1]):
        in_a, in_b, found = congruencies[0][i, j], congruencies[1][i, j], np.float64(f[i, j])
        of_a = np.float64(a[i, j]) if in_a > LEAST else 0.0
        of_b = np.float64(b[i, j]) if in_b > LEAST else 0.0
        # The more congruent source has structure wherever either has.
        best = of_a if in_a > in_b else of_b
        fields[0, j], fields[1, j] = found, found * found
        fields[2, j], fields[3, j], fields[4, j] = of_a, of_a * of_a, of_a * found
        fields[5, j], fields[6, j], fields[7, j] = of_b, of_b * of_b, of_b * found
        fields[8, j], fields[9, j], fields[10, j] = best, best * best, best * found


@njit(cache=True, nogil=True)
def _pick_best(means, in_a, in_b, j):  # type: ignore[no-untyped-def]
    """The best correlation at one pixel; a source without structure there counts 0, and so does the pixel where neither has."""
    if not (in_a or in_b):
        return 0.0
    mean = means[0, j]
    variance = means[1, j] - mean * mean
    best = -math.inf
    for k in range(3):
        correlation = 0.0
        if k == 2 or (in_a, in_b)[k]:
            own = means[2 + 3 * k, j]
            covariance = means[4 + 3 * k, j] - own * mean
            spread = math.sqrt(abs((means[3 + 3 * k, j] - own * own) * variance))
            correlation = (covariance + STABLE) / (spread + STABLE)
        best = max(best, correlation)
    return best
