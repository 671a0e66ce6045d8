"""VSMWLS: rolling guidance takes both sources apart; saliency mixes the bases, a weighted least-squares target the details.

A grey level is salient in its image when it is far from all others. At all scales but the finest, the fused detail lies between the
stronger source's and the infrared one's, the nearer to the latter the less detail the visible image has around.

Reference: J. Ma, Z. Zhou, B. Wang, H. Zong, "Infrared and visible image fusion based on visual saliency map and weighted least square
optimization", Infrared Physics and Technology 82:8-17, 2017, doi 10.1016/j.infrared.2017.02.005; filters, constants and roles of the two
sources as in the authors' program.
`a` is the infrared (or first) source, `b` the visible (or second) one.
Deviations: of the luma, where the program fuses each colour channel; an image of one grey level has no saliency. The least-squares system
is diagonal, so that it is solved pixel by pixel.
"""

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.smoothing import blur, roll_guidance

SCALES = 4  # the coarsest one is made by a Gaussian
RADIUS, WIDENING = 2, 2  # px, of the finest scale; factor from one to the next
EPS = 0.05**2  # squared range
PASSES = 4
SIGMA = 2.0  # px, of the coarsest scale's Gaussian and of the one that smooths the choices
PULL = 0.01  # lambda: towards the infrared's detail
WINDOW = (7, 7)  # px, around which the visible image's detail counts
NEVER_ZERO = 1e-6
GREY_LEVELS = 256
HALF = np.float32(0.5)


def _take_apart(image: Image, scales: int) -> tuple[Image, list[Image]]:
    """The base and the details, fine to coarse."""
    details, smooth = [], image
    for scale in range(scales - 1):
        finer, smooth = smooth, roll_guidance(smooth, RADIUS * WIDENING**scale, EPS, PASSES)
        details.append(finer - smooth)
    base = blur(smooth, SIGMA)
    return base, [*details, smooth - base]


def _measure_saliency(image: Image) -> Image:
    """Per pixel the sum of its distances in grey from all others, stretched to [0, 1]."""
    levels = np.rint(image * 255).astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=GREY_LEVELS)
    grey = np.arange(GREY_LEVELS)
    distances = np.abs(grey[:, None] - grey) @ counts
    present = distances[counts > 0]
    table = ((distances - present.min()) / max(np.ptp(present), 1)).astype(np.float32)
    saliency: Image = table[levels]
    return saliency


def _compare(a: Image, b: Image) -> Image:
    """One where `b` is the stronger, else zero."""
    return (np.abs(a) < np.abs(b)).astype(np.float32)


def _mix_details(a: Image, b: Image, pull: float) -> Image:
    target = a + blur(_compare(a, b), SIGMA) * (b - a)
    activity = np.abs(cv2.boxFilter(b, -1, WINDOW, borderType=cv2.BORDER_REPLICATE)).astype(np.float32, copy=False)
    weight = np.float32(pull) / (activity + np.float32(NEVER_ZERO))
    mixed: Image = (target + weight * a) / (np.float32(1) + weight)
    return mixed


@method(
    "vsmwls",
    family="edge-preserving multi-scale",
    reference="Ma, Zhou, Wang, Zong 2017, doi 10.1016/j.infrared.2017.02.005",
    tasks=("infrared-visible",),
)
def fuse_vsmwls(a: Image, b: Image, *, scales: int = SCALES, pull: float = PULL) -> Image:
    """Bases mixed by saliency and details by least squares.

    Args:
        a: the infrared source, float32 `(H, W)` in [0, 1].
        b: the visible source, of the same size.
        scales: of the decomposition, at least one.
        pull: how much the details keep to the infrared where the visible image has none.

    Returns:
        float32 `(H, W)`; details may leave [0, 1].
    """
    (base_a, details_a), (base_b, details_b) = _take_apart(a, scales), _take_apart(b, scales)
    weight = HALF + HALF * (_measure_saliency(a) - _measure_saliency(b))
    fused = base_b + weight * (base_a - base_b)
    finest_a, finest_b = details_a[0], details_b[0]
    fused += finest_a + _compare(finest_a, finest_b) * (finest_b - finest_a)
    for detail_a, detail_b in zip(details_a[1:], details_b[1:], strict=True):
        fused += _mix_details(detail_a, detail_b, pull)
    return fused
