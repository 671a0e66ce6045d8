"""Dask: a local cluster by default, any existing one by its address, and a way to run many small tasks on it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from logging import CRITICAL
from typing import Any, TypeVar

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, wait

from storage.errors import BuildFailed, InputError

T = TypeVar("T")
R = TypeVar("R")

QUEUED_PER_WORKER = 3
"""Tasks handed out for each worker: enough to keep it busy, few enough that memory does not grow with the build."""

RESCUES = 50
"""How often one task is handed out again after Dask has given it up: the next process leaves out what ended the last ones."""

_SETTINGS = {
    # Memory that is given back to the system after every array must be fetched again for the next: with Dask's own setting half of a
    # worker's time goes there. One arena and a high threshold keep what a worker has; it is bounded by its largest pair.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    # Some seconds after a worker died, a local cluster closes its nanny for good if the next process is not up at that very moment.
    "distributed.deploy.lost-worker-timeout": "30 days",
}

PATIENCE, PATIENCE_STEP = 6, 10.0
"""How often, and how many seconds each time, a cluster without any worker is waited for."""


@contextlib.contextmanager
def open_client(workers: int = 0, scheduler: str = "") -> Iterator[Client]:
    """A Dask client, on a cluster of its own on this machine or on the one at `scheduler`.

    Args:
        workers: processes of the local cluster, one thread each, so that a hang can be ended with its process; 0 is one per core.
        scheduler: such as "tcp://127.0.0.1:8786"; empty for a local cluster.

    Raises:
        InputError: nothing answers at the scheduler's address.
    """
    if scheduler:
        with _connect(scheduler) as client:
            yield client
        return
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=workers or CPU_COUNT,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port: the default one warns when a second build runs
            silence_logs=CRITICAL,  # a worker that ends itself on purpose is no news
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def run_all(client: Client, function: Callable[..., R], tasks: Iterable[T], *shared: "Future[Any]") -> Iterator[R]:
    """`function(task, *shared)` for every task, on the cluster, in the order in which they end.

    A task whose worker was killed is handed out again; any other error is raised here.
    """

    def submit(task: T) -> "Future[Any]":
        # pure=False: every hand-out has a key of its own, so that a task given up is really run again
        return client.submit(function, task, *shared, pure=False)

    waiting = iter(tasks)
    room = QUEUED_PER_WORKER * count_workers(client)
    running: dict[Future[Any], tuple[T, int]] = {submit(task): (task, 0) for task in islice(waiting, room)}
    while running:
        for future in _wait_for_any(client, list(running)):
            task, rescues = running.pop(future)
            error = future.exception() if future.status == "error" else None
            if error is None:
                yield future.result()
                follow = [(task, 0) for task in islice(waiting, 1)]
            elif isinstance(error, KilledWorker) and rescues < RESCUES:
                follow = [(task, rescues + 1)]
            else:
                raise error
            running |= {submit(task): (task, rescues) for task, rescues in follow}


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


def _connect(scheduler: str) -> "contextlib.AbstractContextManager[Any]":
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"no Dask scheduler answers at {scheduler} ({reason}); start one with: dask scheduler --host 127.0.0.1") from None
