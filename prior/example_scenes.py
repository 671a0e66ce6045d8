"""Infrared and visible example scenes: each is painted twice, as reflectance under uneven light and as temperature.

Lengths are fractions of the height, x to the right, y down; colours, light and temperatures lie between 0 and 1.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from prior.arrays import Picture, luma

Field = NDArray[np.float64]
Look = tuple[Picture, Picture]
"""A scene as the thermal and as the visible camera see it."""


def make_noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Field:
    """Cloud-like noise, mean 0 and standard deviation 1, whose largest structures are about `size` pixels."""
    total = np.zeros(shape)
    for cell in [cell for cell in (size / 2, size / 4, size / 8) if cell >= 1] or [1]:
        grid = rng.standard_normal([int(side / cell) + 6 for side in shape])
        total += cell * spread(spread(grid, shape[0], cell), shape[1], cell)
    return np.asarray((total - total.mean()) / total.std())


def spread(grid: Field, length: int, cell: float) -> Field:
    """Blend the rows of a grid, one every `cell` pixels, into `length` rows with a bell of six taps, and turn rows into columns."""
    place = np.arange(length) / cell
    first, rest = place.astype(int), place % 1
    blended = np.zeros((length, grid.shape[1]))
    for tap in range(6):
        blended += np.exp(-(((rest - tap + 2.5) / 0.85) ** 2))[:, None] * grid[first + tap]
    return blended.T.copy()


def to_picture(levels: Field) -> Picture:
    """Levels 0 to 1 as an 8-bit picture, clipped."""
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)


class Canvas:
    """One scene as two paintings, reflectance `(H, W, 3)` and temperature `(H, W)`."""

    def __init__(self, seed: int, height: int, width: int) -> None:
        """Start black and cold."""
        self.rng = np.random.default_rng(seed)
        self.y, self.x = (np.mgrid[:height, :width] + 0.5) / height
        self.reflectance = np.zeros((height, width, 3))
        self.heat = np.zeros((height, width))

    def texture(self, size: float) -> Field:
        """Noise of this size, `(H, W)`."""
        return make_noise(self.rng, self.heat.shape, size * len(self.y))

    def paint(self, mask: Field, colour: ArrayLike, heat: ArrayLike) -> None:
        """Cover what lies under the mask."""
        colours, heats = np.broadcast_to(colour, self.reflectance.shape), np.broadcast_to(heat, mask.shape)
        for window in ndimage.find_objects((mask > 0).view(np.uint8)):  # most masks are small
            share = mask[window]
            self.reflectance[window] += share[:, :, None] * (colours[window] - self.reflectance[window])
            self.heat[window] += share * (heats[window] - self.heat[window])

    def darken(self, mask: Field) -> None:
        """Throw a shadow: light changes, temperature does not."""
        self.reflectance *= 1 - 0.6 * mask[:, :, None]

    def cover(self, *distances: ArrayLike) -> Field:
        """The mask where all signed distances are negative, with a soft edge of one pixel."""
        return np.asarray(np.clip(0.5 - np.maximum.reduce(np.broadcast_arrays(*distances)) * len(self.y), 0, 1))

    def stroke(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> Field:
        """The mask of a thick line with round ends."""
        along = ((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2 + 1e-12)
        along = np.clip(along, 0, 1)
        return self.cover(np.hypot(self.x - x0 - along * (x1 - x0), self.y - y0 - along * (y1 - y0)) - radius)

    def box(self, left: float, top: float, right: float, bottom: float) -> Field:
        """The mask of a rectangle."""
        return self.cover(left - self.x, self.x - right, top - self.y, self.y - bottom)


def tint(colour: ArrayLike, strength: ArrayLike) -> Field:
    """A colour times a field, `(H, W, 3)`."""
    shades: Field = np.asarray(strength)[:, :, None] * np.asarray(colour)
    return shades


def paint_land(c: Canvas, horizon: float, sky: ArrayLike, ground: ArrayLike, heat: float, rough: float) -> None:
    """A cold sky, and ground whose grain grows towards the viewer."""
    up = 1 - np.clip(c.y / horizon, 0, 1)
    c.paint(np.ones_like(c.x), tint(sky, 1.1 - 0.25 * up + 0.05 * c.texture(0.3)), 0.16 - 0.1 * up)
    near = np.clip((c.y - horizon) / (1 - horizon), 0, 1)
    grain = (1 - near) * c.texture(0.02) + near * c.texture(0.05) + 0.5 * c.texture(0.3)
    c.paint(c.cover(horizon - c.y), tint(ground, 1 + rough * grain), heat + 0.15 * rough * grain + 0.04 * near)


def paint_road(c: Canvas, horizon: float, vanish: float, middle: float, half: float, heat: float) -> None:
    """A straight road to the vanishing point with kerbs and a dashed line."""
    near = np.clip((c.y - horizon) / (1 - horizon), 1e-3, 1)
    across = np.abs(c.x - vanish - (middle - vanish) * near)
    below = horizon - c.y
    c.paint(c.cover(below, across - 1.12 * half * near), (0.62, 0.61, 0.58), heat - 0.06)
    c.paint(c.cover(below, across - half * near), tint((0.36, 0.36, 0.38), 1 + 0.06 * c.texture(0.015)), heat + 0.02 * c.texture(0.3))
    c.paint(c.cover(below, across - 0.04 * half * near, -np.sin(9 / near)), (0.9, 0.9, 0.86), heat - 0.04)


def paint_building(c: Canvas, left: float, top: float, right: float, bottom: float, colour: ArrayLike, heat: float, lit: float) -> None:
    """A facade with a roof edge and a grid of windows, the share `lit` of them lit from inside."""
    facade = tint(colour, 1 + 0.04 * np.sin(c.y * 260) + 0.03 * c.texture(0.02) + 0.05 * c.texture(0.2))
    c.paint(c.box(left, top, right, bottom), facade, heat + 0.015 * c.texture(0.15))
    c.paint(c.box(left - 0.01, top - 0.012, right + 0.01, top + 0.01), np.multiply(colour, 0.6), heat - 0.12)
    for y in np.arange(top + 0.05, bottom - 0.08, 0.085):
        for x in np.arange(left + 0.035, right - 0.05, 0.085):
            glass, warmth = ((1.0, 0.86, 0.55), 0.16) if c.rng.random() < lit else ((0.16, 0.19, 0.24), -0.09)
            c.paint(c.box(x, y, x + 0.04, y + 0.052), glass, heat + warmth)


def paint_leaves(c: Canvas, mask: Field, shade: ArrayLike) -> None:
    """Foliage: much texture in the visible picture, little in the infrared one."""
    green = np.asarray((0.25, 0.36, 0.15)) + c.rng.uniform(-0.04, 0.04, 3)
    c.paint(mask, tint(green, np.clip(np.add(shade, 0.34 * c.texture(0.035)), 0.12, 2)), 0.3 + 0.025 * c.texture(0.06))


def paint_wood(c: Canvas, foot: float, height: float) -> None:
    """A line of trees along the horizon."""
    top = foot - height * (0.75 + 0.16 * c.texture(0.12)[:1] + 0.05 * c.texture(0.02))
    paint_leaves(c, c.cover(top - c.y, c.y - foot), 0.75 + 0.9 * (foot - 0.5 * height - c.y) / height)


def paint_tree(c: Canvas, x: float, foot: float, height: float) -> None:
    """A trunk with two branches under a ragged crown."""
    for tip, rise, radius in ((0.02, 0.7, 0.025), (-0.14, 0.62, 0.012), (0.15, 0.66, 0.012)):
        fork = 0 if rise == 0.7 else 0.33
        mask = c.stroke(x, foot - fork * height, x + tip * height, foot - rise * height, radius * height)
        c.paint(mask, (0.24, 0.18, 0.13), 0.36)
    edge = np.hypot((c.x - x) / 0.8, c.y - foot + 0.68 * height) - 0.3 * height
    ragged = c.cover(edge + height * (0.05 * c.texture(0.3 * height) + 0.035 * c.texture(0.06)))
    paint_leaves(c, ragged, 0.95 + 0.8 * (foot - 0.68 * height - c.y - 0.5 * (c.x - x)) / height)


def paint_person(c: Canvas, x: float, foot: float, height: float) -> None:
    """A walking person: skin is warmest, clothes less so."""
    stride, coat, trousers = c.rng.uniform(0.04, 0.12), c.rng.uniform(0.08, 0.5, 3), c.rng.uniform(0.06, 0.25, 3)
    warmth = c.rng.uniform(-0.06, 0.04) + 0.04 * c.texture(0.2 * height)
    arm = -0.12 - stride / 2
    limbs = (
        ((-0.04, 0.48, -stride, 0.03, 0.045), trousers, 0.66),
        ((0.04, 0.48, stride, 0.03, 0.045), 0.8 * trousers, 0.68),
        ((-0.1, 0.77, arm, 0.46, 0.032), 0.8 * coat, 0.7),
        ((0.0, 0.74, 0.0, 0.53, 0.095), coat, 0.78),
        ((0.1, 0.77, -arm, 0.46, 0.032), 0.9 * coat, 0.7),
        ((0.0, 0.9, 0.0, 0.93, 0.058), np.asarray((0.72, 0.53, 0.43)), 0.97),
    )
    for (x0, y0, x1, y1, radius), colour, heat in limbs:
        mask = c.stroke(x + x0 * height, foot - y0 * height, x + x1 * height, foot - y1 * height, radius * height)
        c.paint(mask, colour, heat + warmth)


def paint_car(c: Canvas, x: float, foot: float, length: float, colour: ArrayLike, warmth: float) -> None:
    """A car from the side: bonnet, wheels and the road below are warm as far as it has been driven, the windows cold."""
    c.darken(c.stroke(x - 0.42 * length, foot, x + 0.42 * length, foot, 0.035 * length))
    u, v = (c.x - x) / length, (foot - c.y) / length
    cabin, pillar = np.abs(u - 0.05) + 0.9 * (v - 0.2), np.abs(v - 0.27)
    body = c.stroke(x - 0.42 * length, foot - 0.14 * length, x + 0.42 * length, foot - 0.14 * length, 0.085 * length)
    body = np.maximum(body, c.cover(length * (cabin - 0.36), length * (pillar - 0.085)))
    engine = warmth * np.clip(0.18 - 1.6 * u, 0.15, 1)
    c.paint(body, tint(colour, np.clip(0.5 + 2.5 * v, 0.5, 1.3)), 0.34 + 0.5 * engine)
    c.paint(c.cover(length * (cabin - 0.33), length * (pillar - 0.06), length * (0.014 - np.abs(u - 0.06))), (0.14, 0.17, 0.2), 0.22)
    for hub in (x - 0.27 * length, x + 0.28 * length):
        axle = foot - 0.07 * length
        c.paint(c.stroke(hub, axle, hub, axle, 0.075 * length), (0.06, 0.06, 0.06), 0.38 + 0.4 * warmth)
        c.paint(c.stroke(hub, axle, hub, axle, 0.035 * length), (0.5, 0.5, 0.52), 0.38 + 0.55 * warmth)


def paint_oncoming(c: Canvas, x: float, foot: float, width: float) -> None:
    """A car from the front: a hot grille between the lamps."""
    half = width / 2
    c.paint(c.box(x - half, foot - 0.1 * width, x + half, foot), (0.03, 0.03, 0.03), 0.7)
    c.paint(c.box(x - half, foot - 0.5 * width, x + half, foot - 0.06 * width), (0.16, 0.16, 0.18), 0.5)
    c.paint(c.stroke(x - 0.3 * width, foot - 0.74 * width, x + 0.3 * width, foot - 0.74 * width, 0.1 * width), (0.16, 0.16, 0.18), 0.42)
    c.paint(c.box(x - 0.38 * width, foot - 0.74 * width, x + 0.38 * width, foot - 0.5 * width), (0.08, 0.09, 0.11), 0.24)
    c.paint(c.box(x - 0.28 * width, foot - 0.36 * width, x + 0.28 * width, foot - 0.14 * width), (0.05, 0.05, 0.05), 0.92)


def make_smoke(c: Canvas, *puffs: tuple[float, float, float, float]) -> Field:
    """The share of the view that smoke takes; each puff is x, y, radius, density."""
    clear: Field = np.ones_like(c.x)
    for x, y, radius, density in puffs:
        clear *= 1 - density * np.clip(1.4 - np.hypot(c.x - x, (c.y - y) * 1.2) / radius + 0.2 * c.texture(radius), 0, 1)
    return 1 - clear


def make_lamps(c: Canvas, *lamps: tuple[float, float, float, float]) -> tuple[Field, Field]:
    """The light that lamps throw on the scene and their glare in the lens; each lamp is x, y, reach, power."""
    thrown, glare = np.zeros_like(c.x), np.zeros_like(c.x)
    for x, y, reach, power in lamps:
        distance = np.hypot(c.x - x, c.y - y) / reach
        thrown += power / (1 + distance**2)
        glare += power * (np.exp(-((4 * distance) ** 2)) + 0.2 / (1 + (3 * distance) ** 2))
    return thrown, glare


def see(c: Canvas, light: ArrayLike, tone: ArrayLike, noise: float, glare: ArrayLike = 0.0, smoke: ArrayLike = 0.0) -> Picture:
    """The visible camera: reflectance under light of this tone, with smoke and glare in front, and sensor noise."""
    light, glare, veil = (np.broadcast_to(field, c.x.shape)[:, :, None] for field in (light, glare, smoke))
    seen = (c.reflectance * light * (1 - veil) + 0.78 * veil) * tone + glare * (1.0, 0.95, 0.8)
    seen = ndimage.gaussian_filter(seen, (0.5, 0.5, 0))
    return to_picture(seen + noise * np.sqrt(0.3 + np.clip(seen, 0, 1)) * c.rng.standard_normal(seen.shape))


def feel(c: Canvas, coldest: float, warmest: float, smoke: ArrayLike = 0.0) -> Picture:
    """The thermal camera: soft optics, hardly any smoke, column noise, vignetting."""
    heat = ndimage.gaussian_filter(c.heat + 0.1 * np.asarray(smoke) * (0.4 - c.heat), 1.0)
    heat += 0.004 * c.rng.standard_normal(heat.shape[1]) + 0.008 * c.rng.standard_normal(heat.shape)
    corner = 0.08 * ((c.x / c.x.max() - 0.5) ** 2 + (c.y - 0.5) ** 2)
    return to_picture(coldest + (warmest - coldest) * (heat - corner))


def street_by_day() -> Look:
    """Hard sun: one walker in the light, one in the shadow of the houses."""
    c = Canvas(1, 240, 320)
    paint_land(c, 0.42, (0.55, 0.72, 0.95), (0.58, 0.55, 0.5), 0.34, 0.06)
    paint_wood(c, 0.44, 0.1)
    paint_building(c, -0.1, 0.05, 0.42, 0.56, (0.62, 0.4, 0.32), 0.38, 0)
    paint_building(c, 0.96, 0.14, 1.5, 0.52, (0.78, 0.74, 0.64), 0.46, 0)
    paint_road(c, 0.42, 0.66, 0.62, 0.5, 0.44)
    paint_tree(c, 0.9, 0.54, 0.36)
    c.darken(c.stroke(1.16, 0.88, 0.98, 0.91, 0.02))
    paint_tree(c, 1.26, 0.72, 0.6)
    paint_car(c, 0.84, 0.66, 0.3, (0.7, 0.12, 0.1), 0.9)
    paint_person(c, 0.24, 0.74, 0.27)
    paint_person(c, 1.16, 0.88, 0.32)
    shade = np.clip((0.44 + 0.03 * c.texture(0.1) - c.x + 0.3 * (c.y - 0.42)) * 25, 0, 1) * np.clip(20 * (c.y - 0.1), 0, 1)
    return feel(c, 0.05, 0.95), see(c, 1.1 - 0.88 * shade, (1.02, 1.0, 0.95), 0.012)


def street_at_night() -> Look:
    """Headlights blind the visible camera; who walks beside the road is seen by heat alone."""
    c = Canvas(2, 256, 341)
    paint_land(c, 0.4, (0.05, 0.07, 0.14), (0.3, 0.3, 0.3), 0.28, 0.08)
    paint_building(c, 0.0, 0.02, 0.36, 0.5, (0.4, 0.36, 0.34), 0.36, 0.3)
    paint_building(c, 0.98, 0.1, 1.4, 0.48, (0.35, 0.36, 0.4), 0.34, 0.45)
    paint_tree(c, 0.44, 0.5, 0.34)
    paint_road(c, 0.4, 0.7, 0.7, 0.55, 0.34)
    for x, foot, height in ((0.15, 0.72, 0.27), (0.25, 0.74, 0.28), (1.16, 0.84, 0.34)):
        paint_person(c, x, foot, height)
    paint_oncoming(c, 0.68, 0.6, 0.2)
    thrown, glare = make_lamps(c, (0.605, 0.535, 0.2, 0.9), (0.755, 0.535, 0.2, 0.9), (0.47, 0.16, 0.12, 0.5), (0.92, 0.22, 0.08, 0.4))
    return feel(c, 0.0, 0.92), see(c, 0.06 + 0.6 * thrown, (1.0, 0.92, 0.78), 0.03, glare)


def smoke_in_the_field() -> Look:
    """Grey: men and a vehicle behind drifting smoke before a wood."""
    c = Canvas(3, 240, 320)
    paint_land(c, 0.38, (0.75, 0.78, 0.8), (0.42, 0.44, 0.36), 0.3, 0.18)
    paint_wood(c, 0.46, 0.3)
    paint_tree(c, 0.16, 0.56, 0.5)
    paint_tree(c, 1.2, 0.52, 0.44)
    paint_car(c, 0.98, 0.6, 0.36, (0.2, 0.24, 0.16), 1.0)
    for x, foot, height in ((0.36, 0.74, 0.26), (0.54, 0.68, 0.22), (0.8, 0.84, 0.3)):
        paint_person(c, x, foot, height)
    smoke = make_smoke(c, (0.42, 0.6, 0.29, 0.98), (0.7, 0.55, 0.24, 0.9), (0.9, 0.4, 0.2, 0.7))
    return feel(c, 0.08, 0.98, smoke), luma(see(c, 0.95, 1, 0.015, smoke=smoke))


def car_park() -> Look:
    """Sun-warmed asphalt with painted bays seen from a roof; engines tell which cars have just come."""
    c = Canvas(4, 225, 301)
    paint_land(c, 0.16, (0.7, 0.78, 0.88), (0.5, 0.48, 0.47), 0.5, 0.05)
    paint_wood(c, 0.18, 0.12)
    paint_building(c, 0.1, 0.02, 0.72, 0.2, (0.6, 0.52, 0.46), 0.42, 0)
    for x in np.arange(-0.3, 1.8, 0.23):
        for foot in (0.4, 0.66, 0.98):
            c.paint(0.9 * c.stroke(x, foot - 0.12, x - 0.05, foot + 0.02, 0.006), (0.92, 0.91, 0.86), 0.44)
    colours = ((0.7, 0.12, 0.1), (0.75, 0.75, 0.77), (0.15, 0.25, 0.5), (0.12, 0.13, 0.15), (0.85, 0.84, 0.8))
    for row, foot in enumerate((0.38, 0.63, 0.93)):
        for column in c.rng.permutation(5)[: 3 + row // 2]:
            warmth = c.rng.choice((0.05, 0.3, 1.0))
            paint_car(c, 0.09 + 0.25 * column + 0.03 * row, foot, 0.2 + 0.02 * row, colours[c.rng.integers(5)], warmth)
    c.darken(c.stroke(0.6, 0.79, 0.72, 0.81, 0.01))
    paint_person(c, 0.6, 0.79, 0.15)
    return feel(c, 0.1, 1.0), see(c, 0.98 + 0.05 * c.texture(0.5), (1.05, 0.98, 0.92), 0.012)


def house_by_the_wood() -> Look:
    """Grey, at dusk: a heated house, a man by the hedge, and much foliage."""
    c = Canvas(5, 256, 320)
    paint_land(c, 0.5, (0.62, 0.64, 0.68), (0.4, 0.42, 0.33), 0.27, 0.25)
    paint_wood(c, 0.56, 0.4)
    paint_building(c, 0.28, 0.35, 0.82, 0.68, (0.72, 0.7, 0.66), 0.46, 0.2)
    c.paint(c.box(0.66, 0.12, 0.72, 0.3), (0.45, 0.36, 0.33), 0.85)
    slates = tint((0.36, 0.32, 0.32), 1 + 0.12 * np.sin(c.y * 260) + 0.05 * c.texture(0.03))
    c.paint(c.cover(0.16 - c.y + 0.62 * np.abs(c.x - 0.55), c.y - 0.36), slates, 0.22)
    paint_tree(c, 1.1, 0.62, 0.62)
    paint_wood(c, 0.74, 0.1)
    paint_person(c, 0.92, 0.83, 0.27)
    paint_tree(c, 0.14, 0.96, 0.66)
    return feel(c, 0.02, 0.9), luma(see(c, 0.8 + 0.1 * c.texture(0.4), 1, 0.025))


def road_in_fog() -> Look:
    """Fog that thickens with distance swallows the cars ahead."""
    c = Canvas(6, 219, 321)
    paint_land(c, 0.36, (0.7, 0.73, 0.76), (0.32, 0.4, 0.24), 0.28, 0.12)
    paint_wood(c, 0.4, 0.14)
    paint_tree(c, 1.06, 0.44, 0.26)
    paint_road(c, 0.36, 0.72, 0.76, 0.62, 0.36)
    paint_tree(c, 0.2, 0.52, 0.42)
    paint_tree(c, 1.34, 0.56, 0.5)
    paint_car(c, 0.84, 0.5, 0.16, (0.6, 0.6, 0.62), 0.9)
    paint_person(c, 0.5, 0.56, 0.17)
    paint_car(c, 1.02, 0.74, 0.38, (0.14, 0.26, 0.5), 0.7)
    fog = np.clip(1.05 - 1.5 * np.abs(c.y - 0.36) + 0.05 * c.texture(0.3), 0, 0.97)
    return feel(c, 0.03, 0.85, fog), see(c, 0.9, (0.94, 0.98, 1.02), 0.012, smoke=fog)


def park_against_the_sun() -> Look:
    """A low sun behind trees: dark trunks and walkers before a dazzling sky."""
    c = Canvas(7, 240, 272)
    paint_land(c, 0.46, (0.95, 0.86, 0.68), (0.34, 0.44, 0.2), 0.32, 0.2)
    paint_wood(c, 0.5, 0.12)
    paint_road(c, 0.48, 0.46, 0.5, 0.4, 0.38)
    for x, foot, height in ((0.3, 0.54, 0.4), (0.7, 0.55, 0.44), (0.06, 0.62, 0.66), (1.0, 0.66, 0.74)):
        paint_tree(c, x, foot, height)
    for x, foot, height in ((0.43, 0.64, 0.2), (0.51, 0.65, 0.21), (0.8, 0.86, 0.34)):
        paint_person(c, x, foot, height)
    _, glare = make_lamps(c, (0.5, 0.26, 0.5, 0.8))
    backlight = 0.45 + 0.5 * np.clip(8 * (0.5 - c.y), 0, 1) + 0.35 * np.clip(1 - 3 * np.abs(c.x - 0.5), 0, 1)
    return feel(c, 0.12, 0.88), see(c, backlight, (1.05, 0.97, 0.85), 0.014, glare)


def lit_gateway() -> Look:
    """A bright passage in a dark wall; two men outside it are seen by heat alone."""
    c = Canvas(8, 216, 288)
    paint_land(c, 0.62, (0.08, 0.09, 0.13), (0.34, 0.34, 0.36), 0.3, 0.08)
    paint_building(c, -0.1, 0.06, 1.4, 0.66, (0.42, 0.4, 0.38), 0.26, 0.06)
    inside = c.box(0.44, 0.24, 0.84, 0.7)
    c.paint(inside, tint((0.78, 0.72, 0.58), 1 + 0.1 * np.sin(np.abs(c.x - 0.64) ** 0.5 * 60)), 0.42)
    c.paint(c.cover(0.58 - c.y, c.y - 0.7, np.abs(c.x - 0.64) - 0.1 - 0.83 * (c.y - 0.58)), (0.5, 0.46, 0.4), 0.36)
    for x, foot, height in ((0.6, 0.66, 0.24), (0.2, 0.82, 0.34), (1.08, 0.92, 0.4)):
        paint_person(c, x, foot, height)
    thrown, glare = make_lamps(c, (0.55, 0.28, 0.1, 0.35), (0.73, 0.28, 0.1, 0.35))
    spill = 0.6 * np.clip(1 - np.hypot(c.x - 0.64, 1.6 * (c.y - 0.7)) / 0.45, 0, 1) * (c.y > 0.66)
    return feel(c, 0.0, 1.0), see(c, 0.1 + 0.9 * inside + spill + 0.2 * thrown, (1.0, 0.94, 0.82), 0.03, glare)


def make_scenes() -> Iterator[Look]:
    """All scenes in order, each as its infrared and its visible picture."""
    for make in (
        street_by_day,
        street_at_night,
        smoke_in_the_field,
        car_park,
        house_by_the_wood,
        road_in_fog,
        park_against_the_sun,
        lit_gateway,
    ):
        yield make()
