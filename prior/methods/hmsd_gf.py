"""HMSD_GF: Hybrid_MSD with guided filters, and with a steepness that follows how conspicuous the infrared image is as a whole.

Box means stand for the Gaussians and guided filters for the bilateral ones. The perceptual saliency of an image is the energy of its
blocks as the eye's contrast sensitivity passes it; the ratio of both images' says how soon infrared edges take over.

Reference: Z. Zhou, M. Dong, X. Xie, Z. Gao, "Fusion of infrared and visible images for night-vision context enhancement", Applied Optics
55(23):6480-6490, 2016, doi 10.1364/AO.55.006480; constants of the authors' program.
`a` is the infrared (or first) source, `b` the visible (or second) one: the rule prefers them for different things.
Deviations: the program brightens its outcome by 275 / 255 and clips it, which fuses nothing (`gain` does it); it fuses each colour
channel, here it is the luma. An image without edges has no saliency.
"""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image
from prior.registry import method
from prior.steps.guided import average, filter_guided
from prior.steps.smoothing import BASE_WIDENING, Filter, decompose_hybrid, fuse_hybrid

SCALES = 4
RADIUS, WIDENING = 2, 2  # px, of the finest scale; factor from one to the next
SIGMA = 2.0  # px, of the Gaussian that the finest scale's box means stand for
EPS, NARROWING = 0.1, 2.0  # range, squared in the guided filter; divisor from one scale to the next
FINEST_SIGMA = 1.0  # px, smoothing of the finest edges' weights
FLATTEST, STEEPEST = 100.0, 2000.0  # lambda where the ratio of saliencies is below or above these:
LOW, HIGH = 0.8, 1.6
SLOPE, OFFSET = 2500.0, -1900.0  # lambda in between, as a function of the ratio: up to 2100, as in the program
GAIN = 1.0
BLOCK = 40  # px
CYCLES = 32  # per degree of vision at one cycle per pixel
NO_SALIENCY = 1e-12


def _average_twice(image: Image, radius: int) -> Image:
    """The box mean of the box mean: a guided filter to which everything is flat."""
    return average(average(image.astype(np.float64), radius), radius).astype(np.float32)


def _spare_edges(image: Image, radius: int, eps: float) -> Image:
    guide = image.astype(np.float64)
    return filter_guided(guide, guide, radius, eps).astype(np.float32)


def _choose_filters(scales: int) -> list[tuple[Filter, Filter]]:
    """Per scale, fine to coarse, the box mean and the guided filter."""
    return [
        (
            functools.partial(_average_twice, radius=RADIUS * WIDENING**scale),
            functools.partial(_spare_edges, radius=RADIUS * WIDENING**scale, eps=(EPS / NARROWING**scale) ** 2),
        )
        for scale in range(scales)
    ]


@functools.lru_cache(maxsize=16)
def _find_sensitivity(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mannos and Sakrison's contrast sensitivity at the frequencies of a block."""
    turns = 0.114 * CYCLES * np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1]))
    sensitivity: NDArray[np.float32] = (2.6 * (0.0192 + turns) * np.exp(-(turns**1.1))).astype(np.float32)
    sensitivity.setflags(write=False)  # the cache hands out the same array again
    return sensitivity


def _measure_block(block: Image) -> float:
    """The energy per pixel that the eye sees."""
    seen = np.abs(fft.fft2(block)) * _find_sensitivity((block.shape[0], block.shape[1]))
    return float(np.linalg.norm(seen)) / block.size


def _measure_saliency(image: Image) -> float:
    """Perceptual saliency: the mean of the blocks' energies, weighted by their squared gradients; 0 without any."""
    inside = image[1:-1, 1:-1]
    gradient = (cv2.Sobel(image, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(image, cv2.CV_32F, 0, 1) ** 2)[1:-1, 1:-1]
    blocks = [np.s_[i : i + BLOCK, j : j + BLOCK] for i in range(0, inside.shape[0], BLOCK) for j in range(0, inside.shape[1], BLOCK)]
    weights = np.array([gradient[block].sum() for block in blocks], np.float64)
    energies = np.array([_measure_block(inside[block]) for block in blocks])
    return float((weights * energies).sum() / max(weights.sum(), NO_SALIENCY))


def _choose_steepness(infrared: Image, visible: Image) -> float:
    """The more conspicuous the infrared image, the sooner its edges take over."""
    ratio = _measure_saliency(infrared) / max(_measure_saliency(visible), NO_SALIENCY)
    if ratio < LOW:
        return FLATTEST
    return STEEPEST if ratio > HIGH else SLOPE * ratio + OFFSET


@method(
    "hmsd_gf",
    family="edge-preserving multi-scale",
    reference="Zhou, Dong, Xie, Gao 2016, doi 10.1364/AO.55.006480",
    tasks=("infrared-visible",),
)
def fuse_hmsd_gf(a: Image, b: Image, *, scales: int = SCALES, gain: float = GAIN) -> Image:
    """The visible image with the infrared's conspicuous edges, by box means and guided filters.

    Args:
        a: the infrared source, float32 `(H, W)` in [0, 1].
        b: the visible source, of the same size.
        scales: of the decomposition, at least one.
        gain: factor on the outcome.

    Returns:
        float32 `(H, W)`; details may leave [0, 1].
    """
    filters = _choose_filters(scales)
    base_sigma = BASE_WIDENING * SIGMA * WIDENING**scales
    fused = fuse_hybrid(decompose_hybrid(a, filters), decompose_hybrid(b, filters), _choose_steepness(a, b), base_sigma, FINEST_SIGMA)
    return fused * np.float32(gain)
