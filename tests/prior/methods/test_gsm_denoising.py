"""GSM denoising fuses noisy sources into an image with less noise, and clean ones like any other method."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage
from skimage import data

from prior.arrays import Image, luma, to_image
from prior.methods.average import fuse_average
from prior.methods.gsm_denoising import _find_noise, _fuse_cartoons, _fuse_textures, fuse_gsm_denoising
from prior.methods.laplacian_pyramid import fuse_laplacian_pyramid
from prior.registry import Fuse
from prior.steps.groups import find_groups

Doubles = NDArray[np.float64]
WINDOW = np.s_[100:212, 100:228]  # of the real pairs


def read_luma(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return to_image(luma(np.asarray(picture.convert("RGB"))))[WINDOW].copy()


def draw_pair() -> tuple[Image, Image]:
    """A photograph, sharp on the left in one source and on the right in the other."""
    scene = (data.camera()[60:172, 150:278] / 255).astype(np.float32)
    blurred = ndimage.gaussian_filter(scene, 2.5)
    left = np.arange(scene.shape[1]) < 64
    return np.where(left, scene, blurred), np.where(left, blurred, scene)


def add_noise(image: Image, deviation: int, seed: int) -> Image:
    noise = deviation * np.random.default_rng(seed).standard_normal(image.shape)
    return to_image(np.clip(np.rint(255 * image + noise), 0, 255).astype(np.uint8))


def compare(fuse: Fuse, a: Image, b: Image, deviation: int) -> float:
    """PSNR of the fusion of the noisy pair against that of the clean one, by the same method, dB."""
    clean, noisy = fuse(a, b), fuse(add_noise(a, deviation, 0), add_noise(b, deviation, 1))
    return float(-10 * np.log10(np.mean((np.clip(clean, 0, 1) - np.clip(noisy, 0, 1)) ** 2)))


@pytest.mark.parametrize("deviation", [10, 20])
def test_is_cleaner_than_methods_that_do_not_denoise(deviation: int) -> None:
    a, b = draw_pair()
    ours = compare(fuse_gsm_denoising, a, b, deviation)
    assert ours > compare(fuse_average, a, b, deviation) + 1.5
    assert ours > compare(fuse_laplacian_pyramid, a, b, deviation) + 4


@pytest.mark.parametrize(("folder", "first", "second", "pair"), [("vifb", "ir", "vis", "elecbike"), ("lytro", "a", "b", "lytro_03")])
def test_is_cleaner_on_real_pairs(shared: Path, folder: str, first: str, second: str, pair: str) -> None:
    a, b = (read_luma(next((shared / "data" / folder / side).glob(f"{pair}.*"))) for side in (first, second))
    ours = compare(fuse_gsm_denoising, a, b, 20)
    assert ours > compare(fuse_average, a, b, 20) + 3
    assert ours > compare(fuse_laplacian_pyramid, a, b, 20) + 6


def test_keeps_what_is_sharp_in_either_source() -> None:
    a, b = draw_pair()
    scene = np.where(np.arange(128) < 64, a, b)
    error = np.mean((fuse_gsm_denoising(a, b) - scene) ** 2)
    assert error < 0.35 * np.mean((fuse_average(a, b) - scene) ** 2)


def test_a_clean_image_fused_with_itself_comes_back() -> None:
    scene = np.tile(np.linspace(0.2, 0.8, 60, dtype=np.float32), (50, 1))
    scene[10:30, 20:40] += 0.1
    assert _find_noise(scene) == 0
    np.testing.assert_allclose(fuse_gsm_denoising(scene, scene.copy()), scene, atol=1e-5)


def test_sources_smaller_than_a_patch_are_averaged() -> None:
    a, b = np.random.default_rng(0).random((2, 5, 40), np.float32)
    np.testing.assert_array_equal(fuse_gsm_denoising(a, b), fuse_average(a, b))


def shrink_naively(images: tuple[Doubles, Doubles], guide: Doubles, noise: tuple[float, float], penalty: float) -> Doubles:
    """The first image, the second and their fusion, component by component in float64; c1 is `penalty`, c2 a quarter of it."""
    groups = find_groups(guide.astype(np.float32), float(np.hypot(*noise)))
    sums, counts = np.zeros((3, *guide.shape)), np.zeros(guide.shape)
    for rows, columns, weights in zip(groups.rows, groups.columns, groups.weights.astype(np.float64), strict=True):
        places = [np.s_[row : row + 6, column : column + 6] for row, column in zip(rows, columns, strict=True)]
        patches = np.stack([[image[place].ravel() for place in places] for image in images])
        means = np.einsum("n,snp->sp", weights, patches)
        patches -= means[:, None]
        basis = np.linalg.eigh(np.einsum("snp,snq->pq", patches, patches))[1]
        components = patches @ basis
        for component, deviation in zip(components, noise, strict=True):
            for numbers in component.T:
                energy, variance = numbers @ numbers, deviation**2
                first = np.sqrt(max(energy / len(places) - variance, 1e-12))
                roots = np.roots([2 * energy / first**2, -2 * energy / first, penalty * variance])  # of the derivative, times the scale
                scale = roots.real.max() if np.isreal(roots).all() else 0
                numbers *= scale**2 / (scale**2 + 0.25 * penalty * variance)
        left = (components**2).sum(axis=1)
        stronger = np.argmax((means**2).sum(axis=1))
        shrunk = np.stack([*components, np.where(left[0] >= left[1], *components)]) @ basis.T + means[[0, 1, stronger], None]
        for place, patch in zip(places, shrunk.transpose(1, 0, 2), strict=True):
            sums[:, *place] += patch.reshape(3, 6, 6)
            counts[place] += 1
    return sums / counts


def test_textures_pass_the_shrinkage_twice() -> None:
    rng = np.random.default_rng(0)
    waves = 0.2 * np.sin(np.arange(25) / 2) * np.cos(np.arange(22) / 3)[:, None]
    a, b = waves + 0.05 * rng.standard_normal((22, 25)), 0.5 * waves + 0.04 * rng.standard_normal((22, 25))
    noise, penalty = (0.05, 0.04), 2**0.5 * 1.9
    first_a, first_b, _ = shrink_naively((a, b), a + b, noise, penalty)
    again_a, again_b = first_a + 0.1 * (a - first_a), first_b + 0.1 * (b - first_b)
    left = tuple(0.85 * np.sqrt(abs(one**2 - np.mean((x - y) ** 2))) for one, x, y in ((0.05, a, again_a), (0.04, b, again_b)))
    assert min(left) > 5 / 255  # the penalty is the same again
    expected = shrink_naively((again_a, again_b), first_a + first_b, (left[0], left[1]), penalty)[2]
    fused = _fuse_textures(a.astype(np.float32), b.astype(np.float32), noise)
    np.testing.assert_allclose(fused, expected, atol=2e-4)


def test_cartoons_are_weighted_by_their_edges() -> None:
    flat, step = np.full((120, 120), 0.5, np.float32), np.full((120, 120), 0.2, np.float32)
    step[:, 60:] = 0.9
    np.testing.assert_allclose(_fuse_cartoons(flat, np.full_like(flat, 0.1)), 0.3, atol=1e-6)
    fused = _fuse_cartoons(flat, step)
    assert np.abs(fused - step)[:, 55:65].max() < np.abs(fused - step)[:, [2, -3]].min()
