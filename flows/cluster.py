"""Dask: a local cluster by default, any existing one by its address, and a way to run many small tasks on it."""

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from logging import CRITICAL
from pathlib import Path
from typing import Any, TypeVar

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, Security, wait
from distributed.comm.addressing import get_address_host_port
from distributed.comm.core import CommClosedError

from flows.interrupts import hold_interrupts
from storage.errors import BuildFailed, InputError
from storage.repository import first_line

T = TypeVar("T")
R = TypeVar("R")

QUEUED_PER_WORKER = 3
"""Tasks handed out for each worker: enough to keep it busy, few enough that memory does not grow with the build."""

_SETTINGS = {
    # Memory that is given back to the system after every array must be fetched again for the next: with Dask's own setting half of a
    # worker's time goes there. One arena and a high threshold keep what a worker has; it is bounded by its largest pair.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    # Some seconds after a worker died, a local cluster closes its nanny for good if the next process is not up at that very moment.
    "distributed.deploy.lost-worker-timeout": "30 days",
    # The signatures of 10,000 pairs are 160 MB, sent once.
    "distributed.admin.large-graph-warning-threshold": "1 TiB",
}

PATIENCE, PATIENCE_STEP = 6, 10.0
"""How often, and how many seconds each time, a cluster without any worker is waited for."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The three PEM files with which an existing cluster is spoken to in secret.

    Attributes:
        ca: the certificate of the authority that signed those of the scheduler, the workers and this process.
        cert: this process's certificate.
        key: its key, without a password.
    """

    ca: Path
    cert: Path
    key: Path


def make_tls(ca: str, cert: str, key: str) -> Tls | None:
    """The TLS files from three paths, or None where all three are empty.

    Raises:
        InputError: one or two are missing, a file cannot be read, or they do not fit together.
    """
    given = {"the authority's certificate": ca, "a certificate": cert, "its key": key}
    absent = [role for role, path in given.items() if not path]
    if len(absent) == len(given):
        return None
    if absent:
        raise InputError(f"TLS needs {', '.join(given)}, and {' and '.join(absent)} was not given; give all three files or none")
    tls = Tls(*(_check_readable(role, path) for role, path in given.items()))
    try:
        _check_pem(tls)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"the TLS files do not fit together ({first_line(error)}); expected, in PEM: an authority's certificate in {tls.ca}, "
            f"a certificate in {tls.cert} and its key, without a password, in {tls.key}"
        ) from None
    return tls


def _check_readable(role: str, path: str) -> Path:
    try:
        whole = Path(path).expanduser().absolute()
        whole.open("rb").close()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such user's home
        raise InputError(f"the TLS file {path!r} ({role}) cannot be read ({first_line(error)}); give the path of a PEM file") from None
    return whole


def _check_pem(tls: Tls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.cert, tls.key, password="")  # a key that needs one is refused, not asked about on the terminal


@contextlib.contextmanager
def open_client(workers: int = 0, scheduler: str = "", tls: Tls | None = None) -> Iterator[Client]:
    """A Dask client, on a cluster of its own on this machine or on the one at `scheduler`.

    Args:
        workers: processes of the local cluster, one thread each, so that a hang can be ended with its process; 0 is one per core.
        scheduler: such as "tcp://127.0.0.1:8786" or "tls://node7:8786"; empty for a local cluster.
        tls: the files for a scheduler at tls://; a local cluster never leaves the machine and takes none.

    Raises:
        InputError: nothing answers at the scheduler's address, its certificate and ours do not fit, or the address and `tls` do not.
    """
    _check_address(scheduler, tls)
    if scheduler:
        with dask.config.set(_SETTINGS), _connect(scheduler, tls) as client:
            yield client
        return
    with dask.config.set(_SETTINGS), _start_cluster(workers or CPU_COUNT) as cluster, Client(cluster) as client:
        yield client


def _start_cluster(workers: int) -> LocalCluster:
    with hold_interrupts():
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port: the default one warns when a second build runs
            silence_logs=CRITICAL,  # a worker that ends itself on purpose is no news
        )


def _check_address(scheduler: str, tls: Tls | None) -> None:
    if tls and not scheduler:
        raise InputError("TLS files are for a scheduler elsewhere, and none was given; name one at tls://, or leave the files out")
    secret = scheduler.startswith("tls://")
    if secret and not tls:
        raise InputError(f"{scheduler} speaks TLS; give the authority's certificate, a certificate and its key as well")
    if tls and not secret:
        raise InputError(f"TLS files were given, and {scheduler} is no address at tls://; write tls:// or leave the files out")


