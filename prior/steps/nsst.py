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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image

DIRECTIONS = (8, 8, 16, 16)
"""Directions of each scale, coarse to fine: finer ones tell more directions apart."""

MARGIN = 16  # px of mirrored image on every side at least
SIZE_STEP = 32  # px, of the mirrored size: images of nearly one size share their windows
SHEAR_LENGTH = 8  # px, of the shear filters at the finest scale, at half their height
KEPT_PIXELS = 1_500_000  # of a mirrored image: windows take 100 bytes a pixel, and those of larger images are made anew
KEPT_SIZES = 2  # an image and the small copy that an optimised method searches on

Layers = NDArray[np.float32]  # (..., H, W)
Grid = NDArray[np.float64]
Rule = Callable[[Image, Image], Image]


@dataclass(frozen=True, slots=True)
class Bands:
    """An image taken apart, or several of one size; every band is as large as the image and its mirrored rim.

    Attributes:
        low: what no detail band holds, `(..., H', W')`.
        details: per scale, coarse to fine, the bands of all directions, `(..., H', W')` each. Those of `decompose` are made one by one as
            they are asked for, and once: all together take fifty times the memory of the image.
        shape: of the image itself, `(H, W)`.
    """

    low: Layers
    details: tuple[Iterable[Layers], ...]
    shape: tuple[int, int]


def decompose(image: Layers, directions: tuple[int, ...] = DIRECTIONS) -> Bands:
    """Take an image apart, or several of one size side by side.

    Args:
        image: float32 `(..., H, W)`, of any size.
        directions: of each scale, coarse to fine.

    Returns:
        Its bands.
    """
    mirrored = mirror(image)
    shape = _measure_sides(mirrored)
    spectrum = fft.rfft2(mirrored)
    low = fft.irfft2(spectrum * _let_pass(shape, len(directions)).astype(np.float32), shape, overwrite_x=True)
    levels = reversed(range(len(directions)))
    details = tuple(_cut_bands(spectrum, shape, level, count) for level, count in zip(levels, directions, strict=True))
    return Bands(low, details, _measure_sides(image))


def reconstruct(bands: Bands) -> Layers:
    """The image of these bands, float32 `(..., H, W)`: that of `decompose(image)` is the image up to rounding, 1e-6."""
    shape, scales = _measure_sides(bands.low), len(bands.details)
    spectrum = fft.rfft2(bands.low) * _let_pass(shape, scales).astype(np.float32)
    for level, scale in zip(reversed(range(scales)), bands.details, strict=True):
        dual = _let_pass(shape, level) + _let_pass(shape, level + 1)
        spectrum += fft.rfft2(add_up(scale)) * dual.astype(np.float32)
    return crop(fft.irfft2(spectrum, shape, overwrite_x=True), bands.shape)


def combine(a: Image, b: Image, fuse_low: Rule, fuse_band: Rule, directions: tuple[int, ...] = DIRECTIONS) -> Image:
    """Take two images apart, fuse band by band, put together.

    Args:
        a: one image, float32 `(H, W)`.
        b: the other, of the same size.
        fuse_low: makes the low band of both low bands, `(H', W')` each.
        fuse_band: makes each detail band of those of both images; called once per direction and scale, coarse to fine.
        directions: of each scale, coarse to fine.

    Returns:
        float32 `(H, W)`.
    """
    both = decompose(np.stack([a, b]), directions)
    details = tuple((fuse_band(of_a, of_b) for of_a, of_b in scale) for scale in both.details)
    return reconstruct(Bands(fuse_low(*both.low), details, both.shape))


def add_up(bands: Iterable[Layers]) -> Layers:
    """The sum of bands, of which no more than one is held at a time."""
    return functools.reduce(np.add, bands)


def mirror(image: Layers) -> Layers:
    """An image `(..., H, W)` with its rim: as large as its bands."""
    rims = [(0, 0)] * (image.ndim - 2) + [_split_rim(side) for side in image.shape[-2:]]
    return np.pad(image, rims, mode="reflect")


def crop(band: Layers, shape: tuple[int, int]) -> Layers:
    """The part of a band `(..., H', W')` that lies on the image, whose shape is given."""
    (top, _), (left, _) = (_split_rim(side) for side in shape)
    return np.ascontiguousarray(band[..., top : top + shape[0], left : left + shape[1]])


