"""The edges of a pair's pictures: how steep the grey levels are at every pixel."""

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.statistics import Sources

Map = NDArray[np.float32]


def find_source_edges(sources: Sources) -> tuple[Map, Map]:
    """The edges of both sources; for `sources.once`."""
    return find_edges(sources.a), find_edges(sources.b)


def find_edges(picture: Picture) -> Map:
    """The magnitude of the gradient by the 3x3 operator of Prewitt, not divided, black beyond the border.

    The gradients are whole numbers and their squares exact, so that equal gradients come out exactly equal.

    Args:
        picture: uint8 `(H, W)`.

    Returns:
        float32 `(H, W)`, in grey levels, 0 to about 1082.
    """
    contiguous = np.ascontiguousarray(picture)
    slope, level = np.array([-1.0, 0.0, 1.0]), np.ones(3)
    across, down = (
        cv2.sepFilter2D(contiguous, cv2.CV_32F, along, upright, borderType=cv2.BORDER_CONSTANT).astype(np.float32, copy=False)
        for along, upright in ((slope, level), (level, slope))
    )
    across *= across
    down *= down
    across += down
    return np.sqrt(across, out=across)
