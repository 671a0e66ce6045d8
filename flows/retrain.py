"""Retraining: a challenger is trained on from the champion, and takes its place only where it is proven better on scenes neither has seen.

Plain functions; the flow `retrain-model` is the way to call them. Every decision is kept in the registry of models, whichever way it went.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flows.champions import find_trained_on, keep_champion
from flows.changes import Changes, compare_winners
from flows.judge_student import find_judges, find_split, prepare_contest
from flows.progress import Report, stay_silent
from flows.students import open_student
from flows.train_student import TrainRequest, train_student
from storage.errors import CommitConflict, InputError, SnapshotNotFound, TrainingFailed, unknown_name
from storage.locks import IfHeld, hold_lock
from storage.models import append_model, find_champion, name_student, open_folder, read_models
from storage.repository import MAIN, Store, find_snapshot, open_store
from storage.schema import FIRST, KEPT, PROMOTED, ROLLED_BACK, TEST, TRAIN, VAL, ModelRow
from storage.snapshot import Snapshot
from train.checkpoint import STUDENT as WEIGHTS
from train.checkpoint import Checkpoint, read_checkpoint
from train.config import find_preset
from train.evaluate import CHAMPION, STUDENT, Interval, Verdict, add_champion, find_difference, find_standing, judge, to_json

logger = logging.getLogger(__name__)

LOCK = "retraining"
DEFAULT_CRITERION = "balanced"
LEAST_SCENES = 10
"""Held-out scenes that a promotion needs: a bootstrap over fewer is too narrow, and of equal students too many would be promoted."""

LEAST_CHANGE = 0.05
"""The share of winners that must have changed since the champion's snapshot; below it a training would see nearly the same images."""

WHEREABOUTS = ("store", "out", "snapshot", "first", "resume", "device", "workers", "max_minutes", "compiled")
"""What of a request says where, on what and how long it is done, not what is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest:
    """What is asked of a retraining.

    Attributes:
        training: how the challenger is trained; its `out` is the folder that the runs of all challengers lie in. What it leaves out is as
            the champion was trained, and for the first of all as the preset says.
        least_change: the least share, in [0, 1], of winners that changed since the champion's snapshot; with fewer nothing is trained.
        least_scenes: the least number of held-out scenes with which a challenger can be promoted over a champion.
        criterion: a column of the evaluation, the larger the better: what the challenger must be better by.
        who: who asks, for those who wait.
        if_held: wait for another retraining of the same store to end, or refuse.
    """

    training: TrainRequest
    least_change: float = LEAST_CHANGE
    least_scenes: int = LEAST_SCENES
    criterion: str = DEFAULT_CRITERION
    who: str = "a retraining"
    if_held: IfHeld = "wait"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a retraining ended with: its row in the registry, or None where too little had changed; the changes, and the evaluation."""

    row: ModelRow | None
    changes: Changes
    reason: str
    verdict: Verdict | None = None

    @property
    def promoted(self) -> bool:
        """Whether there is a new champion."""
        return self.row is not None and self.row.decision != KEPT


def retrain(request: RetrainRequest, report: Report = stay_silent) -> Decision:
    """Train a challenger where enough has changed, judge it beside the champion, and decide.

    A retraining that was ended goes on where it was: the run of a challenger is named after what it is trained on and how.

    Raises:
        FusionPriorError: it cannot be done as asked; the champion stays who it is, and what is trained is kept.
    """
    asked = request.training
    if not 0 <= request.least_change <= 1:
        raise InputError(f"the least share of changed winners is {request.least_change:g}; it must lie between 0 and 1, such as 0.05")
    check_criterion(Snapshot(asked.store, asked.snapshot or MAIN), request.criterion)
    files = open_store(asked.store).files
    with hold_lock(files, LOCK, request.who, if_held=request.if_held):
        snapshot = Snapshot(asked.store, asked.snapshot or MAIN)  # there may be a newer one since the wait began
        rows = read_models(files)
        champion = find_champion(rows)
        known = find_trained_on(rows, champion)
        older = open_known(snapshot.store, known, "all winners count as changed") if known else None
        changes = compare_winners(older, snapshot)
        if champion and changes.share < request.least_change:
            reason = f"{changes} since the champion {champion} was trained, fewer than {request.least_change:.0%}: nothing is trained"
            logger.info("%s", reason)
            return Decision(None, changes, reason)
        find_held_out(snapshot, rows)  # before hours are spent on a student that cannot be judged
        logger.info("%s; a challenger of %s is trained", changes, champion or "nobody")
        run = train_challenger(asked, snapshot, rows, report)
        row, verdict = decide(request, snapshot, read_checkpoint(run), len(rows), report)
    logger.info("%s", row.reason)
    return Decision(row, changes, row.reason, verdict)


