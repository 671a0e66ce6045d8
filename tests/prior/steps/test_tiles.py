"""Large images tile by tile: what comes out is what the whole would give."""

import cv2
import numpy as np
import pytest

from prior.arrays import Image
from prior.methods.coupled_csc import _fuse_tile
from prior.steps.tiles import fuse_in_tiles


def draw(seed: int, shape: tuple[int, int]) -> Image:
    return cv2.GaussianBlur(np.random.default_rng(seed).random(shape, dtype=np.float32), (0, 0), 2)


@pytest.mark.parametrize("shape", [(50, 90), (96, 41), (97, 131), (130, 20)], ids=str)
def test_a_local_method_gives_the_same_in_tiles(shape: tuple[int, int]) -> None:
    def fuse(a: Image, b: Image) -> Image:
        return cv2.boxFilter(a - b, -1, (9, 9), borderType=cv2.BORDER_REFLECT)

    a, b = draw(0, shape), draw(1, shape)
    np.testing.assert_allclose(fuse_in_tiles(fuse, a, b, side=32, margin=8), fuse(a, b), atol=1e-6)


def test_no_tile_is_larger_than_it_may_be_and_small_images_are_one() -> None:
    seen: list[tuple[int, ...]] = []

    def fuse(a: Image, b: Image) -> Image:
        seen.append(a.shape)
        return a

    image = draw(0, (100, 60))
    np.testing.assert_array_equal(fuse_in_tiles(fuse, image, image, side=32, margin=8), image)
    assert len(seen) == 8 and max(map(max, seen)) <= 48
    seen.clear()
    assert fuse_in_tiles(fuse, image, image, side=84, margin=8) is image and seen == [(100, 60)]


def test_convolutional_codes_hardly_depend_on_the_tiles() -> None:
    a, b = draw(0, (210, 130)), draw(1, (210, 130))

    def fuse(x: Image, y: Image) -> Image:
        return _fuse_tile(x, y, 0.005, 0.0025, 3)

    off = 255 * np.abs(fuse_in_tiles(fuse, a, b, side=100, margin=64) - fuse(a, b))
    assert off.mean() < 0.1 and np.percentile(off, 99) < 1, "only where both sources are as active may a tile choose otherwise"
