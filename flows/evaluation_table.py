"""The table of an evaluation: one entry per method and metric, for terminals, for LaTeX, and as plain rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from flows.columns import ARROWS, Column
from flows.evaluation import Evaluation
from flows.output import measure_cells, to_plain
from flows.standings import Mean, Standing, find_places
from storage.schema import ScoreRow

RANK = "mean rank"
DECIMALS = 4  # of numbers below 10
ROW_FIELDS = ("pair_id", "method", "status", "reason", "message", "flags", "file")

SHORTENED = "too wide for this terminal: standard deviations and counts are left out; --format csv and --format json have them"

_PARTS = {"": "value", " sd": "deviation", " n": "count"}  # what of a `Mean` stands in the summary, behind the column's name

Cells = tuple[list[str], list[list[Text]]]
"""A table as it is printed: its head, and its rows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of a table as it is printed.

    Attributes:
        mean: the mean.
        deviation: the standard deviation; empty where there is none.
        count: over how many pairs, where not over all; empty otherwise.
        place: 1 for the best of its metric, 2 for the second best, as far as the printed digits tell; else 0.
    """

    mean: str
    deviation: str = ""
    count: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The entries of a table.

    Attributes:
        methods: in their order.
        columns: the metrics; after them stands the mean rank.
        entries: by method and name of the column, `RANK` included.
        remarks: what must be known to read it, in sentences.
        upright: whether methods are its columns.
    """

    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    entries: Mapping[tuple[str, str], Entry]
    remarks: tuple[str, ...]
    upright: bool


def make_table(columns: tuple[Column, ...], standings: Sequence[Standing], pairs: int, remark: str = "") -> Table:
    """The table of an evaluation, with the best entries marked; methods are its columns where metrics outnumber them.

    Args:
        columns: the metrics.
        standings: the methods.
        pairs: how many are compared.
        remark: a sentence about these.
    """
    entries: dict[tuple[str, str], Entry] = {}
    for column in columns:
        means = [one.means[column.name] for one in standings]
        decimals = _choose_decimals([mean.value for mean in means])
        for one, mean, place in zip(standings, means, _find_places(means, decimals, column), strict=True):
            entries[one.method, column.name] = _write_entry(mean, decimals, pairs, place)
    places = find_places([_round(one.rank, 2) for one in standings], "lower")
    entries |= {(one.method, RANK): Entry(_write(one.rank, 2), place=place) for one, place in zip(standings, places, strict=True)}
    remarks = tuple(filter(None, (remark, _explain_zero(columns))))
    return Table(tuple(one.method for one in standings), columns, entries, remarks, len(columns) > len(standings))


def _find_places(means: Sequence[Mean], decimals: int, column: Column) -> list[int]:
    to_zero = column.metric.better == "zero"
    return find_places([_round(mean.magnitude if to_zero else mean.value, decimals) for mean in means], column.metric.better)


def _explain_zero(columns: Sequence[Column]) -> str:
    """By what the marks of metrics go whose best is 0: the printed mean does not tell."""
    named = ", ".join(column.label for column in columns if column.metric.better == "zero")
    return f"{named}: the best and the second best are by the mean of |score|, since plus and minus cancel in a mean" if named else ""


def lay_out(table: Table, width: int | None) -> tuple[list[Cells], str]:
    """A table for a terminal: as it stands, else turned, else without deviations, else in several parts.

    Args:
        table: the table.
        width: of a line, in characters; None for any number.

    Returns:
        The parts, and a sentence where something is left out.
    """
    turned = replace(table, upright=not table.upright)
    for one, sentence in ((table, ""), (turned, ""), (_shorten(table), SHORTENED), (_shorten(turned), SHORTENED)):
        cells = to_cells(one)
        if width is None or 1 + sum(measure_cells(*cells)) <= width:
            return [cells], sentence
    return _split(to_cells(_shorten(table)), width or 0), SHORTENED


def _shorten(table: Table) -> Table:
    return replace(table, entries={at: Entry(entry.mean, place=entry.place) for at, entry in table.entries.items()})


