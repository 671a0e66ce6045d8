"""The example pairs of the project: made on the spot from fixed seeds, nothing downloaded.

Infrared-visible scenes and head phantoms are drawn; multi-focus and multi-exposure pairs start from photographs inside the scikit-image
wheel, which are then their truth. Blur and exposure act on linear light, as in a camera.
"""

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage

from prior.arrays import Picture
from prior.example_heads import make_mri_ct, make_mri_pet
from prior.example_scenes import Field, make_noise, make_scenes, to_picture
from prior.pairs import Source
from storage.errors import InputError

GAMMA = 2.2
LICENCES = {
    "infrared-visible": "MIT (made by fusion-prior)",
    "medical": "MIT (made by fusion-prior)",
    "multi-focus": "photographs in scikit-image: coffee CC0 (Rachel Michetti), camera CC0 (Lav Varshney), chelsea CC0 (Stefan van der "
    "Walt), coins and ihc without known copyright restrictions (Brooklyn Museum, CMMI)",
    "multi-exposure": "photographs in scikit-image: astronaut public domain (NASA), rocket public domain (SpaceX), retina CC0 (Mikael "
    "Häggström), coffee CC0 (Rachel Michetti), brick CC0 (cc0textures.com)",
}
"""By task; those of the photographs as the documentation of `skimage.data` states them."""

CAMERAMAN = (
    *((0, 512), (0, 255), (40, 190), (65, 140), (105, 122), (150, 108), (165, 75), (205, 63), (250, 78), (270, 100), (270, 138)),
    *((320, 138), (325, 165), (330, 190), (318, 205), (298, 215), (300, 300), (330, 299), (335, 308), (310, 322), (405, 512)),
    *((385, 512), (300, 345), (294, 485), (256, 478), (240, 512), (226, 512), (280, 330), (272, 312), (242, 316), (209, 302)),
    *((156, 378), (160, 512)),
)
"""The outline of the man and his camera in `camera.png`."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the whole photograph."""

Truth = tuple[Picture, Picture, Picture]
"""Two pictures and the photograph that both were made from."""


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
        """The name of the source it belongs to: its task, or for medical pairs their modalities."""
        return f"{self.a_modality}-{self.b_modality}" if self.task == "medical" else self.task


def load_photograph(name: str, box: Box, shrink: int) -> Picture:
    """A part of a photograph of the installed scikit-image, reduced by a whole number; never downloads.

    Raises:
        InputError: the installed scikit-image does not hold it.
    """
    file = files("skimage") / "data" / name
    if not file.is_file():
        raise InputError(f"the example photograph {name} is not inside the installed scikit-image; install scikit-image 0.26", "unreadable")
    with Pillow.open(io.BytesIO(file.read_bytes())) as opened:
        return np.asarray(opened.crop(box).reduce(shrink))


def to_light(photograph: Picture) -> Field:
    """A photograph as linear light, `(H, W, C)`."""
    return np.asarray((np.atleast_3d(photograph) / 255) ** GAMMA)


def to_photograph(light: Field) -> Picture:
    """Linear light as a photograph, colour or grey as it came."""
    picture = to_picture(np.clip(light, 0, 1) ** (1 / GAMMA))
    return picture if picture.shape[2] == 3 else picture[:, :, 0]


def defocus(light: Field, radius: float) -> Field:
    """Linear light `(H, W, C)` behind an open lens: the mean over a disc of `radius` pixels."""
    reach = np.arange(-int(radius + 1), int(radius + 1) + 1)
    disc = np.clip(radius + 0.5 - np.hypot(reach[:, None], reach), 0, 1)
    return np.asarray(ndimage.convolve(light, disc[:, :, None] / disc.sum(), mode="nearest"))


