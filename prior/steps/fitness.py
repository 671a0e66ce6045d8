"""How an optimised method rates a fused image while it searches, and the harness in which every such method does.

The rating is the methods' own and shares no term with the criteria that pick among candidates: otherwise a method would be judged by what
it was made for. It asks for information (entropy), for as much fine contrast as the sharper source has but no more (spatial frequency: more
earns nothing), for knowing something of both sources (mutual information), and for the edges of both (their mean square error, as PSNR).

A trial image is a weighted sum of layers: what a method varies is linear in them, so that no trial needs a transform. Trials are made of
small copies of the sources; the shares found on them are applied to the sources themselves.

Reconstructed: the papers' own fitness functions were not at hand; the terms are those that their abstracts and followers name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image
from prior.steps.optimise import Bounds, Genes, Search, Values

LONGEST = 256  # px, of the longer side of the copies
GREYS, COARSE = 256, 32  # levels of the histograms: of one image; of two together, 8 greys each
STEP = GREYS // COARSE
BITS = 8.0  # the largest entropy
CEILING_DB = 60.0  # PSNR of edges that count as exact
EXACT = 10 ** (-CEILING_DB / 10)

Layers = NDArray[np.float32]  # (layers, H, W)
Shares = NDArray[np.float64]  # (trials, layers), or (layers,) of one trial
Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Qualities:
    """What is measured of each trial image, `(trials,)` each.

    Attributes:
        entropy: of its 256 grey levels, over 8 bits: in [0, 1].
        sharpness: its spatial frequency over that of the sharper source, in [0, 1]; 1 where both are flat.
        of_a: the share of `a`'s entropy, of 32 levels, that it tells: in [0, 1]; 1 where `a` is flat.
        of_b: the same of `b`.
        edges: PSNR of its gradient against the sources', each pixel weighing as much as it has of an edge, over 60 dB: at most 1.
    """

    entropy: Values
    sharpness: Values
    of_a: Values
    of_b: Values
    edges: Values


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a method wants of its image: the weights of what is measured.

    Attributes:
        knowledge: of what it tells of both sources, the geometric mean: a source that is hardly told of costs much.
        weaker: of what it tells of the source that it tells less of.
        edges: of the sources' edges kept.
        entropy: of its information.
        sharpness: of its fine contrast.
    """

    knowledge: float
    weaker: float
    edges: float = 6.0  # varies little from trial to trial
    entropy: float = 0.3
    sharpness: float = 0.3

    def rate(self, qualities: Qualities) -> Values:
        """One number per trial, the higher the better."""
        both, weaker = np.sqrt(qualities.of_a * qualities.of_b), np.minimum(qualities.of_a, qualities.of_b)
        value: Values = self.knowledge * both + self.weaker * weaker + self.edges * qualities.edges
        return value + self.entropy * qualities.entropy + self.sharpness * qualities.sharpness


@dataclass(frozen=True, slots=True)
class _Goal:
    """What trial images are held against.

    Attributes:
        a: the levels of one source, 0..31.
        b: those of the other.
        weight: how much of an edge each pixel has in both sources together.
        right: the gradient to the right that errs least, and `down` the one downwards: means of the sources', weighted by their edges.
        left_over: the mean square error of that gradient.
    """

    a: Levels
    b: Levels
    weight: Image
    right: Image
    down: Image
    left_over: float


def shrink(image: Image, longest: int = LONGEST) -> Image:
    """A copy whose longer side has at most `longest` px: areas are averaged. A smaller image is returned itself."""
    height, width = image.shape
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def find_shares(
    layers: Layers,
    sources: tuple[Image, Image],
    decode: Callable[[Genes], Shares],
    bounds: Bounds,
    wishes: Wishes,
    search: Search,
    *,
    members: int,
    generations: int,
    seed: int,
) -> Shares:
    """The shares of the layers whose sum is rated highest.

    Args:
        layers: what trial images are made of, float32 `(layers, H, W)`.
        sources: what they are held against, float32 `(H, W)` in [0, 1] each.
        decode: the shares of a population of genes, `(members, genes) -> (members, layers)`.
        bounds: of the genes.
        wishes: what the sum is to be rated by.
        search: one of those of `prior.steps.optimise`.
        members: of its population.
        generations: how often it moves.
        seed: of its chance.

    Returns:
        `(layers,)`.
    """
    measure = prepare_measure(layers, *sources)
    best = search(lambda genes: wishes.rate(measure(decode(genes))), bounds, np.random.default_rng(seed), members, generations)
    shares: Shares = decode(best[None])[0]
    return shares


