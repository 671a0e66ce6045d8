"""What a flow leaves on the Prefect server for whoever watches it there: progress, tables, decisions. Never a secret.

None of it is worth the work of hours: where the server does not take it, that is told, and the flow goes on.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact

from flows.output import describe
from flows.progress import Report
from flows.summary import Failures, Summary
from storage.schema import FIRST, KEPT, PROMOTED
from train.evaluate import to_difference_rows

if TYPE_CHECKING:
    from flows.retrain import Decision

logger = logging.getLogger(__name__)

PAUSE = 5.0
"""Seconds between two updates of a progress artifact, at least: every one is a call to the server."""

REST = 300.0
"""Seconds of peace for a server that did not take an update: Prefect tries for more than a minute before it gives up."""

TITLES = {FIRST: "The first champion", PROMOTED: "The challenger is champion now", KEPT: "The champion stays"}

LISTED = 50
"""How many pairs that were set aside are named."""


@contextlib.contextmanager
def spare(what: str) -> Iterator[None]:
    """Let nothing that goes wrong in here end the flow."""
    try:
        yield
    except Exception as error:  # Prefect's and its transport's are of many kinds
        logger.warning("the Prefect server did not take the %s (%s); the work goes on", what, type(error).__name__)


class Progress:
    """A report that keeps one progress artifact per phase of a flow's work, and passes everything on."""

    def __init__(self, flow: str, onward: Report) -> None:
        self._flow = flow
        self._onward = onward
        self._artifacts: dict[str, Any] = {}
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell that so much of a phase is done; may be called from several threads."""
        with self._lock:
            self._onward(what, done, total)
            if done >= total or time.monotonic() >= self._due.get(what, 0.0):
                self._due[what] = time.monotonic() + REST
                with spare("progress"):
                    self._tell(what, done, total)
                    self._due[what] = time.monotonic() + PAUSE

    def _tell(self, what: str, done: int, total: int) -> None:
        if what not in self._artifacts:
            key = f"{self._flow}-{what.replace(' ', '-')}"
            self._artifacts[what] = create_progress_artifact(0.0, key=key, description=f"{what}: {total} in all")
            if done < total:
                return
        update_progress_artifact(self._artifacts[what], min(100.0, 100 * done / max(1, total)))  # a batch tried again counts again


@spare("summary")
def leave_build(summary: Summary, made: bool, tag: str, flow: str = "build-prior") -> None:
    """A table of wins, one of failures where there are any, and a summary, under the name of the flow."""
    table: list[dict[str, Any]] = [
        {"method": one.method, "wins": one.wins, "wins (balanced)": one.wins_balanced, "candidates": one.candidates, "failed": one.failed}
        for one in summary.tallies
    ]
    create_table_artifact(table, key=f"{flow}-wins", description=f"Wins by {summary.criterion}, snapshot {summary.snapshot_id}")
    create_markdown_artifact(write_markdown(summary, made, tag), key=f"{flow}-summary")
    leave_failures(summary.failed, flow)


@spare("failures")
def leave_failures(failed: Sequence[Failures], flow: str = "build-prior") -> None:
    """A table of what failed: per method and reason how often, and the first of them in words."""
    if failed:
        table: list[dict[str, Any]] = [
            {"method": one.method, "reason": one.reason, "candidates": one.count, "the first": one.first} for one in failed
        ]
        create_table_artifact(table, key=f"{flow}-failures", description="Candidates that failed, by method and reason")


@spare("report")
def leave_student(folder: Path) -> None:
    """Where a trained student lies, and what its run told last of each kind."""
    from train.report import read_reports  # brings torch, which a build does without

    lines = [f"# Student in `{folder}`", "", "The best checkpoint of the run is the student.", ""]
    last = {report["kind"]: report for report in read_reports(folder.parent)}
    for kind, report in last.items():
        numbers = ((name, number) for name, number in report.items() if name not in ("kind", "step"))
        lines += [f"## {kind.capitalize()} at step {report['step']}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {number if number is None else format(number, '.4g')} |" for name, number in numbers] + [""]
    create_markdown_artifact("\n".join(lines), key="train-model-student")


@spare("decision")
def leave_decision(decision: "Decision") -> None:
    """What a retraining decided, by which numbers, and on which snapshots."""
    row = decision.row
    lines = [f"# {TITLES[row.decision] if row else 'Nothing was trained'}", "", f"{decision.reason}.", ""]
    if row:
        facts = {
            "champion now": row.champion,
            "champion before": row.previous or "none",
            "challenger": row.challenger,
            "challenger's snapshot": row.challenger_snapshot,
            "champion's snapshot": row.champion_snapshot or "none",
            "judged on": f"{row.pairs} {row.split} pairs of {row.groups} scenes of snapshot {row.judged_snapshot}",
            "winners": str(decision.changes),
            "row of the registry": row.number,
        }
        lines += ["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items()), ""]
    if decision.verdict:
        leads = to_difference_rows(decision.verdict)
        lines += ["## The challenger's lead, with the 95 % interval of a bootstrap over scenes", "", *_tabulate(leads)]
    create_markdown_artifact("\n".join(lines), key="retrain-model-decision")


def _tabulate(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Rows as a Markdown table."""
    names = list(rows[0]) if rows else []
    cells = ([f"{one:.3f}" if isinstance(one, float) else str(one) for one in row.values()] for row in rows)
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}", *(f"| {' | '.join(row)} |" for row in cells)]


def write_markdown(summary: Summary, made: bool, tag: str) -> str:
    """A build's summary as Markdown."""
    lines = [
        f"# Snapshot `{summary.snapshot_id}`" + (f" (`{tag}`)" if tag else ""),
        "",
        f"In `{summary.address}`, selected by `{summary.criterion}`" + ("." if made else "; it was there already, nothing was written."),
        "",
        *(f"- {sentence}" for sentence in describe(summary)),
        *(f"- `{pair_id}`: {sentence}" for pair_id, _, sentence in summary.set_aside[:LISTED]),
    ]
    return "\n".join(lines)
