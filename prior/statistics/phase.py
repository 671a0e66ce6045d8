"""Phase congruency: where the waves that make up a picture agree, whatever its contrast; and along which directions they do.

Log-Gabor filters of four scales in six orientations, as complex responses whose real part is the even and whose imaginary part the odd
wave. Only the spectrum of the picture is found in float64; the responses and all that is kept are float32, which moves the congruency by
1e-8 to 1e-7. Responses of all scales in one orientation are needed at once and take 8 float32 images; everything else is held small:
half of a spectrum, a quarter of each radial factor, one row of an angular factor.

What the public codes of fusion metrics do otherwise than one would expect is kept, so that the numbers compare: on odd sides the two
frequency grids differ and the low-pass sits one frequency off; the sum of the crossed moments is divided by 6, where the eigenvalues of
the moments would take 4 / 6.

Reference: Kovesi 1999, Image features from phase congruency, Videre 1(3).
"""

import functools
import math
from dataclasses import dataclass

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
DIGITS = 1 << 16  # what 16 bits can say

Field = NDArray[np.float32]
Complex = NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Phase:
    """How the phases in one picture agree, three maps, float32 `(H, W)`.

    Attributes:
        congruency: 0 where no waves agree, towards 1 where all do.
        largest: the largest moment of the congruency over the orientations: edges and corners.
        smallest: the smallest moment: corners.
    """

    congruency: Field
    largest: Field
    smallest: Field


def measure_phase(picture: Picture) -> Phase | None:
    """The phase congruency of a picture and its moments.

    Args:
        picture: uint8 `(H, W)`.

    Returns:
        The three maps; None for a constant picture, in which nothing has a phase, and for one less than 2 px wide or high.
    """
    if min(picture.shape) < SMALLEST or picture.min() == picture.max():
        return None
    energy, amplitude, *moments = _sum_orientations(picture)
    amplitude += EPSILON
    energy /= amplitude
    return Phase(energy, *_take_axes(*moments))


def _sum_orientations(picture: Picture) -> tuple[Field, ...]:
    """The sums over the orientations of energy and amplitude, and of the moments xx, yy, and xy."""
    noise = _noise_levels(*picture.shape)
    factors = _list_factors(*picture.shape)
    responses = np.empty((SCALES, *picture.shape), np.complex64)
    half = _transform(picture, responses)
    sums = tuple(np.zeros(picture.shape, np.float32) for _ in range(5))
    for orientation, level in enumerate(noise):
        angle = orientation * math.pi / ORIENTATIONS
        _weigh(half, factors, angle, responses)
        responses = _invert(responses)
        threshold = level * math.sqrt(_take_median_power(responses[0]))
        _add_orientation(responses, threshold, math.cos(angle), math.sin(angle), sums)
    return sums


