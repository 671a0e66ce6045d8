"""The terms of the project's criterion in torch, so that a student can be trained on what its fusions are judged by.

The numbers are those of the metrics `ssim_a`, `ssim_b`, `vif_a`, `vif_b` and `qabf`, of images that need not be rounded to 8 bits.
Three things make them fast enough for every step of a training run. What depends on the sources alone is computed once, by `prepare`.
Every window is a product with two banded matrices, one per axis: at the size of a training crop several times as fast as a convolution.
And the slopes are written out beside the values, so that autograd has one product to remember per term. They have no second derivative.

Where a metric is undefined the term is 0 here, with slope 0: the VIF of a flat source, Qabf where both sources are black. A candidate's
edge exactly as strong as the source's counts as kept, where the metric has its peculiar rule for equals: at most 6e-4 apart.

References: Wang, Bovik, Sheikh, Simoncelli 2004, 10.1109/TIP.2003.819861; Sheikh, Bovik 2006, 10.1109/TIP.2005.859378;
Xydeas, Petrovic 2000, 10.1049/el:20000267.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storage.errors import InputError

WHITE = 255.0
SMALLEST = 41  # px: below it the fourth scale of VIF has no window left

SIDE = 7  # px, of the uniform windows of SSIM
C1, C2 = (0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2
UNBIASED = SIDE * SIDE / (SIDE * SIDE - 1)  # sample covariance

WIDTHS = (17, 9, 5, 3)  # px, of the Gaussian windows of VIF; sigma is a fifth
NOISE = 2.0
FLAT = 1e-4  # a smaller variance of a source is none, as is one that float32 cannot tell from 0 beside the mean square:
ROUNDING = 4e-7

CEILING = 0.9994 * 0.9879
STRENGTH_SLOPE, STRENGTH_MIDDLE = 15.0, 0.5
ANGLE_SLOPE, ANGLE_MIDDLE = 22.0, 0.8
# Derivatives of 8-bit images are whole numbers: what is smaller is rounding, or an edge too faint to have a direction.
NO_SLOPE, NO_EDGE = 0.01, 0.5
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of the criterion, `(B,)` each: to source a, to source b, and of both."""

    ssim_a: Tensor
    ssim_b: Tensor
    vif_a: Tensor
    vif_b: Tensor
    qabf: Tensor


@dataclass(frozen=True, slots=True)
class Filter:
    """A separable filter, `rows @ image @ columns`, and the transposed matrices, with which slopes go the way back."""

    rows: Tensor
    columns: Tensor
    rows_back: Tensor
    columns_back: Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """Sources seen through one kind of window.

    Attributes:
        levels: `(B, S, H, W)`, grey levels less the commonest of the image; S sources.
        means: `(B, S, h, w)`, of the windows of `levels`.
        variances: likewise, of the population; exactly 0 where flat.
        precisions: one by the variance; 0 where flat.
        window: the filter that takes the means.
        halving: the filter that makes the levels of this scale from those of the scale before; None at the first.
    """

    levels: Tensor
    means: Tensor
    variances: Tensor
    precisions: Tensor
    window: Filter
    halving: Filter | None = None


