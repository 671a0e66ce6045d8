"""The contourlet-type transform: nothing is lost, the low band keeps its half of the spectrum, and each direction has its band."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prior.arrays import Image
from prior.steps import nsct
from prior.steps.nsct import decompose
from prior.steps.nsst import fall, mirror, open_fans


def draw(shape: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).random(shape, np.float32)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(height=st.integers(1, 130), width=st.integers(1, 130), seed=st.integers(0, 9))
def test_bands_add_up_to_the_image(height: int, width: int, seed: int) -> None:
    image = draw((height, width), seed)
    bands = list(decompose(image))
    assert len(bands) == 5
    assert all(band.dtype == np.float32 and band.shape == image.shape for band in bands)
    np.testing.assert_allclose(sum(bands), image, atol=2e-6)


def test_images_side_by_side_are_taken_apart_alike() -> None:
    images = np.stack([draw((41, 57), 1), draw((41, 57), 2)])
    for both, *alone in zip(decompose(images), *map(decompose, images), strict=True):
        np.testing.assert_array_equal(both, np.stack(alone))


def test_low_pass_keeps_half_of_the_band_and_nothing_of_the_highest_frequencies() -> None:
    low, *fans = nsct._make_windows((64, 64))
    rows, columns = np.abs(np.fft.fftfreq(64))[:, None], np.fft.rfftfreq(64)[None, :]
    highest = np.maximum(rows, columns)
    assert (low[highest <= 0.25] == 1).all() and np.abs(low[highest == 0.5]).max() < 1e-12
    np.testing.assert_allclose(low[np.isclose(highest, 0.375)], 0.5, atol=1e-6)
    np.testing.assert_allclose(low + sum(fans), 1, atol=1e-6)
    assert all((fan >= 0).all() for fan in fans)


@pytest.mark.parametrize(("turn", "band"), [(0, 1), (45, 2), (90, 3), (135, 4)])
def test_each_direction_has_its_band(turn: int, band: int) -> None:
    y, x = np.indices(mirror(np.zeros((64, 64), np.float32)).shape)
    wave = np.cos(2 * np.pi * 0.45 * (x * np.cos(np.deg2rad(turn)) + y * np.sin(np.deg2rad(turn))))
    energies = [float((part[20:-20, 20:-20] ** 2).mean()) for part in decompose(wave.astype(np.float32))]
    assert int(np.argmax(energies[1:])) + 1 == band


@pytest.mark.parametrize("count", [1, 4, 7])
def test_fans_share_every_frequency(count: int) -> None:
    np.testing.assert_allclose(sum(open_fans((48, 64), count, fall)), 1, atol=1e-12)


def test_images_of_nearly_one_size_share_their_windows() -> None:
    list(decompose(draw((60, 70))))
    before = nsct._keep_windows.cache_info()
    list(decompose(draw((58, 66))))
    after = nsct._keep_windows.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)
    with pytest.raises(ValueError, match="read-only"):
        nsct._keep_windows((96, 128))[0, 0, 0] = 1


def test_windows_of_large_images_are_not_kept_and_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw((60, 70))
    kept, before = list(decompose(image)), nsct._keep_windows.cache_info()
    monkeypatch.setattr(nsct, "KEPT_PIXELS", 96 * 128 - 1)
    np.testing.assert_array_equal(list(decompose(image)), kept)
    assert nsct._keep_windows.cache_info() == before
