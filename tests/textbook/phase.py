"""Q_P once more: phase congruency and its moments, float64 and plain NumPy, step by step from the definition, slow and nothing shared."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float64]
Grey = NDArray[Any]
Maps = tuple[Field, Field, Field]

EPSILON, STABLE, LEAST = 1e-4, 1e-4, 0.1


def q_p(a: Grey, b: Grey, f: Grey) -> float:
    """Zhao, Laganiere, Liu 2007 as in the public codes; nan where nothing has structure."""
    if min(f.shape) < 2 or f.min() == f.max():
        return math.nan
    of_a, of_b, of_f = measure(a), measure(b), measure(f)
    has_a, has_b = of_a[0] > LEAST, of_b[0] > LEAST
    from_a = of_a[0] > of_b[0]
    has_best = np.where(from_a, of_a[0], of_b[0]) > LEAST
    if not has_best.any():
        return math.nan
    product = 1.0
    for map_a, map_b, found in zip(of_a, of_b, of_f, strict=True):
        map_best = np.where(from_a, map_a, map_b)
        options = [correlate(one, has, found) for one, has in ((map_a, has_a), (map_b, has_b), (map_best, has_best))]
        product *= float(np.max(options, axis=0).sum()) / int(has_best.sum())
    return product


def correlate(wanted: Field, where: NDArray[np.bool_], found: Field) -> Field:
    """The correlation in Gaussian windows of what is wanted inside a mask and what is found; 0 outside the mask."""
    inside = np.where(where, wanted, 0)
    mean_x, mean_y = average(inside), average(found)
    var_x, var_y = average(inside**2) - mean_x**2, average(found**2) - mean_y**2
    covariance = average(inside * found) - mean_x * mean_y
    return np.where(where, (covariance + STABLE) / (np.sqrt(np.abs(var_x * var_y)) + STABLE), 0)


def average(z: Field) -> Field:
    """The mean in Gaussian windows of 11 x 11 px with deviation 1.5; zeros beyond the edge."""
    away = np.arange(-5, 6)
    window = np.exp(-(away[:, None] ** 2 + away**2) / (2 * 1.5**2))
    averaged: Field = ndimage.correlate(z, window / window.sum(), mode="constant")
    return averaged


def measure(picture: Grey) -> Maps:
    """Phase congruency and its largest and smallest moment; zeros for a constant picture."""
    shape = picture.shape
    if picture.min() == picture.max():
        return np.zeros(shape), np.zeros(shape), np.zeros(shape)
    spectrum = np.fft.fft2(picture.astype(np.float64))
    energies, amplitudes = [], []
    for orientation in range(6):
        filters = [make_filter(shape, scale, orientation * math.pi / 6) for scale in range(4)]
        responses = np.array([np.fft.ifft2(spectrum * one) for one in filters])
        amplitude = np.abs(responses).sum(axis=0)
        energy = np.maximum(take_energy(responses) - expect_noise(filters, responses[0]), 0)
        width = amplitude / (np.abs(responses).max(axis=0) + EPSILON) / 4
        energies.append(energy / (1 + np.exp(10 * (0.5 - width))))
        amplitudes.append(amplitude)
    congruency = sum(energies) / (sum(amplitudes) + EPSILON)
    return congruency, *take_moments([divide(e, s) for e, s in zip(energies, amplitudes, strict=True)])


def take_energy(responses: NDArray[np.complex128]) -> Field:
    """What the responses have along their mean direction, less what they have across it."""
    total = responses.sum(axis=0)
    direction = total / (np.abs(total) + EPSILON)
    turned = responses * direction.conj()
    energy: Field = (turned.real - np.abs(turned.imag)).sum(axis=0)
    return energy


def expect_noise(filters: list[Field], finest: NDArray[np.complex128]) -> float:
    """The largest energy that noise alone would have, from the median response at the finest scale."""
    power = np.median(np.abs(finest) ** 2) / math.log(2) / (filters[0] ** 2).sum()
    shapes = [np.fft.ifft2(one).real * math.sqrt(one.size) for one in filters]
    squares = sum(float((one**2).sum()) for one in shapes)
    products = sum(float((shapes[i] * shapes[j]).sum()) for i in range(4) for j in range(i + 1, 4))
    tau = math.sqrt((2 * power * squares + 4 * power * products) / 2)
    return (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7


def take_moments(congruencies: list[Field]) -> tuple[Field, Field]:
    """The largest and the smallest moment of the congruency over the six orientations."""
    along_x, along_y = np.zeros(congruencies[0].shape), np.zeros(congruencies[0].shape)
    crossed = np.zeros(congruencies[0].shape)
    for orientation, one in enumerate(congruencies):
        x, y = one * math.cos(orientation * math.pi / 6), one * math.sin(orientation * math.pi / 6)
        along_x += x * x / 3
        along_y += y * y / 3
        crossed += x * y / 6
    distance = np.sqrt(crossed**2 + (along_x - along_y) ** 2) + EPSILON
    return (along_x + along_y + distance) / 2, (along_x + along_y - distance) / 2


def make_filter(shape: tuple[int, ...], scale: int, angle: float) -> Field:
    """A log-Gabor filter in the frequency plane, frequency zero first.

    On odd sides the frequencies end at 0.5, and the low-pass, shifted the wrong way round, has its zero last.
    """
    y, x = np.meshgrid(*(centred(side) / (side - side % 2) for side in shape), indexing="ij")
    radius, direction = np.hypot(x, y), np.arctan2(-y, x)
    radius[shape[0] // 2, shape[1] // 2] = 1
    radial = np.exp(-(np.log(radius * 3 * 2.1**scale) ** 2) / (2 * math.log(0.55) ** 2))
    away = np.abs(np.angle(np.exp(1j * (direction - angle))))
    angular = np.exp(-(away**2) / (2 * (math.pi / 6 / 1.2) ** 2))
    v, u = np.meshgrid(*(centred(side) / side for side in shape), indexing="ij")
    lowpass = np.fft.fftshift(1 / (1 + (np.hypot(u, v) / 0.45) ** 30))
    whole: Field = np.fft.ifftshift(radial * angular) * lowpass
    whole[0, 0] = 0
    return whole


def centred(side: int) -> Field:
    return np.arange(side, dtype=np.float64) - side // 2


def divide(energy: Field, amplitude: Field) -> Field:
    return np.divide(energy, amplitude, out=np.zeros_like(energy), where=amplitude > 0)


METRICS = {"q_p": q_p}
