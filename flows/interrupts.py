"""Ctrl-C reaches every process of a terminal at once: those that this one starts are to be ended by it, in order, not beside it."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """What is started in the block, processes and threads and what these start later, is deaf to Ctrl-C; here it is heard at the end."""
    resource_tracker.ensure_running()  # started later, by multiprocessing, it would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
