"""Metrics after models of human vision once more: float64 and plain NumPy and SciPy, written from the definitions, slow, nothing shared.

The tests measure the errors of `prior.metrics` against it, the benchmark its speed.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float64]
Grey = NDArray[Any]

FLAT = 1e-10
NOISE, NOISE_OF_FUSION = 2.0, 0.005 * 255 * 255


# --- visual information fidelity ------------------------------------------------------------------------------------------------------


def list_windows(x: Grey, f: Grey) -> Iterator[tuple[Field, Field, Field]]:
    """At each of the four scales the variances of both images and their covariance, in every window."""
    # Variances do not see a shift; without it the rounding of squares drowns flat bright areas.
    x, f = (levels - np.median(levels) for levels in (x.astype(np.float64), f.astype(np.float64)))
    for width in (17, 9, 5, 3):
        if width < 17:
            x, f = _blur(x, width)[::2, ::2], _blur(f, width)[::2, ::2]
        mean_x, mean_f = _blur(x, width), _blur(f, width)
        yield _blur(x * x, width) - mean_x**2, _blur(f * f, width) - mean_f**2, _blur(x * f, width) - mean_x * mean_f


def measure_information(vx: Field, vf: Field, shared: Field, noise: float) -> tuple[Field, Field, Field]:
    """The information kept and there, in digits, and the gain, window by window."""
    vx, vf = np.where(vx < FLAT, 0, vx), np.where(vf < FLAT, 0, vf)
    gain = np.where((vx > 0) & (vf > 0), shared / (vx + FLAT), 0)
    residual = np.where(gain < 0, vf, vf - gain * shared)
    gain = np.maximum(gain, 0)
    kept = np.log10(1 + gain**2 * vx / (np.maximum(residual, FLAT) + noise))
    return kept, np.log10(1 + vx / noise), gain


def viff(a: Grey, b: Grey, f: Grey) -> float:
    """Han 2013: the source of the smaller gain in every window, source b where they are equal."""
    if min(f.shape) < 41:
        return math.nan
    total = 0.0
    for weight, of_a, of_b in zip((1, 0, 0.15, 1), list_windows(a, f), list_windows(b, f), strict=True):
        kept_a, there_a, gain_a = measure_information(*of_a, NOISE_OF_FUSION)
        kept_b, there_b, gain_b = measure_information(*of_b, NOISE_OF_FUSION)
        kept, there = np.where(gain_a < gain_b, kept_a, kept_b), np.where(gain_a < gain_b, there_a, there_b)
        total += weight / 2.15 * float((kept + 1e-7).sum() / (there + 1e-7).sum())
    return total


def viff_sum(a: Grey, b: Grey, f: Grey) -> float:
    """VIF with the noise of VIFF."""
    return _vif(a, f, list_windows, NOISE_OF_FUSION) + _vif(b, f, list_windows, NOISE_OF_FUSION)


def vif_released(a: Grey, b: Grey, f: Grey) -> float:
    """VIF in which 0 / 0 is 1."""
    if min(f.shape) < 41:
        return math.nan
    return sum(1 if math.isnan(term) else term for term in (_vif(x, f, list_windows, NOISE) for x in (a, b)))


def vif_saturated(a: Grey, b: Grey, f: Grey) -> float:
    """VIF in which squares and products at the first scale are those of unsigned bytes."""
    return _vif(a, f, list_windows_of_bytes, NOISE) + _vif(b, f, list_windows_of_bytes, NOISE)


def list_windows_of_bytes(x: Grey, f: Grey) -> Iterator[tuple[Field, Field, Field]]:
    """As `list_windows`, with products that stop at 255 at the first scale."""
    for scale, windows in enumerate(list_windows(x, f)):
        if scale == 0:
            x, f = x.astype(np.float64), f.astype(np.float64)
            mean_x, mean_f = _blur(x, 17), _blur(f, 17)
            xx, ff, xf = (_blur(np.minimum(product, 255), 17) for product in (x * x, f * f, x * f))
            yield xx - mean_x**2, ff - mean_f**2, xf - mean_x * mean_f
        else:
            yield windows


def _vif(x: Grey, f: Grey, windows: Any, noise: float) -> float:
    if min(f.shape) < 41:
        return math.nan
    kept = there = 0.0
    for vx, vf, shared in windows(x, f):
        kept_here, there_here, _ = measure_information(vx, vf, shared, noise)
        kept, there = kept + float(kept_here.sum()), there + float(there_here.sum())
    return kept / there if there > 0 else math.nan


def _blur(x: Field, width: int) -> Field:
    """Gaussian means, windows wholly inside only."""
    reach = width // 2
    window = np.exp(-((np.arange(width) - reach) ** 2) / (2 * (width / 5) ** 2))
    for axis in (0, 1):
        x = ndimage.correlate1d(x, window / window.sum(), axis=axis, mode="constant")
    return x[reach : x.shape[0] - reach, reach : x.shape[1] - reach]


# --- sensitivity to contrast ----------------------------------------------------------------------------------------------------------


def q_cv(a: Grey, b: Grey, f: Grey) -> float:
    """Chen and Varshney 2007, block by block."""
    levels = [stretch(image) for image in (a, b, f)]
    if any(image is None for image in levels):
        return math.nan
    a, b, f = levels
    r = _list_frequencies(a.shape, 8)
    gains = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    lost, whole = 0.0, 0.0
    for x in (a, b):
        difference, strength = _filter(x - f, gains), np.hypot(ndimage.sobel(x, 0, mode="constant"), ndimage.sobel(x, 1, mode="constant"))
        for i in range(0, x.shape[0], 16):
            for j in range(0, x.shape[1], 16):
                block = slice(i, i + 16), slice(j, j + 16)
                saliency = float((strength[block] ** 5).sum())
                lost += saliency * float((difference[block] ** 2).sum()) / 256
                whole += saliency
    return lost / whole if whole > 0 else math.nan


def q_cb(a: Grey, b: Grey, f: Grey) -> float:
    """Chen and Blum 2009."""
    levels = [stretch(image) for image in (a, b, f)]
    if any(image is None for image in levels):
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b, f = (_contrast(*surround(image)) for image in levels)
        kept_a, kept_b = np.minimum(a, f) / np.maximum(a, f), np.minimum(b, f) / np.maximum(b, f)
        return float(((a**2 * kept_a + b**2 * kept_b) / (a**2 + b**2)).mean())


def stretch(image: Grey) -> Any:
    """Levels over the whole of 0..255, halves rounded up; black stays black, and of another constant there is None."""
    low, high = float(image.min()), float(image.max())
    if low == high:
        return None if high > 0 else np.zeros(image.shape)
    return np.floor((image - low) / (high - low) * 255 + 0.5)


def surround(image: Field) -> tuple[Field, Field]:
    """The narrow and the wide Gaussian surroundings, 31 x 31 px, of a stretched image as the eye sees it."""
    r = _list_frequencies(image.shape, 30)
    seen = _filter(image, np.exp(-((r / 15.387) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2)))
    x = np.arange(-15, 16)
    found = []
    for sigma in (2, 4):
        taps = np.exp(-(x**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
        found.append(ndimage.correlate1d(ndimage.correlate1d(seen, taps, axis=0, mode="constant"), taps, axis=1, mode="constant"))
    return found[0], found[1]


def _contrast(narrow: Field, wide: Field) -> Field:
    contrast = np.abs(narrow / wide - 1)
    return contrast**3 / (contrast**2 + 1e-4)


def _list_frequencies(shape: tuple[int, ...], share: float) -> Field:
    """The radii of all frequencies, 0 in the middle: each axis runs from -1 to 1 and is as long as a share of the image."""
    down, along = ((np.arange(side) - side // 2) * 2 / side * (side / share) for side in shape)
    return np.sqrt(down[:, None] ** 2 + along**2)


def _filter(image: Field, gains: Field) -> Field:
    return np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(image)) * gains)).real


METRICS = {
    "q_cb": q_cb,
    "q_cv": q_cv,
    "vif_released": vif_released,
    "vif_saturated": vif_saturated,
    "viff": viff,
    "viff_sum": viff_sum,
}
