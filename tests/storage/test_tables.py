"""Tests of storage.tables: rows to Parquet and back, named after their hash and checked by it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import SchemaMismatch, StoreError
from storage.files import Files, parse_location
from storage.schema import PAIRS, SELECTIONS, PairRow, ScoreRow, SelectionRow, scores_schema
from storage.tables import (
    TableReference,
    parse_table,
    read_table,
    to_bytes,
    to_pair_rows,
    to_score_rows,
    to_selection_rows,
    to_table,
    write_table,
)

Row = PairRow | ScoreRow | SelectionRow
METRICS = ("ssim", "vif")
ROOT = Path(__file__).resolve().parents[2]
BACK: dict[type[Row], tuple[pa.Schema, Callable[[pa.Table], list[Any]]]] = {
    PairRow: (PAIRS, to_pair_rows),
    ScoreRow: (scores_schema(METRICS), to_score_rows),
    SelectionRow: (SELECTIONS, to_selection_rows),
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
COLUMNS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**31), 2**31 - 1),
    float: st.floats(),
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    dict[str, float]: st.dictionaries(st.sampled_from(METRICS), st.floats()),
}
ROWS: dict[type[Row], st.SearchStrategy[Any]] = {
    row: st.builds(row, **{one.name: COLUMNS[one.type] for one in fields(row)}) for row in BACK
}


@pytest.fixture
def local(tmp_path: Path) -> Files:
    """The files of a store in a folder."""
    return Files(parse_location(str(tmp_path)))


@pytest.fixture
def table() -> pa.Table:
    """Three selections."""
    rows = [SelectionRow(pair_id=f"pair {number}", method="gff", content_key="k", value=number / 3, margin=0.1) for number in range(3)]
    return to_table(rows, SELECTIONS)


@given(st.data(), st.sampled_from(list(BACK)))
def test_rows_come_back_as_they_were(drawn: st.DataObject, row: type[Row]) -> None:
    rows = drawn.draw(st.lists(ROWS[row], max_size=4))
    schema, back = BACK[row]
    table = pq.read_table(pa.BufferReader(to_bytes(to_table(rows, schema))))
    assert table.schema.equals(schema)
    assert list(map(describe, back(table))) == list(map(describe, rows))  # as text, since nan is not equal to itself


def describe(row: Row) -> str:
    """A row as text, its scores in the order of their names."""
    scores = sorted(row.scores.items()) if isinstance(row, ScoreRow) else []
    return f"{[getattr(row, one.name) for one in fields(row) if one.name != 'scores']} {scores}"


def test_an_undefined_score_stays_and_a_missing_one_stays_out() -> None:
    row = ScoreRow(pair_id="p", method="m", version="1", content_key="k", status="ok", scores={"vif": float("nan")})
    table = to_table([row], scores_schema(METRICS))
    assert table["ssim"].null_count == 1
    assert table["vif"].null_count == 0
    assert str(to_score_rows(table)[0].scores) == "{'vif': nan}"


@pytest.mark.parametrize("row", list(BACK))
def test_an_empty_table_keeps_its_columns(files: Files, row: type[Row]) -> None:
    schema, back = BACK[row]
    reference = write_table(files, "empty", to_table([], schema))
    table = read_table(files, reference)
    assert reference.rows == table.num_rows == 0
    assert table.schema.equals(schema)
    assert back(table) == []


def test_a_table_comes_back_from_its_reference(files: Files, table: pa.Table) -> None:
    reference = write_table(files, "selections", table)
    assert reference == TableReference(f"tables/selections-{reference.sha256[:16]}.parquet", reference.sha256, 3)
    assert TableReference(**json.loads(json.dumps(reference.to_json()))) == reference
    assert read_table(files, reference).equals(table)
    assert read_table(files, reference, ["value", "method"]).column_names == ["value", "method"]


def test_equal_tables_give_equal_bytes(table: pa.Table) -> None:
    again = pa.Table.from_pylist(table.to_pylist(), schema=table.schema)
    assert to_bytes(again) == to_bytes(table)
    assert to_bytes(table.slice(1)) != to_bytes(table)


def test_the_same_table_is_not_written_again(local: Files, table: pa.Table, tmp_path: Path) -> None:
    first = write_table(local, "selections", table)
    inode = (tmp_path / first.path).stat().st_ino
    assert write_table(local, "selections", table) == first
    assert (tmp_path / first.path).stat().st_ino == inode
    assert write_table(local, "selections", table.slice(1)).path != first.path


def test_a_damaged_file_is_written_again(local: Files, table: pa.Table) -> None:
    reference = write_table(local, "selections", table)
    local.write(reference.path, local.read(reference.path)[:-1])
    assert write_table(local, "selections", table) == reference
    assert read_table(local, reference).equals(table)


def truncate(content: bytes) -> bytes:
    """All but the last byte."""
    return content[:-1]


def flip(content: bytes) -> bytes:
    """One bit in the middle turned."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def empty(_: bytes) -> bytes:
    """Nothing."""
    return b""


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_file_is_refused(files: Files, table: pa.Table, damage: Callable[[bytes], bytes]) -> None:
    reference = write_table(files, "selections", table)
    files.write(reference.path, damage(files.read(reference.path)))
    sentence = f"{reference.path} has sha256 .*committed with {reference.sha256[:16]}…; restore the file from a backup"
    with pytest.raises(SchemaMismatch, match=sentence):
        read_table(files, reference)


def test_a_file_of_another_table_is_refused(local: Files, table: pa.Table) -> None:
    reference, other = write_table(local, "selections", table), write_table(local, "selections", table.slice(1))
    local.write(reference.path, local.read(other.path))
    with pytest.raises(SchemaMismatch):
        read_table(local, reference)


def test_a_file_that_is_gone_is_told(files: Files, table: pa.Table) -> None:
    reference = write_table(files, "selections", table)
    files.delete(reference.path)
    with pytest.raises(StoreError, match=f"{reference.path} is missing in .*; restore the file from a backup"):
        read_table(files, reference)


def test_a_process_that_reads_a_table_and_ends_is_not_aborted(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(to_bytes(pa.table({"number": list(range(1000)), "name": ["x"] * 1000})))
    code = f"from {parse_table.__module__} import parse_table; parse_table(open({str(tmp_path / 't.parquet')!r}, 'rb').read())"
    # one in three of those ended with signal 6 that read from Python's own bytes
    assert [subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode for _ in range(12)] == [0] * 12
