"""The cartoon minimises what it says it minimises."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle

from prior.arrays import Image
from prior.steps.cartoon import draw_cartoon


def draw_scene(shape: tuple[int, int] = (60, 47)) -> Image:
    """Two flat areas and fine noise."""
    scene = np.where(np.arange(shape[1]) < 20, 0.2, 0.8) + 0.05 * np.random.default_rng(0).standard_normal(shape)
    return scene.astype(np.float32)


def measure_energy(cartoon: Image, image: Image, strength: float) -> float:
    u, f = cartoon.astype(np.float64), image.astype(np.float64)
    down = np.diff(u, axis=0, append=u[-1:])
    right = np.diff(u, axis=1, append=u[:, -1:])
    variation: NDArray[np.float64] = np.hypot(down, right)
    return float(variation.sum() + ((u - f) ** 2).sum() / (2 * strength))


@pytest.mark.parametrize("strength", [0.05, 0.3])
def test_reaches_the_minimum_that_scikit_image_finds(strength: float) -> None:
    image = draw_scene()
    theirs = denoise_tv_chambolle(image.astype(np.float64), weight=strength, eps=1e-12, max_num_iter=2000)
    lowest = measure_energy(theirs, image, strength)
    ours = [measure_energy(draw_cartoon(image, strength, passes), image, strength) for passes in (10, 50, 3000)]
    assert ours[0] > ours[1] > ours[2]
    assert ours[2] == pytest.approx(lowest, rel=2e-3)


def test_keeps_the_edge_and_loses_the_noise() -> None:
    image = draw_scene()
    cartoon = draw_cartoon(image, 0.1, 100)
    assert cartoon[:, 22:].mean() - cartoon[:, :18].mean() > 0.55
    assert ndimage.laplace(cartoon)[5:-5, 25:-5].std() < 0.1 * ndimage.laplace(image)[5:-5, 25:-5].std()
    assert cartoon.mean() == pytest.approx(image.mean(), abs=1e-4)


def test_nothing_changes_without_strength_or_without_variation() -> None:
    image, flat = draw_scene(), np.full((20, 30), 0.3, np.float32)
    np.testing.assert_array_equal(draw_cartoon(image, 0, 50), image)
    np.testing.assert_array_equal(draw_cartoon(flat, 0.4, 50), flat)


def test_takes_views_and_leaves_them_alone() -> None:
    image = draw_scene((40, 40))
    image.setflags(write=False)
    np.testing.assert_array_equal(draw_cartoon(image[::2, ::2], 0.2, 20), draw_cartoon(image[::2, ::2].copy(), 0.2, 20))
