"""Training by request and by command: what is begun, resumed and refused, and the commands about the students that come of it."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from flows import train_student as training
from flows.command_line import app
from flows.train_student import TrainRequest, choose_settings, prepare_run, train_student
from storage.errors import FusionPriorError, InputError, SchemaMismatch, SnapshotNotFound
from storage.files import Files, parse_location
from storage.locks import hold_lock
from storage.snapshot import Snapshot
from train import export
from train.checkpoint import STUDENT, read_best, read_checkpoint, read_tensors
from train.config import MIXES, PRESETS, find_mix
from train.evaluate import Interval, Standing
from train.loop import Run
from train.processes import Processes
from train.report import read_reports

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def ask(store: str, out: Path, **fields: object) -> TrainRequest:
    """The request of the fixture `trained`, or another."""
    settings = {"steps": 2, "batch": 2, "crop": 48, "device": "cpu"} | fields
    return TrainRequest(store=store, out=out, **settings)  # type: ignore[arg-type]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def change_facts(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = run / "step-00000002" / "checkpoint.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


# Beginning.


def test_train_ends_with_the_checkpoint_alone_on_stdout(split_store: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = ("--steps", 2, "--batch", 2, "--crop", 48, "--report-every", 1, "--mix", "published", "--prior-weight", 3)
    done = call("train", "--store", split_store, "--snapshot", "v1", *sizes, "--device", "cpu", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out / "step-00000002")
    facts = read_checkpoint(out).facts
    assert (facts.step, facts.snapshot_id) == (2, Snapshot(split_store, "v1").id)
    assert facts.training.mix == facts.training.last_mix == replace(MIXES["published"], prior=3.0)
    kinds = [(one["kind"], one["step"]) for one in read_reports(out)]
    assert kinds == [("losses", 1), ("losses", 2), ("validation", 2)]


def test_a_student_is_judged_and_shown_on_the_validation_pairs(trained: Path) -> None:
    report = next(one for one in read_reports(trained) if one["kind"] == "validation")
    assert {"balanced", "diff-if", "ssim_a", "mi", "corr_b"} <= set(report)
    assert read_best(trained) == (2, report["balanced"]) and read_checkpoint(trained).facts.value == report["balanced"]
    assert (trained / "examples" / "step-00000002.png").is_file()


def test_without_validation_pairs_a_student_is_trained_unjudged(
    split_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "flows")
    monkeypatch.setattr(training, "VAL", "absent")
    folder = train_student(ask(split_store, tmp_path / "run", steps=1))
    assert read_checkpoint(folder).facts.value is None and read_best(tmp_path / "run") is None
    assert "no validation pairs" in caplog.text


def test_without_training_pairs_nothing_is_made(split_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TRAIN", "absent")
    with pytest.raises(InputError, match=r"no pair with a winner in split 'absent' .*test, train, val"):
        train_student(ask(split_store, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_examples_are_the_middle_of_large_pairs() -> None:
    picture = np.zeros((300, 270), np.uint8)
    picture[150, 135] = 255
    middle = training._cut_middle(picture)
    assert middle.shape == (256, 256) and middle.dtype == np.float32 and middle[128, 128] == 1


def test_the_loop_is_told_the_means_of_the_student(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = Standing("student", {"mi": Interval(1.0, 1.0, 1.0)}, {})
    monkeypatch.setattr(training, "judge", lambda contest, fuse, resamples: SimpleNamespace(standings=[standing]))
    means = training.make_judge(None)(lambda a, b: a)  # type: ignore[arg-type]
    assert means == {"mi": 1.0}


def test_only_the_first_process_judges_and_tells(split_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Run] = []
    places: list[tuple[object, ...]] = []
    told: list[tuple[str, int, int]] = []

    def keep(run: Run, processes: Processes) -> Path:
        runs.append(run)
        return run.out

    @contextmanager
    def join(*place: object) -> Iterator[Processes]:
        places.append(place)
        yield Processes(torch.device("cpu"), len(places) - 1, 2)

    monkeypatch.setattr(training, "join_processes", join)
    monkeypatch.setattr(training.loop, "train", keep)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        train_student(ask(split_store, tmp_path / "run"), lambda *so_far: told.append(so_far))
    logging.getLogger("train").setLevel(logging.NOTSET)
    assert places == [("cpu", 2, 0), ("cpu", 2, 1)]
    assert runs[0].judge and runs[0].scenes and not runs[1].judge and not runs[1].scenes
    for run in runs:
        run.tell(1, 2)
    assert told == [("training", 1, 2)]


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train_student", lambda request: request.out / "step-1")
    assert call("train", "--out", "x").stdout == "x/step-1\n"
    monkeypatch.setenv("RANK", "1")
    assert call("train", "--out", "x").stdout == ""


def test_an_interrupted_run_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(request: TrainRequest) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_student", stop)
    done = call("train", "--out", "x")
    assert done.exit_code == 130 and done.stdout == "" and "--resume" in done.stderr


def test_a_run_begins_with_the_weights_of_another(split_store: str, trained: Path, tmp_path: Path) -> None:
    first = prepare_run(ask(split_store, tmp_path / "run", first=trained)).first
    kept = read_tensors(read_checkpoint(trained), STUDENT)
    assert first is not None and all(torch.equal(first[name], one) for name, one in kept.items()) and first.keys() == kept.keys()
    with pytest.raises(InputError, match="has other networks than the preset asked for"):
        prepare_run(ask(split_store, tmp_path / "small", first=trained, preset="small"))
    assert not (tmp_path / "small").exists()


def test_a_run_that_begins_with_another_is_trained_as_that_was(split_store: str, run: Path, tmp_path: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["network"]["steps"] = 3
        facts["training"] |= {"rate": 0.5, "clip": 2.0, "weighting": "margin", "seed": 4}

    change_facts(run, change)
    begun = read_checkpoint(run).facts
    assert begun.network != PRESETS["tiny"].network
    same = prepare_run(TrainRequest(store=split_store, out=tmp_path / "same", first=run))
    assert (same.network, same.training) == (begun.network, begun.training) and same.first is not None
    other = prepare_run(TrainRequest(store=split_store, out=tmp_path / "other", first=run, rate=0.1, seed=5, mix="prior-only"))
    mix = MIXES["prior-only"]
    assert other.network == begun.network and other.training == replace(begun.training, rate=0.1, seed=5, mix=mix, last_mix=mix)


def test_a_preset_says_how_a_run_that_begins_with_another_is_trained(split_store: str, run: Path, tmp_path: Path) -> None:
    change_facts(run, lambda facts: facts["training"].update(rate=0.5))
    made = prepare_run(TrainRequest(store=split_store, out=tmp_path / "run", first=run, preset="tiny"))
    assert made.training == PRESETS["tiny"].training and made.network == PRESETS["tiny"].network and made.first is not None


def test_a_run_that_goes_on_keeps_to_its_own_way_and_not_to_that_of_the_first(split_store: str, run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    change_facts(other, lambda facts: facts["training"].update(rate=0.5))
    resumed = prepare_run(TrainRequest(store=split_store, out=run, first=other, resume=True))
    assert resumed.training == read_checkpoint(run).facts.training and resumed.first is None


# Settings.


def test_settings_are_those_given_then_those_of_the_preset() -> None:
    request = TrainRequest(store="s", out=Path("o"), preset="diff-if", rate=0.5, weighting="margin", prior_weight=0.0, last_stage=0.25)
    network, chosen = choose_settings(request, None)
    preset = PRESETS["diff-if"]
    assert network == preset.network
    without = replace(preset.training.mix, prior=0.0)
    assert chosen == replace(preset.training, rate=0.5, weighting="margin", last_stage=0.25, mix=without, last_mix=without)
    assert choose_settings(TrainRequest(store="s", out=Path("o"), mix="rules-only"), None)[1].last_mix == find_mix("rules-only")


def test_every_setting_of_a_run_can_be_given_but_its_rarest() -> None:
    names = {one.name for one in training.fields(training.Training)} - {one.name for one in training.fields(TrainRequest)}
    assert names == {"warm_up", "clip", "ema", "last_mix"}


# Resuming.


def test_a_run_that_was_stopped_goes_on_with_its_own_settings(split_store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "run"
    with caplog.at_level(logging.INFO, "train"):
        stopped = train_student(ask(split_store, out, steps=3, max_minutes=0))
        assert stopped.name == "step-00000001" and "stopped after 1 of 3 steps" in caplog.text
        ended = train_student(TrainRequest(store=split_store, out=out, resume=True, device="cpu"))
    assert ended.name == "step-00000003" and "going on from step 1 of 3" in caplog.text
    facts = read_checkpoint(ended).facts
    assert (facts.training.steps, facts.training.crop) == (3, 48)


def test_resuming_a_run_that_is_not_there_begins_it(split_store: str, tmp_path: Path) -> None:
    assert train_student(ask(split_store, tmp_path / "run", steps=1, resume=True)).name == "step-00000001"


def test_a_run_is_not_begun_over_another(split_store: str, trained: Path) -> None:
    with pytest.raises(InputError, match=r"already holds a run .*; go on with --resume, or name another --out"):
        train_student(ask(split_store, trained))


def test_resuming_accepts_the_same_settings_and_refuses_others(split_store: str, trained: Path) -> None:
    same = ask(split_store, trained, preset="tiny", mix=None, snapshot="v1", seed=0, resume=True)
    assert train_student(same) == trained / "step-00000002"
    for changed in ({"steps": 4}, {"preset": "small"}, {"mix": "prior-only"}, {"prior_weight": 0.5}):
        with pytest.raises(InputError, match=f"the run in {trained} was begun with"):
            train_student(replace(same, **changed))  # type: ignore[arg-type]


def test_resuming_keeps_to_the_snapshot_of_the_checkpoint(split_store: str, run: Path) -> None:
    change_facts(run, lambda facts: facts.update(snapshot_id="ZZZZWRMMJJMFWVAD9FW0"))
    with pytest.raises(InputError, match="was begun with snapshot ZZZZWRMMJJMFWVAD9FW0"):
        train_student(ask(split_store, run, snapshot="v1", resume=True))
    with pytest.raises(FusionPriorError, match="ZZZZWRMMJJMFWVAD9FW0"):
        train_student(ask(split_store, run, resume=True))


# Refusals: one sentence each, and nothing is made.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"preset": "tny"}, "unknown preset 'tny'; did you mean tiny"),
        ({"mix": "publish"}, "unknown mix 'publish'; did you mean published"),
        ({"weighting": "margins"}, "unknown weighting 'margins'; did you mean margin"),
        ({"snapshot": "v2"}, "no snapshot 'v2'"),
        ({"store": "nowhere"}, "there is no store at nowhere"),
        ({"device": "tpu"}, "use auto, cpu or cuda"),
        ({"crop": 20}, "crop is 20"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 3, "accumulate": 2}, "cannot be cut into 2 equal parts"),
        ({"rate": -1.0}, "rate is -1"),
        ({"prior_weight": float("nan")}, "--prior-weight is nan"),
        ({"first": Path("nowhere")}, "nowhere holds no checkpoint"),
    ],
)
def test_a_wrong_request_is_one_sentence(split_store: str, tmp_path: Path, fields: dict[str, object], words: str) -> None:
    with pytest.raises(FusionPriorError) as caught:
        train_student(replace(ask(split_store, tmp_path / "run"), **fields))  # type: ignore[arg-type]
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(split_store: str, tmp_path: Path) -> None:
    done = call("train", "--store", split_store, "--device", "cuda", "--out", tmp_path / "run")
    assert isinstance(done.exception, InputError) and "no GPU is to be seen here" in str(done.exception)


def test_a_run_needs_a_folder(split_store: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made or is no folder"):
        train_student(ask(split_store, tmp_path / "file"))


def spoil_json(run: Path) -> None:
    (run / "step-00000002" / "checkpoint.json").write_text("{")


def spoil_weights(run: Path) -> None:
    path = run / "step-00000002" / STUDENT
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def forget_hash(run: Path) -> None:
    change_facts(run, lambda facts: facts.update(hashes={}))


def age(run: Path) -> None:
    change_facts(run, lambda facts: facts.update(architecture=0))


DAMAGES = [(spoil_json, "cannot be read"), (spoil_weights, "sha256 differs"), (forget_hash, "sha256"), (age, "of architecture 0")]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_a_damaged_checkpoint_is_one_sentence(
    split_store: str, run: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(run)
    commands: list[tuple[object, ...]] = [
        ("fuse", "--checkpoint", run, "a.png", "b.png", "f.png"),
        ("fuse", "--method", f"student:{run}", "a.png", "b.png", "f.png"),
        ("model", "evaluate", run, "--store", split_store),
        ("model", "export", run, tmp_path / "student.onnx"),
        ("train", "--store", split_store, "--out", tmp_path / "next", "--first", run),
    ]
    for command in commands:
        done = call(*command)
        assert isinstance(done.exception, InputError | SchemaMismatch), (command, done.output)
        assert words in str(done.exception) and "\n" not in str(done.exception) and done.stdout == ""


def test_a_student_of_another_schema_is_not_judged(split_store: str, run: Path) -> None:
    change_facts(run, lambda facts: facts.update(schema_version=1))
    done = call("model", "evaluate", run, "--store", split_store)
    assert isinstance(done.exception, SchemaMismatch) and "schema 1" in str(done.exception)
    done = call("train", "--store", split_store, "--out", run, "--resume", "--device", "cpu")
    assert isinstance(done.exception, SchemaMismatch)


# The commands about a student.


def test_evaluate_prints_the_student_beside_its_teacher(split_store: str, trained: Path) -> None:
    arguments = ("model", "evaluate", trained, "--store", split_store, "--device", "cpu", "--steps", 1)
    done = call(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    verdict = json.loads(done.stdout)
    assert verdict["pairs"] == 2 and verdict["standings"][0]["contestant"] == "student" and done.stderr == ""
    table = call(*arguments, "--split", "val")
    assert table.exit_code == 0 and "teacher" in table.stdout and "Means over 1 pairs" in table.stdout
    refused = call(*arguments, "--split", "tset")
    assert isinstance(refused.exception, InputError) and "'tset'" in str(refused.exception)


def test_evaluate_says_when_it_judges_on_another_snapshot(split_store: str, run: Path) -> None:
    change_facts(run, lambda facts: facts.update(snapshot_id="ZZZZWRMMJJMFWVAD9FW0"))
    arguments = ("model", "evaluate", run, "--store", split_store, "--device", "cpu", "--steps", 1, "--format", "csv")
    done = call(*arguments)
    assert isinstance(done.exception, SnapshotNotFound) and "name its store, or another with --snapshot" in str(done.exception)
    done = call(*arguments, "--snapshot", "v1")
    assert done.exit_code == 0 and done.stdout.startswith("contestant,") and "trained on ZZZZWRMMJJMFWVAD9FW0" in done.stderr


def test_show_tells_what_a_student_is(split_store: str, trained: Path) -> None:
    facts = json.loads(call("model", "show", trained, "--format", "json").stdout)
    assert (facts["preset"], facts["step"], facts["snapshot"]) == ("tiny", 2, Snapshot(split_store).id)
    assert facts["value"] == read_checkpoint(trained).facts.value and facts["parameters"] > 100_000 and "prior" in facts["mix"]
    table = call("model", "show", trained)
    assert table.exit_code == 0 and "widths 16 24 32" in table.stdout


def test_presets_are_listed_with_their_size_and_the_corrections() -> None:
    listed = json.loads(call("model", "presets", "--format", "json").stdout)
    sizes = {one["name"]: one["parameters"] for one in listed["presets"]}
    assert sizes.keys() == PRESETS.keys() and sizes["tiny"] < sizes["small"] < sizes["diff-if"] and len(listed["corrections"]) > 5
    table = call("model", "presets").stdout
    assert str(sizes["small"]) in table and "- nothing is resized" in table


def test_export_passes_the_student_on(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(export, "export_student", lambda student, path, **how: calls.append((student.training, path, how)))
    done = call("model", "export", trained, tmp_path / "s.pt2", "--format", "torch", "--steps", 3)
    assert done.stdout.strip() == str(tmp_path / "s.pt2")
    assert calls == [(False, tmp_path / "s.pt2", {"form": "torch", "steps": 3, "seed": 0})]


# What is loaded and said on the way.


def test_help_is_there_without_torch() -> None:
    code = (
        "import sys; from flows.command_line import app\n"
        "for words in ([], ['train'], ['model'], ['model', 'evaluate']):\n"
        "    try: app([*words, '--help'])\n"
        "    except SystemExit as ended: assert ended.code == 0\n"
        "print(sorted({'torch', 'diffusers', 'cv2', 'prefect', 'distributed'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_one_notice_of_a_foreign_kernel_is_not_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    theirs = logging.getLogger("bitsandbytes.backends.cpu.ops")
    theirs.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "No module named 'kernels'")
    theirs.warning("something else")
    assert caplog.messages == ["something else"]


def test_two_trainings_of_one_folder_follow_each_other(split_store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "run"
    files = Files(parse_location(str(out)))
    out.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with hold_lock(files, "run", "the other training"):
            waiting = pool.submit(train_student, ask(split_store, out, steps=1, batch=2, crop=48, device="cpu"))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=3)
            assert not list(out.glob("step-*"))
        assert waiting.result(timeout=60).name == "step-00000001"


def test_a_run_that_is_finished_says_so(trained: Path, split_store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(trained, tmp_path / "run")
    with caplog.at_level("WARNING", logger="flows"):
        train_student(ask(split_store, tmp_path / "run", resume=True, device="cpu"))
    assert f"the run in {tmp_path / 'run'} has taken all its 2 steps: nothing is trained" in caplog.text
