"""Tests of train.loop: a run that is stopped goes on to the same bits, bad numbers stop it, and the best is what judged best."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prior.arrays import luma
from storage.errors import InputError, TrainingFailed
from train import checkpoint as checkpoints
from train import loop
from train.checkpoint import read_best, read_checkpoint, read_newest, read_student
from train.config import MIXES, Network, Training
from train.data import Crops
from train.loop import Run, rate_at, stage_at, train
from train.processes import Processes, find_device, join_processes
from train.report import read_reports

TRAINING = Training(
    steps=4,
    batch=2,
    crop=48,
    warm_up=2,
    last_stage=0.5,
    mix=MIXES["published"],
    last_mix=MIXES["criteria"],
    evaluate_every=2,
    save_every=1,
    report_every=1,
)
ALONE = Processes(torch.device("cpu"))
Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path, publish: Callable[..., str], scene: Callable[..., Any], network: Network) -> Make:
    """Makes runs on one small snapshot, each in a folder of its own."""
    snapshot_id = publish([*(scene(f"p{number}", height=60, width=70) for number in range(3)), scene("v", "val")])

    def make_run(out: str = "run", *, training: Training = TRAINING, **options: Any) -> Run:
        crops = Crops(str(tmp_path / "store"), snapshot_id, "train", luma, size=training.crop, seed=training.seed)
        return Run(**{"network": network, "training": training, "crops": crops, "out": tmp_path / out} | options)

    return make_run


def digest(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("student.safetensors", "training.safetensors")}


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(stopped_after: int, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with_dropout = replace(make().network, dropout=0.2)
    whole = train(make("whole", network=with_dropout), ALONE)
    parts = make("parts", network=with_dropout)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", stop_after(stopped_after))
        with pytest.raises(KeyboardInterrupt):
            train(parts, ALONE)
    assert read_newest(parts.out).facts.step == stopped_after
    torch.manual_seed(99)  # whatever happened in between
    assert digest(train(parts, ALONE)) == digest(whole)


def stop_after(step: int) -> Callable[..., None]:
    save = loop.save

    def save_and_stop(run: Run, state: loop.State, processes: Processes) -> None:
        save(run, state, processes)
        if state.step == step:
            raise KeyboardInterrupt

    return save_and_stop


def test_time_up_leaves_a_checkpoint_to_go_on_from(make: Make) -> None:
    whole = train(make("whole"), ALONE)
    short = train(make("short", max_minutes=0.0), ALONE)
    assert read_checkpoint(short).facts.step == 1
    assert digest(train(make("short"), ALONE)) == digest(whole)


def test_a_finished_run_is_left_as_it_is(make: Make) -> None:
    ended = train(make(), ALONE)
    before = digest(ended)
    assert train(make(), ALONE) == ended
    assert digest(ended) == before


@pytest.mark.parametrize("field", ["seed", "rate"])
def test_another_seed_or_rate_is_another_run(field: str, make: Make) -> None:
    first = digest(train(make("first"), ALONE))
    other = replace(TRAINING, **{field: {"seed": 1, "rate": 2e-3}[field]})
    assert digest(train(make("other", training=other), ALONE)) != first
    with pytest.raises(InputError, match=f"was begun with training {field}"):
        train(make("first", training=other), ALONE)


def test_another_snapshot_is_another_run(make: Make, publish: Callable[..., str], scene: Callable[..., Any]) -> None:
    run = make()
    train(run, ALONE)
    later = publish([scene("q", height=60, width=70)])
    crops = Crops(run.crops.address, later, "train", luma, size=48, seed=0)
    with pytest.raises(InputError, match="was begun with snapshot"):
        train(replace(run, crops=crops), ALONE)


def test_a_batch_in_parts_is_the_same_step(make: Make) -> None:
    whole = load_file(train(make("whole"), ALONE) / "student.safetensors")
    parts = load_file(train(make("parts", training=replace(TRAINING, accumulate=2)), ALONE) / "student.safetensors")
    for name, weights in whole.items():
        torch.testing.assert_close(parts[name], weights, atol=2e-4, rtol=1e-3)
    with pytest.raises(InputError, match="into 3 equal parts"):
        train(make("thirds", training=replace(TRAINING, accumulate=3)), ALONE)


def test_a_loss_that_is_no_number_stops_with_the_pairs(make: Make) -> None:
    run = make()
    train(replace(run, max_minutes=0.0), ALONE)
    kept = digest(read_newest(run.out).folder)
    broken = read_student(read_newest(run.out)).state_dict()
    broken["refiner.out.bias"][:] = math.nan
    with pytest.raises(TrainingFailed, match=r"is not a finite number on pairs p\d.*lower the learning rate"):
        train(make("broken", first=broken), ALONE)
    assert checkpoints.find_checkpoints(make("broken").out) == []
    assert digest(read_newest(run.out).folder) == kept


def test_weights_to_begin_with_are_begun_with(make: Make) -> None:
    taught = read_student(read_checkpoint(train(make("taught"), ALONE))).state_dict()
    still = replace(TRAINING, rate=0.0, steps=1)
    again = load_file(train(make("again", training=still, first=taught), ALONE) / "student.safetensors")
    for name, weights in taught.items():
        assert torch.equal(again[name], weights)
    with pytest.raises(InputError, match="do not fit"):
        train(make("other", first={"x": torch.zeros(1)}), ALONE)


def test_the_best_by_balanced_is_kept_whatever_the_loss_says(make: Make) -> None:
    values = iter([4.9, 4.1, 4.5])
    fused: list[tuple[int, ...]] = []

    def judge(fuse: Callable[..., Any]) -> dict[str, float]:
        fused.append(fuse(np.zeros((48, 50), np.float32), np.ones((48, 50), np.float32)).shape)
        return {"balanced": next(values), "qabf": 0.5}

    training = replace(TRAINING, steps=6)
    run = make(training=training, judge=judge)
    train(run, ALONE)
    assert read_best(run.out) == (2, 4.9)
    assert read_checkpoint(run.out).facts.step == 2
    assert read_newest(run.out).facts.step == 6
    assert fused == [(48, 50)] * 3
    judged = [one for one in read_reports(run.out) if one["kind"] == "validation"]
    assert [(one["step"], one["balanced"]) for one in judged] == [(2, 4.9), (4, 4.1), (6, 4.5)]


@pytest.mark.parametrize("scores", [{"balanced": math.nan}, {"mi": 1.0}])
def test_a_value_that_is_undefined_is_never_the_best(scores: dict[str, float], make: Make) -> None:
    run = make(judge=lambda fuse: scores)
    train(run, ALONE)
    assert read_best(run.out) is None
    assert read_checkpoint(run.out).facts.step == TRAINING.steps


def test_a_best_that_was_not_marked_before_a_kill_is_marked_on_the_way_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {2: 4.9, 4: 4.1}
    seen: list[int] = []

    def judge(fuse: Callable[..., Any]) -> dict[str, float]:
        seen.append(2 + 2 * len(seen))
        return {"balanced": values[seen[-1]]}

    run = make(judge=judge)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "mark_best", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(run, ALONE)
    assert read_best(run.out) is None
    train(run, ALONE)
    assert read_best(run.out) == (2, 4.9)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_full_disk_is_one_sentence(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    run = make()
    monkeypatch.setattr(checkpoints, "write_checkpoint", fail)
    with pytest.raises(TrainingFailed, match=r"cannot be written \(No space left on device\); make room"):
        train(run, ALONE)


def test_every_weight_learns_under_autocast_in_the_last_stage(make: Make) -> None:
    """Steps without gradients come before the judged one inside the same block, where casts of the weights are remembered."""
    run = make()
    objective = loop.Objective(loop.Student(run.network))
    batch = next(loop.load_batches(run.crops, start=0, steps=1, batch=2))
    ((scenes, levels),) = loop.draw_parts(run.training, 0, batch, ALONE)
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective(scenes, levels, MIXES["criteria"], 1)
    torch.stack(list(losses.values())).sum().backward()
    assert all(one.grad is not None and torch.isfinite(one.grad).all() for one in objective.parameters())


def test_what_is_reported(make: Make) -> None:
    image = np.full((48, 300), 0.5, np.float32)
    run = make(scenes=((image, image, image),))
    train(replace(run, max_minutes=0.0), ALONE)
    with (run.out / "report.jsonl").open("a") as file:
        file.write('{"kind": "losses", "step": 3}\n{"kind": "lo')  # lost steps, and a line cut short
    train(run, ALONE)
    lines = [json.loads(line) for line in (run.out / "report.jsonl").read_text().splitlines()]
    assert [one["step"] for one in lines] == [1, 2, 3, 4]
    assert {"noise", "prior", "total", "norm", "rate", "seconds_per_step", "peak_memory_mb"} <= lines[0].keys()
    assert all(one["total"] > 0 for one in lines)
    assert sorted(one.name for one in (run.out / "examples").iterdir()) == [f"step-{step:08d}.png" for step in (2, 4)]
    assert list((run.out / "tensorboard").iterdir())


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4]), (3, [3, 4]), (9, [4])])
def test_with_every_report_it_is_told_how_far_the_run_is(every: int, steps: list[int], make: Make) -> None:
    told: list[tuple[int, int]] = []
    train(make(training=replace(TRAINING, report_every=every), tell=lambda *so_far: told.append(so_far)), ALONE)
    assert told == [(step, 4) for step in steps]


def test_a_run_that_goes_on_is_told_from_where_it_was(make: Make) -> None:
    told: list[tuple[int, int]] = []
    late = replace(TRAINING, report_every=9)
    train(make(training=late, max_minutes=0.0, tell=lambda *so_far: told.append(so_far)), ALONE)
    assert told == [(1, 4)]  # time is up
    train(make(training=late, tell=lambda *so_far: told.append(so_far)), ALONE)
    train(make(training=late, tell=lambda *so_far: told.append(so_far)), ALONE)
    assert told == [(1, 4), (4, 4)]  # and of a run that is over there is nothing to tell


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine() -> None:
    training = Training(steps=110, warm_up=10, rate=1.0)
    rates = [rate_at(training, step) for step in range(110)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-3)


def test_the_last_stage_judges_every_step_of_the_sampler(network: Network) -> None:
    training = replace(TRAINING, steps=100)
    stages = [stage_at(training, network, step) for step in range(100)]
    assert stages[:50] == [(training.mix, None)] * 50
    assert {last for _, last in stages[50:]} == {0, 1}
    assert all(mix == training.last_mix for mix, _ in stages[50:])


def test_short_memory_is_one_sentence() -> None:
    with pytest.raises(TrainingFailed, match="memory ran short on cpu; use smaller crops"), join_processes("cpu"):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
    with pytest.raises(RuntimeError, match="something else"), join_processes("cpu"):
        raise RuntimeError("something else")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device cuda"):
        find_device("cuda")
    with pytest.raises(InputError, match="use auto, cpu or cuda"):
        find_device("tpu")
    assert find_device("auto").type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_in_half_precision_and_resumes(make: Make) -> None:
    with join_processes("cuda") as processes:
        ended = train(make("cuda", max_minutes=0.0), processes)
        assert read_checkpoint(train(make("cuda"), processes)).facts.step == TRAINING.steps
    assert ended.exists()
