"""The example pairs of the project: made here from fixed seeds, nothing downloaded.

Scenes are painted twice, as reflectance under uneven light and as temperature; head phantoms are one map of tissues seen by several
scanners; multi-focus and multi-exposure pairs start from photographs inside the scikit-image wheel, which are then their truth.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from prior.arrays import Picture
from prior.pairs import Source
from storage.errors import InputError

Field = NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One made pair, exactly registered, with its truth where there is one."""

    pair_id: str
    task: str
    a: Picture
    b: Picture
    a_modality: str
    b_modality: str
    truth: Picture | None

    @property
    def source(self) -> str:
        """The name of the source it belongs to: the task, but the two kinds of medical pairs are kept apart."""
        return f"{self.a_modality}-{self.b_modality}" if self.task == "medical" else self.task


def _noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Field:
    """Cloud-like noise, mean 0 and standard deviation 1, whose largest structures are about `size` pixels."""
    total = np.zeros(shape)
    for octave in range(3):
        layer = ndimage.gaussian_filter(rng.standard_normal(shape), size / 2**octave / 2.5, mode="wrap")
        total += layer / layer.std() / 2**octave
    return (total - total.mean()) / total.std()


def _to_picture(levels: Field) -> Picture:
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)


# ---- Infrared and visible. Lengths are fractions of the height, x to the right, y down. ---------------------------------------------


