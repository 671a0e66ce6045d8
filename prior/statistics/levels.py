"""Grey levels stretched over the whole range, as the metrics in the tradition of Liu et al. 2012 see them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.statistics import Fused, Sources


@dataclass(frozen=True, slots=True)
class Stretched:
    """A pair's pictures of 8-bit levels stretched to 0..255, or of one where the other is constant: None stands for that one.

    A constant picture has no such levels; one that is black everywhere stays as it is.
    """

    a: Picture | None
    b: Picture | None


def stretch_sources(sources: Sources) -> Stretched:
    """Both sources, stretched; for `sources.once`."""
    return Stretched(stretch_picture(sources.a), stretch_picture(sources.b))


def stretch_candidate(fused: Fused) -> Picture | None:
    """The candidate, stretched; for `fused.once`."""
    return stretch_picture(fused.image)


def stretch_picture(picture: Picture) -> Picture | None:
    """A picture's levels moved to 0..255, halves rounded up; None where it is constant and not black."""
    table = stretch_table(int(picture.min()), int(picture.max()))
    return None if table is None else table[picture]


def stretch_table(low: int, high: int) -> NDArray[np.uint8] | None:
    """What each of the levels from `low` to `high` becomes, uint8 `(256,)`; None where they are one level and that is not 0."""
    if low == high:
        return None if high else np.zeros(256, np.uint8)
    inside = np.clip(np.arange(256, dtype=np.float64), low, high)
    table: NDArray[np.uint8] = np.floor((inside - low) / (high - low) * 255 + 0.5).astype(np.uint8)
    return table
