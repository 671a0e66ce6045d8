"""The searches move by their equations and find what they should; trial images are measured as defined."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from prior.arrays import Image
from prior.steps import optimise
from prior.steps.fitness import Qualities, Wishes, find_shares, prepare_measure, shrink
from prior.steps.nsst import add_up, decompose
from prior.steps.optimise import Bounds, Genes, Search, Values, model_best, search_with_identities, search_with_jaya, search_with_wolves
from prior.steps.shearlet_genes import render, weigh

SEARCHES = [search_with_wolves, search_with_jaya, search_with_identities]
COUNT = 6
BOX = Bounds(np.full(COUNT, -5.0), np.full(COUNT, 5.0))


def rate_sphere(genes: Genes) -> Values:
    """Highest, 0, where every gene is 1.5."""
    values: Values = -((genes - 1.5) ** 2).sum(axis=1)
    return values


def rate_rastrigin(genes: Genes) -> Values:
    """Highest, 0, where every gene is 0; full of lower peaks."""
    values: Values = -(genes**2 - 10 * np.cos(2 * np.pi * genes) + 10).sum(axis=1)
    return values


@pytest.fixture(params=SEARCHES, ids=lambda search: search.__name__)
def search(request: pytest.FixtureRequest) -> Search:
    """Every search in turn."""
    found: Search = request.param
    return found


# What all searches have in common.


@pytest.mark.parametrize("rate", [rate_sphere, rate_rastrigin])
def test_finds_far_better_genes_than_chance_with_as_many_trials(search: Search, rate: Callable[[Genes], Values]) -> None:
    found, drawn = [], []
    for seed in range(5):
        best = search(rate, BOX, np.random.default_rng(seed), 20, 60)
        found.append(-rate(best[None])[0])
        drawn.append(-rate(BOX.draw(np.random.default_rng(seed), 20 * 61)).max())
    assert np.median(found) < 0.5 * np.median(drawn)


def test_comes_close_to_a_single_peak(search: Search) -> None:
    for seed in range(5):
        assert np.abs(search(rate_sphere, BOX, np.random.default_rng(seed), 30, 100) - 1.5).max() < 0.1


def test_rates_a_whole_generation_at_once_within_bounds_and_returns_the_best_met(search: Search) -> None:
    met: list[Genes] = []

    def rate(genes: Genes) -> Values:
        assert genes.shape == (7, COUNT)
        assert (genes >= BOX.lower).all() and (genes <= BOX.upper).all()
        met.append(genes.copy())
        return rate_rastrigin(genes)

    best = search(rate, BOX, np.random.default_rng(3), 7, 15)
    assert len(met) == 16
    everyone = np.concatenate(met)
    np.testing.assert_array_equal(best, everyone[rate_rastrigin(everyone).argmax()])


def test_same_seed_same_genes(search: Search) -> None:
    first, again, other = (search(rate_rastrigin, BOX, np.random.default_rng(seed), 10, 20) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_takes_a_fitness_that_never_differs(search: Search) -> None:
    best = search(lambda genes: np.zeros(len(genes)), BOX, np.random.default_rng(0), 8, 10)
    assert (best >= BOX.lower).all() and (best <= BOX.upper).all()


# Each search, by its equations, member by member and gene by gene.


def make_population(members: int = 5) -> optimise._Population:
    """Some members of a sphere."""
    genes = BOX.draw(np.random.default_rng(8), members)
    return optimise._Population(genes, rate_sphere(genes))


@pytest.mark.parametrize("reach", [2.0, 0.7, 0.0])
def test_wolves_go_to_the_mean_of_where_three_leaders_call_them(reach: float) -> None:
    pack = make_population()
    leaders = pack.genes[np.argsort(-pack.values)[:3]]
    rng = np.random.default_rng(1)
    r1, r2 = rng.random((3, 5, COUNT)), rng.random((3, 5, COUNT))
    expected = np.empty((5, COUNT))
    for member, gene in np.ndindex(5, COUNT):
        called = []
        for leader in range(3):
            swing, emphasis = 2 * reach * r1[leader, member, gene] - reach, 2 * r2[leader, member, gene]
            distance = abs(emphasis * leaders[leader, gene] - pack.genes[member, gene])
            called.append(leaders[leader, gene] - swing * distance)
        expected[member, gene] = sum(called) / 3
    np.testing.assert_allclose(optimise._surround(pack.genes, leaders, reach, np.random.default_rng(1)), expected, rtol=1e-12)


def test_wolves_follow_the_three_best_in_order() -> None:
    pack = make_population(9)
    leaders = optimise._pick_leaders(pack)
    np.testing.assert_array_equal(leaders.values, np.sort(pack.values)[::-1][:3])
    np.testing.assert_array_equal(rate_sphere(leaders.genes), leaders.values)


def test_jaya_goes_to_an_attractor_and_away_from_a_repeller() -> None:
    population = make_population()
    best, worst = population.genes[population.values.argmax()], population.genes[population.values.argmin()]
    mean = population.genes.sum(axis=0) / 5
    rng = np.random.default_rng(2)
    near, far = rng.random(2)
    to, off = rng.random((5, COUNT)), rng.random((5, COUNT))
    expected = np.empty((5, COUNT))
    for member, gene in np.ndindex(5, COUNT):
        x = population.genes[member, gene]
        attractor = (1 - near) * best[gene] + near * mean[gene]
        repeller = (1 - far) * worst[gene] + far * mean[gene]
        expected[member, gene] = x + to[member, gene] * (attractor - x) - off[member, gene] * (repeller - x)
    np.testing.assert_allclose(optimise._exploit(population, np.random.default_rng(2)), expected, rtol=1e-12)


def test_jaya_explores_along_the_difference_to_a_former_member() -> None:
    population, history = make_population(), BOX.draw(np.random.default_rng(9), 5)
    steps = np.random.default_rng(3).standard_normal(5)
    moved = optimise._explore(population, history, np.random.default_rng(3))
    for member, step in enumerate(steps):
        np.testing.assert_allclose(moved[member], population.genes[member] + step * (history[member] - population.genes[member]))


def test_identities_follow_one_of_three_ways() -> None:
    population, model = make_population(300), np.arange(COUNT, dtype=np.float64)
    genes, best = population.genes, population.genes[population.best]
    moved = optimise._identify(population, model, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    step = rng.random((300, 1))
    first, second = rng.integers(300, size=(2, 300))
    traits = genes[rng.integers(300, size=300), rng.integers(COUNT, size=300)]
    along = rng.random((300, COUNT))
    ways = rng.integers(3, size=300)
    for member, way in enumerate(ways):
        peer = genes[second[member] if first[member] == population.best else first[member]]
        follows = [
            genes[member] - step[member] * (genes[member] - model),
            genes[member] - step[member] * (peer - best),
            genes[member] + along[member] * (traits[member] - genes[member]),
        ]
        np.testing.assert_allclose(moved[member], follows[way], rtol=1e-12)
    assert np.bincount(ways).min() > 70


def test_model_finds_each_gene_s_best_where_fitness_is_a_sum_of_chebyshev_polynomials() -> None:
    bounds = Bounds(np.array([0.0, -2.0]), np.array([1.0, 6.0]))
    genes = bounds.draw(np.random.default_rng(5), 40)
    x = 2 * (genes - bounds.lower) / (bounds.upper - bounds.lower) - 1
    chebyshev = np.polynomial.chebyshev.chebval
    of_each = np.stack([chebyshev(x[:, 0], [0, 1, -3, 0.5]), chebyshev(x[:, 1], [0, -2, 0, 2])], axis=1)
    ideal = model_best(genes, of_each.sum(axis=1), bounds)
    np.testing.assert_array_equal(ideal, np.take_along_axis(genes, of_each.argmax(axis=0)[None], axis=0)[0])


def test_what_a_member_gains_it_keeps_and_what_it_loses_it_does_not_take() -> None:
    old = optimise._Population(np.zeros((3, 2)), np.array([1.0, 1.0, 1.0]))
    new = optimise._Population(np.ones((3, 2)), np.array([0.5, 1.0, 2.0]))
    kept = optimise._keep_better(old, new)
    np.testing.assert_array_equal(kept.values, [1, 1, 2])
    np.testing.assert_array_equal(kept.genes, [[0, 0], [0, 0], [1, 1]])


# The fitness.


def draw_pair(shape: tuple[int, int] = (33, 47), seed: int = 0) -> tuple[Image, Image]:
    """Two unrelated cloudy images with noise."""
    rng = np.random.default_rng(seed)
    clouds = [ndimage.gaussian_filter(rng.random(shape), 3) for _ in range(2)]
    a, b = (((image - image.min()) / np.ptp(image) * 0.8 + 0.1 * rng.random(shape)).astype(np.float32) for image in clouds)
    return a, b


def to_levels(image: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.int64)


def measure_knowledge(levels: NDArray[np.int64], source: NDArray[np.int64]) -> float:
    """Mutual information over the source's entropy, bits over bits."""
    joint = np.histogram2d(levels.ravel(), source.ravel(), bins=32, range=[[0, 32], [0, 32]])[0]
    alone = [stats.entropy(joint.sum(axis=axis), base=2) for axis in (0, 1)]
    return float((sum(alone) - stats.entropy(joint.ravel(), base=2)) / alone[0])


