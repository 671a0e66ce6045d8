"""From deep grey levels (16-bit, 32-bit, float) to the 8 bits that are fused, scored and stored.

Thermal cameras write a few hundred of 65536 levels, so which of them become black and white is the user's choice: a value range.
It never touches 8-bit files.
"""

import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture
from storage.errors import InputError

Range = Literal["dtype", "percentile"] | tuple[float, float]
Levels = NDArray[Any]

PERCENTILES = (0.5, 99.5)  # robust against dead and hot pixels, of which a detector has a few in a thousand
NEARLY_BLACK = 32  # a picture whose 99th percentile lies below an eighth of the range


def check_range(value_range: Range) -> None:
    """Refuse a value range that is neither "dtype", "percentile" nor two finite numbers with the lower one first.

    Raises:
        InputError: it is none of the three.
    """
    if value_range in ("dtype", "percentile"):
        return
    limits = value_range if isinstance(value_range, tuple) else ()
    if len(limits) != 2 or not all(map(math.isfinite, limits)) or limits[0] >= limits[1]:
        raise InputError(f'range = {value_range!r} is not a value range; write "dtype", "percentile" or two numbers such as [7000, 9000]')


def choose_limits(levels: Levels, value_range: Range) -> tuple[float, float]:
    """The levels that become black and white.

    Args:
        levels: unsigned, signed or float levels of any shape, finite.
        value_range: "dtype" (the whole unsigned range; [0, 1] for float), "percentile" (of this picture) or the two levels.

    Raises:
        InputError: "dtype" says nothing about these levels (signed, or float outside [0, 1]).
    """
    if isinstance(value_range, tuple):
        return value_range
    least, most = float(levels.min()), float(levels.max())
    if value_range == "percentile":
        low, high = (float(level) for level in np.percentile(levels, PERCENTILES))
        return (low, high) if low < high else (least, most)
    if levels.dtype.kind == "u":
        return 0.0, float(np.iinfo(levels.dtype).max)
    if levels.dtype.kind == "f" and least >= 0 and most <= 1:
        return 0.0, 1.0
    raise InputError(
        f'holds {levels.dtype} levels from {least:g} to {most:g}, for which range = "dtype" is undefined; '
        f'give range = "percentile" or range = [{least:g}, {most:g}]',
        "unreadable",
    )


def stretch(levels: Levels, limits: tuple[float, float]) -> Picture:
    """Levels mapped linearly onto 0 to 255, rounded; what lies outside the limits is clipped."""
    low, high = limits
    if low >= high:
        return np.zeros(levels.shape, np.uint8)
    scaled = levels.astype(np.result_type(levels.dtype, np.float32))
    scaled -= low
    scaled *= 255 / (high - low)
    np.clip(scaled, 0, 255, out=scaled)
    rounded: Picture = np.rint(scaled).astype(np.uint8)
    return rounded


def warn_of_darkness(picture: Picture, levels: Levels) -> tuple[str, ...]:
    """A warning where the whole range of the type was used and nearly nothing of it is lit."""
    brightest = float(np.percentile(picture, 99))
    if brightest >= NEARLY_BLACK:
        return ()
    low, high = np.percentile(levels, PERCENTILES)
    return (
        f'nearly black at range = "dtype" (99 of 100 pixels at most {brightest:.0f} of 255); '
        f'try range = "percentile" or range = [{low:g}, {high:g}]',
    )


def flatten_alpha(picture: Picture) -> tuple[Picture, tuple[str, ...]]:
    """A picture without its alpha channel, laid over black, and a note of it.

    Args:
        picture: uint8 `(H, W, 2)` grey with alpha or `(H, W, 4)` RGB with alpha.

    Returns:
        uint8 `(H, W)` or `(H, W, 3)`, and the note.
    """
    *channels, alpha = cv2.split(picture)
    note = "opaque alpha dropped"
    if alpha.min() < 255:
        note = "alpha flattened over black"
        channels = [cv2.multiply(channel, alpha, scale=1 / 255) for channel in channels]
    colour = channels[0] if len(channels) == 1 else cv2.merge(channels)
    return colour.astype(np.uint8, copy=False), (note,)
