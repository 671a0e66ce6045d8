"""Poisson fusion: the image whose gradients come nearest to the contrast of both sources together.

At every pixel the gradients of the two sources make a contrast form, the mean of their outer products. Its leading eigenvector, with its
root eigenvalue as length, is the gradient that best stands for both; its sign is that of the stronger source's gradient. One screened
Poisson equation makes an image of these gradients, least |F - (a + b) / 2|² + strength |∇F - G|², so that no brightness drifts far.

Reference: D. A. Socolinsky, L. B. Wolff, "Multispectral image visualization through first-order fusion", IEEE Trans. Image Processing
11(8):923-931, 2002, doi 10.1109/TIP.2002.801588.
Reconstructed: the term that holds F to the mean of the sources, its strength, and the bounds.
Deviations: the contrast form is a mean, not a sum, so that two equal sources give that source; the equation is screened and therefore
has one solution without a chosen constant; a pixel goes at most a quarter beyond the darker and the brighter source, so that the empty
surroundings of a medical image stay black.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.solve import Gradients, find_gradients, gather_gradients, keep_between, solve_screened

STRENGTH = 128.0  # px²: gradients rule up to about its root, 11 px, and the mean of the sources beyond
ROOM = 0.25  # beyond the darker and the brighter source, as a part of it
HALF, TWO = np.float32(0.5), np.float32(2)


def _measure_contrast(a: Gradients, b: Gradients) -> Gradients:
    """The leading eigenvector of the contrast form, as long as the root of its eigenvalue; its sign is still open."""
    downs, rights = HALF * (a[0] * a[0] + b[0] * b[0]), HALF * (a[1] * a[1] + b[1] * b[1])
    mixed = HALF * (a[0] * a[1] + b[0] * b[1])
    angle = HALF * np.arctan2(TWO * mixed, downs - rights)
    length = np.sqrt(HALF * (downs + rights + np.hypot(downs - rights, TWO * mixed)))
    return np.stack([length * np.cos(angle), length * np.sin(angle)])


def _join_gradients(a: Gradients, b: Gradients) -> Gradients:
    """The contrast of both, pointing where the stronger gradient points, and where both are as strong, where their sum does."""
    contrast = _measure_contrast(a, b)
    energy_a, energy_b = (a * a).sum(0), (b * b).sum(0)
    stronger = np.where(energy_a > energy_b, a, np.where(energy_a < energy_b, b, a + b))
    return np.where((contrast * stronger).sum(0) < 0, -contrast, contrast)


@method(
    "poisson",
    family="variational",
    reference="Socolinsky, Wolff 2002, doi 10.1109/TIP.2002.801588",
    reconstructed="the term towards the mean of the sources, its strength, the bounds",
)
def fuse_poisson(a: Image, b: Image, *, strength: float = STRENGTH, room: float = ROOM) -> Image:
    """The image nearest to the joint contrast of both sources and, more loosely, to their mean.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        strength: of the gradients against the mean, px².
        room: how far a pixel may go beyond the darker and the brighter source, as a part of it.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    gradients = _join_gradients(find_gradients(a), find_gradients(b))
    wanted = HALF * (a + b) + np.float32(strength) * gather_gradients(gradients)
    return keep_between(solve_screened(wanted, strength), a, b, room)
