"""The commands that take care of a store: verify, repair and gc."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Format, IfHeldChoice, IfHeldOption, RowFormat, Store

if TYPE_CHECKING:
    from storage.findings import Finding
    from storage.verify import Verification

DAMAGE = 1
"""Exit status where damage is found, or stays."""


def verify(
    snapshot: Annotated[str | None, typer.Argument(help="A tag, a branch or a snapshot id; all that can be reached unless given.")] = None,
    store: Store = "store",
    form: RowFormat = Format.table,
) -> None:
    """Look whether every file is there and is what was written, and everything fits; exit code 1 where something does not."""
    from flows.output import say
    from flows.progress import show_progress
    from storage.verify import verify_store

    with show_progress() as report:
        found = verify_store(store, [snapshot] if snapshot else (), report=report)
    _print_findings([(one, "") for one in found.findings], form)
    say(describe(found))
    if found.findings:
        say(f"mend what can be mended with: fusion-prior repair --store {store}")
        raise typer.Exit(DAMAGE)


def repair(store: Store = "store", if_held: IfHeldChoice = IfHeldOption.wait, form: RowFormat = Format.table) -> None:
    """Put back what is lost or damaged, under the same snapshot ids; exit code 1 where something cannot be."""
    from flows.output import say
    from flows.progress import show_progress
    from flows.repair import repair_store

    with show_progress() as report:
        done = repair_store(store, who="fusion-prior repair", if_held=if_held.value, report=report)
    mended = [(one, "mended") for one in done.repaired if one.where not in {left.finding.where for left in done.left}]
    _print_findings([*mended, *((one.finding, f"stays: {one.reason}") for one in done.left)], form)
    say(f"{len(mended)} damages are mended, {len(done.left)} stay; the last look found {len(done.verification.findings)}")
    if done.left:
        raise typer.Exit(DAMAGE)


def gc(
    keep: Annotated[
        str, typer.Option(help="What stays of the history: all, the newest so many snapshots (10), or those of so many days (30d).")
    ] = "all",
    store: Store = "store",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    if_held: IfHeldChoice = IfHeldOption.wait,
    form: RowFormat = Format.table,
) -> None:
    """Free what nothing leads to, and of the history what is not to be kept; never what a tag, a branch or the champion names."""
    from flows.output import print_rows, say
    from flows.progress import show_progress
    from storage.collect import collect_garbage, find_garbage, parse_keep

    wanted = parse_keep(keep)
    if dry_run:
        garbage = find_garbage(store, wanted)
    else:
        with show_progress() as report:
            garbage = collect_garbage(store, wanted, who="fusion-prior gc", if_held=if_held.value, report=report)
    rows: dict[str, list[int]] = {}
    for path, size in garbage.files.items():
        rows.setdefault(path.rpartition("/")[0] or ".", []).append(size)
    table = [{"folder": name, "files": len(sizes), "bytes": sum(sizes)} for name, sizes in sorted(rows.items())]
    if table or form is not Format.table:
        print_rows(table, ("folder", "files", "bytes"), form.value)
    say(
        f"{len(garbage.snapshots)} snapshots, {len(garbage.files)} files with {garbage.size} bytes and {len(garbage.branches)} branches of "
        f"builds that did not end {'would be' if dry_run else 'are'} freed"
    )
    for one in garbage.snapshots:
        say(f"snapshot {one} {'would go' if dry_run else 'is gone'}")
    if garbage.changed:
        say(f"{len(garbage.changed)} snapshots that stay {'would lose' if dry_run else 'have lost'} the link to their parent")


def describe(found: "Verification") -> str:
    """How much was looked at, and how much of it is damaged."""
    unsealed = f"; {found.images} images of older snapshots, which no seal covers, were read whole" if found.images else ""
    verdict = f"{len(found.findings)} damages" if found.findings else "no damage"
    return f"{verdict} in {len(found.snapshots)} snapshots, {found.files} sealed files, {found.size} bytes read{unsealed}"


def to_row(finding: "Finding", outcome: str = "") -> dict[str, Any]:
    """A finding as it is printed; what became of it where that is known."""
    row = {
        "kind": finding.kind,
        "where": finding.where,
        "snapshots": finding.snapshots,
        "pairs": finding.pairs,
        "sentence": finding.sentence,
    }
    return row | ({"outcome": outcome} if outcome else {})


def _print_findings(found: "list[tuple[Finding, str]]", form: Format) -> None:
    from flows.output import print_rows

    rows = [to_row(one, outcome) for one, outcome in found]
    columns = list(rows[0]) if rows else ["kind", "where", "snapshots", "pairs", "sentence"]
    if rows or form is not Format.table:
        print_rows(rows, ["kind", "sentence", *columns[5:]] if form is Format.table else columns, form.value)
