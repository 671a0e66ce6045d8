"""The three rules on shearlet bands: each against its own equations."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from prior.arrays import Image
from prior.methods import nsst_papcnn as papcnn
from prior.methods import nsst_wlf_nsml as wlf
from prior.methods.nsst import fuse_nsst
from prior.methods.nsst_papcnn import fuse_nsst_papcnn
from prior.methods.nsst_wlf_nsml import fuse_nsst_wlf_nsml
from prior.registry import Fuse, find_method
from prior.steps.activity import measure_nsml, measure_wseml
from prior.steps.nsst import Bands, decompose, reconstruct

FUSES = [fuse_nsst, fuse_nsst_wlf_nsml, fuse_nsst_papcnn]
GREY_LEVEL = 1 / 255
LINKS = np.array([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]])


def draw(shape: tuple[int, int] = (48, 40), seed: int = 0) -> Image:
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(shape, np.float32), 1.5)


def grate(along: str) -> Image:
    """Stripes of 8 px across a grey image."""
    stripes = 0.2 * np.cos(2 * np.pi * np.arange(128) / 8)
    across = np.broadcast_to(stripes, (128, 128))
    return (0.5 + (across.T if along == "rows" else across)).astype(np.float32)


# All three.


@pytest.mark.parametrize("fuse", FUSES)
def test_keeps_crossing_structure_of_both_sources(fuse: Fuse) -> None:
    rows, columns = grate("rows"), grate("columns")
    middle = np.s_[32:-32, 32:-32]
    np.testing.assert_allclose(fuse(rows, columns)[middle], (rows + columns - 0.5)[middle], atol=0.02)


@pytest.mark.parametrize("fuse", FUSES)
def test_does_not_ring_into_the_black_around_two_heads(fuse: Fuse) -> None:
    y, x = np.mgrid[:160, :160] - 80
    radius = np.hypot(y, x)
    skull, tissue = (np.where((radius > 30) & (radius < 36), 1, 0), np.where(radius < 33, 0.5, 0))
    fused = fuse(skull.astype(np.float32), tissue.astype(np.float32))
    assert np.abs(fused[radius > 76]).max() < GREY_LEVEL


@pytest.mark.parametrize("name", ["nsst", "nsst_wlf_nsml", "nsst_papcnn"])
def test_does_not_prefer_a_source_for_its_place(name: str) -> None:
    a, b = draw(seed=1), draw(seed=2)
    fuse = find_method(name).fuse
    np.testing.assert_allclose(fuse(a, b), fuse(b, a), atol=2e-5)


# NSST.


def test_nsst_keeps_the_larger_coefficient_over_the_mean() -> None:
    a, b = draw(seed=1), draw(seed=2)
    of_a, of_b = decompose(a), decompose(b)
    scales = zip(of_a.details, of_b.details, strict=True)
    details = tuple([np.where(np.abs(x) > np.abs(y), x, y) for x, y in zip(*scale, strict=True)] for scale in scales)
    expected = reconstruct(Bands((of_a.low + of_b.low) / 2, details, a.shape))
    np.testing.assert_allclose(fuse_nsst(a, b), expected, atol=1e-6)


# WLF and NSML.


def test_wlf_weighs_by_energy_and_deviation() -> None:
    a, b = draw(seed=3), draw(seed=4)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16

    def measure(low: Image) -> NDArray[np.float64]:
        wide = low.astype(np.float64)
        mean = ndimage.uniform_filter(wide, 5, mode="mirror")
        variance = ndimage.uniform_filter(wide**2, 5, mode="mirror") - mean**2
        return ndimage.correlate(wide**2, kernel, mode="mirror") + np.sqrt(np.maximum(variance, 0))

    of_a, of_b = measure(a), measure(b)
    np.testing.assert_allclose(wlf._weigh_low(a, b), (of_a * a + of_b * b) / (of_a + of_b), atol=1e-5)


def test_wlf_keeps_a_white_sky_against_dark_structure() -> None:
    white, dark = np.ones((40, 40), np.float32), np.float32(0.2) * draw((40, 40))
    assert wlf._weigh_low(white, dark).min() > 0.9


def test_nsml_takes_the_band_with_more_laplacian_and_outvotes_lone_pixels() -> None:
    a, b = np.random.default_rng(5).normal(0, 0.1, (2, 24, 20)).astype(np.float32)
    chosen = np.pad(measure_nsml(a) >= measure_nsml(b), 1, "symmetric")
    votes = np.lib.stride_tricks.sliding_window_view(chosen, (3, 3)).sum(axis=(2, 3))
    np.testing.assert_array_equal(wlf._choose_band(a, b), np.where(votes > 4, a, b))


# PAPCNN.


def fire_plainly(magnitude: Image, neurons: papcnn.Neurons, iterations: int) -> NDArray[np.float32]:
    """The network's equations on whole arrays."""
    activity, pulses, fired, threshold = (np.full(magnitude.shape, value, np.float32) for value in (0, 0, 0, 1))
    for _ in range(iterations):
        linked = ndimage.correlate(pulses, LINKS, mode="constant", output=np.float32)
        activity = neurons.decay * activity + magnitude * (1 + neurons.linking * linked)
        pulses = (activity > threshold).astype(np.float32)
        threshold = neurons.fade * threshold + neurons.jump * pulses
        fired += pulses
    return fired


