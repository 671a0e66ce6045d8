"""Chen and Blum's metric: how much of the contrast that a viewer would see in the sources is in the candidate.

Images pass a model of the eye's sensitivity to contrast; contrast is that of two Gaussian surroundings, compressed. The weaker of two
contrasts over the stronger tells how well each source is kept, and each source counts by the square of its contrast.

Reference: Chen, Blum 2009, 10.1016/j.imavis.2007.12.002.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.frequencies import filter_frequencies, measure_frequencies
from prior.statistics.levels import stretch_candidate, stretch_sources

NARROW, WIDE, REACH = 2.0, 4.0, 15  # px: the surroundings' sigmas, and the half of the 31 px at which both are cut off
PER_DEGREE = 1 / 15  # cycles per degree of a cycle per image, whatever the image's size: it spans 15 degrees
HALF = 1e-4  # the squared contrast at which half is masked

Field = NDArray[np.float64]
Contrasts = NDArray[np.float32]

PASSPORT = Passport(
    title="Chen and Blum's metric",
    symbol="$Q_{CB}$",
    meaning="How well the contrasts that a viewer sees in the sources are preserved, the stronger source counting more in every pixel.",
    combination="weighted",
    dynamic_range="each image stretched to 0..255 and rounded",
    undefined="where an image is constant, or where contrast is 0 / 0 in any pixel",
    noise="varies",
    blur="varies",
    window="Gaussians of sigma 2 and 4 px, cut off at 31 px and not normalised",
    border="zeros for the Gaussians, the image itself again for the filter",
    golden="Q_CB",
    differences=(
        Difference("MEFB (MATLAB)", "divides the bytes by 255 before it stretches them: other halves are rounded up", "c02: 7e-6"),
        Difference("bfliu7 (Python)", "other frequencies, and copies of the edge beyond the border", "c04: 0.488, not 0.496"),
        Difference(
            "every implementation",
            "in wide black areas the contrast is that of rounding errors",
            "none on natural scenes, 2e-7 on c13, 1e-3 between two Fourier transforms on MRI-PET with a tenth of it black",
        ),
    ),
)


@metric(
    "q_cb",
    better="higher",
    bounds=(0, 1),
    reference="Chen, Blum 2009, 10.1016/j.imavis.2007.12.002",
    definition=(
        "mean of (cA^2 q(A,F) + cB^2 q(B,F)) / (cA^2 + cB^2), q(X,F) = min(cX, cF) / max(cX, cF), c = C^3 / (C^2 + 1e-4), "
        "C = |G2 * I / G4 * I - 1|, Gs Gaussians of sigma 2 and 4 px over 31 x 31 px, I the image filtered with "
        "exp(-(r / 15.387)^2) - 0.7622 exp(-(r / 1.3456)^2), r = cycles per image / 15; images stretched to 0..255"
    ),
    passport=PASSPORT,
)
def judge_contrast(fused: Fused) -> float:
    """The mean preservation of contrast; nan where an image is constant, or where contrast is 0 / 0 in any pixel."""
    contrasts, image = fused.sources.once(_prepare), fused.once(stretch_candidate)
    if contrasts is None or image is None:
        return math.nan
    return float(_add_up(*contrasts, *_surround(image))) / image.size


def _prepare(sources: Sources) -> tuple[Contrasts, Contrasts] | None:
    """The contrasts of both sources, float32 `(H, W)`; None where one is constant and not black."""
    stretched = sources.once(stretch_sources)
    if stretched.a is None or stretched.b is None:
        return None
    return _contrast(*_surround(stretched.a)), _contrast(*_surround(stretched.b))


def _surround(picture: Picture) -> tuple[Field, Field]:
    """The narrow and the wide surroundings of every pixel in the image as the eye sees it."""
    seen = filter_frequencies(picture, _sensitivity(picture.shape))
    narrow, wide = (cv2.sepFilter2D(seen, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_CONSTANT) for taps in _taps())
    return np.asarray(narrow, np.float64), np.asarray(wide, np.float64)


@lru_cache(maxsize=1)
def _taps() -> tuple[Field, Field]:
    """Two Gaussians over 31 px that are not normalised: their sums are a little below 1."""
    x = np.arange(-REACH, REACH + 1)
    narrow, wide = (np.exp(-0.5 * (x / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma) for sigma in (NARROW, WIDE))
    return narrow, wide


@lru_cache(maxsize=2)
def _sensitivity(shape: tuple[int, int]) -> Field:
    """The eye's sensitivity to contrast at each frequency of an image: a difference of Gaussians."""
    r = measure_frequencies(shape) * PER_DEGREE
    gains: Field = np.exp(-((r / 15.387) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    gains.setflags(write=False)
    return gains


@njit(cache=True, nogil=True, error_model="numpy")
def _contrast(narrow, wide):  # type: ignore[no-untyped-def]
    """The compressed contrast of every pixel: float32 keeps its relative precision, which is all that counts of it."""
    out = np.empty(narrow.shape, np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = _compress(narrow[i, j], wide[i, j])
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _add_up(a, b, narrow, wide):  # type: ignore[no-untyped-def]
    """The sum of all pixels' preservation of contrast."""
    total = 0.0
    for i in range(narrow.shape[0]):
        for j in range(narrow.shape[1]):
            x, y, f = np.float64(a[i, j]), np.float64(b[i, j]), _compress(narrow[i, j], wide[i, j])
            kept_x = (x if x < f else f) / (f if x < f else x)
            kept_y = (y if y < f else f) / (f if y < f else y)
            total += (x * x * kept_x + y * y * kept_y) / (x * x + y * y)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(narrow, wide):  # type: ignore[no-untyped-def]
    contrast = abs(narrow / wide - 1)
    squared = contrast * contrast
    return squared * contrast / (squared + HALF)
