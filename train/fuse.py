"""Fusing with a student: luma in, luma out, of any size; padded, never resized, and large images in overlapping tiles.

student = load_student(Path("run"))
fused = fuse(student, a, b)
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from storage.errors import InputError
from train.checkpoint import read_checkpoint, read_student
from train.config import LARGEST_SEED
from train.diffusion import sample
from train.model import Student

Image = NDArray[np.float32]
Fuse = Callable[[Image, Image], Image]
"""From the lumas of a pair to the fused one, float32 `(H, W)` in [0, 1]."""

NOISE_SIDE = 256
"""Where sampling starts: one square of noise, repeated in both directions, so that it does not depend on the size nor on the tile."""

TILE, OVERLAP = 768, 96  # px; normalisation and attention see a whole tile, so neighbours differ a little, and fade into each other


def load_student(folder: Path, device: str = "cpu") -> Student:
    """The student of a run (its best checkpoint, else its newest) or of one checkpoint, ready to fuse.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    return read_student(read_checkpoint(folder)).to(device).eval()


def fuse(
    student: Student, a: Image, b: Image, *, steps: int | None = None, seed: int = 0, tile: int = TILE, overlap: int = OVERLAP
) -> Image:
    """The student's fusion of two lumas.

    Args:
        student: as from `load_student`.
        a: float32 `(H, W)` in [0, 1].
        b: likewise, of equal size.
        steps: of the sampler, 1 to 50; the network's own number unless given.
        seed: of the noise that sampling starts from.
        tile: images with a longer side are fused in tiles of this many pixels.
        overlap: pixels that neighbouring tiles share; they fade into each other there.

    Returns:
        float32 `(H, W)` in [0, 1].

    Raises:
        InputError: the sizes differ, or a number is out of range.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"the sources are {a.shape} and {b.shape}; expected two lumas of one size (H, W)")
    if not 0 <= overlap < tile:
        raise InputError(f"tiles of {tile} px cannot overlap by {overlap} px; make the overlap smaller")
    steps = student.network.steps if steps is None else steps
    device = next(student.parameters()).device
    sources = torch.stack([torch.tensor(one, dtype=torch.float32) for one in (a, b)]).unsqueeze(1) * 2 - 1
    fused, weight = torch.zeros(a.shape), torch.zeros(a.shape)
    for rows, fade_rows in cut(a.shape[0], tile, overlap):
        for columns, fade_columns in cut(a.shape[1], tile, overlap):
            noise = make_noise(seed, rows, columns)
            with torch.inference_mode():
                first, second = sources[:, None, :, rows, columns].to(device)
                part = fuse_tile(student, first, second, noise.to(device), steps)
            fade = torch.outer(fade_rows, fade_columns)
            fused[rows, columns] += part.float().cpu() * fade
            weight[rows, columns] += fade
    return ((fused / weight + 1) / 2).clamp(0, 1).numpy()


def fuse_tile(student: Student, a: Tensor, b: Tensor, noise: Tensor, steps: int) -> Tensor:
    """One tile, sources and noise `(1, 1, h, w)`; the fused image `(h, w)` in [-1, 1]."""
    height, width = a.shape[-2:]
    margins = (0, -width % student.multiple, 0, -height % student.multiple)
    a, b, noise = (functional.pad(one, margins, mode="replicate") for one in (a, b, noise))
    return sample(student, a, b, noise, steps)[0, 0, :height, :width]


def cut(side: int, tile: int, overlap: int) -> Iterator[tuple[slice, Tensor]]:
    """The tiles along one side, evenly spread, with how much each pixel counts: less towards a neighbour, never nothing."""
    if side <= tile:
        yield slice(0, side), torch.ones(side)
        return
    count = -(-(side - overlap) // (tile - overlap))
    for start in np.linspace(0, side - tile, count).round().astype(int).tolist():
        fade = torch.ones(tile)
        ramp = torch.arange(1, overlap + 1) / (overlap + 1)
        if start > 0:
            fade[:overlap] = ramp
        if start + tile < side:
            fade[tile - overlap :] = ramp.flip(0)
        yield slice(start, start + tile), fade


def make_noise(seed: int, rows: slice, columns: slice) -> Tensor:
    """The noise of a window of an image, `(1, 1, h, w)`: the same at the same place of every image."""
    if not 0 <= seed < LARGEST_SEED:
        raise InputError(f"seed is {seed}; it must be 0 or more, and below {LARGEST_SEED}")
    square = torch.randn((NOISE_SIDE, NOISE_SIDE), generator=torch.Generator().manual_seed(seed))
    across = torch.arange(columns.start, columns.stop) % NOISE_SIDE
    return square[torch.arange(rows.start, rows.stop) % NOISE_SIDE][:, across][None, None]
