"""The fusion quality indices of Piella and Heijmans: in every window the similarity to each source, mixed by how much happens in it.

Where the first source varies more than the second, the candidate should be like the first. Q_S is the mean over the windows; Q_W lets
those count more in which a source varies much; Q_E multiplies that with the same index of the edges.

Reference: Piella, Heijmans 2003, 10.1109/ICIP.2003.1247209, with the similarity and the windows of Liu et al. 2012,
10.1109/TPAMI.2011.109: the paper takes uniform windows of 8 px and a similarity without constants.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.edges import find_edges, find_source_edges
from prior.statistics.rows import (
    COV_AF,
    COV_BF,
    MEAN_A,
    MEAN_B,
    MEAN_F,
    MOMENTS,
    VAR_A,
    VAR_B,
    VAR_F,
    Grey,
    cut_bands,
    make_taps,
    measure_row,
)

REFERENCE = "Piella, Heijmans 2003, 10.1109/ICIP.2003.1247209, as in Liu et al. 2012, 10.1109/TPAMI.2011.109"
WINDOW = "Gaussian, 11x11 px, sigma 1.5 px"
MIXED = (
    "s SSIM(A,F) + (1 - s) SSIM(B,F) over all 11x11 Gaussian windows (sigma 1.5), s = va / (va + vb), "
    "SSIM(X,F) = (2 mx mf + C1)(2 cxf + C2) / ((mx^2 + mf^2 + C1)(vx + vf + C2)), C1 = 2.55^2, C2 = 7.65^2, "
    "va = vb = 1/2 where both sources are flat"
)
WEIGHTED = f"sum of w Q / sum of w, w = max(va, vb), Q = {MIXED}"
EDGES = "the magnitudes of the 3x3 Prewitt gradients (not divided, zero border)"
SIDE = 11
TAPS = make_taps(SIDE)
C1, C2 = 2.55**2, 7.65**2

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Quality:
    """The mean over the windows, and the mean weighted by the larger variance of the sources."""

    plain: float
    weighted: float


UNDEFINED = Quality(math.nan, math.nan)
PASSPORT = Passport(
    title="fusion quality index of Piella",
    symbol="$Q_S$",
    meaning="How alike the fused image is, window by window, to the source that varies more there.",
    combination="weighted",
    dynamic_range="0..255, as they are",
    window=WINDOW,
    border="only windows wholly inside",
    smallest=SIDE,
    undefined="below 11 px",
    noise="falls",
    blur="falls",
    golden="Q_S",
    differences=(Difference("the paper", "uniform windows of 8 px and a similarity without constants", "c04: 0.7255, not 0.7627"),),
)
BORDER_OF_EDGES = "of the edges: black beyond it; then only windows wholly inside"


@metric(
    "q_s",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=f"mean of {MIXED}",
    passport=PASSPORT,
)
def judge_windows(fused: Fused) -> float:
    """Q_S; nan below 11 px."""
    return fused.once(compare_levels).plain


@metric(
    "q_w",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=WEIGHTED,
    passport=replace(
        PASSPORT,
        title="weighted fusion quality index of Piella",
        symbol="$Q_W$",
        meaning="As Q_S, but windows in which a source varies much count for more.",
        golden="Q_W",
        differences=(
            Difference("the paper", "uniform windows of 8 px and a similarity without constants", "c04: 0.8361, not 0.8526"),
            Difference("MEFB (MATLAB)", "of the edges alone: here q_w_edges", "c04: 0.8191, not 0.8526"),
        ),
    ),
)
def judge_varied_windows(fused: Fused) -> float:
    """Q_W; nan below 11 px."""
    return fused.once(compare_levels).weighted


@metric(
    "q_w_edges",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=f"of {EDGES} of A, B and F: {WEIGHTED}",
    variant_of="q_w",
    passport=replace(
        PASSPORT,
        title="weighted fusion quality index of Piella, of the edges",
        symbol=r"$Q_{W,\mathrm{edges}}$",
        meaning="How alike the edges of the fused image are to those of the source whose edges vary more.",
        dynamic_range="edges of the levels 0..255: 0..1082, with the constants for 255",
        border=BORDER_OF_EDGES,
        golden="Q_W_edge",
        differences=(),
    ),
)
def judge_edges(fused: Fused) -> float:
    """Q_W of the edges; nan below 11 px."""
    return fused.once(compare_edges).weighted


@metric(
    "q_e",
    better="higher",
    bounds=(-1, 1),
    reference=REFERENCE,
    definition=f"Q_W(A,B,F) Q_W(A',B',F'), A', B', F': {EDGES}, Q_W = {WEIGHTED}",
    passport=replace(
        PASSPORT,
        title="edge-dependent fusion quality index of Piella",
        symbol="$Q_E$",
        meaning="As Q_W, times the same of the edges.",
        dynamic_range="0..255, as they are, and edges of 0..1082 with the constants for 255",
        border=BORDER_OF_EDGES,
        golden="Q_E",
        differences=(
            Difference("the paper", "uniform windows of 8 px and a similarity without constants", "c04: 0.6855, not 0.6984"),
            Difference("Liu et al. (MATLAB)", "as released, its switch for this index stops at an undefined name", "no number"),
        ),
    ),
)
def judge_windows_and_edges(fused: Fused) -> float:
    """Q_E; nan below 11 px."""
    return fused.once(compare_levels).weighted * fused.once(compare_edges).weighted


def compare_levels(fused: Fused) -> Quality:
    """Q_S and Q_W of the grey levels; for `fused.once`."""
    return _compare(fused.sources.a, fused.sources.b, fused.image, fused.sources.once(_find_flat_levels))


def compare_edges(fused: Fused) -> Quality:
    """Q_S and Q_W of the edges; for `fused.once`."""
    edges_a, edges_b = fused.sources.once(find_source_edges)
    return _compare(edges_a, edges_b, find_edges(fused.image), fused.sources.once(_find_flat_edges))


def _compare(a: Grey, b: Grey, f: Grey, flat: Flags) -> Quality:
    if min(f.shape) < SIDE:
        return UNDEFINED
    mixed = weighted = weights = 0.0
    for windows, (rows_a, rows_b, rows_f) in cut_bands(TAPS, a, b, f):
        sums = _mix(rows_a, rows_b, rows_f, flat[windows], TAPS)
        mixed, weighted, weights = mixed + sums[0], weighted + sums[1], weights + sums[2]
    return Quality(mixed / flat.size, weighted / weights if weights else math.nan)


def _find_flat_levels(sources: Sources) -> Flags:
    return _find_flat(sources.a, sources.b)


def _find_flat_edges(sources: Sources) -> Flags:
    return _find_flat(*sources.once(find_source_edges))


def _find_flat(a: Grey, b: Grey) -> Flags:
    """Which windows are of one level in both sources: exactly, because there alone a weight of 1/2 stands in for one of nearly 0."""
    reach = SIDE // 2
    flags: Flags = np.ascontiguousarray((_is_flat(a) & _is_flat(b))[reach:-reach, reach:-reach])
    return flags


def _is_flat(image: Grey) -> Flags:
    contiguous, window = image.astype(np.float32, order="C"), np.ones((SIDE, SIDE), np.uint8)
    flags: Flags = cv2.erode(contiguous, window) == cv2.dilate(contiguous, window)
    return flags


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(a, b, f, flat, taps):  # type: ignore[no-untyped-def]
    """Over a band of windows: the sum of the mixed similarities, their weighted sum, and the sum of the weights."""
    line, moments = np.empty(f.shape[1]), np.empty((MOMENTS, flat.shape[1]))
    mixed = weighted = weights = 0.0
    for i in range(flat.shape[0]):
        measure_row(a[i : i + SIDE], b[i : i + SIDE], f[i : i + SIDE], taps, line, moments)
        sums = _mix_row(moments, flat[i])
        mixed, weighted, weights = mixed + sums[0], weighted + sums[1], weights + sums[2]
    return mixed, weighted, weights


# The order of the additions may change: that alone lets the compiler add up several windows at once.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _mix_row(moments, flat):  # type: ignore[no-untyped-def]
    mixed = weighted = weights = 0.0
    for j in range(flat.size):
        mean_a, mean_b, mean_f = moments[MEAN_A, j], moments[MEAN_B, j], moments[MEAN_F, j]
        var_a, var_b, var_f = moments[VAR_A, j], moments[VAR_B, j], moments[VAR_F, j]
        over_a, under_a = (2 * mean_a * mean_f + C1) * (2 * moments[COV_AF, j] + C2), (mean_a**2 + mean_f**2 + C1) * (var_a + var_f + C2)
        over_b, under_b = (2 * mean_b * mean_f + C1) * (2 * moments[COV_BF, j] + C2), (mean_b**2 + mean_f**2 + C1) * (var_b + var_f + C2)
        share = var_a / (var_a + var_b) if var_a + var_b > 0 else 0.5
        similarity = share * (over_a / under_a) + (1 - share) * (over_b / under_b)
        weight = 0.5 if flat[j] else max(var_a, var_b)
        mixed += similarity
        weighted += weight * similarity
        weights += weight
    return mixed, weighted, weights
