"""Holds the build lock of a store, in a process of its own, until a line comes in: hold_lock.py ADDRESS WHO [KIND OF CHILD].

With a child the process has one that sleeps while the lock is held: `exec`, as Dask starts its workers, or `fork`.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time

from storage.files import Files, parse_location
from storage.locks import hold_lock

LONG = 600


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def bear(kind: str) -> int:
    """Start a child that has every descriptor it can have, and outlives this process."""
    if kind == "exec":
        return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"], close_fds=False).pid
    child = os.fork()
    if not child:
        time.sleep(LONG)
        os._exit(0)
    return child


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who is started in the background of a shell ignores it
    address, who, *kinds = sys.argv[1:]
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    with contextlib.suppress(KeyboardInterrupt), hold_lock(Files(parse_location(address)), "build", who):
        say("holds the lock")
        for kind in kinds:
            say(str(bear(kind)))
        sys.stdin.readline()
    say("let go")
