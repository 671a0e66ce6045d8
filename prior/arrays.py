"""Images as arrays: 8-bit pictures, luma and chroma, split once and joined once.

A *picture* is what a file holds and what the store keeps: uint8, `(H, W)` grey or `(H, W, 3)` RGB.
An *image* is what methods see: float32 luma, `(H, W)`, range [0, 1], finite.
Luma is BT.601, computed in float32 and rounded to the nearest integer: scores are of this 8-bit luma and of nothing else.
"""

from typing import Literal

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

ChromaPolicy = Literal["none", "a", "b", "weighted", "published"]

Image = NDArray[np.float32]
Picture = NDArray[np.uint8]
Chroma = NDArray[np.float32]
"""Colour differences (R - Y, B - Y) in grey levels, float32 `(H, W, 2)`."""

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # BT.601


def is_colour(picture: Picture) -> bool:
    """Whether a picture has three channels."""
    return picture.ndim == 3


def luma(picture: Picture) -> Picture:
    """The 8-bit luma of a picture: BT.601 in float32, rounded to the nearest integer.

    Args:
        picture: uint8, `(H, W)` or `(H, W, 3)` RGB.

    Returns:
        uint8 `(H, W)`; a grey picture is returned as it is.
    """
    if not is_colour(picture):
        return picture
    rounded: Picture = np.rint(_grey(picture)).astype(np.uint8)
    return rounded


def to_image(picture: Picture) -> Image:
    """A picture's luma as float32 in [0, 1], `(H, W)`: what a method is given."""
    return luma(picture).astype(np.float32) / np.float32(255)


def chroma(picture: Picture) -> Chroma | None:
    """The colour differences of a picture, or None where it is grey."""
    if not is_colour(picture):
        return None
    return picture[:, :, ::2].astype(np.float32) - _grey(picture)[:, :, None]


def choose_chroma(a: Picture, b: Picture) -> tuple[ChromaPolicy, Chroma | None]:
    """The colour a fused image of the pair gets, and the name of the policy.

    Colour comes from the source that has it (the visible or functional one); where both have it, each pixel's
    colour differences are averaged with their own magnitudes as weights, so that the more colourful source counts more.
    """
    of_a, of_b = chroma(a), chroma(b)
    if of_a is None:
        return ("none", None) if of_b is None else ("b", of_b)
    if of_b is None:
        return "a", of_a
    weight_a, weight_b = np.abs(of_a), np.abs(of_b)
    total = weight_a + weight_b
    mixed = (weight_a * of_a + weight_b * of_b) / np.where(total > 0, total, np.float32(1))
    return "weighted", mixed.astype(np.float32)


def join(image: Image, colour: Chroma | None) -> Picture:
    """The 8-bit picture of a fused luma and the colour differences of its pair.

    Its 8-bit luma is the fused luma, rounded; only where the channels' own rounding adds up to half a level, one pixel in a thousand, it
    is the level beside it.
    Where a colour does not fit into the RGB cube at the new luma it is desaturated towards grey, never clipped:
    clipping would change the luma that the method chose, and its hue.

    Args:
        image: float32 `(H, W)` in [0, 1].
        colour: `(H, W, 2)` as from `chroma`, or None for a grey picture.

    Returns:
        uint8 `(H, W)` or `(H, W, 3)`.
    """
    if colour is None:
        grey: Picture = np.rint(image * np.float32(255)).astype(np.uint8)
        return grey
    picture = np.empty((*image.shape, 3), np.uint8)
    _join(image, colour, picture)
    return picture


def _grey(picture: Picture) -> Image:
    # OpenCV adds the channels in another order for RGB than for BGR; published scores come from BGR, so that is the order here
    levels: Image = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR).astype(np.float32)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_BGR2GRAY), dtype=np.float32)


@njit(cache=True, nogil=True)
def _join(image, colour, picture):  # type: ignore[no-untyped-def]
    height, width = image.shape
    for i in range(height):
        for j in range(width):
            # a whole level first: what the channels' own rounding then adds is at most half a level, and the luma stays where it is
            y = np.rint(image[i, j] * np.float32(255))
            red, blue = colour[i, j, 0], colour[i, j, 1]
            green = -(np.float32(RED) * red + np.float32(BLUE) * blue) / np.float32(GREEN)
            room = np.float32(1)
            for delta in (red, green, blue):
                # what lies half a level outside is rounded into the range, and needs no room
                if y + delta > np.float32(255.5):
                    room = min(room, (np.float32(255.5) - y) / delta)
                elif y + delta < np.float32(-0.5):
                    room = min(room, -(y + np.float32(0.5)) / delta)
            picture[i, j, 0] = np.uint8(min(max(np.rint(y + room * red), 0), 255))
            picture[i, j, 1] = np.uint8(min(max(np.rint(y + room * green), 0), 255))
            picture[i, j, 2] = np.uint8(min(max(np.rint(y + room * blue), 0), 255))
