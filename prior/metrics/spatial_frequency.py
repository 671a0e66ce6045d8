"""Spatial frequency: how much a candidate's levels change from pixel to pixel, along its rows and down its columns.

Sums of squared differences of 8-bit levels are whole numbers, exact; only the last division and the root are rounded. Public codes divide
these sums by two different counts, which is the whole difference between two of the metrics here.

Reference: Eskicioglu, Fisher 1995, 10.1109/26.477498.
"""

import math
from dataclasses import replace

import cv2

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused

REFERENCE = "Eskicioglu, Fisher 1995, 10.1109/26.477498"
DEFINITION = "sqrt(RF^2 + CF^2), RF^2 and CF^2 the mean squared differences of neighbours in a row and in a column, "
SMALLEST = 2
MOST = 255 * math.sqrt(2)
PASSPORT = Passport(
    title="spatial frequency",
    symbol="SF",
    meaning="How much the levels of the fused image change from pixel to pixel: its overall activity, noise included.",
    combination="candidate alone",
    dynamic_range="0..255, as they are",
    undefined="where a side is 1 px; 0 where the fused image is constant",
    noise="rises",
    blur="falls",
    window="2 neighbours",
    smallest=SMALLEST,
    golden="SF(mean of diffs)",
    differences=(
        Difference("VIFB, thfylsty, Topanxal", "both sums divided by the number of pixels", "c04: 24.742, not 24.786; see sf_mn"),
        Difference("Linfeng Tang's published tables", "levels in [0, 1]", "1/255 of it; see sf_unit"),
    ),
)


@metric(
    "sf",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition=DEFINITION + "each over its own H (W - 1) or (H - 1) W differences of levels 0..255",
    passport=PASSPORT,
)
def measure_spatial_frequency(fused: Fused) -> float:
    """The root of the two mean squared differences together, in grey levels; nan below 2 px."""
    height, width = fused.image.shape
    if min(height, width) < SMALLEST:
        return math.nan
    along, down = fused.once(_sum_squares)
    return math.sqrt(along / (height * (width - 1)) + down / ((height - 1) * width))


@metric(
    "sf_mn",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition=DEFINITION + "each sum over the number of pixels H W, of levels 0..255",
    passport=replace(
        PASSPORT,
        title="spatial frequency, per pixel",
        symbol="SF$_{HW}$",
        golden="SF(/MN)",
        differences=(
            Difference("Linfeng Tang, Diff-IF, chenzpstar", "each sum divided by its own count", "c04: 24.786, not 24.742; see sf"),
        ),
    ),
    variant_of="sf",
)
def measure_spatial_frequency_per_pixel(fused: Fused) -> float:
    """The same with both sums divided by the number of pixels; nan below 2 px."""
    return math.sqrt(sum(fused.once(_sum_squares)) / fused.image.size) if min(fused.image.shape) >= SMALLEST else math.nan


@metric(
    "sf_unit",
    better="higher",
    bounds=(0, math.sqrt(2)),
    reference=REFERENCE,
    definition=DEFINITION + "each over its own H (W - 1) or (H - 1) W differences of levels in [0, 1]",
    passport=replace(
        PASSPORT,
        title="spatial frequency of levels in [0, 1]",
        symbol=r"SF$_{\mathrm{unit}}$",
        dynamic_range="divided by 255, to 0..1",
        golden="",
        differences=(Difference("all codes on levels 0..255", "the same on 0..255", "255 times it; see sf"),),
    ),
    variant_of="sf",
)
def measure_spatial_frequency_of_unit_levels(fused: Fused) -> float:
    """The same of levels in [0, 1], as in published tables; nan below 2 px."""
    return measure_spatial_frequency(fused) / 255


def _sum_squares(fused: Fused) -> tuple[float, float]:
    """The squared differences of neighbours summed along the rows and down the columns."""
    image = fused.image
    return cv2.norm(image[:, 1:], image[:, :-1], cv2.NORM_L2SQR), cv2.norm(image[1:], image[:-1], cv2.NORM_L2SQR)