def extend(light: Field, mask: Field, reach: float) -> Field:
    """What lies under the mask, smoothly continued beyond its edge: an open lens sees a little behind the edge of a nearer object."""
    size = (reach, reach, 0)
    spread = ndimage.gaussian_filter(light * mask, size) / np.maximum(ndimage.gaussian_filter(mask, size), 1e-6)
    extended: Field = mask * light + (1 - mask) * spread
    return extended


def focus_edges(truth: Picture, near: Field, radius: float) -> Truth:
    """Focus on the objects under the mask, then behind them; the blur of an object spreads over what is behind it, never back."""
    light, near = to_light(truth), near[:, :, None]
    back, front, veil = extend(light, 1 - near, radius), extend(light, near, radius), defocus(near, radius)
    on_front = near * light + (1 - near) * defocus(back, radius)
    on_back = veil * defocus(front, radius) + (1 - veil) * back
    return to_photograph(on_front), to_photograph(on_back), truth


def focus_surface(truth: Picture, depth: Field, radius: int) -> Truth:
    """Focus on the near part of a surface (depth below 0), then on the rest: the blur grows with the distance, up to `radius` at 1."""
    stack = [defocus(to_light(truth), step) for step in range(radius + 1)]

    def blur(radii: Field) -> Picture:
        layers = (np.clip(1 - np.abs(radii - step), 0, 1)[:, :, None] * layer for step, layer in enumerate(stack))
        return to_photograph(np.sum(list(layers), axis=0))

    return blur(radius * np.clip(depth, 0, 1)), blur(radius * np.clip(-depth, 0, 1)), truth


def draw_shapes(truth: Picture, box: Box, *shapes: tuple[tuple[int, int], ...]) -> Field:
    """The mask of shapes in pixels of the whole photograph: two points span an ellipse, more are a polygon."""
    fine = 4  # drawn larger and averaged, so that edges are smooth
    canvas = Pillow.new("L", (truth.shape[1] * fine, truth.shape[0] * fine))
    pen, scale = ImageDraw.Draw(canvas), canvas.width / (box[2] - box[0])
    for shape in shapes:
        points = [((x - box[0]) * scale, (y - box[1]) * scale) for x, y in shape]
        (pen.ellipse if len(points) == 2 else pen.polygon)(points, fill=255)
    return np.asarray(canvas.reduce(fine)) / 255


def expose_twice(truth: Picture, stops: float, unevenness: float, seed: int) -> Truth:
    """Too short and too long an exposure, `stops` below and above, of the photograph under light that varies by `unevenness` stops."""
    rng = np.random.default_rng(seed)
    light = to_light(truth) * 2 ** (unevenness * make_noise(rng, truth.shape[:2], max(truth.shape)))[:, :, None]
    return expose(rng, light, -stops), expose(rng, light, stops), truth


def expose(rng: np.random.Generator, light: Field, stops: float) -> Picture:
    """Linear light through a camera: exposure, shot and read noise, clipping, and a response with a soft toe and shoulder."""
    signal = light * 2**stops
    signal = signal + (0.01 * np.sqrt(signal) + 0.001) * rng.standard_normal(signal.shape)
    tone = np.clip(signal, 0, 1) ** (1 / GAMMA)
    return to_photograph((0.6 * tone + 0.4 * tone**2 * (3 - 2 * tone)) ** GAMMA)


