"""Searches for the genes that a fitness rates highest: three rules that move a population, with one signature.

A *gene* is one number that a method leaves open, within bounds; a *member* of the population is one set of genes. Every search draws its
first members uniformly between the bounds and asks for the fitness of all members of a generation at once.

References, with what was read of each:
- grey wolves: S. Mirjalili, S. M. Mirjalili, A. Lewis, "Grey wolf optimizer", Advances in Engineering Software 69:46-61, 2014,
  doi 10.1016/j.advengsoft.2013.12.007;
- enhanced Jaya: Y. Zhang, A. Chi, S. Mirjalili, "Enhanced Jaya algorithm: a simple but efficient optimization method for constrained
  engineering design problems", Knowledge-Based Systems 233:107555, 2021, doi 10.1016/j.knosys.2021.107555, and the authors' program;
- adolescent identity search: E. Bogar, S. Beyhan, "Adolescent identity search algorithm (AISA)", Applied Soft Computing 95:106503, 2020,
  doi 10.1016/j.asoc.2020.106503, and the authors' program.
Deviations: a generation moves at once, so that no member follows one that improved in the same generation (AISA's program lets it). The
program of enhanced Jaya measures the way to both attractors from its last member; here, as in its equations, from the member that moves.
The grey wolves' leaders are the three best members met so far, whichever generation they come from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Genes = NDArray[np.float64]  # (members, genes) of a population, (genes,) of one member
Values = NDArray[np.float64]  # (members,), the higher the better
Fitness = Callable[[Genes], Values]
Search = Callable[[Fitness, "Bounds", np.random.Generator, int, int], Genes]
"""`(fitness, bounds, rng, members, generations) -> genes`: the signature of every search here."""

LEADERS = 3  # alpha, beta and delta of the grey wolves
DEGREES = 3  # Chebyshev polynomials T1 to T3 per gene in AISA's model


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest and the largest value of every gene, `(genes,)` each."""

    lower: Genes
    upper: Genes

    def draw(self, rng: np.random.Generator, members: int) -> Genes:
        """A population that fills the bounds evenly."""
        return rng.uniform(self.lower, self.upper, (members, len(self.lower)))


@dataclass(frozen=True, slots=True)
class _Population:
    """The members of a generation and their fitness."""

    genes: Genes
    values: Values

    @property
    def best(self) -> int:
        return int(np.argmax(self.values))

    @property
    def worst(self) -> int:
        return int(np.argmin(self.values))


def search_with_wolves(fitness: Fitness, bounds: Bounds, rng: np.random.Generator, members: int, generations: int) -> Genes:
    """Grey wolf optimiser: all wolves close in on the three best, from ever nearer.

    Args:
        fitness: of a whole population, `(members, genes) -> (members,)`; its largest value is sought.
        bounds: of the genes; a wolf that would leave them stops there.
        rng: the only source of chance.
        members: of the pack, at least 3.
        generations: how often the pack moves.

    Returns:
        The best genes met, `(genes,)`.
    """
    genes = bounds.draw(rng, members)
    leaders = _pick_leaders(_rate(fitness, genes))
    for generation in range(generations):
        reach = 2 - 2 * generation / generations
        genes = np.clip(_surround(genes, leaders.genes, reach, rng), bounds.lower, bounds.upper)
        leaders = _pick_leaders(_join(leaders, _rate(fitness, genes)))
    best: Genes = leaders.genes[0]
    return best


def search_with_jaya(fitness: Fitness, bounds: Bounds, rng: np.random.Generator, members: int, generations: int) -> Genes:
    """Enhanced Jaya: towards the best and away from the worst, or along the difference to a member of an earlier generation.

    Args:
        fitness: of a whole population, `(members, genes) -> (members,)`; its largest value is sought.
        bounds: of the genes; a member that would leave them stops there.
        rng: the only source of chance.
        members: of the population.
        generations: how often it moves.

    Returns:
        The best genes met, `(genes,)`.
    """
    population = _rate(fitness, bounds.draw(rng, members))
    history = population.genes
    for _ in range(generations):
        if rng.random() < rng.random():  # eq. 8
            history = population.genes
        history = rng.permutation(history)  # eq. 9
        exploits = rng.random((members, 1)) < rng.random((members, 1))
        moved = np.where(exploits, _exploit(population, rng), _explore(population, history, rng))
        population = _keep_better(population, _rate(fitness, np.clip(moved, bounds.lower, bounds.upper)))
    best: Genes = population.genes[population.best]
    return best


