"""FPDE: two scales; a fourth-order diffusion makes the base, one weight for the whole image mixes the details.

The equation pulls an image towards one that is flat or evenly sloping in pieces: it smooths where second derivatives are small, and leaves
edges alone. The bases are averaged; the details are weighted by their first principal component.

Reference: D. P. Bavirisetti, G. Xiao, G. Liu, "Multi-sensor image fusion based on fourth order partial differential equations", 20th
International Conference on Information Fusion, 2017, doi 10.23919/ICIF.2017.8009719; the equation: Y.-L. You, M. Kaveh, "Fourth-order
partial differential equations for noise removal", IEEE Trans. Image Processing 9(10):1723-1730, 2000, doi 10.1109/83.869184.
Deviations: borders are mirrored, where the published program takes one-sided differences, and nothing is rounded to 8 bits between the
steps. Where the details are negatively correlated the principal component has mixed signs, and weights made from it extrapolate (in
the published image of the pair walking2 they are about -2.0 and 2.9); its magnitudes are taken instead.
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.two_scale import fuse_principal_details

STEPS = 15
TIME_STEP = np.float32(0.9)  # below 1 nothing swings up: the differences below have a gain of 1 at most, and there are two of them
CURVATURE = 4 / 255  # k: second derivatives of this size count half
CENTRAL = np.array([0.25, 0, -0.5, 0, 0.25], np.float32)  # a central difference of central differences
AS_IT_IS = np.ones(1, np.float32)


def _diffuse(image: Image, steps: int, curvature: float) -> Image:
    """The image after some steps of fourth-order diffusion."""
    for _ in range(steps):
        across, down = _differentiate(image)
        keep = np.float32(1) / (np.float32(1) + (across * across + down * down) * np.float32(1 / curvature**2))
        image = image - TIME_STEP * (_differentiate(keep * across)[0] + _differentiate(keep * down)[1])
    return image


def _differentiate(image: Image) -> tuple[Image, Image]:
    """The second derivatives across and down."""
    return _filter(image, CENTRAL, AS_IT_IS), _filter(image, AS_IT_IS, CENTRAL)


def _filter(image: Image, across: Image, down: Image) -> Image:
    return cv2.sepFilter2D(image, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


@method(
    "fpde",
    family="two-scale",
    reference="Bavirisetti, Xiao, Liu 2017, doi 10.23919/ICIF.2017.8009719",
    tasks=("infrared-visible", "medical"),
)
def fuse_fpde(a: Image, b: Image, *, steps: int = STEPS, curvature: float = CURVATURE) -> Image:
    """The mean of two diffused images and the principal mixture of what they lost.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        steps: of the diffusion.
        curvature: second derivative that halves the diffusion, range of an image per squared pixel; above 0.

    Returns:
        float32 `(H, W)`; detail on a brighter or darker base may leave [0, 1].
    """
    return fuse_principal_details(a, b, _diffuse(a, steps, curvature), _diffuse(b, steps, curvature))
