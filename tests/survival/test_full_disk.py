"""A build on a full disk: one sentence, what was there stays readable, and with room again it ends as ever.

Two ways to be full: a small file system of its own, where this user may make one, and a limit on the size of a file.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from flows.build import build
from storage.collect import Keep, collect_garbage
from storage.snapshot import Snapshot
from storage.verify import verify_store

PAGE = 4096
ROOM = (45, 72)
"""Free pages: too few for the images, and for the snapshot with its seal; files that may not grow stop at the journal."""

LARGEST = 12_000
"""Bytes: more than a pair's image has, fewer than all its candidates have."""

ReadContent = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def expected(ready: Any, client: Client, read_content: ReadContent, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What v2 holds where there is room."""
    address = ready.copy_to(tmp_path_factory.mktemp("expected") / "store")
    build(ready.ask(), address, client, tag="v2")
    return read_content(address, "v2")


@pytest.fixture(params=ROOM)
def small_disk(ready: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system with a copy of the store and so many free pages."""
    disk = tmp_path / "disk"
    disk.mkdir()
    pages = sum(-(-path.stat().st_size // PAGE) if path.is_file() else 1 for path in ready.store.rglob("*"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={PAGE * 2 * (pages + max(ROOM))}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot make a small file system; the limit on the size of files is tried everywhere")
    try:
        ready.copy_to(disk / "store")
        status = os.statvfs(disk)
        (disk / "ballast").write_bytes(b"\1" * (status.f_frsize * (status.f_bavail - request.param)))
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def run_build(ready: Any, address: str, limit: Callable[[], None] | None = None) -> tuple[int, str, str]:
    """The build of v2 as it is typed."""
    asked = ("--methods", "average,maximum,tif,laplacian_pyramid", "--criterion", "balanced", "--keep", "all", "--tag", "v2")
    command = ["build", "--a", ready.a, "--b", ready.b, *asked, "--store", address, "--engine", "plain", "--workers", 1]
    done = subprocess.run(
        [sys.executable, "-m", "flows.command_line", *map(str, command)], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def check_refusal(refusal: tuple[int, str, str], reason: str) -> None:
    code, out, err = refusal
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err and sum(line.startswith("error: ") for line in err.splitlines()) == 1, err
    assert reason in err.splitlines()[-1] and ("make room" in err or "check that it can be written" in err), err


def check_that_it_goes_on(address: str, ready: Any, client: Client, read_content: ReadContent, expected: dict[str, Any]) -> None:
    """Build again, with room."""
    outcome = build(ready.ask(), address, client, tag="v2")
    assert outcome.snapshot.id == Snapshot(address, "v2").id == Snapshot(address).id
    assert read_content(address, "v2") == expected and read_content(address, "v1") == ready.old
    assert verify_store(address).findings == ()
    collect_garbage(address, Keep())
    assert verify_store(address).findings == ()
    assert read_content(address, "v2") == expected and read_content(address, "v1") == ready.old


def test_a_full_disk_is_told_in_one_sentence_and_nothing_is_lost(
    small_disk: Path, ready: Any, client: Client, read_content: ReadContent, expected: dict[str, Any]
) -> None:
    address = str(small_disk / "store")
    check_refusal(run_build(ready, address), "No space left on device")
    assert read_content(address, "v1") == read_content(address, "main") == ready.old
    assert verify_store(address).findings == ()
    (small_disk / "ballast").unlink()
    check_that_it_goes_on(address, ready, client, read_content, expected)


def test_so_is_a_file_that_may_not_grow(
    ready: Any, client: Client, read_content: ReadContent, expected: dict[str, Any], tmp_path: Path
) -> None:
    address = ready.copy_to(tmp_path / "store")
    check_refusal(run_build(ready, address, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))), "File too large")
    assert read_content(address, "v1") == read_content(address, "main") == ready.old
    assert verify_store(address).findings == ()
    check_that_it_goes_on(address, ready, client, read_content, expected)
