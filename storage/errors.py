"""The errors of the project, all of them.

FusionPriorError
├── InputError (also ValueError)     what a user gave cannot be used; `code` names the reason
├── UnknownName (also KeyError)      a name that nothing is registered under
├── CandidateError                   a method's or published result that cannot be a candidate; `code` likewise
├── BuildFailed                      more candidates failed than the recipe allows
├── TrainingFailed                   a run cannot go on: its numbers are no numbers any more, or memory is short
└── StoreError
    ├── SnapshotNotFound
    ├── SchemaMismatch
    ├── CommitConflict
    ├── StoreBusy                    somebody else holds a lock of the store
    └── WriteFailed (also OSError)   the disk is full, or nothing may be written there

A message names the pair and the method, what was expected, what came, and the remedy.
Every error survives pickling, so that it can come back from a worker.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class FusionPriorError(Exception):
    """The root: catch this to catch everything the project raises on purpose."""


class InputError(FusionPriorError, ValueError):
    """Input that cannot be used; `code` is the reason code kept in the tables."""

    def __init__(self, message: str, code: str = "input") -> None:
        super().__init__(message)
        self.code = code


class UnknownName(FusionPriorError, KeyError):
    """A name that nothing is registered under."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class CandidateError(FusionPriorError):
    """A result that cannot be a candidate; `code` is the reason code kept in the tables."""

    def __init__(self, message: str, code: str = "raised") -> None:
        super().__init__(message)
        self.code = code


class BuildFailed(FusionPriorError):
    """More candidates failed than the recipe allows; `failures` tells them by method and reason, where there are any to tell."""

    def __init__(self, message: str, failures: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.failures = failures


class TrainingFailed(FusionPriorError):
    """A training run cannot go on; its checkpoints stay."""


class StoreError(FusionPriorError):
    """The store cannot do what was asked."""


class SnapshotNotFound(StoreError):
    """No snapshot under this id, tag or branch."""


class SchemaMismatch(StoreError):
    """A table or an image is not what the schema says."""


class CommitConflict(StoreError):
    """Somebody else committed in between."""


class StoreBusy(StoreError):
    """Somebody else holds a lock of the store; who, and for how long."""


class WriteFailed(StoreError, OSError):
    """Something cannot be written, because the disk is full or it is not allowed."""


LISTED = 20
"""Known names that are all listed where none is near; of more, the first few."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for an unknown `name` of a `kind` ("method", "metric" …), with the nearest known names, whatever their case."""
    names = sorted(known)
    folded: dict[str, list[str]] = {}
    for one in names:
        folded.setdefault(one.casefold(), []).append(one)
    near = [one for match in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5) for one in folded[match]]
    few = names if len(names) <= LISTED else [*names[: LISTED // 2], f"… and {len(names) - LISTED // 2} more"]
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(few)}"
    return UnknownName(f"unknown {kind} {name!r}; {hint}")
