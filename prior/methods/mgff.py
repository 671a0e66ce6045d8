"""MGFF: four scales of guided filters in which each source guides the other; details are weighted by their own strength.

At every scale a source is smoothed with the other as its guide, so that structures of both come into both bases. The detail is what a
guide has more than the outcome; a source's share of the two magnitudes is the weight of its detail, and the last bases are averaged.

Reference: D. P. Bavirisetti, G. Xiao, J. Zhao, R. Dhuli, G. Liu, "Multi-scale guided image and video fusion: a fast and efficient
approach", Circuits, Systems, and Signal Processing 38(12):5576-5605, 2019, doi 10.1007/s00034-019-01131-z; order of guide and target as
in the authors' program.
Deviations: where neither source has detail (0/0) the weights are equal; the program fuses each colour channel, here it is the luma.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.guided import Map, filter_guided

SCALES = 4
RADIUS = 9  # px
EPS = 1e3 / 255**2  # squared range


def _mix_details(a: Map, b: Map) -> Map:
    """Both details, each weighted by its share of the two magnitudes."""
    magnitude_a, magnitude_b = np.abs(a), np.abs(b)
    total = magnitude_a + magnitude_b
    weight = np.divide(magnitude_a, total, out=np.full_like(total, 0.5), where=total > 0)
    mixed: Map = b + weight * (a - b)
    return mixed


@method("mgff", family="guided filter", reference="Bavirisetti, Xiao, Zhao, Dhuli, Liu 2019, doi 10.1007/s00034-019-01131-z")
def fuse_mgff(a: Image, b: Image, *, scales: int = SCALES, radius: int = RADIUS, eps: float = EPS) -> Image:
    """Mutually guided bases, averaged, and details weighted by their magnitude.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        scales: how often the sources filter each other.
        radius: of the guided filters, px.
        eps: their smoothing, squared range.

    Returns:
        float32 `(H, W)`; details may leave [0, 1] slightly.
    """
    base_a, base_b = a.astype(np.float64), b.astype(np.float64)
    fused = np.zeros_like(base_a)
    for _ in range(scales):
        next_a, next_b = filter_guided(base_a, base_b, radius, eps), filter_guided(base_b, base_a, radius, eps)
        fused += _mix_details(base_a - next_a, base_b - next_b)
        base_a, base_b = next_a, next_b
    fused += 0.5 * (base_a + base_b)
    return fused.astype(np.float32)
