"""The similarity indices of Yang and of Cvejic: in every window the similarity to each source, mixed or chosen.

Yang mixes them by how much each source varies where the sources are alike, and takes the better one where they are not. Cvejic mixes them
by how much each source goes along with the candidate. The constants of the similarity are next to nothing, so in flat windows the usual
code divides rounding errors by each other. Here variances and covariances that are 0 are exactly 0: the similarity of two flat windows is
that of their levels, that of a flat and a varied one is 0, and where the share of the sources is 0/0 there is no index: such windows are
left out.

Reference: Yang, Zhang, Wang, Liu 2008, Information Fusion 9(2):156-160; Cvejic, Loza, Bull, Canagarajah 2005, International Journal of
Signal Processing 2(3):178-182; both as in Liu et al. 2012, 10.1109/TPAMI.2011.109.
"""

import math
from dataclasses import replace

import numpy as np
from numba import njit

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
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
    ZERO,
    covary,
    cut_bands,
    make_taps,
    measure_row,
)

YANG = "Yang, Zhang, Wang, Liu 2008, Information Fusion 9(2):156-160, as in Liu et al. 2012, 10.1109/TPAMI.2011.109"
CVEJIC = (
    "Cvejic, Loza, Bull, Canagarajah 2005, International Journal of Signal Processing 2(3):178-182, "
    "as in Liu et al. 2012, 10.1109/TPAMI.2011.109"
)
SIMILARITY = "SSIM over 7x7 Gaussian windows (sigma 1.5) with C1 = C2 = 2e-16"
YANG_INDEX = (
    "s SSIM(A,F) + (1 - s) SSIM(B,F) with s = va / (va + vb) where SSIM(A,B) >= 0.75, elsewhere max(SSIM(A,F), SSIM(B,F)); " + SIMILARITY
)
CVEJIC_INDEX = (
    "s SSIM(A,F) + (1 - s) SSIM(B,F) with s = caf / (caf + cbf) where s is in 0..1, 0 where it is less, 1 where it is more; " + SIMILARITY
)
SIDE = 7
TAPS = make_taps(SIDE)
RECOMPUTED = "these numbers are of a float64 implementation of its rules; MATLAB rounds otherwise"
C = 2e-16
# The sources are alike from 0.75 on; what rounding takes from exactly that does not matter.
ALIKE = 0.75 - 1e-9


PASSPORT = Passport(
    title="similarity index of Yang",
    symbol="$Q_Y$",
    meaning="How alike the fused image is to both sources where they agree, and to the nearer one where they do not.",
    combination="weighted",
    dynamic_range="0..255, as they are",
    window="Gaussian, 7x7 px, sigma 1.5 px",
    border="only windows wholly inside",
    smallest=SIDE,
    undefined="below 7 px, or where both sources are flat and alike in every window",
    noise="falls",
    blur="falls",
    golden="Q_Y(nanmean)",
    tolerance=5e-4,
    differences=(
        Difference("Liu et al. (MATLAB)", "nan as soon as one window is 0/0; other flat windows are rounding errors", "c10: nan, not 1"),
        Difference("MEFB (MATLAB)", "flat windows are rounding errors", "c01: 3e-6 more; c15, one source flat: 0.6597, not 0.6578"),
        Difference("Liu et al., on real pictures", "the same: one flat window is enough", "nan on 6 of VIFB's 21 pairs (ADF, GFF)"),
        Difference(
            "MEFB, on real pictures",
            f"the same, and saturated areas are flat; {RECOMPUTED}",
            "beyond 0.001 on 11 of VIFB's 21 pairs (ADF, GFF); carLight, ADF: 9.371, not 0.749; carShadow, GFF: 2.942, not 0.832; "
            "fight, CBF, ADF and GFF: inf, not 0.603, 0.769 and 0.862",
        ),
    ),
)


@metric(
    "q_y",
    better="higher",
    bounds=(-1, 1),
    reference=YANG,
    definition=f"mean, over the windows where it is no 0/0, of {YANG_INDEX}",
    passport=PASSPORT,
)
def judge_alike(fused: Fused) -> float:
    """Q_Y over the windows that have it; nan below 7 px or where none has."""
    return fused.once(compare_windows)[0]


