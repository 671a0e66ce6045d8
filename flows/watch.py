"""The watch: ends a worker process whose method runs too long, and leaves a note for the process that takes its place."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from storage import journal
from storage.files import Files
from storage.journal import Note

TIMED_OUT = 124
"""Exit status of a worker that ended itself, as of the command `timeout`."""

GRACE = 5.0
"""Seconds after which the system ends a process that could not end itself, because a method never let go of the interpreter."""


STEP = 0.1
"""Seconds between two looks at the clock."""


class Watch:
    """Watches one pair's evaluation in this process; `note` is what earlier processes learnt about it.

    The first process only notes that it has begun. If it dies, the next one is careful: it notes every method before it begins. If
    that one dies as well, the method of its note is deadly, and the third leaves it out.
    """

    def __init__(self, files: Files, key: str) -> None:
        self._files = files
        self._key = key
        self._lock = threading.Lock()
        self._method = ""
        self._deadline = 0.0
        self._over = threading.Event()
        found = journal.read_note(files, key)
        self._careful = found.begun
        deadly = (*found.deadly, found.running) if found.running else found.deadly
        self.note = Note(begun=True, deadly=deadly, timeouts=found.timeouts)

    def __enter__(self) -> Self:
        """Note that the pair has begun, and start to watch."""
        journal.write_note(self._files, self._key, self.note)
        threading.Thread(target=self._wait, name="watch", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching."""
        self._over.set()

    @contextlib.contextmanager
    def limit(self, method: str, seconds: float) -> Iterator[None]:
        """End this process when the block runs longer than so many seconds."""
        if self._careful:
            journal.write_note(self._files, self._key, replace(self.note, running=method))
        self._set(method, time.monotonic() + seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._set("", 0.0)

    def _set(self, method: str, deadline: float) -> None:
        with self._lock:
            self._method, self._deadline = method, deadline

    def _wait(self) -> None:
        # it looks from time to time: to be woken for every method would take the interpreter from that method for a moment
        while not self._over.wait(STEP):
            with self._lock:
                if self._method and time.monotonic() >= self._deadline:
                    self._end()

    def _end(self) -> None:
        # not a death of the method's doing: the next process need not be careful
        journal.write_note(self._files, self._key, Note(deadly=self.note.deadly, timeouts=(*self.note.timeouts, self._method)))
        os._exit(TIMED_OUT)
