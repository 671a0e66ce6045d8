"""Every variational method computes what its equations say, and GTF what its authors' program did."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg

from prior.arrays import Image, to_image
from prior.methods import gradient_transfer
from prior.methods.ddfm_em import fuse_ddfm_em
from prior.methods.gradient_transfer import _mix, _transfer, fuse_gradient_transfer
from prior.methods.gtf import _find_floor, fuse_gtf
from prior.methods.poisson import _join_gradients, fuse_poisson
from prior.registry import Fuse
from prior.steps.solve import find_gradients, gather_gradients, pick_gradients

Doubles = NDArray[np.float64]
SYMMETRIC = [fuse_poisson, fuse_gradient_transfer, fuse_ddfm_em]


def draw(shape: tuple[int, int], seed: int) -> Image:
    """Soft clouds with some grain, far from black and white."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 2)
    return (0.25 + 0.4 * (clouds - clouds.min()) / np.ptp(clouds) + 0.1 * rng.random(shape)).astype(np.float32)


def differ(image: Doubles) -> Doubles:
    """∇, in float64."""
    down, right = np.diff(image, axis=0, append=image[-1:]), np.diff(image, axis=1, append=image[:, -1:])
    return np.stack([down, right])


def gather(gradients: Doubles) -> Doubles:
    """∇ᵀ, in float64, of gradients whose last row and column are zero."""
    down, right = gradients
    return -np.diff(down, axis=0, prepend=0) - np.diff(right, axis=1, prepend=0)


def measure_lengths(gradients: Doubles) -> Doubles:
    lengths: Doubles = np.hypot(*gradients)
    return lengths


@pytest.mark.parametrize("fuse", SYMMETRIC)
def test_does_not_prefer_a_source_for_its_place(fuse: Fuse) -> None:
    a, b = draw((57, 43), 0), draw((57, 43), 1)
    np.testing.assert_allclose(fuse(a, b), fuse(b, a), atol=2e-3)


@pytest.mark.parametrize("fuse", [fuse_gradient_transfer, fuse_ddfm_em])
def test_takes_each_half_from_the_source_that_is_sharp_there(fuse: Fuse) -> None:
    scene = draw((96, 128), 3)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    left = np.arange(128) < 64
    a, b = np.where(left, scene, blurred), np.where(left, blurred, scene)
    assert np.abs(fuse(a, b) - scene).mean() < 0.5 * np.abs(0.5 * (a + b) - scene).mean()


@pytest.mark.parametrize("fuse", SYMMETRIC)
def test_what_is_black_in_both_stays_black(fuse: Fuse) -> None:
    a, b = np.pad(draw((40, 40), 0), 12), np.pad(draw((32, 36), 1), ((14, 18), (16, 12)))
    fused = fuse(a, b)
    np.testing.assert_array_equal(fused[(a == 0) & (b == 0)], 0)
    assert fused.min() >= 0 and fused.max() <= 1


# GTF.


def weigh_by_histogram(values: Doubles, share: float, above: int) -> Doubles:
    """The values, but none below the middle of the bin that `share` of them reach, or of one above it, and that is not zero."""
    middles = np.linspace(values.min(), values.max(), 1000)
    half = (middles[1] - middles[0]) / 2
    counts, _ = np.histogram(values, [-np.inf, *(middles[:-1] + half), np.inf])
    first = int(np.argmax(np.cumsum(counts) > share * values.size))
    return np.maximum(values, middles[first + above] or middles[first + above + 1])


def reweight(a: Doubles, b: Doubles, weight: float) -> Doubles:
    """The authors' loop with SciPy's conjugate gradients."""
    difference = a - b
    transferred = difference.copy()
    for turn in range(5):
        residual = np.abs(transferred - difference)
        scale = np.sqrt((weigh_by_histogram(residual, 0.05, 1) if turn else np.full_like(residual, 0.8)) / 2)
        stiffness = weight * 2 / np.sqrt(weigh_by_histogram(measure_lengths(differ(transferred)) ** 2, 0.01, 0))

        def apply(values: Doubles, scale: Doubles = scale, stiffness: Doubles = stiffness) -> Doubles:
            image = values.reshape(a.shape)
            product: Doubles = image + scale * gather(stiffness * differ(scale * image))
            return product.ravel()

        wanted, start = (difference / scale).ravel(), (transferred / scale).ravel()
        tolerance = np.linalg.norm(wanted - apply(start)) / np.linalg.norm(wanted) / 5
        solved, _ = cg(LinearOperator((a.size, a.size), apply, dtype=np.float64), wanted, x0=start, rtol=tolerance, maxiter=500)
        transferred = scale * solved.reshape(a.shape)
    return b + transferred


