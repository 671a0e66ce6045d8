"""Processes that commit, publish and tag at once: nothing is lost, and who was beaten is told so."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.repository import IMAGES, MAIN, Store, array_path, create_store, open_store
from storage.snapshot import Snapshot

HERE = Path(__file__).parent
PROCESSES = 4
PROCESSES_ON_S3, ROUNDS_ON_S3 = 2, 3


@contextlib.contextmanager
def start(address: str, name: str, rounds: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that commits, which ends with the block at the latest."""
    command = [sys.executable, "-W", "error", str(HERE / "commit_rounds.py"), address, name, str(rounds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def listen(process: "subprocess.Popen[str]") -> str:
    """The next line that a process prints."""
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def speak(process: "subprocess.Popen[str]") -> None:
    """Send a process the line that it waits for."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def race(address: str, processes: int, rounds: int) -> tuple[int, list[str]]:
    """Let processes commit at once: how often one was beaten by another, and what each says of the tag that all want."""
    with contextlib.ExitStack() as stack:
        racers = [stack.enter_context(start(address, f"process{number}", rounds)) for number in range(processes)]
        assert {listen(one) for one in racers} == {"ready"}
        for one in racers:
            speak(one)
        conflicts = [listen(one) for one in racers]
        wishes = [listen(one) for one in racers]
        assert [one.wait() for one in racers] == [0] * processes
    return sum(map(int, conflicts)), wishes


def check_nothing_is_lost(store: Store, wanted: set[str]) -> None:
    """Every commit is in the history of `main` once, its image is in the newest snapshot, and its tag names it."""
    history = [one.message for one in store.repository.ancestry(branch=MAIN)]
    assert sorted(history[:-1]) == sorted(wanted)
    newest = Snapshot(store)
    assert set(newest.root[IMAGES].array_keys()) == {array_path(IMAGES, one).removeprefix(f"{IMAGES}/") for one in wanted}  # type: ignore[union-attr]
    assert all((newest.pictures(one)["a"] == len(one)).all() for one in wanted)
    tags = {name: next(iter(store.repository.ancestry(tag=name))).message for name in store.repository.list_tags()}
    assert tags.pop("wanted") in wanted
    assert tags == {one.replace("/", "-"): one for one in wanted}
    assert list(store.repository.list_branches()) == [MAIN]


def test_of_processes_that_commit_at_once_none_loses_anything(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rounds = request.config.getoption("--commit-rounds")
    store = create_store(str(tmp_path / "store"))
    conflicts, wishes = race(store.address, PROCESSES, rounds)
    assert conflicts > 0  # they did get into each other's way
    check_nothing_is_lost(store, {f"process{number}/{one}" for number in range(PROCESSES) for one in range(rounds)})
    assert sorted(wishes) == ["lost"] * (PROCESSES - 1) + ["won"]


def test_nor_on_an_object_store_which_has_no_lock_but_conditional_writes(s3_address: str) -> None:
    create_store(s3_address)
    conflicts, wishes = race(s3_address, PROCESSES_ON_S3, ROUNDS_ON_S3)
    assert conflicts > 0
    wanted = {f"process{number}/{one}" for number in range(PROCESSES_ON_S3) for one in range(ROUNDS_ON_S3)}
    check_nothing_is_lost(open_store(s3_address), wanted)
    assert sorted(wishes) == ["lost"] * (PROCESSES_ON_S3 - 1) + ["won"]
