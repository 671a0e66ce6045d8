"""The fusion quality indices of Piella, Yang and Cvejic once more: float64 and plain NumPy, window by window, slow, nothing shared.

Every window's moments are taken about its own mean, so that a window of one level has the variance 0 up to 1e-25, and one of two levels
never less than 1e-13. Covariances that are 0 by symmetry are found by size: none of 8-bit levels is otherwise below 1e-8.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Grey = NDArray[Any]

FLAT = 1e-18
UNRELATED = 1e-8
WANG = (2.55**2, 7.65**2)
NEARLY_NONE = (2e-16, 2e-16)


@dataclass(frozen=True)
class Windows:
    """Of every window wholly inside: means, variances and the covariance of two images, `(H, W)` each."""

    mean_x: Field
    mean_y: Field
    var_x: Field
    var_y: Field
    cov: Field

    def similarity(self, c1: float, c2: float) -> Field:
        """SSIM of every window."""
        light = (2 * self.mean_x * self.mean_y + c1) / (self.mean_x**2 + self.mean_y**2 + c1)
        return light * (2 * self.cov + c2) / (self.var_x + self.var_y + c2)


def q_s(a: Grey, b: Grey, f: Grey) -> float:
    """Piella and Heijmans 2003, the plain mean over the windows."""
    if min(f.shape) < 11:
        return math.nan
    return float(_mix_similarities(_float(a), _float(b), _float(f))[0].mean())


def q_w(a: Grey, b: Grey, f: Grey) -> float:
    """Piella and Heijmans 2003, windows weighted by the larger variance of the sources."""
    if min(f.shape) < 11:
        return math.nan
    return _average_weighted(_float(a), _float(b), _float(f))


def q_w_edges(a: Grey, b: Grey, f: Grey) -> float:
    """The same of the magnitudes of the Prewitt gradients."""
    if min(f.shape) < 11:
        return math.nan
    return _average_weighted(_find_edges(a), _find_edges(b), _find_edges(f))


def q_e(a: Grey, b: Grey, f: Grey) -> float:
    """Piella and Heijmans 2003: of the images times of their edges."""
    return q_w(a, b, f) * q_w_edges(a, b, f)


def q_y(a: Grey, b: Grey, f: Grey) -> float:
    """Yang 2008, the mean over the windows where it is defined."""
    return _average_defined(_map_yang(a, b, f))


def q_c(a: Grey, b: Grey, f: Grey) -> float:
    """Cvejic 2005, the mean over the windows where it is defined."""
    return _average_defined(_map_cvejic(a, b, f))


METRICS: dict[str, Callable[[Grey, Grey, Grey], float]] = {
    "q_s": q_s,
    "q_w": q_w,
    "q_w_edges": q_w_edges,
    "q_e": q_e,
    "q_y": q_y,
    "q_c": q_c,
}


def _average_weighted(a: Field, b: Field, f: Field) -> float:
    mixed, larger = _mix_similarities(a, b, f)
    return float((larger / larger.sum() * mixed).sum())


def _mix_similarities(a: Field, b: Field, f: Field) -> tuple[Field, Field]:
    """Of every window: the two similarities mixed by the variances of the sources, and the larger of these."""
    of_a, of_b = _slide(a, f, 11), _slide(b, f, 11)
    both_flat = (of_a.var_x == 0) & (of_b.var_x == 0)
    var_a, var_b = of_a.var_x + 0.5 * both_flat, of_b.var_x + 0.5 * both_flat
    share = var_a / (var_a + var_b)
    return share * of_a.similarity(*WANG) + (1 - share) * of_b.similarity(*WANG), np.maximum(var_a, var_b)


def _find_edges(image: Grey) -> Field:
    padded = np.pad(image.astype(np.int64), 1)
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    gx = across[:-2] + across[1:-1] + across[2:]
    gy = down[:, :-2] + down[:, 1:-1] + down[:, 2:]
    return np.sqrt(gx**2 + gy**2)


def _map_yang(a: Grey, b: Grey, f: Grey) -> Field:
    """The index of every window, nan where it has none."""
    if min(f.shape) < 7:
        return np.full((1, 1), math.nan)
    of_a, of_b, sources = (_slide(_float(x), _float(y), 7) for x, y in ((a, f), (b, f), (a, b)))
    similar_a, similar_b = of_a.similarity(*NEARLY_NONE), of_b.similarity(*NEARLY_NONE)
    with np.errstate(invalid="ignore"):
        share = sources.var_x / (sources.var_x + sources.var_y)
    mixed = share * similar_a + (1 - share) * similar_b
    return np.where(sources.similarity(*NEARLY_NONE) >= 0.75 - 1e-9, mixed, np.maximum(similar_a, similar_b))


def _map_cvejic(a: Grey, b: Grey, f: Grey) -> Field:
    """The index of every window, nan where it has none."""
    if min(f.shape) < 7:
        return np.full((1, 1), math.nan)
    of_a, of_b = _slide(_float(a), _float(f), 7), _slide(_float(b), _float(f), 7)
    total = of_a.cov + of_b.cov
    share = of_a.cov / np.where(np.abs(total) < UNRELATED, math.nan, total)
    mixed = share * of_a.similarity(*NEARLY_NONE) + (1 - share) * of_b.similarity(*NEARLY_NONE)
    return np.where(share < 0, 0.0, np.where(share > 1, 1.0, mixed))


def _average_defined(index: Field) -> float:
    defined = index[~np.isnan(index)]
    return float(defined.mean()) if defined.size else math.nan


def _slide(x: Field, y: Field, side: int) -> Windows:
    """Gaussian windows, sigma 1.5, one row of them after the other."""
    along = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * 1.5**2))
    weights = np.outer(along, along) / along.sum() ** 2
    rows = [_measure(x[i : i + side], y[i : i + side], weights) for i in range(x.shape[0] - side + 1)]
    return Windows(*(np.stack(maps) for maps in zip(*rows, strict=True)))


def _measure(x: Field, y: Field, weights: Field) -> tuple[Field, Field, Field, Field, Field]:
    """The moments of one row of windows."""
    x, y = (np.lib.stride_tricks.sliding_window_view(z, weights.shape)[0] for z in (x, y))
    mean_x, mean_y = np.tensordot(x, weights), np.tensordot(y, weights)
    x, y = x - mean_x[:, None, None], y - mean_y[:, None, None]
    var_x, var_y, cov = np.tensordot(x * x, weights), np.tensordot(y * y, weights), np.tensordot(x * y, weights)
    var_x, var_y = np.where(var_x < FLAT, 0.0, var_x), np.where(var_y < FLAT, 0.0, var_y)
    return mean_x, mean_y, var_x, var_y, np.where(np.abs(cov) < UNRELATED, 0.0, cov)


def _float(image: Grey) -> Field:
    return image.astype(np.float64)