@pytest.mark.parametrize(("weight", "tolerance"), [(0.5, 1e-4), (4.0, 3e-3)])  # one step more or less of the 30 of a loop makes 1e-3
def test_gtf_is_the_loop_of_its_authors(weight: float, tolerance: float) -> None:
    a, b = draw((31, 26), 0), draw((31, 26), 1)
    expected = reweight(a.astype(np.float64), b.astype(np.float64), weight)
    np.testing.assert_allclose(fuse_gtf(a, b, weight=weight), expected, atol=tolerance)


def test_gtf_has_the_brightness_of_a_and_the_gradients_of_b() -> None:
    a, b = np.full((48, 48), 0.2, np.float32), draw((48, 48), 0)
    a[12:36, 12:36] = 0.8
    fused = fuse_gtf(a, b)
    assert abs(fused[16:32, 16:32].mean() - 0.8) < 0.1 and abs(fused[:6].mean() - 0.2) < 0.1
    inside = np.s_[:, 16:31, 16:31]
    assert np.corrcoef(find_gradients(fused)[inside].ravel(), find_gradients(b)[inside].ravel())[0, 1] > 0.99


def test_gtf_of_no_weight_is_a() -> None:
    a, b = draw((20, 24), 0), draw((20, 24), 1)
    np.testing.assert_allclose(fuse_gtf(a, b, weight=0), a, atol=1e-6)


@pytest.mark.parametrize("size", [1e-22, 1e-30])
def test_gtf_survives_sources_whose_difference_vanishes_when_it_is_squared(size: float) -> None:
    nothing, hardly = np.zeros((30, 30), np.float32), (size * draw((30, 30), 0)).astype(np.float32)
    for fused in (fuse_gtf(nothing, hardly), fuse_gtf(hardly, nothing)):
        assert np.isfinite(fused).all() and np.abs(fused).max() < 2 * size


def test_floor_is_never_zero() -> None:
    mostly_nothing = np.zeros((30, 30), np.float32)
    assert _find_floor(mostly_nothing, 0.01, 0) > 0
    mostly_nothing[3, 3] = 0.999
    assert _find_floor(mostly_nothing, 0.01, 0) == pytest.approx(0.001)
    assert _find_floor(mostly_nothing, 0.01, 1) == pytest.approx(0.001)
    assert _find_floor(np.linspace(0, 0.999, 1000, dtype=np.float32)[None], 0.05, 1) == pytest.approx(0.051, abs=1e-6)


