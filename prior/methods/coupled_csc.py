"""Coupled convolutional sparse coding: two sources coded jointly, each the side information of the other; unique codes compete.

There is a price on codes and on how far those of the two sources are apart, so that a structure which both show gets one common code,
and what remains is unique to a source. Common codes stay; around each pixel the unique ones stay of the source that has more of them.

Reference: I. Marivani, E. Tsiligianni, B. Cornelis, N. Deligiannis, "Designing CNNs for multimodal image restoration and fusion via
unfolding the method of multipliers", IEEE Trans. Circuits and Systems for Video Technology, 2022, doi 10.1109/TCSVT.2022.3163649.
Reconstructed: only the abstract was at hand, which tells of coupled codes and of the method of multipliers, unfolded to a network. Here
nothing is unfolded, and only the filters are learned (prior/learning/learn_filters.py). Chosen here: the joint model, in which the codes of
neither source are given and both are found at once, all constants, the rule of choice, that detail which no code holds follows the
choice, and that bases are weighed by their energy and the activity of the codes far around. Images of more than 1400 px are fused in
overlapping tiles.
"""

import functools

import cv2
import numpy as np

from prior import weights
from prior.arrays import Image
from prior.registry import method
from prior.steps.choice import mix
from prior.steps.coding import blend_filters, crop, find_codes, shrink_together
from prior.steps.solve import solve_screened
from prior.steps.tiles import fuse_in_tiles

SMOOTHING = 5.0  # px², of the base
SPARSITY = 0.005  # lambda, of details in [-1, 1]
COUPLING = 0.0025  # mu: below lambda, or a structure of one source alone would get a code in both
PENALTY = 1.0  # rho
ITERATIONS = 10
WINDOW = (11, 11)  # px, that activity is averaged over for the choice
SPREAD = 60.0  # px, Gaussian, for the bases: with a narrow one flat bright areas of a source turn blotchy
NO_ACTIVITY, BLACK = np.float32(1e-4), np.float32(0.01)  # sources without codes around, and black ones, count one half each


def _weigh_base(base: Image, activity: Image) -> Image:
    spread = cv2.GaussianBlur(activity, (0, 0), SPREAD).astype(np.float32, copy=False)
    return (spread + NO_ACTIVITY) * (base + BLACK) ** 2


def _fuse_tile(a: Image, b: Image, sparsity: float, coupling: float, iterations: int) -> Image:
    filters, shape = weights.load("coding_filters"), (a.shape[0], a.shape[1])
    base_a, base_b = (solve_screened(image, SMOOTHING) for image in (a, b))
    details = np.stack((a - base_a, b - base_b))
    shrink = shrink_together(sparsity / PENALTY, coupling / PENALTY)
    code_a, code_b = find_codes(details, filters, shrink, penalty=PENALTY, iterations=iterations)
    active_a, active_b = np.abs(code_a).sum(axis=0), np.abs(code_b).sum(axis=0)
    # Common codes are in both sums, whose difference is that of the unique codes.
    lead = cv2.boxFilter(active_a - active_b, -1, WINDOW)
    choice = (0.5 + 0.5 * np.sign(lead)).astype(np.float32)
    coded = crop(blend_filters(mix(code_a, code_b, choice), filters), shape)
    rest_a, rest_b = (detail - crop(blend_filters(code, filters), shape) for detail, code in zip(details, (code_a, code_b), strict=True))
    weight_a, weight_b = _weigh_base(base_a, crop(active_a, shape)), _weigh_base(base_b, crop(active_b, shape))
    return mix(base_a, base_b, weight_a / (weight_a + weight_b)) + coded + mix(rest_a, rest_b, crop(choice, shape))


@method(
    "coupled_csc",
    family="convolutional sparse coding",
    reference="Marivani, Tsiligianni, Cornelis, Deligiannis 2022, doi 10.1109/TCSVT.2022.3163649",
    tasks=("infrared-visible", "medical", "multi-focus"),  # bases weighed by energy wash out what is well exposed in one source alone
    cost="medium",
    reconstructed="the joint model, constants, rules; untrained",
)
def fuse_coupled_csc(a: Image, b: Image, *, sparsity: float = SPARSITY, coupling: float = COUPLING, iterations: int = ITERATIONS) -> Image:
    """Common codes and the unique ones of the more active source, on bases weighed by their energy and the activity around.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        sparsity: the price of a code's magnitude beside that of half a squared error.
        coupling: the price of a difference between the codes of the sources.
        iterations: of the search for the codes.

    Returns:
        float32 `(H, W)`; detail of one source on the base of the other may leave [0, 1].
    """
    fuse = functools.partial(_fuse_tile, sparsity=sparsity, coupling=coupling, iterations=iterations)
    return fuse_in_tiles(fuse, a, b)
