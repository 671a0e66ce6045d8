"""The training loop, and what it needs to be taken up again exactly where it was.

Everything random is a function of the seed and the step, nothing of the past: a run that was killed and resumed ends, on the CPU, with the
same bits as one that was not. Under `torchrun` every process takes its share of each batch, and the gradients are averaged.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from storage.errors import InputError, TrainingFailed
from storage.schema import SCHEMA_VERSION
from train import checkpoint as checkpoints
from train.checkpoint import Facts
from train.config import ARCHITECTURE, Mix, Network, Training, check_training
from train.data import Batch, Crops, load_batches
from train.diffusion import STEPS
from train.fuse import Fuse, Image, fuse
from train.losses import Objective, Scenes
from train.model import Student
from train.processes import Processes
from train.report import Reporter

logger = logging.getLogger(__name__)

Judge = Callable[[Fuse], Mapping[str, float]]
"""From a student to the means of its scores on the validation pairs; `balanced` among them."""


def stay_silent(step: int, steps: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call of `train` is to do.

    Attributes:
        network: the networks.
        training: how they are trained.
        crops: what they are trained on.
        out: the run's folder.
        judge: told the student every `training.evaluate_every` steps; None trains without.
        scenes: pairs for the sheets of examples: a, b and the winner, luma in [0, 1].
        first: weights to begin with, in place of random ones.
        max_minutes: stop, with a checkpoint, after so long.
        workers: processes that read crops.
        compiled: whether the networks are compiled first.
        tell: told, with every report, how many steps are taken of how many.
    """

    network: Network
    training: Training
    crops: Crops
    out: Path
    judge: Judge | None = None
    scenes: tuple[tuple[Image, Image, Image], ...] = ()
    first: Mapping[str, Tensor] | None = None
    max_minutes: float = math.inf
    workers: int = 0
    compiled: bool = False
    tell: Callable[[int, int], None] = stay_silent


@dataclass(slots=True)
class State:
    """Everything that changes while a student is trained."""

    student: Student
    optimiser: torch.optim.AdamW
    ema: EMAModel
    step: int = 0
    value: float | None = None


def train(run: Run, processes: Processes) -> Path:
    """Train a student, from the newest checkpoint in `run.out` if there is one; returns the checkpoint that it ends with.

    Raises:
        InputError: the run cannot be done as asked.
        TrainingFailed: a loss is no finite number, or memory is short; the checkpoints so far stay.
    """
    check_training(run.training, run.network, processes.world)
    try:
        return go(run, processes)
    except OSError as error:
        raise TrainingFailed(f"{run.out} cannot be written ({error.strerror or error}); make room, and go on with --resume") from error


def go(run: Run, processes: Processes) -> Path:
    """The loop itself: a step of the optimiser, and now and then a report, an evaluation, a checkpoint."""
    started, training = time.monotonic(), run.training
    state = begin(run, processes.device)
    objective = processes.share(Objective(state.student), run.network)
    batches = load_batches(
        run.crops,
        start=state.step,
        steps=training.steps - state.step,
        batch=training.batch,
        rank=processes.rank,
        world=processes.world,
        workers=run.workers,
        pinned=processes.device.type == "cuda",
    )
    with Reporter(run.out, state.step, processes.rank == 0) as reporter:
        for batch in batches:
            began = time.perf_counter()
            losses = take_step(run, state, objective, batch, processes)
            reporter.add(losses, rate_at(training, state.step - 1), time.perf_counter() - began)
            late = processes.agree(time.monotonic() - started > 60 * run.max_minutes)
            ended = state.step == training.steps
            judged = ended or state.step % training.evaluate_every == 0
            if late or ended or state.step % training.report_every == 0:
                reporter.report(state.step)
                run.tell(state.step, training.steps)
            if judged:
                evaluate(run, state, reporter, processes)
            if late or judged or state.step % training.save_every == 0:
                save(run, state, processes)
            if late:
                logger.info("stopped after %d of %d steps, as --max-minutes asks; --resume goes on", state.step, training.steps)
                break
    processes.agree(False)  # nobody looks for the last checkpoint before the first process has written it
    return checkpoints.find_checkpoints(run.out)[-1]


