"""Parquet tables: rows to Arrow, Arrow to a file named after its own hash, and back with the hash checked."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import SchemaMismatch, StoreError
from storage.files import Files, hash_bytes
from storage.schema import PairRow, ScoreRow, SelectionRow, metric_columns, to_record

FOLDER = "tables"
_REMEDY = "restore the file from a backup, or build into another store"


@dataclass(frozen=True, slots=True)
class TableReference:
    """Which file holds a table of a snapshot."""

    path: str
    sha256: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return asdict(self)


def to_table(rows: Iterable[PairRow | ScoreRow | SelectionRow], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of exactly this schema."""
    return pa.Table.from_pylist([to_record(row) for row in rows], schema=schema)


def to_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def write_table(files: Files, name: str, table: pa.Table) -> TableReference:
    """Write a table under the hash of its bytes; one that is there already, whole, is not written again."""
    content = to_bytes(table)
    digest = hash_bytes(content)
    path = f"{FOLDER}/{name}-{digest[:16]}.parquet"
    if not files.exists(path) or files.read(path) != content:
        files.write(path, content)
    return TableReference(path, digest, table.num_rows)


def read_table(files: Files, reference: TableReference, columns: Sequence[str] | None = None) -> pa.Table:
    """A snapshot's table, after a check of its hash.

    Raises:
        StoreError: the file is gone.
        SchemaMismatch: the file is not the one the snapshot was committed with.
    """
    try:
        content = files.read(reference.path)
    except FileNotFoundError:
        raise StoreError(f"{reference.path} is missing in {files.location.address}; {_REMEDY}") from None
    digest = hash_bytes(content)
    if digest != reference.sha256:
        raise SchemaMismatch(
            f"{reference.path} has sha256 {digest[:16]}…, the snapshot was committed with {reference.sha256[:16]}…; {_REMEDY}"
        )
    return parse_table(content, columns)


def parse_table(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The bytes of a Parquet file as a table; page checksums, where it has any, are compared.

    Raises:
        Exception: anything at all, where the file is damaged.
    """
    # In memory of Arrow's own: one of its threads may let go of the bytes as late as when Python ends, and if they are Python's, that
    # thread asks for the interpreter, which is gone, and the whole process is aborted (signal 6).
    memory = pa.allocate_buffer(len(content))
    memoryview(memory).cast("B")[:] = content
    return pq.ParquetFile(pa.BufferReader(memory), page_checksum_verification=True).read(columns)


def to_score_rows(table: pa.Table) -> list[ScoreRow]:
    """The rows of a scores table, in its order; a metric of a failed row is left out."""
    names = metric_columns(table.schema)
    return [_to_score_row(record, names) for record in table.to_pylist()]


def _to_score_row(record: dict[str, Any], names: Sequence[str]) -> ScoreRow:
    scores = {name: record.pop(name) for name in names}
    record["flags"] = tuple(record["flags"])
    return ScoreRow(**record, scores={name: number for name, number in scores.items() if number is not None})


def to_selection_rows(table: pa.Table) -> list[SelectionRow]:
    """The rows of a selections table, in its order."""
    return [SelectionRow(**(record | {"flags": tuple(record["flags"])})) for record in table.to_pylist()]


def to_pair_rows(table: pa.Table) -> list[PairRow]:
    """The rows of a pairs table, in its order."""
    return [PairRow(**(record | {"flags": tuple(record["flags"])})) for record in table.to_pylist()]
