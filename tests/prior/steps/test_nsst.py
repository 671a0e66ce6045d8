"""The shearlet transform: nothing is lost, bands stay where the image is, and each tells its scale and direction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from prior.arrays import Image
from prior.steps import nsst
from prior.steps.nsst import DIRECTIONS, Bands, add_up, combine, crop, decompose, mirror, reconstruct

SIZES = [(16, 16), (17, 40), (41, 41), (57, 43), (127, 93), (1, 5)]


def draw(shape: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).random(shape, np.float32)


def take_apart(image: Image, directions: tuple[int, ...] = DIRECTIONS) -> tuple[Image, list[NDArray[np.float32]]]:
    """The low band and, per scale, all bands at once."""
    bands = decompose(image, directions)
    return bands.low, [np.stack(list(scale)) for scale in bands.details]


def smooth(mirrored: NDArray[np.float64], scales: int) -> NDArray[np.float64]:
    """The binomial filter with ever larger holes, on an image whose borders join."""
    for scale in range(scales):
        line = np.zeros(4 * 2**scale + 1)
        line[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        for axis in (0, 1):
            mirrored = ndimage.convolve1d(mirrored, line, axis, mode="wrap")
    return mirrored


def keep_only(image: Image, scale: int) -> Bands:
    low, stacks = take_apart(image)
    details = tuple(stack if number == scale else np.zeros_like(stack) for number, stack in enumerate(stacks))
    return Bands(np.zeros_like(low), details, (image.shape[0], image.shape[1]))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    directions=st.lists(st.integers(1, 16), min_size=1, max_size=5).map(tuple),
    seed=st.integers(0, 9),
)
def test_puts_together_what_it_took_apart(height: int, width: int, directions: tuple[int, ...], seed: int) -> None:
    image = draw((height, width), seed)
    np.testing.assert_allclose(reconstruct(decompose(image, directions)), image, atol=3e-6)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_bands_are_float32_of_the_mirrored_size(shape: tuple[int, int]) -> None:
    low, details = take_apart(draw(shape))
    assert [len(stack) for stack in details] == list(DIRECTIONS)
    for band in (low, *details):
        assert band.dtype == np.float32
        assert band.shape[-2:] == mirror(draw(shape)).shape
    bands = decompose(draw(shape))
    assert bands.shape == shape
    assert reconstruct(bands).dtype == np.float32


def test_images_side_by_side_are_taken_apart_alike() -> None:
    images = np.stack([draw((41, 57), 1), draw((41, 57), 2)])
    bands = decompose(images)
    for number, image in enumerate(images):
        low, details = take_apart(image)
        np.testing.assert_array_equal(bands.low[number], low)
        assert len(bands.details) == len(details)
    for scale, *expected in zip(bands.details, *(take_apart(image)[1] for image in images), strict=True):
        np.testing.assert_array_equal(np.stack(list(scale), axis=1), expected)
    np.testing.assert_allclose(reconstruct(decompose(images)), images, atol=3e-6)


def test_what_puts_the_bands_back_sums_to_one() -> None:
    shape = (96, 128)
    total = nsst._let_pass(shape, 4) ** 2
    for level, count in enumerate(reversed(DIRECTIONS)):
        total += add_up(nsst._make_windows(shape, level, count)) * (nsst._let_pass(shape, level) + nsst._let_pass(shape, level + 1))
    np.testing.assert_allclose(total, 1, atol=2e-6)


def test_low_band_is_the_image_smoothed_with_holes() -> None:
    image = draw((70, 81))
    np.testing.assert_allclose(decompose(image).low, smooth(mirror(image).astype(np.float64), 4), atol=2e-6)


@pytest.mark.parametrize("scale", range(4))
def test_the_bands_of_a_scale_sum_to_what_a_smoothing_takes_away(scale: int) -> None:
    image = draw((70, 81))
    mirrored = mirror(image).astype(np.float64)
    expected = smooth(mirrored, 3 - scale) - smooth(mirrored, 4 - scale)
    np.testing.assert_allclose(take_apart(image)[1][scale].sum(axis=0), expected, atol=2e-6)


@pytest.mark.parametrize("scale", range(4))
def test_a_scale_comes_back_smoothed(scale: int) -> None:
    image = draw((70, 81))
    mirrored = mirror(image).astype(np.float64)
    finer, coarser = (smooth(smooth(mirrored, scales), scales) for scales in (3 - scale, 4 - scale))
    expected = crop((finer - coarser).astype(np.float32), (70, 81))
    np.testing.assert_allclose(reconstruct(keep_only(image, scale)), expected, atol=3e-6)


def test_every_band_is_a_symmetric_filter_so_that_edges_stay_in_place() -> None:
    point = np.zeros((96, 96), np.float32)
    point[48, 48] = 1
    low, details = take_apart(point)
    (row, column), (height, width) = np.argwhere(mirror(point))[0], low.shape
    for band in (low, *np.concatenate(details)):
        centred = np.roll(band, (-row, -column), (0, 1))
        turned = centred[np.ix_(-np.arange(height) % height, -np.arange(width) % width)]
        np.testing.assert_allclose(centred, turned, atol=1e-7)


@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (5, -7)], ids=str)
def test_bands_move_with_the_image(shift: tuple[int, int]) -> None:
    image = np.zeros((150, 150), np.float32)  # what moves stays clear of the mirrored rim
    image[60:90, 60:90] = draw((30, 30))
    (still, details), (moved, others) = take_apart(image), take_apart(np.roll(image, shift, (0, 1)))
    for band, other in zip((still, *details), (moved, *others), strict=True):
        np.testing.assert_allclose(np.roll(band, shift, (-2, -1)), other, atol=1e-6)


@pytest.mark.parametrize("scale", range(4))
@pytest.mark.parametrize("turn", [0, 0.25, 0.5, 0.75])
def test_a_grating_lies_in_one_direction_of_one_scale(scale: int, turn: float) -> None:
    frequency, angle = 0.32 / 2 ** (3 - scale), np.pi * turn  # cycles per px, at the middle of the scale and of a fan
    y, x = np.mgrid[:192, :192]
    grating = np.cos(2 * np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y)).astype(np.float32)
    _, details = take_apart(grating)
    energies = [np.array([(crop(band, (192, 192))[64:-64, 64:-64] ** 2).mean() for band in stack]) for stack in details]
    assert np.argmax([energy.sum() for energy in energies]) == scale
    directions = energies[scale]
    assert np.argmax(directions) == round(turn * len(directions))
    assert directions.max() > 0.6 * directions.sum()


def test_a_flat_image_has_a_low_band_only() -> None:
    low, details = take_apart(np.full((41, 57), 0.7, np.float32))
    np.testing.assert_allclose(low, 0.7, atol=1e-6)
    for stack in details:
        np.testing.assert_allclose(stack, 0, atol=1e-6)


def test_bands_fade_before_they_reach_flat_ground_far_away() -> None:
    image = np.zeros((256, 256), np.float32)
    image[96:160, 96:160] = 1
    y, x = np.mgrid[:256, :256]
    away = np.maximum(np.maximum(96 - y, y - 159), np.maximum(96 - x, x - 159))
    for scale, stack in enumerate(take_apart(image)[1]):
        reach = 8 * 2 ** (3 - scale)  # px: the length of the shear filters of the scale
        for band in stack:
            cropped = crop(band, (256, 256))
            assert np.abs(cropped[away > reach]).max() < 0.003 * np.abs(stack).max()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_crop_takes_the_rim_away(shape: tuple[int, int]) -> None:
    image = draw(shape)
    mirrored = mirror(image)
    np.testing.assert_array_equal(crop(mirrored, shape), image)
    top, bottom = (mirrored.shape[0] - shape[0]) // 2, -(-(mirrored.shape[0] - shape[0]) // 2)
    left, right = (mirrored.shape[1] - shape[1]) // 2, -(-(mirrored.shape[1] - shape[1]) // 2)
    assert min(top, left) >= 16
    np.testing.assert_array_equal(mirrored, np.pad(image, ((top, bottom), (left, right)), "reflect"))


def test_images_of_nearly_one_size_share_their_windows() -> None:
    take_apart(draw((60, 70)))
    before = nsst._keep_windows.cache_info()
    take_apart(draw((58, 66)))
    after = nsst._keep_windows.cache_info()
    assert after.misses == before.misses
    assert after.hits == before.hits + 4


def test_windows_of_large_images_are_not_kept_and_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw((60, 70))
    low, details = take_apart(image)
    before = nsst._keep_windows.cache_info()
    monkeypatch.setattr(nsst, "KEPT_PIXELS", 96 * 128 - 1)
    others = take_apart(image)
    assert nsst._keep_windows.cache_info() == before
    np.testing.assert_array_equal(others[0], low)
    for stack, other in zip(details, others[1], strict=True):
        np.testing.assert_array_equal(stack, other)


def test_kept_windows_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        nsst._keep_windows((64, 64), 0, 4)[0, 0, 0] = 1


def test_combine_fuses_band_by_band_coarse_to_fine_and_holds_one_at_a_time() -> None:
    a, b = draw((41, 57), 1), draw((41, 57), 2)
    (low_a, details_a), (low_b, details_b) = (take_apart(image, (2, 4, 6)) for image in (a, b))
    seen: list[Image] = []

    def add(x: Image, y: Image) -> Image:
        seen.append(x)
        return x + y

    fused = combine(a, b, lambda x, y: x - y, add, (2, 4, 6))
    np.testing.assert_array_equal(seen, np.concatenate(details_a))
    details = tuple(x + y for x, y in zip(details_a, details_b, strict=True))
    np.testing.assert_array_equal(fused, reconstruct(Bands(low_a - low_b, details, (41, 57))))
    asked = iter(decompose(a).details[0])
    assert next(asked).shape == low_a.shape  # bands are made as they are asked for
    assert len(list(asked)) == DIRECTIONS[0] - 1