def make_multi_focus() -> Iterator[Truth]:
    """A cup on a table, a man before a lawn, tilted coins, a cat from the nose to the ears, cells in a thick slice."""
    box = (30, 0, 570, 398)
    cup = load_photograph("coffee.png", box, 2)
    rim, saucer, spoon = ((172, 16), (412, 210)), ((79, 70), (477, 386)), ((400, 66), (424, 66), (424, 140), (380, 140))
    yield focus_edges(cup, draw_shapes(cup, box, rim, saucer, spoon), 4.5)
    box = (0, 40, 420, 510)
    man = load_photograph("camera.png", box, 2)
    yield focus_edges(man, draw_shapes(man, box, CAMERAMAN), 4)
    coins = load_photograph("coins.png", (40, 10, 345, 291), 1)
    yield focus_surface(coins, np.linspace(1.4, -1.4, coins.shape[0])[:, None] + np.zeros(coins.shape), 6)
    cat = load_photograph("chelsea.png", (110, 10, 401, 297), 1)
    y, x = np.mgrid[: cat.shape[0], : cat.shape[1]]
    yield focus_surface(cat, np.hypot(x - 165, y - 225) / 100 - 1, 6)
    cells = load_photograph("ihc.png", (20, 60, 500, 444), 2)
    depth = make_noise(np.random.default_rng(43), cells.shape[:2], 120)
    yield focus_edges(cells, ndimage.gaussian_filter((depth > 0).astype(np.float64), 1), 3.5)


def make_multi_exposure() -> Iterator[Truth]:
    """A portrait, a launch pad at dusk, the back of an eye, a spoon on a wooden table, a wall half in the sun."""
    yield expose_twice(load_photograph("astronaut.png", (0, 0, 400, 512), 2), 2.5, 0.5, 51)
    yield expose_twice(load_photograph("rocket.jpg", (100, 10, 640, 427), 2), 3.0, 0.4, 52)
    yield expose_twice(load_photograph("retina.jpg", (80, 100, 1330, 1300), 5), 2.8, 0.6, 53)
    yield expose_twice(load_photograph("coffee.png", (299, 160, 600, 400), 1), 2.6, 0.8, 54)
    yield expose_twice(load_photograph("brick.png", (12, 20, 512, 482), 2), 2.8, 1.2, 55)


def make_examples() -> Iterator[Example]:
    """Every example pair in order; the same pixels on every call."""
    for number, (a, b) in enumerate(make_scenes(), 1):
        yield Example(f"scene_{number:02}", "infrared-visible", a, b, "infrared", "visible", None)
    for number, (a, b) in enumerate(make_mri_ct(), 1):
        yield Example(f"head_{number:02}", "medical", a, b, "mri", "ct", None)
    for number, (a, b) in enumerate(make_mri_pet(), 5):
        yield Example(f"head_{number:02}", "medical", a, b, "mri", "pet", None)
    for number, (a, b, truth) in enumerate(make_multi_focus(), 1):
        yield Example(f"focus_{number:02}", "multi-focus", a, b, "near_focus", "far_focus", truth)
    for number, (a, b, truth) in enumerate(make_multi_exposure(), 1):
        yield Example(f"exposure_{number:02}", "multi-exposure", a, b, "under_exposed", "over_exposed", truth)


def write_examples(folder: Path) -> tuple[Source, ...]:
    """Write all example pairs as `folder/<source>/<modality>/<pair_id>.png`, truths under `truth`, and name their sources.

    Files whose bytes are already right stay untouched; a broken one is replaced in one step, so that an interruption leaves no half file.

    Args:
        folder: made if it is not there.

    Returns:
        One source per kind of pair, in order.
    """
    sources: dict[str, Source] = {}
    for example in make_examples():
        home = folder / example.source
        pictures = {example.a_modality: example.a, example.b_modality: example.b, "truth": example.truth}
        for modality, picture in pictures.items():
            if picture is not None:
                write_picture(home / modality / f"{example.pair_id}.png", picture)
        sources[example.source] = Source(
            name=example.source,
            task=example.task,
            a=home / example.a_modality,
            b=home / example.b_modality,
            licence=LICENCES[example.task],
        )
    return tuple(sources.values())


def write_picture(path: Path, picture: Picture) -> None:
    """Write a PNG unless the file holds exactly these bytes already; whoever reads it sees the old file or the new one."""
    encoded = io.BytesIO()
    Pillow.fromarray(picture).save(encoded, "PNG")
    if path.is_file() and path.read_bytes() == encoded.getvalue():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(encoded.getvalue())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