class _Canvas:
    """One scene as two paintings, reflectance `(H, W, 3)` and temperature `(H, W)`, both 0 to 1."""

    def __init__(self, seed: int, height: int, width: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.y, self.x = (np.mgrid[:height, :width] + 0.5) / height
        self.reflectance = np.zeros((height, width, 3))
        self.heat = np.zeros((height, width))

    def texture(self, size: float) -> Field:
        return _noise(self.rng, self.x.shape, size * self.x.shape[0])

    def paint(self, mask: Field, colour: Colour | Field, heat: float | Field) -> None:
        self.reflectance += mask[:, :, None] * (colour - self.reflectance)
        self.heat += mask * (heat - self.heat)

    def cover(self, distance: Field) -> Field:
        """The mask of a signed distance (negative inside), with a soft edge of one pixel."""
        return np.clip(0.5 - distance * self.x.shape[0], 0, 1)

    def stroke(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> Field:
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2 + 1e-12
        along = np.clip(((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / length, 0, 1)
        return self.cover(np.hypot(self.x - x0 - along * (x1 - x0), self.y - y0 - along * (y1 - y0)) - radius)

    def box(self, left: float, top: float, right: float, bottom: float) -> Field:
        x, y = np.abs(self.x - (left + right) / 2) - (right - left) / 2, np.abs(self.y - (top + bottom) / 2) - (bottom - top) / 2
        return self.cover(np.maximum(x, y))


def _ground(c: _Canvas, horizon: float, sky: Colour, ground: Colour, heat: float, rough: float = 0.12) -> None:
    """Sky down to the horizon and ground below it, whose texture grows towards the viewer."""
    height = 1 - np.clip(c.y / horizon, 0, 1)
    sky_light = np.asarray(sky) * (1.12 - 0.25 * height + 0.05 * c.texture(0.3))[:, :, None]
    c.paint(np.ones_like(c.x), sky_light, 0.16 - 0.1 * height)
    near = np.clip((c.y - horizon) / (1 - horizon), 0, 1)
    grain = (1 - near) * c.texture(0.012) + near * c.texture(0.035) + 0.7 * c.texture(0.25)
    c.paint(c.cover(horizon - c.y), np.asarray(ground) * (1 + rough * grain)[:, :, None], heat + 0.02 * grain + 0.05 * near)


def _road(c: _Canvas, horizon: float, vanish: float, middle: float, half: float, heat: float) -> None:
    """A straight road from the vanishing point to the lower edge, with kerbs and a dashed line."""
    near = np.clip((c.y - horizon) / (1 - horizon), 1e-3, 1)
    across = (c.x - vanish - (middle - vanish) * near) / near
    below = c.cover(horizon - c.y)
    c.paint(below * c.cover((np.abs(across) - half * 1.12) * near), (0.62, 0.61, 0.58), heat - 0.06)
    c.paint(below * c.cover((np.abs(across) - half) * near), np.asarray((0.36, 0.36, 0.38)) * (1 + 0.08 * c.texture(0.01))[:, :, None], heat)
    dashes = (np.sin(9 / near) > 0) * below
    c.paint(dashes * c.cover((np.abs(across) - half * 0.04) * near), (0.9, 0.9, 0.86), heat - 0.04)


def _building(c: _Canvas, left: float, top: float, right: float, bottom: float, paint: Colour, heat: float, lit: float = 0) -> None:
    """A facade with a grid of windows, of which the share `lit` is lit from inside."""
    facade = np.asarray(paint) * (1 + 0.04 * c.texture(0.02) + 0.05 * c.texture(0.2))[:, :, None]
    c.paint(c.box(left, top, right, bottom), facade, heat + 0.015 * c.texture(0.15))
    c.paint(c.box(left - 0.01, top - 0.012, right + 0.01, top + 0.01), np.asarray(paint) * 0.6, heat - 0.12)
    step = 0.085
    for y in np.arange(top + 0.05, bottom - 0.08, step):
        for x in np.arange(left + 0.035, right - 0.05, step):
            light = c.rng.random() < lit
            colour = (1.0, 0.86, 0.55) if light else (0.16, 0.19, 0.24)
            c.paint(c.box(x, y, x + 0.04, y + 0.052), colour, heat + (0.16 if light else -0.09))


def _tree(c: _Canvas, x: float, foot: float, height: float) -> None:
    """A trunk under a crown of leaves: much texture in the visible picture, little in the infrared one."""
    c.paint(c.stroke(x, foot, x + 0.02 * height, foot - 0.6 * height, 0.028 * height), (0.24, 0.18, 0.13), 0.36)
    crown = np.hypot((c.x - x) / 0.75, c.y - foot + 0.66 * height) / height - 0.33
    ragged = c.cover(crown * height + 0.035 * height * c.texture(0.22 * height))
    leaves = np.clip(1 + 0.45 * c.texture(0.03) - 1.1 * (crown + 0.3) + 0.8 * (foot - 0.6 * height - c.y), 0.15, 2)
    c.paint(ragged, np.asarray((0.22, 0.36, 0.13)) * leaves[:, :, None], 0.33 + 0.03 * c.texture(0.05))


def _person(c: _Canvas, x: float, foot: float, height: float) -> None:
    """A walking person: skin is warmest, clothes less so."""
    stride = c.rng.uniform(0.05, 0.13)
    coat, trousers = c.rng.uniform(0.08, 0.5, 3), c.rng.uniform(0.06, 0.25, 3)
    limbs: list[tuple[tuple[float, float, float, float, float], Colour | Field, float]] = [
        ((-0.04, 0.48, -stride, 0.03, 0.05), trousers, 0.72),
        ((0.04, 0.48, stride, 0.03, 0.05), trousers * 0.8, 0.72),
        ((-0.11, 0.77, -0.13 - stride / 2, 0.46, 0.035), coat * 0.8, 0.74),
        ((0.0, 0.74, 0.0, 0.53, 0.105), coat, 0.80),
        ((0.11, 0.77, 0.13 + stride / 2, 0.46, 0.035), coat * 0.9, 0.74),
        ((0.0, 0.91, 0.0, 0.93, 0.062), (0.72, 0.53, 0.43), 1.0),
    ]
    for (x0, y0, x1, y1, radius), colour, heat in limbs:
        mask = c.stroke(x + x0 * height, foot - y0 * height, x + x1 * height, foot - y1 * height, radius * height)
        c.paint(mask, colour, heat)


def _car(c: _Canvas, x: float, foot: float, length: float, paint: Colour, warmth: float) -> None:
    """A car from the side, driving to the left: warm bonnet and wheels, cold windows."""
    s = length
    c.paint(0.6 * c.stroke(x - 0.45 * s, foot, x + 0.45 * s, foot, 0.035 * s), (0.05, 0.05, 0.05), 0.4 + 0.2 * warmth)
    body = c.stroke(x - 0.42 * s, foot - 0.14 * s, x + 0.42 * s, foot - 0.14 * s, 0.085 * s)
    cabin = c.cover(np.maximum(np.abs(c.x - x - 0.05 * s) - 0.36 * s + 0.9 * (foot - 0.2 * s - c.y), np.abs(c.y - foot + 0.27 * s) - 0.085 * s))
    shade = np.clip(1.25 - 2.5 * (c.y - foot + 0.3 * s) / s, 0.5, 1.3)[:, :, None]
    engine = warmth * np.clip(0.9 - 1.6 * (c.x - x + 0.45 * s) / s, 0.15, 1)
    c.paint(np.maximum(body, cabin), np.asarray(paint) * shade, 0.34 + 0.55 * engine)
    glass = c.cover(np.maximum(np.abs(c.x - x - 0.05 * s) - 0.33 * s + 0.9 * (foot - 0.2 * s - c.y), np.abs(c.y - foot + 0.27 * s) - 0.06 * s))
    c.paint(glass * (np.abs(c.x - x - 0.06 * s) > 0.012 * s), (0.14, 0.17, 0.2), 0.22)
    for wheel in (-0.27, 0.28):
        c.paint(c.stroke(x + wheel * s, foot - 0.07 * s, x + wheel * s, foot - 0.07 * s, 0.075 * s), (0.06, 0.06, 0.06), 0.42 + 0.45 * warmth)
        c.paint(c.stroke(x + wheel * s, foot - 0.07 * s, x + wheel * s, foot - 0.07 * s, 0.035 * s), (0.5, 0.5, 0.52), 0.4 + 0.5 * warmth)


def _smoke(c: _Canvas, *puffs: tuple[float, float, float, float]) -> Field:
    """How much of the view clouds of smoke or fog take, 0 to 1; each is x, y, radius, density."""
    clear = np.ones_like(c.x)
    for x, y, radius, density in puffs:
        clear *= 1 - density * np.clip(1.5 - np.hypot(c.x - x, (c.y - y) * 1.25) / radius + 0.16 * c.texture(radius), 0, 1)
    return 1 - clear


def _lamps(c: _Canvas, *lamps: tuple[float, float, float, float]) -> tuple[Field, Field]:
    """The light that lamps throw on the scene, and the glare that they throw into the lens; each is x, y, reach, power."""
    thrown, glare = np.zeros_like(c.x), np.zeros_like(c.x)
    for x, y, reach, power in lamps:
        distance = np.hypot(c.x - x, c.y - y)
        thrown += power / (1 + (distance / reach) ** 2)
        glare += power * (np.exp(-((distance / reach * 4) ** 2)) + 0.25 / (1 + (distance / reach * 3) ** 2))
    return thrown, glare


def _see(c: _Canvas, light: float | Field, glare: float | Field, smoke: float | Field, noise: float, tint: Colour = (1, 1, 1)) -> Picture:
    """The visible camera: reflectance times light, smoke and glare before it, sensor noise, grey levels."""
    lit = c.reflectance * np.broadcast_to(light, c.x.shape)[:, :, None] * np.asarray(tint)
    veil = np.broadcast_to(smoke, c.x.shape)[:, :, None]
    seen = lit * (1 - veil) + veil * 0.78 * np.asarray(tint) + np.broadcast_to(glare, c.x.shape)[:, :, None] * (1.0, 0.95, 0.8)
    seen = ndimage.gaussian_filter(seen, (0.5, 0.5, 0))
    return _to_picture(seen + noise * c.rng.standard_normal(seen.shape) * np.sqrt(0.3 + np.clip(seen, 0, 1)))


def _feel(c: _Canvas, smoke: float | Field, coldest: float, warmest: float) -> Picture:
    """The thermal camera: blurred optics, a little of the smoke, column noise and vignetting."""
    heat = ndimage.gaussian_filter(c.heat + 0.08 * np.asarray(smoke) * (0.45 - c.heat), 1.1)
    rows, columns = heat.shape
    heat += 0.006 * c.rng.standard_normal((1, columns)) + 0.01 * c.rng.standard_normal((rows, columns))
    dim = 0.06 * ((c.x / c.x.max() - 0.5) ** 2 + (c.y - 0.5) ** 2)
    return _to_picture(coldest + (warmest - coldest) * (heat - dim))


def _street_by_day(c: _Canvas) -> tuple[Picture, Picture]:
    """Hard sun from the right: one walker in the light, one in the shadow of the houses."""
    _ground(c, 0.42, (0.55, 0.72, 0.95), (0.58, 0.55, 0.5), 0.34)
    _building(c, -0.1, 0.08, 0.42, 0.56, (0.55, 0.32, 0.25), 0.38)
    _tree(c, 0.62, 0.5, 0.34)
    _building(c, 0.9, 0.16, 1.5, 0.52, (0.78, 0.74, 0.64), 0.46)
    _road(c, 0.42, 0.66, 0.62, 0.5, 0.44)
    _tree(c, 1.24, 0.66, 0.6)
    _car(c, 0.86, 0.66, 0.34, (0.7, 0.12, 0.1), 0.9)
    _person(c, 0.22, 0.84, 0.36)
    _person(c, 1.1, 0.88, 0.42)
    shade = np.clip((0.46 + 0.06 * c.texture(0.1) - c.x + 0.1 * (c.y - 0.42)) * 14, 0, 1)
    return _feel(c, 0, 0.05, 0.95), _see(c, 1.12 - 0.9 * shade * (c.y > 0.1), 0, 0, 0.012, (1.02, 1.0, 0.95))


def _street_at_night(c: _Canvas) -> tuple[Picture, Picture]:
    """Headlights blind the visible camera; who walks beside the road is seen by heat alone."""
    _ground(c, 0.4, (0.05, 0.07, 0.14), (0.3, 0.3, 0.3), 0.28)
    _building(c, 0.0, 0.02, 0.36, 0.5, (0.4, 0.36, 0.34), 0.36, 0.35)
    _building(c, 0.98, 0.1, 1.4, 0.48, (0.35, 0.36, 0.4), 0.34, 0.5)
    _road(c, 0.4, 0.7, 0.7, 0.55, 0.34)
    _person(c, 0.2, 0.78, 0.38)
    _person(c, 0.34, 0.72, 0.34)
    _person(c, 1.12, 0.86, 0.46)
    c.paint(c.box(0.56, 0.44, 0.8, 0.58), (0.1, 0.1, 0.12), 0.66)
    thrown, glare = _lamps(c, (0.6, 0.55, 0.22, 0.9), (0.76, 0.55, 0.22, 0.9), (0.47, 0.16, 0.12, 0.5), (0.92, 0.22, 0.08, 0.4))
    return _feel(c, 0, 0.0, 0.92), _see(c, 0.16 + 0.7 * thrown, glare, 0, 0.03, (1.0, 0.92, 0.78))


def _smoke_in_the_field(c: _Canvas) -> tuple[Picture, Picture]:
    """Three men and a vehicle behind drifting smoke, before a line of trees."""
    _ground(c, 0.38, (0.75, 0.78, 0.8), (0.42, 0.44, 0.36), 0.3, 0.22)
    for x in (0.05, 0.24, 0.42, 0.66, 0.86, 1.06, 1.22):
        _tree(c, x, 0.46 + 0.03 * c.rng.random(), 0.32 + 0.14 * c.rng.random())
    _car(c, 0.98, 0.6, 0.36, (0.2, 0.24, 0.16), 1.0)
    for x, foot, height in ((0.34, 0.76, 0.3), (0.52, 0.7, 0.27), (0.74, 0.86, 0.36)):
        _person(c, x, foot, height)
    smoke = _smoke(c, (0.4, 0.58, 0.3, 0.95), (0.66, 0.66, 0.28, 0.9), (0.95, 0.45, 0.22, 0.7))
    return _feel(c, smoke, 0.08, 0.98), _see(c, 0.95, 0, smoke, 0.02)


def _car_park(c: _Canvas) -> tuple[Picture, Picture]:
    """Sun-warmed asphalt with painted bays seen from a roof; engines tell which cars have just come."""
    _ground(c, 0.14, (0.7, 0.78, 0.88), (0.56, 0.5, 0.46), 0.5)
    _building(c, 0.1, 0.03, 0.72, 0.17, (0.5, 0.44, 0.4), 0.42)
    for x in np.arange(-0.3, 1.8, 0.23):
        for foot in (0.4, 0.66, 0.98):
            c.paint(0.9 * c.stroke(x, foot - 0.12, x - 0.05, foot + 0.02, 0.006), (0.92, 0.91, 0.86), 0.44)
    paints: tuple[Colour, ...] = ((0.7, 0.12, 0.1), (0.75, 0.75, 0.77), (0.15, 0.25, 0.5), (0.12, 0.13, 0.15), (0.85, 0.84, 0.8))
    for row, foot in enumerate((0.38, 0.63, 0.93)):
        for column in c.rng.permutation(5)[: 3 + row // 2]:
            _car(c, 0.09 + 0.25 * column + 0.03 * row, foot, 0.2 + 0.02 * row, paints[c.rng.integers(5)], c.rng.choice((0.05, 0.3, 1.0)))
    _person(c, 0.62, 0.8, 0.16)
    return _feel(c, 0, 0.1, 1.0), _see(c, 0.98 + 0.08 * c.texture(0.5), 0, 0, 0.012, (1.05, 0.98, 0.92))


def _house_by_the_wood(c: _Canvas) -> tuple[Picture, Picture]:
    """A grey camera at dusk: a heated house, a man by the wall, and much foliage."""
    _ground(c, 0.5, (0.5, 0.52, 0.55), (0.4, 0.42, 0.33), 0.27, 0.3)
    for x, foot, height in ((0.1, 0.6, 0.62), (1.12, 0.58, 0.66), (0.9, 0.56, 0.5)):
        _tree(c, x, foot, height)
    roof = c.cover(np.maximum(0.16 - c.y + 0.62 * np.abs(c.x - 0.55), c.y - 0.36))
    _building(c, 0.28, 0.35, 0.82, 0.68, (0.72, 0.7, 0.66), 0.46, 0.2)
    c.paint(roof, np.asarray((0.34, 0.3, 0.3)) * (1 + 0.1 * np.sin(c.y * 260))[:, :, None], 0.24)
    c.paint(c.box(0.66, 0.1, 0.72, 0.26), (0.45, 0.36, 0.33), 0.85)
    _person(c, 0.93, 0.82, 0.34)
    _tree(c, 0.2, 0.96, 0.5)
    return _feel(c, 0, 0.02, 0.9), _see(c, 0.5 + 0.12 * c.texture(0.4), 0, 0, 0.025)


def _road_in_fog(c: _Canvas) -> tuple[Picture, Picture]:
    """Fog that thickens with distance swallows the cars ahead."""
    _ground(c, 0.36, (0.7, 0.73, 0.76), (0.32, 0.4, 0.24), 0.28)
    for x, foot, height in ((0.16, 0.46, 0.36), (1.3, 0.46, 0.4), (0.36, 0.42, 0.2), (1.06, 0.42, 0.22)):
        _tree(c, x, foot, height)
    _road(c, 0.36, 0.72, 0.76, 0.62, 0.36)
    _car(c, 0.8, 0.5, 0.16, (0.6, 0.6, 0.62), 0.9)
    _person(c, 0.52, 0.56, 0.2)
    _car(c, 1.0, 0.72, 0.4, (0.14, 0.26, 0.5), 0.7)
    fog = np.clip(1.0 - 1.5 * np.abs(c.y - 0.36) + 0.05 * c.texture(0.3), 0, 0.96)
    return _feel(c, fog, 0.03, 0.85), _see(c, 0.9, 0, fog, 0.012, (0.94, 0.98, 1.02))


def _park_against_the_sun(c: _Canvas) -> tuple[Picture, Picture]:
    """A low sun behind trees: dark trunks and walkers before a dazzling sky."""
    _ground(c, 0.46, (0.95, 0.86, 0.68), (0.34, 0.44, 0.2), 0.32, 0.25)
    _road(c, 0.46, 0.42, 0.5, 0.4, 0.38)
    for x, foot, height in ((0.08, 0.58, 0.62), (0.3, 0.52, 0.44), (0.68, 0.53, 0.5), (0.98, 0.62, 0.74)):
        _tree(c, x, foot, height)
    for x, foot, height in ((0.4, 0.66, 0.26), (0.5, 0.67, 0.25), (0.82, 0.88, 0.42)):
        _person(c, x, foot, height)
    _, glare = _lamps(c, (0.5, 0.28, 0.5, 0.75))
    backlight = 0.42 + 0.5 * (c.y < 0.46) + 0.35 * np.clip(1 - 3 * np.abs(c.x - 0.5), 0, 1)
    return _feel(c, 0, 0.12, 0.88), _see(c, backlight, glare, 0, 0.014, (1.05, 0.97, 0.85))


def _lit_gateway(c: _Canvas) -> tuple[Picture, Picture]:
    """A bright passage in a dark wall; the cold wall hides two men from the visible camera only."""
    _ground(c, 0.62, (0.08, 0.09, 0.13), (0.34, 0.34, 0.36), 0.3)
    _building(c, -0.1, 0.06, 1.4, 0.66, (0.42, 0.4, 0.38), 0.26, 0.06)
    c.paint(c.box(0.42, 0.26, 0.86, 0.7), np.asarray((0.8, 0.74, 0.58)) * (1 + 0.12 * np.sin(c.x * 90))[:, :, None], 0.44)
    c.paint(c.box(0.42, 0.62, 0.86, 0.7), (0.6, 0.55, 0.46), 0.4)
    inside = c.box(0.42, 0.26, 0.86, 0.7)
    for x, foot, height in ((0.6, 0.7, 0.3), (0.24, 0.86, 0.42), (1.05, 0.94, 0.5)):
        _person(c, x, foot, height)
    thrown, glare = _lamps(c, (0.55, 0.3, 0.1, 0.35), (0.73, 0.3, 0.1, 0.35))
    spill = 0.45 * np.clip(1 - np.hypot(c.x - 0.64, 1.6 * (c.y - 0.72)) / 0.5, 0, 1) * (c.y > 0.66)
    return _feel(c, 0, 0.0, 1.0), _see(c, 0.15 + 0.85 * inside + spill + 0.2 * thrown, glare, 0, 0.03, (1.0, 0.94, 0.82))
