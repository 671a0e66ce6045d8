"""Head phantoms for the medical example pairs: one map of tissues per slice, seen by an MRI, a CT and a PET scanner.

The head is an ellipse with a wavy edge; sulci are the valleys of a noise field, and grey matter is what lies near them.
Lengths are fractions of half the longer side, x to the right, y down from the middle of the head.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prior.arrays import Picture
from prior.example_scenes import Field, make_noise, to_picture

Tissues = NDArray[np.uint8]


class Tissue(IntEnum):
    """The values of a tissue map, in the order of the scanners' tables below."""

    AIR, SKIN, FAT, BONE, MARROW, FLUID, GREY, WHITE, EYE, MUSCLE, TUMOUR, BLEEDING, STROKE = range(13)


#                        air  skin  fat   bone  marrow fluid grey  white eye   muscle tumour bleeding stroke
MRI = {
    "t1": np.array((0.01, 0.45, 0.90, 0.05, 0.30, 0.09, 0.36, 0.50, 0.12, 0.34, 0.62, 0.58, 0.24)),
    "t2": np.array((0.01, 0.25, 0.50, 0.03, 0.22, 0.92, 0.52, 0.34, 0.97, 0.20, 0.80, 0.16, 0.78)),
}
CT = np.array((0.00, 0.20, 0.06, 1.00, 0.92, 0.20, 0.40, 0.35, 0.28, 0.34, 0.44, 0.72, 0.24))
PET = np.array((0.00, 0.05, 0.02, 0.03, 0.06, 0.06, 1.00, 0.34, 0.04, 0.12, 1.50, 0.04, 0.10))

#      activity, red, green, blue of the pseudo-colour map
HOT = np.array(
    (
        (0.00, 0.0, 0.0, 0.0),
        (0.10, 0.0, 0.0, 0.0),
        (0.30, 0.05, 0.2, 0.75),
        (0.45, 0.15, 0.5, 0.85),
        (0.58, 1.0, 1.0, 0.2),
        (0.78, 1.0, 0.5, 0.0),
        (1.00, 1.0, 0.0, 0.15),
    )
)

Ellipse = tuple[Tissue, float, float, float, float, float]
"""Tissue, x, y, half width, half height, tilt in degrees (clockwise)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One axial slice.

    Attributes:
        height, width: pixels.
        seed: of its noise fields.
        mri: the weighting of its MRI picture, "t1" or "t2".
        sulci: how wide its sulci are.
        paired: ellipses that stand on both sides, given for the right half of the picture.
        single: ellipses painted after those.
    """

    height: int
    width: int
    seed: int
    mri: str
    sulci: float
    paired: tuple[Ellipse, ...]
    single: tuple[Ellipse, ...]


T = Tissue
FACE: tuple[Ellipse, ...] = (
    (T.FAT, 0.3, -0.62, 0.2, 0.22, -12),
    (T.EYE, 0.3, -0.66, 0.115, 0.125, 0),
    (T.MUSCLE, 0.2, -0.45, 0.02, 0.1, -20),
    (T.BONE, 0.36, -0.34, 0.26, 0.035, 32),
    (T.BONE, 0.34, 0.16, 0.26, 0.05, -28),
    (T.AIR, 0.5, 0.1, 0.07, 0.04, -28),
    (T.BONE, 0.13, -0.62, 0.018, 0.2, 0),
    (T.AIR, 0.055, -0.62, 0.04, 0.17, 0),
)
STEM: tuple[Ellipse, ...] = ((T.WHITE, 0.09, 0.02, 0.12, 0.13, 0), (T.GREY, 0.27, -0.02, 0.05, 0.14, 20))
BASE: tuple[Ellipse, ...] = ((T.FLUID, 0, -0.16, 0.14, 0.07, 0), (T.FLUID, 0, 0.2, 0.05, 0.06, 0))
CORE: tuple[Ellipse, ...] = (
    (T.GREY, 0.2, -0.08, 0.07, 0.17, -18),
    (T.GREY, 0.12, 0.08, 0.08, 0.11, 20),
    (T.FLUID, 0.055, -0.12, 0.035, 0.12, -6),
    (T.FLUID, 0.12, -0.26, 0.05, 0.1, -38),
    (T.FLUID, 0.13, 0.2, 0.04, 0.1, -40),
    (T.FLUID, 0.19, 0.32, 0.06, 0.13, 12),
)
CROWN: tuple[Ellipse, ...] = ((T.FLUID, 0.08, -0.14, 0.055, 0.2, -8), (T.FLUID, 0.1, 0.16, 0.06, 0.2, 14))
FALX: tuple[Ellipse, ...] = ((T.FLUID, 0, -0.54, 0.012, 0.22, 0), (T.FLUID, 0, 0.54, 0.012, 0.22, 0))

