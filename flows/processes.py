"""Processes of this machine: many tasks on a few of them, where one that dies costs its task and nothing else.

For work that needs no Dask cluster. Each process has a line of its own to this one, so that it is known which task it died in.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from flows.interrupts import hold_interrupts

T = TypeVar("T")
R = TypeVar("R")

TRIES = 2
"""Processes that one task may take with it: the first may have been ended by somebody else."""

_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What libraries take the number of their threads from, when they are first imported."""


@dataclass(slots=True)
class _Member:
    """One process, the line to it, and the number of the work that it knows."""

    process: SpawnProcess
    line: "Connection[Any, Any]"
    knows: int = 0


class Crew:
    """Processes that are started when they are needed, and stay for the next work."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._members: list[_Member] = []
        self._idle: list[_Member] = []
        self._works = 0

    def run(self, function: Callable[..., R], tasks: Iterable[T], *shared: object) -> Iterator[tuple[T, R | None]]:
        """`function(*shared, task)` for every task, in the order in which they end.

        Args:
            function: can be imported by name; never answers None.
            tasks: small enough to be sent.
            shared: sent to every process once.

        Returns:
            Each task with its answer, or with None where it took two processes with it; what the function raises is raised here.
        """
        self._works += 1
        work = partial(function, *shared)
        waiting = deque((task, 1) for task in tasks)
        running: dict[Any, tuple[_Member, T, int]] = {}
        while waiting or running:
            while waiting and len(running) < self._size:
                task, tries = waiting.popleft()
                member = self._hand_out(work, task)
                running[member.line] = (member, task, tries)
            for line in wait(list(running)):
                member, task, tries = running.pop(line)
                heard = self._hear(member)
                if heard is None and tries < TRIES:
                    waiting.append((task, tries + 1))
                else:
                    yield task, heard and _unpack(heard)

    def close(self) -> None:
        """End every process, whatever it does."""
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            member.process.join()
            member.line.close()

    def _hand_out(self, work: Callable[..., Any], task: object) -> _Member:
        member = self._idle.pop() if self._idle else self._start()
        with contextlib.suppress(OSError):  # it is dead: that is heard on its line
            if member.knows != self._works:
                member.line.send((work, None))
                member.knows = self._works
            member.line.send((None, task))
        return member

    def _start(self) -> _Member:
        context = get_context("spawn")  # a fork would take over locks of libraries whose threads it does not have
        line, far_end = context.Pipe()
        process = context.Process(target=_serve, args=(far_end,), daemon=True)
        with hold_interrupts():
            process.start()
        far_end.close()  # else its death would not be heard
        member = _Member(process, line)
        self._members.append(member)
        return member

    def _hear(self, member: _Member) -> tuple[Any, Exception | None] | None:
        """What a process answers: a value, or an error; None where it is dead."""
        try:
            heard: tuple[Any, Exception | None] = member.line.recv()
        except (EOFError, OSError):
            self._members.remove(member)
            member.process.join()
            member.line.close()
            return None
        self._idle.append(member)
        return heard


@contextlib.contextmanager
def open_crew(size: int) -> Iterator[Crew]:
    """So many processes, which are ended when the block is left, however it is left."""
    crew = Crew(size)
    try:
        yield crew
    finally:
        crew.close()


def _unpack(heard: tuple[Any, Exception | None]) -> Any:
    answer, error = heard
    if error is not None:
        raise error
    return answer


def _serve(line: "Connection[Any, Any]") -> None:
    """What a process does: learn a work, do its tasks, until nobody is there any more."""
    os.environ.update(dict.fromkeys(_POOLS, "1"))  # the processes are the threads; no library is imported yet
    known: Callable[[Any], Any] | None = None
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            work, task = line.recv()
            if work is not None:
                known = work
            elif known is not None:
                line.send(_try(known, task))


def _try(work: Callable[[Any], Any], task: object) -> tuple[Any, Exception | None]:
    try:
        return work(task), None
    except Exception as error:
        return None, error