def _split(cells: Cells, width: int) -> list[Cells]:
    """Parts that fit, each with the first column."""
    head, rows = cells
    first, *widths = measure_cells(head, rows)
    parts: list[list[int]] = [[]]
    for at, one in enumerate(widths):
        if parts[-1] and 1 + first + sum(widths[other] for other in parts[-1]) + one > width:
            parts.append([])
        parts[-1].append(at)
    return [([head[0], *(head[at + 1] for at in part)], [[row[0], *(row[at + 1] for at in part)] for row in rows]) for part in parts]


def to_cells(table: Table) -> Cells:
    """A table's head and rows: the best in bold, the second best underlined."""
    names = [*(column.name for column in table.columns), RANK]
    heads = [*(column.heading for column in table.columns), f"{RANK} {ARROWS['lower']}"]
    if table.upright:
        rows = [
            [Text(head), *(_style(table.entries[method, name]) for method in table.methods)]
            for head, name in zip(heads, names, strict=True)
        ]
        return ["metric", *table.methods], rows
    return ["method", *heads], [[Text(method), *(_style(table.entries[method, name]) for name in names)] for method in table.methods]


def to_score_records(rows: Sequence[ScoreRow], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The rows of an evaluation as flat records; a score that is undefined, or that is not there, is None."""
    return [
        {name: getattr(row, name) for name in ROW_FIELDS} | {column.name: _find_score(row, column) for column in columns} for row in rows
    ]


def _find_score(row: ScoreRow, column: Column) -> float | None:
    score = row.scores.get(column.metric.name, math.nan)
    return None if math.isnan(score) else score


def to_metric_records(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What was judged: every column with the metric that it is, and its definition."""
    return [
        {
            "name": one.name,
            "printed": one.printed,
            "metric": one.metric.name,
            "version": one.metric.version,
            "better": one.metric.better,
            "definition": one.metric.definition,
        }
        for one in columns
    ]


def to_summary_records(standings: Sequence[Standing], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """One flat record per method: its pairs, its mean rank, and mean, standard deviation and count of every metric."""
    return [
        {"method": one.method, "pairs": one.scored, RANK: one.rank}
        | {f"{column.name}{suffix}": getattr(one.means[column.name], part) for column in columns for suffix, part in _PARTS.items()}
        for one in standings
    ]


def to_json(evaluation: Evaluation, standings: Sequence[Standing], remarks: Sequence[str]) -> dict[str, Any]:
    """Everything, with what must be known to compare the methods; a number that is undefined or infinite is None."""
    return {
        "variant": evaluation.variant,
        "metrics": [
            record | {"bounds": to_plain(column.metric.bounds)}
            for record, column in zip(to_metric_records(evaluation.columns), evaluation.columns, strict=True)
        ],
        "summary": [
            {
                "method": one.method,
                "pairs": one.scored,
                "mean_rank": to_plain(one.rank),
                "metrics": {
                    name: {
                        "mean": to_plain(mean.value),
                        "sd": to_plain(mean.deviation),
                        "n": mean.count,
                        "mean_abs": to_plain(mean.magnitude),
                    }
                    for name, mean in one.means.items()
                },
            }
            for one in standings
        ],
        "rows": [
            {name: to_plain(value) for name, value in record.items()} for record in to_score_records(evaluation.rows, evaluation.columns)
        ],
        "notes": [*remarks, *evaluation.notes],
    }


def _choose_decimals(values: Sequence[float]) -> int:
    """Four decimals below 10, and one less for every digit more, so that the columns of a table are equally wide."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return max(0, DECIMALS - max(0, len(str(int(largest))) - 1))


def _round(value: float, decimals: int) -> float:
    return round(value, decimals) if math.isfinite(value) else value


def _write(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else "–"


def _write_entry(mean: Mean, decimals: int, pairs: int, place: int) -> Entry:
    deviation = "" if math.isnan(mean.deviation) else _write(mean.deviation, decimals)
    return Entry(_write(mean.value, decimals), deviation, str(mean.count) if mean.count < pairs else "", place)


def _style(entry: Entry) -> Text:
    text = Text(entry.mean, style={1: "bold", 2: "underline"}.get(entry.place, ""))
    spread = f" ± {entry.deviation}" if entry.deviation else ""
    count = f" ({entry.count})" if entry.count else ""
    return Text.assemble(text, spread, count)
