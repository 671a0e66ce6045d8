"""The command `methods`: what there is, and what each method contributes. Part of `flows.command_line`, and read like it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Format, RowFormat, SnapshotName

if TYPE_CHECKING:
    from flows.contribution import Contribution, Pool
    from prior.registry import Method

COLUMNS = ("name", "family", "sets", "cost", "tasks", "reference", "reconstructed")
EVERY_COLUMN = (*COLUMNS, "needs", "licence", "idempotent", "version", "parameters")
SHORT_TASKS = {"infrared-visible": "IV", "medical": "Med", "multi-focus": "MF", "multi-exposure": "ME"}


def methods(
    contribution: Annotated[
        str,
        typer.Option(metavar="STORE", help="Tell instead what each method contributes to this store: its wins, and the loss without it."),
    ] = "",
    snapshot: SnapshotName = "main",
    form: RowFormat = Format.table,
) -> None:
    """The live methods: family, cost, tasks, reference, what is reconstructed; or what each contributes to a store.

    Cost, of a 640x480 pair on one thread: light, under 1 s; medium, under 5 s; heavy, under 20 s; extreme, more.
    Tasks: IV infrared-visible, Med medical, MF multi-focus, ME multi-exposure. The names of tasks, `fast`, `standard` (all but extreme)
    and `all` are sets of methods. With --contribution, csv holds the wins and losses alone; table and json hold the pools, too.
    """
    from flows.output import print_rows
    from prior import registry

    if contribution:
        _print_contributions(contribution, snapshot, form)
    elif form is Format.table:
        print_rows([_describe(one) for one in registry.methods().values()], COLUMNS, form)
    else:
        print_rows([{name: getattr(one, name) for name in EVERY_COLUMN} for one in registry.methods().values()], EVERY_COLUMN, form)


def _describe(method: "Method") -> dict[str, Any]:
    tasks = "all" if len(method.tasks) == len(SHORT_TASKS) else " ".join(SHORT_TASKS[task] for task in method.tasks)
    return {name: getattr(method, name) for name in COLUMNS} | {"tasks": tasks}


def _print_contributions(address: str, version: str, form: Format) -> None:
    from flows.contribution import CRITERIA, find_contributions
    from flows.output import print_rows
    from storage.snapshot import Snapshot

    pools, contributions = find_contributions(Snapshot(address, version))
    if form is Format.json:
        found = {"pools": [_to_plain(asdict(one)) for one in pools], "contributions": [_to_plain(asdict(one)) for one in contributions]}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
        return
    matrix = to_matrix_rows(contributions, sorted({source for one in contributions for source in one.wins}))
    if form is Format.csv:
        print_rows(matrix, list(matrix[0]), form)
        return
    rows = to_pool_rows(pools)
    print_rows(rows, list(rows[0]), form, "The mean value of the best live candidate of each pair, without the references")
    for criterion in CRITERIA:
        own = [row for row in matrix if row["criterion"] == criterion]
        print_rows(own, list(own[0])[1:], form, f"Wins by {criterion}, and what the mean of the best loses without the method")


def to_pool_rows(pools: Sequence["Pool"]) -> list[dict[str, Any]]:
    """One row per criterion and source; columns for the published results only where there are any, and one for each reference."""
    compared = any(one.compared for one in pools)
    return [
        {
            "criterion": one.criterion,
            "source": one.source,
            "pairs": one.pairs,
            "without winner": one.unwon,
            "copies passed over": one.copies,
            "live": one.live,
            **({"published": one.published, "lead, %": 100 * one.lead, "better": f"{one.better}/{one.compared}"} if compared else {}),
            **one.references,
        }
        for one in pools
    ]


def to_matrix_rows(contributions: Iterable["Contribution"], sources: Iterable[str]) -> list[dict[str, Any]]:
    """One row per method and criterion: wins by source and in all, loss without it, seconds."""
    return [
        {
            "criterion": one.criterion,
            "method": one.method,
            **{f"in {source}": str(one.wins.get(source, "")) for source in sources},
            "wins": sum(one.wins.values()),
            "loss": one.loss,
            "loss, %": 100 * one.share,
            "seconds": one.seconds,
        }
        for one in contributions
    ]


def _to_plain(row: dict[str, Any]) -> dict[str, Any]:
    from flows.output import to_plain

    return {name: _to_plain(value) if isinstance(value, dict) else to_plain(value) for name, value in row.items()}
