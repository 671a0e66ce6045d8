"""A small cluster, small pairs, and methods that misbehave."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from distributed import Client
from numpy.typing import NDArray

from flows.build import build
from flows.cluster import open_client
from flows.recipe import Recipe, make_recipe
from prior import registry
from prior.groups import choose_split
from prior.pictures import write_png

HERE = Path(__file__).parent
MakePairs = Callable[..., dict[str, str]]
Ask = Callable[..., Recipe]
WriteScenes = Callable[[Path, Mapping[str, int]], dict[str, str]]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A local cluster of two workers that know the troublesome methods, as this process does while the fixture lives.

    Not for the whole session: tests elsewhere run every registered method.
    """
    with pytest.MonkeyPatch.context() as patch:
        known = set(registry.methods())
        path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        patch.syspath_prepend(str(HERE))
        import troublesome_methods

        with open_client(workers=2) as opened:
            opened.register_plugin(troublesome_methods.KnownToWorkers())
            yield opened
        for name in set(registry._methods) - known:
            del registry._methods[name]
        sys.modules.pop("troublesome_methods", None)


@pytest.fixture
def make_pairs(tmp_path: Path) -> MakePairs:
    """Writes `count` small pairs into two folders and names the folders."""

    def make(count: int = 3, size: tuple[int, int] = (56, 64), first: int = 0, colour: bool = False) -> dict[str, str]:
        for number in range(first, first + count):
            a, b = draw_pair(number, size)
            write_png(tmp_path / "ir" / f"p{number:02d}.png", a)
            write_png(tmp_path / "vis" / f"p{number:02d}.png", cv2.applyColorMap(b, cv2.COLORMAP_AUTUMN) if colour else b)
        return {"a": str(tmp_path / "ir"), "b": str(tmp_path / "vis")}

    (tmp_path / "ir").mkdir()
    (tmp_path / "vis").mkdir()
    return make


@pytest.fixture
def ask(make_pairs: MakePairs) -> Ask:
    """A recipe for three small pairs, with whatever else is said."""
    folders = make_pairs()

    def make(**fields: object) -> Recipe:
        block = folders | {name: fields.pop(name) for name in ("published", "pattern", "resize") if name in fields}
        return make_recipe({"source": [block], "methods": ["average", "maximum", "tif"], **fields})

    return make


def draw_pair(number: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two pictures of one made-up scene: the same edges in opposite contrast, and a warm spot in the first alone."""
    rng = np.random.default_rng(number)
    height, width = size
    scene = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 2)
    scene = (scene - scene.min()) / np.ptp(scene)
    spot = np.zeros((height, width), np.float32)
    cv2.circle(spot, (int(rng.integers(10, width - 10)), int(rng.integers(10, height - 10))), 6, 1.0, -1)
    a = np.clip(0.35 * (1 - scene) + 0.6 * spot, 0, 1)
    b = np.clip(scene + 0.02 * rng.standard_normal((height, width)), 0, 1)
    return (255 * a).astype(np.uint8), (255 * b).astype(np.uint8)


@pytest.fixture(scope="session")
def write_scenes() -> WriteScenes:
    """Writes small pairs of scenes of their own, so many of each split, and says where as a source of a recipe; `b` is in colour."""

    def write(folder: Path, wanted: Mapping[str, int]) -> dict[str, str]:
        left = dict(wanted)
        for number in range(100):
            split = choose_split(f":s{number:02d}")  # every pair is a subject, whose group is named after it
            if left[split]:
                left[split] -= 1
                a, b = draw_pair(number, (56, 64))
                write_png(folder / "ir" / f"s{number:02d}.png", a)
                write_png(folder / "vis" / f"s{number:02d}.png", cv2.applyColorMap(b, cv2.COLORMAP_AUTUMN))
        return {"a": str(folder / "ir"), "b": str(folder / "vis"), "subject": "^(.*)$"}

    return write


@pytest.fixture(scope="module")
def split_store(client: Client, write_scenes: WriteScenes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose newest snapshot, tagged v1, has three pairs to train on, one to validate and two to test; `b` is in colour."""
    folder = tmp_path_factory.mktemp("split")
    block = write_scenes(folder, {"train": 3, "val": 1, "test": 2})
    address = str(folder / "store")
    build(make_recipe({"source": [block], "methods": ["average", "maximum"]}), address, client, tag="v1")
    return address


@pytest.fixture(scope="module")
def trained(split_store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps on `split_store`; not to be changed."""
    from flows.train_student import TrainRequest, train_student

    out = tmp_path_factory.mktemp("trained") / "run"
    train_student(TrainRequest(store=split_store, out=out, steps=2, batch=2, crop=48, device="cpu"))
    return out
