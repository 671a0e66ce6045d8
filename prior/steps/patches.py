"""Cut an image into overlapping square patches, and make the image of patches again: where they overlap their mean counts.

Patches lie `stride` apart; the last row and column of them lie at the border, so that every pixel is covered whatever the size.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image
from storage.errors import InputError

Patches = NDArray[np.float32]
"""One patch a row, its pixels row by row: `(n, side * side)`."""

Starts = NDArray[np.int64]


def place_patches(shape: tuple[int, int], side: int, stride: int) -> tuple[Starts, Starts]:
    """Where the patches of an image start.

    Args:
        shape: of the image, `(H, W)`, px.
        side: of a patch, px.
        stride: from one patch to the next, px.

    Returns:
        The first row and the first column of the patches, each in increasing order.

    Raises:
        InputError: the image is smaller than a patch, or the stride is not between 1 and the side.
    """
    if not 1 <= stride <= side <= min(shape):
        raise InputError(f"patches need 1 <= stride <= side <= the image's shorter side, and {stride}, {side}, {min(shape)} px came")
    rows, columns = (np.unique(np.append(np.arange(0, length - side + 1, stride), length - side)) for length in shape)
    return rows, columns


def cut_patches(image: Image, side: int, stride: int) -> Patches:
    """The patches of an image, left to right, then top to bottom.

    Args:
        image: float32 `(H, W)`, `side` px high and wide at least.
        side: of a patch, px.
        stride: from one patch to the next, px; not above `side`, or pixels between them would be lost.

    Returns:
        float32 `(n, side * side)`.

    Raises:
        InputError: the image is smaller than a patch, or the stride is not between 1 and the side.
    """
    rows, columns = place_patches((image.shape[0], image.shape[1]), side, stride)
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))
    return windows[np.ix_(rows, columns)].reshape(-1, side * side)


def paste_patches(patches: Patches, shape: tuple[int, int], stride: int) -> Image:
    """The image of patches that were cut with the same stride from an image of this shape: each pixel the mean of those over it.

    Args:
        patches: `(n, side * side)`, in the order of `cut_patches`.
        shape: of the image, `(H, W)`.
        stride: from one patch to the next, px.

    Returns:
        float32 `(H, W)`.

    Raises:
        InputError: an image of this shape has another number of patches.
    """
    side = round(patches.shape[1] ** 0.5)
    rows, columns = place_patches(shape, side, stride)
    if len(patches) != len(rows) * len(columns):
        raise InputError(
            f"an image of {shape} px has {len(rows) * len(columns)} patches of {side} px, {stride} px apart, and {len(patches)} came;"
            " paste with the shape and stride they were cut with"
        )
    sums = _add_up(np.ascontiguousarray(patches, np.float32), rows, columns, side, shape)
    covered = np.outer(_count_cover(rows, side, shape[0]), _count_cover(columns, side, shape[1]))
    image: Image = (sums / covered).astype(np.float32)
    return image


def _count_cover(starts: Starts, side: int, length: int) -> NDArray[np.float64]:
    """How many patches lie over each pixel of one axis."""
    steps = np.zeros(length + 1)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + side, -1)
    return np.cumsum(steps[:-1])


@njit(cache=True, nogil=True)
def _add_up(patches, rows, columns, side, shape):  # type: ignore[no-untyped-def]
    sums = np.zeros(shape, np.float64)
    for i in range(rows.size):
        for j in range(columns.size):
            patch = patches[i * columns.size + j]
            for y in range(side):
                for x in range(side):
                    sums[rows[i] + y, columns[j] + x] += np.float64(patch[y * side + x])
    return sums
