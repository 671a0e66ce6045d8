"""MGFF, Hybrid_MSD, HMSD_GF, IFEVIP and VSMWLS are what their descriptions say, and agree with their authors' published images."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from prior.arrays import Image, to_image
from prior.methods import hmsd_gf, ifevip, vsmwls
from prior.methods.hmsd_gf import fuse_hmsd_gf
from prior.methods.hybrid_msd import fuse_hybrid_msd
from prior.methods.ifevip import fuse_ifevip
from prior.methods.mgff import fuse_mgff
from prior.methods.vsmwls import fuse_vsmwls
from prior.registry import Fuse
from prior.steps.smoothing import filter_bilateral_grid

Array = NDArray[np.float64]
GREY_LEVEL = 1 / 255


def draw_image(seed: int, shape: tuple[int, int] = (57, 43)) -> Image:
    """A cloudy image with a bright block and fine texture, of 256 grey levels."""
    rng = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(rng.random(shape), 4)
    image = (clouds - clouds.min()) / np.ptp(clouds) * 0.7 + 0.1 * rng.random(shape)
    row, column = rng.integers(0, min(shape) // 2, 2)
    image[row : row + 9, column : column + 7] += 0.2
    drawn: Image = (np.rint(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)
    return drawn


def fill(value: float, shape: tuple[int, int] = (57, 43)) -> Image:
    """A flat image."""
    return np.full(shape, value, np.float32)


A, B = draw_image(0), draw_image(1)


def average(values: Array, radius: int) -> Array:
    """The mean over the part of the window that lies inside."""
    total, inside = (ndimage.uniform_filter(x, 2 * radius + 1, mode="constant") for x in (values, np.ones_like(values)))
    mean: Array = total / inside
    return mean


def filter_guided(guide: Array, target: Array, radius: int, eps: float) -> Array:
    """The guided filter by means over windows."""
    mean_guide, mean_target = average(guide, radius), average(target, radius)
    slope = (average(guide * target, radius) - mean_guide * mean_target) / (average(guide**2, radius) - mean_guide**2 + eps)
    return average(slope, radius) * guide + average(mean_target - slope * mean_guide, radius)


def blur(image: Array, sigma: float, mode: str = "reflect") -> Array:
    """A Gaussian cut off at three sigmas."""
    blurred: Array = ndimage.gaussian_filter(image, sigma, mode=mode, radius=int(3 * sigma))
    return blurred


# MGFF.


def test_mgff_is_the_one_of_its_description() -> None:
    a, b = A.astype(np.float64), B.astype(np.float64)
    fused = np.zeros_like(a)
    for _ in range(4):
        smooth_a, smooth_b = filter_guided(a, b, 9, 1000 / 255**2), filter_guided(b, a, 9, 1000 / 255**2)
        detail_a, detail_b = a - smooth_a, b - smooth_b
        fused += (np.abs(detail_a) * detail_a + np.abs(detail_b) * detail_b) / (np.abs(detail_a) + np.abs(detail_b))
        a, b = smooth_a, smooth_b
    np.testing.assert_allclose(fuse_mgff(A, B), fused + (a + b) / 2, atol=1e-5)


def test_mgff_prefers_no_source_for_its_place_and_averages_without_scales() -> None:
    np.testing.assert_allclose(fuse_mgff(A, B), fuse_mgff(B, A), atol=1e-6)
    np.testing.assert_allclose(fuse_mgff(A, B, scales=0), (A + B) / 2, atol=1e-6)


# Hybrid_MSD and HMSD_GF.


def fuse_layers(layers: list[tuple[Array, ...]], bases: tuple[Array, Array], steepness: float, finest: float) -> Array:
    """The rule of both methods, scale by scale; layers are texture and edges of the infrared, then of the visible, fine to coarse."""

    def lead(infrared: Array, visible: Array) -> Array:
        above = np.maximum(np.abs(infrared) - np.abs(visible), 0)
        weight: Array = np.arctan(steepness * above / above.max()) / np.arctan(steepness)
        return weight

    weight = blur(lead(layers[-1][1], layers[-1][3]), 4 * 2 ** len(layers))
    fused = weight * bases[0] + (1 - weight) * bases[1]
    for texture_a, edges_a, texture_b, edges_b in layers[1:]:
        weight = blur(lead(edges_a, edges_b), 1)
        fused = fused + weight * (texture_a + edges_a) + (1 - weight) * (texture_b + edges_b)
    texture_a, edges_a, texture_b, edges_b = layers[0]
    weight = (np.abs(edges_a) > np.abs(edges_b)).astype(np.float64)
    weight = blur(weight, finest) if finest else weight
    return fused + weight * edges_a + (1 - weight) * edges_b + np.where(np.abs(texture_a) > np.abs(texture_b), texture_a, texture_b)


def test_hybrid_msd_is_the_one_of_its_description() -> None:
    chains: list[list[Array]] = []
    for image in (A, B):
        blurred, spared, parts = image.astype(np.float64), image, []
        for k in range(4):
            spared = filter_bilateral_grid(spared, 2.0 * 2**k, 0.05 / 2**k)
            smoother = blur(blurred, 2 * 2**k)
            parts += [blurred - spared, spared - smoother]
            blurred = smoother
        chains.append([*parts, blurred])
    layers = [(*chains[0][2 * k : 2 * k + 2], *chains[1][2 * k : 2 * k + 2]) for k in range(4)]
    expected = fuse_layers(layers, (chains[0][-1], chains[1][-1]), 30, 0)
    # Where two magnitudes are nearly equal, rounding decides at the finest scale.
    assert np.quantile(np.abs(fuse_hybrid_msd(A, B) - expected), 0.99) < 2e-5


def test_hmsd_gf_is_the_one_of_its_description() -> None:
    chains: list[list[Array]] = []
    for image in (A, B):
        blurred = spared = image.astype(np.float64)
        parts = []
        for k in range(4):
            spared = filter_guided(spared, spared, 2 * 2**k, (0.1 / 2**k) ** 2)
            smoother = filter_guided(blurred, blurred, 2 * 2**k, 100.0**2)
            parts += [blurred - spared, spared - smoother]
            blurred = smoother
        chains.append([*parts, blurred])
    layers = [(*chains[0][2 * k : 2 * k + 2], *chains[1][2 * k : 2 * k + 2]) for k in range(4)]
    expected = fuse_layers(layers, (chains[0][-1], chains[1][-1]), hmsd_gf._choose_steepness(A, B), 1)
    assert np.quantile(np.abs(fuse_hmsd_gf(A, B) - expected), 0.99) < 2e-4
    np.testing.assert_allclose(fuse_hmsd_gf(A, B, gain=1.2), 1.2 * fuse_hmsd_gf(A, B), atol=1e-6)


@pytest.mark.parametrize("fuse", [fuse_hybrid_msd, fuse_hmsd_gf])
def test_hybrid_methods_show_a_hot_spot_in_a_visible_image_that_lacks_it(fuse: Fuse) -> None:
    hot, textured = fill(0.3, (96, 96)), draw_image(3, (96, 96))
    hot[40:56, 40:56] = 0.9
    fused = fuse(hot, textured)
    inside = np.s_[42:54, 42:54]
    added = fused - textured
    assert added[inside].mean() - added[:30].mean() > 0.2
    np.testing.assert_allclose(fuse(fill(0.3, (96, 96)), textured), textured, atol=1e-5)


def test_hmsd_gf_follows_the_ratio_of_saliencies() -> None:
    assert hmsd_gf._choose_steepness(A, A) == pytest.approx(600)
    assert hmsd_gf._choose_steepness(A, fill(0.5)) == 2000
    assert hmsd_gf._choose_steepness(fill(0.5), B) == 100
    for ratio, expected in ((0.79, 100), (0.9, 350), (1.58, 2050), (1.61, 2000)):  # just below 1.6 it is steeper than above
        assert hmsd_gf._choose_steepness(np.float32(ratio) * A, A) == pytest.approx(expected, rel=1e-4)


def test_perceptual_saliency_is_energy_under_the_contrast_sensitivity_weighted_by_gradients() -> None:
    image = draw_image(5, (57, 90)).astype(np.float64)
    inside = image[1:-1, 1:-1]
    gradient = sum(ndimage.sobel(image, axis)[1:-1, 1:-1] ** 2 for axis in (0, 1))
    energies, weights = [], []
    for rows in (np.s_[:40], np.s_[40:]):
        for columns in (np.s_[:40], np.s_[40:80], np.s_[80:]):
            block = inside[rows, columns]
            turns = 32 * np.hypot(np.fft.fftfreq(block.shape[0])[:, None], np.fft.fftfreq(block.shape[1]))
            sensitivity = 2.6 * (0.0192 + 0.114 * turns) * np.exp(-((0.114 * turns) ** 1.1))
            energies.append(np.sqrt((np.abs(np.fft.fft2(block)) ** 2 * sensitivity**2).sum()) / block.size)
            weights.append(gradient[rows, columns].sum())
    assert hmsd_gf._measure_saliency(image.astype(np.float32)) == pytest.approx(np.average(energies, weights=weights), rel=1e-4)


# IFEVIP.


def test_ifevip_quadtree_divides_only_what_varies_and_covers_everything_once() -> None:
    image = fill(0.5, (512, 512))
    image[300:310, 100:110] = 0.9
    covered = np.zeros((512, 512), int)
    for row, column, side in ifevip._divide(image):
        covered[row : row + side, column : column + side] += 1
        block, parent = image[row : row + side, column : column + side], 2 * side
        assert side == 32 or np.ptp(block) <= 0.2
        row, column = row - row % parent, column - column % parent
        assert np.ptp(image[row : row + parent, column : column + parent]) > 0.2
    np.testing.assert_array_equal(covered, 1)
    assert ifevip._divide(fill(0.5, (512, 512))) == [(0, 0, 512)]


def test_ifevip_patches_pass_through_their_corners_and_keep_a_plane() -> None:
    dark = np.random.default_rng(0).random((512, 512)).astype(np.float32)
    drawn = ifevip._draw_patches(dark, [(i, j, 128) for i in range(0, 512, 128) for j in range(0, 512, 128)])
    np.testing.assert_allclose(drawn[::128, ::128], dark[::128, ::128], atol=1e-6)
    np.testing.assert_allclose(ifevip._draw_patches(fill(0.4, (512, 512)), [(0, 0, 512)]), 0.4, atol=1e-6)
    # By de Casteljau's rule, along the upper rim of a block.
    points, t = dark[0, [0, 63, 95, 128]].astype(np.float64), 40 / 128
    while len(points) > 1:
        points = points[:-1] + t * np.diff(points)
    assert drawn[0, 40] == pytest.approx(points[0], abs=1e-6)


def test_ifevip_background_lies_under_small_bright_things() -> None:
    image = fill(0.3, (120, 160))
    image[50:56, 70:76] = 0.9
    np.testing.assert_allclose(ifevip._find_background(image), 0.3, atol=1e-5)


def test_ifevip_adds_damped_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifevip, "_find_background", lambda infrared: infrared - np.float32(0.1))
    entropies = [-(p[p > 0] * np.log2(p[p > 0])).sum() for p in (np.histogram(i, 256, (0, 256 / 255))[0] / i.size for i in (A, B))]
    features = np.maximum(0.1 + (A - B) * entropies[0] / entropies[1], 0)
    brightest = np.sort((B + features).ravel())[-2:].mean()  # one in a thousand of 57 x 43
    np.testing.assert_allclose(fuse_ifevip(A, B), np.minimum(B + features * min(1 / brightest, 0.8), 1), atol=1e-5)


def test_ifevip_never_darkens_the_visible_image() -> None:
    assert (fuse_ifevip(A, B) >= B).all()
    np.testing.assert_array_equal(fuse_ifevip(fill(0), B), B)


def test_ifevip_entropies() -> None:
    every_level: Image = (np.arange(256).reshape(16, 16) / 255).astype(np.float32)
    assert ifevip._measure_entropy(every_level) == pytest.approx(8)
    assert ifevip._measure_entropy(fill(0.4)) == 0
    assert ifevip._compare_entropies(every_level, fill(0.4)) == 1


def test_ifevip_damps_until_the_brightest_pixels_fit() -> None:
    brightened = fill(0.2, (100, 100))
    brightened[0, :10] = np.linspace(1, 3, 10)
    assert ifevip._choose_damping(brightened, 0.8) == pytest.approx(0.5)
    assert ifevip._choose_damping(fill(0.2), 0.8) == ifevip._choose_damping(fill(0), 0.8) == 0.8


# VSMWLS.


def test_vsmwls_saliency_is_the_distance_from_all_other_grey_levels() -> None:
    levels = np.rint(A.astype(np.float64) * 255)
    distances = np.abs(levels.ravel()[:, None] - levels.ravel()).sum(axis=1).reshape(A.shape)
    expected = (distances - distances.min()) / np.ptp(distances)
    np.testing.assert_allclose(vsmwls._measure_saliency(A), expected, atol=1e-6)
    np.testing.assert_array_equal(vsmwls._measure_saliency(fill(0.4)), 0)


def test_vsmwls_details_solve_the_weighted_least_squares() -> None:
    a, b = A - A.mean(), B - B.mean()
    target = a + blur((np.abs(a) < np.abs(b)).astype(np.float64), 2) * (b - a)
    weight = sparse.diags(1 / (np.abs(ndimage.uniform_filter(b.astype(np.float64), 7, mode="nearest")) + 1e-6).ravel())
    solved = spsolve((sparse.eye(a.size) + 0.01 * weight).tocsc(), target.ravel() + 0.01 * weight @ a.ravel())
    np.testing.assert_allclose(vsmwls._mix_details(a, b, 0.01), solved.reshape(a.shape), atol=1e-4)


def test_vsmwls_is_the_one_of_its_description() -> None:
    parts = []
    for image in (A, B):
        smooth, details = image.astype(np.float64), []
        for radius in (2, 4, 8):
            guide = blur(smooth, radius)
            for _ in range(4):
                guide = filter_guided(guide, smooth, radius, 0.05**2)
            details.append((smooth - guide).astype(np.float32))
            smooth = guide
        parts.append((blur(smooth, 2), [*details, (smooth - blur(smooth, 2)).astype(np.float32)]))
    (base_a, details_a), (base_b, details_b) = parts
    weight = 0.5 + 0.5 * (vsmwls._measure_saliency(A) - vsmwls._measure_saliency(B))
    expected = weight * base_a + (1 - weight) * base_b
    expected = expected + np.where(np.abs(details_a[0]) < np.abs(details_b[0]), details_b[0], details_a[0])
    expected = expected + sum(vsmwls._mix_details(a, b, 0.01) for a, b in zip(details_a[1:], details_b[1:], strict=True))
    assert np.quantile(np.abs(fuse_vsmwls(A, B) - expected), 0.99) < 1e-4


def test_vsmwls_takes_the_infrared_detail_where_the_visible_has_none() -> None:
    detail = A - A.mean()
    np.testing.assert_allclose(vsmwls._mix_details(detail, fill(0), 0.01), detail, atol=1e-4)
    np.testing.assert_allclose(vsmwls._mix_details(fill(0), detail, 0), detail, atol=1e-6)


# Against the images that the authors' programs made, as published with VIFB (a = infrared, b = visible).


def read_picture(path: Path) -> NDArray[np.uint8]:
    with Pictures.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("file", ["elecbike.jpg", "manlight.jpg"])
@pytest.mark.parametrize(
    ("name", "correlation", "psnr"),
    [("MGFF", 0.998, 41), ("Hybrid_MSD", 0.998, 42), ("HMSD_GF", 0.998, 42), ("IFEVIP", 0.998, 40), ("VSMWLS", 0.998, 42)],
)
def test_agrees_with_the_published_images(shared: Path, name: str, correlation: float, psnr: float, file: str) -> None:
    vifb = shared / "data" / "vifb"
    infrared, visible, published = (to_image(read_picture(vifb / folder / file)) for folder in ("ir", "vis", f"fused/{name}"))
    methods: dict[str, Fuse] = {
        "MGFF": fuse_mgff,
        "Hybrid_MSD": fuse_hybrid_msd,
        "HMSD_GF": lambda a, b: fuse_hmsd_gf(a, b, gain=275 / 255),  # as the program brightens
        "IFEVIP": fuse_ifevip,
        "VSMWLS": fuse_vsmwls,
    }
    ours = np.clip(methods[name](infrared, visible), 0, 1)[18:-18, 18:-18]  # IFEVIP's borders differ by intent
    published = published[18:-18, 18:-18]
    assert np.corrcoef(ours.ravel(), published.ravel())[0, 1] > correlation
    assert -10 * np.log10(np.mean((ours - published) ** 2)) > psnr
