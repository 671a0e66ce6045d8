"""GSM denoising: noisy sources are denoised while they are fused, texture by groups of similar patches.

Each source is a cartoon of small total variation and a texture that holds the noise. Similar patches of both textures share principal
components; in each, noise is taken away as if the coefficients came from a Gaussian scale mixture, and the source with more energy left
counts. Of the cartoons the one with more edges around counts more.

Reference: G. Qi, G. Hu, N. Mazur, H. Liang, M. Haner, "A novel multi-modality image simultaneous denoising and fusion method based on
sparse representation", Computers 10(10):129, 2021, doi 10.3390/computers10100129; the shrinkage: Dong, Shi, Ma, Li 2015
(prior/steps/groups.py).
Reconstructed: only the abstract was at hand, so both rules of fusion and the strength of the cartoon are ours. The shrinkage has two
passes, each with its own matching, where the program of its authors has six or more; so few want constants of their own: a tenth of what
was taken away comes back, there 0.21 to 0.32, and the noise left counts by 0.85, there by 0.62 to 0.67.
Deviations: F(A, A) is A without its noise. Sources below 6 px are averaged.
"""

import math

import cv2
import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.cartoon import draw_cartoon
from prior.steps.groups import SIDE, estimate_noise, find_groups, shrink_groups
from prior.steps.guided import Map, average, filter_guided

STRENGTH, TV_PASSES = 0.4, 50  # of the cartoon: range; iterations
NOTHING = 0.5 / 255  # noise below this is none
RETURNED = 0.1  # part of what the first pass took away that the second gets back
TRUST = 0.85  # in the noise that is left before the second pass
WINDOW_RADIUS = 15  # px, in which gradients of cartoons are compared
FLOOR = 0.02  # of the range per 8 px: where gradients are well below, the cartoons are averaged
RADIUS, EPS = 31, 0.1  # px, squared range: of the guided filter of the weights


def _fuse_cartoons(a: Image, b: Image) -> Image:
    """The cartoons weighted by their mean gradients around, along the edges of their mean."""
    edges_a, edges_b = (_measure_edges(cartoon) + FLOOR for cartoon in (a, b))
    weight = filter_guided(0.5 * (a.astype(np.float64) + b), edges_a / (edges_a + edges_b), RADIUS, EPS)
    return b + np.clip(weight, 0, 1).astype(np.float32) * (a - b)


def _measure_edges(cartoon: Image) -> Map:
    across, down = (cv2.Sobel(cartoon, cv2.CV_64F, *order, borderType=cv2.BORDER_REFLECT) for order in ((1, 0), (0, 1)))
    return average(np.hypot(across, down), WINDOW_RADIUS)


def _fuse_textures(a: Image, b: Image, noise: tuple[float, float]) -> Image:
    """Two passes of shrinkage, of which the second also fuses; or one where there is no noise."""
    level = math.hypot(*noise)
    first_a, first_b, fused = shrink_groups(a, b, find_groups(a + b, level), noise)
    if level == 0:
        return fused
    again_a, again_b = (first + np.float32(RETURNED) * (texture - first) for texture, first in ((a, first_a), (b, first_b)))
    left = tuple(_estimate_left(texture, again, one) for texture, again, one in ((a, again_a, noise[0]), (b, again_b, noise[1])))
    return shrink_groups(again_a, again_b, find_groups(first_a + first_b, math.hypot(*left)), (left[0], left[1]))[2]


def _estimate_left(texture: Image, again: Image, noise: float) -> float:
    """The noise that is left once a part was taken away."""
    taken = float(np.mean((texture - again) ** 2, dtype=np.float64))
    return TRUST * math.sqrt(abs(noise * noise - taken))


def _find_noise(image: Image) -> float:
    noise = estimate_noise(image)
    return noise if noise >= NOTHING else 0.0


@method(
    "gsm_denoising",
    family="sparse representation",
    reference="Qi, Hu, Mazur, Liang, Haner 2021, doi 10.3390/computers10100129",
    idempotent=False,
    cost="heavy",
    reconstructed="the rules of fusion, the cartoon's strength; two passes and both their constants",
)
def fuse_gsm_denoising(a: Image, b: Image, *, strength: float = STRENGTH) -> Image:
    """Cartoons by their edges, textures by shrunk groups of patches.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        strength: of the cartoons, range of the image.

    Returns:
        float32 `(H, W)`; texture of one source on the cartoon of the other may leave [0, 1].
    """
    if min(a.shape) < SIDE:
        return np.float32(0.5) * (a + b)
    noise = _find_noise(a), _find_noise(b)
    cartoon_a, cartoon_b = draw_cartoon(a, strength, TV_PASSES), draw_cartoon(b, strength, TV_PASSES)
    return _fuse_cartoons(cartoon_a, cartoon_b) + _fuse_textures(a - cartoon_a, b - cartoon_b, noise)
