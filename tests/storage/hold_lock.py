"""Holds the build lock of a store, in a process of its own, until a line comes in: hold_lock.py ADDRESS."""

import logging
import sys

from storage.repository import hold_build_lock, open_store


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    with hold_build_lock(open_store(sys.argv[1])):
        say("holds the lock")
        sys.stdin.readline()
    say("let go")