@dataclass(frozen=True, slots=True)
class Edges:
    """The gradients of images, all `(B, S, H, W)`.

    Attributes:
        along, down: the derivatives by the column and by the row, in grey levels times 8.
        strengths: their length; 0 where too faint to have a direction.
        angles: in (-pi/2, pi/2]; pi/2 where `along` is 0.
        upright: where the angle is pi/2 by that rule, and has no slope.
    """

    along: Tensor
    down: Tensor
    strengths: Tensor
    angles: Tensor
    upright: Tensor


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the terms need to know of the sources.

    Attributes:
        origins: `(B, S, 1, 1)`, the commonest grey level of each source.
        uniform: the sources under the windows of SSIM.
        scales: the sources at the four scales of VIF.
        information: `(B, S)`, in all scales of a source.
        edges: of the sources, `(B, S, H, W)`.
        smooth, differ: the two halves of a Sobel filter.
    """

    origins: Tensor
    uniform: Windows
    scales: tuple[Windows, ...]
    information: Tensor
    edges: Edges
    smooth: Filter
    differ: Filter


def prepare(*sources: Tensor) -> Prepared:
    """The statistics of a pair's sources, for every candidate that is judged against them.

    Args:
        sources: one or more, `(B, 1, H, W)` in [0, 1], of one size, at least 41 x 41 px.

    Raises:
        InputError: the sizes do not fit, or torch is set to multiply matrices with less than full precision.
    """
    _check(sources)
    with torch.no_grad(), torch.autocast(sources[0].device.type, enabled=False):
        levels = WHITE * torch.cat(sources, dim=1).detach()
        centred, origins = _centre(levels)
        smooth, differ = _filter(centred, (1.0, 2.0, 1.0), "same"), _filter(centred, (-1.0, 0.0, 1.0), "same")
        scales = _describe_scales(centred)
        return Prepared(
            origins=origins,
            uniform=_describe(centred, _filter(centred, (1 / SIDE,) * SIDE)),
            scales=scales,
            information=sum((_measure_information(one) for one in scales), torch.zeros_like(origins[:, :, 0, 0])),
            edges=_find_edges(levels, smooth, differ),
            smooth=smooth,
            differ=differ,
        )


def measure_terms(prepared: Prepared, fused: Tensor) -> Terms:
    """The terms of fused images.

    Args:
        prepared: `prepare(a, b)`.
        fused: `(B, 1, H, W)` in [0, 1].

    Returns:
        The terms, differentiable in `fused` wherever the metrics are.

    Raises:
        InputError: `fused` is not of the sources' size, or not of two sources.
    """
    if prepared.origins.shape[1] != 2:
        raise InputError(f"the criterion has two sources, and {prepared.origins.shape[1]} were prepared; call prepare(a, b)")
    levels = _levels(prepared, fused)
    ssim_a, ssim_b = _judge_structure(prepared, levels).unbind(1)
    vif_a, vif_b = _judge_information(prepared, levels).unbind(1)
    return Terms(ssim_a, ssim_b, vif_a, vif_b, _judge_edges(prepared, levels))


def measure_ssim(x: Tensor, fused: Tensor) -> Tensor:
    """The SSIM of a source and a fused image, `(B,)`; both `(B, 1, H, W)` in [0, 1]."""
    prepared = prepare(x)
    return _judge_structure(prepared, _levels(prepared, fused))[:, 0]


def measure_vif(x: Tensor, fused: Tensor) -> Tensor:
    """The VIF of a source in a fused image, `(B,)`, 0 where the source is flat; both `(B, 1, H, W)` in [0, 1]."""
    prepared = prepare(x)
    return _judge_information(prepared, _levels(prepared, fused))[:, 0]


def measure_qabf(a: Tensor, b: Tensor, fused: Tensor) -> Tensor:
    """The Qabf of a fused image, `(B,)`, 0 where both sources are black; all `(B, 1, H, W)` in [0, 1]."""
    prepared = prepare(a, b)
    return _judge_edges(prepared, _levels(prepared, fused))


def value_diff_if(terms: Terms) -> Tensor:
    """The criterion `diff-if` of each image, `(B,)`: Yi et al. 2024, 10.1016/j.inffus.2024.102450."""
    return 2 * (terms.ssim_a + terms.ssim_b) + terms.vif_a + terms.vif_b + 3 * terms.qabf


def value_balanced(terms: Terms) -> Tensor:
    """The criterion `balanced` of each image, `(B,)`: the weaker source counts, twice."""
    return 4 * torch.minimum(terms.ssim_a, terms.ssim_b) + 2 * torch.minimum(terms.vif_a, terms.vif_b) + 3 * terms.qabf


def _check(sources: tuple[Tensor, ...]) -> None:
    shapes = {tuple(one.shape) for one in sources}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) != 4 or shape[1] != 1 or min(shape[2:]) < SMALLEST:
        raise InputError(f"sources to judge by are (B, 1, H, W), alike, from {SMALLEST} x {SMALLEST} px; got {sorted(shapes)}")
    if torch.get_float32_matmul_precision() != "highest":
        raise InputError("the terms need full precision; leave torch.set_float32_matmul_precision at 'highest' (convolutions may use TF32)")


def _levels(prepared: Prepared, fused: Tensor) -> Tensor:
    """The grey levels of fused images in the precision of the sources."""
    strengths = prepared.edges.strengths
    if fused.shape != strengths[:, :1].shape:
        raise InputError(f"fused images must be of the sources' shape {tuple(strengths[:, :1].shape)}; got {tuple(fused.shape)}")
    return WHITE * fused.to(strengths.dtype)


# --- windows --------------------------------------------------------------------------------------------------------------------------


def _filter(image: Tensor, taps: tuple[float, ...], mode: str = "valid") -> Filter:
    """The filter of these taps along both axes of an image; `valid`, `halved` (every second of the valid ones) or `same` (border of 0)."""
    rows, columns = (torch.from_numpy(_band(size, taps, mode)).to(image) for size in image.shape[-2:])
    return Filter(rows, columns.T.contiguous(), rows.T.contiguous(), columns)


@functools.lru_cache(maxsize=32)
def _band(size: int, taps: tuple[float, ...], mode: str) -> NDArray[np.float64]:
    """The matrix that filters a line of `size` pixels."""
    reach = len(taps) // 2 if mode == "same" else 0
    padded = size + 2 * reach
    count = padded - len(taps) + 1
    matrix = np.zeros((count, padded))
    for k, tap in enumerate(taps):
        matrix[np.arange(count), np.arange(count) + k] = tap
    kept = matrix[:, reach : reach + size]
    return np.ascontiguousarray(kept[::2] if mode == "halved" else kept)


@functools.cache
def _taps(width: int) -> tuple[float, ...]:
    """A Gaussian window of VIF."""
    weights = np.exp(-0.5 * (np.arange(-(width // 2), width // 2 + 1) / (width / 5)) ** 2)
    return tuple((weights / weights.sum()).tolist())


def _apply(image: Tensor, filter_: Filter) -> Tensor:
    return torch.matmul(filter_.rows, torch.matmul(image, filter_.columns))


def _return(slopes: Tensor, filter_: Filter) -> Tensor:
    """The slopes by the image, from those by the filtered image."""
    return torch.matmul(filter_.rows_back, torch.matmul(slopes, filter_.columns_back))


def _describe(levels: Tensor, window: Filter, halving: Filter | None = None) -> Windows:
    means, squares = _apply(torch.cat((levels, levels.square()), dim=1), window).chunk(2, dim=1)
    variances = squares - means.square()
    flat = variances < FLAT + ROUNDING * squares
    variances, precisions = torch.where(flat, 0, variances), torch.where(flat, 0, 1 / variances)
    return Windows(levels, means, variances, precisions, window, halving)


def _describe_scales(levels: Tensor) -> tuple[Windows, ...]:
    scales = [_describe(levels, _filter(levels, _taps(WIDTHS[0])))]
    for width in WIDTHS[1:]:
        halving = _filter(levels, _taps(width), "halved")
        levels = _apply(levels, halving)
        scales.append(_describe(levels, _filter(levels, _taps(width)), halving))
    return tuple(scales)


def _compare(x: Windows, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The means and variances `(B, 1, h, w)` of a candidate's windows, and their covariances with the sources `(B, S, h, w)`."""
    moments = _apply(torch.cat((f, f.square(), f * x.levels), dim=1), x.window)
    means = moments[:, :1]
    return means, torch.addcmul(moments[:, 1:2], means, means, value=-1), torch.addcmul(moments[:, 2:], means, x.means, value=-1)


