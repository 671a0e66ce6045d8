"""Large images tile by tile, for methods whose memory is many times the image's."""

import itertools
from collections.abc import Callable

import numpy as np

from prior.arrays import Image

SIDE = 1024  # px, of the part of a tile that is kept
MARGIN = 192  # px around it that are seen and thrown away; more than any window of the methods that work in tiles

Fuse = Callable[[Image, Image], Image]


def fuse_in_tiles(fuse: Fuse, a: Image, b: Image, side: int = SIDE, margin: int = MARGIN) -> Image:
    """What a method makes of two images, tile by tile where they are larger than one tile and its margin.

    Args:
        fuse: the method; what is further than `margin` px away should hardly matter to it.
        a: one source, float32 `(H, W)`.
        b: the other source, of the same size.
        side: of the part of a tile that is kept, px.
        margin: around it, px.

    Returns:
        float32 `(H, W)`: `fuse(a, b)` itself where one tile is enough.
    """
    height, width = a.shape
    if max(height, width) <= side + 2 * margin:
        return fuse(a, b)
    fused = np.empty_like(a)
    for top, left in itertools.product(range(0, height, side), range(0, width, side)):
        above, before = min(top, margin), min(left, margin)
        seen = np.s_[top - above : top + side + margin, left - before : left + side + margin]
        kept = np.s_[above : above + side, before : before + side]
        fused[top : top + side, left : left + side] = fuse(a[seen], b[seen])[kept]
    return fused