@pytest.mark.parametrize("iterations", [1, 2, 7, 110])
def test_papcnn_fires_as_its_equations_say(iterations: int) -> None:
    magnitude = np.abs(list(decompose(draw((40, 56), 6)).details[1])[2])
    largest = float(magnitude.max())
    neurons = papcnn._adapt(float(magnitude.std()), largest, papcnn._find_threshold(magnitude, largest))
    expected = fire_plainly(magnitude, neurons, iterations)
    fired = papcnn._stimulate(magnitude, iterations)
    assert np.mean(fired != expected) < 0.002  # rounding may turn a close comparison
    assert iterations < 7 or len(np.unique(fired)) > 1


def test_papcnn_adapts_as_the_paper_says() -> None:
    deviation, largest, threshold = 0.03, 0.4, 0.07
    alpha_f = np.log10(1 / deviation)
    jump = np.exp(-alpha_f) + largest / threshold
    total = (1 - np.exp(-3 * alpha_f)) / (1 - np.exp(-alpha_f)) + (largest / threshold - 1) * np.exp(-alpha_f)
    alpha_e = np.log(jump / (threshold * total))
    neurons = papcnn._adapt(deviation, largest, threshold)
    assert neurons.decay == pytest.approx(np.exp(-alpha_f))
    assert neurons.linking == pytest.approx((largest / threshold - 1) / 6)
    assert neurons.jump == pytest.approx(jump)
    assert neurons.fade == pytest.approx(np.exp(-alpha_e))


@pytest.mark.parametrize("scale", [1, 1e-4])
def test_papcnn_threshold_is_otsus(scale: float) -> None:
    magnitude = (scale * np.abs(np.random.default_rng(7).laplace(0, 0.1, (30, 40)))).astype(np.float32)
    largest = float(magnitude.max())
    levels = np.rint(magnitude / largest * 255)

    def separate(level: int) -> float:
        """Between-class variance of a cut above this level."""
        low, high = levels[levels <= level], levels[levels > level]
        return low.size * high.size * float(low.mean() - high.mean()) ** 2

    best = max(range(255), key=separate)
    assert papcnn._find_threshold(magnitude, largest) == pytest.approx(best / 255 * largest)


@pytest.mark.parametrize("value", [0, 1e-8, 0.5])
def test_papcnn_survives_bands_of_one_magnitude(value: float) -> None:
    flat = np.full((20, 24), value, np.float32)
    fired = papcnn._stimulate(flat, 110)
    assert np.isfinite(fired).all()
    np.testing.assert_array_equal(fired > 0, value > 0)


def test_papcnn_takes_the_neuron_that_fires_more_and_the_larger_of_two_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.array([[-1, 2, 3, -4]], np.float32), np.array([[5, -6, 1, 2]], np.float32)
    fired = iter(np.array([[[1, 9, 4, 4]], [[0, 10, 4, 4]]], np.float32))
    monkeypatch.setattr(papcnn, "_stimulate", lambda *_: next(fired))
    np.testing.assert_array_equal(papcnn._choose_band(a, b, 1), [[-1, -6, 3, -4]])


def test_papcnn_low_band_is_the_one_with_more_energy_times_structure() -> None:
    a, b = draw(seed=8), draw(seed=9)
    activity_a, activity_b = (
        ndimage.correlate(x * x, np.outer([1, 2, 1], [1, 2, 1]) / 16, mode="mirror") * measure_wseml(x) for x in (a, b)
    )
    chosen = papcnn._choose_low(a, b)
    clear = np.abs(activity_a - activity_b) > 1e-5
    np.testing.assert_array_equal(chosen[clear], np.where(activity_a > activity_b, a, b)[clear])
    assert {bool(x) for x in (activity_a > activity_b)[clear]} == {True, False}


def test_papcnn_takes_the_mean_of_flat_low_bands() -> None:
    a, b = (np.full((20, 20), value, np.float32) for value in (0.2, 0.8))
    a = np.nextafter(a, np.float32(1), where=np.indices((20, 20)).sum(axis=0) % 2 == 0, out=a.copy())  # as rounding leaves it
    np.testing.assert_allclose(papcnn._choose_low(a, b), 0.5, atol=1e-6)


def test_papcnn_neighbours_help_a_faint_neuron() -> None:
    alone, among = np.zeros((2, 9, 9), np.float32)
    alone[4, 4] = among[4, 4] = 0.05
    for i, j in itertools.product(range(3, 6), range(3, 6)):
        among[i, j] = max(among[i, j], 0.05 if (i, j) == (4, 4) else 0.4)
    neurons = papcnn.Neurons(*(np.float32(x) for x in (0.1, 1, 4, 0.5)))
    assert fire_plainly(among, neurons, 20)[4, 4] > fire_plainly(alone, neurons, 20)[4, 4]
    for magnitude in (alone, among):
        fired = np.zeros_like(magnitude)
        papcnn._fire(magnitude, neurons.decay, neurons.linking, neurons.jump, neurons.fade, 20, fired)
        np.testing.assert_array_equal(fired, fire_plainly(magnitude, neurons, 20))
