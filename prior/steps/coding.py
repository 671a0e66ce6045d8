"""Convolutional sparse coding: an image as a sum of few small filters, each put where it fits and times its code there.

Minimised is 1/2 sum_n |s_n - sum_m d_m * x_nm|^2 + price(x) over the codes x of one or more images n, by the alternating direction
method of multipliers. The quadratic step is exact in the frequency domain, where by Sherman and Morrison's formula it is one division:
x = q + D^T (s - D q) / (rho + sum_m |d_m|^2). D and D^T themselves, with filters of a few pixels, are products of small matrices.

Images are mirrored beyond their borders first, since a spectrum joins each border to the opposite one; codes keep that rim.

Reference: B. Wohlberg, "Efficient algorithms for convolutional sparse representations", IEEE Trans. Image Processing 25(1):301-315, 2016,
doi 10.1109/TIP.2015.2495260.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image

MARGIN = 8  # px of mirrored image on every side at least: no filter reaches over it
STRIP = 4  # rows worked on at once, so that they stay in the processor's cache; the mirrored height is a multiple
OVERSHOOT = np.float32(1.8)  # over-relaxation of the method of multipliers

Filters = NDArray[np.float32]  # (M, side, side)
Stack = NDArray[np.float32]  # (N, H, W)
Codes = NDArray[np.float32]  # (N, M, H', W'), as large as the image and its mirrored rim
Shrink = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The proximal operator of a price on the codes, of step 1/rho: values `(N, ...)` to sparse ones. It never writes to them."""


