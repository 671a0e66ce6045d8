"""The Prefect flow `check-prior`: looks for damage in a store, mends it where asked to, and fails where some stays, so that it is told."""

from typing import Any

import prefect
from prefect.artifacts import create_table_artifact

from flows.artifacts import Progress, spare
from flows.care_commands import describe, to_row
from flows.logs import open_logs
from flows.notices import name_run, tell_failure
from flows.progress import show_progress
from flows.repair import Left, repair_store
from flows.words import count, name_first
from storage.errors import StoreError
from storage.findings import Finding
from storage.verify import verify_store

LISTED = 200
"""How many damages the artifact lists."""


@prefect.flow(name="check-prior", on_failure=[tell_failure], on_crashed=[tell_failure])
def check_prior(store: str = "store", snapshot: str = "", repair: bool = False) -> str:
    """Look whether every file of a store is there and is what was written.

    Args:
        store: where the prior is kept: a folder or an s3:// address.
        snapshot: a tag, a branch or a snapshot id to look at; empty looks at all that can be reached.
        repair: put back what can be had again, in the whole store, where damage is found.

    Returns:
        How much was looked at, in one sentence.

    Raises:
        StoreError: damage is found, or stays after the repair.
    """
    open_logs()
    with show_progress() as report:
        told = Progress("check-prior", report)
        found = verify_store(store, [snapshot] if snapshot else (), report=told)
        if not found.findings:
            return describe(found)
        if not repair:
            leave_findings([to_row(one) for one in found.findings])
            raise StoreError(_name_findings(store, found.findings))
        done = repair_store(store, who=name_run(), report=told)
    mended = [to_row(one, "mended") for one in done.repaired]
    leave_findings([*(to_row(one.finding, f"stays: {one.reason}") for one in done.left), *mended])
    if done.left:
        raise StoreError(_name_left(store, done.left))
    return f"mended: {count(len(done.repaired), 'damage')}; {describe(done.verification)}"


@spare("findings")
def leave_findings(rows: list[dict[str, Any]]) -> None:
    """A table of what is damaged, and of what became of it."""
    table = [{name: ", ".join(one) if isinstance(one, tuple) else one for name, one in row.items()} for row in rows[:LISTED]]
    create_table_artifact(table, key="check-prior-findings", description=count(len(rows), "damage"))


def _name_findings(store: str, found: tuple[Finding, ...]) -> str:
    named = name_first([one.sentence for one in found], comma="; ")
    return f"{store} is damaged in {count(len(found), 'place')}: {named}; mend it with: fusion-prior repair --store {store}"


def _name_left(store: str, left: tuple[Left, ...]) -> str:
    named = name_first([f"{one.finding.sentence} ({one.reason})" for one in left], comma="; ")
    return f"{store} is damaged in {count(len(left), 'place')} that cannot be mended: {named}"


if __name__ == "__main__":
    check_prior()
