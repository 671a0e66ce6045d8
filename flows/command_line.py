"""The command line `fusion-prior`: the answer goes to stdout, everything else to stderr; what cannot be done is one sentence, exit code 2.

What a command needs is imported inside it, so that `--help` is there at once.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from flows.care_commands import gc, repair, verify
from flows.diff_command import diff
from flows.evaluate_command import evaluate
from flows.export_command import export
from flows.leaks_command import leaks
from flows.logs import PACKAGES
from flows.method_commands import methods
from flows.metric_commands import metrics
from flows.model_commands import model_app, train
from flows.options import (
    INTERRUPTED,
    Device,
    Format,
    IfHeldChoice,
    IfHeldOption,
    MoreMetrics,
    RowFormat,
    SamplingSteps,
    Scheduler,
    SnapshotName,
    Store,
    TlsCa,
    TlsCert,
    TlsKey,
    VariantName,
    Workers,
    split_names,
    tell_stopped,
)
from flows.version_commands import branch, manifest, reselect, snapshots, tag
from storage.errors import FusionPriorError, InputError

PAIRS_FAILED = 1
REFUSED = 2
EXAMPLE = Path(__file__).parent / "recipes" / "example.toml"

app = typer.Typer(
    name="fusion-prior",
    help="Build and read fusion knowledge priors: the best of many image fusion methods for every pair, scored, selected and versioned; "
    "and train a diffusion model on one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipe_app = typer.Typer(help="Recipes: check one, or print an example.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")
app.add_typer(model_app, name="model")


class Engine(StrEnum):
    """What runs a build: the Prefect flow, or the same functions without Prefect."""

    prefect = "prefect"
    plain = "plain"


@app.command()
def build(
    a: Annotated[str | None, typer.Option(help="Folder of the first modality; without --a, --b and --recipe: the example pairs.")] = None,
    b: Annotated[str | None, typer.Option(help="Folder of the second modality.")] = None,
    published: Annotated[str | None, typer.Option(help="Folder with one folder of published results per method.")] = None,
    pattern: Annotated[str | None, typer.Option(help='How the files of a pair are named: "IR{key} VIS{key}". Else by equal stems.')] = None,
    task: Annotated[str | None, typer.Option(help="infrared-visible, medical, multi-focus or multi-exposure.")] = None,
    methods: Annotated[str | None, typer.Option(help="Live methods or sets, with commas: fast, standard, all, none, a task, gff …")] = None,
    criterion: Annotated[str | None, typer.Option(help='diff-if, balanced, rank-sum … or a rule: "2*ssim + vif where qabf > 0.4".')] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics to store beside the standard ones, with commas.")] = None,
    max_shift: Annotated[float | None, typer.Option(help="Set pairs aside whose estimated shift is larger, in px.")] = None,
    keep: Annotated[str | None, typer.Option(help="Whose pictures to keep: winners or all.")] = None,
    recipe: Annotated[str | None, typer.Option(help="TOML file with all of this and more; options replace what it says.")] = None,
    store: Store = "store",
    tag: Annotated[str, typer.Option(help="A name for the snapshot, for good.")] = "",
    workers: Workers = 0,
    scheduler: Scheduler = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    engine: Annotated[Engine, typer.Option(help="prefect, or plain for the same core without Prefect.")] = Engine.prefect,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try candidates again that failed before.")] = False,
    if_held: IfHeldChoice = IfHeldOption.wait,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell the pairs, the methods, the time and the disk space.")] = False,
) -> None:
    """Fuse, score and select, and keep the best of every pair as one snapshot; the last line is its id."""
    from flows.engines import build_plainly, build_with_prefect, rehearse
    from storage.schema import check_tag_name

    asked = {
        "a": a,
        "b": b,
        "published": published,
        "pattern": pattern,
        "task": task,
        "methods": _split(methods),
        "criterion": criterion,
        "metrics": _split(metrics),
        "max_shift": max_shift,
        "keep": keep,
        "recipe": recipe,
    }
    if tag:
        check_tag_name(tag)
    if dry_run:
        if scheduler:
            raise InputError("--dry-run rehearses on this machine, with its workers; leave --scheduler out")
        rehearse(asked, store, workers)
        return
    how = {
        "store": store,
        "tag": tag,
        "workers": workers,
        "scheduler": scheduler,
        "tls_ca": tls_ca,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "retry_failed": retry_failed,
        "if_held": if_held.value,
    }
    run = build_with_prefect if engine is Engine.prefect else build_plainly
    try:
        snapshot_id = run(asked, how)
    except KeyboardInterrupt:
        print("stopped; what is finished is kept: run the same command again to resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    from flows.output import print_summary
    from flows.summary import summarise
    from storage.snapshot import Snapshot

    print_summary(summarise(Snapshot(store, snapshot_id)), tag)
    print(snapshot_id)


@app.command()
def busy(store: Store = "store", form: RowFormat = Format.table) -> None:
    """Who is at work on a store: the build and the retraining that others wait for, and since when."""
    from flows.output import print_rows
    from storage.locks import find_holder
    from storage.repository import open_store

    files = open_store(store).files
    found = {name: holder for name in ("build", "retraining") if (holder := find_holder(files, name))}
    rows = [
        {"at work": name, "who": one.who, "host": one.host, "process": one.pid, "since": f"{one.since:%Y-%m-%dT%H:%M:%SZ}"}
        for name, one in found.items()
    ]
    print_rows(rows, ("at work", "who", "host", "process", "since"), form)


@app.command()
def winners(
    store: Store = "store",
    snapshot: SnapshotName = "main",
    criterion: Annotated[str, typer.Option(help="Pick by another criterion from the kept scores; nothing is written.")] = "",
    form: RowFormat = Format.table,
) -> None:
    """Who won each pair, by how much, before whom, and who would have won under `balanced`."""
    from flows.output import print_rows, say
    from flows.summary import count_different, find_winners
    from storage.snapshot import Snapshot

    rows = find_winners(Snapshot(store, snapshot), criterion)
    columns = ("pair_id", "method", "value", "runner_up", "margin", "flags", "balanced")
    print_rows([asdict(row) for row in rows], columns, form)
    say(f"{count_different(rows)} of {len(rows)} winners would be others under `balanced`")


@app.command()
def scores(store: Store = "store", snapshot: SnapshotName = "main", form: RowFormat = Format.table) -> None:
    """Every candidate: status, reason, flags and every metric, failures included."""
    from flows.output import print_rows
    from storage.snapshot import Snapshot

    table = Snapshot(store, snapshot).table("scores")
    columns = table.column_names if form is not Format.table else _brief(table.column_names)
    print_rows(table.to_pylist(), columns, form, keep=("message",))


@app.command()
def pairs(store: Store = "store", snapshot: SnapshotName = "main", form: RowFormat = Format.table) -> None:
    """Every pair that was asked for: status, reason, flags, size, estimated shift."""
    from flows.output import print_rows
    from storage.snapshot import Snapshot

    table = Snapshot(store, snapshot).table("pairs")
    brief = ("pair_id", "split", "status", "reason", "flags", "height", "width", "shift", "shift_confidence", "message")
    print_rows(table.to_pylist(), brief if form is Format.table else table.column_names, form, keep=("message",))


@app.command()
def show(
    pair: Annotated[str, typer.Argument(help="The pair's id.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    store: Store = "store",
    snapshot: SnapshotName = "main",
    best: Annotated[int, typer.Option(min=1, max=100, help="How many candidates to show.")] = 4,
) -> None:
    """Draw a pair's sources and its best candidates with their scores on one sheet."""
    from flows.sheet import draw_sheet
    from prior.pictures import write_png
    from storage.snapshot import Snapshot

    write_png(out, draw_sheet(Snapshot(store, snapshot), pair, best, snapshot))
    print(out)


