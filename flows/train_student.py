"""Training a student: from what was asked for to a run with its crops, its judge and its examples, and through the loop.

Plain functions; Prefect and the command line are two ways to call them.
"""

import logging
import math
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from flows.judge_student import find_split, prepare_contest
from flows.progress import Report, stay_silent
from prior.arrays import luma
from storage.errors import InputError
from storage.files import Files, parse_location
from storage.locks import hold_lock
from storage.repository import MAIN
from storage.schema import TRAIN, VAL
from storage.snapshot import Snapshot
from train import loop
from train.checkpoint import STUDENT, Facts, find_checkpoints, read_checkpoint, read_newest, read_tensors
from train.config import Mix, Network, Training, check_training, find_mix, find_preset
from train.data import Crops, Picture, read_pair
from train.evaluate import STUDENT as CONTESTANT
from train.evaluate import Contest, find_standing, judge
from train.fuse import Fuse, Image
from train.loop import Judge, Run
from train.processes import join_processes

logger = logging.getLogger(__name__)

DEFAULT_PRESET = "tiny"

VALIDATION_PAIRS = 8
EXAMPLES = 4
EXAMPLE_SIDE = 256  # px: the middle of a pair is enough to look at, and quick to fuse
RESAMPLES = 20  # of a bootstrap whose intervals nobody reads: a run keeps the means


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What is asked of a training run; None is what the preset says, or on resuming what the run was begun with.

    Attributes:
        store: address of the store.
        out: the run's folder.
        snapshot: tag, branch or id; None is the newest.
        preset: of `train.config.PRESETS`.
        mix: of `train.config.MIXES`, for both stages.
        prior_weight: of the distance to the prior's winner, in place of the mix's, for both stages.
        first: a checkpoint whose weights the run begins with; without a preset its networks and its way of training, too.
        resume: whether the run in `out` is to go on.
        device: "auto", "cpu" or "cuda".
        workers: processes that read crops.
        max_minutes: stop, with a checkpoint, after so long.
        compiled: whether the networks are compiled first.

    The others are fields of `train.config.Training`.
    """

    store: str
    out: Path
    snapshot: str | None = None
    preset: str | None = None
    mix: str | None = None
    prior_weight: float | None = None
    first: Path | None = None
    resume: bool = False
    device: str = "auto"
    workers: int = 0
    max_minutes: float | None = None
    compiled: bool = False
    steps: int | None = None
    batch: int | None = None
    crop: int | None = None
    rate: float | None = None
    seed: int | None = None
    last_stage: float | None = None
    weighting: str | None = None
    accumulate: int | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    report_every: int | None = None


def train_student(request: TrainRequest, report: Report = stay_silent) -> Path:
    """Train a student, or go on with one; returns the checkpoint that the run ends with.

    Under `torchrun` every process calls this; the first alone judges, writes and tells.

    Raises:
        InputError: the request cannot be met; nothing was written then.
        UnknownName: no such preset, mix or weighting.
        StoreError: the store or the snapshot cannot be read.
        TrainingFailed: the run had to stop; its checkpoints stay.
    """
    world, local_rank = (int(os.environ.get(name, otherwise)) for name, otherwise in (("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    with join_processes(request.device, world, local_rank) as processes:
        run = prepare_run(request, processes.world)
        if processes.rank == 0:
            logger.info("training on %d pairs of snapshot %s, on %s", len(run.crops), run.crops.snapshot_id, processes.device)
            run = replace(add_validation(run), tell=lambda step, steps: report("training", step, steps))
        else:
            logging.getLogger("train").setLevel(logging.WARNING)
        with hold_run(run.out, processes.rank):
            return loop.train(run, processes)


def hold_run(folder: Path, rank: int) -> AbstractContextManager[None]:
    """Keep other trainings out of a run's folder: each would delete what the other keeps. The first process does it for all."""
    return hold_lock(Files(parse_location(str(folder))), "run", "a training") if rank == 0 else nullcontext()


def prepare_run(request: TrainRequest, processes: int = 1) -> Run:
    """Everything of a run of so many processes but its judge and its examples, checked; see `train_student` for what it raises."""
    held = find_held(request)
    network, training = choose_settings(request, held or find_begun(request))
    check_training(training, network, processes)
    run = Run(
        network=network,
        training=training,
        crops=Crops(
            request.store,
            request.snapshot or (held.snapshot_id if held else MAIN),
            TRAIN,
            luma,
            size=training.crop,
            seed=training.seed,
            weighting=training.weighting,
        ),
        out=request.out,
        first=read_first(request.first, network) if request.first and not held else None,
        max_minutes=math.inf if request.max_minutes is None else request.max_minutes,
        workers=request.workers,
        compiled=request.compiled,
    )
    if held:
        loop.check_same(run, held)  # before any time is spent on it
        if held.step >= training.steps:
            logger.warning("the run in %s has taken all its %d steps: nothing is trained; name another folder", run.out, held.step)
    _make_folder(run.out)
    return run


