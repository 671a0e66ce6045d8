"""Output: rows as a table for people, CSV or JSON for machines; the answer to stdout, everything else to stderr."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.summary import name_reasons
from flows.words import name_first
from train.evaluate import to_difference_rows, to_json, to_standing_rows

if TYPE_CHECKING:  # neither makes a table wait for Dask
    from flows.estimate import Estimate
    from flows.summary import Summary
    from train.evaluate import Verdict

Row = Mapping[str, Any]
FORMATS = ("table", "csv", "json")


def say(sentence: str) -> None:
    """A sentence for the person at the terminal, to stderr."""
    print(sentence, file=sys.stderr)


def print_line(text: str) -> None:
    """The last line of an answer, to stdout."""
    print(text)


def print_json(value: Mapping[str, Any]) -> None:
    """An answer as JSON, to stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Row], columns: Sequence[str], form: str, title: str = "") -> None:
    """Rows to stdout in one of `FORMATS`; a number that is undefined is null in JSON and empty elsewhere."""
    if form == "json":
        print(json.dumps([{name: to_plain(row[name]) for name in columns} for row in rows], indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name], "{!r}") for name in columns] for row in rows)
    else:
        table = Table(title=title or None, title_justify="left")
        for name in columns:
            numeric = any(isinstance(row.get(name), int | float) for row in rows)
            table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            # a snapshot of an older schema lacks columns; a string would be read as markup, and lose what stands in brackets
            table.add_row(*(Text(_cell(row.get(name), "{:.4f}")) for name in columns))
        _console(sys.stdout.isatty()).print(table)


def find_width() -> int | None:
    """How many characters a line of stdout holds; None where it is no terminal, and holds any number."""
    return Console().width if sys.stdout.isatty() else None


def measure_cells(head: Sequence[str], rows: Sequence[Sequence[Text]]) -> tuple[int, ...]:
    """The width of every column of `print_cells`, its frame included; the whole table is wider by one."""
    return tuple(3 + max([cell_len(name), *(row[at].cell_len for row in rows)]) for at, name in enumerate(head))


def print_cells(head: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """A table of texts to stdout, the first column to the left and whole, all others to the right."""
    table = Table()
    for number, name in enumerate(head):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    _console(sys.stdout.isatty()).print(table)


def print_sheet(entries: Mapping[str, str]) -> None:
    """Names and their texts to stdout, one below the other."""
    if not sys.stdout.isatty():
        width = max(map(len, entries))
        for name, text in entries.items():
            print(f"{name:{width}}  {text}")
        return
    table = Table.grid(padding=(0, 2))
    for name, text in entries.items():
        table.add_row(Text(name, style="bold"), Text(text))
    Console().print(table)


def print_summary(summary: "Summary", tag: str) -> None:
    """A snapshot's wins, what needs a look, and where everything lies, to stderr."""
    console = Console(stderr=True)
    table = Table(title=f"Wins by {summary.criterion}", title_justify="left")
    for name in ("method", "wins", "wins (balanced)", "candidates", "failed", "seconds"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=name == "method")
    for one in summary.tallies:
        table.add_row(one.method, str(one.wins), str(one.wins_balanced), str(one.candidates), str(one.failed), f"{one.seconds:.1f}")
    console.print(table)
    named = f"{summary.snapshot_id} (tag {tag})" if tag else summary.snapshot_id
    for sentence in (*describe(summary), f"Snapshot {named} in {summary.address}: images in repository/, tables in tables/."):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)


def print_verdict(verdict: "Verdict", form: str) -> None:
    """A student's evaluation to stdout: means and the student's lead as tables, means with intervals as CSV, everything as JSON."""
    if form == "json":
        print(json.dumps(to_json(verdict), indent=1, ensure_ascii=False, allow_nan=False))
        return
    means, leads = to_standing_rows(verdict), to_difference_rows(verdict)
    if form == "csv":
        print_rows(means, list(means[0]), form)
        return
    print_rows(means, ["contestant", *verdict.columns], form, f"Means over {verdict.pairs} pairs of {verdict.groups} scenes")
    if leads:
        print_rows(leads, list(leads[0]), form, "The student's lead, with the 95 % interval of a bootstrap over scenes")
    for column, count in verdict.left_out.items():
        say(f"{column}: {count} of {verdict.pairs} pairs left out for all, where it is undefined for one")


def print_estimate(estimate: "Estimate") -> None:
    """What a build would take, to stdout."""
    minutes, seconds = divmod(round(estimate.seconds), 60)
    print(f"pairs: {estimate.pairs}, usable: {estimate.usable}")
    print(f"methods: {len(estimate.methods)}: {', '.join(estimate.methods)}")
    print(f"candidates to evaluate: {estimate.candidates}")
    print(f"time: about {minutes} min {seconds} s on these workers (measured on the pair of median size)")
    print(f"disk: about {estimate.megabytes:.0f} MB of pictures")
    for sentence in estimate.warnings:
        say(sentence)


def describe(summary: "Summary") -> list[str]:
    """What a snapshot's user should know, in sentences."""
    sentences = [
        f"{summary.selections} of {summary.counts['pairs']} pairs have a winner; "
        f"{summary.differ} of them would have another under `balanced` (our criterion, which a copy of one source does not win)."
    ]
    if summary.set_aside:
        named = name_first([f"{pair_id} ({reason})" for pair_id, reason, _ in summary.set_aside], 5, "; ")
        sentences.append(f"{len(summary.set_aside)} pairs were set aside: {named}; `fusion-prior pairs` says why.")
    if summary.misregistered:
        named = name_first(summary.misregistered, 5)
        sentences.append(f"{len(summary.misregistered)} pairs may be misregistered: {named}; --max-shift sets such pairs aside.")
    if summary.failed:
        failed = sum(one.count for one in summary.failed)
        sentences.append(f"{failed} candidates failed ({name_reasons(summary.failed)}); `fusion-prior scores` says why.")
    return sentences


def to_plain(value: object) -> object:
    """A value as JSON knows it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [to_plain(one) for one in value] if isinstance(value, tuple) else value


def _cell(value: object, number: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return number.format(value) if isinstance(value, float) else str(value)


def _console(terminal: bool) -> Console:
    # A pipe has no width: rows must not be folded there.
    return Console() if terminal else Console(width=10_000)
