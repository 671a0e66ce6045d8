"""Learn the filters of convolutional sparse coding: `python -m prior.learning.learn_filters`, four minutes.

By turns the codes of some photographs are found for the filters, and the filters for the codes: steps down the preconditioned gradient of
the squared error, each as long as is best, after which every filter is brought back to norm 1.

Reference: B. Wohlberg, "Efficient algorithms for convolutional sparse representations", IEEE Trans. Image Processing 25(1):301-315, 2016,
doi 10.1109/TIP.2015.2495260; number and size of the filters of Y. Liu, X. Chen, R. K. Ward, Z. J. Wang, "Image fusion with convolutional
sparse representation", IEEE Signal Processing Letters 23(12):1882-1886, 2016, doi 10.1109/LSP.2016.2618776.
Deviation: the photographs are those that scikit-image carries.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from prior.arrays import to_image
from prior.examples import load_photograph
from prior.steps.coding import Codes, Filters, Stack, blend_filters, find_codes, mirror, shrink_each, slide_windows
from prior.steps.solve import solve_screened
from prior.weights import FOLDER

logger = logging.getLogger(__name__)

TARGET = FOLDER / "coding_filters.npy"
PHOTOGRAPHS = {
    "astronaut.png": (130, 20, 290, 180),
    "brick.png": (0, 0, 160, 160),
    "camera.png": (150, 60, 310, 220),
    "chelsea.png": (140, 60, 300, 220),
    "coffee.png": (200, 60, 360, 220),
    "coins.png": (100, 100, 260, 260),
    "grass.png": (0, 0, 160, 160),
    "ihc.png": (180, 180, 340, 340),
    "moon.png": (180, 300, 340, 460),
    "rocket.jpg": (220, 180, 380, 340),
}
"""All public domain, CC0 or without known restrictions, as the documentation of `skimage.data` states them; left, top, right, bottom."""

COUNT, SIDE = 32, 8  # filters, px
SPARSITY, SMOOTHING, PENALTY = 0.01, 5.0, 1.5  # as in the method CSR
CODE_ITERATIONS, FILTER_STEPS, ROUNDS = 15, 8, 50


def learn_filters(images: Stack, rng: np.random.Generator) -> Filters:
    """Filters that a few of explain much of images without their base.

    Args:
        images: float32 `(N, H, W)`.
        rng: draws the filters to start from.

    Returns:
        float32 `(COUNT, SIDE, SIDE)`, of norm 1.
    """
    details = np.stack([image - solve_screened(image, SMOOTHING) for image in images])
    targets = np.stack([mirror(detail) for detail in details])
    filters = _normalise(rng.standard_normal((COUNT, SIDE, SIDE)).astype(np.float32))
    for number in range(ROUNDS):
        codes = find_codes(details, filters, shrink_each(SPARSITY / PENALTY), penalty=PENALTY, iterations=CODE_ITERATIONS)
        filters = _fit_filters(targets, codes, filters)
        if number % 10 == 9:
            errors = targets - _explain(codes, filters)
            logger.info("round %d: objective %.1f", number + 1, 0.5 * (errors**2).sum() + SPARSITY * np.abs(codes).sum())
    return filters


def _fit_filters(targets: Stack, codes: Codes, filters: Filters) -> Filters:
    energies = np.maximum(np.einsum("nmij,nmij->m", codes, codes, optimize=True), 1e-3)
    for _ in range(FILTER_STEPS):
        errors = targets - _explain(codes, filters)
        step = sum(_correlate(one, code) for one, code in zip(errors, codes, strict=True)) / energies[:, None, None]
        change = _explain(codes, step)
        filters = _normalise(filters + step * (np.vdot(change, errors) / np.vdot(change, change)))
    return filters


def _correlate(errors: NDArray[np.float32], codes: NDArray[np.float32]) -> Filters:
    """How each filter's pixels would have to change, `(M, SIDE, SIDE)`."""
    seen = slide_windows(errors[None], SIDE)[0].reshape(SIDE * SIDE, -1)
    correlations: Filters = codes.reshape(COUNT, -1) @ seen.T
    return correlations.reshape(COUNT, SIDE, SIDE)


def _explain(codes: Codes, filters: Filters) -> Stack:
    return np.stack([blend_filters(code, filters) for code in codes])


def _normalise(filters: Filters) -> Filters:
    normalised: Filters = filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    return normalised


def main(seed: int = 0) -> None:
    """Learn the filters and write them into `prior/weights`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images = np.stack([to_image(load_photograph(name, box, 1)) for name, box in PHOTOGRAPHS.items()])
    np.save(TARGET, learn_filters(images, np.random.default_rng(seed)))
    logger.info("written: %s", TARGET.name)


if __name__ == "__main__":
    main()
