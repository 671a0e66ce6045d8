"""NSST-WLF-NSML: shearlet bands, the low one weighed by local features, the detail bands chosen by their sum-modified Laplacian.

The low band of a source counts the more, pixel by pixel, the more energy and deviation it has there (weight local features, WLF). Of each
detail band the coefficient is kept around which the novel sum-modified Laplacian (NSML) is larger; lone pixels follow their neighbours.

Reference: H. Ouerghi, O. Mourali, E. Zagrouba, "Multi-modal image fusion based on weight local features and novel sum-modified-Laplacian in
non-subsampled shearlet transform domain", Advances in Visual Computing (ISVC), 2020, doi 10.1007/978-3-030-64559-5_13.
Reconstructed: only the abstract was at hand, so that the formulae of both features, their sum as a weight, the vote of 3x3 px and the
number of scales and directions are choices of this file (a product of energy and deviation would drop a source wherever it is flat, such as
a white sky); the transform is of NSST type (`prior.steps.nsst`). The paper's extension to colour, fusing one luma channel and giving the
colour back, is what the pipeline does anyway.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_local_deviation, measure_local_energy, measure_nsml
from prior.steps.choice import take_majority
from prior.steps.nsst import DIRECTIONS, combine

ENERGY_SIDE, DEVIATION_SIDE = 3, 5  # px
NEVER_ZERO = np.float32(1e-6)  # two black low bands count alike, whatever their rounding


def _measure_features(low: Image) -> Image:
    return measure_local_energy(low, ENERGY_SIDE) + measure_local_deviation(low, DEVIATION_SIDE) + NEVER_ZERO


def _weigh_low(a: Image, b: Image) -> Image:
    features_a, features_b = _measure_features(a), _measure_features(b)
    mixed: Image = b + features_a / (features_a + features_b) * (a - b)
    return mixed


def _choose_band(a: Image, b: Image) -> Image:
    return np.where(take_majority(measure_nsml(a) >= measure_nsml(b)), a, b)


@method(
    "nsst_wlf_nsml",
    family="shearlet",
    reference="Ouerghi, Mourali, Zagrouba 2020, doi 10.1007/978-3-030-64559-5_13",
    tasks=("infrared-visible", "medical", "multi-focus"),
    reconstructed="formulae of both features, the weights, the vote, the transform's filters",
)
def fuse_nsst_wlf_nsml(a: Image, b: Image, *, directions: tuple[int, ...] = DIRECTIONS) -> Image:
    """Detail bands chosen by their Laplacians, over the low bands weighed by their local features.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        directions: of each scale, coarse to fine.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    return combine(a, b, _weigh_low, _choose_band, directions)
