"""ADF, FPDE and CBF compute what their equations say and what was published."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from prior.arrays import Image, to_image
from prior.methods import adf, fpde
from prior.methods.adf import fuse_adf
from prior.methods.cbf import _measure_strength, fuse_cbf
from prior.methods.fpde import fuse_fpde
from prior.registry import Fuse
from prior.steps.bilateral import filter_cross_bilateral
from prior.steps.two_scale import fuse_principal_details

RIM = 18  # px at the border that published programs treat in ways of their own
Diffuse = Callable[[Image, int, float], Image]


def draw(seed: int, shape: tuple[int, int] = (21, 18)) -> Image:
    """Texture on a step."""
    image = 0.3 * np.random.default_rng(seed).random(shape)
    image[:, shape[1] // 2 :] += 0.6
    return image.astype(np.float32)


def read(path: Path) -> Image:
    """The luma of a picture."""
    return to_image(np.asarray(Pictures.open(path)))


# Two scales.


def test_details_are_weighted_by_their_principal_component() -> None:
    a, b = draw(0), draw(1)
    base_a, base_b = (ndimage.uniform_filter(each, 5) for each in (a, b))
    covariance = np.cov((a - base_a).ravel().astype(np.float64), (b - base_b).ravel().astype(np.float64))
    leading = np.abs(np.linalg.eigh(covariance).eigenvectors[:, -1])
    weight_a, weight_b = leading / leading.sum()
    expected = (base_a + base_b) / 2 + weight_a * (a - base_a) + weight_b * (b - base_b)
    np.testing.assert_allclose(fuse_principal_details(a, b, base_a, base_b), expected, atol=2e-6)


def test_opposed_details_are_not_extrapolated() -> None:
    detail = np.random.default_rng(2).standard_normal((20, 20)).astype(np.float32)
    flat = np.zeros_like(detail)
    fused = fuse_principal_details(detail, -0.5 * detail, flat, flat)
    assert np.abs(fused).max() <= np.abs(detail).max()


# ADF.


def diffuse_naively(image: Image, steps: int, steepness: float) -> NDArray[np.float64]:
    """Eight neighbours pixel by pixel, no heat across the border."""
    warmth = image.astype(np.float64)
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    for _ in range(steps):
        last = warmth.copy()
        for row, column in np.ndindex(*image.shape):
            for down, right in around:
                i, j = row + down, column + right
                if 0 <= i < image.shape[0] and 0 <= j < image.shape[1]:
                    step = last[i, j] - last[row, column]
                    warmth[row, column] += 0.15 * step * np.exp(-((step / steepness) ** 2)) / (down**2 + right**2)
    return warmth


def test_adf_diffuses_as_its_equation() -> None:
    image = draw(3)
    np.testing.assert_allclose(adf._diffuse(image, 4, 0.12), diffuse_naively(image, 4, 0.12), atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 9)], ids=str)
def test_adf_diffuses_along_a_line_of_pixels(shape: tuple[int, int]) -> None:
    a, b = np.random.default_rng(5).random((2, *shape), np.float32)
    assert np.isfinite(fuse_adf(a, b)).all() and fuse_adf(a, b).shape == shape
    np.testing.assert_allclose(adf._diffuse(a, 4, 0.12), diffuse_naively(a, 4, 0.12), atol=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_adf_keeps_heat_and_never_overshoots(seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 2, (30, 30)).astype(np.float32)
    for steepness in (0.1, 1, 1e6):
        base = adf._diffuse(noise, 10, steepness)
        assert base.mean() == pytest.approx(noise.mean(), abs=1e-5)
        assert base.min() >= -1e-6 and base.max() <= 1 + 1e-6


# FPDE.


def diffuse_fourth_order_naively(image: Image, steps: int, curvature: float) -> NDArray[np.float64]:
    """The equation in float64 with second differences of two steps."""
    values = image.astype(np.float64)

    def bend(of: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        bent: NDArray[np.float64] = ndimage.correlate1d(of, [0.25, 0, -0.5, 0, 0.25], axis=axis, mode="reflect")
        return bent

    for _ in range(steps):
        across, down = bend(values, 1), bend(values, 0)
        keep = 1 / (1 + (np.hypot(across, down) / curvature) ** 2)
        values = values - 0.9 * (bend(keep * across, 1) + bend(keep * down, 0))
    return values


def test_fpde_diffuses_as_its_equation() -> None:
    image = draw(4)
    np.testing.assert_allclose(fpde._diffuse(image, 5, 0.05), diffuse_fourth_order_naively(image, 5, 0.05), atol=3e-6)


def test_fpde_leaves_an_even_slope_alone() -> None:
    slope = np.linspace(0, 1, 60, dtype=np.float32)[None, :].repeat(20, axis=0)
    np.testing.assert_allclose(fpde._diffuse(slope, 1, 1)[:, 8:-8], slope[:, 8:-8], atol=1e-6)


def test_fpde_does_not_swing_up_where_nothing_holds_it_back() -> None:
    noise = np.random.default_rng(5).integers(0, 2, (40, 40)).astype(np.float32)
    assert fpde._diffuse(noise, 200, 1e6).std() < noise.std()


@pytest.mark.parametrize(("diffuse", "edge"), [(adf._diffuse, 30 / 255), (fpde._diffuse, 4 / 255)], ids=["adf", "fpde"])
def test_the_base_keeps_a_high_step_and_loses_faint_texture(diffuse: Diffuse, edge: float) -> None:
    stripes = np.where(np.arange(40) % 8 < 4, 0.004, -0.004)
    image = (np.repeat([0.2, 0.8], 20)[None, :] + stripes[:, None]).astype(np.float32)
    base = diffuse(image, 15, edge)
    assert (base[:, 21] - base[:, 18]).mean() > 0.5
    assert base[8:32, 10].std() < 0.7 * image[8:32, 10].std()


# CBF.


def test_cbf_weighs_by_the_eigenvalues_of_the_covariances_of_rows_and_columns() -> None:
    a, b = draw(6), draw(7)
    details = [x - filter_cross_bilateral(x, y, 5, 1.8, 25 / 255) for x, y in ((a, b), (b, a))]
    strengths = np.empty((2, *a.shape))
    for strength, detail in zip(strengths, details, strict=True):
        padded = np.pad(detail.astype(np.float64), 2, mode="reflect")
        for i, j in np.ndindex(*a.shape):
            window = padded[i : i + 5, j : j + 5]
            strength[i, j] = sum(np.linalg.eigvalsh(np.cov(each, rowvar=False)).sum() for each in (window, window.T))
    expected = (strengths[0] * a + strengths[1] * b) / strengths.sum(axis=0)
    np.testing.assert_allclose(fuse_cbf(a, b), expected, atol=1e-5)


def test_cbf_measures_no_strength_in_what_is_flat() -> None:
    assert _measure_strength(np.full((9, 9), 0.3, np.float32)).max() < 1e-12


def test_cbf_averages_where_neither_source_has_detail() -> None:
    a, b = np.full((20, 20), 0.2, np.float32), np.full((20, 20), 0.6, np.float32)
    np.testing.assert_allclose(fuse_cbf(a, b), np.full_like(a, 0.4), atol=1e-6)


def test_cbf_takes_the_edges_that_only_one_source_has() -> None:
    a, b = draw(8), np.full((21, 18), 0.5, np.float32)
    fused = fuse_cbf(a, b)
    np.testing.assert_allclose(fused[:, 7:11], a[:, 7:11], atol=0.01)


@pytest.mark.parametrize(("fuse", "folder"), [(fuse_adf, "ADF"), (fuse_fpde, "FPDE"), (fuse_cbf, "CBF")], ids=["adf", "fpde", "cbf"])
def test_is_what_was_published(fuse: Fuse, folder: str, shared: Path) -> None:
    vifb = shared / "data" / "vifb"
    for pair in ("fight", "kettle"):
        a, b, published = (read(vifb / side / f"{pair}.jpg") for side in ("ir", "vis", f"fused/{folder}"))
        inside = np.s_[RIM:-RIM, RIM:-RIM]
        assert np.corrcoef(fuse(a, b)[inside].ravel(), published[inside].ravel())[0, 1] > 0.99
