"""CBF: each pixel is a mean of the sources, weighted by how strong the edges are that the other source does not have.

Each source is smoothed by a cross bilateral filter with the other as its guide; what that takes away is its detail. A source's weight is
the variance of its detail around the pixel, summed along the rows and along the columns of a small window.

Reference: B. K. Shreyamsha Kumar, "Image fusion based on pixel significance using cross bilateral filter", Signal, Image and Video
Processing 9(5):1193-1204, 2015, doi 10.1007/s11760-013-0556-9.
Deviations: the sums of eigenvalues of both covariance matrices are taken as their traces, which they are. Borders are mirrored. Where
neither source has detail (0/0) the weights are equal.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Image
from prior.registry import method
from prior.steps.bilateral import filter_cross_bilateral

RADIUS = 5  # px, of the window of the filter
SIGMA_SPACE = 1.8  # px
SIGMA_RANGE = 25 / 255
WINDOW = 5  # px, side of the one in which detail is measured
NOTHING = 1e-12  # squared range: less is rounding


def _measure_strength(detail: Image) -> NDArray[np.float64]:
    """The variances of the detail in all rows and all columns of the window, added up."""
    exact = detail.astype(np.float64)  # differences of sums of squares
    squares = _add_up(exact * exact, WINDOW, WINDOW)
    of_columns, of_rows = _add_up(exact, 1, WINDOW), _add_up(exact, WINDOW, 1)
    of_means = (_add_up(of_columns**2, WINDOW, 1) + _add_up(of_rows**2, 1, WINDOW)) / WINDOW
    return np.maximum((2 * squares - of_means) / (WINDOW - 1), 0)


def _add_up(values: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    window = (width, height)
    return cv2.boxFilter(values, -1, window, normalize=False, borderType=cv2.BORDER_REFLECT_101).astype(np.float64, copy=False)


def _weigh(strength_a: NDArray[np.float64], strength_b: NDArray[np.float64]) -> Image:
    """The weight of `a`; that of `b` is the rest to one."""
    return ((strength_a + NOTHING) / (strength_a + strength_b + 2 * NOTHING)).astype(np.float32)


@method(
    "cbf",
    family="bilateral filter",
    reference="Kumar 2015, doi 10.1007/s11760-013-0556-9",
    tasks=("infrared-visible", "multi-focus"),  # flat bone and overexposed ground lose to any texture of the other source
)
def fuse_cbf(a: Image, b: Image, *, sigma_space: float = SIGMA_SPACE, sigma_range: float = SIGMA_RANGE) -> Image:
    """The sources weighted by the strength of the detail that is theirs alone.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        sigma_space: of the filter, px.
        sigma_range: of the filter, range of an image.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    detail_a = a - filter_cross_bilateral(a, b, RADIUS, sigma_space, sigma_range)
    detail_b = b - filter_cross_bilateral(b, a, RADIUS, sigma_space, sigma_range)
    weight = _weigh(_measure_strength(detail_a), _measure_strength(detail_b))
    return b + weight * (a - b)
