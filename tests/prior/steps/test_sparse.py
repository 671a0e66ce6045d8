"""Sparse codes against a pursuit by least squares, the fusion by codes, the rule for detail, and the shipped dictionary."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from prior.arrays import Image
from prior.learning.learn_dictionary import PER_IMAGE, PHOTOGRAPHS, collect_patches, fit_atoms, give_away_idle, learn_dictionary, sort_atoms
from prior.steps import sparse
from prior.steps.patches import cut_patches
from prior.steps.pyramid import count_levels
from prior.steps.sparse import SIDE, TOLERANCE, centre, decode, encode, fuse_sparse, pick_consistent
from prior.weights import load
from storage.errors import InputError

Grid = NDArray[np.float64]


def draw_dictionary(atoms: int, pixels: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((atoms, pixels))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw_clouds(shape: tuple[int, int], seed: int, reach: float = 1) -> Image:
    clouds = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), reach)
    return ((clouds - clouds.min()) / np.ptp(clouds)).astype(np.float32)


def pursue_plainly(patch: Grid, dictionary: Grid, tolerance: float, most: int) -> tuple[list[int], Grid]:
    """Orthogonal matching pursuit as it is defined: the likest atom, all weights by least squares, again."""
    taken: list[int] = []
    weights, rest = np.zeros(0), patch
    while len(taken) < most and np.linalg.norm(rest) > tolerance:
        taken.append(int(np.argmax(np.abs(dictionary @ rest))))
        weights = np.linalg.lstsq(dictionary[taken].T, patch, rcond=None)[0]
        rest = patch - weights @ dictionary[taken]
    return taken, weights


@pytest.mark.parametrize(("tolerance", "most"), [(TOLERANCE, 24), (200 * TOLERANCE, 24), (TOLERANCE, 9), (0, 1)])
def test_codes_are_those_of_least_squares(tolerance: float, most: int) -> None:
    dictionary = load("sparse_dictionary")
    patches, _ = centre(cut_patches(draw_clouds((26, 26), 1), SIDE, 6))
    codes = encode(patches, dictionary, tolerance, most)
    for patch, atoms, weights in zip(patches, codes.atoms, codes.weights, strict=True):
        expected, expected_weights = pursue_plainly(patch.astype(np.float64), dictionary.astype(np.float64), tolerance, most)
        count = len(expected)
        assert atoms[:count].tolist() == expected
        assert (atoms[count:] == -1).all() and (weights[count:] == 0).all()
        np.testing.assert_allclose(weights[:count], expected_weights, atol=1e-4)


def test_long_codes_are_as_large_as_those_of_least_squares() -> None:
    """Among the last atoms rounding decides, and then they are others."""
    dictionary = load("sparse_dictionary")
    patches, _ = centre(cut_patches(draw_clouds((26, 26), 1), SIDE, 6))
    plain = [pursue_plainly(patch.astype(np.float64), dictionary.astype(np.float64), TOLERANCE, 63) for patch in patches]
    expected = np.array([np.abs(weights).sum() for _, weights in plain])
    assert min(len(atoms) for atoms, _ in plain) > 40
    np.testing.assert_allclose(np.abs(encode(patches, dictionary, TOLERANCE, 63).weights).sum(axis=1), expected, rtol=0.02)


def test_codes_leave_no_more_than_is_allowed() -> None:
    dictionary = load("sparse_dictionary")
    patches, _ = centre(cut_patches(draw_clouds((40, 40), 2, 0.7), SIDE, 4))
    rest = np.linalg.norm(patches - decode(encode(patches, dictionary, TOLERANCE, 63), dictionary), axis=1)
    assert rest.max() <= 1.01 * TOLERANCE


def test_codes_find_the_atoms_that_a_patch_is_made_of() -> None:
    dictionary = draw_dictionary(40, 64)
    patch = 3 * dictionary[[7]] - 2 * dictionary[[31]]
    codes = encode(patch, dictionary, 1e-4, 10)
    assert codes.atoms[0].tolist() == [7, 31] + 8 * [-1]
    np.testing.assert_allclose(codes.weights[0, :2], [3, -2], atol=1e-5)
    np.testing.assert_allclose(decode(codes, dictionary), patch, atol=1e-5)


def test_nothing_has_no_code_and_twins_are_not_taken_twice() -> None:
    twins = np.repeat(draw_dictionary(1, 16), 2, axis=0)
    codes = encode(np.stack([np.zeros(16, np.float32), twins[0] + draw_dictionary(1, 16, 1)[0]]), twins, 1e-6, 2)
    assert codes.atoms.tolist() == [[-1, -1], [0, -1]]
    assert codes.weights[0].tolist() == [0, 0]


# Fusion by codes.


def fuse_plainly(a: Image, b: Image) -> Grid:
    """The rule patch by patch, with the sum of atoms where the package takes the patch."""
    dictionary = load("sparse_dictionary").astype(np.float64)
    total, cover = np.zeros(a.shape), np.zeros(a.shape)
    for i in range(0, a.shape[0] - 7, 2):
        for j in range(0, a.shape[1] - 7, 2):
            window = np.s_[i : i + 8, j : j + 8]
            codes = []
            for patch in (a[window].astype(np.float64).ravel(), b[window].astype(np.float64).ravel()):
                atoms, weights = pursue_plainly(patch - patch.mean(), dictionary, TOLERANCE, 63)
                codes.append((np.abs(weights).sum(), patch.mean() + weights @ dictionary[atoms]))
            total[window] += max(codes, key=lambda code: float(code[0]))[1].reshape(8, 8)
            cover[window] += 1
    fused: Grid = total / cover
    return fused


def test_fusion_is_the_one_of_its_description() -> None:
    a, b = draw_clouds((14, 18), 3), draw_clouds((14, 18), 4)
    np.testing.assert_allclose(fuse_sparse(a, b), fuse_plainly(a, b), atol=TOLERANCE)


def test_fusion_takes_the_patch_that_varies_with_its_mean_and_shares_flat_ones() -> None:
    lively = (0.2 + 0.1 * draw_clouds((30, 41), 5)).astype(np.float32)
    flat, bright = np.full_like(lively, 0.9), np.full_like(lively, 0.4)
    for pair in ((lively, flat), (flat, lively)):
        np.testing.assert_allclose(fuse_sparse(*pair), lively, atol=1e-6)
    np.testing.assert_allclose(fuse_sparse(flat, bright), 0.65, atol=1e-6)


def test_fusion_does_not_prefer_a_source_for_its_place() -> None:
    a, b = draw_clouds((33, 28), 6), draw_clouds((33, 28), 7)
    np.testing.assert_allclose(fuse_sparse(a, b), fuse_sparse(b, a), atol=1e-6)


def test_fewer_atoms_choose_nearly_alike() -> None:
    a, b = draw_clouds((48, 48), 8, 2), draw_clouds((48, 48), 9, 2)
    assert np.abs(fuse_sparse(a, b) - fuse_sparse(a, b, most=24)).mean() < 0.2 * np.abs(a - b).mean()


@pytest.mark.parametrize("shape", [(8, 8), (17, 12), (18, 31), (57, 43)], ids=str)
@pytest.mark.parametrize("block", [1, 30])
def test_blocks_of_patches_change_nothing(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], block: int) -> None:
    a, b = draw_clouds(shape, 10), draw_clouds(shape, 11)
    whole = fuse_sparse(a, b)
    monkeypatch.setattr(sparse, "BLOCK", block)
    np.testing.assert_allclose(fuse_sparse(a, b), whole, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 30), (30, 7)], ids=str)
def test_an_image_smaller_than_a_patch_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="side <= the image's shorter side"):
        fuse_sparse(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


@pytest.mark.parametrize(("side", "wanted", "halvings"), [(8, 4, 0), (16, 4, 1), (41, 4, 2), (480, 4, 4), (480, 9, 5), (41, 1, 1)])
def test_a_patch_fits_into_what_is_halved(side: int, wanted: int, halvings: int) -> None:
    assert count_levels((1000, side), wanted, smallest=SIDE) == halvings


# The rule for detail.


def test_detail_is_picked_by_the_largest_magnitude_around_and_by_majority() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 21, 24), np.float32)
    peaks_a, peaks_b = (ndimage.maximum_filter(np.abs(x), 3, mode="constant") for x in (a, b))
    chosen = ndimage.uniform_filter((peaks_a > peaks_b).astype(np.float64), 3, mode="reflect") > 0.5
    np.testing.assert_array_equal(pick_consistent(a, b), np.where(chosen, a, b))


# The dictionary and how it is learned.


def test_dictionary_has_atoms_of_unit_length_without_mean_that_are_not_alike() -> None:
    dictionary = load("sparse_dictionary")
    assert dictionary.shape == (256, SIDE**2) and dictionary.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(dictionary.mean(axis=1), 0, atol=1e-5)
    assert np.abs(np.triu(dictionary @ dictionary.T, 1)).max() < 0.99
    assert np.linalg.matrix_rank(dictionary) == SIDE**2 - 1


def test_dictionary_codes_photographs_better_than_their_own_patches_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prior.learning.learn_dictionary.PHOTOGRAPHS", {"coins.png": PHOTOGRAPHS["coins.png"]})
    patches = collect_patches(np.random.default_rng(1))
    assert len(patches) == 2 * PER_IMAGE
    np.testing.assert_allclose(np.linalg.norm(patches, axis=1), 1, atol=1e-5)

    def measure_rest(dictionary: NDArray[np.float32]) -> float:
        return float(np.linalg.norm(patches[::5] - decode(encode(patches[::5], dictionary, 0, 6), dictionary), axis=1).mean())

    assert measure_rest(load("sparse_dictionary")) < 0.9 * measure_rest(patches[3::15][:256])


def test_learning_finds_the_atoms_that_made_the_patches() -> None:
    truth, rng = draw_dictionary(20, 16), np.random.default_rng(2)
    patches = np.stack([rng.uniform(0.5, 1, 2) @ truth[rng.choice(20, 2, replace=False)] for _ in range(3000)]).astype(np.float32)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    learned = _learn_with(2, patches, rng)
    assert np.mean(np.abs(truth @ learned.T).max(axis=1) > 0.98) >= 0.9


def _learn_with(in_a_code: int, patches: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prior.learning.learn_dictionary.IN_A_CODE", in_a_code)
        return learn_dictionary(patches, 20, 20, rng)


def test_fitting_leaves_less_and_tells_what_it_leaves() -> None:
    patches, dictionary = draw_dictionary(200, 16, 3), draw_dictionary(24, 16, 4)
    codes = encode(patches, dictionary, 0, 3)
    fitted, rest = fit_atoms(patches, codes, dictionary)
    assert np.linalg.norm(rest) < np.linalg.norm(patches - decode(codes, dictionary))
    np.testing.assert_allclose(np.linalg.norm(fitted, axis=1), 1, atol=1e-5)


def test_idle_atoms_and_twins_go_to_the_worst_patches() -> None:
    dictionary, patches = draw_dictionary(4, 16), draw_dictionary(40, 16, 5)
    dictionary[3] = dictionary[0]  # a twin
    codes = sparse.Codes(np.repeat([[0], [1], [3], [3]], 10, axis=0).astype(np.int32), np.ones((40, 1), np.float32))  # atom 2 is idle
    rest = np.zeros_like(patches)
    rest[11], rest[5] = 2, 1
    given = give_away_idle(dictionary, codes, patches, rest)
    np.testing.assert_array_equal(given, [dictionary[0], dictionary[1], patches[11], patches[5]])


def test_sorted_atoms_are_the_same_up_to_sign_smooth_first() -> None:
    dictionary = draw_dictionary(6, SIDE**2)
    dictionary[4] = -1 / 8
    ordered = sort_atoms(dictionary)
    np.testing.assert_allclose(ordered[0], 1 / 8)
    assert (ordered[:, 0] >= 0).all()
    np.testing.assert_allclose(np.sort(np.abs(ordered @ dictionary.T).max(axis=1)), 1, atol=1e-5)


# Arrays of the package.


def test_arrays_are_shared_and_cannot_be_written_to() -> None:
    array = load("sparse_dictionary")
    assert load("sparse_dictionary") is array
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 0


def test_an_array_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="the array nothing is not inside"):
        load("nothing")