def _trace(x: Windows, f: Tensor, means: Tensor, by: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The slopes `(B, S, H, W)` by the candidate's levels, from those by its windows' means, variances and covariances."""
    by_mean, by_variance, by_covariance = by
    by_mean = by_mean.addcmul(by_variance, means, value=-2).addcmul_(by_covariance, x.means, value=-1)
    by_level, by_square, by_product = _return(torch.cat((by_mean, by_variance, by_covariance), dim=1), x.window).chunk(3, dim=1)
    return by_level.addcmul(by_square, f, value=2).addcmul_(by_product, x.levels)


def _attach(values: Tensor, slopes: Tensor, levels: Tensor) -> Tensor:
    """The values `(B, S)`, with the slopes `(B, S, H, W)` as their gradient by the levels `(B, 1, H, W)`."""
    linear = (slopes * levels).sum(dim=(-2, -1))  # no matrix product: autocast would reach it, on the way back too
    return values + (linear - linear.detach())


def _centre(levels: Tensor) -> tuple[Tensor, Tensor]:
    """The levels less the commonest of their image, and that level: from there large flat areas come out as exactly 0."""
    nearest = levels.nan_to_num().round_().clamp_(0, WHITE).long().flatten(2)
    counts = torch.zeros((*nearest.shape[:2], 256), dtype=torch.int64, device=levels.device)
    origin = counts.scatter_add_(2, nearest, torch.ones_like(nearest)).argmax(2).to(levels.dtype)[:, :, None, None]
    return levels - origin, origin


# --- the terms ------------------------------------------------------------------------------------------------------------------------


def _judge_structure(prepared: Prepared, levels: Tensor) -> Tensor:
    """The SSIM to each source, `(B, S)`."""
    with torch.no_grad(), torch.autocast(levels.device.type, enabled=False):
        x = prepared.uniform
        f, origin = _centre(levels)
        means, variances, covariances = _compare(x, f)
        mean_f, mean_x = means + origin, x.means + prepared.origins
        bright = 1 / (mean_x.square() + mean_f.square() + C1)
        luminance = (2 * mean_x * mean_f + C1) * bright
        rough = UNBIASED / (UNBIASED * (x.variances + variances) + C2)
        structure = (2 * covariances + C2 / UNBIASED) * rough
        ratios = luminance * structure
        by_covariance = 2 * luminance * rough
        by_mean = 2 * structure * bright * (mean_x - mean_f * luminance)
        slopes = _trace(x, f, means, (by_mean, -ratios * rough, by_covariance))
        values = ratios.mean(dim=(-2, -1))
    return _attach(values, slopes / ratios[0, 0].numel(), levels)


def _judge_information(prepared: Prepared, levels: Tensor) -> Tensor:
    """The VIF of each source, `(B, S)`."""
    with torch.no_grad(), torch.autocast(levels.device.type, enabled=False):
        f, _ = _centre(levels)
        kept, slopes = _keep(prepared.scales, f)
        share = 1 / prepared.information.clamp_min(TINY)
    return _attach(kept * share, slopes * share[:, :, None, None], levels)


def _keep(scales: tuple[Windows, ...], f: Tensor) -> tuple[Tensor, Tensor]:
    """The information in the sources that a candidate keeps from this scale on, `(B, S)`, and its slopes.

    With the explained variance e = gain * covariance, log(1 + gain^2 vx / (vf - e + noise)) = -log(1 - e / (vf + noise)).
    """
    x, coarser = scales[0], scales[1:]
    means, variances, covariances = _compare(x, f)
    variances.clamp_min_(0)
    covariances.clamp_min_(0)
    gain = covariances * x.precisions
    explained = torch.minimum(gain * covariances, variances)
    total = variances + NOISE
    share, residual = explained / total, 1 / (total - explained)
    slopes = _trace(x, f, means, (torch.zeros_like(gain), -share * residual, 2 * gain * residual))
    kept = -torch.log1p(-share).sum(dim=(-2, -1))
    if coarser and coarser[0].halving is not None:
        kept_below, slopes_below = _keep(coarser, _apply(f, coarser[0].halving))
        kept, slopes = kept + kept_below, slopes + _return(slopes_below, coarser[0].halving)
    return kept, slopes


def _measure_information(x: Windows) -> Tensor:
    """The information in the sources at one scale, `(B, S)`, natural logarithm."""
    return torch.log1p(x.variances / NOISE).sum(dim=(-2, -1))


def _judge_edges(prepared: Prepared, levels: Tensor) -> Tensor:
    """The Qabf of all sources together, `(B,)`."""
    with torch.no_grad(), torch.autocast(levels.device.type, enabled=False):
        x, f = prepared.edges, _find_edges(levels, prepared.smooth, prepared.differ)
        stronger = torch.maximum(x.strengths, f.strengths).clamp_min_(NO_EDGE)
        ratio = torch.minimum(x.strengths, f.strengths) / stronger
        turn = f.angles - x.angles
        of_strength = torch.sigmoid(STRENGTH_SLOPE * ratio - STRENGTH_SLOPE * STRENGTH_MIDDLE)
        of_angle = torch.sigmoid(ANGLE_SLOPE * (1 - ANGLE_MIDDLE) - 2 * ANGLE_SLOPE / math.pi * turn.abs())
        weight = CEILING / x.strengths.sum(dim=(1, 2, 3), keepdim=True).clamp_min(TINY)
        kept = of_strength * of_angle * x.strengths * weight
        by_ratio = torch.where(f.strengths < x.strengths, 1, torch.where(f.strengths > x.strengths, -ratio, 0)) / stronger
        by_strength = STRENGTH_SLOPE * (kept * (1 - of_strength) * by_ratio).sum(dim=1, keepdim=True)
        by_angle = -2 * ANGLE_SLOPE / math.pi * (kept * (1 - of_angle) * turn.sign()).sum(dim=1, keepdim=True)
        slopes = _trace_edges(f, by_strength, by_angle, prepared.smooth, prepared.differ)
    return _attach(kept.sum(dim=(1, 2, 3))[:, None], slopes, levels)[:, 0]


def _find_edges(levels: Tensor, smooth: Filter, differ: Filter) -> Edges:
    """Sobel gradients with a border of zeros; `along` points to the left, as the metric has it."""
    along = torch.matmul(smooth.rows, torch.matmul(levels, differ.columns)).neg_()
    down = torch.matmul(differ.rows, torch.matmul(levels, smooth.columns))
    strengths = torch.hypot(along, down)
    strengths = torch.where(strengths < NO_EDGE, 0, strengths)
    upright = (strengths == 0) | (along.abs() < NO_SLOPE)
    angles = torch.where(upright, math.pi / 2, torch.atan(down / torch.where(upright, 1, along)))
    return Edges(along, down, strengths, angles, upright)


def _trace_edges(f: Edges, by_strength: Tensor, by_angle: Tensor, smooth: Filter, differ: Filter) -> Tensor:
    """The slopes by the levels `(B, 1, H, W)` from those by the strengths and angles of their edges."""
    inverse = torch.where(f.strengths == 0, 0, 1 / f.strengths.clamp_min(NO_EDGE))
    by_angle = torch.where(f.upright, 0, by_angle) * inverse
    by_along = (by_strength * f.along - by_angle * f.down) * inverse
    by_down = (by_strength * f.down + by_angle * f.along) * inverse
    back = torch.matmul(differ.rows_back, torch.matmul(by_down, smooth.columns_back))
    return back - torch.matmul(smooth.rows_back, torch.matmul(by_along, differ.columns_back))