def take_step(run: Run, state: State, objective: nn.Module, batch: Batch, processes: Processes) -> dict[str, float]:
    """One step of the optimiser; returns the losses of this process's share by name."""
    training, step = run.training, state.step
    for group in state.optimiser.param_groups:
        group["lr"] = rate_at(training, step)
    torch.manual_seed(hash_seed(training.seed, step, processes.rank))  # of dropout
    state.student.train()
    means: dict[str, float] = {}
    parts = list(draw_parts(training, step, batch, processes))
    for number, (scenes, levels) in enumerate(parts):
        ready = number == len(parts) - 1
        with processes.hold_back(objective, ready), processes.autocast():
            losses = objective(scenes, levels, *stage_at(training, run.network, step))
            total = torch.stack(list(losses.values())).sum() / len(parts)
        check_finite(losses, step, batch.pair_ids, training, processes)
        total.backward()  # type: ignore[no-untyped-call]
        means = {name: means.get(name, 0.0) + loss.item() / len(parts) for name, loss in losses.items()}
    norm = nn.utils.clip_grad_norm_(state.student.parameters(), training.clip)
    check_finite({"gradient's norm": norm}, step, batch.pair_ids, training, processes)
    state.optimiser.step()
    state.optimiser.zero_grad()
    state.ema.step(state.student.parameters())
    state.step, state.value = step + 1, None
    return means | {"total": sum(means.values()), "norm": norm.item()}


def begin(run: Run, device: torch.device) -> State:
    """The state a run begins or goes on with.

    Raises:
        InputError: the newest checkpoint cannot be read, or belongs to another run.
    """
    torch.manual_seed(run.training.seed)
    student = Student(run.network)
    if run.first is not None:
        checkpoints.load_weights(student, run.first, run.out)
    student.to(device)
    optimiser = torch.optim.AdamW(student.parameters(), lr=run.training.rate)
    ema = EMAModel(student.parameters(), decay=run.training.ema)
    state = State(student, optimiser, ema)
    newest = checkpoints.read_newest(run.out)
    if newest is None:
        run.out.mkdir(parents=True, exist_ok=True)
    else:
        check_same(run, newest.facts)
        checkpoints.check_schema(newest)
        restore(state, newest)
        mark(run, state)  # it may have been killed before it could
        logger.info("going on from step %d of %d", state.step, run.training.steps)
    if run.compiled:
        student.compile_parts()
    return state


def check_same(run: Run, facts: Facts) -> None:
    """Refuse to go on with a run that was begun otherwise; raises InputError."""
    asked = {"snapshot": run.crops.snapshot_id, "network": run.network, "training": run.training}
    held = {"snapshot": facts.snapshot_id, "network": facts.network, "training": facts.training}
    for name, value in asked.items():
        if value != held[name]:
            remedy = "leave --snapshot out to go on with it" if name == "snapshot" else "give the same to go on with it"
            change = describe_change(name, held[name], value)
            raise InputError(f"the run in {run.out} was begun with {change}; {remedy}, or use another --out")


def describe_change(name: str, held: object, asked: object) -> str:
    """What differs between two records, or two plain values, in words."""
    if not is_dataclass(held):
        return f"{name} {held}, not {asked}"
    pairs = ((one.name, getattr(held, one.name), getattr(asked, one.name)) for one in fields(held))
    return ", ".join(describe_change(f"{name} {part}", old, new) for part, old, new in pairs if old != new)


def save(run: Run, state: State, processes: Processes) -> None:
    """Keep this step, and mark it where it judged best; one process writes."""
    if processes.rank != 0:
        return
    facts = Facts(
        architecture=ARCHITECTURE,
        schema_version=SCHEMA_VERSION,
        snapshot_id=run.crops.snapshot_id,
        step=state.step,
        value=state.value,
        network=run.network,
        training=run.training,
        hashes={},
    )
    kept = checkpoints.write_checkpoint(run.out, facts, averaged(state), pack_state(state))
    mark(run, state)
    checkpoints.delete_old(run.out)
    logger.info("step %d is kept in %s", state.step, kept.folder)


def mark(run: Run, state: State) -> None:
    """Mark this step as the best, if it was judged and no earlier one judged better."""
    best = checkpoints.read_best(run.out)
    if state.value is not None and (best is None or best[0] >= state.step or state.value > best[1]):
        checkpoints.mark_best(run.out, state.step, state.value)


def averaged(state: State) -> dict[str, Tensor]:
    """The student's averaged weights by name."""
    names = (name for name, _ in state.student.named_parameters())
    return dict(zip(names, state.ema.shadow_params, strict=True)) | dict(state.student.named_buffers())


def pack_state(state: State) -> dict[str, Tensor]:
    """The weights as trained and the optimiser's state, by name; the averaged weights are kept beside them."""
    tensors = {f"weight/{name}": one.data for name, one in state.student.named_parameters()}
    for name, one in state.student.named_parameters():
        tensors |= {f"{key}/{name}": value for key, value in state.optimiser.state[one].items()}
    return tensors


