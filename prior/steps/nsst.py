"""A non-subsampled shearlet transform (NSST-type): detail split by scale and direction, every band as large as the image.

The bands are cut out of the image's spectrum by smooth windows whose squares sum to one, so that the same windows put the image
together again: a tight frame. Nothing is subsampled, so that the bands move with the image. The image is mirrored beyond its borders
first, since a spectrum joins each border to the opposite one; the bands keep that rim.

Reference: G. Easley, D. Labate, W.-Q. Lim, "Sparse directional image representations using the discrete shearlet transform", Applied
and Computational Harmonic Analysis 25(1):25-46, 2008, doi 10.1016/j.acha.2007.09.003. Reconstructed: its scales come from an à-trous
pyramid and its directions from sheared windows; here Meyer windows in frequency play both parts.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image

DIRECTIONS = (8, 8, 16, 16)
"""Directions of each scale, coarse to fine: finer ones tell more directions apart."""

MARGIN = 16  # px of mirrored image on every side at least
SIZE_STEP = 32  # px, of the mirrored size: images of nearly one size share their windows
KEPT_SIZES = 4  # windows of a 640x480 image take 37 MB

Stack = NDArray[np.float32]  # (directions, H, W)
Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bands:
    """An image taken apart; every band is as large as the image and its mirrored rim.

    Attributes:
        low: what no detail band holds, `(H', W')`.
        details: per scale, coarse to fine, the bands of all directions, `(directions, H', W')`.
        shape: of the image itself, `(H, W)`.
    """

    low: Image
    details: tuple[Stack, ...]
    shape: tuple[int, int]


def decompose(image: Image, directions: tuple[int, ...] = DIRECTIONS) -> Bands:
    """Take an image apart.

    Args:
        image: float32 `(H, W)`, of any size.
        directions: of each scale, coarse to fine.

    Returns:
        Its bands.
    """
    mirrored = mirror(image)
    spectrum = fft.rfft2(mirrored)
    low, scales = _make_windows(mirrored.shape, directions)
    details = []
    for windows in scales:
        stack = np.empty((len(windows), *mirrored.shape), np.float32)
        for band, window in zip(stack, windows, strict=True):
            band[:] = fft.irfft2(spectrum * window, mirrored.shape, overwrite_x=True)
        details.append(stack)
    return Bands(fft.irfft2(spectrum * low, mirrored.shape, overwrite_x=True), tuple(details), (image.shape[0], image.shape[1]))


def reconstruct(bands: Bands) -> Image:
    """The image of these bands, float32 `(H, W)`: that of `decompose(image)` is the image up to rounding, 1e-6."""
    low, scales = _make_windows(bands.low.shape, tuple(len(stack) for stack in bands.details))
    spectrum = fft.rfft2(bands.low) * low
    for stack, windows in zip(bands.details, scales, strict=True):
        for band, window in zip(stack, windows, strict=True):
            spectrum += fft.rfft2(band) * window
    return crop(fft.irfft2(spectrum, bands.low.shape, overwrite_x=True), bands.shape)


def mirror(image: Image) -> Image:
    """An image with its rim: as large as its bands."""
    (top, bottom), (left, right) = (_split_rim(side) for side in image.shape)
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101).astype(np.float32, copy=False)


def crop(band: Image, shape: tuple[int, int]) -> Image:
    """The part of a band that lies on the image, whose shape is given."""
    (top, _), (left, _) = (_split_rim(side) for side in shape)
    return np.ascontiguousarray(band[top : top + shape[0], left : left + shape[1]])


def _split_rim(side: int) -> tuple[int, int]:
    """The rim before and after a side of this many px."""
    rim = -(-(side + 2 * MARGIN) // SIZE_STEP) * SIZE_STEP - side
    return rim // 2, rim - rim // 2


@functools.lru_cache(maxsize=KEPT_SIZES)
def _make_windows(shape: tuple[int, int], directions: tuple[int, ...]) -> tuple[Image, tuple[Stack, ...]]:
    """The windows of the low band and of every scale, coarse to fine, on the half of the spectrum that a real image needs."""
    rows, columns = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    radius = 2 * np.maximum(np.abs(rows), np.abs(columns))
    angle = np.arctan2(rows, columns)
    # A real band needs equal windows at opposite frequencies. At the highest one of an even side there is no opposite: its mirror
    # image in the other axis takes the part.
    opposite = np.arctan2(np.where(rows == -0.5, rows, -rows), np.where(columns == 0.5, columns, -columns))
    fans = {count: _make_fans(angle, opposite, count) for count in set(directions)}
    passed, scales = np.ones((shape[0], shape[1] // 2 + 1)), []
    for number, count in enumerate(reversed(directions), 1):
        below = passed * np.cos(np.pi / 2 * _rise(2**number * radius - 1))
        ring = np.sqrt(np.maximum(passed**2 - below**2, 0))
        scales.append((ring * fans[count]).astype(np.float32))
        passed = below
    return passed.astype(np.float32), tuple(reversed(scales))


def _make_fans(angle: Grid, opposite: Grid, count: int) -> Grid:
    """Per direction the smooth window over angles; their squares sum to one."""
    squares = [(_open_fan(angle, number, count) ** 2 + _open_fan(opposite, number, count) ** 2) / 2 for number in range(count)]
    return np.sqrt(np.array(squares))


def _open_fan(angle: Grid, number: int, count: int) -> Grid:
    turned = np.mod(angle * count / np.pi - number, count)
    return np.cos(np.pi / 2 * _rise(np.minimum(turned, count - turned)))


def _rise(x: Grid) -> Grid:
    """Meyer's smooth step from 0 to 1 on [0, 1]; at x and at 1 - x the steps add up to one."""
    x = np.clip(x, 0, 1)
    return x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)
