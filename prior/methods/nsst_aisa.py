"""NSST-AISA: a shearlet transform whose fusion weights an adolescent identity search finds for each pair.

The low bands are mixed in one proportion. At each scale of detail, genes say how far the more active coefficient is chosen and, for the
rest, in which proportion the sources are mixed.

Reference: J. Jose, N. Gautam, M. Tiwari, T. Tiwari, A. Suresh, V. Sundararaj, M. R. Rejeesh, "An image quality enhancement scheme
employing adolescent identity search algorithm in the NSST domain for multimodal medical image fusion", Biomedical Signal Processing and
Control 66:102480, 2021, doi 10.1016/j.bspc.2021.102480.
Reconstructed: its text was not at hand. The kind of transform and the search (see `prior.steps.optimise`) are the paper's; the transform's
filters, what the genes mean, the measure of activity (novel sum-modified Laplacian), the fitness and the constants are not.
Deviations: genes are found on a copy of 256 px at most and applied scale by scale to the source, whose scales are finer than the copy's.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_nsml
from prior.steps.fitness import Layers, Shares, Wishes
from prior.steps.nsst import Bands, add_up
from prior.steps.optimise import Bounds, Genes, search_with_identities
from prior.steps.shearlet_genes import Parts, Plan, fuse_by_plan

SCALES = 4
MEMBERS, GENERATIONS = 24, 30
LOW_SHARE = (0.2, 0.8)  # of the low band of `a`: neither source may be left out
CHOICE = (0.3, 1.0)  # weight of the more active coefficient against the mix of both
LOWER = np.array([LOW_SHARE[0], *[CHOICE[0]] * SCALES, *[0.0] * SCALES])
UPPER = np.array([LOW_SHARE[1], *[CHOICE[1]] * SCALES, *[1.0] * SCALES])


def _cut_low(bands: Bands, _: Layers) -> Parts:
    """Both low bands."""
    return bands.low


def _cut_scale(bands: Iterable[Layers]) -> Parts:
    """The chosen bands and those of both sources."""
    return add_up(np.stack([_choose(a, b), a, b]) for a, b in bands)


def _choose(a: Image, b: Image) -> Image:
    """The coefficient whose surroundings are more active."""
    return np.where(measure_nsml(a) >= measure_nsml(b), a, b)


def _decode(genes: Genes) -> Shares:
    """The shares of the parts; those of the low bands sum to one, and so do those of each scale."""
    low, choice, mix = genes[:, 0], genes[:, 1 : 1 + SCALES], genes[:, 1 + SCALES :]
    details = np.stack([choice, (1 - choice) * mix, (1 - choice) * (1 - mix)], axis=2)  # (members, scales, parts)
    shares: NDArray[np.float64] = np.column_stack([low, 1 - low, details.reshape(len(genes), -1)])
    return shares


WISHES = Wishes(knowledge=1.5, weaker=1.5)  # chosen by eye and by scores on a few public pairs
PLAN = Plan(_cut_low, _cut_scale, _decode, Bounds(LOWER, UPPER), WISHES, search_with_identities, MEMBERS, GENERATIONS)


@method(
    "nsst_aisa",
    family="optimised",
    reference="Jose et al. 2021, doi 10.1016/j.bspc.2021.102480",
    cost="medium",
    reconstructed="the transform's filters, genes, activity, fitness, constants",
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
