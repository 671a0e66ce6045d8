"""Methods that misbehave, for the tests of the engine; imported by the workers of a test cluster, never by the project."""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Worker, WorkerPlugin

from flows import survey, work
from prior import pairs
from prior.arrays import Image
from prior.registry import method


class KnownToWorkers(WorkerPlugin):  # type: ignore[misc]
    """Imports this module in every worker process, also in those that take the place of a dead one."""

    name = "troublesome"


class DeadlyPairs(WorkerPlugin):  # type: ignore[misc]
    """Lets every worker process die at three pairs: p00 when it is inspected, p01 at its published results, p02 when it is evaluated."""

    name = "deadly pairs"

    def setup(self, worker: Worker) -> None:
        """Put a step that dies in the place of each."""
        pairs.inspect = _die_at("p00", pairs.inspect)
        survey._check_search = _die_at("p01", survey._check_search)
        work.load = _die_at("p02", work.load)


def _die_at(pair_id: str, step: Callable[..., Any]) -> Callable[..., Any]:
    def act(task: Any, *others: Any, **named: Any) -> Any:
        if task.pair_id == pair_id:
            os._exit(1)
        return step(task, *others, **named)

    return act


ABOUT = {"family": "test", "reference": "nobody, 2026", "idempotent": False}


@method("counted", **ABOUT)
def fuse_counted(a: Image, b: Image, *, log: str = "", pause: float = 0.0) -> Image:
    """The mean, with a line in a file for every call."""
    if log:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
    time.sleep(pause)
    return np.float32(0.5) * (a + b)


@method("dies", **ABOUT)
def fuse_dies(a: Image, b: Image) -> Image:
    """End the process, as a crash in a library would."""
    os._exit(1)


@method("dies_once", **ABOUT)
def fuse_dies_once(a: Image, b: Image, *, mark: str = "") -> Image:
    """End the process the first time, as a machine that is taken away would."""
    with contextlib.suppress(FileExistsError):
        Path(mark).touch(exist_ok=False)
        os._exit(1)
    return np.float32(0.5) * (a + b)


@method("hangs", **ABOUT)
def fuse_hangs(a: Image, b: Image) -> Image:
    """Never come back."""
    time.sleep(10_000)
    return a


@method("hangs_too", **ABOUT)
def fuse_hangs_too(a: Image, b: Image) -> Image:
    """Never come back either."""
    time.sleep(10_000)
    return a


@method("holds_interpreter", **ABOUT)
def fuse_holds_interpreter(a: Image, b: Image) -> Image:
    """Never come back, and let no other thread of the process run."""
    ctypes.PyDLL(None).sleep(10_000)
    return a


@method("raises", **ABOUT)
def fuse_raises(a: Image, b: Image) -> Image:
    """Raise an error."""
    raise ZeroDivisionError("no light at all")


@method("returns_nan", **ABOUT)
def fuse_returns_nan(a: Image, b: Image) -> Image:
    """Return numbers that are none."""
    return np.full_like(a, np.nan)


@method("returns_rows", **ABOUT)
def fuse_returns_rows(a: Image, b: Image) -> Image:
    """Return another shape."""
    return a[:-1]


@method("returns_doubles", **ABOUT)
def fuse_returns_doubles(a: Image, b: Image) -> Image:
    """Return another type."""
    return a.astype(np.float64)  # type: ignore[return-value]


@method("copies_a", **ABOUT)
def fuse_copies_a(a: Image, b: Image) -> Image:
    """Return the first source."""
    return a.copy()
