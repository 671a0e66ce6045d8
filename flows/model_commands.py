"""The commands about students: train one, judge it, show it, hand it on. Part of `flows.command_line`, and read like it."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import INTERRUPTED, Device, Format, RowFormat, SamplingSteps, Store

if TYPE_CHECKING:
    from storage.snapshot import Snapshot
    from train.config import Network
    from train.model import Student

model_app = typer.Typer(
    help="Students: judge one, show what it is, list the presets, export it; the champion, its history and the way back.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A run's folder (its best checkpoint), or a checkpoint's own.")]


class ExportForm(StrEnum):
    """What a student is exported as."""

    onnx = "onnx"
    torch = "torch"


def train(
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints, reports, examples.")],
    store: Store = "store",
    snapshot: Annotated[str | None, typer.Option(help="A tag, a branch or a snapshot id; the newest unless given.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="tiny (the default), small or diff-if; `fusion-prior model presets` tells more.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimiser, in all.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops per step, over all processes.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of a crop, px.")] = None,
    rate: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, crops and noise.")] = None,
    mix: Annotated[str | None, typer.Option(help="Losses: published, prior-only, rules-only or criteria.")] = None,
    prior_weight: Annotated[float | None, typer.Option(help="Weight of the distance to the prior's winner, in place of the mix's.")] = None,
    last_stage: Annotated[float | None, typer.Option(help="Share of the steps, at the end, on the sampler's own images.")] = None,
    weighting: Annotated[str | None, typer.Option(help="none, or margin: winners by a clear margin count more.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts a batch is cut into, to save memory.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between evaluations on validation pairs.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    report_every: Annotated[int | None, typer.Option(help="Steps between reports.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read crops; 0 reads in the one that trains.")] = 0,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long, with a checkpoint to resume from.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the networks first; pays on a GPU over hours.")] = False,
    first: Annotated[
        Path | None, typer.Option(help="A checkpoint whose weights, and without --preset whose settings, to begin with.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out; settings not given are those it has.")] = False,
) -> None:
    """Train a student on a snapshot's winners; the last line is the checkpoint that the run ends with.

    Several GPUs: torchrun --standalone --nproc_per_node 2 -m flows.command_line train …
    """
    asked = dict(locals())  # every option is a field of the request
    from flows.output import say
    from flows.train_student import TrainRequest, train_student

    try:
        folder = train_student(TrainRequest(**asked))
    except KeyboardInterrupt:
        say("stopped; what is saved is kept: give --resume to go on")
        raise typer.Exit(INTERRUPTED) from None
    if os.environ.get("RANK", "0") == "0":  # torchrun starts this command several times
        typer.echo(folder)


@model_app.command()
def evaluate(
    checkpoint: Folder,
    store: Store = "store",
    snapshot: Annotated[str | None, typer.Option(help="A tag, a branch or a snapshot id; the one it was trained on unless given.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    steps: SamplingSteps = None,
    device: Device = None,
    form: RowFormat = Format.table,
) -> None:
    """Judge a student on held-out pairs, beside its teacher and the single methods, with intervals."""
    from flows.judge_student import judge_student
    from flows.output import print_verdict
    from flows.progress import show_progress
    from flows.students import open_student
    from train.checkpoint import check_schema, read_checkpoint

    found = read_checkpoint(checkpoint)
    check_schema(found)
    opened = _open_snapshot(store, snapshot, found.facts.snapshot_id)
    fuse = open_student(found, steps, device=device or "auto")
    with show_progress() as report:
        verdict = judge_student(opened, fuse, split, report=report)
    print_verdict(verdict, form)


@model_app.command()
def show(checkpoint: Folder, form: RowFormat = Format.table) -> None:
    """What a student is: networks, size, step, value, the snapshot and the losses it was trained with."""
    from train.checkpoint import make_student, read_checkpoint

    found = read_checkpoint(checkpoint)
    facts = found.facts
    told: dict[str, Any] = {
        "checkpoint": str(found.folder),
        "preset": _name_preset(facts.network),
        "parameters": _count_parameters(lambda: make_student(found)),
        "step": facts.step,
        "steps": facts.training.steps,
        "value": facts.value,
        "snapshot": facts.snapshot_id,
        "mix": asdict(facts.training.mix),
        "last mix": asdict(facts.training.last_mix),
        "training": {name: one for name, one in asdict(facts.training).items() if name not in ("mix", "last_mix")},
        "network": asdict(facts.network),
        "hashes": dict(facts.hashes),
    }
    if form is Format.json:
        typer.echo(json.dumps(told, indent=1))
        return
    _print_facts(told, form)


@model_app.command()
def presets(form: RowFormat = Format.table) -> None:
    """The presets with their numbers of parameters, and what `diff-if` does otherwise than the published code."""
    from flows.output import print_rows
    from train.config import CORRECTIONS, PRESETS
    from train.model import Student

    rows = [
        {
            "name": name,
            "parameters": _count_parameters(functools.partial(Student, one.network)),
            "widths": one.network.widths,
            "fold": one.network.fold,
            "diffuses": one.network.target,
            "predicts": one.network.predicts,
            "sampling steps": one.network.steps,
            "steps": one.training.steps,
            "batch": one.training.batch,
            "crop": one.training.crop,
        }
        for name, one in PRESETS.items()
    ]
    if form is Format.json:
        typer.echo(json.dumps({"presets": rows, "corrections": CORRECTIONS}, indent=1, ensure_ascii=False))
        return
    print_rows(rows, list(rows[0]), form)
    if form is Format.table:
        typer.echo("\n".join(("Corrections to the published code, in all presets:", *(f"- {one}" for one in CORRECTIONS))))


@model_app.command()
def export(
    checkpoint: Folder,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    form: Annotated[ExportForm, typer.Option("--format", help="onnx, or torch for a program of torch.export.")] = ExportForm.onnx,
    steps: SamplingSteps = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise that sampling starts from.")] = 0,
) -> None:
    """Write a student as one file that fuses without this project."""
    from train.checkpoint import read_checkpoint, read_student
    from train.export import export_student

    student = read_student(read_checkpoint(checkpoint)).eval()
    export_student(student, out, form=form.value, steps=steps, seed=seed)
    typer.echo(out)


@model_app.command("list")
def list_decisions(store: Store = "store", form: RowFormat = Format.table) -> None:
    """Every decision about the champion, the student in use: who was judged, by how much it was better or worse, and why."""
    from flows.champions import BRIEF, list_models, to_brief_rows, to_full_rows
    from flows.output import print_rows, say
    from storage.schema import MODELS

    rows = list_models(store)
    if form is Format.table:
        print_rows(to_brief_rows(rows), BRIEF, form, "Decisions about the champion (*: in force)")
    else:
        print_rows(to_full_rows(rows) if form is Format.json else [asdict(row) for row in rows], MODELS.names, form)
    if not rows:
        say(f"no student has been judged in {store} yet; the flow retrain-model makes the first champion")


@model_app.command()
def rollback(
    store: Store = "store",
    to: Annotated[str | None, typer.Option(help="Any student that was champion; the one before the present unless given.")] = None,
    reason: Annotated[str, typer.Option(help="Why, in one sentence; kept in the registry.")] = "",
) -> None:
    """Make a former champion the champion again, and print which that is."""
    from flows.champions import roll_back

    typer.echo(roll_back(store, to, reason).champion)


@model_app.command()
def champion(
    store: Store = "store",
    out: Annotated[Path | None, typer.Option(help="A new folder to copy it to; needed where the store is on S3.")] = None,
) -> None:
    """The folder of the champion's checkpoint, for `fusion-prior fuse --checkpoint`."""
    from flows.champions import copy_champion, find_champion_folder

    typer.echo(copy_champion(store, out) if out else find_champion_folder(store))


