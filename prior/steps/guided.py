"""The guided filter: a target seen as a local linear function of a guide, so that it takes over the guide's edges.

Reference: K. He, J. Sun, X. Tang, "Guided image filtering", IEEE TPAMI 35(6):1397-1409, 2013, doi 10.1109/TPAMI.2012.213.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]  # (H, W); an eps of 1e-6 is lost in float32


def _count_inside(length: int, radius: int) -> Map:
    """How many pixels of a window of this radius lie inside a line of pixels, for every position."""
    position = np.arange(length)
    return (np.minimum(position + radius, length - 1) - np.maximum(position - radius, 0) + 1).astype(np.float64)


def average(values: Map, radius: int) -> Map:
    """The mean over the part of the square window that lies inside the image."""
    window = (2 * radius + 1, 2 * radius + 1)
    average = cv2.boxFilter(values, -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT).astype(np.float64, copy=False)
    height, width = values.shape
    average /= _count_inside(height, radius)[:, None]
    average /= _count_inside(width, radius)
    return average


def filter_guided(guide: Map, target: Map, radius: int, eps: float) -> Map:
    """`target` as a local linear function of `guide`; a window whose guide has a variance below `eps` counts as flat."""
    mean_guide, mean_target = average(guide, radius), average(target, radius)
    covariance = average(guide * target, radius) - mean_guide * mean_target
    variance = average(guide * guide, radius) - mean_guide * mean_guide
    slope = covariance / (variance + eps)
    offset = mean_target - slope * mean_guide
    return average(slope, radius) * guide + average(offset, radius)
