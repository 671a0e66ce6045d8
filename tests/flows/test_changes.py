"""What changed between two snapshots: winners that came, went, or are others."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest

from flows.changes import Changes, compare_winners
from storage.schema import SELECTIONS, SelectionRow
from storage.snapshot import Snapshot
from storage.tables import to_table


@dataclass(frozen=True)
class Selected:
    """In place of a snapshot: what was selected in it."""

    rows: Sequence[SelectionRow]

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        assert name == "selections"
        return to_table(self.rows, SELECTIONS).select(columns or SELECTIONS.names)


def select(value: float = 1.0, **winners: str) -> Selected:
    """Winners by pair, as `method:image`."""
    split = {pair_id: winner.split(":") for pair_id, winner in winners.items()}
    return Selected(
        [
            SelectionRow(pair_id=pair_id, method=method, content_key=f"key {value}", value=value, image_hash=image)
            for pair_id, (method, image) in split.items()
        ]
    )


BEFORE = select(p="tif:1", q="tif:2", r="gff:3", s="gff:4")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, Changes(0, 0, 0, 4)),
        (select(2.0, s="gff:4", p="tif:1", q="tif:2", r="gff:3"), Changes(0, 0, 0, 4)),  # another score alone is no other image
        (select(p="tif:1", q="tif:2", r="gff:3", s="gff:4", t="tif:5"), Changes(1, 0, 0, 5)),
        (select(p="tif:1", q="tif:2", r="gff:3"), Changes(0, 1, 0, 3)),
        (select(p="gff:1", q="tif:2", r="gff:3", s="gff:4"), Changes(0, 0, 1, 4)),
        (select(p="tif:9", q="gff:8", r="gff:3", s="gff:4"), Changes(0, 0, 2, 4)),
        (select(p="tif:9", q="tif:2", t="gff:3"), Changes(1, 2, 1, 3)),
        (select(), Changes(0, 4, 0, 0)),
    ],
)
def test_winners_come_go_and_are_replaced(after: Selected, expected: Changes) -> None:
    assert compare_winners(BEFORE, after) == expected  # type: ignore[arg-type]


def test_beside_nothing_everything_is_new() -> None:
    changes = compare_winners(None, BEFORE)  # type: ignore[arg-type]
    assert changes == Changes(4, 0, 0, 4) and changes.share == 1


def test_a_share_is_of_all_pairs_that_have_a_winner_in_either() -> None:
    changes = compare_winners(BEFORE, select(p="tif:9", q="tif:2", t="gff:3"))  # type: ignore[arg-type]
    assert (changes.changed, changes.share) == (4, 4 / 5)
    assert str(changes) == "4 of 5 winners changed (1 new, 2 gone, 1 replaced)"
    assert compare_winners(BEFORE, select(w="tif:1")).share == 1  # type: ignore[arg-type]
    assert compare_winners(BEFORE, BEFORE).share == 0  # type: ignore[arg-type]
    assert compare_winners(None, select()).share == 0  # type: ignore[arg-type]


def test_a_built_snapshot_equals_itself_and_is_all_new_beside_nothing(split_store: str) -> None:
    snapshot = Snapshot(split_store)
    assert compare_winners(snapshot, Snapshot(split_store, "v1")) == Changes(0, 0, 0, 6)
    assert compare_winners(None, snapshot) == Changes(6, 0, 0, 6)
    assert all(image for _, image in (row.values() for row in snapshot.table("selections", ["method", "image_hash"]).to_pylist()))
