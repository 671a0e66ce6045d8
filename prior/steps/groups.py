"""Groups of similar patches, and their shrinkage under Gaussian scale mixtures (GSM).

Patches that look alike are gathered from the surroundings of every reference patch. In the principal components of such a group, noise
is spread evenly while structure is gathered in few; a component is kept the more, the more of its energy the noise does not explain.

Reference: W. Dong, G. Shi, Y. Ma, X. Li, "Image restoration via simultaneous sparse coding: where structured sparsity meets Gaussian
scale mixture", International J. Computer Vision 114:217-232, 2015, doi 10.1007/s11263-015-0808-y; constants from the authors' program.
Deviations: patches have 6 px at every noise level and references lie 5 px apart, not at most 4; the difference at which a patch counts 1/e
does not fall below 80 squared grey levels, while the program's bound goes from 60 to 95 with the noise; and a component's scale is not
compared with a scale of zero where its equation has a root.
"""

import math
from dataclasses import dataclass

import numpy as np
import pywt
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.patches import place_patches

SIDE = 6  # px, of a patch
STEP = 5  # px, between reference patches
REACH = 22  # px, how far from its reference a patch is looked for
FALL = 80 / 255**2  # mean squared difference at which a patch counts 1/e in the group's mean, or
FALL_BY_NOISE = 8 / 255  # this times the noise, if that is more
LEVELS = (5 / 255, 15 / 255, 20 / 255, 30 / 255, 50 / 255)  # of the noise, up to which what follows holds; the last is for more
NUMBERS = (43, 44, 50, 58, 58, 90)  # patches in a group
PENALTIES = tuple(math.sqrt(2) * c for c in (2.0, 1.9, 1.5, 2.0, 1.8, 2.1))  # c1: of the logarithm of a component's scale
SPREAD = 0.25  # c2 / c1: of the coefficients given the scale
NORMAL_MEDIAN = 0.6744897501960817  # of the magnitude of a normal variable with deviation 1

Stack = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of similar patches.

    Attributes:
        rows, columns: int32 `(groups, number)`, of every patch's first pixel; the reference patch comes first.
        weights: float32 `(groups, number)`, how much each patch counts in the mean of its group; they sum to one.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]


def estimate_noise(image: Image) -> float:
    """The deviation of white noise: the median magnitude of the finest diagonal wavelet coefficients, over that of a normal variable.

    Reference: D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3):425-455, 1994,
    doi 10.1093/biomet/81.3.425.
    """
    _, (_, _, diagonal) = pywt.dwt2(image, "db2", mode="symmetric")
    return float(np.median(np.abs(diagonal))) / NORMAL_MEDIAN


def find_groups(guide: Image, noise: float) -> Groups:
    """The patches most like each reference patch.

    Args:
        guide: float32 `(H, W)`, not smaller than a patch.
        noise: its deviation, which decides how many patches a group has.

    Returns:
        The groups; their references cover the image.
    """
    rows, columns = place_patches((guide.shape[0], guide.shape[1]), SIDE, STEP)
    available = (min(REACH, guide.shape[0] - SIDE) + 1) * (min(REACH, guide.shape[1] - SIDE) + 1)  # at a corner
    number = min(NUMBERS[_rank(noise)], available)
    at_rows, at_columns, distances = _match(np.ascontiguousarray(guide), rows, columns, number)
    weights = np.exp(-distances / max(FALL, FALL_BY_NOISE * noise))
    weights[:, 0] = weights[:, min(1, number - 1)]  # a patch is no nearer to its group for being its own
    weights /= weights.sum(axis=1, keepdims=True)
    return Groups(at_rows, at_columns, weights)


def shrink_groups(a: Image, b: Image, groups: Groups, noise: tuple[float, float]) -> tuple[Image, Image, Image]:
    """Two images with less noise, and the fusion of both: per group and component that of the source with more energy left.

    Args:
        a: one image, float32 `(H, W)`.
        b: the other, of the same size; both share the principal components of every group.
        groups: of their patches.
        noise: the deviation in either; 0 leaves it as it is.

    Returns:
        The first, the second and their fusion, each float32 `(H, W)`: every pixel the mean of all patches over it.
    """
    images = np.stack([a, b]).astype(np.float32, copy=False)
    penalties = np.array([PENALTIES[_rank(one)] for one in noise])
    sums, counts = _shrink(images, groups.rows, groups.columns, groups.weights, np.array(noise, np.float64), penalties)
    sums /= counts
    return sums[0], sums[1], sums[2]


