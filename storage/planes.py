"""Pictures as planes: all pictures of one pair in one uint8 array `(plane, y, x)`, so that one read brings them all.

A grey picture is one plane, a colour picture three; the names of the planes (`a.grey`, `winner.red` …) say which is which.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.uint8]
CHANNELS = ("red", "green", "blue")
GREY = "grey"


def stack(pictures: Mapping[str, NDArray[np.uint8]]) -> tuple[Planes, tuple[str, ...]]:
    """Pictures of equal height and width as one contiguous `(plane, y, x)` array, and the planes' names."""
    planes: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for name, picture in pictures.items():
        if picture.ndim == 2:
            planes.append(picture)
            names.append(f"{name}.{GREY}")
        else:
            planes.extend(np.moveaxis(picture, 2, 0))
            names.extend(f"{name}.{channel}" for channel in CHANNELS)
    return np.stack(planes), tuple(names)


def unstack(planes: Planes, names: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """The pictures in an array of planes, by name: `(H, W)` or `(H, W, 3)`."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name.rpartition(".")[0], []).append(index)
    return {name: _picture([planes[index] for index in indices]) for name, indices in members.items()}


def _picture(planes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=2)
