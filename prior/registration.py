"""How far the second image of a pair is shifted against the first, and how sure that is.

The two modalities share edges, not brightness, and often not even the sign of an edge. So each pixel becomes its gradient orientation at
double angle, where an edge and its negative are one; the shift is where the two fields agree best.

Reference: orientation at double angle is G. H. Granlund, "In search of a general picture processing operator", 1978,
doi:10.1016/0146-664X(78)90047-3; correlation normalised over the overlap, by FFT, is D. Padfield, "Masked object registration in the
Fourier domain", 2012, doi:10.1109/TIP.2011.2181402. The weighting is our own, found by trial: an edge of the image's mean strength
counts half, so that neither noise nor one bright rim decides.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Picture

SIGMA = 2.0  # px, of the blur before the gradient
REACH = 16  # px, the largest shift looked for
BORDER = 4  # px without a vote: two sigma, where the blur sees its own reflection
LIMIT = 4_000_000  # pixels; larger pairs are first reduced by a whole factor, which bounds time and memory
LEAST_CONFIDENCE = 1e-3  # below it the surface is flat and its highest point means nothing

Field = NDArray[np.complex64]
Surface = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shift:
    """The estimated shift of `b` against `a`.

    Attributes:
        y: px downwards, nan where nothing could be estimated.
        x: px to the right, likewise.
        confidence: by how much the best agreement exceeds the median of all shifts tried, in [0, 1]. Most pairs of
            different scenes stay below 0.05, most registered infrared and visible pairs lie between 0.1 and 0.4.
    """

    y: float
    x: float
    confidence: float

    @property
    def length(self) -> float:
        """The length of the shift in px."""
        return math.hypot(self.y, self.x)


def estimate_shift(a: Picture, b: Picture) -> Shift:
    """The shift in px that maps `a` onto `b`, looked for within 16 px in each direction.

    Args:
        a: 8-bit luma, `(H, W)`, sides of at least 41 px.
        b: 8-bit luma, `(H, W)`.

    Returns:
        The shift to a fraction of a pixel; nan with confidence 0 where one of the two is flat or featureless.
    """
    factor = math.ceil(math.sqrt(a.size / LIMIT))
    surface = _correlate(_orient(_shrink(a, factor)), _orient(_shrink(b, factor)), REACH // factor)
    confidence = float(surface.max() - np.median(surface))
    if confidence < LEAST_CONFIDENCE:
        return Shift(math.nan, math.nan, 0.0)
    y, x = _locate_peak(surface)
    return Shift(factor * y, factor * x, min(confidence, 1.0))


def _shrink(luma: Picture, factor: int) -> NDArray[np.float32]:
    image = luma.astype(np.float32)
    size = (luma.shape[1] // factor, luma.shape[0] // factor)
    return image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _orient(image: NDArray[np.float32]) -> Field:
    """The gradient orientation at double angle, each vector of length m^2 / (m^2 + mean(m)^2) for a gradient of magnitude m."""
    smooth = cv2.GaussianBlur(image, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[BORDER:-BORDER, BORDER:-BORDER]
    right = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[BORDER:-BORDER, BORDER:-BORDER]
    squared: Field = (right + 1j * down) ** 2  # squaring a complex number doubles its angle
    energy = np.abs(squared)
    soft = energy + np.sqrt(energy).mean() ** 2
    field: Field = np.divide(squared, soft, out=np.zeros_like(squared), where=soft > 0)
    return field


def _correlate(a: Field, b: Field, reach: int) -> Surface:
    """The normalised correlation of two fields for shifts from -reach to reach, each over the part where both are known."""
    shifts = np.arange(-reach, reach + 1)
    padded = [fft.next_fast_len(side + reach) for side in a.shape]
    spectrum = np.conj(fft.fft2(a, padded)) * fft.fft2(b, padded)
    products = fft.ifft2(spectrum).real[np.ix_(shifts, shifts)]
    energies = _sum_overlaps(a, -shifts) * _sum_overlaps(b, shifts)
    surface: Surface = np.divide(products, np.sqrt(energies), out=np.zeros(products.shape), where=energies > 0)
    return surface


def _sum_overlaps(field: Field, shifts: NDArray[np.int_]) -> Surface:
    """The energy of a field in the part that stays covered when the other one lies at each of the shifts."""
    table = cv2.integral(field.real**2 + field.imag**2, sdepth=cv2.CV_64F)
    height, width = field.shape
    top, bottom = np.clip(shifts, 0, height), np.clip(shifts + height, 0, height)
    left, right = np.clip(shifts, 0, width), np.clip(shifts + width, 0, width)
    sums: Surface = table[np.ix_(bottom, right)] - table[np.ix_(top, right)] - table[np.ix_(bottom, left)] + table[np.ix_(top, left)]
    return np.maximum(sums, 0)


def _locate_peak(surface: Surface) -> tuple[float, float]:
    """The highest point, between the grid points along each axis by a parabola through its neighbours."""
    row, column = (int(index) for index in np.unravel_index(surface.argmax(), surface.shape))
    reach = surface.shape[0] // 2
    return row - reach + _refine(surface[:, column], row), column - reach + _refine(surface[row], column)


def _refine(line: Surface, at: int) -> float:
    """The vertex of the parabola through a maximum and its two neighbours, relative to the maximum; 0 at the edge."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, peak, after = (float(height) for height in line[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