def _transform(picture: Picture, room: Complex) -> Complex:
    """The left half of the spectrum, found in float64 where the responses will be: it takes as much room as two of them."""
    whole = room[:2].reshape(-1).view(np.complex128).reshape(picture.shape)
    whole[:] = picture
    half: Complex = fft.fft2(whole, overwrite_x=True, workers=1)[:, : picture.shape[1] // 2 + 1].astype(np.complex64)
    return half


def _invert(responses: Complex) -> Complex:
    """Their inverse Fourier transforms, in place: by OpenCV where the sides are products of 2, 3 and 5, where it takes half the time."""
    if any(cv2.getOptimalDFTSize(side) != side for side in responses.shape[1:]):
        transformed: Complex = fft.ifft2(responses, overwrite_x=True, workers=1)
        return transformed
    for response in responses:
        pairs = response.view(np.float32).reshape(*response.shape, 2)
        cv2.idft(pairs, pairs, cv2.DFT_SCALE)
    return responses


def _take_median_power(response: Complex) -> float:
    """The median of the squared magnitudes, without a field of them: floats of one sign are in the order of their bits."""
    upper = np.cumsum(_count_powers(response, -1))
    ranks = np.array([(response.size - 1) // 2, response.size // 2])
    digits = np.searchsorted(upper, ranks, side="right")
    lower = {digit: np.cumsum(_count_powers(response, digit)) for digit in set(digits.tolist())}
    below = np.where(digits > 0, upper[digits - 1], 0)
    bits = [digit * DIGITS + np.searchsorted(lower[digit], rank, side="right") for digit, rank in zip(digits, ranks - below, strict=True)]
    return float(np.array(bits, np.uint32).view(np.float32).mean(dtype=np.float64))


def _take_axes(along_x: Field, along_y: Field, crossed: Field) -> tuple[Field, Field]:
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
    factors = _list_factors(height, width)
    ones = np.ones((height, width // 2 + 1), np.complex64)
    filters = np.empty((SCALES, height, width), np.complex64)
    levels = []
    for orientation in range(ORIENTATIONS):
        _weigh(ones, factors, orientation * math.pi / ORIENTATIONS, filters)
        finest = float(np.square(filters[0].real).sum(dtype=np.float64))
        every = filters.real.sum(axis=0)
        every += np.roll(every[::-1, ::-1], 1, axis=(0, 1))
        even = float(np.square(every, out=every).sum(dtype=np.float64)) / 4
        deviation = math.sqrt(even / (math.log(2) * finest))
        levels.append(deviation * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_DIVISOR)
    return tuple(levels)


def _list_factors(height: int, width: int) -> Field:
    """What the filters of one size are made of, over the frequencies that are not negative: the others mirror them.

    The log-Gabor factors of the scales, nothing at frequency zero; the low-pass; the direction of the frequency, 0 to pi/2. Its grid
    reaches 0.5 on odd sides too, that of the low-pass does not.
    """
    factors = np.empty((SCALES + 2, height // 2 + 1, width // 2 + 1), np.float32)
    *scales, lowpass, directions = factors
    y, x = (np.arange(side // 2 + 1) / (side - side % 2) for side in (height, width))
    directions[:] = np.arctan2(y[:, None], x)
    radius = np.hypot(y[:, None], x)
    radius[0, 0] = 1
    logarithm, away = np.log(radius), radius
    for scale, factor in enumerate(scales):
        np.add(logarithm, math.log(SHORTEST_WAVE * WAVE_FACTOR**scale), out=away)
        away *= away
        away /= -2 * math.log(BANDWIDTH) ** 2
        factor[:] = np.exp(away, out=away)
        factor[0, 0] = 0
    v, u = (np.arange(side // 2 + 1) / side for side in (height, width))
    edge = np.hypot(v[:, None], u, out=away)
    edge /= LOWPASS_EDGE
    edge **= LOWPASS_POWER
    edge += 1
    lowpass[:] = np.reciprocal(edge, out=edge)
    return factors


@njit(cache=True, nogil=True)
def _weigh(half, factors, orientation, weighed):  # type: ignore[no-untyped-def]
    """The spectrum of a picture, given by its left half, through the filters of one orientation.

    The angular factor depends on how far the direction of a frequency is from the orientation, either way round. Rows of a picture count
    downwards, angles turn upwards.
    """
    height, width = weighed.shape[1:]
    angular, parts = np.empty(width, np.float32), np.empty(width, np.complex64)
    for i in range(height):
        row = min(i, height - i)
        low_row = row if height % 2 == 0 else min(i + 1, height - i - 1)
        for j in range(width):
            column = min(j, width - j)
            low_column = column if width % 2 == 0 else min(j + 1, width - j - 1)
            direction = factors[SCALES + 1, row, column]
            direction = direction if 2 * j < width else math.pi - direction
            away = abs((direction if 2 * i >= height else -direction) - orientation)
            away = min(away, 2 * math.pi - away)
            angular[j] = math.exp(np.float32(away * away / (-2 * SPREAD**2))) * factors[SCALES, low_row, low_column]
            # A picture is real: what is on the right is the conjugate of what is opposite on the left.
            parts[j] = half[i, j] if 2 * j <= width else np.conj(half[height - i if i else 0, width - j])
        for s in range(SCALES):
            for j in range(width):
                factor = factors[s, row, min(j, width - j)] * angular[j]
                weighed[s, i, j] = complex(parts[j].real * factor, parts[j].imag * factor)


@njit(cache=True, nogil=True)
def _count_powers(response, upper):  # type: ignore[no-untyped-def]
    """How often the squared magnitudes have which upper 16 bits; given some, the lower 16 of those that have these."""
    counts = np.zeros(DIGITS, np.int64)
    powers = np.empty(response.shape[1], np.float32)
    bits = powers.view(np.uint32)
    for i in range(response.shape[0]):
        for j in range(response.shape[1]):
            powers[j] = response[i, j].real * response[i, j].real + response[i, j].imag * response[i, j].imag
        for j in range(response.shape[1]):
            digit = bits[j] >> 16
            if upper < 0:
                counts[digit] += 1
            elif digit == upper:
                counts[bits[j] & (DIGITS - 1)] += 1
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def _add_orientation(responses, threshold, cosine, sine, sums):  # type: ignore[no-untyped-def]
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
            sums[1][i, j] += amplitude[j]
            if energy[j] > 0 and amplitude[j] > 0:
                spread = amplitude[j] / (most[j] + EPSILON) / SCALES
                weighted = energy[j] / (1 + math.exp((WIDTH_EDGE - spread) * WIDTH_GAIN))
                along_x, along_y = weighted / amplitude[j] * cosine, weighted / amplitude[j] * sine
                sums[0][i, j] += weighted
                sums[2][i, j] += along_x * along_x
                sums[3][i, j] += along_y * along_y
                sums[4][i, j] += along_x * along_y
