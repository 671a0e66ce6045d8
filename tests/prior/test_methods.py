"""Every registered method keeps the contract, and each of ours computes what its description says."""

import functools
import inspect
import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from prior.arrays import Image, to_image
from prior.evaluate import fuse, prepare
from prior.methods.gff import _choose
from prior.methods.gff import _weigh as weigh_gff
from prior.methods.tif import _weigh as weigh_tif
from prior.registry import Fuse, Method, find_method, methods
from prior.steps.choice import pick_stronger
from prior.steps.guided import filter_guided
from prior.steps.principal import _weigh as weigh_pca
from prior.steps.pyramid import count_levels, double, halve

README = Path(__file__).resolve().parents[2] / "README.md"
GREY_LEVEL = 1 / 255
ROOM = 0.25  # how far beyond [0, 1] halos may go on what looks like a picture; 0.22 measured, before `evaluate.fuse` clips it
ROOM_IN_NOISE = 1.5  # the same where every pixel is black or white; 1.29 measured
SIZES = [(16, 16), (17, 40), (41, 41), (57, 43), (67, 97)]
ASYMMETRIC = {
    "gtf": "the second source's gradients on the first's levels",
    "hmsd_gf": "the first source is the infrared one",
    "hybrid_msd": "the first source is the infrared one",
    "ifevip": "the first source is the infrared one",
    "vsmwls": "the first source is the infrared one",
    "nsst_aisa": "a search from seeded genes",
    "nsst_ejaya": "a search from seeded genes",
    "spectrum_mask_gwo": "a search from seeded genes",
}
SELECTIVE = [  # those that prefer the sharper source
    "boundary_focus",
    "cbf",
    "contrast_pyramid",
    "coupled_csc",
    "ddfm_em",
    "dsift",
    "dtcwt",
    "gff",
    "gfdf",
    "gradient_transfer",
    "laplacian_pyramid",
    "lp_sr",
    "nsct_sr",
    "nsst",
    "nsst_wlf_nsml",
    "ratio_pyramid",
    "rp_sr",
    "swt",
    "wavelet",
]


THREADED = [*(one.name for one in methods().values() if "fast" in one.sets), "brightness_regions", "exposure_fusion", "ifevip", "poisson"]
"""Quick enough for a picture so large that OpenCV smooths, widens and resizes it in several threads."""


@pytest.fixture(params=list(methods()))
def each(request: pytest.FixtureRequest) -> Method:
    """Every registered method in turn."""
    return find_method(request.param)


