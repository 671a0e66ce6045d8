"""A small store with one snapshot, v1, what another build of it, v2, must end with, and how the contents of two snapshots are compared."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from distributed import Client

from flows.build import build
from flows.cluster import open_client
from flows.recipe import Recipe, make_recipe
from prior.pictures import write_png
from storage.files import hash_bytes
from storage.snapshot import Snapshot

HERE = Path(__file__).parent
Content = dict[str, Any]
OLD = {"methods": ["average", "tif"]}
NEW = {"methods": ["average", "maximum", "tif", "laplacian_pyramid"], "criterion": "balanced", "keep": "all"}
"""What v1 and v2 ask for; the second one as build_again.py does."""


@dataclass(frozen=True)
class Ready:
    """What every test begins with; not to be changed.

    Attributes:
        store: a folder with the snapshot v1.
        a, b: the folders of the pictures, one pair of which v1 does not know.
        old: the content of v1.
    """

    store: Path
    a: Path
    b: Path
    old: Content

    def ask(self, **fields: object) -> Recipe:
        """A recipe for the pictures, which asks for v2 unless something else is said."""
        return make_recipe({"source": [{"a": str(self.a), "b": str(self.b)}], **(NEW | fields)})

    def copy_to(self, folder: Path) -> str:
        """A store like this one, to do anything with."""
        return str(shutil.copytree(self.store, folder))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for every kill, so that each is told by itself."""
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(metafunc.config.getoption("--kills")))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of two workers, for builds that nobody disturbs."""
    with open_client(workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def ready(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A store with v1, and the pictures for v2."""
    folder = tmp_path_factory.mktemp("ready")
    a, b, store = folder / "ir", folder / "vis", folder / "store"
    for number in range(4):
        if number == 3:
            build(make_recipe({"source": [{"a": str(a), "b": str(b)}], **OLD}), str(store), client, tag="v1")
        rng = np.random.default_rng(number)
        for side in (a, b):
            write_png(side / f"p{number}.png", cv2.GaussianBlur(rng.integers(0, 256, (56, 64), np.uint8), (0, 0), 1.5))
    return Ready(store, a, b, _read_content(str(store), "v1"))


@pytest.fixture(scope="session")
def read_content() -> Callable[[str, str], Content]:
    """Reads all that a snapshot holds, but for times and places: equal builds have equal contents."""
    return _read_content


@pytest.fixture
def run_commands(tmp_path: Path) -> Callable[..., list[tuple[int, str, str]]]:
    """Runs commands of the command line in a process of its own: the exit status, stdout and stderr of each."""

    def run(*commands: Sequence[object], before: Callable[[], None] | None = None) -> list[tuple[int, str, str]]:
        lines = "".join(json.dumps(list(map(str, one))) + "\n" for one in commands)
        pipe = {"capture_output": True, "text": True, "cwd": tmp_path, "env": os.environ | {"COLUMNS": "200"}, "check": False}
        done = subprocess.run([sys.executable, str(HERE / "run_commands.py")], input=lines, preexec_fn=before, **pipe)
        assert done.returncode == 0, done.stderr
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    return run


def _read_content(address: str, version: str) -> Content:
    snapshot = Snapshot(address, version)
    tables = {name: snapshot.table(name) for name in ("pairs", "scores", "selections")}
    tables["scores"] = tables["scores"].drop_columns(["seconds", "judge_seconds"])
    pair_ids = tables["selections"]["pair_id"].to_pylist()
    candidates = [pair_id for pair_id in pair_ids if snapshot.manifest["recipe"]["keep"] == "all"]
    return {
        **{name: [str(row) for row in table.to_pylist()] for name, table in tables.items()},  # as text, for nan is not nan
        "manifest": {name: part for name, part in snapshot.manifest.items() if name != "tables"},
        "images": {pair_id: snapshot.image_hash(pair_id) for pair_id in pair_ids},
        "candidates": {pair_id: hash_bytes(snapshot.candidate_planes(pair_id)[0].tobytes()) for pair_id in candidates},
    }
