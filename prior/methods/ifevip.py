"""IFEVIP: what is bright in the infrared image against its own background and against the visible image is added to the visible one.

The background is smooth patches over the blocks of a quadtree, drawn through the darkest values around. Bright features are damped so
that the brightest outcome does not saturate.

Reference: Y. Zhang, L. Zhang, X. Bai, L. Zhang, "Infrared and visual image fusion through infrared feature extraction and visual
information preservation", Infrared Physics and Technology 83:227-237, 2017, doi 10.1016/j.infrared.2017.05.007; constants and order of
steps of the authors' program.
`a` is the infrared (or first) source, `b` the visible (or second) one. Not idempotent: whatever is bright in both becomes brighter.
Deviations: the background is blurred with its borders repeated, not with black beyond them, which frames the image brightly; it is resized
without the program's antialiasing; an image of one grey level leaves the ratio of entropies at 1; of the luma, where the program fuses
each colour channel.
"""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method

SIDE, SMALLEST = 512, 32  # px, of the square image that the quadtree divides; of its smallest blocks and of the erosion
SPREAD = 0.2  # a block of a wider range is divided
WINDOW, SIGMA = (9, 9), 4.5  # px, of the mean that smooths the background
DAMPING, BRIGHTEST = 0.8, 0.001  # the most of the features that is added; share of pixels that must not saturate
GREY_LEVELS = 256


def _spread(image: Image, side: int) -> Image:
    """The range of values within each block of this side."""
    blocks = image.reshape(SIDE // side, side, SIDE // side, side)
    spread: Image = np.ptp(blocks, axis=(1, 3))
    return spread


def _divide(image: Image) -> list[tuple[int, int, int]]:
    """The blocks of the quadtree as row, column and side, the large ones first."""
    blocks, divided, side = [], [(0, 0)], SIDE
    while divided:
        spread = _spread(image, side)
        split = [spread[i, j] > SPREAD and side > SMALLEST for i, j in divided]
        blocks += [(side * i, side * j, side) for (i, j), splits in zip(divided, split, strict=True) if not splits]
        divided = [(2 * i + m, 2 * j + n) for (i, j), splits in zip(divided, split, strict=True) if splits for m in (0, 1) for n in (0, 1)]
        side //= 2
    return blocks


@functools.lru_cache(maxsize=8)
def _find_bernstein(side: int) -> NDArray[np.float32]:
    """The four cubic Bernstein polynomials at the places 0 to `side`."""
    t = np.linspace(0, 1, side + 1)
    polynomials = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1).astype(np.float32)
    polynomials.setflags(write=False)
    return polynomials


def _draw_patches(dark: Image, blocks: list[tuple[int, int, int]]) -> Image:
    """A Bezier surface over each block, through its corners and towards two points between; small blocks over the rims of large ones."""
    padded = np.pad(dark, ((0, 1), (0, 1)), mode="edge")
    drawn = np.empty_like(padded)
    for row, column, side in blocks:
        points = np.array([0, side // 2 - 1, 3 * side // 4 - 1, side])
        control, curves = padded[np.ix_(row + points, column + points)], _find_bernstein(side)
        drawn[row : row + side + 1, column : column + side + 1] = curves @ control @ curves.T
    return drawn[:SIDE, :SIDE]


def _find_background(infrared: Image) -> Image:
    height, width = infrared.shape
    square = cv2.resize(infrared, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
    dark = cv2.erode(square, np.ones((SMALLEST, SMALLEST), np.uint8), anchor=(SMALLEST // 2 - 1, SMALLEST // 2 - 1))
    drawn = _draw_patches(dark.astype(np.float32, copy=False), _divide(square))
    background = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(background, WINDOW, SIGMA, borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)


def _measure_entropy(image: Image) -> float:
    """Of the histogram of grey levels, bits."""
    counts = np.bincount(np.rint(image * 255).astype(np.uint8).ravel(), minlength=GREY_LEVELS)
    shares = counts[counts > 0] / image.size
    return float(-(shares * np.log2(shares)).sum())


def _compare_entropies(infrared: Image, visible: Image) -> float:
    of_visible = _measure_entropy(visible)
    return _measure_entropy(infrared) / of_visible if of_visible > 0 else 1.0


def _choose_damping(brightened: Image, damping: float) -> float:
    """The factor that keeps the mean of the brightest pixels within the range, `damping` at most."""
    count = max(round(BRIGHTEST * brightened.size), 1)
    brightest = float(np.partition(brightened, -count, axis=None)[-count:].mean(dtype=np.float64))
    return min(1 / brightest, damping) if brightest > 0 else damping


@method(
    "ifevip",
    family="feature insertion",
    reference="Zhang, Zhang, Bai, Zhang 2017, doi 10.1016/j.infrared.2017.05.007",
    idempotent=False,
    tasks=("infrared-visible",),
)
def fuse_ifevip(a: Image, b: Image, *, damping: float = DAMPING) -> Image:
    """The visible image and, added to it, the bright features of the infrared one.

    Args:
        a: the infrared source, float32 `(H, W)` in [0, 1].
        b: the visible source, of the same size.
        damping: the most of the features that is added, a factor.

    Returns:
        float32 `(H, W)`, never darker than the visible source; at most 1.
    """
    features = np.maximum(a - _find_background(a), 0) + (a - b) * np.float32(_compare_entropies(a, b))
    features = np.maximum(features, 0)
    fused: Image = np.minimum(b + features * np.float32(_choose_damping(b + features, damping)), np.float32(1))
    return fused
