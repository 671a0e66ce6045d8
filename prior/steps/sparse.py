"""Sparse codes of patches: each patch as the sum of a few atoms of a dictionary; and the low band of two images fused by them.

Orthogonal matching pursuit takes atom after atom, always the one most like what is left of the patch, and fits all taken ones anew. Of two
patches the one with the larger code (sum of magnitudes) has more to say, and is taken with its mean.

References: B. Yang, S. Li, "Multifocus image fusion and restoration with sparse representation", IEEE Trans. Instrumentation and
Measurement 59(4):884-892, 2010, doi 10.1109/TIM.2009.2026612; as a rule for low bands, beside the rule for detail here: Y. Liu, S. Liu,
Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse representation", Information Fusion 24:147-164,
2015, doi 10.1016/j.inffus.2014.09.004; pursuit of many signals over one Gram matrix: R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient
implementation of the K-SVD algorithm using batch orthogonal matching pursuit", Technion CS-2008-08, 2008; the rule for detail: H. Li, B.
Manjunath, S. Mitra, "Multisensor image fusion using the wavelet transform", Graphical Models and Image Processing 57(3):235-245, 1995,
doi 10.1006/gmip.1995.1022.
Deviations: the dictionary is the project's own (`prior.learning.learn_dictionary`); the patch itself is taken, from which the sum of its
atoms differs by a tenth of a grey level at most where a code may have `MOST` atoms, and by more where it may have fewer; of two codes of
one size, as of two flat patches, the mean of both patches is taken, so that no source is preferred for its place; patches reach every
border.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.choice import take_majority
from prior.steps.patches import Patches, cut_patches
from prior.weights import load

SIDE = 8  # px, of a patch
STRIDE = 2  # px: patches overlap by 6
TOLERANCE = 0.1 / 255  # norm of what a code may leave of a patch: a tenth of a grey level
BLOCK = 65_536  # patches coded at once: what each atom looks like each of them takes 67 MB
LAST = (SIDE - 1, SIDE - 1)  # the corner of a window that holds every patch over a pixel by its first corner
MOST = SIDE**2 - 1  # atoms of a code: as many span all patches without their mean
DEPENDENT = np.float32(1e-6)  # squared distance of a unit atom to the span of others below which it adds nothing
HALF, ONE, MAGNITUDE = np.float32(0.5), np.float32(1), np.int32(0x7FFFFFFF)  # the last: all bits but the sign

Dictionary = NDArray[np.float32]
"""One atom of unit length a row: `(atoms, side * side)`."""


@dataclass(frozen=True, slots=True)
class Codes:
    """The sparse codes of some patches.

    Attributes:
        atoms: rows of the dictionary in the order they were taken, int32 `(n, most)`; -1 after the last.
        weights: of those atoms, float32 `(n, most)`; 0 after the last.
    """

    atoms: NDArray[np.int32]
    weights: NDArray[np.float32]


def encode(patches: Patches, dictionary: Dictionary, tolerance: float, most: int) -> Codes:
    """Code patches by orthogonal matching pursuit.

    Args:
        patches: float32 `(n, pixels)`.
        dictionary: float32 `(atoms, pixels)`, rows of unit length.
        tolerance: norm of the remainder at which a code is complete.
        most: atoms in a code at most, not above the number of pixels.

    Returns:
        The codes.
    """
    atoms, weights_ = np.full((len(patches), most), -1, np.int32), np.zeros((len(patches), most), np.float32)
    likeness = patches @ dictionary.T
    _pursue(patches, dictionary, dictionary @ dictionary.T, likeness, np.float32(tolerance**2), atoms, weights_)
    return Codes(atoms, weights_)


def centre(patches: Patches) -> tuple[Patches, Patches]:
    """Patches without their mean, `(n, pixels)`, and the means, `(n, 1)`."""
    means = patches.mean(axis=1, keepdims=True)
    return patches - means, means


def decode(codes: Codes, dictionary: Dictionary) -> Patches:
    """The patches that codes stand for, float32 `(n, pixels)`."""
    patches: Patches = _add_atoms(codes.atoms, codes.weights, dictionary)
    return patches


def fuse_sparse(a: Image, b: Image, *, most: int = MOST) -> Image:
    """Patch by patch the image with the larger sparse code, mean included.

    Args:
        a: one image or low band, float32 `(H, W)` in [0, 1], `SIDE` px high and wide at least.
        b: the other, of the same size.
        most: atoms in a code at most; fewer are faster, and leave the choice to what is strong in a patch.

    Returns:
        float32 `(H, W)`.
    """
    weight = _spread(_weigh_patches(a, b, most), a.shape)
    fused: Image = b + weight * (a - b)
    return fused


def pick_consistent(a: Image, b: Image) -> Image:
    """Of two layers of detail the one with the larger magnitude in 3x3 px, as most pixels in 3x3 px see it."""
    return np.where(take_majority(_find_peaks(a) > _find_peaks(b)), a, b)


def _weigh_patches(a: Image, b: Image, most: int) -> NDArray[np.float32]:
    """Per patch one where the code of `a` is larger, none where that of `b` is, and one half between."""
    rows, columns = (len(_find_starts(side)) for side in a.shape)
    tops = range(0, a.shape[0] - SIDE + 1, STRIDE * max(BLOCK // columns, 1))
    ends = [top - STRIDE + SIDE for top in tops[1:]]
    shares = []
    for top, end in zip(tops, [*ends, a.shape[0]], strict=True):
        size_a, size_b = (_measure_codes(cut_patches(image[top:end], SIDE, STRIDE), most) for image in (a, b))
        shares.append(HALF * (np.sign(size_a - size_b) + ONE))
    return np.concatenate(shares).reshape(rows, columns)


def _measure_codes(patches: Patches, most: int) -> NDArray[np.float32]:
    """The sum of the magnitudes in the code of each patch, without its mean."""
    centred, _ = centre(patches)
    sizes: NDArray[np.float32] = np.abs(encode(centred, load("sparse_dictionary"), TOLERANCE, most).weights).sum(axis=1)
    return sizes


def _spread(shares: NDArray[np.float32], shape: tuple[int, ...]) -> Image:
    """Per pixel the mean share of the patches over it."""
    corners = np.ix_(*map(_find_starts, shape))
    placed, counted = np.zeros((2, *shape), np.float32)
    placed[corners], counted[corners] = shares, ONE
    total, count = (cv2.boxFilter(x, -1, (SIDE, SIDE), None, LAST, False, cv2.BORDER_CONSTANT) for x in (placed, counted))
    mean: Image = total / count
    return mean


def _find_starts(length: int) -> NDArray[np.int64]:
    """Where the patches along a side of so many px begin."""
    strip = np.tile(np.arange(length, dtype=np.float32), (SIDE, 1))
    return cut_patches(strip, SIDE, STRIDE)[:, 0].astype(np.int64)


def _find_peaks(detail: Image) -> Image:
    return cv2.dilate(np.abs(detail), np.ones((3, 3), np.uint8)).astype(np.float32, copy=False)


# Not with fast mathematics: a kernel from the cache then rounds otherwise than one compiled afresh, and rounding decides between atoms.
@njit(cache=True, nogil=True, error_model="numpy")
def _pursue(patches, dictionary, gram, likeness, tolerance, atoms, weights):  # type: ignore[no-untyped-def]
    """Fill in atoms and weights.

    The taken atoms are made orthogonal one after the other: `directions` are unit vectors that span them, `views` how much each atom of
    the dictionary looks like those, and `factor` the lower triangular Cholesky factor of their Gram matrix. `rest` is what is left of
    the patch, and `left` how much each atom looks like that.
    """
    most, (count, pixels) = atoms.shape[1], dictionary.shape
    directions, views = np.empty((most, pixels), np.float32), np.empty((most, count), np.float32)
    factor, shares = np.empty((most, most), np.float32), np.empty(most, np.float32)
    rest, left = np.empty(pixels, np.float32), np.empty(count, np.float32)
    for n in range(len(patches)):
        rest[:], left[:] = patches[n], likeness[n]
        taken = 0
        while taken < most and _measure(rest, pixels) > tolerance:
            new = _find_extreme(left)
            row, view, direction = factor[taken], views[taken], directions[taken]
            for i in range(taken):
                row[i] = views[i, new]
            distance = ONE - _measure(row, taken)
            if distance <= DEPENDENT:
                break
            row[taken] = np.sqrt(distance)
            view[:], direction[:] = gram[new], dictionary[new]
            _take_off(view, row, views, taken)
            _take_off(direction, row, directions, taken)
            share = left[new] / row[taken]
            for k in range(count):
                view[k] /= row[taken]
                left[k] -= share * view[k]
            for k in range(pixels):
                direction[k] /= row[taken]
                rest[k] -= share * direction[k]
            atoms[n, taken], shares[taken] = new, share
            taken += 1
        for i in range(taken - 1, -1, -1):
            for j in range(i + 1, taken):
                shares[i] -= factor[j, i] * weights[n, j]
            weights[n, i] = shares[i] / factor[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(values, count):  # type: ignore[no-untyped-def]
    """The sum of the first squares."""
    total = np.float32(0)
    for k in range(count):
        total += values[k] * values[k]
    return total


@njit(cache=True, nogil=True)
def _find_extreme(values):  # type: ignore[no-untyped-def]
    """Where the number of largest magnitude stands: magnitudes are ordered as their bits are, and integers are compared many at once."""
    bits, largest = values.view(np.int32), np.int32(0)
    for k in range(bits.size):
        largest = max(largest, bits[k] & MAGNITUDE)
    for k in range(bits.size):
        if bits[k] & MAGNITUDE == largest:
            return k
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def _take_off(target, shares, rows, count):  # type: ignore[no-untyped-def]
    """Subtract shares of the first rows; four at once, so that the target is read and written a quarter as often."""
    whole = count // 4 * 4
    for i in range(0, whole, 4):
        first, second, third, fourth = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        w, x, y, z = shares[i], shares[i + 1], shares[i + 2], shares[i + 3]
        for k in range(target.size):
            target[k] -= w * first[k] + x * second[k] + y * third[k] + z * fourth[k]
    for i in range(whole, count):
        last, share = rows[i], shares[i]
        for k in range(target.size):
            target[k] -= share * last[k]


@njit(cache=True, nogil=True)
def _add_atoms(atoms, weights, dictionary):  # type: ignore[no-untyped-def]
    patches = np.zeros((len(atoms), dictionary.shape[1]), np.float32)
    for n in range(len(atoms)):
        for j in range(atoms.shape[1]):
            if atoms[n, j] < 0:
                break
            for k in range(dictionary.shape[1]):
                patches[n, k] += weights[n, j] * dictionary[atoms[n, j], k]
    return patches
