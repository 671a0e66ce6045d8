"""A non-subsampled shearlet transform (NSST-type): detail split by scale and direction, every band as large as the image.

An à-trous pyramid splits off the scales: each is what one more smoothing, with ever larger holes in its filter, takes away. Shear filters
share each scale among its directions; they add up to doing nothing, so that a scale is the sum of its bands. Back in the image a scale is
smoothed before it is added, and so is the low band, so that a choice between bands leaves no seams. All filters are short, lest the bands
ring into flat ground, where those of two images mixed would not cancel.
Nothing is subsampled, so that the bands move with the image. The image is mirrored beyond its borders first, since a spectrum joins each
border to the opposite one; the bands keep that rim.

Reference: G. Easley, D. Labate, W.-Q. Lim, "Sparse directional image representations using the discrete shearlet transform", Applied
and Computational Harmonic Analysis 25(1):25-46, 2008, doi 10.1016/j.acha.2007.09.003. Reconstructed: its pyramid has maximally flat
filters, here binomial ones, which do not overshoot; its shear filters are equally long at all scales, or nearly so, here twice as long at
each coarser one, so that coarse scales tell directions apart too.
"""

import functools
from collections.abc import Callable
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
SHEAR_LENGTH = 8  # px, of the shear filters at the finest scale, at half their height
KEPT_SIZES = 4  # windows of a 640x480 image take 37 MB

Stack = NDArray[np.float32]  # (directions, H, W)
Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """What cuts the bands out of the half of the spectrum that a real image needs, and what puts them back.

    Attributes:
        low: of the low band, there and back: P of the coarsest scale, the spectrum of all its smoothings.
        bands: of every direction of every scale, coarse to fine; those of a scale sum to P - Q, where Q is smoothed once more.
        duals: of every scale on the way back, P + Q: (P - Q) (P + Q) = P^2 - Q^2, and all of these and `low` squared sum to one.
    """

    low: Image
    bands: tuple[Stack, ...]
    duals: tuple[Image, ...]


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
    windows = _make_windows(mirrored.shape, directions)
    details = []
    for scale in windows.bands:
        stack = np.empty((len(scale), *mirrored.shape), np.float32)
        for band, window in zip(stack, scale, strict=True):
            band[:] = fft.irfft2(spectrum * window, mirrored.shape, overwrite_x=True)
        details.append(stack)
    low = fft.irfft2(spectrum * windows.low, mirrored.shape, overwrite_x=True)
    return Bands(low, tuple(details), (image.shape[0], image.shape[1]))


def reconstruct(bands: Bands) -> Image:
    """The image of these bands, float32 `(H, W)`: that of `decompose(image)` is the image up to rounding, 1e-6."""
    windows = _make_windows(bands.low.shape, tuple(len(stack) for stack in bands.details))
    spectrum = fft.rfft2(bands.low) * windows.low
    for stack, dual in zip(bands.details, windows.duals, strict=True):
        spectrum += fft.rfft2(stack.sum(axis=0)) * dual
    return crop(fft.irfft2(spectrum, bands.low.shape, overwrite_x=True), bands.shape)


def combine(
    a: Image,
    b: Image,
    fuse_low: Callable[[Image, Image], Image],
    fuse_details: Callable[[Stack, Stack], Stack],
    directions: tuple[int, ...] = DIRECTIONS,
) -> Image:
    """Take two images apart, fuse band by band, put together.

    Args:
        a: one image, float32 `(H, W)`.
        b: the other, of the same size.
        fuse_low: makes the low band of both low bands.
        fuse_details: makes the detail of one scale, `(directions, H', W')`, of that of both images; called once per scale, coarse to fine.
        directions: of each scale, coarse to fine.

    Returns:
        float32 `(H, W)`.
    """
    of_a, of_b = decompose(a, directions), decompose(b, directions)
    details = tuple(fuse_details(stack_a, stack_b) for stack_a, stack_b in zip(of_a.details, of_b.details, strict=True))
    return reconstruct(Bands(fuse_low(of_a.low, of_b.low), details, of_a.shape))


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
def _make_windows(shape: tuple[int, int], directions: tuple[int, ...]) -> Windows:
    rows, columns = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    fans = {count: _make_fans(shape, count) for count in set(directions)}
    passed, bands, duals = np.ones((shape[0], shape[1] // 2 + 1)), [], []
    for scale, count in enumerate(reversed(directions)):
        below = passed * _smooth(rows * 2**scale) * _smooth(columns * 2**scale)
        bands.append((passed - below).astype(np.float32) * _make_shears(fans[count], shape, SHEAR_LENGTH * 2**scale))
        duals.append((passed + below).astype(np.float32))
        passed = below
    return Windows(passed.astype(np.float32), tuple(reversed(bands)), tuple(reversed(duals)))


def _smooth(frequency: Grid) -> Grid:
    """What the binomial filter [1 4 6 4 1] / 16 lets pass."""
    return np.cos(np.pi * frequency) ** 4


def _make_shears(fans: Stack, shape: tuple[int, int], length: int) -> Stack:
    """Per direction the spectrum of its shear filter: of the filter that its fan is, what remains when it is cut off smoothly.

    They sum to one, since their filters sum to that of one pixel. The real part is that of the symmetric filter; without it the highest
    frequency of an even side, which has no opposite, would belong to one direction alone.
    """
    taper = _make_taper(shape[0], length)[:, None] * _make_taper(shape[1], length)
    return np.stack([fft.rfft2(fft.irfft2(fan, shape) * taper).real for fan in fans])


def _make_taper(side: int, length: int) -> Image:
    """One at the origin of a circle of this many px, one half at half the length from it, nothing from the length on."""
    distance = np.minimum(np.arange(side), side - np.arange(side))
    taper: Image = np.where(distance < length, np.cos(np.pi / 2 * distance / length) ** 2, 0).astype(np.float32)
    return taper


def _make_fans(shape: tuple[int, int], count: int) -> Stack:
    """Per direction its smooth share of all frequencies; the shares sum to one."""
    angle = np.arctan2(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    fans = np.array([_open_fan(angle, number, count) for number in range(count)])
    fans[:, 0, 0] = 1  # a mean has no direction
    shares: Stack = (fans / fans.sum(axis=0)).astype(np.float32)
    return shares


def _open_fan(angle: Grid, number: int, count: int) -> Grid:
    turned = np.mod(angle * count / np.pi - number, count)
    return np.cos(np.pi / 2 * _rise(np.minimum(turned, count - turned))) ** 2


def _rise(x: Grid) -> Grid:
    """Meyer's smooth step from 0 to 1 on [0, 1]; at x and at 1 - x the steps add up to one."""
    x = np.clip(x, 0, 1)
    return x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)
