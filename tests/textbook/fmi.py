"""Feature mutual information once more: float64 NumPy over one row of windows at a time, written from the definitions.

The joint distribution is built as one matrix per window from its bounding copula, by second differences.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float64]
Grey = NDArray[Any]


def take_pixels(x: Grey) -> Field:
    return x.astype(np.float64)


def take_gradient(x: Grey) -> Field:
    """Along the rows: central inside, one-sided at both ends."""
    levels = x.astype(np.float64)
    gradient = np.empty_like(levels)
    gradient[:, 1:-1] = (levels[:, 2:] - levels[:, :-2]) / 2
    gradient[:, 0], gradient[:, -1] = levels[:, 1] - levels[:, 0], levels[:, -1] - levels[:, -2]
    return gradient


def take_transform(x: Grey) -> Field:
    """What rounding leaves of coefficients that are 0 is 0."""
    transform: Field = fft.dctn(x.astype(np.float64), norm="ortho")
    transform[np.abs(transform) < 1e-12 * np.abs(transform).max()] = 0
    return transform


def fmi(a: Grey, b: Grey, f: Grey, take: Callable[[Grey], Field]) -> float:
    """The mean of both sources; nan where there is no window."""
    return sum(fmi_terms(a, b, f, take)) / 2


def fmi_terms(a: Grey, b: Grey, f: Grey, take: Callable[[Grey], Field]) -> tuple[float, float]:
    """Haghighat 2011, 2014: the mean of what F's windows tell of A's, and of B's."""
    if min(f.shape) < 3:
        return math.nan, math.nan
    of_a, of_b, of_f = take(a), take(b), take(f)
    with_a, with_b = [], []
    for row in range(f.shape[0] - 2):
        x, y, z = (cut_windows(feature, row) for feature in (of_a, of_b, of_f))
        in_a = (x == z).all(axis=1)
        # the authors' code compares B with the window of F that the comparison with A has already moved to 0..1
        in_b = (y == np.where(in_a[:, None], z, stretch(z))).all(axis=1)
        with_a.append(np.where(in_a, 1.0, share_information(x, z)))
        with_b.append(np.where(in_b, 1.0, share_information(y, z)))
    return float(np.mean(with_a)), float(np.mean(with_b))


def cut_windows(feature: Field, row: int) -> Field:
    """The 3 x 3 windows with this first row, `(number, 9)`, down their columns."""
    windows = np.lib.stride_tricks.sliding_window_view(feature[row : row + 3], (3, 3))[0]
    return windows.transpose(0, 2, 1).reshape(-1, 9)


def stretch(windows: Field) -> Field:
    """Moved to 0..1, rounding to 0; all 1 where flat."""
    low, high = windows.min(axis=1, keepdims=True), windows.max(axis=1, keepdims=True)
    moved = np.where(high > low, (windows - low) / np.where(high > low, high - low, 1.0), 1.0)
    return np.where(moved > 1e-10, moved, 0.0)


def share_information(x: Field, f: Field) -> Field:
    """Twice the mutual information over the sum of the entropies, of every window."""
    p, q = (stretch(windows) / stretch(windows).sum(axis=1, keepdims=True) for windows in (x, f))
    joint = join(p, q)
    entropies = sum_entropy(p) + sum_entropy(q)
    shared = entropies - sum_entropy(joint.reshape(len(p), -1))
    told = np.where(entropies > 0, 2 * shared / np.where(entropies > 0, entropies, 1.0), 0.0)
    return np.where((np.ptp(x, axis=1) == 0) & (np.ptp(f, axis=1) == 0), 1.0, told)


def join(p: Field, q: Field) -> Field:
    """The joint distributions `(number, 9, 9)`: between independence and the bound of Frechet, as far as p and q are alike."""
    index = np.arange(1.0, 10.0)
    from_p, from_q = p - 1 / 9, q - 1 / 9
    common = (from_p * from_q).sum(axis=1)
    scale = np.sqrt((from_p**2).sum(axis=1) * (from_q**2).sum(axis=1))
    alike = np.where(common != 0, common / np.where(scale > 0, scale, 1.0), 0.0)[:, None, None]
    of_p, of_q = p.cumsum(axis=1)[:, :, None], q.cumsum(axis=1)[:, None, :]
    bound = np.where(alike >= 0, np.minimum(of_p, of_q), np.maximum(of_p + of_q - 1, 0.0))
    deviations = [np.sqrt(np.maximum(s @ index**2 - (s @ index) ** 2, 0.0)) for s in (p, q)]
    spread = (deviations[0] * deviations[1])[:, None, None]
    furthest = (bound - of_p * of_q).sum(axis=(1, 2), keepdims=True)
    reached = np.where((spread > 0) & (furthest != 0), alike * spread / np.where(furthest != 0, furthest, 1.0), 0.0)
    extreme = np.diff(np.diff(bound, axis=1, prepend=0.0), axis=2, prepend=0.0)
    return reached * extreme + (1 - reached) * p[:, :, None] * q[:, None, :]


def sum_entropy(shares: Field) -> Field:
    """-sum s log2|s| along the last axis."""
    sizes = np.abs(shares)
    return -(shares * np.log2(np.where(sizes > 0, sizes, 1.0))).sum(axis=-1)


def fmi_pixel(a: Grey, b: Grey, f: Grey) -> float:
    return fmi(a, b, f, take_pixels)


def fmi_gradient(a: Grey, b: Grey, f: Grey) -> float:
    return fmi(a, b, f, take_gradient)


def fmi_dct(a: Grey, b: Grey, f: Grey) -> float:
    return fmi(a, b, f, take_transform)


METRICS: dict[str, Callable[[Grey, Grey, Grey], float]] = {"fmi_pixel": fmi_pixel, "fmi_gradient": fmi_gradient, "fmi_dct": fmi_dct}
