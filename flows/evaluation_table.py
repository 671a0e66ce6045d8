"""The table of an evaluation: one entry per method and metric, for terminals, for LaTeX, and as plain rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from flows.columns import ARROWS, Column
from flows.evaluation import Evaluation
from flows.output import to_plain
from flows.standings import Mean, Standing, find_places
from storage.schema import ScoreRow

RANK = "mean rank"
DECIMALS = 4  # of numbers below 10
ROW_FIELDS = ("pair_id", "method", "status", "reason", "message", "flags", "file")


_PARTS = {"": "value", " sd": "deviation", " n": "count"}  # what of a `Mean` stands in the summary, behind the column's name


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
    """

    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    entries: Mapping[tuple[str, str], Entry]

    @property
    def stands_upright(self) -> bool:
        """Whether methods are columns: where metrics outnumber them."""
        return len(self.columns) > len(self.methods)


def make_table(evaluation: Evaluation, standings: Sequence[Standing]) -> Table:
    """The table of an evaluation, with the best entries marked."""
    pairs = len({row.pair_id for row in evaluation.rows})
    entries: dict[tuple[str, str], Entry] = {}
    for column in evaluation.columns:
        means = [one.means[column.name] for one in standings]
        decimals = _choose_decimals([mean.value for mean in means])
        places = find_places([_round(mean.value, decimals) for mean in means], column.metric.better)
        for one, mean, place in zip(standings, means, places, strict=True):
            entries[one.method, column.name] = _write_entry(mean, decimals, pairs, place)
    places = find_places([_round(one.rank, 2) for one in standings], "lower")
    entries |= {(one.method, RANK): Entry(_write(one.rank, 2), place=place) for one, place in zip(standings, places, strict=True)}
    return Table(tuple(one.method for one in standings), evaluation.columns, entries)


def to_cells(table: Table) -> tuple[list[str], list[list[Text]]]:
    """A table for a terminal, its head and its rows: the best in bold, the second best underlined."""
    names = [*(column.name for column in table.columns), RANK]
    heads = [*(column.heading for column in table.columns), f"{RANK} {ARROWS['lower']}"]
    if table.stands_upright:
        rows = [
            [Text(head), *(_style(table.entries[method, name]) for method in table.methods)]
            for head, name in zip(heads, names, strict=True)
        ]
        return ["metric", *table.methods], rows
    return ["method", *heads], [[Text(method), *(_style(table.entries[method, name]) for name in names)] for method in table.methods]


def to_latex(table: Table) -> str:
    """A table for a paper: booktabs, the best in bold, the second best underlined, an arrow for each metric's direction."""
    names = [*(column.name for column in table.columns), RANK]
    heads = [*(_head_latex(column) for column in table.columns), rf"{RANK} $\downarrow$"]
    methods = [escape_latex(method) for method in table.methods]

    def write(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    if table.stands_upright:
        head = ["Metric", *methods]
        body = [[text, *(_mark_latex(table.entries[one, name]) for one in table.methods)] for text, name in zip(heads, names, strict=True)]
    else:
        head = ["Method", *heads]
        body = [
            [text, *(_mark_latex(table.entries[one, name]) for name in names)] for text, one in zip(methods, table.methods, strict=True)
        ]
    lines = [
        "% needs \\usepackage{booktabs}; mean $\\pm$ standard deviation over the pairs, in parentheses over how many where not over all",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        write(head),
        r"\midrule",
        *(write(row) for row in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """A text as LaTeX sets it, character by character."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {one: f"\\{one}" for one in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def to_score_records(rows: Sequence[ScoreRow], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The rows of an evaluation as flat records; a score that is undefined, or that is not there, is nan."""
    return [
        {name: getattr(row, name) for name in ROW_FIELDS}
        | {column.name: row.scores.get(column.metric.name, math.nan) for column in columns}
        for row in rows
    ]


def to_summary_records(standings: Sequence[Standing], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """One flat record per method: its pairs, its mean rank, and mean, standard deviation and count of every metric."""
    return [
        {"method": one.method, "pairs": one.scored, RANK: one.rank}
        | {f"{column.name}{suffix}": getattr(one.means[column.name], part) for column in columns for suffix, part in _PARTS.items()}
        for one in standings
    ]


def to_json(evaluation: Evaluation, standings: Sequence[Standing]) -> dict[str, Any]:
    """Everything; a number that is undefined is None."""
    return {
        "metrics": [
            {"name": column.name, "metric": column.metric.name, "better": column.metric.better, "bounds": to_plain(column.metric.bounds)}
            for column in evaluation.columns
        ],
        "summary": [
            {
                "method": one.method,
                "pairs": one.scored,
                "mean_rank": to_plain(one.rank),
                "metrics": {
                    name: {"mean": to_plain(mean.value), "sd": to_plain(mean.deviation), "n": mean.count}
                    for name, mean in one.means.items()
                },
            }
            for one in standings
        ],
        "rows": [
            {name: to_plain(value) for name, value in record.items()} for record in to_score_records(evaluation.rows, evaluation.columns)
        ],
        "notes": list(evaluation.notes),
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


def _mark_latex(entry: Entry) -> str:
    number = entry.mean.replace("–", "--") if entry.mean == "–" else entry.mean.replace("-", "$-$")
    marked = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}.get(entry.place, number)
    spread = rf" $\pm$ {entry.deviation}" if entry.deviation else ""
    return marked + spread + (f" ({entry.count})" if entry.count else "")


def _head_latex(column: Column) -> str:
    arrow = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "zero": r"$\to 0$"}[column.metric.better]
    passport = column.metric.passport
    symbol = passport.symbol if passport and column.name == column.metric.name else escape_latex(column.name)
    return f"{symbol} {arrow}"