def _connect(scheduler: str, tls: Tls | None) -> Client:
    _check_form(scheduler)
    security = tls and Security(
        tls_ca_file=str(tls.ca), tls_client_cert=str(tls.cert), tls_client_key=str(tls.key), require_encryption=True
    )
    try:
        return Client(scheduler, timeout="10s", security=security)
    except (CommClosedError, ValueError) as error:  # somebody is there; Dask wraps what TLS says, and not always in an error of its own
        _close_half_open()
        raise InputError(_explain(scheduler, tls, error)) from None
    except OSError as error:
        command = "dask scheduler --host 127.0.0.1" + (" --protocol tls, with its own TLS files" if tls else "")
        raise InputError(f"no Dask scheduler answers at {scheduler} ({first_line(error)}); start one with: {command}") from None


def _check_form(scheduler: str) -> None:
    """Before a client is made, because one that cannot read its address stays behind half-open."""
    try:
        get_address_host_port(scheduler)
    except ValueError as error:
        raise InputError(
            f"{scheduler} is not the address of a Dask scheduler ({first_line(error)}); expected one such as tcp://127.0.0.1:8786"
        ) from None


def _close_half_open() -> None:
    """Close a client whose start failed in a way that Dask does not clean up after: it would hold up the end of this process."""
    with contextlib.suppress(ValueError):  # there is none
        client = Client.current()
        if client.status == "connecting":
            client.close()


def _explain(scheduler: str, tls: Tls | None, error: Exception) -> str:
    causes = (one for one in (error, error.__cause__, error.__context__) if isinstance(one, Exception))
    reason = next(filter(None, map(first_line, causes)), type(error).__name__)
    if tls:
        return (
            f"the Dask scheduler at {scheduler} and this process do not trust each other ({reason}); expected one that was started with "
            f"--protocol tls, and whose certificate was signed, as {tls.cert} must be, by {tls.ca}"
        )
    return f"the Dask scheduler at {scheduler} broke off ({reason}); if it speaks TLS, write tls:// and give the three TLS files"


def run_all(
    client: Client,
    function: Callable[..., R],
    tasks: Iterable[T],
    *shared: "Future[Any]",
    give_up: Callable[[T], R],
    rescues: int = 0,
) -> Iterator[R]:
    """`function(task, *shared)` for every task, on the cluster, in the order in which they end; what it raises is raised here.

    Dask gives up a task after several workers died that had it, though they may have died of another one. Such a task is handed out again
    at the end, alone.

    Args:
        client: of the cluster.
        function: runs in a worker.
        tasks: each small.
        shared: the same for all, on the cluster already.
        give_up: what to answer for a task that is deadly even then.
        rescues: how often a task that Dask has given up is handed out again at once.
    """

    def submit(task: T) -> "Future[Any]":
        # pure=False: every hand-out has a key of its own, so that a task given up is really run again
        return client.submit(function, task, *shared, pure=False)

    suspects: list[T] = []
    for task, answers in _run(client, submit, tasks, QUEUED_PER_WORKER * count_workers(client), rescues):
        yield from answers
        if not answers:
            suspects.append(task)
    for task, answers in _run(client, submit, suspects, 1, rescues):
        yield from answers or (give_up(task),)


def _run(
    client: Client, submit: "Callable[[T], Future[Any]]", tasks: Iterable[T], room: int, rescues: int
) -> Iterator[tuple[T, tuple[Any, ...]]]:
    """Each task with its one answer, or with none where Dask has given it up once more than there are rescues."""
    waiting = iter(tasks)
    running: dict[Future[Any], tuple[T, int]] = {submit(task): (task, 0) for task in islice(waiting, room)}
    while running:
        for future in _wait_for_any(client, list(running)):
            task, given_up = running.pop(future)
            try:
                answers: tuple[Any, ...] = (future.result(),)
            except KilledWorker:  # also where it was done: an answer dies with its worker, and is then made again
                if given_up < rescues:
                    running[submit(task)] = (task, given_up + 1)
                    continue
                answers = ()
            yield task, answers
            running |= {submit(task): (task, 0) for task in islice(waiting, 1)}


def _wait_for_any(client: Client, futures: "list[Future[Any]]") -> "set[Future[Any]]":
    """The futures that are done, as soon as one is.

    Raises:
        BuildFailed: nothing can ever be done, because every worker is gone and none came back.
    """
    for _ in range(PATIENCE):
        try:
            return set(wait(futures, timeout=PATIENCE_STEP, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if client.scheduler_info(n_workers=-1)["workers"]:
                return set()
    raise BuildFailed("every Dask worker is gone and none came back; start workers and run the same command again: finished work is kept")


def count_workers(client: Client) -> int:
    """How many workers there are now, at least one."""
    return max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
