"""The methods that decide which source is in focus or well exposed compute what their descriptions say."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage
from skimage import data

from prior.arrays import Image, luma, to_image
from prior.methods import boundary_focus, dsift, gfdf
from prior.methods.boundary_focus import fuse_boundary_focus
from prior.methods.dsift import fuse_dsift
from prior.methods.exposure_fusion import fuse_exposure_fusion
from prior.methods.gfdf import fuse_gfdf
from prior.registry import Fuse
from prior.steps.dense_sift import NUMBERS, gather_cells, write_descriptor
from prior.steps.guided import filter_guided

FOCUS = pytest.mark.parametrize("fuse", [fuse_dsift, fuse_boundary_focus, fuse_gfdf])


@pytest.fixture(scope="module")
def scene() -> Image:
    """A photograph full of texture, 150 x 180 px."""
    return to_image(np.ascontiguousarray(data.brick()[::2, ::2][:150, :180]))


def split_focus(scene: Image) -> tuple[Image, Image]:
    """Two sources, of which one is sharp on the left, the other on the right."""
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    left = np.arange(scene.shape[1]) < 90
    return np.where(left, scene, blurred), np.where(left, blurred, scene)


@FOCUS
def test_takes_each_half_from_the_source_in_focus(fuse: Fuse, scene: Image) -> None:
    a, b = split_focus(scene)
    for fused in (fuse(a, b), fuse(b, a)):
        np.testing.assert_allclose(fused[:, :65], scene[:, :65], atol=0.05)
        np.testing.assert_allclose(fused[:, 115:], scene[:, 115:], atol=0.05)
        assert np.abs(fused - scene).mean() < 0.2 * np.abs(0.5 * (a + b) - scene).mean()


@FOCUS
def test_takes_no_speck_from_the_other_source(fuse: Fuse, scene: Image) -> None:
    sharp, blurred = scene.copy(), cv2.GaussianBlur(scene, (0, 0), 3)
    blurred[70:76, 90:96], sharp[70:76, 90:96] = scene[70:76, 90:96], blurred[70:76, 90:96]
    np.testing.assert_allclose(fuse(sharp, blurred), sharp, atol=0.02)


@pytest.mark.parametrize("fuse", [fuse_boundary_focus, fuse_gfdf])
def test_a_speck_counts_where_the_smallest_region_is_smaller(fuse: Callable[..., Image], scene: Image) -> None:
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    speck = np.zeros(scene.shape, np.bool_)
    speck[66:82, 84:100] = True
    a, b = np.where(speck, blurred, scene), np.where(speck, scene, blurred)
    inside = np.s_[70:78, 88:96]

    def measure_error(fused: Image) -> float:
        return float(np.abs(fused - scene)[inside].mean())

    assert measure_error(fuse(a, b, smallest=0.001)) < 0.5 * measure_error(fuse(a, b, smallest=0.1))


@FOCUS
def test_never_leaves_the_range_of_the_sources(fuse: Fuse) -> None:
    a, b = np.random.default_rng(0).random((2, 60, 50), np.float32)
    fused = fuse(a, b)
    assert (fused >= np.minimum(a, b) - 1e-6).all() and (fused <= np.maximum(a, b) + 1e-6).all()


# DSIFT.


def measure_frequency(image: Image, row: int, column: int) -> float:
    window = np.pad(image.astype(np.float64), 3, mode="symmetric")[row : row + 7, column : column + 7]
    return float((np.diff(window, axis=0) ** 2).sum() + (np.diff(window, axis=1) ** 2).sum())


def test_dsift_compares_each_pixel_with_its_match(scene: Image) -> None:
    a, b = (image[30:48, 80:101].copy() for image in split_focus(scene))
    b = np.roll(b, 1, axis=1)
    cells = [gather_cells(image) for image in (a, b)]
    descriptors = np.empty((2, *a.shape, NUMBERS), np.float32)
    for of_source, one in zip(descriptors, cells, strict=True):
        for i, j in np.ndindex(a.shape):
            write_descriptor(one, i, j, of_source[i, j])
    expected = np.full(a.shape, 0.5, np.float32)
    for i, j in np.ndindex(a.shape):
        rises = []
        for (own, source), (other, of_other) in (((descriptors[0], a), (descriptors[1], b)), ((descriptors[1], b), (descriptors[0], a))):
            near = {
                (y, x): float(((own[i, j] - other[y, x]) ** 2).sum())
                for y in range(max(i - 3, 0), min(i + 4, a.shape[0]))
                for x in range(max(j - 3, 0), min(j + 4, a.shape[1]))
            }
            match = min(near, key=lambda at: near[at])
            rises.append(measure_frequency(source, i, j) - measure_frequency(of_other, *match))
        if rises[0] * rises[1] < 0:
            expected[i, j] = rises[0] > 0
    decision = dsift._decide(a, b, 8, 3600)  # no region of so small an image counts: everything is matched
    assert {0, 1} <= set(np.unique(expected))
    assert (decision == expected).mean() > 0.995  # equal distances may be rounded apart


def test_dsift_needs_no_descriptor_that_no_unsure_pixel_reaches(scene: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = split_focus(scene)
    sparing, match, shares = dsift._decide(a, b, 8, 400), dsift._match, []

    def match_with_all(decision: Image, unsure: NDArray[np.bool_], reached: NDArray[np.bool_], *rest: NDArray[np.float32]) -> None:
        shares.append(reached.mean())
        match(decision, unsure, np.ones_like(reached), *rest)

    monkeypatch.setattr(dsift, "_match", match_with_all)
    np.testing.assert_array_equal(dsift._decide(a, b, 8, 400), sparing)
    assert 0.02 < shares[0] < 0.6


def test_dsift_leaves_open_what_no_source_wins() -> None:
    a, b = np.full((40, 50), 0.25, np.float32), np.full((40, 50), 0.75, np.float32)
    np.testing.assert_allclose(fuse_dsift(a, b), 0.5, atol=1e-6)


@pytest.mark.parametrize("pair", ["lytro_03", "lytro_10"])
def test_dsift_agrees_with_the_published_images(shared: Path, pair: str) -> None:
    a, b, theirs = (read_luma(shared / "data" / "lytro" / folder / f"{pair}.jpg") for folder in ("a", "b", "fused/DSIFT"))
    ours = fuse_dsift(a, b)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9995
    assert -10 * np.log10(np.mean((ours - theirs) ** 2)) > 49


def read_luma(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return to_image(luma(np.asarray(picture)))


# Boundary focus.


def test_boundary_focus_measures_morphological_gradients_of_five_sizes(scene: Image) -> None:
    image = scene[:40, :50].copy()
    expected = np.zeros(image.shape)
    for radius in (3, 5, 7, 9, 11):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.bool_)
        largest = ndimage.grey_dilation(image, footprint=disc, mode="nearest")
        expected += (largest - ndimage.grey_erosion(image, footprint=disc, mode="nearest")) / radius
    np.testing.assert_allclose(boundary_focus._measure_focus(image), expected, atol=1e-5)


def test_boundary_focus_passes_from_source_to_source_within_three_pixels() -> None:
    region = np.zeros((30, 40), np.bool_)
    region[:, :20] = True
    weight = boundary_focus._soften(region)
    # pixel centres lie 0.5, 1.5, 2.5 px from the boundary
    np.testing.assert_allclose(weight[15, 16:24], [1, 11 / 12, 9 / 12, 7 / 12, 5 / 12, 3 / 12, 1 / 12, 0], atol=1e-6)


@pytest.mark.parametrize("value", [False, True])
def test_boundary_focus_without_a_boundary_takes_one_source(value: bool) -> None:
    np.testing.assert_array_equal(boundary_focus._soften(np.full((20, 30), value)), value)


def test_boundary_focus_keeps_a_thin_thing_in_front(scene: Image) -> None:
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    columns = np.arange(scene.shape[1])
    post = (columns >= 80) & (columns < 100)
    a, b = np.where(post, scene, blurred), np.where(post, blurred, scene)
    fused = fuse_boundary_focus(a, b)
    assert np.abs(fused - scene)[:, 86:94].mean() < 0.2 * np.abs(b - scene)[:, 86:94].mean()


def test_boundary_focus_averages_sources_that_differ_by_noise(scene: Image) -> None:
    rng = np.random.default_rng(0)
    a, b = ((scene + 0.004 * rng.standard_normal(scene.shape)).astype(np.float32) for _ in range(2))

    def measure_error(fused: Image) -> float:
        return float(np.mean((fused - scene) ** 2))

    assert measure_error(fuse_boundary_focus(a, b)) < 0.7 * measure_error(fuse_boundary_focus(a, b, noise=0))


# GFDF.


def test_gfdf_is_the_one_of_its_description(scene: Image) -> None:
    a, b = split_focus(scene)
    focus = []
    for image in (a, b):
        double = image.astype(np.float64)
        focus.append(filter_guided(double, np.abs(double - ndimage.uniform_filter(double, 7, mode="nearest")), 5, 0.3))
    region = focus[0] > focus[1]
    for value in (True, False):  # regions first, then holes
        labels, count = ndimage.label(region == value, np.ones((3, 3)))
        sizes = ndimage.sum_labels(np.ones(region.shape), labels, np.arange(1, count + 1))
        small = 1 + np.flatnonzero(sizes < 0.01 * region.size)
        region[np.isin(labels, small)] = not value
    weight = filter_guided(np.where(region, a, b).astype(np.float64), region.astype(np.float64), 5, 0.3).clip(0, 1)
    np.testing.assert_allclose(fuse_gfdf(a, b), b + weight * (a - b), atol=1e-5)
    assert gfdf._find_region(a, b, 0.01).mean() == pytest.approx(0.5, abs=0.03)


# Exposure fusion.


def expose(scene: Image, gain: float) -> NDArray[np.uint8]:
    return np.clip(np.rint(255 * gain * scene), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(150, 180), (64, 64), (57, 43)], ids=str)
def test_exposure_fusion_is_opencvs_but_at_borders_and_where_contrast_is_rounding(scene: Image, shape: tuple[int, int]) -> None:
    dark, bright = (expose(scene[: shape[0], : shape[1]], gain) for gain in (0.5, 1.8))
    theirs = cv2.createMergeMertens(1, 0, 1).process([dark, bright])
    difference = np.abs(fuse_exposure_fusion(to_image(dark), to_image(bright)) - theirs)
    assert difference.mean() < 2e-3
    assert np.quantile(difference[8:-8, 8:-8], 0.98) < 3e-3


def test_exposure_fusion_shows_what_is_lost_in_either_source() -> None:
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.standard_normal((64, 128)), 1)
    light = np.where(np.arange(128) < 64, 0.08, 4) * (1 + 0.8 * texture)
    short, long = (np.clip(light * time, 0, 1).astype(np.float32) for time in (0.1, 8))
    assert short[:, :64].std() < 0.01 and long[:, 64:].std() < 0.02
    fused = fuse_exposure_fusion(short, long)
    for half, source in ((np.s_[8:-8, 8:56], long), (np.s_[8:-8, 72:120], short)):
        assert np.corrcoef(fused[half].ravel(), source[half].ravel())[0, 1] > 0.9


def test_exposure_fusion_without_its_measures_is_the_mean(scene: Image) -> None:
    a, b = split_focus(scene)
    np.testing.assert_allclose(fuse_exposure_fusion(a, b, contrast=0, exposure=0), 0.5 * (a + b), atol=1e-5)
    np.testing.assert_allclose(fuse_exposure_fusion(a, b), fuse_exposure_fusion(b, a), atol=1e-5)
