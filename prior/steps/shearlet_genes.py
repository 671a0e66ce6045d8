"""Fused images as weighted sums of parts in the shearlet domain, and the search for the weights.

A method says what parts two decomposed sources give and what its genes make of them. The genes are found on small copies of the sources,
where every part is put together once, and applied to the bands of the sources themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prior.arrays import Image
from prior.steps.fitness import Layers, Shares, Wishes, find_shares, shrink
from prior.steps.nsst import Bands, Stack, decompose, reconstruct
from prior.steps.optimise import Bounds, Genes, Search

LOW = -1  # the scale of the low band; those of detail count from 0, coarse to fine


@dataclass(frozen=True, slots=True)
class Part:
    """Bands of one scale, or the low band alone.

    Attributes:
        scale: LOW, or the number of the detail scale from 0, coarse to fine.
        bands: `(directions, H', W')`; one for the low band.
    """

    scale: int
    bands: Stack


Cut = Callable[[Bands, Bands], Sequence[Part]]
Decode = Callable[[Genes], Shares]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched and how.

    Attributes:
        cut: the parts that two decomposed sources give, `(bands_a, bands_b) -> parts`.
        decode: the shares of the parts that each member's genes mean, `(members, genes) -> (members, parts)`.
        bounds: of the genes.
        wishes: what the fused image is to be rated by.
        search: one of those of `prior.steps.optimise`.
        members: of its population.
        generations: how often it moves.
    """

    cut: Cut
    decode: Decode
    bounds: Bounds
    wishes: Wishes
    search: Search
    members: int
    generations: int


def fuse_by_plan(a: Image, b: Image, plan: Plan, seed: int) -> Image:
    """The sum of the parts with the shares that a search finds best.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        plan: what is searched and how.
        seed: of the search's chance.

    Returns:
        float32 `(H, W)`.
    """
    small = shrink(a), shrink(b)
    bands = decompose(small[0])
    parts = plan.cut(bands, decompose(small[1]))
    layers = render(parts, bands)
    shares = find_shares(
        layers,
        small,
        plan.decode,
        plan.bounds,
        plan.wishes,
        plan.search,
        members=plan.members,
        generations=plan.generations,
        seed=seed,
    )
    if small[0] is not a:
        bands = decompose(a)
        parts = plan.cut(bands, decompose(b))
    return reconstruct(add_up(parts, shares, bands))


def render(parts: Sequence[Part], like: Bands) -> Layers:
    """The image of every part alone, float32 `(parts, H, W)`; `like` tells the sizes."""
    return np.stack([reconstruct(add_up([part], np.ones(1), like)) for part in parts])


def add_up(parts: Sequence[Part], shares: Shares, like: Bands) -> Bands:
    """The bands of a weighted sum of parts; `like` tells the sizes."""
    low = np.zeros_like(like.low)
    details = tuple(np.zeros_like(stack) for stack in like.details)
    for part, share in zip(parts, shares, strict=True):
        total = low[None] if part.scale == LOW else details[part.scale]
        for sum_so_far, band in zip(total, part.bands, strict=True):
            sum_so_far += np.float32(share) * band
    return Bands(low, details, like.shape)