def draw_image(shape: tuple[int, int], seed: int) -> Image:
    """A cloudy image with a bright block, fine texture and 256 grey levels."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 4)
    image = (clouds - clouds.min()) / np.ptp(clouds) * 0.7 + 0.1 * rng.random(shape)
    row, column = rng.integers(0, min(shape) // 2, 2)
    image[row : row + 9, column : column + 7] += 0.2
    picture = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return to_image(picture)


def draw_pair(shape: tuple[int, int] = (57, 43), seed: int = 0) -> tuple[Image, Image]:
    """Two unrelated images of one size."""
    return draw_image(shape, 2 * seed), draw_image(shape, 2 * seed + 1)


def fill(value: float, shape: tuple[int, int] = (41, 41)) -> Image:
    """A flat image."""
    return np.full(shape, value, np.float32)


def draw_checkers(shape: tuple[int, int] = (41, 41)) -> Image:
    """Black and white squares of one pixel."""
    rows, columns = np.indices(shape)
    return ((rows + columns) % 2).astype(np.float32)


def draw_black_and_white(seed: int, shape: tuple[int, int] = (41, 41)) -> Image:
    """Noise without any grey."""
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


EXTREMES = {
    "two flat": (fill(0.2), fill(0.8)),
    "zeros": (fill(0), fill(0)),
    "ones": (fill(1), fill(1)),
    "zeros and ones": (fill(0), fill(1)),
    "one flat": (fill(0.5), draw_image((41, 41), 0)),
    "checkers": (draw_checkers(), 1 - draw_checkers()),
    "checkers on black": (draw_checkers(), fill(0)),
    "black and white noise": (draw_black_and_white(0), draw_black_and_white(1)),
    "negative": (draw_image((41, 41), 0), 1 - draw_image((41, 41), 0)),
    "one bright pixel": (np.pad(fill(1, (1, 1)), 20), fill(0)),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenCV has one thread unless a test gives it more; at the end it has as many as before."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@functools.cache
def fuse_drawn(method: Method, shape: tuple[int, int] = (57, 43)) -> Image:
    """What a method makes of `draw_pair(shape)`; several tests look at it."""
    fused = method.fuse(*draw_pair(shape))
    fused.setflags(write=False)
    return fused


@functools.cache
def fuse_extreme(method: Method, extreme: str) -> Image:
    """What a method makes of one of `EXTREMES`."""
    fused = method.fuse(*EXTREMES[extreme])
    fused.setflags(write=False)
    return fused


# The contract, for every registered method.


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_returns_an_image_of_the_same_size(each: Method, shape: tuple[int, int]) -> None:
    fused = fuse_drawn(each, shape)
    assert isinstance(fused, np.ndarray) and fused.dtype == np.float32
    assert fused.shape == shape
    assert np.isfinite(fused).all()
    assert fused.min() > -ROOM and fused.max() < 1 + ROOM


@pytest.mark.parametrize("extreme", EXTREMES)
def test_survives_extremes(each: Method, extreme: str) -> None:
    fused = fuse_extreme(each, extreme)
    assert np.isfinite(fused).all()
    assert fused.min() > -ROOM_IN_NOISE and fused.max() < 1 + ROOM_IN_NOISE


@pytest.mark.parametrize("extreme", ["black and white noise", "checkers on black"])
def test_a_candidate_lies_between_black_and_white(each: Method, extreme: str) -> None:
    pictures = (np.rint(255 * image).astype(np.uint8) for image in EXTREMES[extreme])
    fused = fuse_extreme(each, extreme)
    candidate = fuse(replace(each, fuse=lambda a, b: fused), prepare("drawn", *pictures), {})
    luma = to_image(candidate.picture)
    assert luma.dtype == np.float32 and luma.min() >= 0 and luma.max() <= 1
    np.testing.assert_allclose(luma, np.clip(fused, 0, 1), atol=0.51 * GREY_LEVEL)
    assert candidate.clipped == np.mean((fused < 0) | (fused > 1))


def test_takes_read_only_inputs_and_leaves_them_alone(each: Method) -> None:
    a, b = draw_pair()
    kept = a.copy(), b.copy()
    for image in (a, b):
        image.setflags(write=False)
    fused = each.fuse(a, b)
    np.testing.assert_array_equal(fused, fuse_drawn(each))
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])
    assert not np.shares_memory(fused, a) and not np.shares_memory(fused, b)


def test_takes_views(each: Method) -> None:
    views = (image.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2] for image in draw_pair())
    np.testing.assert_array_equal(each.fuse(*views), fuse_drawn(each))


def test_gives_the_same_answer_twice(each: Method) -> None:
    first = fuse_drawn(each)
    fuse_extreme(each, "black and white noise")
    np.testing.assert_array_equal(each.fuse(*draw_pair()), first)


@pytest.fixture(scope="module")
def large_pair() -> tuple[Image, Image]:
    """So large that OpenCV smooths, widens and resizes it in several threads."""
    return draw_pair((1024, 1024))


def test_does_not_depend_on_the_number_of_threads(each: Method) -> None:
    alone = fuse_drawn(each, (67, 97))
    cv2.setNumThreads(4)  # OpenCV's pyramids and maps use them at any size
    np.testing.assert_array_equal(each.fuse(*draw_pair((67, 97))), alone)


@pytest.mark.parametrize("name", THREADED)
def test_does_not_depend_on_the_number_of_threads_when_filters_have_several(name: str, large_pair: tuple[Image, Image]) -> None:
    alone = find_method(name).fuse(*large_pair)
    cv2.setNumThreads(4)
    np.testing.assert_array_equal(find_method(name).fuse(*large_pair), alone)


@pytest.mark.parametrize("image", [draw_image((57, 43), 7), draw_checkers(), fill(0.3)], ids=["cloudy", "checkers", ".3"])
def test_returns_the_source_when_both_are_one(each: Method, image: Image) -> None:
    if not each.idempotent:
        pytest.skip("declared not idempotent: it changes contrast on purpose")
    np.testing.assert_allclose(each.fuse(image, image.copy()), image, atol=GREY_LEVEL)


@pytest.mark.parametrize(("extreme", "level"), [("zeros", 0), ("ones", 1)])
def test_returns_black_and_white(each: Method, extreme: str, level: int) -> None:
    if not each.idempotent:
        pytest.skip("declared not idempotent: it changes contrast on purpose")
    np.testing.assert_allclose(fuse_extreme(each, extreme), level, atol=GREY_LEVEL)


def test_stays_between_two_flat_sources(each: Method) -> None:
    fused = fuse_extreme(each, "two flat")
    assert np.ptp(fused) < GREY_LEVEL
    assert 0.2 - GREY_LEVEL <= fused[0, 0] <= 0.8 + GREY_LEVEL


def test_pickles(each: Method) -> None:
    again: Fuse = pickle.loads(pickle.dumps(each.fuse))
    assert again is each.fuse or np.array_equal(again(*draw_pair()), fuse_drawn(each))


def test_takes_two_images_and_named_parameters_with_defaults(each: Method) -> None:
    a, b, *others = inspect.signature(each.fuse).parameters.values()
    assert (a.name, b.name) == ("a", "b")
    for one in others:
        assert one.kind is one.KEYWORD_ONLY and one.default is not one.empty, one


def test_says_what_it_is(each: Method) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", each.name)
    assert each.family
    assert re.search(r"\b(19|20)\d\d\b", each.reference), "the reference has no year"
    assert each.version >= 1
    assert each.licence
    assert (each.fuse.__doc__ or "").strip()


def test_stands_in_the_readme(each: Method) -> None:
    assert f"| `{each.name}` |" in README.read_text(encoding="utf-8")


# What several methods have in common.


def test_does_not_prefer_a_source_for_its_place(each: Method) -> None:
    if each.name in ASYMMETRIC:
        pytest.skip(ASYMMETRIC[each.name])
    a, b = draw_pair()
    np.testing.assert_allclose(each.fuse(b, a), fuse_drawn(each), atol=5e-6)


@pytest.mark.parametrize("name", ["average", "maximum", "pca", "gff", "laplacian_pyramid", "tif"])
def test_follows_a_change_of_brightness(name: str) -> None:
    pictures = [np.rint(120 * image).astype(np.uint8) for image in draw_pair()]
    darker, brighter = (find_method(name).fuse(*(to_image(picture + level) for picture in pictures)) for level in (0, 100))
    np.testing.assert_allclose(brighter, darker + np.float32(100 / 255), atol=2e-5)


@pytest.mark.parametrize("name", SELECTIVE)
def test_takes_each_half_from_the_source_that_is_sharp_there(name: str) -> None:
    scene = draw_image((96, 128), 3)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    left = np.arange(128) < 64
    a, b = np.where(left, scene, blurred), np.where(left, blurred, scene)
    error = np.abs(find_method(name).fuse(a, b) - scene).mean()
    assert error < 0.5 * np.abs(0.5 * (a + b) - scene).mean()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(height=st.integers(16, 70), width=st.integers(16, 70), levels=st.integers(0, 7), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["laplacian_pyramid", "ratio_pyramid", "wavelet"])
def test_puts_together_what_it_took_apart(name: str, height: int, width: int, levels: int, seed: int) -> None:
    image = draw_image((height, width), seed)
    np.testing.assert_allclose(find_method(name).fuse(image, image, levels=levels), image, atol=3e-6)


# Average and maximum.


def test_average_and_maximum_of_known_pixels() -> None:
    a, b = np.array([[0, 0.5], [1, 0.25]], np.float32), np.array([[1, 0.25], [1, 0.75]], np.float32)
    np.testing.assert_array_equal(find_method("average").fuse(a, b), np.array([[0.5, 0.375], [1, 0.5]], np.float32))
    np.testing.assert_array_equal(find_method("maximum").fuse(a, b), np.array([[1, 0.5], [1, 0.75]], np.float32))


# PCA.


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sign", [1, -1], ids=["alike", "opposed"])
def test_pca_weighs_by_the_leading_eigenvector(seed: int, sign: int) -> None:
    a, other = draw_pair(seed=seed)
    b = (0.5 + sign * (0.3 * a + 0.1 * other - 0.2)).astype(np.float32)
    covariance = np.cov(a.ravel().astype(np.float64), b.ravel().astype(np.float64))
    assert np.sign(covariance[0, 1]) == sign
    leading = np.abs(np.linalg.eigh(covariance).eigenvectors[:, -1])
    weight_a, weight_b = leading / leading.sum()
    np.testing.assert_allclose(find_method("pca").fuse(a, b), weight_a * a + weight_b * b, atol=1e-6)


def test_pca_takes_the_source_that_varies() -> None:
    image = draw_image((41, 41), 1)
    np.testing.assert_allclose(find_method("pca").fuse(fill(0.4), image), image, atol=1e-6)


def test_pca_averages_where_no_direction_stands_out() -> None:
    assert weigh_pca(0, 0, 0) == 0.5
    assert weigh_pca(0.2, 0.2, 0) == 0.5
    assert weigh_pca(0.2, 0.2, 1e-9) == pytest.approx(0.5)


# Pyramids.


@pytest.mark.parametrize(
    ("side", "wanted", "levels"),
    [(3, 5, -1), (4, 5, 0), (7, 5, 0), (8, 5, 1), (16, 5, 2), (41, 5, 3), (41, 2, 2), (480, 5, 5), (480, 9, 6)],
)
def test_small_images_have_fewer_levels(side: int, wanted: int, levels: int) -> None:
    assert count_levels((1000, side), wanted) == levels


def test_halve_smooths_with_the_binomial_kernel() -> None:
    image = draw_image((57, 44), 2)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    smooth = ndimage.correlate(image.astype(np.float64), kernel, mode="mirror")
    np.testing.assert_allclose(halve(image), smooth[::2, ::2], atol=1e-6)


@pytest.mark.parametrize("shape", [(57, 44), (16, 17), (1, 5)], ids=str)
def test_double_keeps_light_and_takes_the_size_it_is_told(shape: tuple[int, int]) -> None:
    np.testing.assert_allclose(double(halve(fill(0.7, shape)), shape), fill(0.7, shape), atol=1e-6)


def test_pick_stronger_goes_by_the_neighbourhood() -> None:
    quiet, loud = fill(0.1), fill(-0.2)
    quiet[20, 20] = 0.3  # stronger than its counterpart, but alone
    np.testing.assert_array_equal(pick_stronger(quiet, loud), loud)


def test_laplacian_pyramid_adds_the_detail_to_the_mean_of_what_is_coarse() -> None:
    a, flat = draw_image((40, 56), 4), fill(0.3, (40, 56))
    coarse = double(halve(a), a.shape)
    np.testing.assert_allclose(find_method("laplacian_pyramid").fuse(a, flat, levels=1), a - coarse + 0.5 * (coarse + 0.3), atol=1e-6)


def test_ratio_pyramid_prefers_contrast_where_the_laplacian_prefers_difference() -> None:
    stripes = np.where(np.arange(64) % 4 < 2, 1, -1).astype(np.float32)
    across = np.broadcast_to(stripes, (64, 64))
    dark, bright = 0.05 + 0.04 * across, 0.8 + 0.06 * across.T

    def follows(name: str, source: Image) -> float:
        return float(np.corrcoef(find_method(name).fuse(dark, bright).ravel(), source.ravel())[0, 1])

    assert follows("ratio_pyramid", dark) > 0.9 > 0.1 > follows("ratio_pyramid", bright)
    assert follows("laplacian_pyramid", bright) > 0.9 > 0.1 > follows("laplacian_pyramid", dark)


def test_ratio_pyramid_never_leaves_the_range_of_an_image() -> None:
    for a, b in EXTREMES.values():
        fused = find_method("ratio_pyramid").fuse(a, b)
        assert fused.min() >= 0 and fused.max() <= 1


# Wavelet.


def fuse_level_by_level(a: NDArray[np.float64], b: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """The rule written as a recursion over single levels, in float64."""
    if levels == 0:
        return (a + b) / 2
    (low_a, high_a), (low_b, high_b) = (pywt.dwt2(image, "bior2.2", "symmetric") for image in (a, b))
    highs = tuple(np.where(np.abs(x) > np.abs(y), x, y) for x, y in zip(high_a, high_b, strict=True))
    low = fuse_level_by_level(low_a, low_b, levels - 1)[: low_a.shape[0], : low_a.shape[1]]
    fused: NDArray[np.float64] = pywt.idwt2((low, highs), "bior2.2", "symmetric")
    return fused


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_wavelet_keeps_the_larger_coefficient_of_every_level(levels: int) -> None:
    a, b = np.random.default_rng(0).random((2, 97, 113), np.float32)
    expected = fuse_level_by_level(a.astype(np.float64), b.astype(np.float64), levels)[:97, :113]
    np.testing.assert_allclose(find_method("wavelet").fuse(a, b, levels=levels), expected, atol=1e-5)


def test_wavelet_of_an_edge_beside_nothing_keeps_the_whole_edge() -> None:
    a = np.zeros((64, 64), np.float32)
    a[:, 32:] = 1
    fused = find_method("wavelet").fuse(a, np.full_like(a, 0.5))
    steps = np.diff(fused, axis=1)[:, 31]
    assert (steps > 0.9).all()


# GFF.


def filter_naively(guide: NDArray[np.float64], target: NDArray[np.float64], radius: int, eps: float) -> NDArray[np.float64]:
    """The guided filter window by window, as its equations are written."""
    height, width = guide.shape
    lines = np.zeros((2, height, width))
    windows = [np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1] for i in range(height) for j in range(width)]
    for index, window in enumerate(windows):
        x, y = guide[window], target[window]
        slope = ((x - x.mean()) * (y - y.mean())).mean() / (x.var() + eps)
        lines.reshape(2, -1)[:, index] = slope, y.mean() - slope * x.mean()
    averages = np.array([lines[:, *window].mean(axis=(1, 2)) for window in windows])
    slopes, offsets = averages.T.reshape(2, height, width)
    filtered: NDArray[np.float64] = slopes * guide + offsets
    return filtered


@pytest.mark.parametrize(("radius", "eps"), [(2, 1e-6), (4, 0.3), (45, 0.3)])
def test_guided_filter_is_the_one_of_its_equations(radius: int, eps: float) -> None:
    guide = draw_image((20, 17), 5).astype(np.float64)
    target = (draw_image((20, 17), 6) > 0.5).astype(np.float64)
    np.testing.assert_allclose(filter_guided(guide, target, radius, eps), filter_naively(guide, target, radius, eps), atol=1e-8)


def test_guided_filter_keeps_an_edge_of_its_guide_that_a_mean_would_lose() -> None:
    step = np.repeat([0.25, 0.75], 30)[None, :].repeat(60, axis=0)
    np.testing.assert_allclose(filter_guided(step, (step > 0.5).astype(np.float64), 7, 1e-6), step > 0.5, atol=1e-3)


def test_gff_weights_sum_to_one_and_ties_are_shared() -> None:
    a, b = (image.astype(np.float64) for image in draw_pair())
    choice = _choose(*draw_pair())
    assert set(np.unique(choice)) <= {0, 0.5, 1}
    np.testing.assert_allclose(weigh_gff(a, b, choice, 7, 1e-6) + weigh_gff(b, a, 1 - choice, 7, 1e-6), 1, atol=1e-6)
    np.testing.assert_array_equal(_choose(fill(0.1), fill(0.9)), 0.5)


def test_gff_shares_a_pixel_that_no_source_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prior.methods.gff.filter_guided", lambda guide, *_: np.zeros_like(guide))
    unused = np.ones((5, 5))
    np.testing.assert_array_equal(weigh_gff(unused, unused, unused, 7, 1e-6), 0.5)


# TIF.


def test_tif_weights_sum_to_one_and_follow_the_saliency() -> None:
    a, b = draw_pair()
    np.testing.assert_allclose(weigh_tif(a, b) + weigh_tif(b, a), 1, atol=1e-6)
    known_a, known_b = np.array([0, 0, 1, 3], np.float32), np.array([0, 1, 0, 1], np.float32)
    np.testing.assert_array_equal(weigh_tif(known_a, known_b), np.array([0.5, 0, 1, 0.75], np.float32))


def test_tif_is_the_one_of_its_description() -> None:
    a, b = (image.astype(np.float64) for image in draw_pair((57, 43)))
    base_a, base_b = (ndimage.uniform_filter(image, 35, mode="reflect") for image in (a, b))
    saliency_a, saliency_b = ((ndimage.median_filter(i, 3, mode="nearest") - base) ** 2 for i, base in ((a, base_a), (b, base_b)))
    weight = saliency_a / (saliency_a + saliency_b)
    expected = (base_a + base_b) / 2 + weight * (a - base_a) + (1 - weight) * (b - base_b)
    np.testing.assert_allclose(find_method("tif").fuse(*draw_pair((57, 43))), expected, atol=1e-4)


# Against the images that the methods' own authors' programs made, as published with VIFB (a = infrared, b = visible).


def read_picture(path: Path) -> NDArray[np.uint8]:
    with Pictures.open(path) as picture:
        return np.asarray(picture)


def compare_with_published(vifb: Path, name: str, published: str, file: str) -> tuple[float, float]:
    """Correlation and PSNR (dB) of our luma and the published one's, without the 18 px rim where TIF's borders differ by intent."""
    a, b, theirs = (to_image(read_picture(vifb / folder / file)) for folder in ("ir", "vis", f"fused/{published}"))
    ours = np.clip(find_method(name).fuse(a, b), 0, 1)
    ours, theirs = ours[18:-18, 18:-18], theirs[18:-18, 18:-18]
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]), float(-10 * np.log10(np.mean((ours - theirs) ** 2)))


@pytest.mark.parametrize(("name", "published", "correlation", "psnr"), [("gff", "GFF", 0.9998, 48.4), ("tif", "TIF", 0.998, 42.4)])
def test_agrees_with_the_published_images(shared: Path, name: str, published: str, correlation: float, psnr: float) -> None:
    vifb = shared / "data" / "vifb"
    # Where the infrared file is grey, the published GFF image is no GFF: its loader wrote the infrared into the visible's green channel.
    files = [p.name for p in sorted((vifb / "ir").iterdir()) if name != "gff" or read_picture(p).ndim == 3]
    agreement = np.array([compare_with_published(vifb, name, published, file) for file in files])
    assert len(files) >= 17
    median, worst = np.median(agreement, axis=0), agreement.min(axis=0)
    assert median[0] >= correlation and worst[0] >= 0.996, agreement
    assert median[1] >= psnr and worst[1] >= 36, agreement
