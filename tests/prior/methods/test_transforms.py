"""Contrast pyramid, stationary and complex wavelets and MSVD compute what they say, and MSVD what was published."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from prior.arrays import Image, to_image
from prior.methods.contrast_pyramid import FLOOR, fuse_contrast_pyramid
from prior.methods.dtcwt import fuse_dtcwt
from prior.methods.msvd import fuse_msvd
from prior.methods.ratio_pyramid import fuse_ratio_pyramid
from prior.methods.swt import fuse_swt
from prior.registry import Fuse
from prior.steps.dtcwt import Bands, decompose, reconstruct
from prior.steps.pyramid import double, halve

RIM = 8  # px at the border that published programs treat in ways of their own


def draw(seed: int, shape: tuple[int, int] = (57, 43)) -> Image:
    """Clouds with texture."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 3)
    return ((clouds - clouds.min()) / np.ptp(clouds) * 0.7 + 0.2 * rng.random(shape)).astype(np.float32)


def read(path: Path) -> Image:
    """The luma of a picture."""
    return to_image(np.asarray(Pictures.open(path)))


@pytest.mark.parametrize("fuse", [fuse_contrast_pyramid, fuse_swt, fuse_dtcwt])
def test_takes_each_half_from_the_source_that_is_sharp_there(fuse: Fuse) -> None:
    scene = draw(3, (96, 128))
    blurred = ndimage.gaussian_filter(scene, 3)
    left = np.arange(128) < 64
    a, b = np.where(left, scene, blurred), np.where(left, blurred, scene)
    away = np.abs(np.arange(128) - 64) > 20
    error = np.abs(fuse(a, b) - scene)[:, away].mean()
    assert error < 0.75 * np.abs(0.5 * (a + b) - scene)[:, away].mean()


@pytest.mark.parametrize("fuse", [fuse_contrast_pyramid, fuse_swt, fuse_dtcwt, fuse_msvd])
def test_does_not_prefer_a_source_for_its_place(fuse: Fuse) -> None:
    a, b = draw(0), draw(1)
    np.testing.assert_allclose(fuse(a, b), fuse(b, a), atol=2e-6)


# Contrast pyramid.


def test_contrast_pyramid_of_one_level_is_the_larger_contrast_on_the_brighter_half() -> None:
    a, b = draw(4), draw(5)
    coarse_a, coarse_b = halve(a) + FLOOR, halve(b) + FLOOR
    surround_a, surround_b = double(coarse_a, a.shape), double(coarse_b, a.shape)
    weber_a, weber_b = (a + FLOOR) / surround_a - 1, (b + FLOOR) / surround_b - 1
    weber = np.where(np.abs(weber_a) > np.abs(weber_b), weber_a, weber_b)
    light = double(np.maximum(coarse_a, coarse_b), a.shape)
    np.testing.assert_allclose(fuse_contrast_pyramid(a, b, levels=1), np.clip(light * (1 + weber) - FLOOR, 0, 1), atol=2e-6)


def test_contrast_pyramid_keeps_a_glow_as_bright_as_it_is_where_the_ratio_pyramid_halves_it() -> None:
    rows, columns = np.indices((128, 128)) - 64
    glow = np.exp(-(rows**2 + columns**2) / (2 * 20**2)).astype(np.float32)
    dark = np.zeros_like(glow)
    assert fuse_contrast_pyramid(glow, dark)[64, 64] > 0.95
    assert fuse_ratio_pyramid(glow, dark)[64, 64] < 0.8


def test_contrast_pyramid_compares_contrast_not_difference() -> None:
    across = np.broadcast_to(np.where(np.arange(64) % 4 < 2, 1, -1), (64, 64)).astype(np.float32)
    dark, bright = 0.1 + 0.05 * across, 0.9 + 0.06 * across.T
    fused = fuse_contrast_pyramid(dark, bright)
    assert np.corrcoef(fused.ravel(), dark.ravel())[0, 1] > 0.9


# Stationary wavelets.


def take_apart_naively(image: NDArray[np.float64], step: int) -> list[NDArray[np.float64]]:
    """One undecimated Haar level at this step, the borders joined: coarse image and three bands, orthonormal but for the redundancy."""
    down, right = (np.roll(image, -step, axis) for axis in (0, 1))
    both = np.roll(down, -step, 1)
    return [(image + s * right + t * down + s * t * both) / 4 for t in (1, -1) for s in (1, -1)]


