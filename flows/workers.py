"""A look at the workers of an existing cluster before they are given any work.

They run on other machines, in other folders, and somebody else installed them: nothing of what holds for a local cluster goes without
saying.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distributed import Client

from flows.publish import LIBRARIES
from storage.errors import InputError
from storage.repository import first_line

ARRIVAL = 10.0
"""Seconds in which the first worker must have come."""


def check_workers(client: Client, folders: Sequence[Path]) -> None:
    """Refuse the workers of an existing cluster that would give other numbers, see other files, or stay away after a method was ended.

    Workers that come later are not looked at.

    Args:
        client: of the cluster.
        folders: absolute; each must be there for every worker.

    Raises:
        InputError: there is no worker, or one of them is not as it must be.
    """
    address = client.scheduler_info()["address"]
    try:
        client.wait_for_workers(1, timeout=ARRIVAL)
    except TimeoutError:
        raise InputError(
            f"the scheduler at {address} has no workers, and none came in {ARRIVAL:g} s; "
            f"start some with: dask worker {address} --host 127.0.0.1 --nworkers 1 --nthreads 1"
        ) from None
    for worker, about in sorted(client.scheduler_info(n_workers=-1)["workers"].items()):
        _check_process(worker, about, address)
    expected, _ = describe_place(LIBRARIES, ())
    found = client.run(describe_place, LIBRARIES, tuple(folders), on_error="return")
    for worker in sorted(found):
        _check_place(worker, found[worker], expected)


def describe_place(libraries: Sequence[str], folders: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Where this process is: the versions of Python and of some libraries, and why which of some folders cannot be read."""
    versions = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"} | {name: _find_version(name) for name in libraries}
    return versions, {str(folder): reason for folder in folders if (reason := _find_obstacle(folder))}


def _find_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _find_obstacle(folder: Path) -> str:
    """Why a folder cannot be read, or nothing."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _check_process(worker: str, about: Mapping[str, Any], scheduler: str) -> None:
    if about["nthreads"] != 1:
        raise InputError(
            f"worker {worker} has {about['nthreads']} threads, expected one, so that a method that hangs can be ended with its process; "
            f"start it with: dask worker {scheduler} --nworkers {about['nthreads']} --nthreads 1"
        )
    if not about["nanny"]:
        raise InputError(
            f"worker {worker} runs without a nanny, expected one, because a worker ends itself when a method hangs and nobody else starts "
            "it again; leave out --no-nanny"
        )


def _check_place(worker: str, found: "tuple[dict[str, str], dict[str, str]] | Exception", expected: Mapping[str, str]) -> None:
    if isinstance(found, OSError):
        raise InputError(f"worker {worker} does not answer ({first_line(found)}); end it, or start it again")
    if isinstance(found, Exception):
        raise InputError(
            f"worker {worker} cannot run this project ({first_line(found)}), expected fusion-prior {expected['fusion-prior']}; "
            "install it there and start the worker again"
        )
    versions, obstacles = found
    different = [name for name in expected if versions[name] != expected[name]]
    if different:
        came, wanted = (", ".join(f"{name} {one[name]}" for name in different) for one in (versions, expected))
        raise InputError(f"worker {worker} has {came}, expected {wanted} as here; install the same there and start the worker again")
    for folder, reason in obstacles.items():
        raise InputError(
            f"worker {worker} cannot read {folder} ({reason}), expected the same files as here; share the folder with its machine "
            "under the same path"
        )
