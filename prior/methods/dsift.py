"""DSIFT: the source with more dense-SIFT activity is in focus; where the two are mixed, matched neighbours decide.

All gradients that a wide descriptor gathers say how sharp a source is around a pixel. A pixel is sure once every window over it
agrees. Elsewhere its descriptor looks for its like in the other source nearby, so that a small shift between the sources does not
make their sharpness incomparable, and spatial frequencies of the matches are compared; where they contradict, the sources are averaged.

Reference: Y. Liu, S. Liu, Z. Wang, "Multi-focus image fusion with dense SIFT", Information Fusion 23:139-155, 2015,
doi 10.1016/j.inffus.2014.05.004; constants from the authors' program of 2015 for two sources.
Deviations: beyond the borders the image is mirrored, not black, and so the outermost pixels are matched too; windows that differ by
rounding alone count as ties.
"""

import cv2
import numpy as np
from numba import njit

from prior.arrays import Image
from prior.registry import method
from prior.steps.dense_sift import NUMBERS, gather_cells, measure_activity, write_descriptor
from prior.steps.focus import Mask, remove_specks

BLOCK = 8  # px, side of the windows that vote
SMALLEST = 3600  # px, area of a region that counts
REACH = 3  # px, of the search for a match, and of the window of spatial frequency
OPEN = np.float32(0.5)  # in a decision
TIE = 1e-5  # of a window's mean activity: less is rounding


def _find_sure(advantage: Image, block: int, smallest: int) -> Mask:
    """Where every window over a pixel says that a source is the sharper one, in large regions without small holes."""
    votes = cv2.boxFilter(advantage, cv2.CV_64F, (block, block), anchor=(0, 0), borderType=cv2.BORDER_REFLECT) > 0
    agreed = cv2.erode(votes.astype(np.uint8), np.ones((block, block), np.uint8), anchor=(block - 1, block - 1)) > 0
    return remove_specks(agreed, smallest)


def _measure_frequency(image: Image) -> Image:
    """Squared spatial frequency: the sum of the squared differences of neighbours in the window around each pixel."""
    side = 2 * REACH + 1
    mirrored = cv2.copyMakeBorder(image, REACH, REACH, REACH, REACH, cv2.BORDER_REFLECT)
    frequency = np.zeros(image.shape, np.float32)
    for axis, window in ((0, (side, side - 1)), (1, (side - 1, side))):
        sums = cv2.boxFilter(np.diff(mirrored, axis=axis) ** 2, -1, window, anchor=(0, 0), normalize=False)
        frequency += sums[: image.shape[0], : image.shape[1]]
    return frequency


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _measure_distance(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for n in range(NUMBERS):
        difference = one[n] - other[n]
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def _find_match(descriptor, rows, i, j, height):  # type: ignore[no-untyped-def]
    """The pixel near i, j with the nearest descriptor; `rows` holds those of the rows around i, each at its number modulo the window."""
    number, width = rows.shape[0], rows.shape[1]
    nearest, row, column = np.float32(np.inf), i, j
    for y in range(max(i - REACH, 0), min(i + REACH + 1, height)):
        for x in range(max(j - REACH, 0), min(j + REACH + 1, width)):
            distance = _measure_distance(descriptor, rows[y % number, x])
            if distance < nearest:
                nearest, row, column = distance, y, x
    return row, column


@njit(cache=True, nogil=True)
def _match(decision, unsure, reached, cells_a, cells_b, frequency_a, frequency_b):  # type: ignore[no-untyped-def]
    """Set unsure pixels to 1 or 0 where a pixel of either source is sharper than its match in the other one, or both are less sharp.

    Descriptors are written for the pixels that are `reached`: those that the search of an unsure one may come to.
    """
    height, width = unsure.shape
    number = 2 * REACH + 1
    rows_a, rows_b = np.empty((number, width, NUMBERS), np.float32), np.empty((number, width, NUMBERS), np.float32)
    filled = 0
    for i in range(height):
        while filled < min(i + REACH + 1, height):
            for j in range(width):
                if reached[filled, j]:
                    write_descriptor(cells_a, filled, j, rows_a[filled % number, j])
                    write_descriptor(cells_b, filled, j, rows_b[filled % number, j])
            filled += 1
        for j in range(width):
            if unsure[i, j]:
                y, x = _find_match(rows_a[i % number, j], rows_b, i, j, height)
                from_a = frequency_a[i, j] - frequency_b[y, x]
                y, x = _find_match(rows_b[i % number, j], rows_a, i, j, height)
                from_b = frequency_b[i, j] - frequency_a[y, x]
                if from_a > 0 > from_b:
                    decision[i, j] = 1
                elif from_a < 0 < from_b:
                    decision[i, j] = 0


def _decide(a: Image, b: Image, block: int, smallest: int) -> Image:
    """One where `a` is in focus, zero where `b` is, one half where it stays open."""
    cells_a, cells_b = gather_cells(a), gather_cells(b)
    activity_a, activity_b = measure_activity(cells_a, a.shape), measure_activity(cells_b, a.shape)
    advantage = activity_a - activity_b
    advantage[np.abs(advantage) < TIE * (activity_a + activity_b)] = 0
    sure_a, sure_b = _find_sure(advantage, block, smallest), _find_sure(-advantage, block, smallest)
    decision = OPEN * (np.float32(1) + sure_a - sure_b)
    unsure = decision == OPEN
    reached = cv2.dilate(unsure.astype(np.uint8), np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)) > 0
    _match(decision, unsure, reached, cells_a, cells_b, _measure_frequency(a), _measure_frequency(b))
    return decision


@method(
    "dsift",
    family="focus map",
    reference="Liu, Liu, Wang 2015, doi 10.1016/j.inffus.2014.05.004",
    tasks=("multi-focus",),
)
def fuse_dsift(a: Image, b: Image, *, block: int = BLOCK, smallest: int = SMALLEST) -> Image:
    """The source in focus at every pixel, by dense SIFT.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        block: side of the windows that vote, px.
        smallest: area below which a sure region or a hole in one does not count, px.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    decision = _decide(a, b, block, smallest)
    return b + decision * (a - b)