def open_fans(shape: tuple[int, int], count: int, fall: Callable[[Grid], Grid]) -> Iterator[Grid]:
    """Per direction its smooth share of all frequencies; two neighbours meet at each frequency, and their shares sum to one.

    Args:
        shape: of the image that the spectrum is of, `(H, W)`.
        count: of directions over half a turn; the first has the frequencies along the rows, the next ones turn from there.
        fall: the share at a distance of 0 to 1 from a fan's middle, where 1 is the middle of the next; like `fall`.

    Yields:
        Float64 `(H, W // 2 + 1)` in [0, 1], on the half of the spectrum that a real image needs.
    """
    angle = np.arctan2(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    for number in range(count):
        turned = np.mod(angle * count / np.pi - number, count)
        fan = fall(np.minimum(turned, count - turned)) if count > 1 else np.ones_like(angle)
        fan[0, 0] = 1 / count  # a mean has no direction
        yield fan


def fall(x: Grid) -> Grid:
    """Half a cosine wave from 1 down to 0 on [0, 1], flat outside; at x and at 1 - x the values add up to one."""
    fallen: Grid = np.cos(np.pi / 2 * np.clip(x, 0, 1)) ** 2
    return fallen


def _measure_sides(image: Layers) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _split_rim(side: int) -> tuple[int, int]:
    """The rim before and after a side of this many px."""
    rim = -(-(side + 2 * MARGIN) // SIZE_STEP) * SIZE_STEP - side
    return rim // 2, rim - rim // 2


def _cut_bands(spectrum: NDArray[np.complex64], shape: tuple[int, int], level: int, count: int) -> Iterator[Layers]:
    """The bands of all directions of a scale; levels count from 0, fine to coarse."""
    kept = shape[0] * shape[1] <= KEPT_PIXELS
    for window in _keep_windows(shape, level, count) if kept else _make_windows(shape, level, count):
        yield fft.irfft2(spectrum * window, shape, overwrite_x=True)


@functools.lru_cache(maxsize=KEPT_SIZES * len(DIRECTIONS))
def _keep_windows(shape: tuple[int, int], level: int, count: int) -> Layers:
    windows = np.stack(list(_make_windows(shape, level, count)))
    windows.setflags(write=False)
    return windows


def _make_windows(shape: tuple[int, int], level: int, count: int) -> Iterator[Image]:
    """Per direction what cuts its band out of the half of the spectrum that a real image needs.

    The windows of a scale sum to P - Q, where P is the spectrum of all smoothings before it and Q is smoothed once more. On the way back
    it is multiplied by P + Q, and the low band again by the P of the coarsest scale: (P - Q) (P + Q) = P^2 - Q^2, and these sum to one.
    Per direction the fan's share is a shear filter: what remains of the filter that the fan is when it is cut off smoothly. They sum to
    one, since their filters sum to that of one pixel. The real part is that of the symmetric filter; without it the highest frequency of
    an even side, which has no opposite, would belong to one direction alone.
    """
    lost = (_let_pass(shape, level) - _let_pass(shape, level + 1)).astype(np.float32)
    taper = _make_taper(shape[0], SHEAR_LENGTH * 2**level)[:, None] * _make_taper(shape[1], SHEAR_LENGTH * 2**level)
    for fan in open_fans(shape, count, _fall_late):
        yield lost * fft.rfft2(fft.irfft2(fan.astype(np.float32), shape) * taper).real


def _let_pass(shape: tuple[int, int], times: int) -> Grid:
    """What so many smoothings let pass, the finest first: binomial filters [1 4 6 4 1] / 16 with ever larger holes."""
    holes = 2.0 ** np.arange(times)[:, None]
    rows, columns = (np.prod(np.cos(np.pi * holes * sides) ** 4, axis=0) for sides in (fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])))
    passed: Grid = np.outer(rows, columns)
    return passed


def _make_taper(side: int, length: int) -> Image:
    """One at the origin of a circle of this many px, one half at half the length from it, nothing from the length on."""
    distance = np.minimum(np.arange(side), side - np.arange(side))
    taper: Image = np.where(distance < length, np.cos(np.pi / 2 * distance / length) ** 2, 0).astype(np.float32)
    return taper


def _fall_late(x: Grid) -> Grid:
    """The `fall` of Meyer's smooth step from 0 to 1: flatter at both ends, steeper between."""
    x = np.clip(x, 0, 1)
    return fall(x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3))
