"""NSST-EJAYA: a shearlet transform that adapts to each pair, its low bands mixed region by region, with genes from enhanced Jaya.

Regions differ in which source is more active there: each of three classes has a mix of the low bands of its own. At each scale of detail a
gene moves the rule from smooth weights that all directions share to a hard choice in every direction, and another sets the contrast.

Reference: S. Shilpa et al., "Enhanced JAYA optimization based medical image fusion in adaptive non subsampled shearlet transform domain",
Engineering Science and Technology, an International Journal 35:101245, 2022, doi 10.1016/j.jestch.2022.101245.
Reconstructed: its text was not at hand. The kind of transform and the search (see `prior.steps.optimise`) are the paper's; what adapts,
what the genes mean, the fitness and the constants are not. Detail may be strengthened: a source fused with itself is not left alone.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_local_energy
from prior.steps.fitness import Shares, Wishes
from prior.steps.nsst import Bands, Stack
from prior.steps.optimise import Bounds, Genes, search_with_jaya
from prior.steps.shearlet_genes import LOW, Part, Plan, fuse_by_plan

SCALES, CLASSES = 4, 3  # classes of regions: b more active, both alike, a more active
MEMBERS, GENERATIONS = 20, 40
REGION_SIGMA = 1 / 16  # of the longer side: how far activity is gathered to tell regions apart; less leaves blots
QUIET = np.float32((2 / 255) ** 2)  # energy of noise: where both sources have less they are alike
LOW_SHARE = (0.1, 0.9)  # of the low band of `a` in a class of regions
GAIN = (0.8, 1.6)  # of the detail of a scale
LOWER = np.array([LOW_SHARE[0]] * CLASSES + [0.0] * SCALES + [GAIN[0]] * SCALES)
UPPER = np.array([LOW_SHARE[1]] * CLASSES + [1.0] * SCALES + [GAIN[1]] * SCALES)


def _cut(a: Bands, b: Bands) -> list[Part]:
    """The low band of `b` and what a's adds to it in each class of regions; per scale the smoothly and the sharply selected bands."""
    energies = [(_measure(of_a), _measure(of_b)) for of_a, of_b in zip(a.details, b.details, strict=True)]
    totals = [(energy_a.sum(axis=0), energy_b.sum(axis=0)) for energy_a, energy_b in energies]
    sigma = REGION_SIGMA * max(a.shape)
    regions = _classify(sum(total[0] for total in totals), sum(total[1] for total in totals), sigma)
    parts = [Part(LOW, b.low[None]), *(Part(LOW, (region * (a.low - b.low))[None]) for region in regions)]
    for scale, (of_a, of_b) in enumerate(zip(a.details, b.details, strict=True)):
        sharp = np.where(energies[scale][0] >= energies[scale][1], of_a, of_b)
        parts += [Part(scale, _mix(of_a, of_b, *totals[scale])), Part(scale, sharp)]
    return parts


def _measure(bands: Stack) -> Stack:
    return np.stack([measure_local_energy(band) for band in bands])


def _mix(a: Stack, b: Stack, energy_a: Image, energy_b: Image) -> Stack:
    """Weights in proportion to the energies, the same for all directions."""
    total = energy_a + energy_b
    weight = np.divide(energy_a, total, out=np.full_like(total, 0.5), where=total > 0)
    mixed: Stack = b + weight * (a - b)
    return mixed


def _classify(energy_a: Image, energy_b: Image, sigma: float) -> tuple[Image, Image, Image]:
    """How far each pixel belongs to the regions where `b` is more active, where both are alike, and where `a` is: they sum to one."""
    wide_a, wide_b = (cv2.GaussianBlur(energy, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) for energy in (energy_a, energy_b))
    balance = (wide_a - wide_b) / (wide_a + wide_b + QUIET)  # from -1, all b, to 1, all a
    return np.maximum(-balance, 0), 1 - np.abs(balance), np.maximum(balance, 0)


def _decode(genes: Genes) -> Shares:
    """The shares of the parts: a's low band by class, and per scale the gain, split between smooth and sharp selection."""
    low, sharpness, gain = np.split(genes, [CLASSES, CLASSES + SCALES], axis=1)
    details = np.stack([gain * (1 - sharpness), gain * sharpness], axis=2)  # (members, scales, parts)
    shares: NDArray[np.float64] = np.column_stack([np.ones(len(genes)), low, details.reshape(len(genes), -1)])
    return shares


WISHES = Wishes(knowledge=0, weaker=3)
PLAN = Plan(_cut, _decode, Bounds(LOWER, UPPER), WISHES, search_with_jaya, MEMBERS, GENERATIONS)


@method(
    "nsst_ejaya",
    family="optimised",
    reference="Shilpa et al. 2022, doi 10.1016/j.jestch.2022.101245",
    idempotent=False,
    cost="medium",
    reconstructed="what adapts, genes, fitness, constants",
)
def fuse_nsst_ejaya(a: Image, b: Image, *, seed: int = 0) -> Image:
    """Low bands mixed by region and details selected and strengthened by scale, as enhanced Jaya rates best.

    It changes contrast on purpose: two equal sources come back with stronger or weaker detail.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        seed: of the search's chance.

    Returns:
        float32 `(H, W)`; strengthened detail may leave [0, 1].
    """
    return fuse_by_plan(a, b, PLAN, seed)
