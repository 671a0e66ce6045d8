"""The Prefect flow `train-model`: the training of `flows/train_student.py` on one machine, with progress and a decision to look at.

Several processes (`torchrun`) are the command line's: `fusion-prior train`.
"""

from pathlib import Path

import prefect

from flows.artifacts import Progress, leave_student
from flows.logs import open_logs
from flows.notices import tell_failure
from flows.progress import show_progress
from flows.train_student import TrainRequest, train_student


@prefect.flow(name="train-model", on_failure=[tell_failure], on_crashed=[tell_failure])
def train_model(
    store: str = "store",
    out: str = "runs/student",
    snapshot: str | None = None,
    preset: str | None = None,
    mix: str | None = None,
    prior_weight: float | None = None,
    first: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    crop: int | None = None,
    rate: float | None = None,
    seed: int | None = None,
    last_stage: float | None = None,
    weighting: str | None = None,
    accumulate: int | None = None,
    evaluate_every: int | None = None,
    save_every: int | None = None,
    report_every: int | None = None,
    device: str = "auto",
    workers: int = 0,
    max_minutes: float | None = None,
    compiled: bool = False,
    resume: bool = True,
) -> str:
    """Train a student on a snapshot's winners, or go on with the run that is there.

    What is left out is as the run was begun, or else as the preset says.

    Args:
        store: where the prior is kept: a folder or an s3:// address.
        out: the run's folder.
        snapshot: a tag, a branch or a snapshot id; the newest unless given.
        preset: tiny (the default), small or diff-if.
        mix: the losses: published, prior-only, rules-only or criteria.
        prior_weight: of the distance to the prior's winner, in place of the mix's.
        first: a checkpoint whose weights, and without a preset whose settings, to begin with.
        steps: of the optimiser, in all.
        batch: crops per step.
        crop: side of a crop, px.
        rate: the highest learning rate.
        seed: of the weights, crops and noise.
        last_stage: share of the steps, at the end, on the sampler's own images.
        weighting: none, or margin: winners by a clear margin count more.
        accumulate: parts a batch is cut into, to save memory.
        evaluate_every: steps between evaluations on validation pairs.
        save_every: steps between checkpoints.
        report_every: steps between reports.
        device: auto, cpu or cuda.
        workers: processes that read crops; 0 reads in the one that trains.
        max_minutes: stop after so long, with a checkpoint to go on from.
        compiled: whether the networks are compiled first.
        resume: whether to go on with a run that is there; else it is refused.

    Returns:
        The folder of the checkpoint that the run ends with.
    """
    asked = dict(locals())  # every parameter is a field of the request
    open_logs()
    request = TrainRequest(**asked | {"out": Path(out), "first": Path(first) if first else None})
    with show_progress() as report:
        folder = train_student(request, Progress("train-model", report))
    leave_student(folder)
    return str(folder)


if __name__ == "__main__":
    train_model()
