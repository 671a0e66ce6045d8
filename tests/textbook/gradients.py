"""The metrics of gradients once more: float64 NumPy and SciPy, written from the definitions, slow and with nothing shared."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float64]
Grey = NDArray[Any]

RISE = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
BEST = 0.9994 * 0.9879


def differences(f: Grey) -> tuple[Field, Field]:
    """From pixel to pixel, down the columns and along the rows."""
    x = f.astype(np.float64)
    return x[1:] - x[:-1], x[:, 1:] - x[:, :-1]


def sf(f: Grey) -> float:
    """Eskicioglu and Fisher 1995, every sum divided by the number of its own terms."""
    return math.sqrt(sum(float(np.mean(d**2)) for d in differences(f))) if min(f.shape) > 1 else math.nan


def sf_mn(f: Grey) -> float:
    """The same, both sums divided by the number of pixels."""
    return math.sqrt(sum(float(np.sum(d**2)) for d in differences(f)) / f.size) if min(f.shape) > 1 else math.nan


def steepness(f: Grey) -> Field:
    """The gradient from central differences, one-sided at the border."""
    down, along = np.gradient(f.astype(np.float64))
    steep: Field = np.sqrt((down**2 + along**2) / 2)
    return steep


def steepness_forward(f: Grey) -> Field:
    """The gradient from the differences to the next pixels."""
    down, along = differences(f)
    return np.sqrt((down[:, :-1] ** 2 + along[:-1] ** 2) / 2)


def ag(f: Grey) -> float:
    """The mean of all."""
    return float(steepness(f).mean()) if min(f.shape) > 1 else math.nan


def ag_inner(f: Grey) -> float:
    """Their sum over one row and one column less."""
    return float(steepness(f).sum()) / ((f.shape[0] - 1) * (f.shape[1] - 1)) if min(f.shape) > 1 else math.nan


def ag_forward(f: Grey) -> float:
    """The mean of the forward gradients."""
    return float(steepness_forward(f).mean()) if min(f.shape) > 1 else math.nan


def ag_forward_mn(f: Grey) -> float:
    """Their sum over all pixels."""
    return float(steepness_forward(f).sum()) / f.size if min(f.shape) > 1 else math.nan


def sobel(x: Grey, border: str) -> tuple[Field, Field]:
    """The responses to the right and downwards."""
    levels = x.astype(np.float64)
    return ndimage.correlate(levels, RISE, mode=border), ndimage.correlate(levels, RISE.T, mode=border)


def ei(f: Grey) -> float:
    """The mean Sobel magnitude."""
    return float(np.hypot(*sobel(f, "nearest")).mean())


def q_sf(a: Grey, b: Grey, f: Grey) -> float:
    """Zheng et al. 2007: the relative error of the spatial frequency in four directions."""
    if min(f.shape) < 2:
        return math.nan
    wanted = _activity([np.maximum(np.abs(in_a), np.abs(in_b)) for in_a, in_b in zip(_four_ways(a), _four_ways(b), strict=True)])
    return (_activity(_four_ways(f)) - wanted) / wanted if wanted > 0 else math.nan


def _four_ways(x: Grey) -> list[Field]:
    levels = x.astype(np.float64)
    return [*differences(x), levels[1:, 1:] - levels[:-1, :-1], levels[1:, :-1] - levels[:-1, 1:]]


def _activity(four: list[Field]) -> float:
    return math.sqrt(sum(weight * float(np.sum(d**2)) for d, weight in zip(four, (1, 1, 0.5**0.5, 0.5**0.5), strict=True)))


def q_m(a: Grey, b: Grey, f: Grey) -> float:
    """Wang and Liu 2008: the nearness of Haar details at two scales."""
    if min(f.shape) < 4:
        return math.nan
    levels = [x.astype(np.float64) for x in (a, b, f)]
    qualities = []
    for _ in range(2):
        levels, details = (list(parts) for parts in zip(*(_haar(x) for x in levels), strict=True))
        of_a, of_b, of_f = details
        weights = [np.sum(x**2, axis=0) for x in (of_a, of_b)]
        near = [np.sum(np.exp(-np.abs(x - of_f)), axis=0) for x in (of_a, of_b)]
        total = sum(float(w.sum()) for w in weights)
        if total == 0:
            return math.nan
        qualities.append(sum(float((e * w).sum()) for e, w in zip(near, weights, strict=True)) / total)
    return float(qualities[0] ** (2 / 3) * qualities[1] ** (1 / 3))


def _haar(x: Field) -> tuple[Field, Field]:
    """The next level, and the three details of this one, of the even part of an image."""
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    lows = (x[::2] + x[1::2]) / math.sqrt(2)
    highs = (x[::2] - x[1::2]) / math.sqrt(2)
    parts = [(rows[:, ::2] + sign * rows[:, 1::2]) / math.sqrt(2) for rows in (lows, highs) for sign in (1, -1)]
    return parts[0], np.stack(parts[1:])


def q_g(a: Grey, b: Grey, f: Grey) -> float:
    """Xydeas and Petrovic 2000 as coded by Liu et al. 2012, with their stand-ins for 0 in their order."""
    slopes = [sobel(x, "constant") for x in (a, b, f)]
    strengths = [np.hypot(*both) for both in slopes]
    angles = [np.arctan(down / np.where(right == 0, 1e-5, right)) for right, down in slopes]
    fused = strengths[2]
    shares, weights = [], []
    for strength, angle in zip(strengths[:2], angles[:2], strict=True):
        weaker = strength > fused
        strength = np.where(strength == 0, 1e-5, strength)
        lower = fused / strength
        fused = np.where(fused == 0, 1e-5, fused)
        ratio = np.where(weaker, lower, strength / fused)
        agreement = _fold(angle - angles[2])
        shares.append(_logistic(10 * (ratio - 0.5)) * _logistic(20 * (agreement - 0.75)))
        weights.append(strength)
    return float(np.mean((shares[0] * weights[0] + shares[1] * weights[1]) / (weights[0] + weights[1])))


def _fold(turn: Field) -> Field:
    """1 for parallel or opposite directions, 0 for a right angle."""
    return np.abs(np.abs(turn) - np.pi / 2) * 2 / np.pi


def _logistic(x: Field) -> Field:
    return 1 / (1 + np.exp(-x))


def qabf(a: Grey, b: Grey, f: Grey, how: str) -> float:
    """Xydeas and Petrovic 2000 as in the public codes, but for one thing: "folded" or "vifb"."""
    images = [x.astype(np.float64) * (255 if how == "vifb" else 1) for x in (a, b, f)]
    slopes = [sobel(x, "constant") for x in images]
    strengths = [np.hypot(*both) for both in slopes]
    with np.errstate(divide="ignore", invalid="ignore"):
        angles = [np.where(right == 0, np.pi / 2, np.arctan(-down / right)) for right, down in slopes]
    kept = 0.0
    for strength, angle in zip(strengths[:2], angles[:2], strict=True):
        larger = np.maximum(strength, strengths[2])
        ratio = np.minimum(strength, strengths[2]) / np.where(larger == 0, 1, larger)
        ratio = np.where(strength == strengths[2], strengths[2], ratio)
        agreement = _fold(angle - angles[2]) if how == "folded" else 1 - np.abs(angle - angles[2]) * 2 / np.pi
        kept += float(np.sum(BEST * _logistic(15 * (ratio - 0.5)) * _logistic(22 * (agreement - 0.8)) * strength))
    total = float(strengths[0].sum() + strengths[1].sum())
    return kept / total if total > 0 else math.nan


def petrovic(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    """Petrovic and Xydeas 2005, Shreyamsha Kumar 2013: what is kept, lost and added."""
    slopes = [sobel(x, "mirror") for x in (a, b, f)]
    strengths = [np.hypot(*both) / 8 for both in slopes]
    angles = [np.arctan2(np.where(down < 0, -right, right), np.abs(down)) for right, down in slopes]
    lost, weights = [], []
    for strength, angle in zip(strengths[:2], angles[:2], strict=True):
        larger = np.maximum(strength, strengths[2])
        ratio = np.minimum(strength, strengths[2]) / np.where(larger == 0, 1, larger)
        agreement = _fold(angle - angles[2])
        lost.append(1 - np.sqrt(0.9999 * _logistic(19 * (ratio - 0.5)) * 0.9995 * _logistic(22 * (agreement - 0.5))))
        weights.append(np.where(strength >= 2, strength**1.5, 0.001))
    added = (strengths[2] > strengths[0]) & (strengths[2] > strengths[1])
    total = weights[0] + weights[1]
    loss = lost[0] * weights[0] + lost[1] * weights[1]
    parts = {
        "nabf": loss * added,
        "labf": loss * ~added,
        "qabf_petrovic": total - loss,
        "nabf_petrovic": (lost[0] + lost[1]) * total * added,
    }
    return {name: float(part.sum() / total.sum()) for name, part in parts.items()}


METRICS = {
    "sf": lambda a, b, f: sf(f),
    "sf_mn": lambda a, b, f: sf_mn(f),
    "sf_unit": lambda a, b, f: sf(f / 255.0),
    "ag": lambda a, b, f: ag(f),
    "ag_inner": lambda a, b, f: ag_inner(f),
    "ag_forward": lambda a, b, f: ag_forward(f),
    "ag_forward_mn": lambda a, b, f: ag_forward_mn(f),
    "ei": lambda a, b, f: ei(f),
    "q_sf": q_sf,
    "q_m": q_m,
    "q_g": q_g,
    "qabf_folded": lambda a, b, f: qabf(a, b, f, "folded"),
    "qabf_vifb": lambda a, b, f: qabf(a, b, f, "vifb"),
    "nabf": lambda a, b, f: petrovic(a, b, f)["nabf"],
    "labf": lambda a, b, f: petrovic(a, b, f)["labf"],
    "qabf_petrovic": lambda a, b, f: petrovic(a, b, f)["qabf_petrovic"],
    "nabf_petrovic": lambda a, b, f: petrovic(a, b, f)["nabf_petrovic"],
    "nabf_swapped": lambda a, b, f: petrovic(b, f, a)["nabf"],
}
