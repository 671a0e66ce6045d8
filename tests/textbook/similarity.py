"""The SSIM family under Gaussian windows once more: float64, plain NumPy and SciPy, written from the definitions, slow, nothing shared.

MEF-SSIM cuts out every patch and builds the wanted one beside it, as its paper describes it.
"""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float64]
Grey = NDArray[Any]

SIDE = 11
EPS = 2.0**-52
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _make_weights() -> Field:
    """The Gaussian window, 11 x 11, sigma 1.5, sum 1."""
    offsets = np.arange(SIDE) - SIDE // 2
    weights = np.exp(-np.add.outer(offsets**2, offsets**2) / (2 * 1.5**2))
    normed: Field = weights / weights.sum()
    return normed


WEIGHTS = _make_weights()


def _similarity(x: Grey, y: Grey, dynamic_range: float) -> tuple[Field, Field]:
    """The whole similarity of every window wholly inside, and its part without the brightness."""
    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    line = np.exp(-((np.arange(SIDE) - SIDE // 2) ** 2) / (2 * 1.5**2))
    line /= line.sum()

    def average(z: Field) -> Field:
        filtered = ndimage.correlate1d(ndimage.correlate1d(z, line, axis=0), line, axis=1)
        inside: Field = filtered[SIDE // 2 : -(SIDE // 2), SIDE // 2 : -(SIDE // 2)]
        return inside

    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = average(x), average(y)
    # Covariances do not see a shift; from near its own level a picture's squares round less.
    shifted_x, shifted_y = x - np.median(x), y - np.median(y)
    offset_x, offset_y = average(shifted_x), average(shifted_y)
    var_x, var_y = average(shifted_x**2) - offset_x**2, average(shifted_y**2) - offset_y**2
    cov = average(shifted_x * shifted_y) - offset_x * offset_y
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return brightness * structure, structure


def ssim(x: Grey, y: Grey, dynamic_range: float) -> float:
    """Wang 2004 over the windows wholly inside."""
    return float(_similarity(x, y, dynamic_range)[0].mean()) if min(x.shape) >= SIDE else math.nan


def ssim_of_all_pixels(x: Grey, y: Grey, dynamic_range: float) -> float:
    """The same with a window around every pixel, the border repeated."""
    wide_x, wide_y = np.pad(x, SIDE // 2, mode="edge"), np.pad(y, SIDE // 2, mode="edge")
    return float(_similarity(wide_x, wide_y, dynamic_range)[0].mean())


def ms_ssim(x: Grey, y: Grey) -> float:
    """Wang 2003 at five scales."""
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if min(x.shape) < SIDE:
            return math.nan
        whole, structure = _similarity(x, y, 255)
        mean = (whole if scale == len(SCALE_WEIGHTS) - 1 else structure).mean()
        product *= max(float(mean), 0.0) ** weight
        x, y = _halve(x), _halve(y)
    return product


def mef_ssim(a: Grey, b: Grey, f: Grey) -> float:
    """Ma 2015 for two grey exposures, without the brightness."""
    if min(a.shape) < SIDE:
        return math.nan
    rows = range(a.shape[0] - SIDE + 1)
    return float(np.mean([_judge_patches(*(_cut_patches(z, row) for z in (a, b, f))) for row in rows]))


def mef_ms_ssim(a: Grey, b: Grey, f: Grey) -> float:
    """The same at three scales."""
    if min(a.shape) < 4 * SIDE:
        return math.nan
    product = 1.0
    for weight in SCALE_WEIGHTS[:3]:
        product *= max(mef_ssim(a, b, f), 0.0) ** (weight / sum(SCALE_WEIGHTS[:3]))
        a, b, f = _halve(a), _halve(b), _halve(f)
    return product


def _cut_patches(image: Grey, row: int) -> Field:
    """All patches that begin in one row, float64 `(count, 121)`."""
    patches = sliding_window_view(image[row : row + SIDE].astype(np.float64), (SIDE, SIDE))
    return patches.reshape(-1, SIDE * SIDE)


def _judge_patches(a: Field, b: Field, f: Field) -> Field:
    """The similarity of each patch of the candidate to the wanted patch."""
    rest_a, rest_b = (z - z.mean(axis=1, keepdims=True) for z in (a, b))
    length_a, length_b, length_sum = (np.sqrt((z**2).sum(axis=1, keepdims=True)) for z in (rest_a, rest_b, rest_a + rest_b))
    agreement = np.minimum((length_sum + EPS) / (length_a + length_b + EPS), 1)
    power = np.minimum(np.tan(agreement * np.pi / 2), 10)
    contrasts = [length_a + 0.001, length_b + 0.001]
    weight_a, weight_b = ((contrast / SIDE) ** power + EPS for contrast in contrasts)
    structure = (weight_a * rest_a / contrasts[0] + weight_b * rest_b / contrasts[1]) / (weight_a + weight_b)
    length = np.sqrt((structure**2).sum(axis=1, keepdims=True))
    stretched = np.divide(structure, length, out=structure.copy(), where=length > 1e-12)
    return _compare_patches(np.maximum(*contrasts) * stretched, f)


def _compare_patches(wanted: Field, f: Field) -> Field:
    weights = WEIGHTS.ravel()
    wanted = wanted - (wanted @ weights)[:, None]
    f = f - (f @ weights)[:, None]
    c = (0.03 * 255) ** 2
    similarity: Field = (2 * (wanted * f) @ weights + c) / ((wanted**2) @ weights + (f**2) @ weights + c)
    return similarity


def _halve(x: Grey) -> Field:
    """The means of blocks of 2 x 2 pixels, an odd last row or column counted twice."""
    even = np.pad(x.astype(np.float64), [(0, side % 2) for side in x.shape], mode="edge")
    means: Field = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(axis=(1, 3))
    return means


METRICS = {
    "ssim_gaussian": lambda a, b, f: ssim(a, f, 255) + ssim(b, f, 255),
    "ssim_matlab": lambda a, b, f: (ssim_of_all_pixels(a, f, 255) + ssim_of_all_pixels(b, f, 255)) / 2,
    "ssim_matlab_l1": lambda a, b, f: (ssim_of_all_pixels(a, f, 1) + ssim_of_all_pixels(b, f, 1)) / 2,
    "ms_ssim": lambda a, b, f: (ms_ssim(a, f) + ms_ssim(b, f)) / 2,
    "mef_ssim": mef_ssim,
    "mef_ms_ssim": mef_ms_ssim,
}