def find_held(request: TrainRequest) -> Facts | None:
    """What the run in the folder was begun with, or None where there is none yet; raises InputError where one is in the way."""
    found = find_checkpoints(request.out)
    if found and not request.resume:
        raise InputError(f"{request.out} already holds a run (up to {found[-1].name}); go on with --resume, or name another --out")
    newest = read_newest(request.out)
    return newest.facts if newest else None


def find_begun(request: TrainRequest) -> Facts | None:
    """What the checkpoint to begin with says of itself, where no preset says how to train; else None."""
    return read_checkpoint(request.first).facts if request.first and request.preset is None else None


def choose_settings(request: TrainRequest, begun: Facts | None) -> tuple[Network, Training]:
    """The networks and the way of training: what is given, else what the run was begun with, else what the preset says."""
    preset = find_preset(request.preset or DEFAULT_PRESET)
    network = begun.network if begun and request.preset is None else preset.network
    training = begun.training if begun else preset.training
    names = {one.name for one in fields(Training)} & {one.name for one in fields(TrainRequest)} - {"mix"}
    given: dict[str, Any] = {name: value for name in names if (value := getattr(request, name)) is not None}
    mix, last_mix = choose_mix(request, training.mix), choose_mix(request, training.last_mix)
    return network, replace(training, mix=mix, last_mix=last_mix, **given)


def choose_mix(request: TrainRequest, otherwise: Mix) -> Mix:
    """The weights of the losses as they are asked for."""
    mix = otherwise if request.mix is None else find_mix(request.mix)
    if request.prior_weight is None:
        return mix
    if not 0 <= request.prior_weight < math.inf:
        raise InputError(f"--prior-weight is {request.prior_weight}; it must be 0 or more")
    return replace(mix, prior=request.prior_weight)


def read_first(folder: Path, network: Network) -> Mapping[str, Tensor]:
    """The weights of a checkpoint to begin with; raises InputError where it has other networks."""
    checkpoint = read_checkpoint(folder)
    if checkpoint.facts.network != network:
        raise InputError(f"{checkpoint.folder} has other networks than the preset asked for; --first needs the same, choose its --preset")
    return read_tensors(checkpoint, STUDENT)


def add_validation(run: Run) -> Run:
    """The same run, judged and shown on a few validation pairs; as it is where the snapshot has none."""
    snapshot = Snapshot(run.crops.address, run.crops.snapshot_id)
    try:
        groups = find_split(snapshot, VAL, most=VALIDATION_PAIRS)
    except InputError:
        logger.warning("snapshot %s has no validation pairs: the student is not judged, the newest checkpoint is the best", snapshot.id)
        return run
    logger.info("judging on %d validation pairs", len(groups))
    scenes = tuple(cut_example(snapshot, pair_id) for pair_id in list(groups)[:EXAMPLES])
    return replace(run, judge=make_judge(prepare_contest(snapshot, groups)), scenes=scenes)


def make_judge(contest: Contest) -> Judge:
    """What tells the student's means over the pairs of a contest."""

    def judge_means(fuse: Fuse) -> Mapping[str, float]:
        verdict = judge(contest, fuse, resamples=RESAMPLES)
        return {column: interval.mean for column, interval in find_standing(verdict, CONTESTANT).scores.items()}

    return judge_means


def cut_example(snapshot: Snapshot, pair_id: str) -> tuple[Image, Image, Image]:
    """The middle of a pair's lumas: a, b and the winner, float32 in [0, 1]."""
    a, b, winner = (_cut_middle(picture) for picture in read_pair(snapshot, pair_id, luma))
    return a, b, winner


def _cut_middle(picture: Picture) -> Image:
    top, left = (max(0, (side - EXAMPLE_SIDE) // 2) for side in picture.shape)
    return picture[top : top + EXAMPLE_SIDE, left : left + EXAMPLE_SIDE].astype(np.float32) / np.float32(255)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made or is no folder ({error.strerror or error}); name another --out") from error
