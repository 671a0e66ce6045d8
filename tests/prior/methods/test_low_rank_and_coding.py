"""MDLatLRR, CSR and coupled sparse coding, recomputed step by step, and what their weights were learned by."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from prior import weights
from prior.arrays import Image, to_image
from prior.examples import load_photograph
from prior.learning import learn_filters, learn_latlrr
from prior.methods import mdlatlrr
from prior.methods.coupled_csc import fuse_coupled_csc
from prior.methods.csr import PENALTY, SPARSITY, fuse_csr
from prior.methods.mdlatlrr import fuse_mdlatlrr
from prior.steps.coding import blend_filters, crop, find_codes, mirror, shrink_each, shrink_together
from prior.steps.patches import cut_patches, paste_patches
from prior.steps.solve import solve_screened

GREY_LEVEL = 1 / 255


def cut_photograph(name: str = "motorcycle_left.png", left: int = 300, top: int = 200, width: int = 44, height: int = 36) -> Image:
    return to_image(load_photograph(name, (left, top, left + width, top + height), 1))


def cut_pair() -> tuple[Image, Image]:
    return cut_photograph(), cut_photograph("coffee.png", 250, 150)


def correlate_inside(a: Image, b: Image, rim: int = 18) -> float:
    return float(np.corrcoef(a[rim:-rim, rim:-rim].ravel(), b[rim:-rim, rim:-rim].ravel())[0, 1])


# MDLatLRR


def take_details(image: NDArray[np.float64], stride: int) -> dict[tuple[int, int], NDArray[np.float64]]:
    projection = weights.load("latlrr_projection").astype(np.float64)
    starts = [sorted({*range(0, side - 15, stride), side - 16}) for side in image.shape]
    return {(i, j): (projection @ image[i : i + 16, j : j + 16].ravel()).reshape(16, 16) for i, j in itertools.product(*starts)}


def put_together(patches: dict[tuple[int, int], NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float64]:
    sums, covered = np.zeros(shape), np.zeros(shape)
    for (i, j), patch in patches.items():
        sums[i : i + 16, j : j + 16] += patch
        covered[i : i + 16, j : j + 16] += 1
    return sums / covered


@pytest.mark.parametrize(("levels", "stride"), [(1, 1), (2, 4), (3, 7)])
def test_mdlatlrr_is_its_equations(levels: int, stride: int) -> None:
    (a, b), fused = (image[:23, :30].astype(np.float64) for image in cut_pair()), 0.0
    inputs = a.astype(np.float32), b.astype(np.float32)
    for _ in range(levels):
        details_a, details_b = take_details(a, stride), take_details(b, stride)
        mixed = {}
        for place, one in details_a.items():
            norm_a, norm_b = (np.linalg.svd(patch, compute_uv=False).sum() for patch in (one, details_b[place]))
            mixed[place] = (norm_a * one + norm_b * details_b[place]) / (norm_a + norm_b)
        fused = fused + put_together(mixed, a.shape)
        a, b = a - put_together(details_a, a.shape), b - put_together(details_b, b.shape)
    np.testing.assert_allclose(fuse_mdlatlrr(*inputs, levels=levels, stride=stride), fused + (a + b) / 2, atol=1e-4)


def test_mdlatlrr_loses_little_by_its_stride() -> None:
    a, b = cut_pair()
    differences = fuse_mdlatlrr(a, b) - fuse_mdlatlrr(a, b, stride=1)
    assert 0 < np.sqrt(np.mean(differences**2)) < GREY_LEVEL


def test_mdlatlrr_sharpens_with_every_level() -> None:
    a, b = cut_pair()
    spreads = [np.std(np.diff(fuse_mdlatlrr(a, b, levels=levels))) for levels in (1, 2, 3)]
    assert spreads == sorted(spreads)


@pytest.mark.parametrize("shape", [(16, 20), (41, 33), (60, 19)], ids=str)
@pytest.mark.parametrize("stride", [1, 7, 16])
def test_mdlatlrr_in_strips_changes_nothing(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], stride: int) -> None:
    a, b = np.random.default_rng(0).random((2, *shape), np.float32)
    whole = fuse_mdlatlrr(a, b, stride=stride)
    monkeypatch.setattr(mdlatlrr, "BLOCK", 1)
    np.testing.assert_allclose(fuse_mdlatlrr(a, b, stride=stride), whole, atol=1e-5)


def fuse_like_the_earlier_program(a: Image, b: Image, projection: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four levels of 8 x 8 patches, and a sum of details that is not set back between the levels."""
    base_a, base_b, details, fused = a.astype(np.float64), b.astype(np.float64), np.zeros(a.shape), np.zeros(a.shape)
    for _ in range(4):
        patches = [cut_patches(base.astype(np.float32), 8, 4) @ projection.T for base in (base_a, base_b)]
        norms = [np.linalg.svd(one.reshape(-1, 8, 8), compute_uv=False).sum(axis=1)[:, None] + 1e-12 for one in patches]
        mixed = (norms[0] * patches[0] + norms[1] * patches[1]) / (norms[0] + norms[1])
        detail, of_a, of_b = (paste_patches(one.astype(np.float32), a.shape, 4) for one in (mixed, *patches))
        details, base_a, base_b = details + detail, base_a - of_a, base_b - of_b
        fused = fused + details
    return np.clip(fused + (base_a + base_b) / 2, 0, 1)


