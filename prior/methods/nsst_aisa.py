"""NSST-AISA: a shearlet transform whose fusion weights an adolescent identity search finds for each pair.

The low bands are mixed in one proportion. At each scale of detail, genes say how far the more active coefficient is chosen and, for the
rest, in which proportion the sources are mixed.

Reference: J. Jose, N. Gautam, M. Tiwari, T. Tiwari, A. Suresh, V. Sundararaj, M. R. Rejeesh, "An image quality enhancement scheme
employing adolescent identity search algorithm in the NSST domain for multimodal medical image fusion", Biomedical Signal Processing and
Control 66:102480, 2021, doi 10.1016/j.bspc.2021.102480.
Reconstructed: its text was not at hand. The transform and the search (see `prior.steps.optimise`) are the paper's; what the genes mean,
the measure of activity (novel sum-modified Laplacian), the fitness and the constants are not.
"""

import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_nsml
from prior.steps.fitness import Shares, Wishes
from prior.steps.nsst import Bands, Stack
from prior.steps.optimise import Bounds, Genes, search_with_identities
from prior.steps.shearlet_genes import LOW, Part, Plan, fuse_by_plan

SCALES = 4
MEMBERS, GENERATIONS = 24, 30
LOW_SHARE = (0.2, 0.8)  # of the low band of `a`: neither source may be left out
CHOICE = (0.3, 1.0)  # weight of the more active coefficient against the mix of both
LOWER = np.array([LOW_SHARE[0], *[CHOICE[0]] * SCALES, *[0.0] * SCALES])
UPPER = np.array([LOW_SHARE[1], *[CHOICE[1]] * SCALES, *[1.0] * SCALES])


def _cut(a: Bands, b: Bands) -> list[Part]:
    """Both low bands; per scale the chosen bands and those of both sources."""
    parts = [Part(LOW, a.low[None]), Part(LOW, b.low[None])]
    for scale, (of_a, of_b) in enumerate(zip(a.details, b.details, strict=True)):
        parts += [Part(scale, _choose(of_a, of_b)), Part(scale, of_a), Part(scale, of_b)]
    return parts


def _choose(a: Stack, b: Stack) -> Stack:
    """Band by band the coefficient whose surroundings are more active."""
    return np.stack([np.where(measure_nsml(x) >= measure_nsml(y), x, y) for x, y in zip(a, b, strict=True)])


def _decode(genes: Genes) -> Shares:
    """The shares of the parts; those of the low bands sum to one, and so do those of each scale."""
    low, choice, mix = genes[:, 0], genes[:, 1 : 1 + SCALES], genes[:, 1 + SCALES :]
    details = np.stack([choice, (1 - choice) * mix, (1 - choice) * (1 - mix)], axis=2)  # (members, scales, parts)
    shares: NDArray[np.float64] = np.column_stack([low, 1 - low, details.reshape(len(genes), -1)])
    return shares


WISHES = Wishes(knowledge=1.5, weaker=1.5)
PLAN = Plan(_cut, _decode, Bounds(LOWER, UPPER), WISHES, search_with_identities, MEMBERS, GENERATIONS)


@method(
    "nsst_aisa",
    family="optimised",
    reference="Jose et al. 2021, doi 10.1016/j.bspc.2021.102480",
    cost="medium",
    reconstructed="genes, activity, fitness, constants",
)
def fuse_nsst_aisa(a: Image, b: Image, *, seed: int = 0) -> Image:
    """Low bands and details in the proportions that an adolescent identity search rates best.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        seed: of the search's chance.

    Returns:
        float32 `(H, W)`; detail of one source on the low band of the other may leave [0, 1].
    """
    return fuse_by_plan(a, b, PLAN, seed)