def measure_naively(fused: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> Qualities:
    """The definitions, one by one."""

    def differentiate(image: NDArray[np.float64]) -> NDArray[np.float64]:
        right = np.diff(image, axis=1, append=image[:, -1:])
        return np.stack([right, np.diff(image, axis=0, append=image[-1:])])

    of_f, of_a, of_b = (differentiate(image) for image in (fused, a, b))
    edge_a, edge_b = (np.sqrt((gradient**2).sum(axis=0)) for gradient in (of_a, of_b))
    error = (edge_a * ((of_f - of_a) ** 2).sum(axis=0) + edge_b * ((of_f - of_b) ** 2).sum(axis=0)).sum() / (edge_a + edge_b).sum()
    frequency, *others = (math.sqrt((gradient**2).sum() / fused.size) for gradient in (of_f, of_a, of_b))
    levels, levels_a, levels_b = (to_levels(image) for image in (fused, a, b))
    return Qualities(
        entropy=np.array(stats.entropy(np.bincount(levels.ravel()), base=2) / 8),
        sharpness=np.array(min(frequency / max(others), 1)),
        of_a=np.array(measure_knowledge(levels // 8, levels_a // 8)),
        of_b=np.array(measure_knowledge(levels // 8, levels_b // 8)),
        edges=np.array(-10 * math.log10(max(error, 1e-6)) / 60),
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.0, 0.0), (1.3, -0.4), (0.2, 0.9), (3.0, 0.0)], ids=str)
def test_qualities_are_those_of_their_definitions(shares: tuple[float, float]) -> None:
    a, b = draw_pair()
    measured = prepare_measure(np.stack([a, b]), a, b)(np.array([shares]))
    fused = (np.float32(shares[0]) * a + np.float32(shares[1]) * b).astype(np.float64)
    expected = measure_naively(fused, a.astype(np.float64), b.astype(np.float64))
    for name in Qualities.__slots__:
        assert getattr(measured, name)[0] == pytest.approx(float(getattr(expected, name)), abs=2e-4), name


def test_a_copy_tells_all_of_its_source_and_more_contrast_than_that_earns_nothing() -> None:
    a, b = draw_pair()
    once, twice = 1.0, 2.0
    qualities = prepare_measure(np.stack([a, b]), a, b)(np.array([[once, 0], [0, once], [twice, 0]]))
    assert qualities.of_a[0] == pytest.approx(1)
    assert qualities.of_b[1] == pytest.approx(1)
    assert qualities.of_a[1] < 0.5
    assert max(qualities.sharpness[:2]) == pytest.approx(1)
    assert qualities.sharpness[2] == 1
    assert qualities.edges[2] < qualities.edges[0]


def test_edges_err_least_at_the_mean_of_the_sources_gradients_that_their_strengths_weigh() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32) / 40, (16, 1))
    a, b = ramp, ramp / 3  # strengths 3 to 1: the best slope is (3 * 3 + 1 * 1) / (3 + 1) thirds of a's
    slopes = np.linspace(0, 1.2, 25)
    qualities = prepare_measure(a[None], a, b)(slopes[:, None])
    assert slopes[qualities.edges.argmax()] == pytest.approx(2.5 / 3, abs=0.03)


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_flat_sources_leave_nothing_to_wish_for_but_entropy(value: float) -> None:
    flat = np.full((16, 16), value, np.float32)
    qualities = prepare_measure(flat[None], flat, flat)(np.ones((2, 1)))
    for name, expected in (("entropy", 0), ("sharpness", 1), ("of_a", 1), ("of_b", 1), ("edges", 1)):
        np.testing.assert_array_equal(getattr(qualities, name), expected, err_msg=name)


def test_rating_weighs_the_qualities() -> None:
    qualities = Qualities(*(np.array([value]) for value in (0.9, 0.8, 0.25, 0.36, 0.4)))
    rated = Wishes(knowledge=2, weaker=3, edges=5, entropy=7, sharpness=11).rate(qualities)
    assert rated[0] == pytest.approx(2 * 0.3 + 3 * 0.25 + 5 * 0.4 + 7 * 0.9 + 11 * 0.8)


def test_shares_found_are_rated_best_and_leave_no_source_out() -> None:
    a, b = draw_pair()
    layers, wishes = np.stack([a, b]), Wishes(knowledge=0, weaker=3)

    def decode(genes: Genes) -> NDArray[np.float64]:
        return np.column_stack([genes, 1 - genes])

    shares = find_shares(
        layers, (a, b), decode, Bounds(np.zeros(1), np.ones(1)), wishes, search_with_jaya, members=10, generations=20, seed=0
    )
    measure = prepare_measure(layers, a, b)
    grid = np.linspace(0, 1, 101)
    assert wishes.rate(measure(shares[None]))[0] >= wishes.rate(measure(decode(grid))).max() - 0.01
    assert 0.2 < shares[0] < 0.8


@pytest.mark.parametrize(
    ("shape", "longest", "small"),
    [((480, 640), 256, (192, 256)), ((640, 480), 160, (160, 120)), ((7, 3000), 256, (1, 256)), ((257, 256), 256, (256, 255))],
)
def test_copies_are_small_and_as_bright(shape: tuple[int, int], longest: int, small: tuple[int, int]) -> None:
    image = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    copy = shrink(image, longest)
    assert copy.shape == small and copy.dtype == np.float32
    assert copy.mean() == pytest.approx(image.mean(), abs=2e-3)


def test_small_images_are_their_own_copies() -> None:
    image = draw_pair()[0]
    assert shrink(image, 47) is image


# Parts in the shearlet domain.


def test_parts_together_are_the_image_and_their_images_add_up() -> None:
    images = draw_pair((40, 41))
    bands = decompose(np.stack(images))
    parts = [bands.low, *map(add_up, bands.details)]
    layers = render(parts, (40, 41))
    assert layers.shape == (10, 40, 41)
    np.testing.assert_allclose(layers[0::2].sum(axis=0), images[0], atol=1e-5)
    np.testing.assert_allclose(layers[1::2].sum(axis=0), images[1], atol=1e-5)
    shares = np.random.default_rng(6).uniform(-1, 2, 10)
    np.testing.assert_allclose(weigh(parts, shares, (40, 41)), np.tensordot(shares, layers, 1), atol=1e-5)