def prepare_measure(layers: Layers, a: Image, b: Image) -> Callable[[Shares], Qualities]:
    """What measures trial images of one pair; arguments as of `find_shares`.

    Returns:
        A function from the shares of every layer in every trial, `(trials, layers)`, to the trials' qualities.
    """
    goal, layers = _set_goal(a, b), np.ascontiguousarray(layers)
    entropy_a, entropy_b = (_sum_entropy(np.bincount(levels.ravel())) for levels in (goal.a, goal.b))
    sharpest = max(_measure_frequency(image) for image in (a, b))

    def measure(shares: Shares) -> Qualities:
        trials = [_measure_trial(layers, one.astype(np.float32), goal.a, goal.b, goal.weight, goal.right, goal.down) for one in shares]
        entropy, coarse, with_a, with_b, frequency, error = np.array(trials).T
        return Qualities(
            entropy=entropy / BITS,
            sharpness=_divide(np.minimum(frequency, sharpest), sharpest),
            of_a=_divide(entropy_a + coarse - with_a, entropy_a),
            of_b=_divide(entropy_b + coarse - with_b, entropy_b),
            edges=-10 * np.log10(np.maximum(error + goal.left_over, EXACT)) / CEILING_DB,
        )

    return measure


def _divide(part: Values, whole: float) -> Values:
    """One where there is nothing to have a part of."""
    return np.maximum(part / whole, 0) if whole > 0 else np.ones_like(part)


def _set_goal(a: Image, b: Image) -> _Goal:
    (right_a, down_a), (right_b, down_b) = _differentiate(a), _differentiate(b)
    edge_a, edge_b = np.hypot(right_a, down_a), np.hypot(right_b, down_b)
    total = np.maximum(edge_a + edge_b, np.finfo(np.float32).tiny)
    apart = (right_a - right_b) ** 2 + (down_a - down_b) ** 2
    whole = max(float(np.sum(edge_a + edge_b, dtype=np.float64)), EXACT)
    return _Goal(
        a=_quantise(a),
        b=_quantise(b),
        weight=((edge_a + edge_b) / np.float32(whole)).astype(np.float32),
        right=(edge_a * right_a + edge_b * right_b) / total,
        down=(edge_a * down_a + edge_b * down_b) / total,
        left_over=float(np.sum(edge_a * edge_b / total * apart, dtype=np.float64)) / whole,
    )


def _quantise(image: Image) -> Levels:
    levels: Levels = np.rint(np.clip(image, 0, 1) * np.float32(GREYS - 1)).astype(np.uint8) // np.uint8(STEP)
    return levels


def _differentiate(image: Image) -> tuple[Image, Image]:
    """Differences to the right and downwards; 0 in the last column and row."""
    right, down = np.zeros_like(image), np.zeros_like(image)
    np.subtract(image[:, 1:], image[:, :-1], out=right[:, :-1])
    np.subtract(image[1:], image[:-1], out=down[:-1])
    return right, down


def _measure_frequency(image: Image) -> float:
    """The spatial frequency: the root of the mean squared differences to the right and downwards, added up."""
    return math.sqrt(sum(float(np.mean(np.square(change), dtype=np.float64)) for change in _differentiate(image)))


@njit(cache=True, nogil=True)
def _sum_entropy(histogram):  # type: ignore[no-untyped-def]
    """The entropy of a histogram, bits."""
    total, logarithms = 0, 0.0
    for count in histogram:
        if count > 0:
            total += count
            logarithms += count * math.log2(count)
    return math.log2(total) - logarithms / total


@njit(cache=True, nogil=True)
def _measure_trial(layers, share, a, b, weight, right, down):  # type: ignore[no-untyped-def]
    """Entropies of the image (256 levels, 32 levels) and with each source (32 x 32), bits; spatial frequency; error of the edges."""
    height, width = a.shape
    grey = np.zeros(GREYS, np.int64)
    with_a, with_b = np.zeros((COARSE, COARSE), np.int64), np.zeros((COARSE, COARSE), np.int64)
    here, below = np.empty(width, np.float32), np.empty(width, np.float32)
    squares, error = 0.0, 0.0
    _mix(layers, share, 0, below)
    for i in range(height):
        here, below = below, here
        if i + 1 < height:
            _mix(layers, share, i + 1, below)
        else:
            below[:] = here
        for j in range(width):
            level = int(min(max(here[j], np.float32(0)), np.float32(1)) * np.float32(GREYS - 1) + np.float32(0.5))
            grey[level] += 1
            with_a[level // STEP, a[i, j]] += 1
            with_b[level // STEP, b[i, j]] += 1
        for j in range(width):
            to_right = here[min(j + 1, width - 1)] - here[j]
            to_below = below[j] - here[j]
            squares += to_right * to_right + to_below * to_below
            error += weight[i, j] * ((to_right - right[i, j]) ** 2 + (to_below - down[i, j]) ** 2)
    coarse = grey.reshape(COARSE, STEP).sum(axis=1)
    entropies = _sum_entropy(grey), _sum_entropy(coarse), _sum_entropy(with_a.ravel()), _sum_entropy(with_b.ravel())
    return *entropies, math.sqrt(squares / (height * width)), error


@njit(cache=True, nogil=True)
def _mix(layers, share, i, row):  # type: ignore[no-untyped-def]
    """Row `i` of a trial image."""
    row[:] = 0
    for k in range(len(share)):
        for j in range(len(row)):
            row[j] += share[k] * layers[k, i, j]
