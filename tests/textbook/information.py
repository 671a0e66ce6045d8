"""The metrics of information and of error once more: float64 NumPy, written from the definitions, slow and with nothing shared."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Grey = NDArray[Any]


def count(x: Grey) -> Field:
    """The share of every level."""
    return np.histogram(x, bins=256, range=(0, 256))[0] / x.size


def count_both(x: Grey, y: Grey) -> Field:
    """The share of every pair of levels, rows by that of x."""
    return np.histogram2d(x.ravel(), y.ravel(), bins=256, range=[[0, 256], [0, 256]])[0] / x.size


def entropy(shares: Field) -> float:
    """Shannon 1948, in bits."""
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())


def share_information(x: Grey, y: Grey) -> float:
    """The divergence of the joint distribution from the product of its marginals, in bits."""
    joint = count_both(x, y)
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / apart[there])).sum())


def stretch(x: Grey) -> Field | None:
    """Levels moved to 0..255, halves up; None where the image is constant and not black."""
    low, high = float(x.min()), float(x.max())
    if low == high:
        return None if high > 0 else x.astype(np.float64)
    return np.floor((x.astype(np.float64) - low) / (high - low) * 255 + 0.5)


def mi(a: Grey, b: Grey, f: Grey) -> float:
    """Qu 2002."""
    return share_information(a, f) + share_information(b, f)


def mi_ln_stretched(a: Grey, b: Grey, f: Grey) -> float:
    """The same in nats, of stretched images; a constant one is black."""
    stretched = [np.zeros(x.shape) if x.min() == x.max() else stretch(x) for x in (a, b, f)]
    return math.log(2) * mi(*stretched)


def mi_saturated(a: Grey, b: Grey, f: Grey) -> float:
    """The same with the joint entropy of levels that stop at 254."""
    total = 0.0
    for x in (a, b):
        total += entropy(count(x)) + entropy(count(f)) - entropy(count_both(np.minimum(x, 254), np.minimum(f, 254)).ravel())
    return total


def nmi(a: Grey, b: Grey, f: Grey) -> float:
    """Hossny 2008."""
    total = 0.0
    of_f = stretch(f)
    for of_x in (stretch(a), stretch(b)):
        if of_x is None or of_f is None or (of_x.max() == 0 and of_f.max() == 0):
            return math.nan
        total += 2 * share_information(of_x, of_f) / (entropy(count(of_x)) + entropy(count(of_f)))
    return total


def tsallis(x: Field, y: Field, order: float) -> float:
    """Tsallis mutual information."""
    joint = count_both(x, y)
    there = joint > 0
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return float((1 - (joint[there] ** order / apart[there] ** (order - 1)).sum()) / (1 - order))


def tsallis_swapped(x: Field, y: Field, order: float) -> float:
    """The same with the marginals in each other's place."""
    joint = count_both(x, y)
    apart = np.outer(joint.sum(axis=0), joint.sum(axis=1))
    there = (joint > 0) & (apart > 0)
    return float((1 - (joint[there] ** order / apart[there] ** (order - 1)).sum()) / (1 - order))


def nava(a: Grey, b: Grey, f: Grey, information: Any = tsallis, order: float = 0.43137) -> float:
    """Nava 2007 as in Liu 2012."""
    of_a, of_b, of_f = stretch(a), stretch(b), stretch(f)
    if of_a is None or of_b is None or of_f is None:
        return math.nan
    held = entropy(count(of_a)) ** order + entropy(count(of_b)) ** order + information(of_a, of_b, order)
    return (information(of_a, of_f, order) + information(of_b, of_f, order)) / held if of_a.max() > 0 or of_b.max() > 0 else math.nan


def cvejic(a: Grey, b: Grey, f: Grey, information: Any = tsallis, order: float = 1.85) -> float:
    """Cvejic 2006."""
    of_a, of_b, of_f = stretch(a), stretch(b), stretch(f)
    if of_a is None or of_b is None or of_f is None:
        return math.nan
    return float(information(of_a, of_f, order) + information(of_b, of_f, order))


