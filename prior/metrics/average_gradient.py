"""Average gradient: the mean steepness of a candidate's levels.

Public codes take the differences over two pixels or over one, and divide their sum by three different counts: four numbers under one name,
a third apart. The main one is the mean over all pixels of the gradient from central differences, one-sided at the border.

Reference: Cui, Feng, Xu, Li, Chen 2015, 10.1016/j.optcom.2014.12.032.
"""

import math
from dataclasses import replace

import cv2

from prior.passport import Difference, Passport
from prior.registry import metric
from prior.statistics import Fused
from prior.statistics.gradients import add, join

REFERENCE = "Cui, Feng, Xu, Li, Chen 2015, 10.1016/j.optcom.2014.12.032"
CENTRAL = (
    "sqrt((gx^2 + gy^2) / 2) of levels 0..255, g half the difference of the two neighbours, the whole difference to the one at the border"
)
FORWARD = "sqrt((gx^2 + gy^2) / 2) of levels 0..255, g the difference to the next pixel, without the last row and column"
SMALLEST = 2
MOST = 255.0
PASSPORT = Passport(
    title="average gradient",
    symbol="AG",
    meaning="How steep the levels of the fused image are on average: its sharpness, noise included.",
    combination="candidate alone",
    dynamic_range="0..255, as they are",
    undefined="where a side is 1 px; 0 where the fused image is constant",
    noise="rises",
    blur="falls",
    window="3 in a row and 3 in a column",
    border="one-sided differences",
    smallest=SMALLEST,
    golden="AG(central,mean)",
    differences=(
        Difference("VIFB, Linfeng Tang, Topanxal, bfliu7", "the sum over (H - 1)(W - 1)", "c04: 10.642, not 10.567; see ag_inner"),
        Difference("chenzpstar; thfylsty as Definition", "forward differences", "c04: 14.375; see ag_forward"),
        Difference("thfylsty; Topanxal as Definition", "forward differences, the sum over H W", "c04: 14.273; see ag_forward_mn"),
    ),
)
PASSPORT_FORWARD = replace(
    PASSPORT,
    title="average gradient, forward",
    symbol=r"AG$_{\mathrm{forward}}$",
    window="a pixel and its next ones",
    border="none: the last row and column are left out",
    golden="AG(forward,mean)",
    differences=(Difference("Diff-IF", "central differences", "c04: 10.567, not 14.375; see ag"),),
)


@metric("ag", better="higher", bounds=(0, MOST), reference=REFERENCE, definition=f"mean over all pixels of {CENTRAL}", passport=PASSPORT)
def measure_gradient(fused: Fused) -> float:
    """The mean central gradient, in grey levels per pixel; nan below 2 px."""
    return fused.once(_sum_central) / fused.image.size


@metric(
    "ag_inner",
    better="higher",
    bounds=(0, 4 * MOST),
    reference=REFERENCE,
    definition=f"sum over all pixels of {CENTRAL}; divided by (H - 1)(W - 1)",
    passport=replace(
        PASSPORT,
        title="average gradient, over the inner count",
        symbol=r"AG$_{\mathrm{inner}}$",
        golden="AG(central,/(M-1)(N-1))",
        differences=(Difference("Diff-IF", "the mean over all pixels", "c04: 10.567, not 10.642; see ag"),),
    ),
    variant_of="ag",
)
def measure_gradient_over_inner(fused: Fused) -> float:
    """The sum of the central gradients over (H - 1)(W - 1); nan below 2 px."""
    return fused.once(_sum_central) / max(_count_inner(fused), 1)


@metric(
    "ag_forward",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition=f"mean of {FORWARD}; printed by chenzpstar as AG, by thfylsty as Definition",
    passport=PASSPORT_FORWARD,
    variant_of="ag",
)
def measure_forward_gradient(fused: Fused) -> float:
    """The mean forward gradient, in grey levels per pixel; nan below 2 px."""
    return fused.once(_sum_forward) / max(_count_inner(fused), 1)


@metric(
    "ag_forward_mn",
    better="higher",
    bounds=(0, MOST),
    reference=REFERENCE,
    definition=f"sum of {FORWARD}; divided by H W; printed by thfylsty as AG, by Topanxal as Definition",
    passport=replace(
        PASSPORT_FORWARD,
        title="average gradient, forward, per pixel",
        symbol=r"AG$_{\mathrm{forward},HW}$",
        golden="AG(forward,/MN)",
        differences=(Difference("chenzpstar", "the mean over the (H - 1)(W - 1) gradients", "c04: 14.375, not 14.273; see ag_forward"),),
    ),
    variant_of="ag",
)
def measure_forward_gradient_per_pixel(fused: Fused) -> float:
    """The sum of the forward gradients over the number of pixels; nan below 2 px."""
    return fused.once(_sum_forward) / fused.image.size


def _count_inner(fused: Fused) -> int:
    height, width = map(int, fused.image.shape)
    return (height - 1) * (width - 1)


def _sum_central(fused: Fused) -> float:
    """The sum of the central gradients."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan
    # A size of 1 is the difference of the two neighbours; where the border repeats the pixel itself, it is the one-sided difference.
    along, down = (cv2.Sobel(fused.image, cv2.CV_16S, *axis, ksize=1, borderType=cv2.BORDER_REPLICATE) for axis in ((1, 0), (0, 1)))
    along[:, [0, -1]] *= 2
    down[[0, -1]] *= 2
    return add(join(along, down)) / math.sqrt(8)


def _sum_forward(fused: Fused) -> float:
    """The sum of the forward gradients."""
    if min(fused.image.shape) < SMALLEST:
        return math.nan
    here, right, below = fused.image[:-1, :-1], fused.image[:-1, 1:], fused.image[1:, :-1]
    along, down = cv2.subtract(here, right, dtype=cv2.CV_16S), cv2.subtract(here, below, dtype=cv2.CV_16S)
    return add(join(along, down)) / math.sqrt(2)
