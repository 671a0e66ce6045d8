"""Tests of storage.schema: the tables have the columns of their rows, and reasons in code stand in the lists of reasons."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from storage import schema
from storage.schema import CANDIDATE_REASONS, PAIR_REASONS, PAIRS, SCORES_FIXED, SELECTIONS, PairRow, ScoreRow, SelectionRow

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"str": pa.string(), "int": pa.int32(), "float": pa.float64(), "tuple[str, ...]": pa.list_(pa.string())}
RAISES = {"InputError": PAIR_REASONS, "CandidateError": CANDIDATE_REASONS, "fail": CANDIDATE_REASONS}


@pytest.mark.parametrize(("row", "table"), [(PairRow, PAIRS), (ScoreRow, SCORES_FIXED), (SelectionRow, SELECTIONS)])
def test_a_table_has_exactly_the_fields_of_its_row(row: type, table: pa.Schema) -> None:
    named = {one.name: one.type if isinstance(one.type, str) else getattr(one.type, "__name__", "") for one in dataclasses.fields(row)}
    named |= {one.name: "tuple[str, ...]" for one in dataclasses.fields(row) if one.name == "flags"}
    named.pop("scores", None)
    assert {one.name: one.type for one in table} == {name: TYPES[kind] for name, kind in named.items()}
    assert table.names == list(named)


def test_a_scores_table_ends_with_its_metrics() -> None:
    table = schema.scores_schema(("vif", "ssim"))
    assert table.names == [*SCORES_FIXED.names, "vif", "ssim"]
    assert table.field("vif").type == pa.float64()
    assert schema.metric_columns(table) == ("vif", "ssim")


def test_a_record_is_flat() -> None:
    row = ScoreRow(pair_id="p", method="m", version="1", content_key="k", status="ok", scores={"vif": 0.5})
    record = schema.to_record(row)
    assert record["vif"] == 0.5
    assert "scores" not in record
    assert set(record) == {*SCORES_FIXED.names, "vif"}


def test_rows_are_frozen() -> None:
    row = SelectionRow(pair_id="p", method="m", content_key="k", value=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.value = 2.0  # type: ignore[misc]


def test_every_reason_in_the_code_is_explained() -> None:
    codes = [(path.name, name, code) for path in find_modules() for name, code in find_codes(path)]
    assert {code for _, _, code in codes} >= {"size_mismatch", "wrong_size", "timeout"}  # the walk finds what it should
    assert [one for one in codes if one[2] not in RAISES[one[1]]] == []


def test_every_explained_reason_is_in_the_code() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in find_modules() if path.name != "schema.py"]
    literals = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    literals |= {schema.EXCLUDED, schema.NO_CANDIDATE, schema.MISSING}  # named constants
    assert {*PAIR_REASONS, *CANDIDATE_REASONS} - literals == set()


def find_modules() -> list[Path]:
    """Every module of the packages."""
    return [path for package in ("prior", "flows", "storage") for path in sorted((ROOT / package).rglob("*.py"))]


def find_codes(path: Path) -> Iterator[tuple[str, str]]:
    """The reason codes given as literal second arguments to what makes errors and failed rows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            code = node.args[1]
            if name in RAISES and isinstance(code, ast.Constant) and isinstance(code.value, str):
                yield name, code.value
