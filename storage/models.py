"""The registry of models: which student is the champion, how it came to that, and the weights of all that ever were.

    models/registry.parquet                     one row per decision, the oldest first: `schema.ModelRow`
    models/<student>/student.safetensors        the weights of a student, which is named after their sha256
                     checkpoint.json            what that student is

The table is small, and every decision replaces the whole file under the lock `models`. Weights are written before the row that names
them: who is killed in between leaves a folder that nothing names, which the same student fills again.
"""

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import CommitConflict, InputError, SchemaMismatch, StoreError
from storage.files import Files, hash_bytes
from storage.locks import hold_lock
from storage.schema import DECISIONS, KEPT, MODELS, MODELS_VERSION, ROLLED_BACK, ModelRow, to_record
from storage.tables import parse_table

FOLDER = "models"
REGISTRY = f"{FOLDER}/registry.parquet"
LOCK = "models"
WEIGHTS, FACTS = "student.safetensors", "checkpoint.json"
KEPT_FILES = (WEIGHTS, FACTS)  # in the order they are written: with the facts a folder is whole
_VERSION = b"models_version"
_DIGITS = 16  # of the sha256, as in the version of a student's method


def read_models(files: Files) -> tuple[ModelRow, ...]:
    """Every decision, the oldest first; none where nothing has been decided yet.

    Raises:
        SchemaMismatch: the registry is damaged, or of another version.
        StoreError: it cannot be read.
    """
    try:
        content = files.read(REGISTRY)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"{_name(files)} cannot be read ({_brief(error)}); check your rights to it") from error
    return tuple(_to_row(record) for record in _parse(files, content))


