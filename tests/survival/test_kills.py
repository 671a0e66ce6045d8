"""Builds that are ended by `kill -9`, workers and all, at any moment: nothing that was there is lost, and the next build ends as ever.

Half of the moments are drawn from the whole length of a build; the others follow a change in the store's folder, because publishing takes
but a small part of that time. The seed of the moments is told with every failure, and `--moments SEED` repeats them.
That a single worker is killed is tested where builds are: tests/flows/test_cluster.py, and test_build.py with methods that do it.
"""

import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from flows.build import build
from storage.collect import Keep, collect_garbage
from storage.repository import MAIN, open_store
from storage.snapshot import Snapshot
from storage.verify import verify_store

HERE = Path(__file__).parent
FOLDERS = ("journal", "tables", "seals", *(f"repository/{name}" for name in ("chunks", "manifests", "snapshots", "transactions")))
DRAFT, HEAD, TAG, FORGET = "the draft's branch", "main", "the tag", "the journal, when it is forgotten"
STAGES = (*FOLDERS, DRAFT, HEAD, TAG, FORGET)
"""What changes in a store while it is built into."""

JOURNALED = 8
"""As many files as are in the journal of four pairs at some time, at least."""

ReadContent = Callable[[str, str], dict[str, Any]]
View = dict[str, int]


@dataclass(frozen=True)
class Moment:
    """When a build is killed: so many seconds after it began, or after so many changes of a stage."""

    stage: str
    changes: int
    seconds: float


@dataclass(frozen=True)
class Undisturbed:
    """A build that nobody ends: how long it takes, what it makes, and what lies in its store then."""

    seconds: float
    content: dict[str, Any]
    view: View


@contextlib.contextmanager
def start(ready: Any, address: str) -> Iterator["subprocess.Popen[str]"]:
    """A build of v2 in a process group of its own, that was just told to begin; it is killed when the block ends."""
    command = [sys.executable, str(HERE / "build_again.py"), address, str(ready.a), str(ready.b), "v2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, start_new_session=True, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdin and process.stdout
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("\n")
            process.stdin.flush()
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """Kill a build with all its workers, and wait until all are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(600):
        if not any(is_alive(one, process.pid) for one in psutil.pids()):
            return
        time.sleep(0.1)
    raise TimeoutError("the workers of a build that was killed are still there")


def is_alive(pid: int, group: int) -> bool:
    """Whether a process is of a group, and neither gone nor waiting for somebody to take note of its end."""
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def age_files(store: Path) -> None:
    """Let all files be of long ago, because garbage collection leaves half-written ones alone that may still be written."""
    for path in store.rglob("*"):
        os.utime(path, (0, 0))


# Moments.


def look(store: Path) -> View:
    """How much there is of everything that changes; half-written files count."""
    view = {name: count(store / name) for name in FOLDERS}
    refs = store / "repository" / "refs"
    head = (refs / "branch.main" / "ref.json").stat().st_ino  # it is replaced
    return view | {DRAFT: sum(map(count, refs.glob("branch.build-*"))), HEAD: head, TAG: count(refs / "tag.v2"), FORGET: view["journal"]}


def count(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(1 for _ in folder.iterdir())
    return 0


def is_reached(moment: Moment, first: View, now: View) -> bool:
    if moment.stage == HEAD:
        return now[HEAD] != first[HEAD]
    if moment.stage == FORGET:
        return now[HEAD] != first[HEAD] and now[FORGET] < first[FORGET]
    return now[moment.stage] >= first[moment.stage] + moment.changes


def wait_for(moment: Moment, store: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until the moment is there, or the build has ended before."""
    if moment.stage:
        first = now = look(store)
        while process.poll() is None and not is_reached(moment, first, now):
            before, now = now, look(store)
            first |= {FORGET: max(first[FORGET], before[FORGET])}
    time.sleep(moment.seconds)


def draw_moment(kill: int, undisturbed: Undisturbed, first: View, seed: int) -> Moment:
    """The moment of one of the kills; every stage has its turn."""
    rng = random.Random(f"{seed} {kill}")
    if kill % 2:
        return Moment("", 0, rng.uniform(0, undisturbed.seconds))
    stage = random.Random(seed).sample(STAGES, len(STAGES))[kill // 2 % len(STAGES)]
    growth = {"journal": JOURNALED} | {name: undisturbed.view[name] - first[name] for name in FOLDERS[1:]}
    return Moment(stage, rng.randint(1, growth.get(stage, 1)), rng.choice((0.0, rng.uniform(0, 0.005), rng.uniform(0, 0.05))))


# The tests.


@pytest.fixture(scope="module")
def seed(request: pytest.FixtureRequest) -> int:
    """What the moments are drawn from."""
    given = request.config.getoption("--moments")
    return secrets.randbelow(2**31) if given is None else int(given)


@pytest.fixture(scope="module")
def undisturbed(ready: Any, read_content: ReadContent, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A build as the killed ones, that is not killed."""
    address = ready.copy_to(tmp_path_factory.mktemp("undisturbed") / "store")
    with start(ready, address) as process:
        began = time.monotonic()
        assert process.stdout
        snapshot_id = process.stdout.readline().rstrip("\n")
        seconds = time.monotonic() - began
    assert Snapshot(address, "v2").id == Snapshot(address).id == snapshot_id
    assert verify_store(address).findings == ()
    collect_garbage(address, Keep())
    return Undisturbed(seconds, read_content(address, "v2"), look(Path(address)))


def test_a_build_that_is_killed_leaves_all_as_it_was_and_the_next_one_ends_as_ever(
    kill: int, seed: int, undisturbed: Undisturbed, ready: Any, client: Client, read_content: ReadContent, tmp_path: Path
) -> None:
    address = ready.copy_to(tmp_path / "store")
    moment = draw_moment(kill, undisturbed, look(ready.store), seed)
    with start(ready, address) as process:
        wait_for(moment, tmp_path / "store", process)
    sys.stdout.write(f"--moments {seed}: kill {kill}, {moment}: {look(tmp_path / 'store')}\n")  # shown where the test fails
    names = {name: open_store(address).repository.lookup_tag(name) for name in open_store(address).repository.list_tags()}
    head = Snapshot(address, MAIN)
    assert read_content(address, "v1") == ready.old
    assert read_content(address, MAIN) == (ready.old if head.id == names["v1"] else undisturbed.content)
    assert names.get("v2", head.id) == head.id
    assert verify_store(address).findings == ()
    assert build(ready.ask(), address, client, tag="v2").snapshot.id == Snapshot(address, "v2").id == Snapshot(address).id
    assert read_content(address, "v2") == undisturbed.content
    assert read_content(address, "v1") == ready.old
    assert verify_store(address).findings == ()
    age_files(tmp_path / "store")
    collect_garbage(address, Keep())
    assert read_content(address, "v2") == undisturbed.content
    assert read_content(address, "v1") == ready.old
    assert verify_store(address).findings == ()
    left = look(tmp_path / "store") | {HEAD: 0}
    assert left == undisturbed.view | {HEAD: 0}
