"""The Prefect flow `retrain-model`: the retraining of `flows/retrain.py`, with progress, its decision to read, a notice of promotions."""

from pathlib import Path

import prefect

from flows.artifacts import Progress, leave_decision
from flows.logs import open_logs
from flows.notices import name_run, send_notice, tell_failure
from flows.progress import show_progress
from flows.retrain import DEFAULT_CRITERION, LEAST_CHANGE, LEAST_SCENES, RetrainRequest, retrain
from flows.train_student import TrainRequest
from storage.locks import IfHeld


@prefect.flow(name="retrain-model", on_failure=[tell_failure], on_crashed=[tell_failure])
def retrain_model(
    store: str = "store",
    snapshot: str | None = None,
    runs: str = "runs",
    least_change: float = LEAST_CHANGE,
    least_scenes: int = LEAST_SCENES,
    criterion: str = DEFAULT_CRITERION,
    preset: str | None = None,
    mix: str | None = None,
    prior_weight: float | None = None,
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
    if_held: IfHeld = "wait",
) -> str:
    """Train a challenger on from the champion, judge both on the same held-out scenes, and promote it only if it is proven better.

    What is left out is as the champion was trained, and for the very first student as the preset says.

    Args:
        store: where the prior and the registry of models are kept: a folder or an s3:// address.
        snapshot: a tag, a branch or a snapshot id; the newest unless given.
        runs: the folder that the runs of all challengers lie in.
        least_change: the least share, from 0 to 1, of winners that changed since the champion's snapshot; with fewer nothing is trained.
        least_scenes: the least number of held-out scenes with which a challenger can be promoted over a champion.
        criterion: what the challenger must be better by: balanced, diff-if, or the snapshot's own.
        preset: tiny, small or diff-if; one with other networks than the champion's trains from nothing.
        mix: the losses: published, prior-only, rules-only or criteria.
        prior_weight: of the distance to the prior's winner, in place of the mix's.
        steps: of the optimiser, in all.
        batch: crops per step.
        crop: side of a crop, px.
        rate: the highest learning rate.
        seed: of crops and noise; another one for every challenger unless given.
        last_stage: share of the steps, at the end, on the sampler's own images.
        weighting: none, or margin: winners by a clear margin count more.
        accumulate: parts a batch is cut into, to save memory.
        evaluate_every: steps between evaluations on validation pairs.
        save_every: steps between checkpoints.
        report_every: steps between reports.
        device: auto, cpu or cuda.
        workers: processes that read crops; 0 reads in the one that trains.
        max_minutes: stop the training after so long, and judge what there is.
        compiled: whether the networks are compiled first.
        if_held: wait for another retraining of the same store to end, or refuse.

    Returns:
        The decision in one sentence.
    """
    asked = dict(locals())  # every other parameter is a field of the request
    open_logs()
    terms = {name: asked.pop(name) for name in ("least_change", "least_scenes", "criterion", "if_held")}
    training = TrainRequest(out=Path(asked.pop("runs")), **asked)
    request = RetrainRequest(training=training, who=name_run(), **terms)
    with show_progress() as report:
        decision = retrain(request, Progress("retrain-model", report))
    if decision.promoted and decision.row:
        row = decision.row
        text = f"{row.champion} is the champion of {store}: {row.reason}"
        send_notice("promoted", text, store=store, champion=row.champion, previous=row.previous, number=row.number)
    leave_decision(decision)
    return decision.reason


if __name__ == "__main__":
    retrain_model()
