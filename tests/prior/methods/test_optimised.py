"""The three optimised methods: what their genes mean, what is searched, and what comes out."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft, ndimage

from prior.arrays import Image
from prior.methods import nsst_aisa, nsst_ejaya, spectrum_mask_gwo
from prior.methods.nsst_aisa import fuse_nsst_aisa
from prior.methods.nsst_ejaya import fuse_nsst_ejaya
from prior.methods.spectrum_mask_gwo import fuse_spectrum_mask_gwo
from prior.registry import Fuse
from prior.steps.activity import measure_local_energy, measure_nsml
from prior.steps.fitness import prepare_measure, shrink
from prior.steps.nsst import Bands, crop, decompose, mirror, reconstruct
from prior.steps.optimise import Bounds, Fitness, Genes
from prior.steps.shearlet_genes import Plan, cut, fuse_by_plan, render

FUSES = [fuse_nsst_aisa, fuse_nsst_ejaya, fuse_spectrum_mask_gwo]
PLANS = {"nsst_aisa": nsst_aisa.PLAN, "nsst_ejaya": nsst_ejaya.PLAN}


def draw_pair(shape: tuple[int, int] = (60, 76), seed: int = 0) -> tuple[Image, Image]:
    """Two images that have a texture each in one half."""
    rng = np.random.default_rng(seed)
    left = np.arange(shape[1]) < shape[1] // 2
    clouds = [ndimage.gaussian_filter(rng.random(shape), 5) * 2 - 0.5 for _ in range(2)]
    texture = ndimage.gaussian_filter(rng.random(shape), 0.7) * 0.5
    a, b = (np.clip(image + texture * half, 0, 1).astype(np.float32) for image, half in zip(clouds, (left, ~left), strict=True))
    return a, b


def take_apart(image: Image) -> tuple[Image, list[NDArray[np.float32]]]:
    """The low band and, per scale, all bands at once."""
    bands = decompose(image)
    return bands.low, [np.stack(list(scale)) for scale in bands.details]


def fuse_with_genes(a: Image, b: Image, plan: Plan, genes: Genes) -> Image:
    """What a plan makes of genes that no search has chosen."""
    return fuse_by_plan(a, b, dataclasses.replace(plan, search=lambda *_: genes), 0)


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    """The plans of both shearlet methods in turn."""
    return PLANS[request.param]


# Both shearlet methods.


def test_found_genes_are_rated_higher_than_neutral_ones(plan: Plan) -> None:
    a, b = draw_pair()
    sources = np.stack([a, b])
    measure = prepare_measure(render(list(cut(sources, sources, plan)), a.shape), a, b)
    values: list[float] = []

    def search(fitness: Fitness, bounds: Bounds, rng: np.random.Generator, members: int, generations: int) -> Genes:
        best = plan.search(fitness, bounds, rng, members, generations)
        values.append(float(fitness(best[None])[0]))
        return best

    fuse_by_plan(a, b, dataclasses.replace(plan, search=search), 0)
    neutral = np.clip(np.full(len(plan.bounds.lower), 0.5), plan.bounds.lower, plan.bounds.upper)
    drawn = plan.bounds.draw(np.random.default_rng(1), 100)
    assert values[0] > plan.wishes.rate(measure(plan.decode(neutral[None])))[0] + 0.02
    assert values[0] > plan.wishes.rate(measure(plan.decode(drawn))).max()


def test_shares_match_the_parts_and_genes_stay_in_bounds(plan: Plan) -> None:
    sources = np.stack(draw_pair())
    genes = plan.bounds.draw(np.random.default_rng(2), 5)
    assert plan.decode(genes).shape == (5, sum(map(len, cut(sources, sources, plan))))


def test_genes_found_on_a_copy_are_applied_to_the_sources_themselves(plan: Plan) -> None:
    a, b = draw_pair((200, 300))
    rated: list[int] = []

    def search(fitness: Fitness, bounds: Bounds, rng: np.random.Generator, members: int, generations: int) -> Genes:
        rated.append(len(fitness(bounds.draw(rng, members))))
        return (bounds.lower + bounds.upper) / 2

    fused = fuse_by_plan(a, b, dataclasses.replace(plan, search=search), 0)
    assert rated == [plan.members]
    shares = plan.decode(((plan.bounds.lower + plan.bounds.upper) / 2)[None])[0]
    layers = render(list(cut(np.stack([a, b]), np.stack([shrink(a), shrink(b)]), plan)), a.shape)
    np.testing.assert_allclose(fused, np.tensordot(shares, layers, 1), atol=2e-5)


@pytest.mark.parametrize("fuse", FUSES)
def test_chance_comes_from_the_seed(fuse: Fuse) -> None:
    a, b = draw_pair()
    first, other = fuse(a, b, seed=0), fuse(a, b, seed=1)
    np.testing.assert_array_equal(fuse(a, b), first)
    assert (first != other).any()


@pytest.mark.parametrize("fuse", FUSES)
def test_keeps_the_texture_of_both_halves(fuse: Fuse) -> None:
    a, b = draw_pair()
    fine_a, fine_b, fine = (image - ndimage.gaussian_filter(image, 3) for image in (a, b, fuse(a, b)))
    half = a.shape[1] // 2
    assert np.corrcoef(fine[:, :half].ravel(), fine_a[:, :half].ravel())[0, 1] > 0.8
    assert np.corrcoef(fine[:, half:].ravel(), fine_b[:, half:].ravel())[0, 1] > 0.8


# NSST-AISA.


def test_aisa_gives_a_source_back_whatever_its_genes() -> None:
    image = draw_pair()[0]
    for genes in nsst_aisa.PLAN.bounds.draw(np.random.default_rng(3), 3):
        np.testing.assert_allclose(fuse_with_genes(image, image, nsst_aisa.PLAN, genes), image, atol=2e-5)


def test_aisa_is_the_one_of_its_description() -> None:
    a, b = draw_pair()
    low, choice, mix = 0.3, (0.4, 0.6, 0.8, 1.0), (0.1, 0.5, 0.7, 0.9)
    (low_a, details_a), (low_b, details_b) = take_apart(a), take_apart(b)
    details = []
    for scale in range(4):
        bands = np.empty_like(details_a[scale])
        for number, (x, y) in enumerate(zip(details_a[scale], details_b[scale], strict=True)):
            active = np.where(measure_nsml(x) >= measure_nsml(y), x, y)
            bands[number] = choice[scale] * active + (1 - choice[scale]) * (mix[scale] * x + (1 - mix[scale]) * y)
        details.append(bands)
    lows = (low * low_a + (1 - low) * low_b).astype(np.float32)
    expected = reconstruct(Bands(lows, tuple(details), a.shape))
    np.testing.assert_allclose(fuse_with_genes(a, b, nsst_aisa.PLAN, np.array([low, *choice, *mix])), expected, atol=1e-5)


# NSST-EJaya.


def test_ejaya_is_the_one_of_its_description() -> None:
    a, b = draw_pair()
    low, sharpness, gain = (0.2, 0.5, 0.8), (0.0, 0.3, 0.6, 1.0), (0.8, 1.0, 1.3, 1.6)
    (low_a, details_a), (low_b, details_b) = take_apart(a), take_apart(b)
    energy = [[np.stack([measure_local_energy(band) for band in stack]) for stack in details_] for details_ in (details_a, details_b)]
    losses = (image - crop(low_, a.shape) for image, low_ in ((a, low_a), (b, low_b)))
    wide_a, wide_b = (ndimage.gaussian_filter(loss**2, 76 / 16, mode="mirror", truncate=4) for loss in losses)
    balance = (wide_a - wide_b) / (wide_a + wide_b + (2 / 255) ** 2)
    share = mirror(np.interp(balance, [-1, 0, 1], low).astype(np.float32))
    details = []
    for scale in range(4):
        x, y, energy_x, energy_y = details_a[scale], details_b[scale], energy[0][scale], energy[1][scale]
        weight = energy_x.sum(axis=0) / (energy_x.sum(axis=0) + energy_y.sum(axis=0))
        smooth, sharp = weight * x + (1 - weight) * y, np.where(energy_x >= energy_y, x, y)
        details.append((gain[scale] * ((1 - sharpness[scale]) * smooth + sharpness[scale] * sharp)).astype(np.float32))
    lows = (share * low_a + (1 - share) * low_b).astype(np.float32)
    expected = reconstruct(Bands(lows, tuple(details), a.shape))
    fused = fuse_with_genes(a, b, nsst_ejaya.PLAN, np.array([*low, *sharpness, *gain]))
    np.testing.assert_allclose(fused, expected, atol=2e-3)  # OpenCV's Gaussian window is shorter


def test_ejaya_regions_sum_to_one_and_quiet_ones_are_alike() -> None:
    lively = draw_pair()[0]
    quiet = np.float32(0.002) * lively
    flat = np.zeros_like(lively)
    for copies, place in (((flat, lively), 0), ((quiet, flat), 1), ((flat, flat), 1), ((lively, flat), 2)):
        regions = nsst_ejaya._find_regions(np.stack(copies), (60, 76))
        np.testing.assert_allclose(regions.sum(axis=0), 1, atol=1e-6)
        assert regions[place].min() > 0.7


def test_ejaya_regions_of_a_large_image_are_those_of_its_copy() -> None:
    copies = np.stack(draw_pair())
    small, large = (nsst_ejaya._find_regions(copies, (60 * times, 76 * times)) for times in (1, 5))
    assert large.shape == (3, 300, 380)
    np.testing.assert_allclose(large[:, 2::5, 2::5], small, atol=1e-6)


def test_ejaya_strengthens_the_detail_of_equal_sources_by_its_gains_alone() -> None:
    image = draw_pair()[0]
    genes = np.array([0.1, 0.5, 0.9, 0, 0.2, 0.7, 1, *[1.5] * 4])
    low, details = take_apart(image)
    expected = reconstruct(Bands(low, tuple(np.float32(1.5) * stack for stack in details), image.shape))
    np.testing.assert_allclose(fuse_with_genes(image, image, nsst_ejaya.PLAN, genes), expected, atol=2e-5)


# Spectrum masks.


def make_rings(shape: tuple[int, int], copied: tuple[int, int]) -> NDArray[np.float32]:
    place = spectrum_mask_gwo._place_rings(shape, copied)
    return np.stack([spectrum_mask_gwo._open_ring(place, number) for number in range(spectrum_mask_gwo.RINGS)])


@pytest.mark.parametrize("shape", [(16, 16), (57, 43), (120, 160)], ids=str)
def test_rings_sum_to_one_and_light_is_all_in_the_lowest(shape: tuple[int, int]) -> None:
    rings = make_rings(shape, shape)
    np.testing.assert_allclose(rings.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(rings[:, 0, 0], [1] + [0] * 7, atol=1e-12)
    assert rings[-1, -1, -1] == 1


def test_rings_are_log_spaced_hats() -> None:
    rings, columns = make_rings((256, 256), (256, 256)), np.arange(256) / 512
    centres = 2.0 ** np.linspace(-6, -1, 8)
    for ring, centre in zip(rings, centres, strict=True):
        nearest = np.abs(columns - centre).argmin()
        assert ring[0, nearest] > 0.95


def test_rings_of_an_image_hold_what_those_of_its_copy_hold_and_the_last_all_that_is_finer() -> None:
    of_copy, of_image = make_rings((40, 52), (40, 52)), make_rings((120, 157), (40, 52))
    np.testing.assert_allclose(of_image[:, :40, :52], of_copy, atol=1e-6)
    assert (of_image[-1, 40:] == 1).all() and (of_image[-1, :, 52:] == 1).all()


def filter_mirrored(image: NDArray[np.float64], masks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rings of an image that is mirrored at its borders, by Fourier's transform."""
    height, width = image.shape
    doubled = np.pad(image, ((0, height), (0, width)), mode="symmetric")
    rows, columns = (np.minimum(np.arange(2 * side), 2 * side - np.arange(2 * side)) for side in (height, width))
    whole = np.pad(masks, ((0, 0), (0, 1), (0, 1)), mode="edge")[:, rows[:, None], columns]
    filtered: NDArray[np.float64] = fft.ifft2(fft.fft2(doubled) * whole).real[:, :height, :width]
    return filtered


