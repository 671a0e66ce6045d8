"""Options that several commands have in common, and how they end when they are stopped."""

import functools
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, ParamSpec

import typer

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


Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes of the local Dask cluster; 0 is one per core.")]
IfHeldChoice = Annotated[IfHeldOption, typer.Option("--if-held", help="What to do while a build of the store runs.")]
Store = Annotated[str, typer.Option("--store", help="The store: a folder or an s3:// address.")]
SnapshotName = Annotated[str, typer.Option("--snapshot", help="A tag, a branch or a snapshot id.")]
MoreMetrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="Metrics beside the standard ones, with commas; all is every one; `fusion-prior metrics` lists them. "
        "With --variant: exactly these of its metrics.",
    ),
]
ExactMetrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="Exactly these metrics, with commas, unless given the standard ones or the variant's; all is every one; "
        "`fusion-prior metrics` lists them.",
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
    """The names of a list with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


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
