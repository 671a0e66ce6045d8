"""Decision maps: which of two sources is in focus, in large regions without specks."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)


def remove_small_regions(mask: Mask, smallest: float) -> Mask:
    """The mask without its connected regions of fewer than `smallest` pixels; pixels touch at their corners too."""
    _, labels, numbers, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    large = numbers[:, cv2.CC_STAT_AREA] >= math.ceil(smallest)
    large[0] = False  # what is outside the mask
    kept: Mask = large[labels]
    return kept


def fill_small_holes(mask: Mask, smallest: float) -> Mask:
    """The mask with its holes of fewer than `smallest` pixels filled."""
    return ~remove_small_regions(~mask, smallest)


def remove_specks(mask: Mask, smallest: float) -> Mask:
    """The mask without its regions of fewer than `smallest` pixels, and with the holes that are as small then filled."""
    return fill_small_holes(remove_small_regions(mask, smallest), smallest)