def test_layers_are_the_rings_of_both_mirrored_sources() -> None:
    a, b = draw_pair((40, 52))
    rings = make_rings((40, 52), (40, 52)).astype(np.float64)
    layers = spectrum_mask_gwo._cut(a, b)
    np.testing.assert_allclose(layers, [*filter_mirrored(a, rings), *filter_mirrored(b, rings)], atol=1e-5)
    np.testing.assert_allclose(layers[:8].sum(axis=0), a, atol=1e-5)
    gains = np.random.default_rng(5).uniform(0.2, 1.5, 16)
    np.testing.assert_allclose(spectrum_mask_gwo._apply(a, b, gains, a.shape), np.tensordot(gains, layers, 1), atol=1e-5)


def test_gains_are_each_source_s_own_but_for_the_lowest_ring() -> None:
    genes = np.arange(15.0)[None] / 10
    shares = spectrum_mask_gwo._decode(genes)[0]
    np.testing.assert_allclose(shares[1:8], genes[0, 1:8])
    np.testing.assert_allclose(shares[9:], genes[0, 8:])
    assert shares[0] + shares[8] == 1


def test_spectrum_mask_leaves_brightness_between_the_sources() -> None:
    a, b = draw_pair()
    means = sorted((float((0.3 * a).mean()), float((1 - 0.3 * b).mean())))
    fused = fuse_spectrum_mask_gwo(0.3 * a, 1 - 0.3 * b)
    assert means[0] + 0.15 * np.ptp(means) < fused.mean() < means[1] - 0.15 * np.ptp(means)
