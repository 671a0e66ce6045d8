"""Intensity and gradient: the image that the usual loss of unsupervised fusion networks asks for, found directly, without a network.

Such networks are trained towards the brighter source at every pixel and the stronger gradient of both. The two wishes contradict each
other along the lines where the brighter source changes; the fused image is the one of least  |F - max(a, b)|₁ + weight |∇F - G|₁,
which gives way along those lines alone.

Reference: L. Tang, J. Yuan, J. Ma, "Image fusion in the loop of high-level vision tasks: A semantic-aware real-time infrared and visible
image fusion network" (SeAFusion), Information Fusion 82:28-42, 2022, doi 10.1016/j.inffus.2021.12.004.
Reconstructed: everything but the two wishes. The published loss compares magnitudes of Sobel gradients and weighs them more; here the
gradients have directions, the weight is the least round one at which they count, and alternating directions (ADMM) find the image.
Deviations: a pixel goes at most a quarter beyond the darker and the brighter source, so that what is black in both stays black.
Most of the image is the maximum itself: on many real pairs the two differ by less than a grey level in the mean (docs/methods.md).
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.solve import Gradients, find_gradients, gather_gradients, keep_between, pick_gradients, solve_screened

WEIGHT = 1.0  # px, of the gradients against the intensities; up to 1/4 the maximum itself is the image
ENERGY_SIGMA = 1.0  # px, of the window in which the energies of gradients are compared
STEP = 0.05  # grey range that one step gives way by at most: of those tried, it comes nearest to the least in as many steps
STEPS = 60  # leave 0.3 % above the least, and the image within 0.15 grey levels rms of the one of 800 steps
ROOM = 0.25  # beyond the darker and the brighter source, as a part of it
ONE = np.float32(1)


def _shrink_levels(levels: Image, threshold: float) -> Image:
    """The proximal step of the absolute value."""
    return np.sign(levels) * np.maximum(np.abs(levels) - np.float32(threshold), np.float32(0))


def _shrink_gradients(gradients: Gradients, threshold: float) -> Gradients:
    """The proximal step of the length of a gradient."""
    length = np.hypot(gradients[0], gradients[1])
    kept: Gradients = gradients * (ONE - np.minimum(ONE, np.float32(threshold) / np.maximum(length, np.float32(1e-12))))
    return kept


def _reconcile(brightest: Image, field: Gradients, weight: float, steps: int) -> Image:
    """The image of least |F - brightest|₁ + weight |∇F - field|₁, but for what is left after so many steps."""
    image, off, bent = brightest, np.zeros_like(brightest), np.zeros_like(field)
    dual, dual_gradients = np.zeros_like(off), np.zeros_like(bent)
    for _ in range(steps):
        image = solve_screened(brightest + off - dual + gather_gradients(field + bent - dual_gradients), 1.0)
        dual += image - brightest
        off = _shrink_levels(dual, STEP)
        dual -= off
        dual_gradients += find_gradients(image) - field
        bent = _shrink_gradients(dual_gradients, weight * STEP)
        dual_gradients -= bent
    return image


@method(
    "intensity_gradient",
    family="variational",
    reference="Tang, Yuan, Ma 2022, doi 10.1016/j.inffus.2021.12.004",
    tasks=("infrared-visible", "medical"),
    reconstructed="everything but the loss's two terms: no network, own weight and solver",
)
def fuse_intensity_gradient(a: Image, b: Image, *, weight: float = WEIGHT, steps: int = STEPS, room: float = ROOM) -> Image:
    """The brighter source with the stronger gradients, as far as both can be had.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        weight: of the gradients against the intensities, px.
        steps: of the alternating directions.
        room: how far a pixel may go beyond the darker and the brighter source, as a part of it.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    return keep_between(_reconcile(np.maximum(a, b), pick_gradients(a, b, ENERGY_SIGMA), weight, steps), a, b, room)
