"""Smoothing that spares edges, and the hybrid decomposition made with it.

The bilateral grid is a bilateral filter whose time falls as its window grows: pixels are gathered in a coarse grid over place and
brightness, smoothed there and read out again. Rolling guidance removes what is small and then restores the edges of what is large. The
hybrid decomposition smooths each scale both ways, with and without regard to edges, and so tells texture from edges.

References: bilateral grid: S. Paris, F. Durand, "A fast approximation of the bilateral filter using a signal processing approach", Int. J.
Computer Vision 81:24-52, 2009, doi 10.1007/s11263-007-0110-8; rolling guidance: Q. Zhang, X. Shen, L. Xu, J. Jia, "Rolling guidance
filter", ECCV 2014, doi 10.1007/978-3-319-10578-9_53, here with guided filters as A. Toet, "Iterative guided image fusion", PeerJ Computer
Science 2:e80, 2016, doi 10.7717/peerj-cs.80; hybrid decomposition: Z. Zhou, B. Wang, S. Li, M. Dong, "Perceptual fusion of infrared and
visible images through a hybrid multi-scale decomposition with Gaussian and bilateral filters", Information Fusion 30:15-26, 2016,
doi 10.1016/j.inffus.2015.11.003.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.choice import mix
from prior.steps.guided import filter_guided

REACH = 3  # sigmas: a Gaussian's window goes no further
PADDING = 3  # cells around the grid: the kernel reaches two, reading needs one more
WEIGHT_SIGMA = 1.0  # px, smoothing of the weights of one scale
BASE_WIDENING = 2.0  # smoothing of the weights of the base, in sigmas of the scale beyond the coarsest

Filter = Callable[[Image], Image]


def blur(image: Image, sigma: float) -> Image:
    """A Gaussian mean, cut off at three sigmas; borders are mirrored.

    Args:
        image: float32 `(H, W)`.
        sigma: px; below 1/3 px nothing changes.

    Returns:
        float32 `(H, W)`.
    """
    side = 2 * int(REACH * sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def blur_wide(image: Image, sigma: float) -> Image:
    """A Gaussian mean, cut off at four sigmas; borders are mirrored.

    Args:
        image: float32 `(H, W)`.
        sigma: px; above 0.

    Returns:
        float32 `(H, W)`.
    """
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def filter_bilateral_grid(image: Image, sigma_space: float, sigma_range: float) -> Image:
    """A bilateral filter by way of a coarse grid over place and brightness.

    Args:
        image: float32 `(H, W)`, of any range.
        sigma_space: of the Gaussian over distances and the size of a cell, px; above 0.
        sigma_range: of the Gaussian over differences of brightness and the height of a cell, in units of the image; above 0.

    Returns:
        float32 `(H, W)`, within the range of the image.
    """
    lowest, highest = float(image.min()), float(image.max())
    extents = (*((side - 1) / sigma_space for side in image.shape), (highest - lowest) / sigma_range)
    cells = [math.floor(extent) + 2 + 2 * PADDING for extent in extents]
    totals, counts = np.zeros(cells, np.float32), np.zeros(cells, np.float32)
    density, levels = 1 / sigma_space, 1 / sigma_range
    _gather(image, lowest, density, levels, totals, counts)
    filtered: Image = _read(image, lowest, density, levels, _smooth_grid(totals), _smooth_grid(counts))
    return np.clip(filtered, np.float32(lowest), np.float32(highest), out=filtered)


def roll_guidance(image: Image, radius: int, eps: float, passes: int) -> Image:
    """An image without what is smaller than the radius, and with the edges of what is larger.

    Args:
        image: float32 `(H, W)`.
        radius: sigma of the Gaussian that removes and radius of the guided filter that restores, px.
        eps: smoothing of the guided filter, squared range of the image.
        passes: how often the image is filtered with the last outcome as guide.

    Returns:
        float32 `(H, W)`.
    """
    target = image.astype(np.float64)
    guide = blur(image, radius).astype(np.float64)
    for _ in range(passes):
        guide = filter_guided(guide, target, radius, eps)
    return guide.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Hybrid:
    """An image taken apart; the sum of all layers is the image.

    Attributes:
        base: what the coarsest blur leaves, `(H, W)`.
        textures: per scale, fine to coarse, what smoothing removes although it spares edges.
        edges: per scale, fine to coarse, what only a blur removes.
    """

    base: Image
    textures: tuple[Image, ...]
    edges: tuple[Image, ...]


def decompose_hybrid(image: Image, scales: Iterable[tuple[Filter, Filter]]) -> Hybrid:
    """Take an image apart.

    Args:
        image: float32 `(H, W)`.
        scales: fine to coarse, a filter that blurs and one that spares edges; each goes on from its own last outcome.

    Returns:
        Its layers.
    """
    textures, edges = [], []
    blurred = spared = image
    for blur_more, spare in scales:
        spared = spare(spared)
        textures.append(blurred - spared)
        blurred = blur_more(blurred)
        edges.append(spared - blurred)
    return Hybrid(blurred, tuple(textures), tuple(edges))


def fuse_hybrid(infrared: Hybrid, visible: Hybrid, steepness: float, base_sigma: float, finest_sigma: float) -> Image:
    """Fuse two decompositions: hot edges come through at coarse scales, the stronger detail at the finest one, else the visible.

    Args:
        infrared: the source whose conspicuous objects are wanted.
        visible: the source that everything else is taken from; as many scales.
        steepness: how soon a stronger infrared edge takes over (lambda of the paper); above 0.
        base_sigma: smoothing of the base's weights, px.
        finest_sigma: smoothing of the weights of the finest scale's edges, px.

    Returns:
        float32 `(H, W)`.
    """
    fused = mix(infrared.base, visible.base, blur(_emphasise(infrared.edges[-1], visible.edges[-1], steepness), base_sigma))
    for scale in range(len(visible.edges) - 1, 0, -1):
        weight = blur(_emphasise(infrared.edges[scale], visible.edges[scale], steepness), WEIGHT_SIGMA)
        fused += mix(infrared.edges[scale] + infrared.textures[scale], visible.edges[scale] + visible.textures[scale], weight)
    fused += mix(infrared.edges[0], visible.edges[0], blur(_compare(infrared.edges[0], visible.edges[0]), finest_sigma))
    fused += mix(infrared.textures[0], visible.textures[0], _compare(infrared.textures[0], visible.textures[0]))
    return fused


def _emphasise(infrared: Image, visible: Image, steepness: float) -> Image:
    """The weight of the infrared: how much stronger its edges are, in parts of the most anywhere, bent upwards."""
    lead = np.maximum(np.abs(infrared) - np.abs(visible), 0)
    most = lead.max()
    if most > 0:
        lead *= np.float32(steepness) / most
    weight: Image = np.arctan(lead, out=lead) * np.float32(1 / math.atan(steepness))
    return weight


def _compare(infrared: Image, visible: Image) -> Image:
    """One where the infrared is stronger, else zero."""
    return (np.abs(infrared) > np.abs(visible)).astype(np.float32)


@njit(cache=True, nogil=True)
def _gather(image, lowest, density, levels, totals, counts):  # type: ignore[no-untyped-def]
    half = 0.5 + PADDING
    for i in range(image.shape[0]):
        row = int(i * density + half)
        for j in range(image.shape[1]):
            column, level = int(j * density + half), int((image[i, j] - lowest) * levels + half)
            totals[row, column, level] += image[i, j]
            counts[row, column, level] += np.float32(1)


def _smooth_grid(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """The grid smoothed along its three axes."""
    rows, columns, levels = grid.shape
    for shape in ((1, rows, columns * levels), (rows, columns, levels), (rows * columns, levels, 1)):
        grid = _smooth_middle(grid.reshape(shape))
    return grid.reshape(rows, columns, levels)


@njit(cache=True, nogil=True)
def _smooth_middle(grid):  # type: ignore[no-untyped-def]
    """Smoothed along the middle axis with [1 4 6 4 1] / 16, of sigma one; beyond the ends is nothing."""
    outer, length, inner = grid.shape
    smooth = np.zeros_like(grid)
    four, six, share = np.float32(4), np.float32(6), np.float32(1 / 16)
    for n in range(outer):
        for i in range(2, length - 2):
            for j in range(inner):
                near, far = grid[n, i - 1, j] + grid[n, i + 1, j], grid[n, i - 2, j] + grid[n, i + 2, j]
                smooth[n, i, j] = (six * grid[n, i, j] + four * near + far) * share
    return smooth


@njit(cache=True, nogil=True)
def _read(image, lowest, density, levels, totals, counts):  # type: ignore[no-untyped-def]
    """The quotient of both grids, each interpolated linearly at a pixel's place and brightness."""
    filtered = np.empty_like(image)
    for i in range(image.shape[0]):
        y = i * density + PADDING
        row = int(y)
        below = np.float32(y - row)
        for j in range(image.shape[1]):
            x, z = j * density + PADDING, (image[i, j] - lowest) * levels + PADDING
            column, level = int(x), int(z)
            right, above = np.float32(x - column), np.float32(z - level)
            total = count = np.float32(0)
            for corner in range(8):
                k, m, n = corner & 1, corner >> 1 & 1, corner >> 2
                share = (below if k else np.float32(1) - below) * (right if m else np.float32(1) - right)
                share *= above if n else np.float32(1) - above
                total += share * totals[row + k, column + m, level + n]
                count += share * counts[row + k, column + m, level + n]
            filtered[i, j] = total / count
    return filtered