def append_model(files: Files, row: ModelRow, expected: str) -> ModelRow:
    """Add a decision to the registry.

    Args:
        files: of the store.
        row: the decision; its number and time are filled in here.
        expected: the champion that the decision was made about; "" for none.

    Returns:
        The row as it was written.

    Raises:
        CommitConflict: somebody else has changed the champion since.
        InputError: the row contradicts itself.
        SchemaMismatch, StoreError: see `read_models`; or the store cannot be written.
    """
    if row.decision not in DECISIONS or (row.decision == KEPT and row.champion != expected):
        raise InputError(
            f"the decision {row.decision!r} that makes {row.champion!r} champion after {expected!r} cannot be; "
            f"expected one of {', '.join(DECISIONS)}, and {KEPT!r} to leave the champion as it is"
        )
    with hold_lock(files, LOCK, "a decision about the champion"):
        rows = read_models(files)
        found = find_champion(rows)
        if found != expected:
            raise CommitConflict(
                f"the champion in {files.location.address} is {found or 'nobody'} now, and the decision was made about "
                f"{expected or 'nobody'}: somebody else decided in between; nothing was changed, run the same command again"
            )
        numbered = replace(row, number=len(rows) + 1, time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        _write(files, REGISTRY, _pack((*rows, numbered)))
    return numbered


def find_champion(rows: Sequence[ModelRow]) -> str:
    """The student in force after these decisions; "" where there is none."""
    return rows[-1].champion if rows else ""


def find_former(rows: Sequence[ModelRow]) -> tuple[str, ...]:
    """The champions one can go back to, the latest first.

    A promotion puts a champion on top of the others, and going back takes off what lies above the one gone back to: twice back is two
    back, and what was left behind is not come upon again.
    """
    stack: list[str] = []
    for row in rows:
        if row.decision == ROLLED_BACK and row.champion in stack:
            while stack[-1] != row.champion:
                stack.pop()
        elif row.decision != KEPT:
            stack.append(row.champion)
    return tuple(reversed(stack[:-1]))


def name_student(digest: str) -> str:
    """The name of the student whose weights have this sha256."""
    return digest[:_DIGITS]


def keep_student(files: Files, contents: Mapping[str, bytes]) -> str:
    """Keep the weights of a student; what is there already, whole, is not written again.

    Args:
        files: of the store.
        contents: file name to bytes, of `KEPT_FILES`.

    Returns:
        The student's name.

    Raises:
        InputError: other files came.
        StoreError: the store cannot be written.
    """
    if set(contents) != set(KEPT_FILES):
        raise InputError(f"a student is kept as {' and '.join(KEPT_FILES)}, and {', '.join(sorted(contents)) or 'nothing'} came")
    student = name_student(hash_bytes(contents[WEIGHTS]))
    for name in KEPT_FILES:
        path = _place(student, name)
        if not files.exists(path) or files.read(path) != contents[name]:
            _write(files, path, contents[name])
    return student


@contextlib.contextmanager
def open_folder(files: Files, student: str) -> Iterator[Path]:
    """A local folder with a kept student, a checkpoint to read from: the store's own, or from S3 a copy for as long as it is open.

    Raises:
        StoreError: the student's files are lost or damaged.
    """
    contents = {name: _read_kept(files, student, name) for name in KEPT_FILES}
    if name_student(hash_bytes(contents[WEIGHTS])) != student:
        raise _lost(files, student, f"{_place(student, WEIGHTS)} is not what was written")
    if files.location.folder is not None:
        yield files.location.folder / FOLDER / student
        return
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / student
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        yield folder


def _place(student: str, name: str) -> str:
    return f"{FOLDER}/{student}/{name}"


def _name(files: Files) -> str:
    return f"{REGISTRY} in {files.location.address}"


def _write(files: Files, path: str, content: bytes) -> None:
    try:
        files.write(path, content)
    except OSError as error:
        reason = error.strerror or _brief(error)
        raise StoreError(
            f"{path} cannot be written in {files.location.address} ({reason}); check the free space and your rights to it"
        ) from error


def _read_kept(files: Files, student: str, name: str) -> bytes:
    path = _place(student, name)
    try:
        return files.read(path)
    except FileNotFoundError:
        raise _lost(files, student, f"{path} is missing") from None
    except OSError as error:
        raise _lost(files, student, f"{path} cannot be read ({_brief(error)})") from error


def _lost(files: Files, student: str, what: str) -> StoreError:
    return StoreError(
        f"the student {student} cannot be had from {files.location.address}: {what}; restore its folder from a backup, "
        "or go back to another champion with: fusion-prior model rollback --to STUDENT"
    )


def _pack(rows: Sequence[ModelRow]) -> bytes:
    """The rows as the bytes of a Parquet file that says its version and finds its own damage."""
    records = [{name: _to_null(one) for name, one in to_record(row).items()} for row in rows]
    table = pa.Table.from_pylist(records, schema=MODELS).replace_schema_metadata({_VERSION: str(MODELS_VERSION)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _to_null(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _parse(files: Files, content: bytes) -> list[dict[str, Any]]:
    try:
        table = parse_table(content)
        records: list[dict[str, Any]] = table.to_pylist()
    except Exception as error:  # a damaged file makes its parser raise anything at all
        raise _mismatch(files, f"cannot be read ({_brief(error)})") from error
    version = (table.schema.metadata or {}).get(_VERSION, b"none").decode(errors="replace")
    if version != str(MODELS_VERSION):
        raise SchemaMismatch(f"{_name(files)} is of version {version}, this release reads {MODELS_VERSION}; use the release that wrote it")
    if not table.schema.equals(MODELS):
        raise _mismatch(files, "has not the columns of a registry")
    return records


def _to_row(record: Mapping[str, Any]) -> ModelRow:
    values: dict[str, Any] = {name: math.nan if one is None else one for name, one in record.items()}
    return ModelRow(**values)


def _mismatch(files: Files, what: str) -> SchemaMismatch:
    return SchemaMismatch(f"{_name(files)} {what}; restore the file from a backup, or move it away to begin a new history")


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