def restore(state: State, checkpoint: checkpoints.Checkpoint) -> None:
    """Bring a state to where a checkpoint was written; raises InputError where the two do not fit."""
    tensors = checkpoints.read_tensors(checkpoint, checkpoints.TRAINING)
    mean = checkpoints.read_tensors(checkpoint, checkpoints.STUDENT)
    parameters = dict(state.student.named_parameters())
    device = next(iter(parameters.values())).device
    wanted = {f"{key}/{name}" for key in ("weight", "step", "exp_avg", "exp_avg_sq") for name in parameters}
    if set(tensors) != wanted or not set(parameters) <= set(mean):
        raise InputError(f"{checkpoint.folder} does not hold the state of this network; use another --out")
    checkpoints.load_weights(state.student, {name: tensors[f"weight/{name}"] for name in parameters}, checkpoint.folder)
    for name, one in parameters.items():
        moments = {key: tensors[f"{key}/{name}"].to(device) for key in ("exp_avg", "exp_avg_sq")}
        state.optimiser.state[one] = {"step": tensors[f"step/{name}"], **moments}
    state.ema.shadow_params = [mean[name].to(device) for name in parameters]
    state.ema.optimization_step = checkpoint.facts.step
    state.step, state.value = checkpoint.facts.step, checkpoint.facts.value


def evaluate(run: Run, state: State, reporter: Reporter, processes: Processes) -> None:
    """Judge the averaged student on the validation pairs and draw the sheet of examples; one process does."""
    if processes.rank != 0 or (run.judge is None and not run.scenes):
        return
    student = Student(run.network).to(processes.device).eval()
    checkpoints.load_weights(student, averaged(state), run.out)

    def fuse_pair(a: Image, b: Image) -> Image:
        return fuse(student, a, b)

    reporter.draw(state.step, [(a, b, winner, fuse_pair(a, b)) for a, b, winner in run.scenes])
    if run.judge is not None:
        scores = run.judge(fuse_pair)
        value = scores.get("balanced", math.nan)
        state.value = value if math.isfinite(value) else None
        reporter.judge(state.step, scores)


def rate_at(training: Training, step: int) -> float:
    """The learning rate of a step: up along a line, then down along half a cosine to nothing."""
    if step < training.warm_up:
        return training.rate * (step + 1) / training.warm_up
    done = (step - training.warm_up) / max(1, training.steps - training.warm_up)
    return training.rate * (1 + math.cos(math.pi * done)) / 2


def stage_at(training: Training, network: Network, step: int) -> tuple[Mix, int | None]:
    """The mix of losses of a step and, in the last stage, which of the sampler's steps is judged."""
    if step < training.steps * (1 - training.last_stage):
        return training.mix, None
    return training.last_mix, int(np.random.default_rng((training.seed, step)).integers(network.steps))


def draw_parts(training: Training, step: int, batch: Batch, processes: Processes) -> Iterator[tuple[Scenes, Tensor]]:
    """A share of a batch in equal parts, with the noise and the noise level of every crop, which depend on its number alone."""
    count = len(batch.pair_ids)
    first = step * training.batch + processes.rank * count
    draws = [np.random.default_rng(np.random.SeedSequence(training.seed, spawn_key=(first + n, 1))) for n in range(count)]
    levels = torch.tensor([int(one.integers(STEPS)) for one in draws])
    noise = torch.from_numpy(np.stack([one.standard_normal(batch.a.shape[1:], np.float32) for one in draws]))
    there = batch.to(processes.device)
    a, b, winner = (one.float() / 127.5 - 1 for one in (there.a, there.b, there.winner))
    parts = [one.to(processes.device).chunk(training.accumulate) for one in (a, b, winner, there.weight, noise, levels)]
    for *crops, level in zip(*parts, strict=True):
        yield Scenes(*crops), level


def check_finite(losses: Mapping[str, Tensor], step: int, pair_ids: tuple[str, ...], training: Training, processes: Processes) -> None:
    """Stop every process before the weights are spoilt; raises TrainingFailed with the pairs of this one's share."""
    wrong = [name for name, loss in losses.items() if not torch.isfinite(loss)]
    if processes.agree(bool(wrong)):
        wrong = wrong or ["a loss of another process"]
        pairs = ", ".join(dict.fromkeys(pair_ids))
        raise TrainingFailed(
            f"step {step}: {', '.join(wrong)} is not a finite number on pairs {pairs}; "
            f"lower the learning rate (it is {training.rate:g}) or leave the pair out, and resume from the last checkpoint"
        )


def hash_seed(*parts: int) -> int:
    """One number from several, for generators that take only one."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
