"""Stores in a folder and on an S3 server, and a small snapshot to put into them."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.files import Files, parse_location
from storage.planes import stack
from storage.repository import CANDIDATES, IMAGES, Draft, ImageChange, Store, create_store, find_head
from storage.schema import FAILED, OK, PAIRS, SELECTIONS, PairRow, ScoreRow, SelectionRow, scores_schema
from storage.tables import to_table, write_table

METRICS = ("ssim", "vif")
Picture = NDArray[np.uint8]


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet: in a folder, and on an S3 server."""
    return str(tmp_path / "store") if request.param == "folder" else str(request.getfixturevalue("s3_address"))


@pytest.fixture
def files(address: str) -> Files:
    """The files of a store, in a folder and on an S3 server."""
    return Files(parse_location(address))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new store in a folder."""
    return create_store(str(tmp_path / "store"))


@pytest.fixture
def draw() -> Callable[..., dict[str, Picture]]:
    """Draws the pictures of a pair: two grey sources and a winner in colour, the same ones for the same id and seed."""
    return _draw


def _draw(pair_id: str, seed: int = 0) -> dict[str, Picture]:
    rng = np.random.default_rng([seed, zlib.crc32(pair_id.encode())])
    height, width = 12 + len(pair_id) % 5, 17
    shapes = {"a": (height, width), "b": (height, width), "winner": (height, width, 3)}
    return {name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}


@pytest.fixture
def put() -> Callable[..., None]:
    """Puts the pictures that `draw` draws for a pair into a draft."""
    return _put


def _put(draft: Draft, pair_id: str, seed: int = 0) -> None:
    planes, names = stack(_draw(pair_id, seed))
    draft.put(IMAGES, pair_id, ImageChange(planes, names, {"winner": "average", "pair_hash": f"hash of {pair_id}"}))


@pytest.fixture
def publish() -> Callable[..., str]:
    """Commits pairs with their pictures, candidates and tables, as a build does; a pair has an `average` and a failed `gff`."""
    return _publish


def _publish(store: Store, pair_ids: Sequence[str], seed: int = 0) -> str:
    draft = Draft(store, find_head(store))
    for pair_id in pair_ids:
        _put(draft, pair_id, seed)
        planes, names = stack({"average": _draw(pair_id, seed)["winner"]})
        draft.put(CANDIDATES, pair_id, ImageChange(planes, names, {"content_keys": [f"average/{pair_id}", f"gff/{pair_id}"]}))
    scores = [row for number, pair_id in enumerate(pair_ids) for row in _score(pair_id, number, seed)]
    references = {
        "pairs": write_table(
            store.files, "pairs", to_table([PairRow(pair_id=one, source="s", task="medical", status=OK) for one in pair_ids], PAIRS)
        ),
        "scores": write_table(store.files, "scores", to_table(scores, scores_schema(METRICS))),
        "selections": write_table(store.files, "selections", to_table([_select(one, seed) for one in pair_ids], SELECTIONS)),
    }
    manifest = {"seed": seed, "tables": {name: reference.to_json() for name, reference in references.items()}}
    with draft:
        snapshot_id = draft.commit(f"{len(pair_ids)} pairs", manifest, {"pairs": len(pair_ids)})
        draft.publish()
    return snapshot_id


def _score(pair_id: str, number: int, seed: int) -> tuple[ScoreRow, ScoreRow]:
    scores = {"ssim": 1 + seed + number / 8, "vif": float("nan")}
    average = ScoreRow(
        pair_id=pair_id, method="average", version="1", content_key=f"average/{pair_id}", status=OK, seconds=0.5, scores=scores
    )
    gff = ScoreRow(pair_id=pair_id, method="gff", version="1", content_key=f"gff/{pair_id}", status=FAILED, reason="raised", message="no")
    return average, gff


def _select(pair_id: str, seed: int) -> SelectionRow:
    return SelectionRow(pair_id=pair_id, method="average", content_key=f"average/{pair_id}", value=1.0 + seed)
