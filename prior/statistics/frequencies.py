"""Filters over an image's frequencies, as models of the eye's sensitivity to contrast use them.

The image repeats beyond its edges.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Picture

Field = NDArray[np.float64]


def measure_frequencies(shape: tuple[int, ...]) -> Field:
    """The cycles per image of every coefficient of a real transform, `(H, W // 2 + 1)`: the length of the vector of both axes."""
    down, along = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in shape)
    frequencies: Field = np.hypot(down[:, None], along[: shape[1] // 2 + 1])
    return frequencies


def filter_frequencies(picture: Picture, gains: Field) -> Field:
    """The picture with each frequency multiplied by its gain, float64 `(H, W)`.

    Args:
        picture: uint8 `(H, W)`.
        gains: of the frequencies of `measure_frequencies`.
    """
    spectrum = fft.rfft2(np.ascontiguousarray(picture, np.float64))
    spectrum *= gains
    filtered: Field = fft.irfft2(spectrum, s=picture.shape, overwrite_x=True)
    return filtered