def read_image(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return to_image(np.asarray(picture))


@pytest.mark.parametrize(
    ("folder", "file", "weight", "correlation", "psnr"),
    [
        ("roadscene", "FLIR_00006", 4, 0.999, 44),
        ("roadscene", "FLIR_00548", 4, 0.999, 41),
        ("vifb", "carShadow", 4 / 3**0.5, 0.999, 43),
        ("vifb", "carShadow", 4, 0.99, 30),
    ],
)
def test_gtf_agrees_with_the_published_images(shared: Path, folder: str, file: str, weight: float, correlation: float, psnr: float) -> None:
    images = shared / "data" / folder
    a, b, theirs = (read_image(next((images / of).glob(f"{file}.*"))) for of in ("ir", "vis", "fused/GTF"))
    ours = np.clip(fuse_gtf(a, b, weight=weight), 0, 1)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > correlation
    assert -10 * np.log10(np.mean((ours - theirs) ** 2)) > psnr


# Poisson.


def test_poisson_joins_gradients_by_the_contrast_form() -> None:
    a, b = find_gradients(draw((9, 11), 0)), find_gradients(draw((9, 11), 1))
    joined = _join_gradients(a, b)
    for i, j in np.ndindex(9, 11):
        own, other = a[:, i, j].astype(np.float64), b[:, i, j].astype(np.float64)
        values, vectors = np.linalg.eigh((np.outer(own, own) + np.outer(other, other)) / 2)
        expected = np.sqrt(max(values[1], 0)) * vectors[:, 1]
        stronger = own if np.vdot(own, own) >= np.vdot(other, other) else other
        expected *= 1 if np.vdot(expected, stronger) >= 0 else -1
        np.testing.assert_allclose(joined[:, i, j], expected, atol=1e-5)


def test_poisson_solves_for_the_joint_gradients() -> None:
    a, b = draw((33, 47), 0), draw((33, 47), 1)
    fused = fuse_poisson(a, b, strength=20, room=9)
    assert fused.min() > 0 and fused.max() < 1  # no bound was met
    slope = fused - 0.5 * (a + b) + 20 * gather_gradients(find_gradients(fused) - _join_gradients(find_gradients(a), find_gradients(b)))
    np.testing.assert_allclose(slope, 0, atol=1e-4)


# Gradient transfer.


def descend(mixed: Doubles, field: Doubles, strength: float, steps: int) -> Doubles:
    """The same least by another way: the primal-dual steps of Chambolle and Pock, 2011."""
    image, ahead, dual = mixed.copy(), mixed.copy(), np.zeros_like(field)
    pace = 1 / 8**0.5
    for _ in range(steps):
        dual += pace * (differ(ahead) - field)
        dual /= np.maximum(1, measure_lengths(dual) / strength)
        previous, image = image, (image - pace * gather(dual) + pace * mixed) / (1 + pace)
        ahead = 2 * image - previous
    return image


@pytest.mark.parametrize("strength", [0.05, 3])
def test_gradient_transfer_finds_the_least_of_its_model(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_transfer, "MOST_STEPS", 3000)
    a, b = draw((18, 22), 0), draw((18, 22), 1)
    mixed, field = _mix(a, b), pick_gradients(a, b, 2)
    expected = descend(mixed.astype(np.float64), field.astype(np.float64), strength, 6000)
    found = _transfer(mixed, field, strength, 1e-7)

    def measure(image: Doubles) -> float:
        return float(np.sum((image - mixed) ** 2) / 2 + strength * measure_lengths(differ(image) - field).sum())

    assert measure(found.astype(np.float64)) < 1.0005 * measure(expected) < 0.999 * measure(mixed.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_gradient_transfer_weighs_by_local_deviation() -> None:
    flat, cloudy = np.full((60, 60), 0.5, np.float32), draw((60, 60), 0)
    np.testing.assert_allclose(_mix(flat, flat + np.float32(0.2)), 0.6, atol=1e-3)
    weight = (_mix(cloudy, flat) - flat)[20:40, 20:40] / (cloudy - flat)[20:40, 20:40]
    assert 0.6 < np.median(weight) < 1


def test_gradient_transfer_makes_no_halo() -> None:
    a, b = np.full((64, 64), 0.3, np.float32), draw((64, 64), 0)
    a[24:40, 24:40] = 0.9
    fused = fuse_gradient_transfer(a, b)
    drift = fused - b
    assert drift[28:36, 28:36].mean() > 0.2  # the square is there
    assert np.ptp(drift[:18, :18]) < 0.01  # far and near from the square, the surroundings are shifted alike


# DDFM's expectation-maximisation.


def maximise(a: Doubles, b: Doubles, steps: int, strength: float) -> Doubles:
    """The equations in float64, with matrices in place of transforms."""
    differences = np.stack([differ(row).ravel() for row in np.eye(a.size).reshape(-1, *a.shape)], axis=1)
    square = differences.T @ differences

    def solve(wanted: Doubles, weight: float) -> Doubles:
        solved: Doubles = np.linalg.solve(np.eye(a.size) + weight * square, wanted.ravel()).reshape(a.shape)
        return solved

    pull = strength * gather(pick_gradients(a.astype(np.float32), b.astype(np.float32), 2).astype(np.float64))
    fused, auxiliary, tau_a, tau_b, rho = (a + b) / 2, np.zeros((2, *a.shape)), 1.0, 1.0, 0.001
    for _ in range(steps):
        x = solve(fused + pull, strength) - b
        near_b, near_a = np.sqrt(2 / tau_b / (x**2 + 1e-6)), np.sqrt(2 / tau_a / ((a - b - x) ** 2 + 1e-6))
        tau_b, tau_a = np.mean(1 / near_b + tau_b / 2), np.mean(1 / near_a + tau_a / 2)
        smooth = solve(a - b - x + gather(auxiliary), 1)
        auxiliary = rho / (2 * 0.5 + rho) * differ(smooth)
        x = (2 * near_a * (a - b) + rho * (a - b - smooth)) / (2 * near_a + 2 * near_b + rho)
        fused = b + x
    return np.clip(fused, np.minimum(a, b), np.maximum(a, b))


@pytest.mark.parametrize("steps", [1, 5])
def test_ddfm_em_is_the_one_of_its_equations(steps: int) -> None:
    a, b = draw((16, 19), 0), draw((16, 19), 1)
    expected = maximise(a.astype(np.float64), b.astype(np.float64), steps, 16)
    np.testing.assert_allclose(fuse_ddfm_em(a, b, steps=steps), expected, atol=1e-4)


def test_ddfm_em_stays_between_the_sources() -> None:
    a, b = draw((57, 43), 0), draw((57, 43), 1)
    fused = fuse_ddfm_em(a, b)
    assert (fused >= np.minimum(a, b)).all() and (fused <= np.maximum(a, b)).all()