@app.command()
def fuse(
    a: Annotated[Path, typer.Argument(help="The first source, or a folder of them.")],
    b: Annotated[Path, typer.Argument(help="The second source, or a folder of them with equal names.")],
    out: Annotated[Path, typer.Argument(help="The PNG to write, or the folder for them.")],
    method: Annotated[str | None, typer.Option(help="The method; `fusion-prior methods` lists them.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A trained student in place of a method: its run or its checkpoint.")] = None,
    steps: SamplingSteps = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise that a student starts from.")] = None,
    device: Device = None,
) -> None:
    """Fuse two pictures, or all pairs of two folders, with one method or a trained student."""
    from flows.output import say
    from flows.progress import show_progress
    from flows.single import fuse_files, fuse_folders
    from flows.students import choose_method

    chosen = choose_method(method, checkpoint, steps, seed, device)
    if not a.is_dir() and not b.is_dir():
        fuse_files(chosen, a, b, out)
        print(out)
        return
    with show_progress() as report:
        fused, failed = fuse_folders(chosen, a, b, out, report)
    say(f"{fused} of {fused + failed} pairs fused")
    print(out)
    if failed:
        raise typer.Exit(PAIRS_FAILED)


@app.command()
def score(
    a: Annotated[Path, typer.Argument(help="The first source.")],
    b: Annotated[Path, typer.Argument(help="The second source.")],
    fused: Annotated[Path, typer.Argument(help="The fused picture.")],
    metrics: MoreMetrics = "",
    variant: VariantName = "",
    form: RowFormat = Format.json,
) -> None:
    """Score one fused picture against its two sources: by the standard metrics and those named, or as a public implementation does."""
    from flows.columns import choose_columns
    from flows.output import print_rows, say, to_plain
    from flows.single import score_files
    from prior.evaluate import STANDARD_METRICS

    columns = choose_columns([*(() if variant else STANDARD_METRICS), *split_names(metrics)], variant)
    numbers, sentences = score_files(a, b, fused, columns)
    for sentence in sentences:
        say(sentence)
    if form is Format.json:
        named = {"variant": variant} if variant else {}
        print(json.dumps(named | {"scores": {name: to_plain(number) for name, number in numbers.items()}}, ensure_ascii=False))
    else:
        rows = [{"metric": one.name, "printed as": one.printed, "score": numbers[one.name]} for one in columns]
        print_rows(rows, ("metric", "printed as", "score") if variant else ("metric", "score"), form)