def check_criterion(snapshot: Snapshot, criterion: str) -> None:
    """Refuse a criterion that students are not judged by; raises UnknownName."""
    known = [one.name for one in find_judges(snapshot, ()).criteria]
    if criterion not in known:
        raise unknown_name("criterion of an evaluation", criterion, known)


def open_known(store: Store, snapshot_id: str, otherwise: str) -> Snapshot | None:
    """A snapshot that the registry names; one that is no longer in the store is told, with what follows from that."""
    try:
        return Snapshot(store, find_snapshot(store, snapshot_id))
    except SnapshotNotFound as error:
        logger.warning("%s (the registry names it); %s", error, otherwise)
        return None


def find_held_out(snapshot: Snapshot, rows: Sequence[ModelRow]) -> dict[str, str]:
    """The test pairs of a snapshot, pair_id to group, without those that any student of the registry was trained or picked on.

    Scenes keep their split within a store, so that this leaves pairs out only where somebody moved them.

    Raises:
        InputError: there is none.
    """
    seen: set[str] = set()
    for snapshot_id in sorted({row.challenger_snapshot for row in rows} - {snapshot.id, ""}):
        older = open_known(snapshot.store, snapshot_id, "whether a test pair was trained on there cannot be told")
        seen |= find_seen(older) if older else set()
    hashes = {row["pair_id"]: row["pair_hash"] for row in snapshot.table("pairs", ["pair_id", "pair_hash"]).to_pylist()}
    groups = find_split(snapshot, TEST)
    unseen = {pair_id: group for pair_id, group in groups.items() if not seen & {group, hashes[pair_id]}}
    if not unseen:
        raise InputError(f"every test pair of snapshot {snapshot.id} was trained on earlier; add scenes that no student has seen")
    if len(unseen) < len(groups):
        logger.warning("%d of %d test pairs were trained on earlier and are left out", len(groups) - len(unseen), len(groups))
    return unseen


def find_seen(snapshot: Snapshot) -> set[str]:
    """The groups and the hashes of all pairs that a student of this snapshot is trained or picked on."""
    rows = snapshot.table("pairs", ["group", "pair_hash", "split"]).to_pylist()
    return {name for row in rows if row["split"] in (TRAIN, VAL) for name in (row["group"], row["pair_hash"]) if name}


def train_challenger(asked: TrainRequest, snapshot: Snapshot, rows: Sequence[ModelRow], report: Report) -> Path:
    """Train on from the champion, or from nothing where there is none; returns the run's folder."""
    champion, number = find_champion(rows), len(rows) + 1
    run = asked.out / name_run(asked, snapshot.id, champion, number)
    seed = number if asked.seed is None else asked.seed  # the same crops in the same order would teach less
    with ExitStack() as stack:
        first = stack.enter_context(open_folder(snapshot.store.files, champion)) if champion else None
        if first and not fits(first, asked):
            logger.warning("the champion has other networks than preset %s: its challenger is trained from nothing", asked.preset)
            first = None
        train_student(replace(asked, snapshot=snapshot.id, out=run, first=first, resume=True, seed=seed), report)
    return run


def name_run(asked: TrainRequest, snapshot_id: str, champion: str, number: int) -> str:
    """The name of a challenger's run: the same for the same request, so that one that was ended is gone on with."""
    settings = {name: one for name, one in asdict(asked).items() if name not in WHEREABOUTS}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{number:04d}-{snapshot_id[:8]}-{champion[:8] or 'nobody'}-{digest[:8]}"


def fits(champion: Path, asked: TrainRequest) -> bool:
    """Whether a challenger as asked for has the champion's networks."""
    return asked.preset is None or find_preset(asked.preset).network == read_checkpoint(champion).facts.network


