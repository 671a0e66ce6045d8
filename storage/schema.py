"""The contract between who makes a snapshot and who reads it: the rows of its three tables, and what their codes mean.

`pairs` has one row per pair that was asked for, `scores` one per pair and method (and one column per metric), `selections` one per pair
that has a winner. `models` stands beside the snapshots: one row per decision about the champion, the student in use.
Rows are frozen dataclasses on the way in and Arrow tables everywhere else.
"""

import re
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from storage.errors import InputError

SCHEMA_VERSION = 3
READABLE = (1, 2, 3)  # 1 had no group, split and scene_hash in `pairs`; up to 2 there were no seals, and less in `selections`
MODELS_VERSION = 1  # of the registry of models, which is no part of any snapshot
TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# Tasks a pair can belong to.
TASKS = ("infrared-visible", "medical", "multi-focus", "multi-exposure")

# PairRow.split
TRAIN = "train"
VAL = "val"
TEST = "test"
SPLITS = (TRAIN, VAL, TEST)

# PairRow.status
OK = "ok"
QUARANTINED = "quarantined"
EXCLUDED = "excluded"
NO_CANDIDATE = "no_candidate"

# ScoreRow.status (with OK)
MISSING = "missing"
FAILED = "failed"

# ModelRow.decision
FIRST = "first"
PROMOTED = "promoted"
KEPT = "kept"
ROLLED_BACK = "rolled_back"
DECISIONS = (FIRST, PROMOTED, KEPT, ROLLED_BACK)

# Flags
MISREGISTERED = "misregistered?"
COPY_OF_SOURCE = "copy_of_source"
DUPLICATE = "duplicate"
BY_HAND = "by_hand"
UNCONSTRAINED = "unconstrained"

# Why a pair is quarantined.
PAIR_REASONS = MappingProxyType(
    {
        "unreadable": "a file cannot be decoded",
        "size_mismatch": "the two images differ in size and no resize policy was given",
        "too_small": "a side is shorter than the smallest that every metric can judge",
        "too_large": "more pixels than are decoded",
        "flat": "an image has one value only",
        "shifted": "the estimated shift is larger than max_shift",
        "outside": "the path leads out of its folder",
        "ambiguous": "several files of one folder claim the same pair",
        "excluded": "named in the recipe's exclude list",
        "killed": "every worker process that was at the pair itself died",
        "no_candidate": "no method gave a valid candidate",
    }
)