@metric(
    "q_c",
    better="higher",
    bounds=(-1, 1),
    reference=CVEJIC,
    definition=f"mean, over the windows where caf + cbf is not 0, of {CVEJIC_INDEX}",
    passport=replace(
        PASSPORT,
        title="similarity index of Cvejic",
        symbol="$Q_C$",
        meaning="How alike the fused image is, window by window, to the source that it follows there.",
        undefined="below 7 px, or where the fused image or the sum of the sources is flat in every window",
        symmetric=False,
        golden="Q_C(nanmean)",
        differences=(
            Difference(
                "the paper",
                "s is cut to 0..1, not the index, so that the order of the sources is free; uniform windows of 8 px",
                "c04: 0.760, not 0.543",
            ),
            Difference("Liu et al. (MATLAB)", "nan as soon as one window is 0/0; other flat windows are rounding errors", "c03, c10: nan"),
            Difference("MEFB (MATLAB)", "flat windows are rounding errors", "c01: 0.5206, not 0.5209; c13, mostly flat: 0.921, not 0.958"),
            Difference("Liu et al., on real pictures", "the same: one flat window is enough", "nan on 19 of VIFB's 21 pairs (ADF, GFF)"),
            Difference(
                "MEFB, on real pictures",
                f"the same, and saturated areas are flat; {RECOMPUTED}",
                "beyond 0.001 on 17 of VIFB's 21 pairs (ADF, GFF); carLight, ADF: 6.909, not 0.456; carShadow, GFF: -1.828, not 0.563; "
                "fight, ADF: 5.915, not 0.771; carWhite, ADF: 0.328, not 0.502",
            ),
        ),
    ),
)
def judge_followed(fused: Fused) -> float:
    """Q_C over the windows that have it; nan below 7 px or where none has."""
    return fused.once(compare_windows)[1]


def compare_windows(fused: Fused) -> tuple[float, float]:
    """The means of the indices of Yang and of Cvejic over the windows that have one; for `fused.once`."""
    if min(fused.image.shape) < SIDE:
        return math.nan, math.nan
    sums = np.zeros(2)
    undefined = np.zeros(2, np.int64)
    for _, (a, b, f) in cut_bands(TAPS, fused.sources.a, fused.sources.b, fused.image):
        _add_band(a, b, f, TAPS, sums, undefined)
    defined = math.prod(side - SIDE + 1 for side in fused.image.shape) - undefined
    of_yang, of_cvejic = (float(total / count) if count else math.nan for total, count in zip(sums, defined, strict=True))
    return of_yang, of_cvejic


@njit(cache=True, nogil=True, error_model="numpy")
def _add_band(a, b, f, taps, sums, undefined):  # type: ignore[no-untyped-def]
    """Add both indices of a band of windows to `sums`, and how many windows have none to `undefined`."""
    line, shared = np.empty(f.shape[1]), np.empty(f.shape[1] - SIDE + 1)
    moments = np.empty((MOMENTS, shared.size))
    for i in range(f.shape[0] - SIDE + 1):
        rows_a, rows_b = a[i : i + SIDE], b[i : i + SIDE]
        measure_row(rows_a, rows_b, f[i : i + SIDE], taps, line, moments)
        covary(rows_a, rows_b, taps, line, moments[MEAN_A], moments[MEAN_B], shared)
        _add_row(moments, shared, sums, undefined)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _add_row(moments, shared, sums, undefined):  # type: ignore[no-untyped-def]
    yang = cvejic = 0.0
    unshared = unrelated = 0
    for j in range(shared.size):
        mean_a, mean_b, mean_f = moments[MEAN_A, j], moments[MEAN_B, j], moments[MEAN_F, j]
        var_a, var_b, var_f = moments[VAR_A, j], moments[VAR_B, j], moments[VAR_F, j]
        with_a, with_b = moments[COV_AF, j], moments[COV_BF, j]
        of_a, of_b = _compare(mean_a, mean_f, var_a, var_f, with_a), _compare(mean_b, mean_f, var_b, var_f, with_b)
        alike = _compare(mean_a, mean_b, var_a, var_b, shared[j]) >= ALIKE
        both_flat = alike and var_a + var_b == 0
        share = var_a / (1.0 if both_flat else var_a + var_b)
        index = share * of_a + (1 - share) * of_b if alike else max(of_a, of_b)
        yang += 0.0 if both_flat else index
        unshared += both_flat
        none = abs(with_a + with_b) < ZERO
        share = with_a / (1.0 if none else with_a + with_b)
        index = 0.0 if share < 0 else 1.0 if share > 1 else share * of_a + (1 - share) * of_b
        cvejic += 0.0 if none else index
        unrelated += none
    sums[0] += yang
    sums[1] += cvejic
    undefined[0] += unshared
    undefined[1] += unrelated


@njit(cache=True, nogil=True, error_model="numpy")
def _compare(mean_x, mean_y, var_x, var_y, covariance):  # type: ignore[no-untyped-def]
    """The similarity of one window of two pictures."""
    return (2 * mean_x * mean_y + C) / (mean_x**2 + mean_y**2 + C) * ((2 * covariance + C) / (var_x + var_y + C))