def q_ncie(a: Grey, b: Grey, f: Grey) -> float:
    """Wang 2005, 2008."""
    images = [stretch(x) for x in (a, b, f)]
    if any(x is None for x in images):
        return math.nan
    matrix = np.array([[1.0 if i == j else share_information(images[i], images[j]) / 8 for j in range(3)] for i in range(3)])
    shares = np.linalg.eigvalsh(matrix) / 3
    shares = shares[shares > 1e-14]
    return float(1 + (shares * np.log(shares) / np.log(256)).sum())


def ce(a: Grey, b: Grey, f: Grey) -> float:
    """Bulanon 2009, over the levels that both have."""
    total, q = 0.0, count(f)
    for p in (count(a), count(b)):
        there = (p > 0) & (q > 0)
        total += float((p[there] * np.log2(p[there] / q[there])).sum())
    return total / 2


def correlation(x: Field, y: Field) -> float:
    """Pearson's; nan where one is constant."""
    if x.min() == x.max() or y.min() == y.max():
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / math.sqrt(float((x * x).sum() * (y * y).sum())))


def cc(a: Grey, b: Grey, f: Grey) -> float:
    """The mean correlation with the sources."""
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    return (correlation(a, f) + correlation(b, f)) / 2


def scd(a: Grey, b: Grey, f: Grey) -> float:
    """Aslantas and Bendes 2015."""
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    return correlation(f - b, a) + correlation(f - a, b)


def mse(a: Grey, b: Grey, f: Grey) -> float:
    """The mean of both mean squared errors."""
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    return float(((a - f) ** 2).mean() + ((b - f) ** 2).mean()) / 2


def rmse_vifb(a: Grey, b: Grey, f: Grey) -> float:
    """The mean of both Euclidean distances over the number of pixels."""
    a, b, f = (x.astype(np.float64) for x in (a, b, f))
    return float(np.linalg.norm(a - f) + np.linalg.norm(b - f)) / 2 / f.size


def decibels(peak: float, error: float) -> float:
    """The ratio of a peak's square to an error."""
    if peak == 0:
        return math.nan
    return math.inf if error == 0 else 20 * math.log10(peak) - 10 * math.log10(error)


def sd(f: Grey) -> float:
    """The root of the mean squared distance from the mean."""
    return float(np.sqrt(((f.astype(np.float64) - f.mean()) ** 2).mean()))


def sd_saturated(f: Grey) -> float:
    """The same where differences below 0 are 0 and squares above 255 are 255."""
    above = np.maximum(f.astype(np.float64) - math.floor(f.mean() + 0.5), 0)
    return float(np.sqrt(np.minimum(above**2, 255).mean()))


METRICS = {
    "en": lambda a, b, f: entropy(count(f)),
    "sd": lambda a, b, f: sd(f),
    "sd_saturated": lambda a, b, f: sd_saturated(f),
    "mi": mi,
    "mi_ln": lambda a, b, f: math.log(2) * mi(a, b, f),
    "mi_ln_stretched": mi_ln_stretched,
    "mi_saturated": mi_saturated,
    "nmi": nmi,
    "q_te": nava,
    "q_te_swapped": lambda a, b, f: nava(a, b, f, tsallis_swapped),
    "q_te_cvejic": cvejic,
    "q_te_cvejic_swapped": lambda a, b, f: cvejic(a, b, f, tsallis_swapped),
    "q_ncie": q_ncie,
    "ce": ce,
    "cc": cc,
    "scd": scd,
    "mse": mse,
    "mse_unit": lambda a, b, f: mse(a, b, f) / 255**2,
    "rmse_vifb": rmse_vifb,
    "psnr": lambda a, b, f: decibels(255, mse(a, b, f)),
    "psnr_unit": lambda a, b, f: decibels(255, mse(a, b, f) / 255**2),
    "psnr_peak_f": lambda a, b, f: decibels(float(f.max()), mse(a, b, f)),
    "psnr_vifb": lambda a, b, f: decibels(255, rmse_vifb(a, b, f)),
}
