"""Tests of train.fuse: any size, no seams, the same answer twice."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from storage.errors import InputError
from train.config import Network
from train.fuse import NOISE_SIDE, cut, fuse, make_noise
from train.model import Student

Image = NDArray[np.float32]


@pytest.fixture
def student(network: Network) -> Student:
    torch.manual_seed(3)
    student = Student(network).eval()
    with torch.no_grad():
        for one in (student.denoiser.conv_out, student.refiner.out):
            one.weight.normal_(std=0.02)
    return student


def draw(height: int, width: int, seed: int = 0) -> Image:
    rows, columns = np.mgrid[:height, :width]
    waves = 0.5 + 0.3 * np.sin(rows / (5 + seed)) * np.cos(columns / 7)
    return waves.astype(np.float32)


@pytest.mark.parametrize("size", [(41, 53), (64, 64), (100, 37), (1, 1), (300, 41)])
def test_any_size_comes_back_as_it_went_in(size: tuple[int, int], student: Student) -> None:
    a, b = draw(*size), draw(*size, seed=2)
    kept = a.copy(), b.copy()
    fused = fuse(student, a, b)
    assert fused.shape == size
    assert fused.dtype == np.float32
    assert 0 <= fused.min() <= fused.max() <= 1
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])
    assert np.array_equal(fused, fuse(student, a, b))


def test_the_seed_says_where_sampling_starts(student: Student) -> None:
    a, b = draw(48, 48), draw(48, 48, seed=2)
    assert not np.array_equal(fuse(student, a, b, seed=0), fuse(student, a, b, seed=1))


def test_tiles_fade_into_each_other(student: Student) -> None:
    """An image fused in tiles has no step at a border that the same image fused whole has not."""
    a, b = draw(96, 160), draw(96, 160, seed=2)
    whole, tiled = fuse(student, a, b), fuse(student, a, b, tile=64, overlap=24)
    assert tiled.shape == whole.shape
    for axis in (0, 1):
        assert np.abs(np.diff(tiled - whole, axis=axis)).max() < np.abs(np.diff(whole, axis=axis)).max()
    assert np.abs(tiled - whole).mean() < 0.02


@pytest.mark.parametrize("side", [65, 100, 128, 129, 1000])
def test_tiles_cover_a_side_and_overlap_enough(side: int) -> None:
    tiles = [one for one, _ in cut(side, 64, 16)]
    assert tiles[0].start == 0
    assert tiles[-1].stop == side
    assert all(one.stop - one.start == 64 for one in tiles)
    assert all(later.start + 16 <= earlier.stop for earlier, later in pairwise(tiles))
    weight = torch.zeros(side)
    for one, fade in cut(side, 64, 16):
        assert fade.min() > 0
        weight[one] += fade
    assert weight.min() > 0


def test_noise_depends_on_the_place_alone() -> None:
    whole = make_noise(5, slice(0, 600), slice(0, 300))
    part = make_noise(5, slice(280, 520), slice(100, 300))
    assert torch.equal(part, whole[:, :, 280:520, 100:300])
    assert torch.equal(whole[0, 0, 0, :40], whole[0, 0, NOISE_SIDE, :40])
    assert whole.std().item() == pytest.approx(1, abs=0.02)


def test_what_does_not_fit_is_refused(student: Student) -> None:
    with pytest.raises(InputError, match=r"\(48, 48\) and \(48, 40\)"):
        fuse(student, draw(48, 48), draw(48, 40))
    with pytest.raises(InputError, match="overlap"):
        fuse(student, draw(48, 48), draw(48, 48), tile=32, overlap=32)
    with pytest.raises(InputError, match="1 to 50"):
        fuse(student, draw(48, 48), draw(48, 48), steps=51)
