"""NSST-EJAYA: a shearlet transform that adapts to each pair, its low bands mixed region by region, with genes from enhanced Jaya.

Regions differ in which source is more active there: each of three classes has a mix of the low bands of its own. At each scale of detail a
gene moves the rule from smooth weights that all directions share to a hard choice in every direction, and another sets the contrast.

Reference: S. Shilpa et al., "Enhanced JAYA optimization based medical image fusion in adaptive non subsampled shearlet transform domain",
Engineering Science and Technology, an International Journal 35:101245, 2022, doi 10.1016/j.jestch.2022.101245.
Reconstructed: its text was not at hand. The kind of transform and the search (see `prior.steps.optimise`) are the paper's; the
transform's filters, what adapts, what the genes mean, the fitness and the constants are not. Detail may be strengthened: a source fused
with itself is not left alone.
Deviations: regions and genes are found on a copy of 256 px at most; the genes are applied scale by scale to the source, whose scales are
finer than the copy's.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_local_energy
from prior.steps.fitness import Layers, Shares, Wishes
from prior.steps.nsst import Bands, add_up, crop, decompose, mirror
from prior.steps.optimise import Bounds, Genes, search_with_jaya
from prior.steps.shearlet_genes import Parts, Plan, fuse_by_plan

SCALES, CLASSES = 4, 3  # classes of regions: b more active, both alike, a more active
MEMBERS, GENERATIONS = 20, 40
REGION_SIGMA = 1 / 16  # of the longer side: how far activity is gathered to tell regions apart; less leaves blots
QUIET = np.float32((2 / 255) ** 2)  # energy of noise: where both sources have less they are alike
LOW_SHARE = (0.1, 0.9)  # of the low band of `a` in a class of regions
GAIN = (0.8, 1.6)  # of the detail of a scale
LOWER = np.array([LOW_SHARE[0]] * CLASSES + [0.0] * SCALES + [GAIN[0]] * SCALES)
UPPER = np.array([LOW_SHARE[1]] * CLASSES + [1.0] * SCALES + [GAIN[1]] * SCALES)


def _cut_low(bands: Bands, copies: Layers) -> Parts:
    """The low band of `b` and what a's adds to it in each class of regions."""
    low_a, low_b = bands.low
    regions = mirror(_find_regions(copies, bands.shape))
    return np.concatenate([low_b[None], regions * (low_a - low_b)])


def _cut_scale(bands: Iterable[Layers]) -> Parts:
    """The smoothly and the sharply selected bands; the weights of the former are the same for all directions, so that sums are enough."""
    a, b, energy_a, energy_b, sharp = add_up(map(_measure, bands))
    return np.stack([_mix(a, b, energy_a, energy_b), sharp])


def _measure(bands: Layers) -> Layers:
    """Both bands, their energies, and the band with the larger one."""
    a, b = bands
    energy_a, energy_b = measure_local_energy(a), measure_local_energy(b)
    return np.stack([a, b, energy_a, energy_b, np.where(energy_a >= energy_b, a, b)])


def _mix(a: Image, b: Image, energy_a: Image, energy_b: Image) -> Image:
    """Weights in proportion to the energies."""
    total = energy_a + energy_b
    weight = np.divide(energy_a, total, out=np.full_like(total, 0.5), where=total > 0)
    mixed: Image = b + weight * (a - b)
    return mixed


def _find_regions(copies: Layers, shape: tuple[int, int]) -> Layers:
    """How far each pixel of an image of this shape belongs to each class of regions, `(3, H, W)`; the classes sum to one.

    The regions are those of its small copies: they are smooth, and at full size their Gaussian would have thousands of taps.
    """
    bands = decompose(copies)
    energy_a, energy_b = np.square(copies - crop(bands.low, bands.shape))
    balance = _compare(energy_a, energy_b, REGION_SIGMA * max(bands.shape))
    balance = cv2.resize(balance, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)
    return np.stack([np.maximum(-balance, 0), 1 - np.abs(balance), np.maximum(balance, 0)])


def _compare(energy_a: Image, energy_b: Image, sigma: float) -> Image:
    """Which source is more active around, from -1, all b, to 1, all a."""
    wide_a, wide_b = (cv2.GaussianBlur(energy, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) for energy in (energy_a, energy_b))
    balance: Image = (wide_a - wide_b) / (wide_a + wide_b + QUIET)
    return balance


def _decode(genes: Genes) -> Shares:
    """The shares of the parts: a's low band by class, and per scale the gain, split between smooth and sharp selection."""
    low, sharpness, gain = np.split(genes, [CLASSES, CLASSES + SCALES], axis=1)
    details = np.stack([gain * (1 - sharpness), gain * sharpness], axis=2)  # (members, scales, parts)
    shares: NDArray[np.float64] = np.column_stack([np.ones(len(genes)), low, details.reshape(len(genes), -1)])
    return shares


WISHES = Wishes(knowledge=0, weaker=3)  # chosen by eye and by scores on a few public pairs
PLAN = Plan(_cut_low, _cut_scale, _decode, Bounds(LOWER, UPPER), WISHES, search_with_jaya, MEMBERS, GENERATIONS)


@method(
    "nsst_ejaya",
    family="optimised",
    reference="Shilpa et al. 2022, doi 10.1016/j.jestch.2022.101245",
    idempotent=False,
    cost="medium",
    reconstructed="the transform's filters, what adapts, genes, fitness, constants",
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
