"""Options that several commands have in common, and how they end when they are stopped."""

import functools
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, ParamSpec

import typer

from storage.errors import InputError

Asked = ParamSpec("Asked")

INTERRUPTED = 130
"""Exit status of a command that was stopped by hand."""


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class IfHeldOption(StrEnum):
    """What a command that writes does while a build of the store runs."""

    wait = "wait"
    refuse = "refuse"


MOST_PER_CORE = 4
"""Workers compute, on one thread each: more than one per core gains time only while files are waited for, and each takes memory."""


def check_worker_count(workers: int) -> int:
    """The number of workers asked for, where this machine can sensibly run as many; 0 is one per core.

    Raises:
        InputError: it is below 0, or above `MOST_PER_CORE` for every core.
    """
    from dask.system import CPU_COUNT

    most = MOST_PER_CORE * CPU_COUNT
    if not 0 <= workers <= most:
        raise InputError(
            f"{workers} workers on {CPU_COUNT} core{'s' if CPU_COUNT > 1 else ''}: expected 0 to {most}, {MOST_PER_CORE} per core; "
            "each is a process that computes on one thread, so give 0 for one per core"
        )
    return workers


Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        callback=check_worker_count,
        help=f"Processes of the local Dask cluster; 0 is one per core, {MOST_PER_CORE} per core the most.",
    ),
]
IfHeldChoice = Annotated[IfHeldOption, typer.Option("--if-held", help="What to do while a build of the store runs.")]
Store = Annotated[str, typer.Option("--store", help="The store: a folder or an s3:// address.")]
SnapshotName = Annotated[str, typer.Option("--snapshot", help="A tag, a branch or a snapshot id.")]
MoreMetrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="Metrics beside the standard ones, with commas; all is every one; `fusion-prior metrics` lists them; "
        "iqa:MODEL is one of pyiqa, such as iqa:ms_ssim, `fusion-prior metrics iqa:` names some. "
        "With --variant: exactly these of its metrics.",
    ),
]
ExactMetrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="Exactly these metrics, with commas, unless given the standard ones or the variant's; all is every one; "
        "`fusion-prior metrics` lists them; iqa:MODEL is one of pyiqa, such as iqa:ms_ssim, `fusion-prior metrics iqa:` names some.",
    ),
]
VariantName = Annotated[
    str,
    typer.Option(
        "--variant", help="A public implementation, for its numbers under its names; `fusion-prior metrics --variants` lists them."
    ),
]
RowFormat = Annotated[Format, typer.Option("--format", help="How rows are printed.")]
SamplingSteps = Annotated[int | None, typer.Option("--steps", help="Steps of the student's sampler, 1 to 50; its own number unless given.")]
Device = Annotated[str | None, typer.Option("--device", help="What the student computes on: auto, cpu or cuda.")]
Scheduler = Annotated[str, typer.Option("--scheduler", help="An existing Dask scheduler: tcp://127.0.0.1:8786, or tls://… with TLS files.")]
TlsCa = Annotated[str, typer.Option("--tls-ca", help="The authority's certificate, for a scheduler at tls://…")]
TlsCert = Annotated[str, typer.Option("--tls-cert", help="The certificate of this side.")]
TlsKey = Annotated[str, typer.Option("--tls-key", help="Its key, without a password.")]


def split_names(names: str) -> list[str]:
    """The names of a list with commas; none where nothing was given. Raises InputError where something was that names nothing."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    if names and not found:
        raise InputError(f"{names!r} names nothing; give names with commas between them, or leave the option out")
    return found


def tell_stopped(command: Callable[Asked, None]) -> Callable[Asked, None]:
    """The command, which says so when it is stopped by hand."""

    @functools.wraps(command)
    def run(*arguments: Asked.args, **named: Asked.kwargs) -> None:
        try:
            command(*arguments, **named)
        except KeyboardInterrupt:
            typer.echo("stopped; nothing half-done is left to be seen: run the same command again", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return run
