"""Chen and Varshney's metric: how much a viewer would see of the difference between candidate and sources, where the sources matter.

The differences pass a model of the eye's sensitivity to contrast; their power in blocks of 16 x 16 px is weighed by the blocks' saliency.
The filter is linear, so every image passes it once, and the sources' answers serve all candidates of the pair.

Reference: Chen, Varshney 2007, 10.1016/j.inffus.2005.10.001.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture
from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused, Sources
from prior.statistics.frequencies import filter_frequencies, measure_frequencies
from prior.statistics.levels import stretch_candidate, stretch_sources

SIDE = 16  # px of a block
SALIENCY = 5  # exponent
PER_DEGREE = 1 / 4  # cycles per degree of a cycle per image, whatever the image's size: it spans 4 degrees

Field = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Source:
    """A source as the viewer sees it, float32 `(H, W)`, and the saliency of its blocks."""

    seen: NDArray[np.float32]
    saliency: Field


PASSPORT = Passport(
    title="Chen and Varshney's metric",
    symbol="$Q_{CV}$",
    meaning="The visible power of the differences between the fused image and the sources, in blocks weighed by their saliency.",
    combination="weighted",
    dynamic_range="each image stretched to 0..255 and rounded",
    undefined="where an image is constant and not black, or both sources are black",
    noise="varies",
    blur="varies",
    window="blocks of 16 x 16 px, the last ones filled up with zeros",
    border="zeros for the gradients, the image itself again for the filter",
    golden="Q_CV",
    differences=(
        Difference("bfliu7 (Python)", "resizes and blurs instead of adding up blocks", "another number; its own table leaves it out"),
        Difference("Liu, VIFB, MEFB (MATLAB)", "fail, or print nan, where an image is constant", "none elsewhere"),
    ),
)


@metric(
    "q_cv",
    better="lower",
    bounds=(0, math.inf),
    reference="Chen, Varshney 2007, 10.1016/j.inffus.2005.10.001",
    definition=(
        "sum(sA D(A,F) + sB D(B,F)) / sum(sA + sB) over blocks of 16 x 16 px, sX = sum |Sobel X|^5, "
        "D(X,F) = mean of the square of X - F filtered with 2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1), r = cycles per image / 4; "
        "images stretched to 0..255"
    ),
    passport=PASSPORT,
)
def judge_visible_differences(fused: Fused) -> float:
    """The saliency-weighted visible power of the differences; nan where an image cannot be stretched or no source is salient."""
    sources, image = fused.sources.once(_prepare), fused.once(stretch_candidate)
    if sources is None or image is None:
        return math.nan
    whole = sum(float(one.saliency.sum()) for one in sources)
    if whole == 0:
        return math.nan
    seen = filter_frequencies(image, _sensitivity(image.shape))
    return sum(float((one.saliency * _add_blocks(np.square(one.seen - seen))).sum()) for one in sources) / SIDE**2 / whole


def _prepare(sources: Sources) -> tuple[Source, Source] | None:
    stretched = sources.once(stretch_sources)
    if stretched.a is None or stretched.b is None:
        return None
    return _describe(stretched.a), _describe(stretched.b)


def _describe(picture: Picture) -> Source:
    seen = filter_frequencies(picture, _sensitivity(picture.shape))
    along, down = (cv2.Sobel(picture, cv2.CV_16S, *axis, borderType=cv2.BORDER_CONSTANT) for axis in ((1, 0), (0, 1)))
    squared = np.square(along, dtype=np.int32) + np.square(down, dtype=np.int32)
    return Source(seen.astype(np.float32), _add_blocks(squared ** (SALIENCY / 2)))


def _add_blocks(field: Field) -> Field:
    """The sum of every block, the last ones of whatever is there."""
    rows, columns = (np.arange(0, side, SIDE) for side in field.shape)
    sums: Field = np.add.reduceat(np.add.reduceat(field, rows, axis=0), columns, axis=1)
    return sums


@lru_cache(maxsize=2)
def _sensitivity(shape: tuple[int, int]) -> Field:
    """The eye's sensitivity to contrast at each frequency of an image (Mannos, Sakrison 1974)."""
    r = measure_frequencies(shape) * PER_DEGREE
    gains: Field = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    gains.setflags(write=False)
    return gains
