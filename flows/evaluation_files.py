"""An evaluation written down: its rows as Parquet or CSV, rows, summary and failures as an Excel workbook, its table as LaTeX."""

import contextlib
import csv
import io
import json
import math
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell

from flows.evaluation import Evaluation
from flows.evaluation_table import ROW_FIELDS, to_metric_records, to_score_records, to_summary_records
from flows.standings import Standing
from storage.errors import InputError
from storage.schema import SCORES_FIXED
from storage.tables import to_bytes

Write = Callable[[Evaluation, Sequence[Standing]], bytes]


def parse_targets(out: str | None, latex: str | None, inputs: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """The files that are to be written, checked before any work.

    Args:
        out: for the rows, as it was typed; None for none.
        latex: for the table, likewise.
        inputs: folders that are read, into which nothing is written.

    Raises:
        InputError: a name is of another kind, or both are one file, or it could not be written at its end.
    """
    rows = None if out is None else _parse_file("--out", out, tuple(WRITERS))
    table = None if latex is None else _parse_file("--latex", latex, (".tex",))
    if rows and table and os.path.realpath(rows) == os.path.realpath(table):
        raise InputError(f"--out and --latex are both {rows}; name two files")
    for path in filter(None, (rows, table)):
        _check_place(path, inputs)
    return rows, table


def _parse_file(option: str, text: str, kinds: Sequence[str]) -> Path:
    expected = f"expected the name of a local file that ends in {' or '.join(filter(None, (', '.join(kinds[:-1]), kinds[-1])))}"
    if "://" in text:
        raise InputError(f"{option} {text} is an address; {expected}")
    try:
        path = Path(os.path.normpath(Path(text).expanduser()))  # else `..` would be looked for in folders that are yet to be made
    except RuntimeError as error:  # there is no such user's home
        raise InputError(f"{option} {text}: {error}; {expected}") from None
    if path.suffix.lower() not in kinds:
        raise InputError(f"{option} {text or repr(text)}: {expected}")
    return path


def _check_place(path: Path, inputs: Sequence[Path]) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    within = next((one for one in inputs if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(one))), None)
    if within is not None:
        raise InputError(f"{path} lies in {within}, which holds pictures that are read and never written; name a file elsewhere")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{path} cannot be written: {above} is no folder, or nobody may write there; name another file")


def write_evaluation(path: Path, evaluation: Evaluation, standings: Sequence[Standing]) -> None:
    """Write an evaluation in the kind that the file's extension names; raises InputError where it cannot be written."""
    write_whole(path, WRITERS[path.suffix.lower()](evaluation, standings))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        InputError: it cannot be written there.
    """
    draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); name another file") from error
    finally:
        with contextlib.suppress(OSError):  # there is no such folder
            draft.unlink(missing_ok=True)


def to_parquet(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """The rows: text columns as in a store's scores, and one float64 column per metric, null where there is no score.

    The schema's metadata has the variant and the definitions of the metrics, as JSON under `fusion_prior`.
    """
    fixed = [SCORES_FIXED.field(name) for name in ROW_FIELDS]
    judged = {"variant": evaluation.variant, "metrics": to_metric_records(evaluation.columns)}
    schema = pa.schema(
        [*fixed, *((column.name, pa.float64()) for column in evaluation.columns)],
        metadata={"fusion_prior": json.dumps(judged, ensure_ascii=False)},
    )
    return to_bytes(pa.Table.from_pylist(to_score_records(evaluation.rows, evaluation.columns), schema=schema))


def to_csv(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """The rows, with a head; a number that is undefined is empty, an infinite one `inf`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ROW_FIELDS, *(column.name for column in evaluation.columns)])
    for record in to_score_records(evaluation.rows, evaluation.columns):
        writer.writerow([_to_cell(value) for value in record.values()])
    return text.getvalue().encode()


def to_workbook(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """An Excel workbook with the sheets `scores`, `summary`, `failures` and `metrics`, which says what was judged."""
    book = Workbook(write_only=True)
    columns = evaluation.columns
    _add_sheet(book, "scores", [*ROW_FIELDS, *(one.name for one in columns)], to_score_records(evaluation.rows, columns))
    summary = to_summary_records(standings, columns)
    _add_sheet(book, "summary", list(summary[0]) if summary else ["method"], summary)
    failed = to_score_records(evaluation.problems, ())
    _add_sheet(book, "failures", list(ROW_FIELDS), failed)
    judged = [{"variant": evaluation.variant} | record for record in to_metric_records(columns)]
    _add_sheet(book, "metrics", list(judged[0]) if judged else ["metric"], judged)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


WRITERS: Mapping[str, Write] = {".parquet": to_parquet, ".csv": to_csv, ".xlsx": to_workbook}


def _add_sheet(book: Workbook, title: str, head: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for row in (head, *([_to_cell(record[name]) for name in head] for record in records)):
        sheet.append([_write_text(sheet, one) if isinstance(one, str) else one for one in row])


def _write_text(sheet: Any, text: str) -> Cell:
    """A cell that holds this text and nothing else: a name that begins with `=` is no formula."""
    cell: Cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("�", text))
    cell.data_type = "s"
    return cell


def _to_cell(value: object) -> object:
    """What a spreadsheet holds: numbers, texts, and nothing for what is undefined or empty."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return " ".join(value) or None if isinstance(value, tuple) else None if value == "" else value
