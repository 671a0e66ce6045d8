"""MSVD: blocks of four pixels seen along the axes in which they vary most, the larger coordinate kept.

The four pixels of every 2x2 block are a point; the singular vectors of all points are axes that fit the image, the first one nearly its
mean. Along that one the sources are averaged, along the three others the larger coordinate is kept, and the way back is by the mean of
both sources' axes.

Reference: V. P. S. Naidu, "Image fusion technique using multi-resolution singular value decomposition", Defence Science Journal
61(5):479-484, 2011, doi 10.14429/dsj.61.705; one level, as in the program of the VIFB benchmark.
Deviations: an axis and its opposite are one and the same, so they are turned to agree before they are averaged; where they did not
agree in the published images (of VIFB such pairs as fight, walking and running), they have cancelled out, and detail with them. An axis
along which a source does not vary is arbitrary, so the other source's is taken. An odd side is mirrored by one pixel, not stretched to an
even one, and the outcome is not stretched to the full range.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import pick_larger

SIDE = 2  # px, of a block
NOTHING = 1e-9  # of the largest energy along an axis: less is rounding
HALF = np.float32(0.5)

Axes = NDArray[np.float64]  # (4, 4), one a column, by falling energy


def _cut_blocks(image: Image) -> Image:
    """The pixels of every 2x2 block, `(4, blocks)`."""
    height, width = image.shape
    even = cv2.copyMakeBorder(image, 0, height % SIDE, 0, width % SIDE, cv2.BORDER_REFLECT)
    return np.stack([even[row::SIDE, column::SIDE].ravel() for row in range(SIDE) for column in range(SIDE)])


def _lay_blocks(blocks: Image, shape: tuple[int, ...]) -> Image:
    """The image of these blocks."""
    height, width = (-(-side // SIDE) for side in shape)
    even = blocks.reshape(SIDE, SIDE, height, width).transpose(2, 0, 3, 1).reshape(height * SIDE, width * SIDE)
    return np.ascontiguousarray(even[: shape[0], : shape[1]])


def _find_axes(blocks: Image) -> tuple[Axes, NDArray[np.bool_]]:
    """The left singular vectors of the blocks, and whether the blocks vary along each."""
    exact = blocks.astype(np.float64)
    energies, axes = np.linalg.eigh(exact @ exact.T)
    return axes[:, ::-1], energies[::-1] > NOTHING * max(energies[-1], NOTHING)


def _agree(blocks_a: Image, blocks_b: Image) -> tuple[Axes, Axes]:
    """The axes of both sources, turned alike; one that a source leaves open is the other one's."""
    (axes_a, known_a), (axes_b, known_b) = _find_axes(blocks_a), _find_axes(blocks_b)
    axes_a = np.where(known_a | ~known_b, axes_a, axes_b)
    axes_b = np.where(known_b, axes_b, axes_a)
    return axes_a, np.where((axes_a * axes_b).sum(axis=0) < 0, -axes_b, axes_b)


@method("msvd", family="statistical", reference="Naidu 2011, doi 10.14429/dsj.61.705")
def fuse_msvd(a: Image, b: Image) -> Image:
    """The mean along the first axis of the blocks, the larger coordinate along the others.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker mean may leave [0, 1].
    """
    blocks_a, blocks_b = _cut_blocks(a), _cut_blocks(b)
    axes_a, axes_b = _agree(blocks_a, blocks_b)
    along_a, along_b = axes_a.T.astype(np.float32) @ blocks_a, axes_b.T.astype(np.float32) @ blocks_b
    fused = pick_larger(along_a, along_b)
    fused[0] = HALF * (along_a[0] + along_b[0])
    return _lay_blocks((0.5 * (axes_a + axes_b)).astype(np.float32) @ fused, a.shape)
