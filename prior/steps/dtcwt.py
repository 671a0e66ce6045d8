"""The dual-tree complex wavelet transform: detail split by scale and six directions, with a magnitude that hardly moves with the phase.

Two wavelet trees, sampled half a step apart, filter each axis; of every two samples that lie next to each other one belongs to either
tree. The second tree's wavelet is nearly the Hilbert transform of the first one's, so that both together are a complex coefficient,
and sums and differences of the trees of both axes tell apart directions near 15, 45 and 75 degrees, both ways. The first scale has
Kingsbury's near-symmetric 5 and 7 taps, all coarser ones his six q-shift taps; every tree alone puts the image together again.

References: N. G. Kingsbury, "A dual-tree complex wavelet transform with improved orthogonality and symmetry properties", ICIP 2000,
doi 10.1109/ICIP.2000.899397; I. W. Selesnick, R. G. Baraniuk, N. G. Kingsbury, "The dual-tree complex wavelet transform", IEEE
Signal Processing Magazine 22(6):123-151, 2005, doi 10.1109/MSP.2005.1550194.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image

FIRST_LOW = np.array([-1, 5, 12, 5, -1], np.float32) / np.float32(20)
FIRST_HIGH = np.array([3, -15, -73, 170, -73, -15, 3], np.float32) / np.float32(280)
FIRST_LOW_BACK = np.array([-3, -15, 73, 170, 73, -15, -3], np.float32) / np.float32(280)
FIRST_HIGH_BACK = np.array([-1, -5, 12, -5, -1], np.float32) / np.float32(20)
"""The near-symmetric pair and its inverse: each high-pass is the other side's low-pass with every second sign turned."""

LOW = {-4: 0.03516384, -2: -0.08832942, -1: 0.23389032, 0: 0.76027237, 1: 0.58751830, 3: -0.11430184}
"""The q-shift low-pass of the first tree, tap by position; that of the second tree is its mirror image about 1/2."""

HIGH = {1 - position: (-1) ** (1 - position) * tap for position, tap in LOW.items()}
REACH = 12  # samples mirrored at either end: more than the taps of both trees reach
ROOT_HALF = np.float32(0.5**0.5)

Stack = NDArray[np.complex64]  # (6, H, W)
Taps = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Bands:
    """An image taken apart.

    Attributes:
        low: what no detail band holds, of all trees, `(H', W')`.
        details: per scale, coarse to fine, the complex bands of the six directions, `(6, H', W')`.
        shape: of the image itself, `(H, W)`.
    """

    low: Image
    details: tuple[Stack, ...]
    shape: tuple[int, int]


def decompose(image: Image, levels: int) -> Bands:
    """Take an image apart.

    Args:
        image: float32 `(H, W)`, of any size; it is mirrored up to a multiple of 2^levels.
        levels: scales, at least one; each halves the size.

    Returns:
        Its bands.
    """
    height, width = image.shape
    low = cv2.copyMakeBorder(image, 0, -height % 2**levels, 0, -width % 2**levels, cv2.BORDER_REFLECT).astype(np.float32, copy=False)
    first = (FIRST_LOW, FIRST_HIGH)
    low, *highs = (_filter(low, along_rows, along_columns) for along_rows in first for along_columns in first)
    details = [_pair_trees(highs)]
    for _ in range(levels - 1):
        halves = [_halve(low, taps) for taps in (LOW, HIGH)]
        low, *highs = (_halve(half.T, taps).T for half in halves for taps in (LOW, HIGH))
        details.append(_pair_trees(highs))
    return Bands(low, tuple(reversed(details)), (height, width))


def reconstruct(bands: Bands) -> Image:
    """The image of these bands, float32 `(H, W)`: that of `decompose(image, levels)` is the image up to rounding."""
    low = bands.low
    for stack in bands.details[:-1]:
        across, along, both = _part_trees(stack)
        halves = [(_double(calm.T, LOW) + _double(busy.T, HIGH)).T for calm, busy in ((low, across), (along, both))]
        low = _double(halves[0], LOW) + _double(halves[1], HIGH)
    across, along, both = _part_trees(bands.details[-1])
    image = _filter(low, FIRST_LOW_BACK, FIRST_LOW_BACK)
    image += _filter(across, FIRST_LOW_BACK, FIRST_HIGH_BACK)
    image += _filter(along, FIRST_HIGH_BACK, FIRST_LOW_BACK)
    image += _filter(both, FIRST_HIGH_BACK, FIRST_HIGH_BACK)
    height, width = bands.shape
    return np.ascontiguousarray(image[:height, :width])


def _filter(image: Image, along_rows: Image, along_columns: Image) -> Image:
    """One band of the first scale, or its way back, of both trees: at every sample."""
    return cv2.sepFilter2D(image, cv2.CV_32F, along_rows, along_columns, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def _halve(lines: Image, taps: Taps) -> Image:
    """Every row filtered by both trees, each with half as many samples; where the row ends, the mirrored trees change places."""
    mirrored, count = _mirror(lines), lines.shape[1] // 4
    halved = np.zeros((lines.shape[0], 2 * count), np.float32)
    for position, tap in taps.items():
        for tree, place in ((0, position), (1, 1 - position)):
            start = REACH + 2 * place + tree
            halved[:, tree::2] += tap * mirrored[:, start : start + 4 * count : 4]
    return halved


def _double(lines: Image, taps: Taps) -> Image:
    """What `_halve` with these taps kept, with twice as many samples; what it left out is zero."""
    mirrored, count = _mirror(lines), lines.shape[1] // 2
    doubled = np.zeros((lines.shape[0], 4 * count), np.float32)
    for position, tap in taps.items():
        for tree, place in ((0, position), (1, 1 - position)):
            start = REACH + 2 * ((place % 2 - place) // 2) + tree
            doubled[:, 2 * (place % 2) + tree :: 4] += tap * mirrored[:, start : start + 2 * count : 2]
    return doubled


def _mirror(lines: Image) -> Image:
    return cv2.copyMakeBorder(lines, 0, 0, REACH, REACH, cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def _pair_trees(bands: Sequence[Image]) -> Stack:
    """Of each real band, whose neighbours belong to different trees, two complex ones of opposite directions."""
    stack = np.empty((2 * len(bands), bands[0].shape[0] // 2, bands[0].shape[1] // 2), np.complex64)
    for number, band in enumerate(bands):
        first, second, third, fourth = (ROOT_HALF * band[row::2, column::2] for row in (0, 1) for column in (0, 1))
        stack[2 * number].real, stack[2 * number].imag = first - fourth, second + third
        stack[2 * number + 1].real, stack[2 * number + 1].imag = first + fourth, second - third
    return stack


def _part_trees(stack: Stack) -> list[Image]:
    """The real bands of which `_pair_trees` has made these."""
    bands = []
    for down, up in zip(ROOT_HALF * stack[::2], ROOT_HALF * stack[1::2], strict=True):
        band = np.empty((2 * down.shape[0], 2 * down.shape[1]), np.float32)
        band[::2, ::2], band[::2, 1::2] = up.real + down.real, down.imag + up.imag
        band[1::2, ::2], band[1::2, 1::2] = down.imag - up.imag, up.real - down.real
        bands.append(band)
    return bands