def test_mdlatlrr_computed_like_the_earlier_program_agrees_with_its_published_images(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_latlrr, "SIDE", 8)
    projection = learn_latlrr.learn_projection(learn_latlrr.collect_patches(np.random.default_rng(0)))
    folder = shared / "data" / "vifb"
    a, b, published = (
        to_image(np.asarray(Pictures.open(next((folder / name).glob("walking.*"))))) for name in ("ir", "vis", "fused/LatLRR")
    )
    assert correlate_inside(fuse_like_the_earlier_program(a, b, projection), published) > 0.97
    assert 0.93 < correlate_inside(fuse_mdlatlrr(a, b), published) < 0.96


def test_the_projection_takes_detail_and_leaves_the_flat() -> None:
    projection = weights.load("latlrr_projection")
    assert projection.shape == (256, 256)
    assert np.abs(projection @ np.ones(256, np.float32)).max() < 0.03
    chessboard = np.indices((16, 16)).sum(axis=0).ravel() % 2 - np.float32(0.5)
    assert 0.3 < np.dot(projection @ chessboard, chessboard) / np.dot(chessboard, chessboard) < 0.6


def shrink_singular(matrix: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    left, scale, right = np.linalg.svd(matrix, full_matrices=False)
    return (left * np.maximum(scale - threshold, 0)) @ right


def learn_with_whole_codes(x: NDArray[np.float64], sparsity: float) -> NDArray[np.float64]:
    """Latent low-rank representation as it is published, with Z of one row and column per patch."""
    size, count = x.shape
    z, y2, p, y3, e, y1, mu = *np.zeros((2, count, count)), *np.zeros((2, size, size)), *np.zeros((2, size, count)), 1e-6
    while True:
        j, s = shrink_singular(z + y2 / mu, 1 / mu), shrink_singular(p + y3 / mu, 1 / mu)
        z = np.linalg.solve(np.eye(count) + x.T @ x, x.T @ (x - p @ x - e) + j + (x.T @ y1 - y2) / mu)
        p = ((x - x @ z - e) @ x.T + s + (y1 @ x.T - y3) / mu) @ np.linalg.inv(np.eye(size) + x @ x.T)
        rest = x - x @ z - p @ x
        e = rest + y1 / mu
        e = e - np.clip(e, -sparsity / mu, sparsity / mu)
        if max(np.abs(rest - e).max(), np.abs(z - j).max(), np.abs(p - s).max()) < 1e-6:
            return p
        y1, y2, y3, mu = y1 + mu * (rest - e), y2 + mu * (z - j), y3 + mu * (p - s), min(1e6, 1.1 * mu)


@pytest.mark.parametrize("rank", [9, 5])
def test_the_projection_is_learned_as_with_whole_codes(rank: int) -> None:
    rng = np.random.default_rng(0)
    patches = rng.random((9, rank)) @ rng.random((rank, 25))
    np.testing.assert_allclose(learn_latlrr.learn_projection(patches), learn_with_whole_codes(patches, 0.4), atol=1e-4)


def test_patches_of_both_kinds_are_drawn_alike() -> None:
    patches = learn_latlrr.collect_patches(np.random.default_rng(0))
    strengths = np.linalg.norm(patches - patches.mean(axis=0), axis=0)
    assert patches.shape == (256, 2000)
    assert (strengths[:1000] > 0.5).all()
    assert (strengths[1000:] <= 0.5).all()
    np.testing.assert_array_equal(patches, learn_latlrr.collect_patches(np.random.default_rng(0)))


# CSR


def find_alone(image: Image, iterations: int = 20) -> tuple[Image, NDArray[np.float32]]:
    """The base and the codes of one source."""
    base, filters = solve_screened(image, 5.0), weights.load("coding_filters")
    return base, find_codes((image - base)[None], filters, shrink_each(SPARSITY / PENALTY), penalty=PENALTY, iterations=iterations)[0]


@pytest.mark.parametrize("radius", [3, 1])
def test_csr_keeps_the_codes_of_the_more_active_source(radius: int) -> None:
    a, b = cut_pair()
    (base_a, codes_a), (base_b, codes_b) = find_alone(a), find_alone(b)
    active_a, active_b = (
        ndimage.uniform_filter(np.abs(codes).sum(axis=0).astype(np.float64), 2 * radius + 1, mode="mirror") for codes in (codes_a, codes_b)
    )
    kept = codes_b.copy()
    for i, j in zip(*np.nonzero(active_a > active_b), strict=True):
        kept[:, i, j] = codes_a[:, i, j]
    expected = (base_a + base_b) / 2 + crop(blend_filters(kept, weights.load("coding_filters")), a.shape)
    np.testing.assert_allclose(fuse_csr(a, b, radius=radius), expected, atol=1e-5)
    assert 0.1 < np.mean(active_a > active_b) < 0.9


def test_csr_stops_near_the_least_of_its_objective() -> None:
    image, filters = cut_photograph(width=30, height=24), weights.load("coding_filters")
    prices = []
    for iterations in (20, 250):
        base, codes = find_alone(image, iterations)
        errors = mirror(image - base) - blend_filters(codes, filters)
        prices.append(0.5 * np.sum(errors**2) + SPARSITY * np.abs(codes).sum())
    assert prices[1] <= prices[0] < 1.04 * prices[1]


def test_csr_drops_noise_weaker_than_its_price_and_keeps_the_rest() -> None:
    image = cut_photograph()
    assert correlate_inside(fuse_csr(image, image), image, rim=1) > 0.998
    noise = np.random.default_rng(0).normal(0, GREY_LEVEL, image.shape).astype(np.float32)
    assert np.std(fuse_csr(0.5 + noise, 0.5 + noise)) < 0.5 * np.std(noise)


# Coupled convolutional sparse coding


def code_together(a: Image, b: Image, coupling: float) -> NDArray[np.float32]:
    details = np.stack([image - solve_screened(image, 5.0) for image in (a, b)])
    return find_codes(details, weights.load("coding_filters"), shrink_together(0.005, coupling), penalty=1.0, iterations=10)


def test_coupling_makes_codes_common() -> None:
    a = cut_photograph()
    b = np.clip(0.8 * a + 0.1, 0, 1).astype(np.float32)
    shares = []
    for coupling in (0.0, 0.0025):
        code_a, code_b = code_together(a, b, coupling)
        used = (code_a != 0) | (code_b != 0)
        shares.append(np.mean(np.abs(code_a - code_b)[used] < 1e-6))
    assert shares[0] < 0.05
    assert shares[1] > 0.5


def test_coupled_coding_keeps_common_codes_and_the_unique_ones_of_the_more_active_source() -> None:
    a, other = cut_pair()
    b = np.clip(np.linspace(0.4, 1.4, 44) * a + 0.2 * other, 0, 1).astype(np.float32)  # fainter on the left, stronger on the right
    filters, codes = weights.load("coding_filters"), code_together(a, b, 0.0025)
    common = np.where(codes[0] == codes[1], codes[0], 0)
    unique = [code - common for code in codes]
    assert min(np.count_nonzero(each) for each in (common, *unique)) > 500
    active = [ndimage.uniform_filter(np.abs(each).sum(axis=0).astype(np.float64), 11, mode="mirror") for each in unique]
    of_a = active[0] > active[1]
    assert 0.2 < of_a.mean() < 0.8
    coded = crop(blend_filters(common + np.where(of_a, *unique), filters), a.shape)
    bases = [solve_screened(image, 5.0) for image in (a, b)]
    rests = [image - base - crop(blend_filters(code, filters), a.shape) for image, base, code in zip((a, b), bases, codes, strict=True)]
    strengths = [
        (ndimage.gaussian_filter(crop(np.abs(code).sum(axis=0), a.shape), 60, mode="mirror") + 1e-4) * (base + 0.01) ** 2
        for base, code in zip(bases, codes, strict=True)
    ]
    base = (strengths[0] * bases[0] + strengths[1] * bases[1]) / (strengths[0] + strengths[1])
    expected = base + coded + np.where(crop(of_a, a.shape), *rests)
    # Where both sources are as active but for rounding, it decides.
    assert np.quantile(np.abs(fuse_coupled_csc(a, b) - expected), 0.99) < 1e-5


def test_coupled_coding_keeps_the_detail_of_either_source() -> None:
    textured = cut_photograph()
    flat = np.full_like(textured, 0.4)
    fused, swapped = fuse_coupled_csc(textured, flat), fuse_coupled_csc(flat, textured)
    details, expected = (image - solve_screened(image, 5.0) for image in (fused, textured))
    assert correlate_inside(details, expected, rim=2) > 0.99
    np.testing.assert_allclose(swapped, fused, atol=1e-5)


def test_coupled_coding_loses_nothing_that_no_code_holds() -> None:
    image = cut_photograph()
    for sparsity in (0.005, 0.5):  # with the second there is hardly a code
        np.testing.assert_allclose(fuse_coupled_csc(image, image, sparsity=sparsity), image, atol=1e-5)


def test_coupled_coding_weighs_bases_by_energy_and_activity() -> None:
    bright, dark = np.full((40, 40), 0.8, np.float32), np.full((40, 40), 0.2, np.float32)
    weight = 0.81**2 / (0.81**2 + 0.21**2)
    np.testing.assert_allclose(fuse_coupled_csc(bright, dark), 0.2 + weight * 0.6, atol=1e-4)
    stripes = np.tile(np.float32([0.7, 0.9]), (40, 20))
    assert fuse_coupled_csc(stripes, dark).mean() > fuse_coupled_csc(bright, dark).mean() + 0.01


def test_filters_are_learned_that_explain_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_filters, "COUNT", 4)
    images = np.stack(cut_pair())
    prices = []
    for rounds in (0, 6):
        monkeypatch.setattr(learn_filters, "ROUNDS", rounds)
        filters = learn_filters.learn_filters(images, np.random.default_rng(0))
        np.testing.assert_allclose(np.linalg.norm(filters, axis=(1, 2)), 1, atol=1e-5)
        details = np.stack([image - solve_screened(image, 5.0) for image in images])
        codes = find_codes(details, filters, shrink_each(SPARSITY / PENALTY), penalty=PENALTY, iterations=15)
        errors = [mirror(detail) - blend_filters(code, filters) for detail, code in zip(details, codes, strict=True)]
        prices.append(0.5 * np.sum(np.square(errors)) + SPARSITY * np.abs(codes).sum())
    assert prices[1] < 0.8 * prices[0]