app.command()(tell_stopped(evaluate))
app.command()(train)
app.command()(methods)
app.command()(metrics)
for command in (snapshots, diff, tag, branch, manifest, reselect, verify, repair, gc, export, leaks):
    app.command()(tell_stopped(command))


@recipe_app.command("check")
def check_recipe(file: Annotated[Path, typer.Argument(help="The TOML file.")]) -> None:
    """Check a recipe whole, without running it."""
    from flows.output import say
    from flows.recipe import collect_recipe
    from flows.words import count

    recipe = collect_recipe(file)
    sources = count(len(recipe.source), "source") if recipe.source else "the example pairs"
    say(f"{file} is a valid recipe: {sources}, criterion {recipe.criterion}, metrics {', '.join(recipe.metric_names())}")


@recipe_app.command("example")
def print_example() -> None:
    """Print a recipe with every field explained."""
    print(EXAMPLE.read_text(), end="")


def main() -> None:
    """Run the command line; every error made on purpose is one sentence and exit code 2."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in PACKAGES:
        logging.getLogger(package).addHandler(handler)
        logging.getLogger(package).setLevel(logging.INFO)
        logging.getLogger(package).propagate = False  # Prefect would say it a second time
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path is printed as the bytes that it is
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except FusionPriorError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    except BrokenPipeError:
        _close_stdout()  # whoever read our answer has read enough
        sys.exit(1)
    except OSError as error:
        what = ": ".join(map(str, filter(None, (error.strerror or error, error.filename))))
        print(f"error: {what}; make room for it, or allow it, and run the same command again", file=sys.stderr)
        _close_stdout()
        sys.exit(REFUSED)


def _close_stdout() -> None:
    """What could not be written is not tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _split(names: str | None) -> list[str] | None:
    return None if names is None else split_names(names)


def _brief(columns: Sequence[str]) -> list[str]:
    """The columns of the scores table that fit on a terminal; a narrow one has no room for the last."""
    left_out = {"version", "content_key", "file", "chroma", "judge_seconds", "clipped", "ssim_l2", "seconds"}
    return [*(name for name in columns if name not in left_out), "seconds"]


if __name__ == "__main__":
    main()
