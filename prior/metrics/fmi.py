"""Feature mutual information: how much a small window of a candidate tells of the same window of a source.

A feature is the picture itself, its gradient along the rows, or its cosine transform. The nine values of a 3 x 3 window, moved to 0..1 and
divided by their sum, are read as the distribution of a variable with the values 1 to 9 (down the columns). Of the joint distribution of two
such variables nothing is known but its marginals p and q; it is taken between independence, p q, and the extreme T in which one variable
rises or falls with the other as strictly as p and q allow: phi T + (1 - phi) p q. Where phi exceeds 1 some of its shares are negative;
their logarithm is that of the absolute value, as in the authors' code, so a window may leave the range 0..1 (-0.7 and 3.2 were seen).

References: Haghighat, Aghagolzadeh, Seyedarabi 2011, 10.1016/j.compeleceng.2011.07.012; Haghighat, Razian 2014, Fast-FMI.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.fft
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused

REFERENCE = (
    "Haghighat, Aghagolzadeh, Seyedarabi 2011, 10.1016/j.compeleceng.2011.07.012; Haghighat, Razian 2014, Fast-FMI, 8th IEEE Int. Conf. "
    "on Application of Information and Communication Technologies (AICT)"
)
DEFINITION = (
    "mean over all 3x3 windows of 2 (H(p) + H(q) - H(z)) / (H(p) + H(q)), entropies H(s) = -sum s log|s|, p, q = the windows of {} in X "
    "and F, down the columns, (v - min) / (max - min) (a flat one: 1; below 1e-10: 0) over their sum; z = phi T + (1 - phi) p q, "
    "T = the comonotone (r >= 0) or antimonotone (r < 0) joint distribution of p and q, r = correlation of p and q, "
    "phi = r / (cov_T / (s_p s_q)), s and cov_T = deviations and covariance of the index 1..9, phi = 0 where r or an s is 0; "
    "0 where H(p) + H(q) = 0; 1 where both windows are flat or equal; B's window is compared with F's, unless A's equals it, "
    "after that is moved to 0..1"
)
UNDEFINED = (
    "below 3 px alone; a flat window counts 1 beside another flat one, 0 beside one that is not, and one with a lone bright value counts 1 "
    "beside its equal (for B: only where F's is equal to A's too), 0 beside any other"
)
ORDER_MATTERS = Difference(
    "anyone who compares equal windows before they are moved to 0..1",
    "counts 1, not 0, where F and B share a lone bright value and A does not; ours, as the authors' code does, keeps the order of A and B",
    "c15: gradient 0.2888, not 0.2881; c03: pixels 0.5920, not 0.5917",
)
ORDER_MATTERS_TO_CONSTANTS = replace(
    ORDER_MATTERS,
    how="counts 1, not 0, where F and B share a coefficient alone among zeros and A does not: constants, symmetrical pictures",
    size="constants of n windows, A, B and F of levels 1, 2, 2: 1 - 1 / n, not 1 - 1 / (2 n)",
)
CELLS, SIDE = 9, 3
EVEN = 1 / CELLS
ROUNDING = 1e-10  # beside 1, all that may be left of a value of 0: a ratio of entropies made of such is any number
NEGLIGIBLE = 1e-12  # beside the largest coefficient of a transform, all that rounding leaves of one of 0
MAGNITUDE, ROOT_HALF, EXPONENT = 0x7FFFFFFFFFFFFFFF, 0x3FE6A09E667F3BCD, -0x10000000000000  # bits of a float64
FRACTION_BITS, LOG_2 = 52, math.log(2)
BLOCK = 128  # windows side by side that are worked on at once: their numbers stay in the first cache

Field = NDArray[np.float64]
Feature = Callable[[Picture], Field]
Terms = tuple[float, float]


def _describe_metric(title: str, symbol: str, feature: str, levels: str, golden: str, *differences: Difference) -> Passport:
    """What the three have in common; the order of the sources matters to windows that are equal, see `ORDER_MATTERS`."""
    return Passport(
        title=f"feature mutual information of {title}",
        symbol=symbol,
        meaning=f"How much {feature} in a small window of the fused image tells of those in the same window of the sources.",
        combination="mean",
        dynamic_range=f"{levels}; each window moved to 0..1",
        undefined=UNDEFINED,
        noise="falls",
        blur="falls",
        window="3x3",
        border="windows wholly inside",
        smallest=SIDE,
        symmetric=False,
        golden=golden,
        differences=differences,
    )


@metric_of_sources(
    "fmi_pixel",
    "mean",
    better="higher",
    bounds=(-math.inf, math.inf),
    reference=REFERENCE,
    definition=DEFINITION.format("the grey levels"),
    passport=_describe_metric(
        "grey levels",
        r"FMI$_{\mathrm{pixel}}$",
        "the grey levels",
        "0..255 as they are",
        "FMI_none",
        Difference(
            "Linfeng Tang (MATLAB)",
            "what it names FMI_pixel takes the default feature of the authors' code, thinned edges, not the grey levels",
            "not known: MATLAB's own edge() is not public",
        ),
        Difference("MEFB", "thinned edges too, as FMI", "not known"),
        ORDER_MATTERS,
    ),
)
def compare_pixels(fused: Fused) -> Terms:
    """Feature mutual information of the grey levels with source a and with source b; nan below 3 px."""
    return _compare(fused, _take_levels)


@metric_of_sources(
    "fmi_gradient",
    "mean",
    better="higher",
    bounds=(-math.inf, math.inf),
    reference=REFERENCE,
    definition=DEFINITION.format("the difference along the rows (central, one-sided in the first and last column)"),
    passport=_describe_metric(
        "gradients",
        r"FMI$_{\mathrm{gradient}}$",
        "the gradients along the rows",
        "0..255 as they are, their signed differences along the rows alone",
        "FMI_gradient",
        Difference(
            "the name",
            "suggests the length of the gradient; the authors' code takes its first component alone",
            "turned by 90 degrees an image has another number",
        ),
        ORDER_MATTERS,
    ),
)
def compare_gradients(fused: Fused) -> Terms:
    """Feature mutual information of the gradients along the rows with source a and with source b; nan below 3 px."""
    return _compare(fused, _take_gradient)


@metric_of_sources(
    "fmi_dct",
    "mean",
    better="higher",
    bounds=(-math.inf, math.inf),
    reference=REFERENCE,
    definition=DEFINITION.format("the coefficients of the orthonormal cosine transform of the image (below 1e-12 of the largest: 0)"),
    passport=_describe_metric(
        "cosine transforms",
        r"FMI$_{\mathrm{dct}}$",
        "the coefficients of the cosine transform",
        "0..255 as they are, their cosine transform in float64",
        "FMI_dct",
        Difference(
            "Linfeng Tang (MATLAB)",
            "beside it prints FMI_w, of the discrete Meyer wavelet: 102 taps in MATLAB, 62 in PyWavelets",
            "c04: FMI_w 0.358, not 0.299",
        ),
        Difference(
            "codes that keep what rounding leaves of a coefficient of 0, as Linfeng Tang's",
            "where whole rows or columns are 0 the number is that of rounding errors",
            "c15: 0.274928, not 0.274872; constants: 0.10 to 1, as their size has it",
        ),
        ORDER_MATTERS_TO_CONSTANTS,
    ),
)
def compare_transforms(fused: Fused) -> Terms:
    """Feature mutual information of the cosine transforms with source a and with source b; nan below 3 px."""
    return _compare(fused, _transform)  # the sources anew each time: keeping what takes 20 ms would take the memory of both pictures


def _compare(fused: Fused, take: Feature) -> Terms:
    if min(fused.image.shape) < SIDE:
        return math.nan, math.nan
    return _measure(take(fused.sources.a), take(fused.sources.b), take(fused.image))


def _measure(of_a: Field, of_b: Field, of_f: Field) -> Terms:
    """The mean over all windows for either source."""
    with_a, with_b = _sum_windows((of_a, of_b), of_f)
    count = (of_f.shape[0] - SIDE + 1) * (of_f.shape[1] - SIDE + 1)
    return with_a / count, with_b / count


def _take_levels(picture: Picture) -> Field:
    return picture.astype(np.float64, order="C")


def _take_gradient(picture: Picture) -> Field:
    gradient: Field = np.gradient(_take_levels(picture), axis=1)
    return np.ascontiguousarray(gradient)


def _transform(picture: Picture) -> Field:
    coefficients: Field = scipy.fft.dctn(_take_levels(picture), norm="ortho", overwrite_x=True)
    coefficients[np.abs(coefficients) < NEGLIGIBLE * max(coefficients.max(), -coefficients.min())] = 0
    return np.ascontiguousarray(coefficients)


# Below, k and l number the nine cells of a window and n the windows of a block. Every innermost loop runs over the windows and branches
# nowhere, so that the compiler takes several at once: sooner done than to look for the 17 cells in which T is not 0. The number of cells is
# asked of the arrays because loops of a known length are unrolled, which takes the compiler seconds and gains nothing.


@njit(cache=True, nogil=True)
def _sum_windows(sources, f):  # type: ignore[no-untyped-def]
    """The sums over all windows of what F tells of A and of B."""
    rows, columns = f.shape[0] - SIDE + 1, f.shape[1] - SIDE + 1
    of_x, of_f = _make_space(), _make_space()
    turned, joint = np.empty((CELLS + 1, BLOCK)), np.empty(BLOCK)
    raw, equal = np.empty(BLOCK, np.bool_), np.empty(BLOCK, np.bool_)
    sums = np.zeros(2)
    for i in range(rows):
        for j in range(0, columns, BLOCK):
            count = min(BLOCK, columns - j)
            _describe(f, i, j, count, of_f)
            raw[:] = True
            for which in range(2):
                _describe(sources[which], i, j, count, of_x)
                _join(count, of_x, of_f, turned, joint)
                _find_equal(sources[which], f, i, j, count, of_f[0], raw, equal)
                sums[which] += _sum_block(count, of_x, of_f, joint, equal)
                raw[:] = equal
    return sums[0], sums[1]


@njit(cache=True, nogil=True)
def _make_space():  # type: ignore[no-untyped-def]
    """Room for a block of one image: distributions, their cumulative sums, entropies, squared distances from even, deviations."""
    return np.empty((CELLS, BLOCK)), np.empty((CELLS + 1, BLOCK)), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _describe(image, i, j, count, space):  # type: ignore[no-untyped-def]
    """Describe the windows of row i from column j on."""
    p, edges, entropy, spread, deviation = space
    _stretch(image, i, j, count, p, entropy, spread, deviation)
    for n in range(count):
        edges[0, n], entropy[n], spread[n], deviation[n] = 0.0, 0.0, 0.0, 0.0
    for k in range(len(p)):
        for n in range(count):
            edges[k + 1, n] = edges[k, n] + p[k, n]
        for n in range(count):
            entropy[n] -= _multiply_log(p[k, n])
        for n in range(count):
            spread[n] += (p[k, n] - EVEN) ** 2
    for n in range(count):
        mean, square = 0.0, 0.0
        for k in range(CELLS):
            mean += (k + 1.0) * p[k, n]
            square += (k + 1.0) ** 2 * p[k, n]
        deviation[n] = math.sqrt(max(square - mean * mean, 0.0))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _stretch(image, i, j, count, p, low, span, total):  # type: ignore[no-untyped-def]
    """Read the windows as distributions; `low`, `span` and `total` are room to work in."""
    for n in range(count):
        low[n], span[n], total[n] = image[i, j + n], image[i, j + n], 0.0
    for k in range(1, len(p)):
        for n in range(count):
            level = image[i + k % SIDE, j + k // SIDE + n]
            low[n] = level if level < low[n] else low[n]
            span[n] = level if level > span[n] else span[n]
    for n in range(count):
        span[n] -= low[n]
    for k in range(len(p)):
        for n in range(count):
            share = (image[i + k % SIDE, j + k // SIDE + n] - low[n]) / span[n]
            p[k, n] = 1.0 if span[n] == 0 else share if share > ROUNDING else 0.0
        for n in range(count):
            total[n] += p[k, n]
    for k in range(len(p)):
        for n in range(count):
            p[k, n] /= total[n]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _join(count, of_x, of_f, turned, joint):  # type: ignore[no-untyped-def]
    """The entropy of the joint distribution of every window.

    Where T is antimonotone the cumulative sums of F run down from 1: in either case the cell (k, l) of T is what the ranges between two
    neighbouring sums of X and of F share, and phi = |r| s s / (the sum of min(P, Q) - P Q over the inner cells) (Hoeffding's formula).
    """
    p, of_p, _, p_spread, p_deviation = of_x
    q, of_q, _, q_spread, q_deviation = of_f
    phi, rest, moment, common = np.empty(BLOCK), np.empty(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
    low, high = np.empty(BLOCK), np.empty(BLOCK)
    for k in range(len(p)):
        for n in range(count):
            common[n] += (p[k, n] - EVEN) * (q[k, n] - EVEN)
    for k in range(len(turned)):
        for n in range(count):
            turned[k, n] = of_q[k, n] if common[n] >= 0 else 1.0 - of_q[k, n]
    for k in range(1, len(p)):
        for m in range(1, len(p)):
            for n in range(count):
                moment[n] += min(of_p[k, n], turned[m, n]) - of_p[k, n] * turned[m, n]
    for n in range(count):
        scale = p_deviation[n] * q_deviation[n]
        share = abs(common[n]) / math.sqrt(p_spread[n] * q_spread[n]) * scale / moment[n]
        phi[n] = share if (common[n] != 0) & (scale > 0) & (moment[n] > 0) else 0.0
        joint[n] = 0.0
    for m in range(len(p)):
        for n in range(count):
            low[n] = min(turned[m, n], turned[m + 1, n])
            high[n] = max(turned[m, n], turned[m + 1, n])
            rest[n] = (1.0 - phi[n]) * q[m, n]
        for k in range(len(p)):
            for n in range(count):
                top = min(high[n], of_p[k + 1, n])
                bottom = max(low[n], of_p[k, n])
                extreme = max(top - bottom, 0.0)
                joint[n] -= _multiply_log(phi[n] * extreme + rest[n] * p[k, n])


@njit(cache=True, nogil=True)
def _find_equal(x, f, i, j, count, q, raw, equal):  # type: ignore[no-untyped-def]
    """Mark the windows of X equal to F's, as they are where `raw` says so, else moved to 0..1.

    It matters only where one value stands out alone and the entropy is 0; there q is F's window moved to 0..1.
    """
    for n in range(count):
        equal[n] = True
        for k in range(CELLS):
            row, column = i + k % SIDE, j + k // SIDE + n
            equal[n] &= x[row, column] == (f[row, column] if raw[n] else q[k, n])


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_block(count, of_x, of_f, joint, equal):  # type: ignore[no-untyped-def]
    """The sum of 2 (H(p) + H(q) - H(z)) / (H(p) + H(q)) over a block."""
    _, _, of_p, p_spread, _ = of_x
    _, _, of_q, q_spread, _ = of_f
    total = 0.0
    for n in range(count):
        both = of_p[n] + of_q[n]
        if equal[n] or (p_spread[n] == 0 and q_spread[n] == 0):
            total += 1.0
        elif both > 0:
            total += 2.0 * (both - joint[n]) / both
    return total


@njit(cache=True, nogil=True, fastmath={"contract"})
def _multiply_log(number):  # type: ignore[no-untyped-def]
    """A number times the logarithm of its size, 0 at 0.

    With |x| = m 2^e and m in sqrt(1/2)..sqrt(2), log m = 2 artanh((m - 1) / (m + 1)), whose series to the 15th order leaves 2e-14. The
    compiler takes several of these at once, of which the library's logarithm is not capable.
    """
    bits = _reinterpret(number) & MAGNITUDE  # type: ignore[call-arg]
    above = bits - ROOT_HALF
    fraction = _reinterpret(bits - (above & EXPONENT))
    t = (fraction - 1.0) / (fraction + 1.0)
    u = t * t
    series = 1 / 15
    for odd in (13, 11, 9, 7, 5, 3, 1):
        series = series * u + 1 / odd
    return number * (np.float64(above >> FRACTION_BITS) * LOG_2 + 2.0 * t * series)


@intrinsic
def _reinterpret(typing, given):  # type: ignore[no-untyped-def]
    """The 64 bits of a number read as an integer, or those of an integer read as a number."""
    to, made = (types.int64, ir.IntType(64)) if given == types.float64 else (types.float64, ir.DoubleType())
    return to(given), lambda context, builder, signature, values: builder.bitcast(values[0], made)
