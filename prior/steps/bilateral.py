"""The bilateral filter: a mean over near pixels in which those of another brightness hardly count, so that edges stay.

In the cross (or joint) bilateral filter, the one here, another image, the guide, says what is alike; an image that is its own guide makes
it the plain one. It goes over every pixel of the square window, so its time grows with the area.

References: C. Tomasi, R. Manduchi, "Bilateral filtering for gray and color images", ICCV 1998, doi 10.1109/ICCV.1998.710815; cross:
G. Petschnigg et al., "Digital photography with flash and no-flash image pairs", ACM Trans. Graphics 23(3):664-672, 2004,
doi 10.1145/1015706.1015777.
"""

import functools

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Image

SINGLE = np.float32
STEEPEST = SINGLE(16)  # weights below exp(-16), 1e-7, are no smaller than that
SHARE = SINGLE(1 / 64)  # exp(-t) = exp(-t / 64) ** 64: on [0, 1/4] five terms are exact to 3e-7
SERIES = tuple(SINGLE(c) for c in (-1 / 120, 1 / 24, -1 / 6, 1 / 2, -1, 1))  # of exp(-x), the highest power first
FLATTEST = 1e-6  # a range sigma of 0 would divide by zero


def filter_cross_bilateral(image: Image, guide: Image, radius: int, sigma_space: float, sigma_range: float) -> Image:
    """An image smoothed except across the edges of its guide.

    Args:
        image: float32 `(H, W)`, of any range.
        guide: of the same shape; where it differs by much, pixels do not mix.
        radius: of the square window, px; its side is twice that and one.
        sigma_space: of the Gaussian over distances, px; above 0.
        sigma_range: of the Gaussian over differences of the guide, in its units; at 0 only equals mix.

    Returns:
        float32 `(H, W)`, within the range of the image; borders are mirrored.
    """
    steepness = SINGLE(0.5 / max(sigma_range, FLATTEST) ** 2)
    filtered: Image = _filter(_mirror(image, radius), _mirror(guide, radius), _weigh_distances(radius, sigma_space), steepness)
    return filtered


def _mirror(image: Image, radius: int) -> Image:
    return cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_REFLECT_101).astype(np.float32, copy=False)


@functools.lru_cache(maxsize=16)
def _weigh_distances(radius: int, sigma: float) -> NDArray[np.float32]:
    offsets = np.arange(-radius, radius + 1)
    gauss = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(gauss, gauss).astype(np.float32)
    kernel.setflags(write=False)  # the cache hands out the same array again
    return kernel


# One offset of the window is added to a whole row at a time: such a loop is one over neighbours, which the compiler takes several at once.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _filter(image, guide, kernel, steepness):  # type: ignore[no-untyped-def]
    side = kernel.shape[0]
    radius = side // 2
    height, width = image.shape[0] - 2 * radius, image.shape[1] - 2 * radius
    filtered = np.empty((height, width), np.float32)
    total, weights = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(height):
        centre = guide[i + radius, radius : radius + width]
        total[:], weights[:] = 0, 0
        for row in range(side):
            for column in range(side):
                near, values = guide[i + row, column : column + width], image[i + row, column : column + width]
                distance = kernel[row, column]
                for j in range(width):
                    difference = near[j] - centre[j]
                    x = min(difference * difference * steepness, STEEPEST) * SHARE
                    alike = ((((SERIES[0] * x + SERIES[1]) * x + SERIES[2]) * x + SERIES[3]) * x + SERIES[4]) * x + SERIES[5]
                    alike *= alike
                    alike *= alike
                    alike *= alike
                    alike *= alike
                    alike *= alike
                    alike *= alike
                    weight = distance * alike
                    weights[j] += weight
                    total[j] += weight * values[j]
        for j in range(width):
            filtered[i, j] = total[j] / weights[j]
    return filtered