def _open_snapshot(store: str, name: str | None, trained_on: str) -> "Snapshot":
    """The snapshot to judge on; raises SnapshotNotFound, in words of training where its own is not there."""
    from flows.output import say
    from storage.errors import SnapshotNotFound
    from storage.snapshot import Snapshot

    try:
        opened = Snapshot(store, name or trained_on)
    except SnapshotNotFound:
        if name:
            raise
        message = f"the snapshot {trained_on} that the student was trained on is not in {store}; name its store, or another with --snapshot"
        raise SnapshotNotFound(message) from None
    if opened.id != trained_on:
        say(f"judged on snapshot {opened.id}; the student was trained on {trained_on}")
        say("a scene keeps its split within one store: if the two are of different stores, it may have been trained on")
    return opened


def _name_preset(network: "Network") -> str:
    from train.config import PRESETS

    return next((name for name, one in PRESETS.items() if one.network == network), "none of this release")


def _count_parameters(make: "Callable[[], Student]") -> int:
    import torch

    with torch.device("meta"):  # shapes alone
        return sum(one.numel() for one in make().parameters())


def _print_facts(told: dict[str, Any], form: Format) -> None:
    from flows.output import print_rows

    print_rows([{"fact": name, "value": _to_text(one)} for name, one in told.items()], ("fact", "value"), form)


def _to_text(fact: object) -> str:
    """A fact in one cell."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_to_text(one)}" for name, one in fact.items())
    return " ".join(map(str, fact)) if isinstance(fact, tuple) else "" if fact is None else str(fact)
