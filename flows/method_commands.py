"""The command `methods`: what there is, one method, and what each contributes. Part of `flows.command_line`, and read like it."""

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Format, RowFormat, split_names
from storage.errors import InputError

if TYPE_CHECKING:
    from flows.contribution import Contribution, Pool
    from prior.registry import Method

COLUMNS = ("name", "family", "cost", "tasks", "reconstructed", "reference", "doi", "sets")
EVERY_COLUMN = (
    "name",
    "family",
    "sets",
    "cost",
    "tasks",
    "reference",
    "doi",
    "reconstructed",
    "needs",
    "licence",
    "idempotent",
    "version",
    "parameters",
)
SHORT_TASKS = {"infrared-visible": "IV", "medical": "Med", "multi-focus": "MF", "multi-exposure": "ME"}
COSTS = {"light": "under 1 s", "medium": "under 5 s", "heavy": "under 20 s", "extreme": "20 s or more"}
FEW_AUTHORS = 2
"""More are written "et al." where a line must hold them."""


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, for all that is known of it.")] = None,
    contribution: Annotated[
        str,
        typer.Option(metavar="STORE", help="Tell instead what each method contributes to this store: its wins, and the loss without it."),
    ] = "",
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="With --contribution: a tag, a branch or a snapshot id; main unless given.")
    ] = None,
    without: Annotated[
        str, typer.Option(metavar="NAMES", help="With --contribution: methods that are left out of the pool, with commas.")
    ] = "",
    form: RowFormat = Format.table,
) -> None:
    """The live methods: family, cost, tasks, reference, what is reconstructed; or one method; or what each contributes to a store.

    Cost, of a 640x480 pair on one thread: light, under 1 s; medium, under 5 s; heavy, under 20 s; extreme, more.
    Tasks: IV infrared-visible, Med medical, MF multi-focus, ME multi-exposure. The names of tasks, `fast`, `standard` (all but extreme)
    and `all` are sets of methods. A narrow terminal gets fewer columns; csv and json have all. With --contribution, csv holds the wins
    and losses alone; table and json hold the pools, too.
    """
    if contribution:
        if name is not None:
            raise InputError(f"--contribution tells of all methods of a store, and takes no method; leave {name!r} out")
        _print_contributions(contribution, snapshot or "main", split_names(without) if without else (), form)
    elif snapshot is not None:
        raise InputError("--snapshot names the snapshot whose contributions are told; give the store, too: --contribution STORE")
    elif without:
        raise InputError("--without leaves methods out of a store's pool; give the store, too: --contribution STORE")
    elif name is not None:
        _print_method(name, form)
    else:
        _print_list(form)


def _print_list(form: Format) -> None:
    from flows.output import print_rows
    from prior import registry

    found = registry.methods().values()
    if form is Format.table:
        print_rows([_describe_briefly(one) for one in found], COLUMNS, form)
    else:
        print_rows([describe(one) for one in found], EVERY_COLUMN, form)


def describe(method: "Method") -> dict[str, Any]:
    """All that is known of a method, by `EVERY_COLUMN`."""
    authors, doi = split_reference(method.reference)
    return {name: getattr(method, name, "") for name in EVERY_COLUMN} | {"reference": authors, "doi": doi}


def _describe_briefly(method: "Method") -> dict[str, Any]:
    tasks = "all" if len(method.tasks) == len(SHORT_TASKS) else " ".join(SHORT_TASKS[task] for task in method.tasks)
    known = describe(method)
    brief = {"tasks": tasks, "reconstructed": "yes" if method.reconstructed else "no", "reference": shorten_authors(known["reference"])}
    return {name: known[name] for name in COLUMNS} | brief


def split_reference(reference: str) -> tuple[str, str]:
    """The authors with the year, and the DOI; empty where there is none."""
    authors, _, doi = reference.partition(", doi ")
    return authors, doi


def shorten_authors(authors: str) -> str:
    """Authors and year in few characters: of more than two, the first; what is not written so stays as it is."""
    found = re.fullmatch(r"(.+) (\d{4})", authors)
    if not found:
        return authors
    names = found[1].removesuffix(" et al.").split(", ")
    if len(names) <= FEW_AUTHORS:
        return authors
    return f"{names[0]} et al. {found[2]}"


def _print_method(name: str, form: Format) -> None:
    from flows.output import print_rows, print_sheet, to_plain
    from prior.registry import find_method

    method = find_method(name)
    if form is Format.json:
        typer.echo(json.dumps({field: to_plain(value) for field, value in describe(method).items()}, indent=1, ensure_ascii=False))
    elif form is Format.csv:
        print_rows([{"field": field, "text": text} for field, text in to_sheet(method).items()], ("field", "text"), form)
    else:
        print_sheet(to_sheet(method))


def to_sheet(method: "Method") -> dict[str, str]:
    """All that is known of a method, field by field, as a person reads it; what is empty is left out."""
    authors, doi = split_reference(method.reference)
    sheet = {
        "name": method.name,
        "what it does": (inspect.getdoc(method.fuse) or "").partition("\n")[0] if inspect.isfunction(method.fuse) else "",
        "family": method.family,
        "source": authors,
        "doi": doi,
        "reconstructed": method.reconstructed or "nothing",
        "tasks": ", ".join(method.tasks),
        "sets": ", ".join(dict.fromkeys(method.member_of)),
        "cost": f"{method.cost}: {COSTS[method.cost]} for a pair of 640x480 on one thread",
        "parameters": ", ".join(f"{name} = {value!r}" for name, value in method.parameters.items()) or "none",
        "one picture twice": "gives that picture" if method.idempotent else "gives another picture",
        "version": str(method.version),
        "needs": ", ".join(method.needs),
        "licence": method.licence,
    }
    return {field: text for field, text in sheet.items() if text}


def _print_contributions(address: str, version: str, without: Sequence[str], form: Format) -> None:
    from flows.contribution import CRITERIA, find_contributions
    from flows.output import print_rows
    from storage.snapshot import Snapshot

    pools, contributions = find_contributions(Snapshot(address, version), without)
    if form is Format.json:
        found = {"pools": [_to_plain(asdict(one)) for one in pools], "contributions": [_to_plain(asdict(one)) for one in contributions]}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
        return
    matrix = to_matrix_rows(contributions, sorted({source for one in contributions for source in one.wins}))
    if form is Format.csv:
        print_rows(matrix, list(matrix[0]), form)
        return
    rows = to_pool_rows(pools)
    title = title_pools(without)
    print_rows(rows, list(rows[0]), form, title, keep=("pairs", "live", "published", "lead, %"))
    for criterion in CRITERIA:
        own = [row for row in matrix if row["criterion"] == criterion]
        title = f"Wins by {criterion}, and what the mean of the best loses without the method"
        print_rows(own, list(own[0])[1:], form, title, keep=("wins", "loss"))


def title_pools(without: Sequence[str]) -> str:
    """What stands over the table of pools."""
    left_out = f" and {', '.join(without)}" if without else ""
    return f"The mean value of the best live candidate of each pair, without the references{left_out}"


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
