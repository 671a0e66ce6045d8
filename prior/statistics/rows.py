"""Gaussian windows of two sources and a candidate, one row of windows after the other, so that nothing of the image's size is kept.

A metric that needs every moment of a window once, and only to add up what it makes of them, passes over the three pictures with
`measure_row`. All sums are float64. Two pictures that are equal in a window have exactly equal moments there, and mirrored pictures
mirrored ones. What rounding leaves of 0 is 0: it leaves less than 1e-8, while one pixel in the corner of a window of 11 px that differs
from the others by one grey level makes a variance of 1e-6.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture

Field = NDArray[np.float64]
Grey = Picture | NDArray[np.float32]
Taps = tuple[float, ...]

BAND = 64  # rows of windows at once
ZERO = 1e-8  # grey levels squared
MOMENTS = 8
# What `measure_row` fills in: means, variances, covariances.
MEAN_A, MEAN_B, MEAN_F, VAR_A, VAR_B, VAR_F, COV_AF, COV_BF = range(MOMENTS)


def make_taps(width: int) -> Taps:
    """The right half of a Gaussian window with the standard deviation 1.5 px, centre first; sum 1 over the whole window.

    Its length is part of its type: each width gets a `measure_row` compiled for it.
    """
    weights = np.exp(-0.5 * (np.arange(-(width // 2), width // 2 + 1) / 1.5) ** 2)
    return tuple((weights / weights.sum())[width // 2 :].tolist())


def cut_bands(taps: Taps, *images: Grey) -> Iterator[tuple[slice, tuple[Field, ...]]]:
    """Pictures of one size, a band of rows of windows at a time.

    Args:
        taps: the window.
        images: uint8 or float32 `(H, W)`.

    Yields:
        Which rows of windows, each in exactly one band, and the rows of every picture that they lie in, float64, contiguous.
    """
    below = 2 * (len(taps) - 1)
    height = images[0].shape[0] - below
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        yield slice(top, bottom), tuple(image[top : bottom + below].astype(np.float64, order="C") for image in images)


@njit(cache=True, nogil=True)
def measure_row(a, b, f, taps, line, moments):  # type: ignore[no-untyped-def]
    """The moments of one row of windows.

    Args:
        a: source a, float64 `(n, W)`: as many rows as a window is high.
        b: source b, likewise.
        f: the candidate, likewise.
        taps: the window.
        line: scratch, float64 `(W,)`.
        moments: filled with what each window holds, float64 `(8, W - n + 1)`.
    """
    filter_row(a, taps, line, moments[MEAN_A])
    filter_row(b, taps, line, moments[MEAN_B])
    filter_row(f, taps, line, moments[MEAN_F])
    covary(a, a, taps, line, moments[MEAN_A], moments[MEAN_A], moments[VAR_A])
    covary(b, b, taps, line, moments[MEAN_B], moments[MEAN_B], moments[VAR_B])
    covary(f, f, taps, line, moments[MEAN_F], moments[MEAN_F], moments[VAR_F])
    covary(a, f, taps, line, moments[MEAN_A], moments[MEAN_F], moments[COV_AF])
    covary(b, f, taps, line, moments[MEAN_B], moments[MEAN_F], moments[COV_BF])


@njit(cache=True, nogil=True, fastmath={"contract"})
def covary(x, y, taps, line, x_means, y_means, out):  # type: ignore[no-untyped-def]
    """The covariances of two pictures in one row of windows, into `out`; arguments as of `measure_row`."""
    reach = len(taps) - 1
    for j in range(line.size):
        total = taps[0] * (x[reach, j] * y[reach, j])
        for k in range(1, len(taps)):
            total += taps[k] * (x[reach - k, j] * y[reach - k, j] + x[reach + k, j] * y[reach + k, j])
        line[j] = total
    filter_line(line, taps, out)
    for j in range(out.size):
        covariance = out[j] - x_means[j] * y_means[j]
        out[j] = covariance if abs(covariance) >= ZERO else 0.0


@njit(cache=True, nogil=True, fastmath={"contract"})
def filter_row(image, taps, line, out):  # type: ignore[no-untyped-def]
    """One row of Gaussian means: down the columns into `line`, then along it; only windows wholly inside."""
    reach = len(taps) - 1
    for j in range(line.size):
        total = taps[0] * image[reach, j]
        for k in range(1, len(taps)):
            total += taps[k] * (image[reach - k, j] + image[reach + k, j])
        line[j] = total
    filter_line(line, taps, out)


@njit(cache=True, nogil=True, fastmath={"contract"})
def filter_line(line, taps, out):  # type: ignore[no-untyped-def]
    """The Gaussian means along a line; only windows wholly inside."""
    reach = len(taps) - 1
    for j in range(out.size):
        total = taps[0] * line[j + reach]
        for k in range(1, len(taps)):
            total += taps[k] * (line[j + reach - k] + line[j + reach + k])
        out[j] = total