def fuse_naively(a: NDArray[np.float64], b: NDArray[np.float64], levels: int, step: int = 1) -> NDArray[np.float64]:
    """The rule as a recursion over single levels, each put together from all four ways to pair pixels."""
    if levels == 0:
        return (a + b) / 2
    bands_a, bands_b = take_apart_naively(a, step), take_apart_naively(b, step)
    low = fuse_naively(bands_a[0], bands_b[0], levels - 1, 2 * step)
    bands = [low, *(np.where(np.abs(x) > np.abs(y), x, y) for x, y in zip(bands_a[1:], bands_b[1:], strict=True))]
    fused = np.zeros_like(a)
    for band, (t, s) in zip(bands, [(1, 1), (1, -1), (-1, 1), (-1, -1)], strict=True):
        fused += (band + s * np.roll(band, step, 1) + t * np.roll(band, step, 0) + s * t * np.roll(band, (step, step), (0, 1))) / 4
    return fused


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_swt_keeps_the_larger_haar_coefficient_at_every_place(levels: int) -> None:
    a, b = draw(6, (40, 48)), draw(7, (40, 48))
    rim = 16
    expected = fuse_naively(*(np.pad(each.astype(np.float64), rim, mode="reflect") for each in (a, b)), levels)[rim:-rim, rim:-rim]
    np.testing.assert_allclose(fuse_swt(a, b, levels=levels), expected, atol=3e-6)


def test_swt_moves_with_the_image() -> None:
    a, b = draw(8, (160, 160)), draw(9, (160, 160))
    whole, moved = fuse_swt(a, b, levels=3), fuse_swt(a[3:, 5:], b[3:, 5:], levels=3)
    np.testing.assert_allclose(moved[24:-24, 24:-24], whole[3:, 5:][24:-24, 24:-24], atol=3e-6)


# Complex wavelets.


def test_dtcwt_takes_the_longer_coefficient_and_averages_the_rest() -> None:
    a, b = draw(10), draw(11)
    of_a, of_b = decompose(a, 2), decompose(b, 2)
    details = tuple(np.where(np.abs(x) > np.abs(y), x, y) for x, y in zip(of_a.details, of_b.details, strict=True))
    expected = reconstruct(Bands((of_a.low + of_b.low) / 2, details, of_a.shape))
    np.testing.assert_allclose(fuse_dtcwt(a, b, levels=2), expected, atol=2e-6)


def test_dtcwt_averages_what_is_equally_large() -> None:
    image = draw(12) - np.float32(0.5)
    np.testing.assert_allclose(fuse_dtcwt(image, -image), np.zeros_like(image), atol=2e-6)


# MSVD.


def cut_naively(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The four pixels of each block, block by block."""
    blocks = [image[i : i + 2, j : j + 2].ravel() for i in range(0, image.shape[0], 2) for j in range(0, image.shape[1], 2)]
    return np.array(blocks).T


def test_msvd_is_the_rule_of_its_paper_in_singular_vectors() -> None:
    a, b = draw(13, (20, 26)), draw(14, (20, 26))
    blocks = [cut_naively(each.astype(np.float64)) for each in (a, b)]
    axes_a, axes_b = (np.linalg.svd(each, full_matrices=False).U for each in blocks)
    axes_b = axes_b * np.sign((axes_a * axes_b).sum(axis=0))
    along_a, along_b = axes_a.T @ blocks[0], axes_b.T @ blocks[1]
    along = np.where(np.abs(along_a) > np.abs(along_b), along_a, along_b)
    along[0] = (along_a[0] + along_b[0]) / 2
    fused = fuse_msvd(a, b).astype(np.float64)
    np.testing.assert_allclose(cut_naively(fused), (axes_a + axes_b) / 2 @ along, atol=2e-6)


@pytest.mark.parametrize("shape", [(20, 26), (21, 27)], ids=str)
@pytest.mark.parametrize("level", [0.0, 0.4])
def test_msvd_keeps_the_detail_of_the_only_source_that_has_any(shape: tuple[int, int], level: float) -> None:
    a, flat = draw(15, shape), np.full(shape, level, np.float32)
    coarse = a.copy()
    for i, j in np.ndindex(shape[0] // 2, shape[1] // 2):
        coarse[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = a[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
    inside = np.s_[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    expected = (a - 0.5 * coarse + 0.5 * level)[inside]
    np.testing.assert_allclose(fuse_msvd(a, flat)[inside], expected, atol=0.02)


def test_msvd_is_what_was_published(shared: Path) -> None:
    folder = shared / "data" / "lytro"
    for pair in ("lytro_05", "lytro_18"):
        paths = [next((folder / side).glob(f"{pair}.*")) for side in ("a", "b", "fused/MSVD")]
        a, b, published = (read(path)[RIM:-RIM, RIM:-RIM] for path in paths)
        assert np.corrcoef(fuse_msvd(a, b).ravel(), published.ravel())[0, 1] > 0.99
