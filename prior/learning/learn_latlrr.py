"""Learn the projection that MDLatLRR takes detail out of patches with: `python -m prior.learning.learn_latlrr`, one minute.

Latent low-rank representation explains patches, the columns of X, as X = X Z + L X + E: what other patches repeat (X Z), what stands out
(L X) and sparse errors E. Minimised is |Z|* + |L|* + lambda |E|_1, by the inexact augmented Lagrange multiplier method.

Reference: G. Liu, S. Yan, "Latent low-rank representation for subspace segmentation and feature extraction", ICCV 2011, pages 1615-1622,
doi 10.1109/ICCV.2011.6126422; patches and constants of H. Li, X.-J. Wu, J. Kittler, "MDLatLRR: a novel decomposition method for infrared
and visible image fusion", IEEE Trans. Image Processing 29:4733-4746, 2020, doi 10.1109/TIP.2020.2975984.
Deviations: the patches come from photographs that scikit-image carries. Z (2000 x 2000) is kept as V W, V being the right singular vectors
of X: started at zero every iterate is of this form, and |Z|* = |W|*, so that the answer is the same in a tenth of the time.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prior.arrays import to_image
from prior.examples import Box, load_photograph
from prior.steps.patches import cut_patches
from prior.weights import FOLDER

logger = logging.getLogger(__name__)

TARGET = FOLDER / "latlrr_projection.npy"
PHOTOGRAPHS: dict[str, Box] = {
    "astronaut.png": (0, 0, 512, 512),
    "camera.png": (0, 0, 512, 512),
    "chelsea.png": (0, 0, 451, 300),
    "coffee.png": (0, 0, 600, 400),
    "coins.png": (0, 0, 384, 303),
    "ihc.png": (0, 0, 512, 512),
    "moon.png": (0, 0, 512, 512),
    "rocket.jpg": (0, 0, 640, 427),
}
"""All public domain, CC0 or without known restrictions, as the documentation of `skimage.data` states; whole, in pixels."""

SIDE = 16  # px, of a patch
EACH_KIND = 1000  # patches with detail, and as many smooth ones
DETAIL = 0.5  # a patch less its mean has detail from this Euclidean norm on
SPARSITY = 0.4  # lambda
PENALTY, PENALTY_GROWTH, LARGEST_PENALTY = 1e-6, 1.1, 1e6  # mu at the start, its factor per iteration (rho), its limit
TOLERANCE = 1e-6  # largest entry by which a constraint is missed
ITERATIONS = 1000  # 270 are needed

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The singular value decomposition of the patches: X = left * scale @ right."""

    left: Matrix
    scale: Matrix
    right: Matrix


def collect_patches(rng: np.random.Generator) -> Matrix:
    """Patches of the photographs side by side, half of them with detail, `(256, 2000)`."""
    patches = np.concatenate(
        [cut_patches(to_image(load_photograph(name, box, 1)), SIDE, SIDE).astype(np.float64) for name, box in PHOTOGRAPHS.items()]
    )
    patches = patches[patches.any(axis=1)]
    has_detail = np.linalg.norm(patches - patches.mean(axis=1, keepdims=True), axis=1) > DETAIL
    logger.info("%d patches with detail and %d smooth ones, %d of each are drawn", has_detail.sum(), (~has_detail).sum(), EACH_KIND)
    drawn = [rng.choice(patches[kind], EACH_KIND, replace=False) for kind in (has_detail, ~has_detail)]
    return np.ascontiguousarray(np.concatenate(drawn).T)


def learn_projection(patches: Matrix, sparsity: float = SPARSITY) -> Matrix:
    """The projection L that takes what stands out of patches.

    Args:
        patches: one a column, `(pixels, n)`.
        sparsity: the price of the errors beside that of the nuclear norms.

    Returns:
        `(pixels, pixels)`.
    """
    spectrum = Spectrum(*np.linalg.svd(patches, full_matrices=False))
    basis, size = spectrum.left * spectrum.scale, patches.shape[0]  # X V
    inverse_l = (spectrum.left / (1 + spectrum.scale**2)) @ spectrum.left.T + np.eye(size) - spectrum.left @ spectrum.left.T
    codes, projection, errors = np.zeros((basis.shape[1], patches.shape[1])), np.zeros((size, size)), np.zeros_like(patches)
    of_sum, of_codes, of_projection, penalty = np.zeros_like(patches), np.zeros_like(codes), np.zeros_like(projection), PENALTY
    for iteration in range(ITERATIONS):
        low_codes = _shrink_rank(codes + of_codes / penalty, 1 / penalty)
        low_projection = _shrink_rank(projection + of_projection / penalty, 1 / penalty)
        rest = patches - projection @ patches - errors + of_sum / penalty
        codes = (basis.T @ rest + low_codes - of_codes / penalty) / (1 + spectrum.scale**2)[:, None]
        rest = patches - basis @ codes - errors + of_sum / penalty
        projection = (rest @ patches.T + low_projection - of_projection / penalty) @ inverse_l
        unexplained = patches - basis @ codes - projection @ patches
        errors = _shrink(unexplained + of_sum / penalty, sparsity / penalty)
        gaps = unexplained - errors, codes - low_codes, projection - low_projection
        worst = max(float(np.abs(gap).max()) for gap in gaps)
        if worst < TOLERANCE:
            break
        for multiplier, gap in zip((of_sum, of_codes, of_projection), gaps, strict=True):
            multiplier += penalty * gap
        penalty = min(LARGEST_PENALTY, penalty * PENALTY_GROWTH)
        if iteration % 20 == 0:
            logger.info("iteration %d: constraints missed by %.2g at most", iteration, worst)
    logger.info("%d iterations: constraints missed by %.2g at most, rank %d", iteration + 1, worst, np.linalg.matrix_rank(low_projection))
    return low_projection


def _shrink(values: Matrix, threshold: float) -> Matrix:
    return values - np.clip(values, -threshold, threshold)


def _shrink_rank(matrix: Matrix, threshold: float) -> Matrix:
    """Every singular value less by the threshold, none below zero."""
    left, scale, right = np.linalg.svd(matrix, full_matrices=False)
    kept = int((scale > threshold).sum())
    return np.asarray((left[:, :kept] * (scale[:kept] - threshold)) @ right[:kept])


def main(seed: int = 0) -> None:
    """Learn the projection and write it into `prior/weights`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    projection = learn_projection(collect_patches(np.random.default_rng(seed)))
    np.save(TARGET, projection.astype(np.float32))
    logger.info("written: %s, %s", TARGET.name, projection.shape)


if __name__ == "__main__":
    main()
