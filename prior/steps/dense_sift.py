"""Dense SIFT: at every pixel the orientations of the gradients around it, cell by cell.

A descriptor is not stored: its 16 cells are read from maps in which every pixel holds one cell, the orientations gathered by a
triangular window around it.

Reference: C. Liu, J. Yuen, A. Torralba, "SIFT flow: dense correspondence across scenes and its applications", IEEE TPAMI
33(5):978-994, 2011, doi 10.1109/TPAMI.2010.147; constants from its authors' program as it serves DSIFT.
Deviation: beyond the borders the image is mirrored, not black.
"""

import math

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image

SIGMA, TAPS = 1.0, 5  # px, of the Gaussian whose derivatives measure the gradient
ANGLES = 8  # orientations; a gradient is shared among them by the ninth power of the cosine
CELL = 6  # px, between cell centres: 4 x 4 cells make a patch of 24 px
STARTS = (-11, -5, 1, 7)  # px from the pixel, of the cells before their kernel's shift of 1.5 px
NUMBERS = ANGLES * len(STARTS) ** 2  # in a descriptor
MARGIN = 20  # px of mirrored image that the outermost descriptors reach into
LARGEST = np.float32(0.2)  # part of a normed descriptor, as in SIFT

Cells = NDArray[np.float32]
"""The orientations gathered around every pixel of the image and its mirrored margin, `(H + 2 MARGIN, W + 2 MARGIN, ANGLES)`."""


def gather_cells(image: Image) -> Cells:
    """Orientation histograms of the mirrored image, each of a triangular window of 12 px: at every pixel one cell of descriptors."""
    mirrored = cv2.copyMakeBorder(image, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT).astype(np.float32, copy=False)
    mirrored = mirrored / max(float(mirrored.max()), 1 / 255)
    bell = np.exp(-0.5 * (np.arange(TAPS) - TAPS // 2) ** 2 / SIGMA**2)
    slope = np.gradient(bell)
    slope *= 2 / (np.abs(slope).sum() * bell.sum())
    gradients = [
        cv2.sepFilter2D(mirrored, cv2.CV_32F, *kernels, borderType=cv2.BORDER_REFLECT) for kernels in ((slope, bell), (bell, slope))
    ]
    angles = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    shares = _share_among_angles(gradients[0], gradients[1], np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))
    window = 1 - np.abs(np.arange(2 * CELL) - CELL + 0.5) / CELL
    # A tap at k reads pixel k - 4: the window of an even number of pixels is centred 1.5 px further, as in the program.
    cells: Cells = cv2.sepFilter2D(shares, cv2.CV_32F, window, window, anchor=(4, 4), borderType=cv2.BORDER_REFLECT)
    return cells


def measure_activity(cells: Cells, shape: tuple[int, ...]) -> Image:
    """The sum of all numbers of every pixel's descriptor."""
    totals = cells.sum(axis=2)
    rows = sum(totals[MARGIN + start : MARGIN + start + shape[0]] for start in STARTS)
    activity: Image = sum(rows[:, MARGIN + start : MARGIN + start + shape[1]] for start in STARTS)
    return activity


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def write_descriptor(cells, i, j, descriptor):  # type: ignore[no-untyped-def]
    """Write the descriptor of pixel i, j: if longer than 1, cut to unit length, without a number over 0.2, to unit length again."""
    n = 0
    squares = np.float32(0)
    for s in range(len(STARTS)):
        for t in range(len(STARTS)):
            cell = cells[MARGIN + i + STARTS[s], MARGIN + j + STARTS[t]]
            for k in range(ANGLES):
                descriptor[n] = cell[k]
                squares += cell[k] * cell[k]
                n += 1
    if squares > 1:
        length = np.sqrt(squares)
        squares = np.float32(0)
        for n in range(NUMBERS):
            descriptor[n] = min(descriptor[n] / length, LARGEST)
            squares += descriptor[n] * descriptor[n]
        length = np.sqrt(squares)
        for n in range(NUMBERS):
            descriptor[n] /= length


@njit(cache=True, nogil=True, error_model="numpy")
def _share_among_angles(across, down, cosines, sines):  # type: ignore[no-untyped-def]
    """Every pixel's gradient magnitude times, for each orientation, the ninth power of the cosine between the two."""
    height, width = across.shape
    shares = np.empty((height, width, ANGLES), np.float32)
    for i in range(height):
        for j in range(width):
            x, y = across[i, j], down[i, j]
            magnitude = np.sqrt(x * x + y * y)
            for k in range(ANGLES):
                cosine = max((x * cosines[k] + y * sines[k]) / max(magnitude, np.float32(1e-20)), np.float32(0))
                cube = cosine * cosine * cosine
                shares[i, j, k] = cube * cube * cube * magnitude
    return shares
