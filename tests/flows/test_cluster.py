"""Several machines: schedulers and workers that others started, in other folders; TLS; workers that are refused; nobody left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client, Future, Security

from flows import cluster
from flows.build import build
from flows.cluster import Tls, make_tls, open_client
from flows.recipe import Recipe, make_recipe
from flows.workers import check_workers
from storage.errors import InputError
from storage.snapshot import Snapshot
from storage.tables import to_score_rows, to_selection_rows

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).parent
Ask = Callable[..., Recipe]
MakePairs = Callable[..., dict[str, str]]


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def list_tree(pid: int) -> list[int]:
    """A process and all below it: of a worker, first its nanny."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@dataclass
class Machines:
    """What stands for several machines: `dask scheduler` and `dask worker` processes, each in a folder of its own."""

    root: Path
    options: tuple[str, ...] = ()
    folders: list[Path] = field(default_factory=list)
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *arguments: str, path: Path | None = None) -> int:
        folder = self.root / f"machine{len(self.folders)}"
        folder.mkdir()
        places = [*([path] if path else [ROOT]), HERE]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard", *self.options]
        with (self.root / f"{folder.name}.log").open("wb") as log:
            self.started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        self.folders.append(folder)
        return self.started[-1].pid

    def start_scheduler(self, protocol: str = "tcp") -> str:
        """Start the scheduler at a free port and tell its address."""
        about = self.root / "scheduler.json"
        self.start("scheduler", "--port", "0", "--protocol", protocol, "--scheduler-file", str(about))
        assert wait_until(lambda: about.exists() and about.read_bytes().endswith(b"}"))
        return str(json.loads(about.read_bytes())["address"])

    def start_worker(self, scheduler: str, *arguments: str, path: Path | None = None) -> int:
        return self.start("worker", scheduler, "--nworkers", "1", *(arguments or ("--nthreads", "1")), path=path)

    def end(self) -> list[int]:
        """End all of them, workers first, and tell who is left after a while."""
        pids = [pid for process in self.started if process.poll() is None for pid in list_tree(process.pid)]
        for process in self.started[::-1]:
            process.terminate()
            process.wait(timeout=30)
        wait_until(lambda: not any(map(is_alive, pids)), 20)
        left = [pid for pid in pids if is_alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Machines that are ended with the test; none of their processes outlives it."""
    opened = Machines(tmp_path)
    try:
        yield opened
    finally:
        left = opened.end()
    assert left == []


def read_rows(snapshot: Snapshot) -> tuple[str, str]:
    """The selections and all scores, but for how long they took."""
    rows = [replace(row, seconds=0.0, judge_seconds=0.0) for row in to_score_rows(snapshot.table("scores"))]
    return repr(to_selection_rows(snapshot.table("selections"))), repr(rows)


def teach(client: Client, workers: int) -> None:
    """Wait for the workers, and let them know the troublesome methods, as this process does."""
    from troublesome_methods import KnownToWorkers

    client.register_plugin(KnownToWorkers())
    client.wait_for_workers(workers, timeout=60)


def ask_counted(ask: Ask, log: Path, pause: float) -> Recipe:
    return ask(methods=["average", "tif", "counted"], parameters={"counted": {"log": str(log), "pause": pause}})


# A build on several machines.


def test_two_machines_make_what_one_makes(
    client: Client, machines: Machines, ask: Ask, make_pairs: MakePairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, log = make_pairs(5, first=3), tmp_path / "log"
    recipe = ask_counted(ask, log, 0.1)
    here = build(recipe, str(tmp_path / "here"), client).snapshot
    assert len(read_lines(log)) == 8
    log.unlink()
    monkeypatch.chdir(tmp_path)
    scheduler = machines.start_scheduler()
    for _ in range(2):
        machines.start_worker(scheduler)
    with open_client(scheduler=scheduler) as opened:
        teach(opened, 2)
        check_workers(opened, [Path(folders["a"]), Path(folders["b"])])
        pids = opened.run(os.getpid)
        there = build(recipe, "there", opened).snapshot
    assert read_rows(there) == read_rows(here) and there.table("selections").num_rows == 8
    assert set(read_lines(log)) == set(map(str, pids.values())), "both did pairs"
    assert Snapshot(str(tmp_path / "there")).id == there.id, "the store lies where the caller said, not where a worker runs"
    assert [list(folder.iterdir()) for folder in machines.folders] == [[], [], []]


def test_a_machine_that_is_lost_costs_its_last_pair_alone(
    client: Client, machines: Machines, ask: Ask, make_pairs: MakePairs, tmp_path: Path
) -> None:
    make_pairs(3, first=3)
    log = tmp_path / "log"
    scheduler = machines.start_scheduler()
    nanny, _ = machines.start_worker(scheduler), machines.start_worker(scheduler)
    ended: list[int] = []

    def end_machine() -> None:
        tree = list_tree(nanny)
        if wait_until(lambda: set(map(str, tree)) & set(read_lines(log))):
            for pid in tree:
                os.kill(pid, signal.SIGKILL)
            ended.extend(tree)

    with open_client(scheduler=scheduler) as opened:
        teach(opened, 2)
        watcher = threading.Thread(target=end_machine)
        watcher.start()
        snapshot = build(ask_counted(ask, log, 0.4), str(tmp_path / "store"), opened).snapshot
        watcher.join()
    assert len(ended) > 1 and wait_until(lambda: not any(map(is_alive, ended)), 10)
    assert snapshot.table("selections").num_rows == 6 and all(row.status == "ok" for row in to_score_rows(snapshot.table("scores")))
    calls = [line in map(str, ended) for line in read_lines(log)]
    assert (calls.count(True), calls.count(False)) == (1, 6), "its one call was lost; the other machine did all pairs"


def test_an_answer_that_dies_with_its_worker_is_made_again_however_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, killed = tmp_path / "log", []
    wait_for_any = cluster._wait_for_any

    def kill_who_answered(client: Client, futures: "list[Future[Any]]") -> "set[Future[Any]]":
        done = wait_for_any(client, futures)
        if done and not killed:
            killed.append(int(read_lines(log)[0]))
            os.kill(killed[0], signal.SIGKILL)
        return done

    def answer(path: str) -> int:  # kept, lost, and lost again before it is kept
        with Path(path).open("a") as file:
            print(os.getpid(), file=file)
        calls = len(Path(path).read_text().splitlines())
        if calls == 2:
            os._exit(1)
        return calls

    monkeypatch.setattr(cluster, "_wait_for_any", kill_who_answered)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), open_client(workers=1) as opened:
        assert list(cluster.run_all(opened, answer, [str(log)], give_up=len)) == [3]
    assert len(set(read_lines(log))) == 3 and len(killed) == 1


def test_a_method_that_hangs_elsewhere_times_out_and_its_worker_comes_back(
    client: Client, machines: Machines, make_pairs: MakePairs, tmp_path: Path
) -> None:
    recipe = make_recipe({"source": [make_pairs(1)], "methods": ["average", "hangs"], "time_limits": {"hangs": 0.5}})
    scheduler = machines.start_scheduler()
    machines.start_worker(scheduler)
    with open_client(scheduler=scheduler) as opened:
        teach(opened, 1)
        before = opened.run(os.getpid)
        rows = to_score_rows(build(recipe, str(tmp_path / "store"), opened).snapshot.table("scores"))
        assert wait_until(lambda: opened.scheduler_info(n_workers=-1)["workers"])
        after = opened.run(os.getpid)
    assert [(row.method, row.reason) for row in rows] == [("average", ""), ("hangs", "timeout")]
    assert len(before) == len(after) == 1 and set(before.values()) != set(after.values())


# Workers that are refused.


def make_distribution(folder: Path, name: str, version: str) -> None:
    """What is read of an installed library: its name and version."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def make_other_project(folder: Path) -> None:
    """Something else that is called flows, found before ours."""
    folder.mkdir()
    (folder / "flows.py").touch()


@pytest.mark.parametrize(
    ("arguments", "prepare", "words"),
    [
        (("--nthreads", "2"), None, ("has 2 threads, expected one", "--nworkers 2 --nthreads 1")),
        (("--nthreads", "1", "--no-nanny"), None, ("without a nanny", "leave out --no-nanny")),
        ((), lambda folder: make_distribution(folder, "PyWavelets", "0.1"), ("has PyWavelets 0.1, expected PyWavelets 1", "install")),
        ((), make_other_project, ("cannot run this project", "expected fusion-prior", "install")),
    ],
)
def test_a_worker_that_is_not_as_it_must_be_is_refused(
    machines: Machines, tmp_path: Path, arguments: tuple[str, ...], prepare: Callable[[Path], None] | None, words: tuple[str, ...]
) -> None:
    path = tmp_path / "path"
    if prepare:
        prepare(path)
    scheduler = machines.start_scheduler()
    machines.start_worker(scheduler, *arguments, path=path if prepare else None)
    with open_client(scheduler=scheduler) as opened:
        with pytest.raises(InputError) as refusal:
            check_workers(opened, [tmp_path])
        (worker,) = opened.scheduler_info(n_workers=-1)["workers"]
    sentence = str(refusal.value)
    assert sentence.startswith(f"worker {worker} ") and all(word in sentence for word in words) and "\n" not in sentence


def test_a_scheduler_without_workers_is_refused(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.workers.ARRIVAL", 0.2)
    scheduler = machines.start_scheduler()
    remedy = f"has no workers.*dask worker {scheduler} --host 127.0.0.1 --nworkers"
    with open_client(scheduler=scheduler) as opened, pytest.raises(InputError, match=remedy):
        check_workers(opened, [])


# TLS.


def make_files(folder: Path) -> tuple[str, str, str]:
    """The files of a cluster that trusts itself alone, as `make_tls` wants them."""
    made = Security.temporary()
    folder.mkdir()
    contents = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, content in contents.items():
        (folder / f"{name}.pem").write_text(content)
    ca, cert, key = (str(folder / f"{name}.pem") for name in contents)
    return ca, cert, key


def test_tls_is_spoken_with_those_who_hold_the_files_and_with_nobody_else(
    machines: Machines, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ca, cert, key = make_files(tmp_path / "ours")
    _, other_cert, other_key = others = make_files(tmp_path / "others")
    machines.options = ("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)
    scheduler = machines.start_scheduler("tls")
    machines.start_worker(scheduler)
    with open_client(scheduler=scheduler, tls=make_tls(ca, cert, key)) as opened:
        check_workers(opened, [tmp_path])
        (worker,) = opened.scheduler_info(n_workers=-1)["workers"]
        with pytest.raises(InputError, match=f"worker {worker} cannot read /nowhere/ir .No such file.*share the folder"):
            check_workers(opened, [tmp_path, Path("/nowhere/ir")])
        assert scheduler.startswith("tls://") and worker.startswith("tls://") and opened.submit(sum, [1, 2]).result() == 3
    for wrong in (make_tls(*others), make_tls(ca, other_cert, other_key)):
        assert "do not trust each other" in refuse(scheduler, wrong)
    assert "broke off" in refuse(scheduler.replace("tls://", "tcp://"), None)
    plain = Machines(tmp_path / "plain")
    plain.root.mkdir()
    try:
        assert "do not trust each other" in refuse(plain.start_scheduler().replace("tcp://", "tls://"), make_tls(ca, cert, key))
    finally:
        assert plain.end() == []
    assert "Traceback" not in capfd.readouterr().err


def refuse(scheduler: str, tls: Tls | None) -> str:
    """The sentence with which a connection is refused."""
    with pytest.raises(InputError) as refusal, open_client(scheduler=scheduler, tls=tls):
        pass
    assert "\n" not in str(refusal.value) and "Exception" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("scheduler", "has_files", "words"),
    [
        ("tls://127.0.0.1:9", False, "give the authority's certificate, a certificate and its key"),
        ("tcp://127.0.0.1:9", True, "write tls:// or leave the files out"),
        ("127.0.0.1:9", True, "write tls:// or leave the files out"),
        ("", True, "name one at tls://, or leave the files out"),
        ("tcp://127.0.0.1:nine", False, "is not the address of a Dask scheduler"),
        ("tcp://127.0.0.1", False, "is not the address of a Dask scheduler"),
        ("http://127.0.0.1:9", False, "is not the address of a Dask scheduler"),
    ],
)
def test_an_address_that_does_not_fit_is_refused_before_anything_is_sent(scheduler: str, has_files: bool, words: str) -> None:
    files = Tls(Path("ca.pem"), Path("cert.pem"), Path("key.pem")) if has_files else None
    assert words in refuse(scheduler, files)


def test_tls_takes_all_three_files_or_none(tmp_path: Path) -> None:
    ca, cert, key = make_files(tmp_path / "ours")
    _, _, other_key = make_files(tmp_path / "others")
    assert make_tls("", "", "") is None
    assert make_tls(ca, cert, key) == Tls(Path(ca), Path(cert), Path(key))
    (tmp_path / "text.pem").write_text("no certificate\n")
    for given, words in (
        ((ca, "", key), "and a certificate was not given; give all three files or none"),
        ((ca, cert, str(tmp_path / "nothing.pem")), "(its key) cannot be read"),
        ((str(tmp_path), cert, key), "(the authority's certificate) cannot be read"),
        ((ca, cert, other_key), "do not fit together"),
        ((str(tmp_path / "text.pem"), cert, key), "do not fit together"),
    ):
        with pytest.raises(InputError) as refusal:
            make_tls(*given)
        assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    ca, cert, key = make_files(tmp_path / "ours")
    plain = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    Path(key).write_bytes(plain.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(InputError, match="without a password"):
        make_tls(ca, cert, key)


# Nobody is left behind.

BUSY = """
import os, sys, time
from pathlib import Path
from flows.cluster import open_client

def spin(mark):
    Path(mark).write_text(str(os.getpid()))
    while True:
        pass

with open_client(workers=2) as client:
    client.submit(spin, sys.argv[1])
    time.sleep(600)
"""


def test_no_worker_outlives_a_build_that_was_killed_not_even_a_busy_one(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    parent = subprocess.Popen([sys.executable, "-c", BUSY, str(mark)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: read_lines(mark))
        tree = list_tree(parent.pid)
        assert int(mark.read_text()) in tree and len(tree) > 2
    finally:
        parent.kill()
        parent.wait(timeout=10)
    assert wait_until(lambda: not any(map(is_alive, tree)), 20)
