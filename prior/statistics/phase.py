"""Phase congruency: where the waves that make up a picture agree, whatever its contrast; and along which directions they do.

Log-Gabor filters of four scales in six orientations, as complex responses whose real part is the even and whose imaginary part the odd
wave. What is compared with a threshold is measured in float64; single precision, which moves the congruency by 1e-8 to 1e-7, is enough
for what is only averaged.

What the public codes of fusion metrics do otherwise than one would expect is kept, so that the numbers compare: on odd sides the two
frequency grids differ and the low-pass sits one frequency off; the sum of the crossed moments is divided by 6, where the eigenvalues of
the moments would take 4 / 6.

Reference: Kovesi 1999, Image features from phase congruency, Videre 1(3).
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Picture

SCALES, ORIENTATIONS = 4, 6
SHORTEST_WAVE, WAVE_FACTOR = 3.0, 2.1  # px, and from scale to scale
BANDWIDTH = 0.55  # the deviation of a log-Gabor filter over its centre frequency
SPREAD = math.pi / ORIENTATIONS / 1.2  # the deviation across orientations, in radians
LOWPASS_EDGE, LOWPASS_POWER = 0.45, 30  # in cycles per px
NOISE_DEVIATIONS, NOISE_DIVISOR = 2.0, 1.7
WIDTH_EDGE, WIDTH_GAIN = 0.5, 10.0
EPSILON = 1e-4
SMALLEST = 2  # px: the frequencies of a single one are 0/0

Field = NDArray[np.float64]
Single = NDArray[np.float32]
Complex = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True, slots=True)
class Phase:
    """How the phases in one picture agree, three maps `(H, W)`.

    Attributes:
        congruency: float64, 0 where no waves agree, towards 1 where all do.
        largest: float32, the largest moment of the congruency over the orientations: edges and corners.
        smallest: float32, the smallest moment: corners.
    """

    congruency: Field
    largest: Single
    smallest: Single


def measure_phase(picture: Picture) -> Phase | None:
    """The phase congruency of a picture and its moments, from float64 responses.

    Args:
        picture: uint8 `(H, W)`.

    Returns:
        The three maps; None for a constant picture, in which nothing has a phase, and for one less than 2 px wide or high.
    """
    return _measure(picture, np.float64)


def measure_phase_fast(picture: Picture) -> Phase | None:
    """As `measure_phase`, from float32 responses: faster, with errors of 1e-8 to 1e-7, and so not for comparing with a threshold."""
    return _measure(picture, np.float32)


def _measure(picture: Picture, precision: type[np.float32 | np.float64]) -> Phase | None:
    if min(picture.shape) < SMALLEST or picture.min() == picture.max():
        return None
    noise = _noise_levels(*picture.shape)
    spectrum = fft.fft2(np.ascontiguousarray(picture, np.float64), workers=1).astype(np.result_type(precision, np.complex64), copy=False)
    responses = np.empty((SCALES, *picture.shape), spectrum.dtype)
    energy, amplitude = np.zeros((2, *picture.shape))
    moments = np.zeros((3, *picture.shape), np.float32)
    scales = _scales(*picture.shape).astype(precision, copy=False)
    for index, orientation in enumerate(_orientations(*picture.shape)):
        spread = orientation.astype(precision, copy=False)
        for scale, response in zip(scales, responses, strict=True):
            _weigh(spectrum, scale, spread, response)
            _invert(response)
        threshold = noise[index] * math.sqrt(_take_median_power(responses[0]))
        angle = index * math.pi / ORIENTATIONS
        _add_orientation(responses, threshold, math.cos(angle), math.sin(angle), energy, amplitude, moments)
    amplitude += EPSILON
    energy /= amplitude
    return Phase(energy, *_take_axes(*moments))


def _invert(response: Complex) -> None:
    """Its inverse Fourier transform, in place: by OpenCV where the sides are products of 2, 3 and 5, where it takes half the time."""
    if all(cv2.getOptimalDFTSize(side) == side for side in response.shape):
        pairs = response.view(response.real.dtype).reshape(*response.shape, 2)
        cv2.idft(pairs, pairs, cv2.DFT_SCALE)
    else:
        response[:] = fft.ifft2(response, overwrite_x=True, workers=1)


def _take_median_power(response: Complex) -> float:
    """The median of the squared magnitudes; several times as fast as NumPy's where their number is even."""
    sizes = np.abs(response).ravel()
    middle = sizes.size // 2
    sizes.partition(middle)
    upper = float(sizes[middle])
    lower = upper if sizes.size % 2 else float(sizes[:middle].max())
    return (lower * lower + upper * upper) / 2


def _take_axes(along_x: Single, along_y: Single, crossed: Single) -> tuple[Single, Single]:
    """The largest and the smallest moment from the sums of xx, yy, and xy, in their place."""
    along_x /= ORIENTATIONS / 2
    along_y /= ORIENTATIONS / 2
    crossed /= ORIENTATIONS
    np.hypot(crossed, along_x - along_y, out=crossed)
    crossed += EPSILON
    along_x += along_y
    np.subtract(along_x, crossed, out=along_y)
    along_x += crossed
    along_x /= 2
    along_y /= 2
    return along_x, along_y


