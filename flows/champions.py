"""Champions: the student in use, kept beside the snapshots of its store; how one is kept, found, copied and gone back to.

torch is imported on demand: to look into the registry needs none of it.
"""

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from storage.errors import InputError, unknown_name
from storage.files import Files, hash_bytes
from storage.models import KEPT_FILES, WEIGHTS, append_model, find_champion, find_former, keep_student, open_folder, read_models
from storage.repository import open_store
from storage.schema import FIRST, PROMOTED, ROLLED_BACK, ModelRow

if TYPE_CHECKING:
    from train.checkpoint import Checkpoint

BRIEF = ("number", "time", "decision", "champion", "challenger", "snapshot", "value", "difference", "reason")
_NOBODY = "no student has been champion in {address} yet; the flow retrain-model makes the first"


def keep_champion(files: Files, checkpoint: "Checkpoint") -> str:
    """Keep the student of a checkpoint in a store, before the row of the registry that names it.

    Returns:
        The student's name.

    Raises:
        InputError: its weights are damaged, do not fit its networks, or were replaced meanwhile.
    """
    from train.checkpoint import STUDENT, read_student

    read_student(checkpoint)
    try:
        contents = {name: (checkpoint.folder / name).read_bytes() for name in KEPT_FILES}
    except OSError as error:
        raise InputError(f"{checkpoint.folder} cannot be read ({error.strerror}); name another checkpoint of its run") from error
    if hash_bytes(contents[WEIGHTS]) != checkpoint.facts.hashes[STUDENT]:
        raise InputError(f"the student in {checkpoint.folder} was replaced while it was read; run the same command again")
    return keep_student(files, contents)


def roll_back(address: str, to: str | None, reason: str) -> ModelRow:
    """Make a former champion the champion again.

    Args:
        address: of the store.
        to: any student that was champion; the one before the present unless given.
        reason: one sentence; empty for one that says what was done.

    Returns:
        The row that was added to the registry.

    Raises:
        InputError: there is none to go back to, or `to` is the champion, or was judged and never promoted.
        UnknownName: `to` is no student of the registry.
        StoreError: the weights of that student are lost.
        CommitConflict: somebody else decided in between.
    """
    files = open_store(address).files
    rows = read_models(files)
    champion = find_champion(rows)
    if not champion:
        raise InputError(_NOBODY.format(address=address))
    student = _choose_named(rows, to) if to else _choose_last(rows, address)
    with open_folder(files, student):
        pass  # nobody goes back to weights that are lost
    row = ModelRow(
        decision=ROLLED_BACK,
        champion=student,
        previous=champion,
        champion_snapshot=find_trained_on(rows, champion),
        reason=reason or f"went back by hand from {champion} to {student}",
    )
    return append_model(files, row, champion)


def find_trained_on(rows: Sequence[ModelRow], student: str) -> str:
    """The snapshot that a champion was trained on; "" where the registry does not tell."""
    return next((row.challenger_snapshot for row in reversed(rows) if row.decision in (FIRST, PROMOTED) and row.champion == student), "")


def find_champion_folder(address: str) -> Path:
    """The folder of the champion's checkpoint, in a store that is a folder.

    Raises:
        InputError: there is no champion, or the store is no folder.
        StoreError: its weights are lost.
    """
    files, champion = _find_champion(address)
    if files.location.folder is None:
        raise InputError(f"the champion {champion} lies on an object store; give --out FOLDER, where it shall be copied to")
    with open_folder(files, champion) as folder:
        return folder


def copy_champion(address: str, out: Path) -> Path:
    """Copy the champion's checkpoint into a new folder, whole or not at all.

    Returns:
        That folder.

    Raises:
        InputError: there is no champion, or the folder is there already or cannot be made.
        StoreError: its weights are lost.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name a new folder for the champion")
    files, champion = _find_champion(address)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    with open_folder(files, champion) as folder:
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name in KEPT_FILES:
                shutil.copyfile(folder / name, partial / name)
            partial.rename(out)
        except OSError as error:
            raise InputError(f"{out} cannot be written ({error.strerror}); name another folder for the champion") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return out


def list_models(address: str) -> tuple[ModelRow, ...]:
    """Every decision about the champion of a store, the oldest first."""
    return read_models(open_store(address).files)


def to_brief_rows(rows: Sequence[ModelRow]) -> list[dict[str, Any]]:
    """Decisions as they fit on a terminal; the champion in force now is marked with a star."""
    champion = find_champion(rows)
    return [
        {
            "number": row.number,
            "time": row.time,
            "decision": row.decision,
            "champion": f"{row.champion} *" if row.champion == champion else row.champion,
            "challenger": row.challenger,
            "snapshot": row.challenger_snapshot,
            "value": row.challenger_value,
            "difference": _describe_difference(row),
            "reason": escape(row.reason),  # an interval in brackets is no markup
        }
        for row in rows
    ]


def to_full_rows(rows: Sequence[ModelRow]) -> list[dict[str, Any]]:
    """Decisions with every column, their verdicts as objects."""
    return [asdict(row) | {"verdict": json.loads(row.verdict) if row.verdict else None} for row in rows]


def _choose_last(rows: Sequence[ModelRow], address: str) -> str:
    former = find_former(rows)
    if not former:
        others = ", ".join(sorted(_list_champions(rows) - {find_champion(rows)}))
        remedy = f"name one that was champion with --to: {others}" if others else "no other student has been champion"
        raise InputError(f"before the champion {find_champion(rows)} of {address} there is none to go back to; {remedy}")
    return former[0]


def _choose_named(rows: Sequence[ModelRow], to: str) -> str:
    known = _list_champions(rows)
    if to == find_champion(rows):
        raise InputError(f"the student {to} is the champion already; nothing was changed")
    if to in known:
        return to
    judged = [row.number for row in rows if row.challenger == to]
    if judged:
        raise InputError(
            f"the student {to} was judged (row {judged[-1]} of `fusion-prior model list`) and never champion, so it was not kept; "
            f"champions so far: {', '.join(sorted(known))}"
        )
    raise unknown_name("champion", to, known)


def _list_champions(rows: Sequence[ModelRow]) -> set[str]:
    return {row.champion for row in rows if row.champion}


def _find_champion(address: str) -> tuple[Files, str]:
    files = open_store(address).files
    champion = find_champion(read_models(files))
    if not champion:
        raise InputError(_NOBODY.format(address=address))
    return files, champion


def _describe_difference(row: ModelRow) -> str:
    if math.isnan(row.difference):
        return ""
    bounds = "" if math.isnan(row.low) else f" [{row.low:+.4f}, {row.high:+.4f}]"
    return f"{row.difference:+.4f}{bounds}"