def _rank(noise: float) -> int:
    return int(np.searchsorted(LEVELS, noise))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _match(guide, rows, columns, number):  # type: ignore[no-untyped-def]
    """The first pixels and the mean squared differences of the patches nearest to each reference, the nearest first."""
    height, width = guide.shape
    total = rows.size * columns.size
    at_rows, at_columns = np.empty((total, number), np.int32), np.empty((total, number), np.int32)
    distances = np.full((total, number), np.float32(np.inf))
    line = np.empty(2 * REACH + 1, np.float32)
    for g in range(total):
        row, column = rows[g // columns.size], columns[g % columns.size]
        left, right = max(column - REACH, 0), min(column + REACH, width - SIDE)
        for y in range(max(row - REACH, 0), min(row + REACH, height - SIDE) + 1):
            line[:] = 0
            for i in range(SIDE):
                for j in range(SIDE):
                    pixel = guide[row + i, column + j]
                    for x in range(right - left + 1):
                        difference = guide[y + i, left + x + j] - pixel
                        line[x] += difference * difference
            for x in range(right - left + 1):
                distance = line[x] / np.float32(SIDE * SIDE)
                if y == row and left + x == column:
                    distance = np.float32(-1)  # the reference comes first, even among its equals
                if distance < distances[g, number - 1]:
                    n = number - 1
                    while n > 0 and distances[g, n - 1] > distance:
                        distances[g, n] = distances[g, n - 1]
                        at_rows[g, n], at_columns[g, n] = at_rows[g, n - 1], at_columns[g, n - 1]
                        n -= 1
                    distances[g, n], at_rows[g, n], at_columns[g, n] = distance, y, left + x
        distances[g, 0] = 0
    return at_rows, at_columns, distances


@njit(cache=True, nogil=True)
def _cut(image, rows, columns, weights, patches, mean):  # type: ignore[no-untyped-def]
    """Write the patches of a group, less their weighted mean, as columns; and that mean."""
    for p in range(SIDE * SIDE):
        i, j = p // SIDE, p % SIDE
        middle = np.float32(0)
        for n in range(rows.size):
            patches[p, n] = image[rows[n] + i, columns[n] + j]
            middle += weights[n] * patches[p, n]
        mean[p] = middle
        patches[p] -= middle


@njit(cache=True, nogil=True)
def _paste(patches, mean, rows, columns, total):  # type: ignore[no-untyped-def]
    for p in range(SIDE * SIDE):
        i, j = p // SIDE, p % SIDE
        for n in range(rows.size):
            total[rows[n] + i, columns[n] + j] += patches[p, n] + mean[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _find_gain(energy, number, noise, penalty):  # type: ignore[no-untyped-def]
    """How much of a component with this energy in a group is kept.

    With the scale t0 = sqrt(energy / number - noise^2) that the group shows, its estimate minimises
    a t^2 + b t + c log t, a = energy / t0^2, b = -2 energy / t0, c = c1 noise^2, at the larger root of the derivative, or is zero where
    there is none; given the scale t, the coefficients are kept by t^2 / (t^2 + c2 noise^2).
    """
    variance = noise * noise
    if variance == 0:
        return 1.0
    signal = energy / number - variance
    if signal <= 0:
        return 0.0
    room = 0.25 - penalty * variance / (2 * energy)
    if room < 0:
        return 0.0
    scale = signal * (0.5 + math.sqrt(room)) ** 2
    return scale / (scale + SPREAD * penalty * variance)


@njit(cache=True, nogil=True)
def _weaken(coefficients, noise, penalty, left):  # type: ignore[no-untyped-def]
    """Multiply every component with its gain, and write what energy is left of each."""
    number = coefficients.shape[1]
    for p in range(coefficients.shape[0]):
        energy = 0.0
        for n in range(number):
            energy += np.float64(coefficients[p, n]) * coefficients[p, n]
        gain = _find_gain(energy, number, noise, penalty)
        left[p] = gain * gain * energy
        coefficients[p] *= np.float32(gain)


@njit(cache=True, nogil=True)
def _shrink(images, rows, columns, weights, noise, penalties):  # type: ignore[no-untyped-def]
    """The sums of all shrunk patches of the first image, of the second and of their fusion, and how many patches lie over each pixel."""
    pixels, number = SIDE * SIDE, rows.shape[1]
    sums = np.zeros((3, *images.shape[1:]), np.float32)
    counts = np.zeros(images.shape[1:], np.float32)
    one, other, fused = (
        np.empty((pixels, number), np.float32),
        np.empty((pixels, number), np.float32),
        np.empty((pixels, number), np.float32),
    )
    means, left = np.empty((2, pixels), np.float32), np.empty((2, pixels), np.float64)
    nothing = np.zeros(pixels, np.float32)
    for g in range(rows.shape[0]):
        _cut(images[0], rows[g], columns[g], weights[g], one, means[0])
        _cut(images[1], rows[g], columns[g], weights[g], other, means[1])
        basis = np.linalg.eigh(np.dot(one, one.T) + np.dot(other, other.T))[1]
        of_one, of_other = np.dot(basis.T, one), np.dot(basis.T, other)
        _weaken(of_one, noise[0], penalties[0], left[0])
        _weaken(of_other, noise[1], penalties[1], left[1])
        for p in range(pixels):
            fused[p] = of_one[p] if left[0, p] >= left[1, p] else of_other[p]
        _paste(np.dot(basis, of_one), means[0], rows[g], columns[g], sums[0])
        _paste(np.dot(basis, of_other), means[1], rows[g], columns[g], sums[1])
        stronger = 0 if np.sum(means[0] * means[0]) >= np.sum(means[1] * means[1]) else 1
        _paste(np.dot(basis, fused), means[stronger], rows[g], columns[g], sums[2])
        _paste(np.ones_like(fused), nothing, rows[g], columns[g], counts)
    return sums, counts
