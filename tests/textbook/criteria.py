"""SSIM, VIF and Qabf once more: float64 and plain SciPy, written from the definitions, slow and with nothing shared.

The tests measure the errors of `prior.metrics` against it, the benchmark its speed.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float64]
Grey = NDArray[Any]

SOBEL = np.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])


def score(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    """Every metric of `prior.metrics` by its name."""
    ssim_a, ssim_b = ssim(a, f, 255), ssim(b, f, 255)
    vif_a, vif_b = vif(a, f), vif(b, f)
    return {
        "ssim": ssim_a + ssim_b,
        "ssim_a": ssim_a,
        "ssim_b": ssim_b,
        "ssim_l2": ssim(a, f, 2) + ssim(b, f, 2),
        "vif": vif_a + vif_b,
        "vif_a": vif_a,
        "vif_b": vif_b,
        "qabf": qabf(a, b, f),
    }


def ssim(x: Grey, y: Grey, dynamic_range: float) -> float:
    """Wang 2004 with uniform 7 x 7 windows and the sample covariance; the mean without the border of 3 px."""
    if min(x.shape) < 7:
        return math.nan
    x, y = x.astype(np.float64), y.astype(np.float64)
    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (ndimage.uniform_filter(z, 7)[3:-3, 3:-3] for z in (x, y, x * x, y * y, x * y))
    to_sample = 49 / 48
    var_x, var_y, cov = (to_sample * z for z in (mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y))
    ratios = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(ratios.mean())


def vif(reference: Grey, distorted: Grey) -> float:
    """Sheikh and Bovik 2006 in the pixel domain: information kept over information there, at four scales."""
    if min(reference.shape) < 41:
        return math.nan
    # Variances do not see a shift; without it the rounding of squares drowns flat bright areas.
    x, y = (z - np.median(z) for z in (reference.astype(np.float64), distorted.astype(np.float64)))
    kept = there = 0.0
    for width in (17, 9, 5, 3):
        if width < 17:
            x, y = (_gaussian_valid(z, width)[::2, ::2] for z in (x, y))
        mean_x, mean_y = _gaussian_valid(x, width), _gaussian_valid(y, width)
        var_x = np.maximum(_gaussian_valid(x * x, width) - mean_x**2, 0)
        var_y = np.maximum(_gaussian_valid(y * y, width) - mean_y**2, 0)
        cov = _gaussian_valid(x * y, width) - mean_x * mean_y
        kept += float(np.log10(1 + _signal_to_noise(var_x, var_y, cov)).sum())
        there += float(np.log10(1 + np.where(var_x < 1e-10, 0, var_x) / 2).sum())
    return kept / there if there > 0 else math.nan


def qabf(a: Grey, b: Grey, f: Grey) -> float:
    """Xydeas and Petrovic 2000 as in the public codes: zero border, ties G = gF, directions not folded."""
    (strength_a, angle_a), (strength_b, angle_b), (strength_f, angle_f) = (_gradient(z) for z in (a, b, f))
    total = float((strength_a + strength_b).sum())
    if total == 0:
        return math.nan
    kept_a = _preservation(strength_a, angle_a, strength_f, angle_f) * strength_a
    kept_b = _preservation(strength_b, angle_b, strength_f, angle_f) * strength_b
    return float((kept_a + kept_b).sum()) / total


def _gaussian_valid(x: Field, width: int) -> Field:
    reach = width // 2
    window = np.exp(-((np.arange(width) - reach) ** 2) / (2 * (width / 5) ** 2))
    window /= window.sum()
    for axis in (0, 1):
        x = ndimage.correlate1d(x, window, axis=axis, mode="constant")
    return x[reach : x.shape[0] - reach, reach : x.shape[1] - reach]


def _signal_to_noise(var_x: Field, var_y: Field, cov: Field) -> Field:
    gain = cov / (var_x + 1e-10)
    residual = var_y - gain * cov
    gain, residual = np.where(var_x < 1e-10, 0, gain), np.where(var_x < 1e-10, var_y, residual)
    var_x = np.where(var_x < 1e-10, 0, var_x)
    gain, residual = np.where(var_y < 1e-10, 0, gain), np.where(var_y < 1e-10, 0, residual)
    residual = np.where(gain < 0, var_y, residual)
    gain = np.maximum(gain, 0)
    ratio: Field = gain**2 * var_x / (np.maximum(residual, 1e-10) + 2)
    return ratio


def _gradient(x: Grey) -> tuple[Field, Field]:
    levels = x.astype(np.float64)
    down, right = (ndimage.convolve(levels, kernel, mode="constant") for kernel in (SOBEL, -SOBEL.T))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(right == 0, np.pi / 2, np.arctan(down / right))
    return np.hypot(right, down), angle


def _preservation(strength: Field, angle: Field, strength_f: Field, angle_f: Field) -> Field:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.minimum(strength, strength_f) / np.maximum(strength, strength_f)
    ratio = np.where(strength == strength_f, strength_f, ratio)
    agreement = 1 - np.abs(angle - angle_f) / (np.pi / 2)
    kept: Field = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (agreement - 0.8)))
    return kept


METRICS = {
    "ssim": lambda a, b, f: ssim(a, f, 255) + ssim(b, f, 255),
    "ssim_l2": lambda a, b, f: ssim(a, f, 2) + ssim(b, f, 2),
    "vif": lambda a, b, f: vif(a, f) + vif(b, f),
    "qabf": qabf,
}