def find_codes(images: Stack, filters: Filters, shrink: Shrink, *, penalty: float, iterations: int) -> Codes:
    """The codes of images: of one alone, or of several that a price joins.

    Args:
        images: float32 `(N, H, W)`, of mean about 0: filters hold no flat part.
        filters: float32 `(M, side, side)`, of Euclidean norm 1; at most 16 px high and wide.
        shrink: the proximal operator of the price on codes, made for this penalty.
        penalty: on codes that differ from their sparse copies (rho); steers how fast, not where to.
        iterations: of the method of multipliers.

    Returns:
        float32 `(N, M, H', W')`, sparse; each filter lies around its code.
    """
    mirrored = np.stack([mirror(image) for image in images])
    count, height, width = mirrored.shape
    bank, inverse = filters.reshape(len(filters), -1), _invert(filters, (height, width), penalty)
    values = np.zeros((height // STRIP, count, len(bank), STRIP * width), np.float32)
    explained = np.zeros_like(mirrored)
    for _ in range(iterations):
        missing = fft.irfft2(fft.rfft2(mirrored - explained) * inverse, (height, width), overwrite_x=True)
        explained = _improve(values, missing, bank, shrink)
    for strip in values:
        strip[:] = shrink(strip)
    return _join_strips(values)


def blend_filters(codes: NDArray[np.float32], filters: Filters) -> Image:
    """The image that codes stand for, with its rim: the sum of all filters, each times its code.

    Args:
        codes: float32 `(M, H', W')`.
        filters: float32 `(M, side, side)`.

    Returns:
        float32 `(H', W')`.
    """
    bank, side = filters.reshape(len(filters), -1), filters.shape[1]
    sums = np.zeros((1, codes.shape[1] + side - 1, codes.shape[2] + side - 1), np.float32)
    for top in range(0, codes.shape[1], STRIP):
        _place_filters(sums[0], bank.T @ codes[:, top : top + STRIP].reshape(len(bank), -1), top)
    folded: Image = _fold(sums, side)[0]
    return folded


def shrink_each(threshold: float) -> Shrink:
    """The operator of plain sparsity, lambda |x|_1 over rho = threshold: all magnitudes lose so much, or all they have."""
    return lambda values: values - np.clip(values, -threshold, threshold)


def shrink_together(threshold: float, coupling: float) -> Shrink:
    """That of two images with like codes, lambda (|x_1|_1 + |x_2|_1) + mu |x_1 - x_2|_1, where coupling = mu / rho.

    For either code, the other one given, it is the operator of l1-l1 minimisation with side information (LeSITA). Here neither is given:
    both are drawn together, by `coupling` each, and then shrunk.
    """
    shrink = shrink_each(threshold)

    def shrink_pair(values: NDArray[np.float32]) -> NDArray[np.float32]:
        drawn = np.clip(np.float32(0.5) * (values[0] - values[1]), -coupling, coupling)
        return shrink(np.stack((values[0] - drawn, values[1] + drawn)))

    return shrink_pair


def mirror(image: Image) -> Image:
    """An image with its rim: as large as its codes."""
    (top, bottom), (left, right) = _split_rims(image.shape[0], image.shape[1])
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def crop(mirrored: Image, shape: tuple[int, int]) -> Image:
    """The part of an image with its rim that is the image, whose shape is given."""
    (top, _), (left, _) = _split_rims(*shape)
    return np.ascontiguousarray(mirrored[top : top + shape[0], left : left + shape[1]])


def _split_rims(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rims above and below, and left and right of an image of this size, px."""
    tall, wide = STRIP * fft.next_fast_len(-(-(height + 2 * MARGIN) // STRIP), real=True), fft.next_fast_len(width + 2 * MARGIN, real=True)
    return ((tall - height) // 2, (tall - height + 1) // 2), ((wide - width) // 2, (wide - width + 1) // 2)


def _invert(filters: Filters, shape: tuple[int, int], penalty: float) -> NDArray[np.float32]:
    """1 / (rho + sum_m |d_m|^2) on the half of the spectrum that a real image needs."""
    twice = (2 * filters.shape[1], 2 * filters.shape[2])  # room for every overlap of a filter with itself
    energy = np.square(np.abs(fft.rfft2(filters, twice))).sum(axis=0)
    overlaps = fft.fftshift(fft.irfft2(energy, twice))  # their spectrum is the energy of all filters, at any size
    return np.asarray(1 / (penalty + np.abs(fft.rfft2(overlaps, shape))), np.float32)


def _improve(values: NDArray[np.float32], missing: Stack, bank: NDArray[np.float32], shrink: Shrink) -> Stack:
    """One step of the method in place, strip by strip; what the filters explain of the images after it.

    Of the variables of the method only v = x + u is kept: its sparse copy is y = shrink(v) and the multiplier u = v - y, a step starts
    from q = y - u, and v + OVERSHOOT (D^T missing - u) is the over-relaxed next v.
    """
    count, height, width = missing.shape
    side = round(bank.shape[1] ** 0.5)
    windows = slide_windows(missing, side)
    sums = np.zeros((count, height + side - 1, width + side - 1), np.float32)
    for number, strip in enumerate(values):
        rows = slice(number * STRIP, (number + 1) * STRIP)
        multiplier = strip - shrink(strip)
        for code, old, seen in zip(strip, multiplier, windows, strict=True):
            code += OVERSHOOT * (bank @ seen[:, :, rows].reshape(side * side, -1) - old)
        start = 2 * shrink(strip) - strip
        for total, code in zip(sums, start, strict=True):
            _place_filters(total, bank.T @ code, rows.start)
    return _fold(sums, side)


def slide_windows(images: Stack, side: int) -> NDArray[np.float32]:
    """What a filter at every pixel sees, beyond the border the opposite one: `(N, side, side, H, W)`, a view of a copy."""
    before, after = (side - 1) // 2, side // 2
    wrapped = np.pad(images, ((0, 0), (before, after), (before, after)), "wrap")
    windows = np.lib.stride_tricks.sliding_window_view(wrapped, (side, side), (1, 2))
    return windows.transpose(0, 3, 4, 1, 2)


def _place_filters(sums: Image, parts: NDArray[np.float32], top: int) -> None:
    """Add the pixels of filters `(side * side, STRIP * W)` where they lie, in a strip that starts at row `top`."""
    side = round(len(parts) ** 0.5)
    width = sums.shape[1] - side + 1
    for place, part in enumerate(parts.reshape(len(parts), STRIP, width)):
        y, x = top + place // side, place % side
        sums[y : y + STRIP, x : x + width] += part


def _fold(sums: Stack, side: int) -> Stack:
    """Sums without their last rows and columns, which belong to the opposite borders."""
    height, width, before = sums.shape[1] - side + 1, sums.shape[2] - side + 1, (side - 1) // 2
    sums[:, : side - 1] += sums[:, height:]
    sums[:, :, : side - 1] += sums[:, :, width:]
    return np.roll(sums[:, :height, :width], (-before, -before), (1, 2))


def _join_strips(values: NDArray[np.float32]) -> Codes:
    """Codes of whole images out of strips `(strips, N, M, STRIP * W)`."""
    strips, count, filters, _ = values.shape
    return values.reshape(strips, count, filters, STRIP, -1).transpose(1, 2, 0, 3, 4).reshape(count, filters, strips * STRIP, -1)
