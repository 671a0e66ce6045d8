"""The command `diff`: what changed between two snapshots, and why. Part of `flows.command_line`, and read like it."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Format, RowFormat, Store
from flows.words import count, name_first

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.diff import Diff

ROWS_ON_A_TERMINAL = 30


def diff(
    older: Annotated[str, typer.Argument(metavar="V1", help="The older snapshot: a tag, a branch or a snapshot id.")],
    newer: Annotated[str, typer.Argument(metavar="V2", help="The newer one; both are valued under its criterion.")],
    store: Store = "store",
    form: RowFormat = Format.table,
    out: Annotated[Path | None, typer.Option(help="A Parquet file for the changed winners.")] = None,
) -> None:
    """Tell which pairs and winners changed between two snapshots, why, and what each cause did to the mean value."""
    from flows.diff import find_diff, to_json, to_table
    from flows.output import print_rows
    from storage.repository import open_store
    from storage.snapshot import Snapshot

    opened = open_store(store)
    found = find_diff(Snapshot(opened, older), Snapshot(opened, newer))
    if out is not None:
        write_parquet(out, to_table(found))
    if form is Format.json:
        typer.echo(json.dumps(to_json(found), indent=1, ensure_ascii=False, allow_nan=False))
    elif form is Format.csv:
        print_rows([asdict(one) for one in found.winners], to_table(found).column_names, form)
    else:
        print_diff(found, older, newer)


def print_diff(found: "Diff", older: str, newer: str) -> None:
    """A diff for people: what each cause did, the changed winners, and the rest in sentences to stderr."""
    from flows.output import print_rows, say

    causes = [(one.cause, one.winners, one.effect) for one in found.tolls] + [("all", len(found.winners), found.effect)]
    columns = ("cause", "changed winners", "effect on the mean value")
    title = f"{older} -> {newer}, both valued by {found.criterion}"
    print_rows([dict(zip(columns, one, strict=True)) for one in causes], columns, Format.table, title)
    rows = to_terminal_rows(found, ROWS_ON_A_TERMINAL if sys.stdout.isatty() else len(found.winners))
    if rows:
        print_rows(rows, list(rows[0]), Format.table)
    for sentence in describe(found, len(rows)):
        say(sentence)


def to_terminal_rows(found: "Diff", limit: int) -> list[dict[str, Any]]:
    """The changed winners that did most to the mean value, at most `limit`, in the order of the pairs' ids."""
    most = sorted(found.winners, key=lambda one: (one.effect != one.effect, -abs(one.effect), one.pair_id))[:limit]
    return [
        {
            "pair_id": one.pair_id,
            "cause": one.cause,
            "detail": one.detail,
            "before": one.method_before,
            "after": one.method_after,
            "value before": one.value_before,
            "value after": one.value_after,
        }
        for one in sorted(most, key=lambda one: one.pair_id)
    ]


def describe(found: "Diff", shown: int) -> list[str]:
    """What a diff's table leaves out, in sentences."""
    sentences = []
    if shown < len(found.winners):
        more = f"{shown} of {len(found.winners)} changed winners are shown, those that did most to the mean"
        sentences.append(f"{more}; --format csv or --out FILE.parquet gives all")
    sentences.append(f"{found.kept} of {found.kept + len(found.winners)} winners are the same")
    sentences.append(f"mean value {_to_text(found.mean_before)} -> {_to_text(found.mean_after)}")
    if found.unvalued:
        left_out = count(found.unvalued, "pair")
        sentences.append(f"left out of the means: {left_out}, where a winner has no value under {found.criterion}")
    for what, pair_ids in (("new", found.added), ("gone", found.removed), ("of other content", found.changed)):
        if pair_ids:
            sentences.append(f"{what}: {count(len(pair_ids), 'pair')} ({name_first(pair_ids, 5)})")
    return sentences


def _to_text(mean: float) -> str:
    return "none" if math.isnan(mean) else f"{mean:.4f}"


def write_parquet(path: Path, table: "pa.Table") -> None:
    """Write a table for others to read; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written there.
    """
    from storage.errors import InputError
    from storage.files import Files, parse_location
    from storage.tables import to_bytes

    try:
        Files(parse_location(str(path.parent))).write(path.name, to_bytes(table))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another file with --out") from error
