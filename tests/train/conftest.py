"""A small snapshot with splits, whose pictures say where in the scene a crop lies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.planes import stack
from storage.repository import IMAGES, Draft, ImageChange, create_store, find_head
from storage.schema import OK, PAIRS, SCHEMA_VERSION, SELECTIONS, PairRow, SelectionRow, scores_schema
from storage.tables import to_table, write_table
from train.config import Network

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """One pair of a snapshot for tests."""

    pair_id: str
    split: str = "train"
    height: int = 48
    width: int = 60
    margin: float = 0.1
    has_winner: bool = True
    has_picture: bool = True


@pytest.fixture
def network() -> Network:
    """The smallest networks that have every part."""
    return Network(
        widths=(8, 8),
        layers=1,
        groups=4,
        attention=False,
        dropout=0.0,
        fold=2,
        target="residual",
        predicts="target",
        refiner_width=4,
        refiner_blocks=1,
        refiner_expansion=1.5,
        detach=False,
        steps=2,
    )


@pytest.fixture
def scene() -> type[Scene]:
    """What `publish` takes."""
    return Scene


@pytest.fixture
def draw() -> Callable[[int, int], dict[str, Picture]]:
    """Draws pictures by their size: `a` is the row, `b` (in colour) the column, `winner` (in colour) their mean."""
    return _draw


def _draw(height: int, width: int) -> dict[str, Picture]:
    rows, columns = np.mgrid[:height, :width]
    b, winner = ((one % 256).astype(np.uint8) for one in (columns, (rows + columns) // 2))
    return {"a": (rows % 256).astype(np.uint8), "b": np.dstack([b] * 3), "winner": np.dstack([winner] * 3)}


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., str]:
    """Commits scenes to the store in `tmp_path / "store"`, as a build does; the id of the snapshot."""

    def commit(scenes: Sequence[Scene], without: Sequence[str] = ()) -> str:
        return _publish(str(tmp_path / "store"), scenes, without)

    return commit


def _publish(address: str, scenes: Sequence[Scene], without: Sequence[str]) -> str:
    store = create_store(address)
    draft = Draft(store, find_head(store))
    for one in scenes:
        if one.has_picture:
            planes, names = stack(_draw(one.height, one.width))
            draft.put(IMAGES, one.pair_id, ImageChange(planes, names, {"winner": "average"}))
    rows = [_pair(one) for one in scenes]
    selected = [
        SelectionRow(pair_id=one.pair_id, method="average", content_key="k", value=1.0, margin=one.margin)
        for one in scenes
        if one.has_winner
    ]
    tables = {
        "pairs": to_table(rows, PAIRS).drop_columns(list(without)),
        "scores": to_table([], scores_schema(())),
        "selections": to_table(selected, SELECTIONS),
    }
    references: Mapping[str, object] = {name: write_table(store.files, name, table).to_json() for name, table in tables.items()}
    with draft:
        snapshot_id = draft.commit("for tests", {"schema_version": SCHEMA_VERSION, "tables": references}, {"pairs": len(scenes)})
        draft.publish()
    return snapshot_id


def _pair(one: Scene) -> PairRow:
    return PairRow(
        pair_id=one.pair_id, source="s", task="medical", status=OK, height=one.height, width=one.width, group=one.pair_id, split=one.split
    )
