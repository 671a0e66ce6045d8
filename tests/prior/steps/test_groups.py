"""Groups hold the nearest patches, and their shrinkage is the one of its equations."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from prior.arrays import Image
from prior.steps.groups import PENALTIES, REACH, SIDE, SPREAD, _find_gain, _rank, estimate_noise, find_groups, shrink_groups


@pytest.fixture(scope="module")
def scene() -> Image:
    """A photograph, 72 x 80 px."""
    whole = cv2.resize(data.camera(), (160, 160), interpolation=cv2.INTER_AREA)
    return (whole[20:92, 40:120] / 255).astype(np.float32)


def add_noise(image: Image, deviation: float, seed: int = 0) -> Image:
    return (image + deviation * np.random.default_rng(seed).standard_normal(image.shape)).astype(np.float32)


@pytest.mark.parametrize("deviation", [0.02, 0.1])
def test_noise_is_estimated_and_a_little_of_what_is_there_with_it(scene: Image, deviation: float) -> None:
    assert estimate_noise(add_noise(np.zeros((200, 200), np.float32), deviation)) == pytest.approx(deviation, rel=0.03)
    assert deviation < estimate_noise(add_noise(scene, deviation)) < deviation + 0.01


def test_flat_images_have_no_noise() -> None:
    assert estimate_noise(np.full((40, 30), 0.7, np.float32)) < 1e-6


def cut(image: Image, row: int, column: int) -> NDArray[np.float64]:
    return image[row : row + SIDE, column : column + SIDE].astype(np.float64).ravel()


def test_groups_hold_the_nearest_patches(scene: Image) -> None:
    guide = scene[:38, :45]
    groups = find_groups(guide, 0.0)
    height, width = guide.shape
    for row, column, weights in list(zip(groups.rows, groups.columns, groups.weights, strict=True))[::7]:
        own = cut(guide, row[0], column[0])
        found = np.array([np.mean((cut(guide, y, x) - own) ** 2) for y, x in zip(row, column, strict=True)])
        near = [
            np.mean((cut(guide, y, x) - own) ** 2)
            for y in range(max(row[0] - REACH, 0), min(row[0] + REACH, height - SIDE) + 1)
            for x in range(max(column[0] - REACH, 0), min(column[0] + REACH, width - SIDE) + 1)
        ]
        assert len({*zip(row, column, strict=True)}) == len(row) == 43
        assert found[0] == 0 and (np.diff(found) >= -1e-9).all()
        np.testing.assert_allclose(found, np.sort(near)[: len(row)], atol=1e-7)
        expected = np.exp(-found * 255**2 / 80)
        expected[0] = expected[1]
        np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 6), (6, 40), (13, 9)], ids=str)
def test_groups_cover_images_as_small_as_a_patch(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    groups = find_groups(image, 0.1)
    covered = np.zeros(shape, np.bool_)
    for row, column in zip(groups.rows[:, 0], groups.columns[:, 0], strict=True):
        covered[row : row + SIDE, column : column + SIDE] = True
    assert covered.all()
    for shrunk in shrink_groups(image, image, groups, (0.1, 0.1)):
        assert shrunk.shape == shape and np.isfinite(shrunk).all()


@pytest.mark.parametrize(
    ("levels", "number", "penalty"),
    [
        ((0, 5), 43, 2.0),
        ((5.1, 15), 44, 1.9),
        ((15.1, 20), 50, 1.5),
        ((20.1, 30), 58, 2.0),
        ((30.1, 50), 58, 1.8),
        ((50.1, 90), 90, 2.1),
    ],
)
def test_noise_decides_the_size_of_groups_and_the_penalty(scene: Image, levels: tuple[float, float], number: int, penalty: float) -> None:
    for noise in levels:
        assert find_groups(scene[:20, :24], noise / 255).rows.shape[1] == number
        assert PENALTIES[_rank(noise / 255)] == pytest.approx(2**0.5 * penalty)


def test_without_noise_the_images_come_back(scene: Image) -> None:
    a, b = scene, scene[::-1]
    again_a, again_b, _ = shrink_groups(a, b, find_groups(a + b, 0.0), (0.0, 0.0))
    np.testing.assert_allclose(again_a, a, atol=1e-5)
    np.testing.assert_allclose(again_b, b, atol=1e-5)
    np.testing.assert_allclose(shrink_groups(a, a, find_groups(a, 0.0), (0.0, 0.0))[2], a, atol=1e-5)


@pytest.mark.parametrize("ratio", [1.3, 2.0, 10.0])
def test_the_gain_stands_at_a_minimum_of_the_penalised_scale(ratio: float) -> None:
    noise, number, penalty = 0.08, 50, PENALTIES[2]
    energy = ratio * number * noise**2
    first = np.sqrt(energy / number - noise**2)

    def judge(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        return energy / first**2 * scale**2 - 2 * energy / first * scale + penalty * noise**2 * np.log(scale)

    scales = np.linspace(0.5 * first, 1.5 * first, 200001)  # the larger root lies beyond half of the first scale
    best = scales[judge(scales).argmin()]
    assert _find_gain(energy, number, noise, penalty) == pytest.approx(best**2 / (best**2 + SPREAD * penalty * noise**2), rel=1e-4)


def test_the_gain_of_what_noise_explains_is_zero_and_grows_with_energy() -> None:
    gains = [_find_gain(energy * 50 * 0.1**2, 50, 0.1, PENALTIES[2]) for energy in (0, 0.5, 1, 1.2, 2, 8, 1000)]
    assert gains[:3] == [0, 0, 0]
    assert (np.diff(gains[2:]) > 0).all() and gains[-1] > 0.99
    assert _find_gain(0.0, 50, 0.0, PENALTIES[0]) == 1


def shrink_naively(a: Image, b: Image, noise: tuple[float, float], penalty: float) -> list[NDArray[np.float64]]:
    """All groups in float64, with one loop per step."""
    groups = find_groups(a + b, noise[0])
    sums, counts = np.zeros((3, *a.shape)), np.zeros(a.shape)
    for rows, columns, weights in zip(groups.rows, groups.columns, groups.weights, strict=True):
        patches = [np.stack([cut(x, *at) for at in zip(rows, columns, strict=True)], axis=1) for x in (a, b)]
        means = [stack @ weights.astype(np.float64) for stack in patches]
        centred = [stack - mean[:, None] for stack, mean in zip(patches, means, strict=True)]
        basis = np.linalg.eigh(sum(stack @ stack.T for stack in centred))[1]
        kept = []
        for stack, deviation in zip(centred, noise, strict=True):
            components = basis.T @ stack
            gains = [_find_gain(float(c @ c), len(c), deviation, penalty) for c in components]
            kept.append(components * np.array(gains)[:, None])
        energies = [(stack**2).sum(axis=1) for stack in kept]
        fused = np.where((energies[0] >= energies[1])[:, None], *kept)
        middle = means[0] if means[0] @ means[0] >= means[1] @ means[1] else means[1]
        for total, stack, mean in zip(sums, (*kept, fused), (*means, middle), strict=True):
            for patch, row, column in zip((basis @ stack + mean[:, None]).T, rows, columns, strict=True):
                total[row : row + SIDE, column : column + SIDE] += patch.reshape(SIDE, SIDE)
        for row, column in zip(rows, columns, strict=True):
            counts[row : row + SIDE, column : column + SIDE] += 1
    return list(sums / counts)


def test_shrinks_as_its_equations_say(scene: Image) -> None:
    a, b = add_noise(scene[:22, :25], 0.07), add_noise(scene[30:52, 30:55], 0.07, 1)
    ours = shrink_groups(a, b, find_groups(a + b, 0.07), (0.07, 0.06))
    for one, other in zip(ours, shrink_naively(a, b, (0.07, 0.06), PENALTIES[2]), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_takes_noise_away(scene: Image) -> None:
    deviation = 20 / 255
    noisy = add_noise(scene, deviation)
    cleaner = shrink_groups(noisy, noisy, find_groups(noisy, deviation), (deviation, deviation))[0]
    assert np.mean((cleaner - scene) ** 2) < 0.4 * np.mean((noisy - scene) ** 2)