CT_SLICES = (
    Slice(256, 256, 21, "t2", 0.14, CORE, (*FALX, (T.TUMOUR, 0.34, -0.3, 0.13, 0.12, 20), (T.FLUID, 0.34, -0.3, 0.05, 0.04, 0))),
    Slice(241, 217, 22, "t2", 0.16, CROWN, (*FALX, (T.STROKE, -0.4, 0.1, 0.15, 0.24, 12))),
    Slice(256, 224, 23, "t2", 0.11, (*STEM, *FACE), BASE),
    Slice(224, 200, 24, "t1", 0.13, CORE, (*FALX, (T.BLEEDING, -0.3, 0.12, 0.11, 0.14, -15), (T.BONE, 0.02, 0.17, 0.025, 0.02, 0))),
)
PET_SLICES = (
    Slice(256, 256, 31, "t2", 0.15, CORE, FALX),
    Slice(224, 192, 37, "t1", 0.13, (), (*FALX, (T.STROKE, 0.38, -0.05, 0.16, 0.22, 10))),
    Slice(233, 207, 33, "t1", 0.11, (*STEM, *FACE), BASE),
    Slice(256, 240, 34, "t2", 0.20, CROWN, (*FALX, (T.TUMOUR, -0.3, -0.38, 0.11, 0.1, 0))),
)


def make_tissues(cut: Slice) -> Tissues:
    """The tissue map of a slice, uint8 `(H, W)` of `Tissue` values."""
    rng = np.random.default_rng(cut.seed)
    y, x = np.mgrid[: cut.height, : cut.width] * 2.0 / cut.height
    y, x = y - y.mean(), x - x.mean()
    radius = np.hypot(x / 0.74, y / 0.92) + 0.006 * make_noise(rng, x.shape, cut.height / 5)
    tissues = grow_head(rng, radius, cut.sulci)
    ragged = 0.1 * make_noise(rng, x.shape, cut.height / 20)
    mirrored = tuple((tissue, -x0, y0, rx, ry, -tilt) for tissue, x0, y0, rx, ry, tilt in cut.paired)
    for tissue, x0, y0, rx, ry, tilt in (*cut.paired, *mirrored, *cut.single):
        cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        across, along = (x - x0) * cos + (y - y0) * sin, (y - y0) * cos - (x - x0) * sin
        tissues[(np.hypot(across / rx, along / ry) + ragged < 1) & (radius < 0.97)] = tissue
    return tissues


def grow_head(rng: np.random.Generator, radius: Field, sulci: float) -> Tissues:
    """Skin, skull and brain as shells of `radius` (1 at the skin); the valleys of a nearly symmetric noise field are the sulci."""
    height = len(radius)
    tissues = np.zeros(radius.shape, np.uint8)
    inner = radius + 0.006 * make_noise(rng, radius.shape, height / 6)
    for shell, edge, tissue in (
        (radius, 1.0, T.SKIN),
        (radius, 0.975, T.FAT),
        (inner, 0.935, T.BONE),
        (inner, 0.91, T.MARROW),
        (inner, 0.875, T.BONE),
        (inner, 0.845, T.FLUID),
    ):
        tissues[shell < edge] = tissue
    folds = make_noise(rng, radius.shape, height / 11)
    folds = np.abs(folds + 0.8 * folds[:, ::-1] + 0.02)
    brain = (inner < 0.825) & (folds > sulci * np.clip((radius - 0.3) / 0.3, 0, 1.6))
    depth = ndimage.distance_transform_edt(brain)
    tissues[brain] = np.where(depth < 0.016 * height, T.GREY, T.WHITE)[brain]
    return tissues


def see_mri(cut: Slice, tissues: Tissues) -> Picture:
    """The MRI picture: soft tissue in full contrast, bone black, an uneven coil."""
    rng = np.random.default_rng((cut.seed, 1))
    levels = MRI[cut.mri][tissues]
    levels = levels * (1 + 0.06 * make_noise(rng, levels.shape, cut.height / 2) + 0.05 * make_noise(rng, levels.shape, 4))
    return to_picture(np.abs(ndimage.gaussian_filter(levels, 0.6) + 0.012 * rng.standard_normal(levels.shape)))


def see_ct(cut: Slice, tissues: Tissues) -> Picture:
    """The CT picture: white bone, hardly any contrast in the brain, and the headrest."""
    rng = np.random.default_rng((cut.seed, 2))
    y, x = np.mgrid[: cut.height, : cut.width] * 2.0 / cut.height - 1
    rest = (np.abs(np.hypot(x - x.mean(), y + 0.24) - 1.2) < 0.008) & (y > 0.6)
    levels = ndimage.gaussian_filter(np.where(rest, 0.95, CT[tissues]), 0.75)
    return to_picture(levels + 0.018 * make_noise(rng, levels.shape, 3) * (levels > 0.1))


def see_pet(cut: Slice, tissues: Tissues) -> Picture:
    """The PET picture: blurred activity in pseudo-colour."""
    rng = np.random.default_rng((cut.seed, 3))
    uptake = PET[tissues] * (1 + 0.12 * make_noise(rng, tissues.shape, cut.height / 4))
    activity = ndimage.gaussian_filter(uptake, cut.height / 70) + 0.01 * make_noise(rng, tissues.shape, 6)
    return to_picture(np.stack([np.interp(activity, HOT[:, 0], HOT[:, channel]) for channel in (1, 2, 3)], axis=2))


def make_mri_ct() -> Iterator[tuple[Picture, Picture]]:
    """The MRI and the CT picture of every slice."""
    for cut in CT_SLICES:
        tissues = make_tissues(cut)
        yield see_mri(cut, tissues), see_ct(cut, tissues)


def make_mri_pet() -> Iterator[tuple[Picture, Picture]]:
    """The MRI and the PET picture of every slice."""
    for cut in PET_SLICES:
        tissues = make_tissues(cut)
        yield see_mri(cut, tissues), see_pet(cut, tissues)
