"""LP-SR, RP-SR and NSCT-SR: one rule for low bands and one for detail, on three transforms; and the published images."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from prior.arrays import Image, to_image
from prior.methods.lp_sr import fuse_lp_sr
from prior.methods.nsct_sr import MOST, fuse_nsct_sr
from prior.methods.rp_sr import FLOOR, fuse_rp_sr
from prior.registry import Fuse
from prior.steps.nsct import decompose
from prior.steps.pyramid import double, halve
from prior.steps.sparse import fuse_sparse

METHODS = [fuse_lp_sr, fuse_rp_sr, fuse_nsct_sr]


def draw_image(shape: tuple[int, int], seed: int) -> Image:
    """Clouds with fine texture, in [0.1, 0.9]."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 3)
    return (0.1 + 0.6 * (clouds - clouds.min()) / np.ptp(clouds) + 0.2 * rng.random(shape)).astype(np.float32)


def pick_plainly(a: Image, b: Image) -> Image:
    """The larger magnitude in 3x3 px, by the majority of 3x3 px."""
    peaks_a, peaks_b = (ndimage.maximum_filter(np.abs(x), 3, mode="constant") for x in (a, b))
    votes = ndimage.uniform_filter((peaks_a > peaks_b).astype(np.float64), 3, mode="reflect")
    return np.where(votes > 0.5, a, b)


def test_lp_sr_is_the_one_of_its_description() -> None:
    a, b = draw_image((36, 50), 0), draw_image((36, 50), 1)
    low_a, low_b = halve(a), halve(b)
    detail = pick_plainly(a - double(low_a, a.shape), b - double(low_b, b.shape))
    np.testing.assert_allclose(fuse_lp_sr(a, b, levels=1), double(fuse_sparse(low_a, low_b), a.shape) + detail, atol=1e-6)


def test_rp_sr_is_the_one_of_its_description() -> None:
    a, b = draw_image((36, 50), 0), draw_image((36, 50), 1)
    low_a, low_b = halve(a), halve(b)
    ratio = pick_plainly(a / (double(low_a, a.shape) + FLOOR), b / (double(low_b, b.shape) + FLOOR))
    expected = np.clip(double(fuse_sparse(low_a, low_b), a.shape) * ratio, 0, 1)
    np.testing.assert_allclose(fuse_rp_sr(a, b, levels=1), expected, atol=1e-6)


def test_nsct_sr_is_the_one_of_its_description() -> None:
    a, b = draw_image((36, 50), 0), draw_image((36, 50), 1)
    (low_a, *details_a), (low_b, *details_b) = decompose(a), decompose(b)
    details = [pick_plainly(x, y) for x, y in zip(details_a, details_b, strict=True)]
    np.testing.assert_allclose(fuse_nsct_sr(a, b), fuse_sparse(low_a, low_b, most=MOST) + sum(details), atol=1e-6)


@pytest.mark.parametrize("fuse", [fuse_lp_sr, fuse_rp_sr])
def test_without_levels_the_images_themselves_are_coded(fuse: Callable[..., Image]) -> None:
    a, b = draw_image((24, 30), 2), draw_image((24, 30), 3)
    np.testing.assert_array_equal(fuse(a, b, levels=0), fuse_sparse(a, b))


@pytest.mark.parametrize("fuse", [fuse_lp_sr, fuse_nsct_sr])
def test_keeps_all_contrast_of_a_source_beside_a_flat_one(fuse: Fuse) -> None:
    lively, flat = draw_image((64, 80), 4), np.full((64, 80), 0.9, np.float32)
    for pair in ((lively, flat), (flat, lively)):
        np.testing.assert_allclose(fuse(*pair), lively, atol=1e-5)


@pytest.mark.parametrize("fuse", METHODS)
def test_takes_each_half_from_the_source_that_is_sharp_there(fuse: Fuse) -> None:
    scene = draw_image((96, 128), 5)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    left = np.arange(128) < 64
    a, b = np.where(left, scene, blurred), np.where(left, blurred, scene)
    error = np.abs(fuse(a, b) - scene).mean()
    assert error < 0.4 * np.abs(0.5 * (a + b) - scene).mean()


def test_rp_sr_keeps_bright_detail_where_lp_sr_keeps_the_stronger() -> None:
    bright, dark = (np.full((64, 64), 0.4, np.float32) for _ in range(2))
    bright[16::32, 16::32], dark[16::32, 16::32] = 0.6, 0.05
    centres = np.s_[16::32, 16::32]
    assert (fuse_rp_sr(bright, dark)[centres] > 0.4).all()
    assert (fuse_lp_sr(bright, dark)[centres] < 0.4).all()


def test_rp_sr_never_leaves_the_range_of_an_image() -> None:
    noise = np.random.default_rng(6).integers(0, 2, (2, 65, 51)).astype(np.float32)
    fused = fuse_rp_sr(*noise)
    assert fused.min() >= 0 and fused.max() <= 1


# Against the images that the authors' programs made, as published with VIFB (a = infrared, b = visible) and with the Lytro pairs.


def read_luma(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return to_image(np.asarray(picture))


def compare(fused: Image, published: Image) -> tuple[float, float]:
    """Correlation and PSNR (dB) without a rim of 18 px, where patches that reach the border make a difference by intent."""
    ours, theirs = np.clip(fused, 0, 1)[18:-18, 18:-18], published[18:-18, 18:-18]
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]), float(-10 * np.log10(np.mean((ours - theirs) ** 2)))


@pytest.mark.parametrize(
    ("fuse", "name", "published", "pair", "correlation", "psnr"),
    [
        (fuse_lp_sr, "vifb", "LP_SR", "elecbike", 0.995, 36),
        (fuse_lp_sr, "vifb", "LP_SR", "man", 0.995, 38),
        (fuse_lp_sr, "lytro", "MST_SR", "lytro_02", 0.998, 45),
        (fuse_rp_sr, "vifb", "RP_SR", "elecbike", 0.995, 35),
        (fuse_rp_sr, "vifb", "RP_SR", "man", 0.995, 38),
        (fuse_nsct_sr, "vifb", "NSCT_SR", "elecbike", 0.995, 36),
    ],
)
def test_agrees_with_the_published_images(
    shared: Path, fuse: Fuse, name: str, published: str, pair: str, correlation: float, psnr: float
) -> None:
    home = shared / "data" / name
    folders: list[str] = ["ir", "vis"] if name == "vifb" else ["a", "b"]
    a, b, theirs = (read_luma(next((home / folder).glob(f"{pair}.*"))) for folder in (*folders, f"fused/{published}"))
    agreement: NDArray[np.float64] = np.array(compare(fuse(a, b), theirs))
    assert (agreement >= [correlation, psnr]).all(), agreement