def search_with_identities(fitness: Fitness, bounds: Bounds, rng: np.random.Generator, members: int, generations: int) -> Genes:
    """Adolescent identity search: each member takes after a model of the fitness, after its peers, or after a single trait.

    Args:
        fitness: of a whole population, `(members, genes) -> (members,)`; its largest value is sought.
        bounds: of the genes; a gene that would leave them is drawn anew.
        rng: the only source of chance.
        members: of the population.
        generations: how often it moves.

    Returns:
        The best genes met, `(genes,)`.
    """
    population = _rate(fitness, bounds.draw(rng, members))
    model = model_best(population.genes, population.values, bounds)
    for _ in range(generations):
        moved = _identify(population, model, rng)
        outside = (moved < bounds.lower) | (moved > bounds.upper)
        moved = np.where(outside, bounds.draw(rng, members), moved)
        improved = _keep_better(population, _rate(fitness, moved))
        if (improved.values > population.values).any():
            model = model_best(improved.genes, improved.values, bounds)
        population = improved
    best: Genes = population.genes[population.best]
    return best


def model_best(genes: Genes, values: Values, bounds: Bounds) -> Genes:
    """AISA's ideal: per gene, the value of the population that a model of the fitness rates best.

    The model is a sum over the genes, each a combination of Chebyshev polynomials T1 to T3 (without a constant) of the gene brought to
    [-1, 1]; its coefficients are the least-squares ones of smallest norm.

    Args:
        genes: `(members, genes)`.
        values: their fitness, `(members,)`.
        bounds: of the genes.

    Returns:
        `(genes,)`, each gene from one member or another.
    """
    x = 2 * (genes - bounds.lower) / (bounds.upper - bounds.lower) - 1
    features = np.stack([x, 2 * x**2 - 1, 4 * x**3 - 3 * x], axis=2)  # (members, genes, degrees)
    coefficients = np.linalg.lstsq(features.reshape(len(genes), -1), values, rcond=None)[0].reshape(-1, DEGREES)
    rated = np.einsum("mgd,gd->mg", features, coefficients)
    ideal: Genes = np.take_along_axis(genes, rated.argmax(axis=0)[None], axis=0)[0]
    return ideal


def _rate(fitness: Fitness, genes: Genes) -> _Population:
    return _Population(genes, fitness(genes))


def _join(one: _Population, other: _Population) -> _Population:
    return _Population(np.concatenate([one.genes, other.genes]), np.concatenate([one.values, other.values]))


def _keep_better(old: _Population, new: _Population) -> _Population:
    """Member by member the new one where it is better, otherwise the old."""
    better = new.values > old.values
    return _Population(np.where(better[:, None], new.genes, old.genes), np.where(better, new.values, old.values))


def _pick_leaders(pack: _Population) -> _Population:
    first = np.argsort(-pack.values, kind="stable")[:LEADERS]  # of equals the one met first
    return _Population(pack.genes[first], pack.values[first])


def _surround(genes: Genes, leaders: Genes, reach: float, rng: np.random.Generator) -> Genes:
    """Equations 3.1 to 3.7: the mean of where each leader calls a wolf to."""
    shape = (len(leaders), *genes.shape)
    swing = reach * (2 * rng.random(shape) - 1)  # A
    emphasis = 2 * rng.random(shape)  # C
    called = leaders[:, None] - swing * np.abs(emphasis * leaders[:, None] - genes)
    position: Genes = called.mean(axis=0)
    return position


def _exploit(population: _Population, rng: np.random.Generator) -> Genes:
    """Equations 3 to 7: towards a point between the best and the mean, away from one between the worst and the mean."""
    genes, mean = population.genes, population.genes.mean(axis=0)
    near, far = rng.random(2)
    attractor = (1 - near) * genes[population.best] + near * mean
    repeller = (1 - far) * genes[population.worst] + far * mean
    moved: Genes = genes + rng.random(genes.shape) * (attractor - genes) - rng.random(genes.shape) * (repeller - genes)
    return moved


def _explore(population: _Population, history: Genes, rng: np.random.Generator) -> Genes:
    """Equation 10: along the difference to a former member, by a normally distributed step."""
    return population.genes + rng.standard_normal((len(history), 1)) * (history - population.genes)


def _identify(population: _Population, model: Genes, rng: np.random.Generator) -> Genes:
    """Equations 13 to 15: each member follows one of the three ways, with equal chances."""
    genes, (members, count) = population.genes, population.genes.shape
    step = rng.random((members, 1))
    by_model = genes - step * (genes - model)
    by_peers = genes - step * (genes[_draw_peers(population, rng)] - genes[population.best])
    trait = genes[rng.integers(members, size=members), rng.integers(count, size=members)][:, None]
    by_trait = genes + rng.random(genes.shape) * (trait - genes)
    way = rng.integers(3, size=(members, 1))
    moved: Genes = np.choose(way, [by_model, by_peers, by_trait])
    return moved


def _draw_peers(population: _Population, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random member for each; where that is the best one, drawn once more."""
    first, second = rng.integers(len(population.genes), size=(2, len(population.genes)))
    peers: NDArray[np.int64] = np.where(first == population.best, second, first)
    return peers