@functools.lru_cache(maxsize=16)
def _noise_levels(height: int, width: int) -> tuple[float, ...]:
    """The noise threshold of each orientation, over the root of the median power at the finest scale.

    The energy of noise has a Rayleigh distribution. Its parameter is the deviation of the noise in the sum of all scales' even filters;
    the median power at the finest scale is ln 2 times the variance of the noise times the power of the filter there.
    """
    scales = _scales(height, width)
    every = scales.sum(axis=0)
    levels = []
    for orientation in _orientations(height, width):
        finest = float(np.square(scales[0] * orientation).sum())
        even = every * orientation
        even += np.roll(even[::-1, ::-1], 1, axis=(0, 1))
        deviation = math.sqrt(float(np.square(even / 2).sum()) / (math.log(2) * finest))
        levels.append(deviation * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_DIVISOR)
    return tuple(levels)


def _scales(height: int, width: int) -> Field:
    """The radial factors, float64 `(4, H, W)`: log-Gabor times a low-pass; nothing at frequency zero, which comes first."""
    radius = np.hypot(_frequencies(height)[:, None], _frequencies(width))
    radius[0, 0] = 1
    logarithm = np.log(radius, out=radius)
    lowpass = np.hypot(_lowpass_frequencies(height)[:, None], _lowpass_frequencies(width))
    lowpass = 1 / (1 + (lowpass / LOWPASS_EDGE) ** LOWPASS_POWER)
    scales = np.empty((SCALES, height, width))
    for scale, factor in enumerate(scales):
        np.add(logarithm, math.log(SHORTEST_WAVE * WAVE_FACTOR**scale), out=factor)
        factor *= factor
        factor /= -2 * math.log(BANDWIDTH) ** 2
        np.exp(factor, out=factor)
        factor *= lowpass
    scales[:, 0, 0] = 0
    return scales


def _orientations(height: int, width: int) -> Iterator[Field]:
    """The angular factor of each orientation, float64 `(H, W)`, one after the other in the same array.

    Rows of a picture count downwards, angles turn upwards.
    """
    x, y = _frequencies(width), _frequencies(height)[:, None]
    radius = np.hypot(y, x)
    radius[0, 0] = 1
    away = np.empty_like(radius)
    for orientation in range(ORIENTATIONS):
        angle = orientation * math.pi / ORIENTATIONS
        np.subtract(math.cos(angle) * x, math.sin(angle) * y, out=away)
        away /= radius
        np.clip(away, -1, 1, out=away)
        np.arccos(away, out=away)
        away *= away
        away /= -2 * SPREAD**2
        yield np.exp(away, out=away)


def _frequencies(side: int) -> Field:
    """The frequencies along a side, zero first; on odd sides they reach 0.5 too."""
    frequencies: Field = fft.ifftshift((np.arange(side) - side // 2) / (side - side % 2))
    return frequencies


def _lowpass_frequencies(side: int) -> Field:
    """The frequencies along a side as the low-pass has them: on odd sides zero comes last."""
    frequencies: Field = fft.fftshift((np.arange(side) - side // 2) / side)
    return frequencies


@njit(cache=True, nogil=True)
def _weigh(spectrum, scale, orientation, weighed):  # type: ignore[no-untyped-def]
    """The spectrum through one filter."""
    for i in range(spectrum.shape[0]):
        for j in range(spectrum.shape[1]):
            weighed[i, j] = spectrum[i, j] * (scale[i, j] * orientation[i, j])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_orientation(responses, threshold, cosine, sine, energy_sum, amplitude_sum, moments):  # type: ignore[no-untyped-def]
    """Add what one orientation contributes to the sums of energy and amplitude and to the moments xx, yy, and xy of the congruency.

    The energy is what the responses sum to along their mean direction less what they have across it, less the noise; the weight tells
    how many scales take part. Where no scale responds at all there is no congruency.
    """
    width = responses.shape[2]
    energy, amplitude, most = np.empty(width), np.empty(width), np.empty(width)
    for i in range(responses.shape[1]):
        for j in range(width):
            even, odd, total, peak = 0.0, 0.0, 0.0, 0.0
            for s in range(SCALES):
                real, imaginary = np.float64(responses[s, i, j].real), np.float64(responses[s, i, j].imag)
                size = math.sqrt(real * real + imaginary * imaginary)
                even, odd, total, peak = even + real, odd + imaginary, total + size, max(peak, size)
            across = 0.0
            for s in range(SCALES):
                across += abs(np.float64(responses[s, i, j].real) * odd - np.float64(responses[s, i, j].imag) * even)
            length = math.sqrt(even * even + odd * odd) + EPSILON
            energy[j] = (even * even + odd * odd - across) / length - threshold
            amplitude[j], most[j] = total, peak
        for j in range(width):
            amplitude_sum[i, j] += amplitude[j]
            if energy[j] > 0 and amplitude[j] > 0:
                spread = amplitude[j] / (most[j] + EPSILON) / SCALES
                weighted = energy[j] / (1 + math.exp((WIDTH_EDGE - spread) * WIDTH_GAIN))
                along_x, along_y = weighted / amplitude[j] * cosine, weighted / amplitude[j] * sine
                energy_sum[i, j] += weighted
                moments[0, i, j] += along_x * along_x
                moments[1, i, j] += along_y * along_y
                moments[2, i, j] += along_x * along_y
