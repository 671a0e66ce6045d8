"""An evaluation written down: its rows as Parquet or CSV, rows, summary and failures as an Excel workbook, its table as LaTeX."""

import csv
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell

from flows.evaluation import Evaluation
from flows.evaluation_table import ROW_FIELDS, to_score_records, to_summary_records
from flows.standings import Standing
from storage.errors import InputError
from storage.files import Files, parse_location
from storage.schema import SCORES_FIXED
from storage.tables import to_bytes

Write = Callable[[Evaluation, Sequence[Standing]], bytes]


def check_kind(path: Path) -> None:
    """Refuse a file whose extension is none of `WRITERS`; raises InputError."""
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path} has no extension that is known; name a file that ends in {', '.join(WRITERS)}")


def check_place(path: Path) -> None:
    """Refuse, before any work, a file that could not be written at its end; raises InputError."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
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
    try:
        Files(parse_location(str(path.parent))).write(path.name, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file") from error


def to_parquet(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """The rows: text columns as in a store's scores, and one float64 column per metric."""
    fixed = [SCORES_FIXED.field(name) for name in ROW_FIELDS]
    schema = pa.schema([*fixed, *((column.name, pa.float64()) for column in evaluation.columns)])
    return to_bytes(pa.Table.from_pylist(to_score_records(evaluation.rows, evaluation.columns), schema=schema))


def to_csv(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """The rows, with a head; a number that is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ROW_FIELDS, *(column.name for column in evaluation.columns)])
    for record in to_score_records(evaluation.rows, evaluation.columns):
        writer.writerow([_to_cell(value) for value in record.values()])
    return text.getvalue().encode()


def to_workbook(evaluation: Evaluation, standings: Sequence[Standing]) -> bytes:
    """An Excel workbook with the sheets `scores`, `summary` and `failures`."""
    book = Workbook(write_only=True)
    columns = evaluation.columns
    _add_sheet(book, "scores", [*ROW_FIELDS, *(one.name for one in columns)], to_score_records(evaluation.rows, columns))
    summary = to_summary_records(standings, columns)
    _add_sheet(book, "summary", list(summary[0]) if summary else ["method"], summary)
    failed = to_score_records(evaluation.problems, ())
    _add_sheet(book, "failures", list(ROW_FIELDS), failed)
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
    """What a spreadsheet holds: numbers, texts, and nothing for what is undefined."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return " ".join(value) if isinstance(value, tuple) else value
