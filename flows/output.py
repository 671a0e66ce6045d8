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
from flows.words import count, name_first
from train.evaluate import to_difference_rows, to_json, to_standing_rows

if TYPE_CHECKING:  # neither makes a table wait for Dask
    from flows.estimate import Estimate
    from flows.summary import Summary
    from train.evaluate import Verdict

Row = Mapping[str, Any]
FORMATS = ("table", "csv", "json")

FRAME = 3
"""Characters that the frame of a table takes for every column, and one more for the last."""

LONGEST_NAME = 40
"""Characters of the longest word that is never broken: a DOI, a published method. Longer ones, such as paths, are where need is."""

SHORT = 8
"""Characters that a column may lack of its longest text and is still made whole before longer texts get any."""


def say(sentence: str) -> None:
    """A sentence for the person at the terminal, to stderr."""
    print(sentence, file=sys.stderr)


def print_line(text: str) -> None:
    """The last line of an answer, to stdout."""
    print(text)


def print_json(value: Mapping[str, Any]) -> None:
    """An answer as JSON, to stdout."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    print(text.encode("utf-8", "backslashreplace").decode())  # half a surrogate, of a path that is no UTF-8, becomes its JSON escape


def print_rows(rows: Sequence[Row], columns: Sequence[str], form: str, title: str = "", keep: Sequence[str] = ()) -> None:
    """Rows to stdout in one of `FORMATS`; a number that is undefined is null in JSON and empty elsewhere.

    On a terminal too narrow for a table, columns are left out, those of `keep` last of all, and a sentence to stderr says which.
    """
    if form == "json":
        print(json.dumps([{name: to_plain(row[name]) for name in columns} for row in rows], indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name], "{!r}") for name in columns] for row in rows)
    else:
        _print_table(rows, columns, title, keep)


def _print_table(rows: Sequence[Row], columns: Sequence[str], title: str, keep: Sequence[str]) -> None:
    # a snapshot of an older schema lacks columns
    cells = {name: [_cell(row.get(name), "{:.4f}") for row in rows] for name in columns}
    room = find_width()
    widths = fit_columns(cells, room, keep) if room else dict.fromkeys(columns)
    table = Table(title=title or None, title_justify="left")
    for name, width in widths.items():
        numeric = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold", width=width)
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*map(Text, row))  # a string would be read as markup, and lose what stands in brackets
    _console(sys.stdout.isatty()).print(table)
    left_out = [name for name in columns if name not in widths and any(cells[name])]
    if left_out:
        say(f"left out, since the terminal is too narrow (a wider one, or --format json, has all): {'; '.join(left_out)}")


def fit_columns(cells: Mapping[str, Sequence[str]], room: int, keep: Sequence[str] = ()) -> dict[str, int]:
    """How wide the columns of a table may be, so that no name and no number is broken; those without a place are absent.

    Args:
        cells: by column, its texts.
        room: characters of a line, the frame included.
        keep: columns that go last; before them go empty ones, then the others from the right. The first one always stays.
    """
    whole = {name: max(map(cell_len, _split_lines(name, texts)), default=0) for name, texts in cells.items()}
    first, *others = cells
    most = dict.fromkeys(others, LONGEST_NAME) | {first: room - FRAME - 1}
    least = {name: min(_measure_words(name, texts), most[name]) for name, texts in cells.items()}
    leaving = sorted(others, key=lambda name: (any(cells[name]), name in keep, -others.index(name)))
    there = list(cells)
    while leaving and sum(least[name] + FRAME for name in there) >= room:
        there.remove(leaving.pop(0))
    left = room - 1 - sum(least[name] + FRAME for name in there)
    widths = {}
    # what lacks least is made whole first; texts that are longer share what is left
    for number, name in enumerate(sorted(there, key=lambda name: whole[name] - least[name])):
        lacks = whole[name] - least[name]
        more = max(0, min(lacks, left if lacks <= SHORT else left // (len(there) - number)))
        widths[name], left = least[name] + more, left - more
    return {name: widths[name] for name in there}


def _split_lines(name: str, texts: Sequence[str]) -> list[str]:
    return [line for text in (name, *texts) for line in text.splitlines()]


def _measure_words(name: str, texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in {name, *texts} for word in text.split()), default=0)


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
    for column, number in verdict.left_out.items():
        say(f"{column}: {number} of {verdict.pairs} pairs left out for all, where it is undefined for one")


def print_estimate(estimate: "Estimate") -> None:
    """What a build would take, to stdout."""
    minutes, seconds = divmod(round(estimate.seconds), 60)
    print(f"pairs: {estimate.pairs}, usable: {estimate.usable}")
    print(f"{count(len(estimate.methods), 'method')}: {', '.join(estimate.methods) or 'none'}")
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
        sentences.append(f"Set aside: {count(len(summary.set_aside), 'pair')} ({named}); `fusion-prior pairs` says why.")
    if summary.misregistered:
        named = name_first(summary.misregistered, 5)
        sentences.append(f"Maybe misregistered: {count(len(summary.misregistered), 'pair')} ({named}); --max-shift sets such pairs aside.")
    if summary.failed:
        failed = sum(one.count for one in summary.failed)
        sentences.append(f"{count(failed, 'candidate')} failed ({name_reasons(summary.failed)}); `fusion-prior scores` says why.")
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
