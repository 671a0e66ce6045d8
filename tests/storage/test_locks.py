"""Tests of storage.locks: one holder at a time, told by name and age, and nothing that a dead process held stays held."""

import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

from storage import locks
from storage.errors import StoreBusy, StoreError
from storage.files import Files, parse_location
from storage.locks import DEAD_AFTER, LEASE_PAUSE, Holder, find_holder, hold_lock

HERE = Path(__file__).parent
NOTE, LEASE = "build.lock.json", "locks/build.json"
GARBAGE = (b"", b'{"who": "ad', b"\x00\xff", b"[]", b"3", b'{"who": "x", "host": "h", "pid": 1e999, "since": "2026-01-01"}', b"[" * 100_000)

Told = list[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; nobody is taken for dead."""
    for name in ("FOLDER_PAUSE", "LEASE_PAUSE"):
        monkeypatch.setattr(locks, name, 0.02)


@pytest.fixture
def told() -> Iterator[Told]:
    """What the locks log, each with its level; the server on loopback logs too."""
    lines: Told = []
    logger, handler = logging.getLogger("storage.locks"), logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def folder(tmp_path: Path) -> Files:
    """The files of a store in a folder that is there."""
    (tmp_path / "store").mkdir()
    return Files(parse_location(str(tmp_path / "store")))


@pytest.fixture
def bucket(s3_address: str) -> Files:
    """The files of a store on an S3 server."""
    return Files(parse_location(s3_address))


def until(happens: Callable[[], object]) -> None:
    """Wait for something that must happen."""
    last = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < last, "it never happened"
        time.sleep(0.01)


def write_note(who: str = "ada", age: timedelta = timedelta(minutes=12)) -> bytes:
    """What a process of another machine leaves behind when it dies."""
    return json.dumps({"who": who, "host": "far", "pid": 7, "since": (datetime.now(UTC) - age).isoformat(), "token": who}).encode()


def note_path(files: Files) -> str:
    return LEASE if files.location.folder is None else NOTE


@contextlib.contextmanager
def start(address: str, who: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes the build lock; it ends with the block at the latest."""
    command = [sys.executable, "-W", "error", str(HERE / "hold_lock.py"), address, who, *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def listen(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


@contextlib.contextmanager
def run_beside(function: Callable[[], None]) -> Iterator[threading.Thread]:
    """A thread that must have ended when the block has."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    yield thread
    thread.join(30)
    assert not thread.is_alive()


# In a folder and on an object store


def test_a_lock_has_a_holder_while_it_is_held(files: Files, told: Told) -> None:
    assert find_holder(files, "build") is None
    before = datetime.now(UTC)
    with hold_lock(files, "build", "ada"):
        holder = find_holder(files, "build")
        assert holder == Holder("ada", socket.gethostname(), os.getpid(), holder.since if holder else before)
        assert before <= holder.since <= datetime.now(UTC)
    assert find_holder(files, "build") is None
    assert not files.exists(note_path(files))
    assert told == []


def test_locks_of_other_names_and_stores_are_others(files: Files, tmp_path: Path) -> None:
    other = Files(parse_location(str(tmp_path / "other")))
    with hold_lock(files, "build", "ada"), hold_lock(files, "train", "ben", if_held="refuse"), hold_lock(other, "build", "cy"):
        holders = [find_holder(*one) for one in ((files, "build"), (files, "train"), (other, "build"))]
    assert [one and one.who for one in holders] == ["ada", "ben", "cy"]


def test_a_refusal_names_the_store_the_holder_and_the_age(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    since = datetime.now(UTC) - timedelta(minutes=12, seconds=30)
    monkeypatch.setattr(locks, "_this_process", lambda who: Holder(who, "near", 41, since))
    with hold_lock(files, "build", "ada"), pytest.raises(StoreBusy) as caught, hold_lock(files, "build", "ben", if_held="refuse"):
        pytest.fail("two at once")
    assert str(caught.value) == (
        f"the build lock of {files.location.address} is held by ada (process 41 on near, taken 12 min ago); "
        "run the same command again when that has ended (what a dead process held is freed by itself)"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"), (172_800, "2 days")],
)
def test_an_age_is_told_in_units_that_people_count_in(folder: Files, monkeypatch: pytest.MonkeyPatch, seconds: int, words: str) -> None:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    monkeypatch.setattr(
        locks, "datetime", SimpleNamespace(now=lambda _: since + timedelta(seconds=seconds), fromisoformat=datetime.fromisoformat)
    )
    monkeypatch.setattr(locks, "_this_process", lambda who: Holder(who, "near", 41, since))
    with (
        hold_lock(folder, "build", "ada"),
        pytest.raises(StoreBusy, match=f"taken {words} ago"),
        hold_lock(folder, "build", "", if_held="refuse"),
    ):
        pytest.fail("two at once")


def test_a_lock_is_free_again_after_an_error(files: Files) -> None:
    with pytest.raises(RuntimeError, match="the build failed"), hold_lock(files, "build", "ada"):
        raise RuntimeError("the build failed")
    with hold_lock(files, "build", "ben", if_held="refuse"):
        assert getattr(find_holder(files, "build"), "who", "") == "ben"


def test_a_second_thread_waits_and_goes_on(files: Files, told: Told) -> None:
    order = []

    def follow() -> None:
        with hold_lock(files, "build", "ben"):
            order.append("ben")

    with contextlib.ExitStack() as stack, hold_lock(files, "build", "ada"):
        stack.enter_context(run_beside(follow))
        until(lambda: told)
        order.append("ada")
    assert order == ["ada", "ben"]
    [message] = told
    assert message.startswith(f"WARNING the build lock of {files.location.address} is held by ada (process {os.getpid()} on ")
    assert message.endswith(" s ago); waiting for that to end")


def test_who_waits_is_told_again(files: Files, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOLD_EVERY", 0.0)
    done = []

    def follow() -> None:
        with hold_lock(files, "build", "ben"):
            done.append("ben")

    with contextlib.ExitStack() as stack, hold_lock(files, "build", "ada"):
        stack.enter_context(run_beside(follow))
        until(lambda: len(told) >= 3)
    assert done == ["ben"]


def test_of_many_threads_one_is_inside_at_a_time(folder: Files) -> None:
    inside, most, rounds = [0], [0], []

    def work() -> None:
        for _ in range(5):
            with hold_lock(folder, "build", "thread"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1
            rounds.append(1)

    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(run_beside(work))
    assert (most[0], len(rounds)) == (1, 20)


@pytest.mark.parametrize("content", GARBAGE)
def test_a_note_that_cannot_be_read_hurts_nobody(files: Files, content: bytes, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "DEAD_AFTER", 0.05)
    files.write(note_path(files), content)
    with hold_lock(files, "build", "ben"):
        assert f"WARNING the build lock of {files.location.address} was left behind by somebody unknown; taken over" in told
        files.write(note_path(files), content)
        with pytest.raises(StoreBusy, match="is held by somebody unknown; run"), hold_lock(files, "build", "cy", if_held="refuse"):
            pytest.fail("two at once")
        holder = find_holder(files, "build")
        assert holder is not None
        assert holder.pid == 0


def test_a_store_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    files = Files(parse_location(str(tmp_path / "store")))
    with (
        pytest.raises(StoreError, match=r"the build lock of .*store cannot be used \(.*exists.*\); check the address") as caught,
        hold_lock(files, "build", "a"),
    ):
        pytest.fail("held")
    assert "\n" not in str(caught.value)


# Processes


def test_of_two_processes_one_waits_for_the_other(files: Files) -> None:
    with start(files.location.address, "ada") as holder:
        assert listen(holder) == "holds the lock"
        with pytest.raises(StoreBusy, match=rf"ada \(process {holder.pid} on .* ago\)"), hold_lock(files, "build", "ben", if_held="refuse"):
            pytest.fail("two at once")
        with start(files.location.address, "ben") as waiter:
            assert "is held by ada (process" in listen(waiter)
            holder.communicate("\n")
            assert listen(waiter) == "holds the lock"
            assert getattr(find_holder(files, "build"), "pid", 0) == waiter.pid
            waiter.communicate("\n")
    assert find_holder(files, "build") is None


def test_a_waiter_can_be_interrupted(files: Files) -> None:
    with hold_lock(files, "build", "ada"), start(files.location.address, "ben") as waiter:
        assert "waiting for that to end" in listen(waiter)
        waiter.send_signal(signal.SIGINT)
        assert listen(waiter) == "let go"


def test_what_a_killed_process_held_is_taken_over(files: Files, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    with start(files.location.address, "ada") as holder:
        assert listen(holder) == "holds the lock"
        holder.kill()
        holder.wait()
    assert files.exists(note_path(files))
    monkeypatch.setattr(locks, "DEAD_AFTER", 0.05)
    with hold_lock(files, "build", "ben"):
        assert getattr(find_holder(files, "build"), "who", "") == "ben"
    assert told[-1].startswith(f"WARNING the build lock of {files.location.address} was left behind by ada (process {holder.pid} on ")
    assert told[-1].endswith(" s ago); taken over")


@pytest.mark.parametrize("kind", ["exec", "fork"])
def test_a_child_does_not_keep_what_its_killed_parent_held(folder: Files, kind: str) -> None:
    with start(folder.location.address, "ada", kind) as holder:
        assert listen(holder) == "holds the lock"
        child = int(listen(holder))
        try:
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it lives
            with hold_lock(folder, "build", "ben", if_held="refuse"):
                assert getattr(find_holder(folder, "build"), "who", "") == "ben"
        finally:
            os.kill(child, signal.SIGKILL)


# In a folder


def test_a_look_for_the_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    assert find_holder(Files(parse_location(str(tmp_path / "store"))), "build") is None
    assert list(tmp_path.iterdir()) == []


def test_the_note_of_a_dead_process_is_nobodys(folder: Files) -> None:
    with hold_lock(folder, "build", "ben"):
        pass
    folder.write(NOTE, write_note())
    assert find_holder(folder, "build") is None


def test_in_a_store_that_may_only_be_read_the_note_is_believed(folder: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError

    with hold_lock(folder, "build", "ben"):
        monkeypatch.setattr(locks, "FileLock", deny)
        assert getattr(find_holder(folder, "build"), "who", "") == "ben"


# On an object store


def read_lease(files: Files) -> dict[str, Any]:
    note: dict[str, Any] = json.loads(files.read(LEASE))
    return note


def test_a_lease_is_written_anew_while_it_is_held(bucket: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWED_EVERY", 0.02)
    with hold_lock(bucket, "build", "ada"):
        first = read_lease(bucket)
        until(lambda: read_lease(bucket) != first)
        later = read_lease(bucket)
        assert [later.pop("turn") != first.pop("turn"), later] == [True, first]
    assert bucket.list("locks") == ()


@pytest.mark.parametrize("rival", [write_note("ben"), None], ids=["taken over", "deleted"])
def test_a_holder_that_finds_its_lease_lost_says_so_and_leaves_it(
    bucket: Files, rival: bytes | None, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEWED_EVERY", 0.02)
    with hold_lock(bucket, "build", "ada"):
        bucket.write(LEASE, rival) if rival else bucket.delete(LEASE)
        until(lambda: told)
    [message] = told
    assert message.startswith(f"ERROR the build lock of {bucket.location.address} was lost to somebody who took ada for dead")
    assert bucket.exists(LEASE) == bool(rival)


def test_a_lease_that_is_lost_at_the_last_moment_is_left(bucket: Files, told: Told) -> None:
    with hold_lock(bucket, "build", "ada"):
        bucket.write(LEASE, write_note("ben"))
    assert read_lease(bucket)["who"] == "ben"
    assert [message.split()[0] for message in told] == ["ERROR"]


def test_who_waits_takes_over_when_the_lease_has_not_changed_long_enough(
    bucket: Files, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, renewals = [1000.0], 50

    def sleep(seconds: float) -> None:
        clock[0] += LEASE_PAUSE
        if clock[0] <= 1000 + renewals * LEASE_PAUSE:
            bucket.write(LEASE, write_note(age=timedelta(seconds=clock[0])))

    bucket.write(LEASE, write_note())
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    with hold_lock(bucket, "build", "ben"):
        assert clock[0] == 1000 + renewals * LEASE_PAUSE + DEAD_AFTER
        assert read_lease(bucket)["who"] == "ben"
    assert "was left behind by ada (process 7 on far, taken" in told[-1]


def test_of_two_who_take_over_one_wins(bucket: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "DEAD_AFTER", 0.05)
    put, modes = obstore.put, []

    def put_later(store: Any, path: str, content: bytes, *, mode: Any) -> Any:
        modes.append(mode)
        if len(modes) == 1:
            bucket.write(LEASE, write_note("cy"))  # between this taker's look and its write
        return put(store, path, content, mode=mode)

    def follow() -> None:
        with hold_lock(bucket, "build", "ben"):
            assert modes.append("inside") is None

    bucket.write(LEASE, write_note())
    monkeypatch.setattr(obstore, "put", put_later)
    with run_beside(follow):
        until(lambda: "inside" in modes)
    assert modes[0] != modes[1] != "inside"  # the first write failed; the second took over from cy, silent for as long
    assert modes[2] == "inside"


@pytest.mark.parametrize(("old_after", "taken"), [(600.0, False), (0.0, True)])
def test_who_cannot_wait_takes_over_only_what_is_old(bucket: Files, monkeypatch: pytest.MonkeyPatch, old_after: float, taken: bool) -> None:
    monkeypatch.setattr(locks, "DEAD_AFTER", 0.0)
    monkeypatch.setattr(locks, "OLD_AFTER", old_after)
    bucket.write(LEASE, write_note())
    assert (find_holder(bucket, "build") is None) == taken
    refused = contextlib.nullcontext() if taken else pytest.raises(StoreBusy, match=r"ada \(process 7 on far, taken 12 min ago\)")
    with refused, hold_lock(bucket, "build", "ben", if_held="refuse"):
        assert read_lease(bucket)["who"] == "ben"
    assert bucket.exists(LEASE) != taken


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("error", [AlreadyExistsError, PreconditionError])
def test_a_write_whose_answer_is_lost_is_still_ones_own(
    bucket: Files, lost: int, error: type[Exception], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, count = obstore.put, []

    def put_and_lose(*arguments: Any, **options: Any) -> Any:
        answer = put(*arguments, **options)
        count.append(1)
        if len(count) == lost + 1:
            raise error("written by the first of two tries")
        return answer

    monkeypatch.setattr(obstore, "put", put_and_lose)
    with hold_lock(bucket, "build", "ada", if_held="refuse"):
        assert read_lease(bucket)["who"] == "ada"
    assert bucket.list("locks") == ()
    assert told == []


def test_a_lease_that_cannot_be_renewed_for_a_while_is_tried_again(bucket: Files, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWED_EVERY", 0.02)
    put, away = obstore.put, [False]

    def put_if_there(*arguments: Any, **options: Any) -> Any:
        if away[0]:
            raise GenericError("the server is away")
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", put_if_there)
    with hold_lock(bucket, "build", "ada"):
        away[0] = True
        until(lambda: told)
        away[0] = False
        first = read_lease(bucket)
        until(lambda: read_lease(bucket) != first)
    assert told[0] == f"WARNING the build lock of {bucket.location.address} could not be renewed (the server is away); trying again"
    assert bucket.list("locks") == ()


def test_a_build_does_not_fail_because_its_lease_cannot_be_let_go(bucket: Files, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise GenericError("the server is away")

    with hold_lock(bucket, "build", "ada"):
        monkeypatch.setattr(obstore, "put", refuse)
    assert told == [
        f"WARNING the build lock of {bucket.location.address} could not be let go (the server is away); it is free when it is old enough"
    ]
    assert bucket.exists(LEASE)


@pytest.mark.parametrize("how", ["wait", "refuse"])
def test_a_bucket_that_is_not_there_is_told_in_one_line(s3_address: str, how: locks.IfHeld) -> None:
    files = Files(parse_location(s3_address.replace("s3://prior/", "s3://nobucket/")))
    refused = pytest.raises(StoreError, match=r"the build lock of s3://nobucket/.* cannot be used \(.*\); check")
    with refused as caught, hold_lock(files, "build", "ada", if_held=how):
        pytest.fail("held")
    assert "\n" not in str(caught.value)


def test_the_server_in_the_address_is_stronger_than_the_one_in_the_environment(bucket: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with hold_lock(bucket, "build", "ada"):
        assert read_lease(bucket)["who"] == "ada"


def test_credentials_come_from_the_variables_where_boto3_is_not_installed(bucket: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with hold_lock(bucket, "build", "ada"):
        assert read_lease(bucket)["who"] == "ada"


def test_credentials_come_from_a_profile_where_boto3_is_installed(bucket: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    with hold_lock(bucket, "build", "ada", if_held="refuse"):
        assert getattr(find_holder(bucket, "build"), "who", "") == "ada"
