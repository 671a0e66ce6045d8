"""Tests of training in several processes, and of one that is killed: by the command line, as users do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ARGUMENTS = ["train", "--steps", "4", "--batch", "2", "--crop", "48", "--save-every", "1", "--evaluate-every", "4", "--report-every", "1"]
PATIENCE = 300  # s, on a busy machine


@pytest.fixture
def store(tmp_path: Path, publish: Callable[..., str], scene: Callable[..., Any]) -> Path:
    publish([scene(f"p{number}", height=60, width=70) for number in range(3)])
    return tmp_path / "store"


def start(launcher: list[str], store: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, *launcher, "-m", "flows.command_line", *ARGUMENTS, "--store", str(store), "--out", str(out), *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def test_two_processes_learn_what_one_learns(store: Path, tmp_path: Path) -> None:
    if shutil.which("torchrun") is None and not torch.distributed.is_available():
        pytest.skip("this torch was built without distributed")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    alone, together = (start(how, store, tmp_path / name) for how, name in (([], "alone"), (launcher, "together")))
    told = [finish(one).strip().splitlines() for one in (alone, together)]
    assert [lines[-1] for lines in told] == [str(tmp_path / name / "step-00000004") for name in ("alone", "together")]
    one, two = (load_file(tmp_path / name / "step-00000004" / "student.safetensors") for name in ("alone", "together"))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, atol=1e-4, rtol=1e-3)
    assert len((tmp_path / "together" / "report.jsonl").read_text().splitlines()) == 4  # one process tells


def test_a_killed_run_goes_on_to_the_same_bits(store: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    reference = start([], store, whole)
    victim = start([], store, killed)
    deadline = time.monotonic() + PATIENCE
    while not (killed / "step-00000001").exists():
        assert time.monotonic() < deadline, "no checkpoint came"
        assert victim.poll() is None, victim.communicate()[1]
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    finish(reference)
    assert finish(start([], store, killed, "--resume")).strip() == str(killed / "step-00000004")
    for name in ("student.safetensors", "training.safetensors"):
        assert (killed / "step-00000004" / name).read_bytes() == (whole / "step-00000004" / name).read_bytes()
    assert not list(killed.glob(".step-*"))
