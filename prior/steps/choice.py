"""Rules of choice: of two layers of detail, which coefficient is kept.

Every function takes two arrays of one shape, `(H, W)` or a stack `(N, H, W)` where it says so, and never writes to them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image

NEIGHBOURHOOD = (3, 3)  # px: one strong coefficient alone does not decide

Layers = NDArray[np.float32]  # (..., H, W)


def pick_larger(a: Layers, b: Layers) -> Layers:
    """The coefficient of larger magnitude; of two that differ in their sign alone, the positive one. Any shape."""
    magnitude_a, magnitude_b = np.abs(a), np.abs(b)
    return np.where((magnitude_a > magnitude_b) | ((magnitude_a == magnitude_b) & (a > b)), a, b)


def pick_stronger(a: Image, b: Image) -> Image:
    """Of two layers of detail, pixel by pixel the one with the larger energy in its neighbourhood."""
    return np.where(_measure_energy(a) >= _measure_energy(b), a, b)


def take_majority(chosen: NDArray[np.bool_], side: int = 3) -> NDArray[np.bool_]:
    """What most pixels of the `side` x `side` px window around each pixel say: a choice without lone pixels."""
    votes = cv2.boxFilter(chosen.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_REFLECT)
    majority: NDArray[np.bool_] = votes > 0.5
    return majority


def mix(a: Layers, b: Layers, weight: Layers) -> Layers:
    """The mean with the weight of `a`; that of `b` is the rest to one. Any shapes that fit each other."""
    return b + weight * (a - b)


def _measure_energy(detail: Image) -> Image:
    return cv2.boxFilter(detail * detail, -1, NEIGHBOURHOOD).astype(np.float32, copy=False)
