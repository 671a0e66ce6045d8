"""The command `export`: a snapshot as a folder for other trainers. Part of `flows.command_line`, and read like it."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.options import Store


class LayoutName(StrEnum):
    """How the folder is laid out."""

    diff_if = "diff-if"
    webdataset = "webdataset"
    huggingface = "huggingface"


class PolicyName(StrEnum):
    """What is asked of the licences."""

    any = "any"
    commercial = "commercial"


class Side(StrEnum):
    """One source of a pair."""

    a = "a"
    b = "b"


def export(
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A tag, a branch or a snapshot id.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must be empty or not there.")],
    layout: Annotated[
        LayoutName, typer.Option(help="diff-if: what its published trainer reads; webdataset: tar shards; huggingface: Parquet and a card.")
    ] = LayoutName.diff_if,
    store: Store = "store",
    split: Annotated[str, typer.Option(help="Whose pairs, with commas: train,val,test.")] = "train,val,test",
    policy: Annotated[
        PolicyName, typer.Option(help="commercial refuses pairs that are not known to be usable commercially.")
    ] = PolicyName.any,
    only_allowed: Annotated[bool, typer.Option("--only-allowed", help="Leave refused pairs out in place of refusing all.")] = False,
    allow: Annotated[
        list[str] | None, typer.Option(help="A licence's text that you state to allow commercial use; again for more.")
    ] = None,
    visible: Annotated[
        Side | None, typer.Option(help="For diff-if: the source that is visible, or CT, PET or SPECT, where its name does not tell.")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="MB per shard of webdataset and huggingface.")] = 512,
) -> None:
    """Write a snapshot as a folder for other trainers, with a card and Croissant metadata; the last line is the folder."""
    from flows.output import say
    from flows.progress import show_progress
    from prior.pictures import encode_png
    from storage.export import ExportRequest, export_snapshot
    from storage.snapshot import Snapshot

    opened = Snapshot(store, snapshot)
    request = ExportRequest(
        out=out,
        layout=layout.value,
        splits=tuple(name.strip() for name in split.split(",") if name.strip()),
        policy=policy.value,
        allow=tuple(allow or ()),
        refused="leave_out" if only_allowed else "stop",
        metric_licences=find_metric_licences(opened.manifest),
        shard_bytes=shard_size * 1_000_000,
        visible=visible.value if visible else "",
    )
    with show_progress() as report:
        done = export_snapshot(opened, request, encode_png, report)
    for note in done.notes:
        say(note)
    say(f"snapshot {opened.id}: {', '.join(f'{count} {name}' for name, count in done.counts.items())}")
    typer.echo(done.folder)


def find_metric_licences(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The licences of the metrics that a snapshot's criterion reads: as it says, or, of an older schema, as this release knows them."""
    if "used" in manifest:
        return dict(manifest["used"]["metrics"])
    from prior import registry
    from prior.criterion import parse_criterion
    from storage.errors import InputError, UnknownName

    found = {}
    for name in parse_criterion(manifest["criterion"]["rule"]).metrics:
        try:
            found[name] = registry.find_metric(name).licence
        except (UnknownName, InputError):
            found[name] = ""  # of a plug-in, or a library's release, that is not installed here
    return found
