"""Hybrid_MSD: Gaussian and bilateral filters tell texture from edges at four scales; conspicuous infrared edges enter the visible image.

At coarse scales and in the base the infrared counts as much as its edges exceed those of the visible image, by a rule that saturates soon;
all else is visible. At the finest scale the stronger coefficient is kept.

Reference: Z. Zhou, B. Wang, S. Li, M. Dong, "Perceptual fusion of infrared and visible images through a hybrid multi-scale decomposition
with Gaussian and bilateral filters", Information Fusion 30:15-26, 2016, doi 10.1016/j.inffus.2015.11.003; constants of the authors'
program.
`a` is the infrared (or first) source, `b` the visible (or second) one: the rule prefers them for different things.
Deviations: of the luma, where the program fuses each colour channel.
"""

from functools import partial

from prior.arrays import Image
from prior.registry import method
from prior.steps.smoothing import BASE_WIDENING, Filter, blur, decompose_hybrid, filter_bilateral_grid, fuse_hybrid

SCALES = 4
SIGMA, WIDENING = 2.0, 2.0  # px, of the finest scale; factor from one to the next
RANGE_SIGMA, NARROWING = 0.05, 2.0  # of the finest scale's bilateral filter; divisor from one to the next
STEEPNESS = 30.0  # lambda
UNSMOOTHED = 0.0  # px, smoothing of the finest scale's weights


def _choose_filters(scales: int) -> list[tuple[Filter, Filter]]:
    """Per scale, fine to coarse, the Gaussian and the bilateral filter."""
    return [
        (
            partial(blur, sigma=SIGMA * WIDENING**scale),
            partial(filter_bilateral_grid, sigma_space=SIGMA * WIDENING**scale, sigma_range=RANGE_SIGMA / NARROWING**scale),
        )
        for scale in range(scales)
    ]


@method(
    "hybrid_msd",
    family="edge-preserving multi-scale",
    reference="Zhou, Wang, Li, Dong 2016, doi 10.1016/j.inffus.2015.11.003",
    tasks=("infrared-visible",),
)
def fuse_hybrid_msd(a: Image, b: Image, *, scales: int = SCALES, steepness: float = STEEPNESS) -> Image:
    """The visible image with the infrared's conspicuous edges, by Gaussian and bilateral filters.

    Args:
        a: the infrared source, float32 `(H, W)` in [0, 1].
        b: the visible source, of the same size.
        scales: of the decomposition, at least one.
        steepness: how soon a stronger infrared edge takes over.

    Returns:
        float32 `(H, W)`; details may leave [0, 1].
    """
    filters = _choose_filters(scales)
    base_sigma = BASE_WIDENING * SIGMA * WIDENING**scales
    return fuse_hybrid(decompose_hybrid(a, filters), decompose_hybrid(b, filters), steepness, base_sigma, UNSMOOTHED)