def decide(request: RetrainRequest, snapshot: Snapshot, challenger: Checkpoint, known: int, report: Report) -> tuple[ModelRow, Verdict]:
    """Judge a challenger beside whoever is champion now, and keep the decision.

    Args:
        request: as for `retrain`.
        snapshot: what both are judged on.
        challenger: its checkpoint.
        known: how many rows the registry had when its training began.
        report: told of progress.
    """
    files = snapshot.store.files
    while True:
        rows = read_models(files)
        verdict = judge_both(snapshot, rows, challenger, request.training.device, report)
        row = make_row(request, snapshot, rows, challenger, verdict)
        if any(later.decision == ROLLED_BACK for later in rows[known:]):  # what somebody went back from must not return in its child
            reason = f"{row.reason}; but the champion it was trained from was taken back meanwhile, and the champion stays"
            row = replace(row, decision=KEPT, champion=row.previous, reason=reason)
        if row.decision != KEPT:
            keep_champion(files, challenger)
        try:
            return append_model(files, row, find_champion(rows)), verdict
        except CommitConflict as error:
            logger.warning("%s; the challenger is judged again", error)


def judge_both(snapshot: Snapshot, rows: Sequence[ModelRow], challenger: Checkpoint, device: str, report: Report) -> Verdict:
    """A challenger and the champion, where there is one, on the same held-out pairs."""
    contest = prepare_contest(snapshot, find_held_out(snapshot, rows), report=report)
    champion = find_champion(rows)
    if champion:
        with open_folder(snapshot.store.files, champion) as folder:
            contest = add_champion(contest, open_student(read_checkpoint(folder), device=device))
    return judge(contest, open_student(challenger, device=device))


def make_row(request: RetrainRequest, snapshot: Snapshot, rows: Sequence[ModelRow], challenger: Checkpoint, verdict: Verdict) -> ModelRow:
    """The decision that follows from an evaluation.

    Raises:
        TrainingFailed: the challenger would be the first, and its value is undefined.
    """
    name, champion, criterion = name_student(challenger.facts.hashes[WEIGHTS]), find_champion(rows), request.criterion
    value = find_standing(verdict, STUDENT).scores[criterion]
    judged = ModelRow(
        decision=FIRST,
        champion=name,
        previous=champion,
        challenger=name,
        challenger_snapshot=challenger.facts.snapshot_id,
        champion_snapshot=find_trained_on(rows, champion),
        judged_snapshot=snapshot.id,
        split=TEST,
        pairs=verdict.pairs,
        groups=verdict.groups,
        criterion=criterion,
        challenger_value=value.mean,
        verdict=json.dumps(to_json(verdict)),
        run=str(challenger.folder.absolute()),
    )
    where = f"on {verdict.pairs} pairs of {verdict.groups} scenes"
    if champion:
        return compare(judged, verdict, where, request.least_scenes)
    if not math.isfinite(value.mean):
        raise TrainingFailed(f"the first student's {criterion} is undefined {where}: it is no champion; train longer, or on more scenes")
    return replace(judged, reason=f"the first student: {criterion} {describe(value)} {where}")


def compare(judged: ModelRow, verdict: Verdict, where: str, least_scenes: int) -> ModelRow:
    """The decision beside a champion: promoted where the whole interval of the difference lies above zero, else the champion is kept."""
    criterion = judged.criterion
    student, champion = (find_standing(verdict, name) for name in (STUDENT, CHAMPION))
    lead = find_difference(verdict, CHAMPION, criterion).difference
    obstacle = "better"
    if not lead.low > 0:  # so it is where it is nan: one scene alone says nothing of others
        obstacle = "not proven better, the champion stays"
    elif verdict.groups < least_scenes:
        obstacle = f"better, but fewer than {least_scenes} scenes prove nothing, and the champion stays"
    elif student.undefined.get(criterion, 0) > champion.undefined.get(criterion, 0):
        obstacle = "better only where it is defined, and on fewer pairs than the champion, who stays"
    proven = obstacle == "better"
    return replace(
        judged,
        decision=PROMOTED if proven else KEPT,
        champion=judged.challenger if proven else judged.previous,
        champion_value=champion.scores[criterion].mean,
        difference=lead.mean,
        low=lead.low,
        high=lead.high,
        reason=f"{criterion} differs by {describe(lead)} {where}: {obstacle}",
    )


def describe(interval: Interval) -> str:
    """A mean and its interval in words."""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
