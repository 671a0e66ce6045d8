"""Gradient transfer: a saliency-weighted mean of the sources that takes over the gradients of the more active one.

A rule of fusion says where which source counts, and a field of gradients which edges the image shall have. The fused image is the fixed
point of proximal steps on  least ½ |F - (W a + (1 - W) b)|² + strength |∇F - G|₁,  where the absolute value lets F leave the field along
a few lines, such as the rim of a hot body, and follow it everywhere else: no halos, as squares would make them.

Reference: W. Wang, Q. Cao, L. Deng, G. Vivone, IEEE TPAMI 2026, doi 10.1109/tpami.2026.3655694: general image fusion by gradient
transfer and an unfolded rule of fusion, as a deep equilibrium.
Reconstructed: everything. Of the paper no more than the abstract was at hand; this is a model of that idea, chosen here and untrained, with
local deviation as the rule, local energy as the choice of gradients, and alternating directions (ADMM) as the steps.
Deviations: no learned proximal step. Bounds take its place: a pixel goes at most a quarter beyond the darker and the brighter source,
so that the empty surroundings of a medical image stay black; they are kept once, at the end.
"""

import numpy as np
from numba import njit

from prior.arrays import Image
from prior.registry import method
from prior.steps.smoothing import blur_wide
from prior.steps.solve import Gradients, gather_gradients, keep_between, pick_gradients, solve_screened

STRENGTH = 3.0  # of the gradients against the weighted mean, grey range
SALIENCY_SIGMA = 4.0  # px, of the window in which a source's deviation is measured
UNNOTICED = 0.02  # deviation that counts as none: two flat sources are averaged
ENERGY_SIGMA = 2.0  # px, of the window in which the energies of gradients are compared
PENALTY = 80.0  # of the split, in units of the strength: changes the way to the fixed point, not the point
TOLERANCE, MOST_STEPS = 3e-4, 60  # relative change of the image that ends the steps
ROOM = 0.25  # beyond the darker and the brighter source, as a part of it


def _measure_saliency(image: Image) -> Image:
    """The local standard deviation."""
    mean = blur_wide(image, SALIENCY_SIGMA)
    return np.sqrt(np.maximum(blur_wide(image * image, SALIENCY_SIGMA) - mean * mean, np.float32(0)))


def _mix(a: Image, b: Image) -> Image:
    """The mean of the sources, weighted by their saliency."""
    saliency_a, saliency_b = (_measure_saliency(image) + np.float32(UNNOTICED) for image in (a, b))
    return b + saliency_a / (saliency_a + saliency_b) * (a - b)


@njit(cache=True, nogil=True)
def _shrink(image, field, dual, threshold):  # type: ignore[no-untyped-def]
    """One proximal step for the gradients: `dual` in place, and the gradients that the next image is asked for."""
    _, height, width = field.shape
    wanted = np.zeros_like(field)
    for i in range(height):
        for j in range(width):
            down, right = np.float32(0), np.float32(0)
            if i + 1 < height:
                down = image[i + 1, j] - image[i, j] - field[0, i, j] + dual[0, i, j]
            if j + 1 < width:
                right = image[i, j + 1] - image[i, j] - field[1, i, j] + dual[1, i, j]
            length = np.sqrt(down * down + right * right)
            kept = threshold / length if length > threshold else np.float32(1)
            dual[0, i, j], dual[1, i, j] = kept * down, kept * right
            wanted[0, i, j] = field[0, i, j] + (np.float32(1) - np.float32(2) * kept) * down
            wanted[1, i, j] = field[1, i, j] + (np.float32(1) - np.float32(2) * kept) * right
    return wanted


def _measure_size(image: Image) -> float:
    """The Euclidean norm, summed in one order on every machine."""
    return float(np.sqrt(np.square(image, dtype=np.float64).sum()))


def _transfer(mixed: Image, field: Gradients, strength: float, tolerance: float) -> Image:
    """The image nearest to `mixed` whose gradients are those of `field` but for few."""
    penalty = np.float32(PENALTY * strength)
    threshold = np.float32(strength) / penalty
    dual = np.zeros_like(field)
    image = solve_screened(mixed + penalty * gather_gradients(field), float(penalty))
    for _ in range(MOST_STEPS):
        previous, wanted = image, _shrink(image, field, dual, threshold)
        image = solve_screened(mixed + penalty * gather_gradients(wanted), float(penalty))
        if _measure_size(image - previous) <= tolerance * _measure_size(previous):
            break
    return image


@method(
    "gradient_transfer",
    family="variational",
    reference="Wang, Cao, Deng, Vivone 2026, doi 10.1109/tpami.2026.3655694",
    reconstructed="everything but the idea: no learned proximal step, own rule and choice of gradients",
)
def fuse_gradient_transfer(a: Image, b: Image, *, strength: float = STRENGTH, tolerance: float = TOLERANCE, room: float = ROOM) -> Image:
    """The saliency-weighted mean of the sources with the gradients of the more active one.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        strength: of the gradients against the mean, grey range; above 0.
        tolerance: relative change of the image that ends the steps.
        room: how far a pixel may go beyond the darker and the brighter source, as a part of it.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return keep_between(_transfer(_mix(a, b), pick_gradients(a, b, ENERGY_SIGMA), strength, tolerance), a, b, room)