# Why a candidate is not ok.
CANDIDATE_REASONS = MappingProxyType(
    {
        "missing": "there is no published file for this pair",
        "raised": "the method raised an error",
        "timeout": "the method ran longer than its time limit",
        "killed": "the worker process died in this method, or at this file, more than once",
        "wrong_output": "the method returned another shape, another type, or numbers that are not finite",
        "wrong_size": "the published result has another size than its pair",
        "unreadable": "the published file cannot be decoded",
        "ambiguous": "several published files claim the same pair",
        "flat": "the published result has one value only",
        "other_pair": "the published result shows another pair",
        "changed": "what was scored before can not be made again: another version, another file, or other numbers",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair that was asked for, whether it could be used or not.

    `group` names the scene it shows, which it has in common with all pairs of that scene, `split` is the group's, and `scene_hash` finds
    the scene again. They are empty for a pair that was never usable, and kept for one that is set aside now.
    """

    pair_id: str
    source: str
    task: str
    status: str
    reason: str = ""
    message: str = ""
    flags: tuple[str, ...] = ()
    a_path: str = ""
    b_path: str = ""
    a_modality: str = ""
    b_modality: str = ""
    height: int = 0
    width: int = 0
    a_format: str = ""
    b_format: str = ""
    a_hash: str = ""
    b_hash: str = ""
    pair_hash: str = ""
    shift: float = float("nan")
    shift_y: float = float("nan")
    shift_x: float = float("nan")
    shift_confidence: float = float("nan")
    resized: str = ""
    licence: str = ""
    array: str = ""
    group: str = ""
    split: str = ""
    scene_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One candidate: a method's result on a pair, its scores, or why there is none."""

    pair_id: str
    method: str
    version: str
    content_key: str
    status: str
    reason: str = ""
    message: str = ""
    flags: tuple[str, ...] = ()
    file: str = ""
    chroma: str = ""
    seconds: float = float("nan")
    judge_seconds: float = float("nan")
    clipped: float = float("nan")
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRow:
    """What the criterion picked for one pair.

    `licence` is that of the winner's method, empty where nobody said; `planes` and `candidate_planes` are how many planes are kept of the
    pair's pictures and of its candidates.
    """

    pair_id: str
    method: str
    content_key: str
    value: float
    runner_up: str = ""
    margin: float = float("nan")
    flags: tuple[str, ...] = ()
    note: str = ""
    licence: str = ""
    image_hash: str = ""
    planes: int = 0
    candidate_planes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One decision about the champion: who challenged it, how both were judged, and who is champion since.

    A student is named after the sha256 of its weights, as far as its first 16 hexadecimal digits. What does not apply is empty or nan.

    Attributes:
        number: 1, 2 … in the order of the decisions.
        time: of the decision, UTC, as in 2026-01-31T12:00:00Z.
        decision: one of `DECISIONS`.
        champion: the student after the decision.
        previous: the champion before it.
        challenger: the student that was judged.
        challenger_snapshot, champion_snapshot: what `challenger` and `previous` were trained on.
        judged_snapshot, split, pairs, groups: what both were judged on.
        criterion: by which.
        challenger_value, champion_value: their means.
        difference, low, high: challenger minus champion, with its interval.
        reason: one sentence.
        verdict: the whole verdict, as JSON text.
        run: the folder in which the challenger was trained.
    """

    number: int = 0
    time: str = ""
    decision: str
    champion: str
    previous: str = ""
    challenger: str = ""
    challenger_snapshot: str = ""
    champion_snapshot: str = ""
    judged_snapshot: str = ""
    split: str = ""
    pairs: int = 0
    groups: int = 0
    criterion: str = ""
    challenger_value: float = float("nan")
    champion_value: float = float("nan")
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    reason: str = ""
    verdict: str = ""
    run: str = ""


_ARROW: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
}


def _arrow_schema(row: type) -> pa.Schema:
    return pa.schema([(one.name, _ARROW[one.type]) for one in fields(row) if one.name != "scores"])


PAIRS = _arrow_schema(PairRow)
SELECTIONS = _arrow_schema(SelectionRow)
SCORES_FIXED = _arrow_schema(ScoreRow)
MODELS = _arrow_schema(ModelRow)


def scores_schema(metrics: tuple[str, ...]) -> pa.Schema:
    """The scores table of a build: the fixed columns, then one float64 column per metric, nan where undefined or failed."""
    return pa.schema([*SCORES_FIXED, *((name, pa.float64()) for name in metrics)])


def metric_columns(scores: pa.Schema) -> tuple[str, ...]:
    """The metric columns of a scores table, in their order."""
    return tuple(name for name in scores.names if name not in SCORES_FIXED.names)


def to_record(row: PairRow | ScoreRow | SelectionRow | ModelRow) -> dict[str, Any]:
    """A row as a flat record, metrics as columns."""
    record = {one.name: getattr(row, one.name) for one in fields(row) if one.name != "scores"}
    return record | (row.scores if isinstance(row, ScoreRow) else {})


def check_tag_name(name: str, kind: str = "tag") -> None:
    """Refuse a name that no tag, or other `kind` of name for a snapshot, can have; raises InputError."""
    if not TAG_NAME.fullmatch(name):
        raise InputError(f"{kind} {name!r} is not a valid name; use letters, digits, '.', '_' and '-', beginning with a letter or digit")
