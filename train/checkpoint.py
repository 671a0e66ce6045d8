"""Checkpoints: a folder per kept step, written whole or not at all, and read with distrust.

RUN/step-00000500/checkpoint.json         what it is: networks, training, snapshot, step, and the sha256 of the two files below
                      student.safetensors     the averaged weights: the student
                      training.safetensors    the weights as trained and the optimiser's state: what a run is taken up from
    RUN/best.json                             which step judged best

There is no pickle in it: reading a stranger's checkpoint runs nothing.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import safetensors.torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from storage.errors import InputError, SchemaMismatch
from storage.schema import SCHEMA_VERSION
from train.config import ARCHITECTURE, Network, Training
from train.model import Student

FACTS, BEST = "checkpoint.json", "best.json"
Tensors: TypeAlias = Literal["student.safetensors", "training.safetensors"]
STUDENT: Tensors = "student.safetensors"
TRAINING: Tensors = "training.safetensors"
STEP = re.compile(r"step-(\d{8})")
KEPT = 2
"""Newest checkpoints that stay; the best one stays besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a checkpoint says of itself.

    Attributes:
        architecture: of the release that made it, see `config.ARCHITECTURE`.
        schema_version: of the snapshots that its release makes.
        snapshot_id: the snapshot it was trained on.
        step: steps taken.
        value: the mean of `balanced` on the validation pairs; None where this step was not judged.
        network: the networks' configuration.
        training: how it is trained.
        hashes: file name to sha256.
    """

    architecture: int
    schema_version: int
    snapshot_id: str
    step: int
    value: float | None
    network: Network
    training: Training
    hashes: dict[Tensors, str]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk: its folder, and what it says of itself."""

    folder: Path
    facts: Facts


_FACTS = TypeAdapter(Facts)


def write_checkpoint(run: Path, facts: Facts, student: Mapping[str, Tensor], training: Mapping[str, Tensor]) -> Checkpoint:
    """Keep a step of a run; whoever looks finds all of it or nothing.

    Args:
        run: the run's folder.
        facts: `hashes` is filled in here.
        student: the averaged weights.
        training: everything else that a run needs to go on.
    """
    folder = run / f"step-{facts.step:08d}"
    partial = run / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    hashes = {STUDENT: _write(partial / STUDENT, pack(student)), TRAINING: _write(partial / TRAINING, pack(training))}
    facts = Facts(**{name: getattr(facts, name) for name in Facts.__slots__} | {"hashes": hashes})
    _write(partial / FACTS, _FACTS.dump_json(facts, indent=1))
    if folder.exists():
        shutil.rmtree(folder)  # the same step again, after a resume from an older one
    partial.rename(folder)
    _sync(run)
    return Checkpoint(folder, facts)


def mark_best(run: Path, step: int, value: float) -> None:
    """Note which checkpoint judged best."""
    partial = run / f".{BEST}"
    _write(partial, json.dumps({"step": step, "value": value}).encode())
    partial.replace(run / BEST)


def read_best(run: Path) -> tuple[int, float] | None:
    """The step that judged best and its value, or None."""
    try:
        best = json.loads((run / BEST).read_bytes())
        return int(best["step"]), float(best["value"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run / BEST} cannot be read ({error}); delete it") from error


def delete_old(run: Path) -> None:
    """Delete all but the newest checkpoints and the best, and what a killed process left half-written."""
    best = read_best(run)
    for folder in find_checkpoints(run)[:-KEPT]:
        if best is None or folder.name != f"step-{best[0]:08d}":
            shutil.rmtree(folder)
    for partial in run.glob(".step-*"):
        shutil.rmtree(partial, ignore_errors=True)


def find_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the oldest first."""
    return sorted(one for one in run.glob("step-*") if STEP.fullmatch(one.name) and (one / FACTS).is_file())


def read_checkpoint(folder: Path) -> Checkpoint:
    """The best checkpoint of a run, else its newest; or the checkpoint whose own folder this is.

    Raises:
        InputError: there is none, or it cannot be read.
        SchemaMismatch: it is of a release with other networks.
    """
    if (folder / FACTS).is_file():
        return _read(folder)
    found = find_checkpoints(folder)
    if not found:
        raise InputError(f"{folder} holds no checkpoint; expected the folder that `fusion-prior train --out` wrote")
    best = read_best(folder)
    named = folder / f"step-{best[0]:08d}" if best else found[-1]
    return _read(named if named in found else found[-1])


def read_newest(run: Path) -> Checkpoint | None:
    """The checkpoint a run is taken up from, or None where there is none yet."""
    found = find_checkpoints(run)
    return _read(found[-1]) if found else None


def read_student(checkpoint: Checkpoint) -> Student:
    """The student of a checkpoint, its averaged weights.

    Raises:
        InputError: the weights are damaged, or do not fit the networks.
    """
    student = make_student(checkpoint)
    load_weights(student, read_tensors(checkpoint, STUDENT), checkpoint.folder)
    return student


def make_student(checkpoint: Checkpoint) -> Student:
    """A student with the networks of a checkpoint, its weights not read; raises InputError where they cannot be built."""
    try:
        return Student(checkpoint.facts.network)
    except (ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise InputError(f"the networks that {checkpoint.folder} names cannot be built ({error}); use another checkpoint") from error


def load_weights(student: Student, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put weights into networks; raises InputError where they do not fit."""
    try:
        student.load_state_dict(dict(weights))
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights in {folder} do not fit the networks it names ({what}); train again") from error


def read_tensors(checkpoint: Checkpoint, name: Tensors) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint; raises InputError where it is lost or damaged."""
    path = checkpoint.folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); use another checkpoint of the run") from error
    if hashlib.sha256(content).hexdigest() != checkpoint.facts.hashes.get(name):
        raise InputError(f"{path} is not what was written: its sha256 differs; use another checkpoint of the run")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise InputError(f"{path} is no safetensors file ({error}); use another checkpoint of the run") from error


def check_schema(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that learnt from snapshots of another schema; raises SchemaMismatch."""
    found = checkpoint.facts.schema_version
    if found != SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{checkpoint.folder} was trained on snapshots of schema {found}, this release makes {SCHEMA_VERSION}; "
            "train again on a new build"
        )


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    return safetensors.torch.save({name: one.detach().cpu().contiguous() for name, one in tensors.items()})


def _read(folder: Path) -> Checkpoint:
    path = folder / FACTS
    try:
        raw = json.loads(path.read_bytes())
        found = raw["architecture"]
        if found != ARCHITECTURE:
            raise SchemaMismatch(
                f"{folder} holds networks of architecture {found}, this release has {ARCHITECTURE}; use the release that made it"
            )
        facts = _FACTS.validate_python(raw)
        if _FACTS.dump_python(facts, mode="json") != raw:
            raise ValueError("it holds fields that this release does not know, or lacks some")
        return Checkpoint(folder, facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path} cannot be read ({what}); use another checkpoint of the run") from error


def _write(path: Path, content: bytes) -> str:
    """Write a file down to the disk, and return its sha256."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
