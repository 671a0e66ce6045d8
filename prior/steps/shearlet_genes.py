"""Fused images as weighted sums of parts in the shearlet domain, and the search for the weights.

A method says what parts two decomposed sources give and what its genes make of them. The genes are found on small copies of the sources,
where every part is put together once, and applied to the bands of the sources themselves. A part of a scale of detail is summed over its
directions as they are made, which is all that the way back asks for: the bands are never held together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prior.arrays import Image
from prior.steps.fitness import Layers, Shares, Wishes, find_shares, shrink
from prior.steps.nsst import Bands, decompose, reconstruct
from prior.steps.optimise import Bounds, Genes, Search

Parts = Layers  # (parts, H', W')
Decode = Callable[[Genes], Shares]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is searched and how.

    Attributes:
        cut_low: the parts of the low band, of both decomposed sources `(2, H', W')` and of their small copies `(2, h, w)`.
        cut_scale: the parts of a scale of detail, each summed over all directions, of both sources' bands `(2, H', W')` direction by
            direction.
        decode: the shares of the parts, low band first, then coarse to fine, that each member's genes mean,
            `(members, genes) -> (members, parts)`.
        bounds: of the genes.
        wishes: what the fused image is to be rated by.
        search: one of those of `prior.steps.optimise`.
        members: of its population.
        generations: how often it moves.
    """

    cut_low: Callable[[Bands, Layers], Parts]
    cut_scale: Callable[[Iterable[Layers]], Parts]
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
    copies = np.stack([shrink(a), shrink(b)])
    parts = list(cut(copies, copies, plan))
    shares = find_shares(
        render(parts, copies.shape[1:]),
        (copies[0], copies[1]),
        plan.decode,
        plan.bounds,
        plan.wishes,
        plan.search,
        members=plan.members,
        generations=plan.generations,
        seed=seed,
    )
    small = copies.shape[1:] != a.shape
    return weigh(cut(np.stack([a, b]), copies, plan) if small else parts, shares, (a.shape[0], a.shape[1]))


def cut(sources: Layers, copies: Layers, plan: Plan) -> Iterator[Parts]:
    """The parts of the low band, then those of each scale, coarse to fine, made as they are asked for."""
    bands = decompose(sources)
    yield plan.cut_low(bands, copies)
    yield from map(plan.cut_scale, bands.details)


def render(parts: Sequence[Parts], shape: tuple[int, ...]) -> Layers:
    """The image of every part alone, float32 `(parts, H, W)`."""
    return weigh(parts, np.eye(sum(map(len, parts))), shape)


def weigh(parts: Iterable[Parts], shares: Shares, shape: tuple[int, ...]) -> Layers:
    """The image of a weighted sum of parts.

    Args:
        parts: as `cut` gives them.
        shares: of all parts, `(..., parts)`.
        shape: of the image, `(H, W)`.

    Returns:
        float32 `(..., H, W)`.
    """
    sums, done = [], 0
    for stack in parts:
        sums.append(np.tensordot(shares[..., done : done + len(stack)].astype(np.float32), stack, 1))
        done += len(stack)
    low, *details = sums
    return reconstruct(Bands(low, tuple([total] for total in details), (shape[0], shape[1])))
