"""ADF: two scales; anisotropic diffusion makes the base, one weight for the whole image mixes the details.

Diffusion as of heat, but the less the steeper the step between two neighbours: edges stay in the base, texture goes into the detail. The
bases are averaged; the details are weighted by their first principal component (the Karhunen-Loève transform of the two).

Reference: D. P. Bavirisetti, R. Dhuli, "Fusion of infrared and visible sensor images based on anisotropic diffusion and Karhunen-Loeve
transform", IEEE Sensors Journal 16(1):203-209, 2016, doi 10.1109/JSEN.2015.2478655.
Deviations: no heat flows across the border, beyond which the published program takes black. Where the details are negatively correlated
the principal component has mixed signs, and weights made from it extrapolate (the published images of the pairs manCar and walkingnight
fit weights of -0.9 and 1.9, -0.6 and 1.5); its magnitudes are taken instead.
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.two_scale import fuse_principal_details

STEPS = 10
TIME_STEP = 0.15  # up to 1/6, one over the sum of the nearnesses of all eight neighbours, no step overshoots
STEEPNESS = 30 / 255  # kappa: steps between neighbours that let exp(-1) of the heat through
NEIGHBOURS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 0.5), ((1, -1), 0.5))
"""Half of the eight, the others being theirs: how far down and to the right, and one over the squared distance."""


def _diffuse(image: Image, steps: int, steepness: float) -> Image:
    """The image after some steps of anisotropic diffusion (Perona and Malik, 1990, with their exponential)."""
    warmth = image.copy()
    for _ in range(steps):
        change = np.zeros_like(warmth)
        for (down, right), nearness in NEIGHBOURS:
            if down >= image.shape[0] or abs(right) >= image.shape[1]:
                continue  # no pixel has such a neighbour
            here, there = _overlap(down, right), _overlap(-down, -right)
            step = warmth[there] - warmth[here]
            step *= cv2.exp(step * step * np.float32(-1 / steepness**2))
            step *= np.float32(TIME_STEP * nearness)
            change[here] += step
            change[there] -= step
        warmth += change
    return warmth


def _overlap(down: int, right: int) -> tuple[slice, slice]:
    """The pixels that have a neighbour so far down and to the right."""
    return slice(max(-down, 0), -down if down > 0 else None), slice(max(-right, 0), -right if right > 0 else None)


@method(
    "adf",
    family="two-scale",
    reference="Bavirisetti, Dhuli 2016, doi 10.1109/JSEN.2015.2478655",
    tasks=("infrared-visible",),
)
def fuse_adf(a: Image, b: Image, *, steps: int = STEPS, steepness: float = STEEPNESS) -> Image:
    """The mean of two diffused images and the principal mixture of what they lost.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        steps: of the diffusion.
        steepness: step between neighbours that lets exp(-1) of the heat through, range of an image; above 0.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave [0, 1].
    """
    return fuse_principal_details(a, b, _diffuse(a, steps, steepness), _diffuse(b, steps, steepness))
