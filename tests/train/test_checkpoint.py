"""Tests of train.checkpoint: whole or not at all, and nothing that is damaged or foreign is believed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from storage.errors import FusionPriorError, InputError, SchemaMismatch
from storage.schema import SCHEMA_VERSION
from train import checkpoint as checkpoints
from train.checkpoint import Checkpoint, Facts, read_checkpoint, read_student, write_checkpoint
from train.config import ARCHITECTURE, Network, Training
from train.model import Student

Write = Callable[..., Checkpoint]


@pytest.fixture
def write(tmp_path: Path, network: Network) -> Write:
    """Writes a checkpoint of a fresh student into the run `tmp_path / "run"`."""

    def make(step: int = 1, value: float | None = None) -> Checkpoint:
        facts = Facts(
            architecture=ARCHITECTURE,
            schema_version=SCHEMA_VERSION,
            snapshot_id="S",
            step=step,
            value=value,
            network=network,
            training=Training(steps=5),
            hashes={},
        )
        return write_checkpoint(tmp_path / "run", facts, Student(network).state_dict(), {"x": torch.arange(3.0)})

    return make


def test_what_was_written_is_read(write: Write, tmp_path: Path) -> None:
    written = write(7, 4.5)
    found = read_checkpoint(tmp_path / "run")
    assert found == written
    assert found.facts.value == 4.5
    assert checkpoints.read_tensors(found, checkpoints.TRAINING)["x"].tolist() == [0, 1, 2]
    assert read_student(found).network == written.facts.network
    assert read_checkpoint(written.folder) == written


def test_the_best_is_preferred_to_the_newest(write: Write, tmp_path: Path) -> None:
    best, newest = write(1), write(2)
    assert read_checkpoint(tmp_path / "run") == newest
    checkpoints.mark_best(tmp_path / "run", 1, 4.8)
    assert read_checkpoint(tmp_path / "run") == best
    assert checkpoints.read_newest(tmp_path / "run") == newest


def test_old_ones_go_and_the_best_stays(write: Write, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in range(1, 6):
        write(step)
    checkpoints.mark_best(run, 2, 4.8)
    (run / ".step-00000009.123").mkdir()  # left by a process that was killed
    checkpoints.delete_old(run)
    assert sorted(one.name for one in run.iterdir()) == ["best.json", "step-00000002", "step-00000004", "step-00000005"]


def test_a_write_that_fails_leaves_nothing_to_be_found(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = write(1)

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "pack", fail)
    with pytest.raises(OSError, match="No space"):
        write(2)
    assert checkpoints.find_checkpoints(tmp_path / "run") == [kept.folder]


def test_a_checkpoint_without_its_facts_is_none(write: Write, tmp_path: Path) -> None:
    kept, partial = write(1), write(2)
    (partial.folder / "checkpoint.json").unlink()
    assert read_checkpoint(tmp_path / "run") == kept


@pytest.mark.parametrize("name", ["student.safetensors", "training.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "pickle", "delete"])
def test_damaged_tensors_are_refused_by_name(name: str, damage: str, write: Write) -> None:
    found = write(1)
    path = found.folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        torch.save({"x": torch.zeros(1)}, path)
    else:
        path.unlink()
    with pytest.raises(InputError, match=name):
        checkpoints.read_tensors(found, name)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "many"},
        {"step": None},
        {"network": {"widths": [8, 8]}},
        {"training": None},
        {"hashes": {"../../etc/passwd": "0"}},
        {"hashes": {}},
        {"unknown": 1},
    ],
)
def test_facts_that_make_no_sense_are_refused_in_one_sentence(change: dict[str, object], write: Write) -> None:
    found = write(1)
    path = found.folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as refused:
        read_student(read_checkpoint(found.folder))
    assert str(path.parent) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"architecture": []}', "\x00"])
def test_rubbish_for_facts_is_refused(text: str, write: Write) -> None:
    found = write(1)
    (found.folder / "checkpoint.json").write_text(text)
    with pytest.raises(FusionPriorError) as refused:
        read_checkpoint(found.folder)
    assert "\n" not in str(refused.value)


def test_other_architectures_and_schemas_are_told_apart(write: Write) -> None:
    found = write(1)
    path = found.folder / "checkpoint.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"schema_version": 1}))
    with pytest.raises(SchemaMismatch, match="schema 1"):
        checkpoints.check_schema(read_checkpoint(found.folder))
    path.write_text(json.dumps(facts | {"architecture": 99}))
    with pytest.raises(SchemaMismatch, match="architecture 99"):
        read_checkpoint(found.folder)


def test_weights_of_other_networks_are_refused(write: Write) -> None:
    found = write(1)
    path = found.folder / "checkpoint.json"
    facts = json.loads(path.read_text())
    facts["network"]["refiner_width"] = 8
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="do not fit"):
        read_student(read_checkpoint(found.folder))


def test_networks_that_cannot_be_built_are_refused(write: Write) -> None:
    found = write(1)
    path = found.folder / "checkpoint.json"
    facts = json.loads(path.read_text())
    facts["network"]["groups"] = 3
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="cannot be built"):
        read_student(read_checkpoint(found.folder))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    assert checkpoints.read_newest(tmp_path / "nowhere") is None
