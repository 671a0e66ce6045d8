"""A store that may only be read: all that reads it works, all that would write into it is refused in one sentence, and nothing changes."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from flows.build import build

DROP_FROM_BOUNDS, ABOVE_PERMISSIONS = 24, (1, 2, 3)  # prctl's number; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


RunCommands = Callable[..., list[tuple[int, str, str]]]


@pytest.fixture(scope="module")
def read_only(ready: Any, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with the snapshots v1 and v2, of which nothing may be written."""
    store = tmp_path_factory.mktemp("read_only") / "store"
    build(ready.ask(), ready.copy_to(store), client, tag="v2")
    set_writable(store, 0)
    if subprocess.run(["touch", str(store / "new")], preexec_fn=become_ordinary, capture_output=True, check=False).returncode == 0:
        pytest.skip("this user may write where nobody may, and cannot be kept from it")
    yield store
    set_writable(store, 0o200)


def set_writable(store: Path, bit: int) -> None:
    for path in (store, *store.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222 | bit)


def become_ordinary() -> None:
    """Give up, before a program is run, what lets root write anywhere; nobody else has it."""
    if os.geteuid() == 0:
        for one in ABOVE_PERMISSIONS:
            ctypes.CDLL(None).prctl(DROP_FROM_BOUNDS, one, 0, 0, 0)


def list_all(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (store, *store.rglob("*"))}


def test_all_that_reads_works(read_only: Path, run_commands: RunCommands, tmp_path: Path) -> None:
    before = list_all(read_only)
    commands: tuple[tuple[object, ...], ...] = (
        ("winners", "--criterion", "vif"),
        ("scores",),
        ("pairs",),
        ("snapshots",),
        ("manifest", "v1"),
        ("branch",),
        ("diff", "v1", "v2"),
        ("verify",),
        ("gc", "--dry-run"),
        ("busy",),
        ("show", "p0", "--out", tmp_path / "sheet.png"),
        ("export", "v2", "--layout", "webdataset", "--out", tmp_path / "exported"),
    )
    done = run_commands(*((*one, "--store", read_only) for one in commands), before=become_ordinary)
    for words, (code, out, err) in zip(commands, done, strict=True):
        assert (code, "error: " in err, out + err != "") == (0, False, True), (words, err)
    assert (tmp_path / "sheet.png").is_file() and list((tmp_path / "exported").iterdir())
    assert list_all(read_only) == before


def test_all_that_writes_is_refused_in_one_sentence(read_only: Path, ready: Any, run_commands: RunCommands) -> None:
    before = list_all(read_only)
    commands: tuple[tuple[object, ...], ...] = (
        ("build", "--a", ready.a, "--b", ready.b, "--engine", "plain", "--workers", 1),
        ("reselect", "--criterion", "vif"),
        ("tag", "v3", "v1"),
        ("branch", "trial", "v1"),
        ("branch", "main", "v1"),
        ("gc",),
        ("repair",),
    )
    done = run_commands(*((*one, "--store", read_only) for one in commands), before=become_ordinary)
    for words, (code, out, err) in zip(commands, done, strict=True):
        assert (code, out) == (2, ""), (words, err)
        assert err.startswith("error: ") and "Permission denied" in err and "rights" in err and err.count("\n") == 1, (words, err)
    assert list_all(read_only) == before
