"""Commits and tags in rounds, in a process of its own: commit_rounds.py ADDRESS NAME ROUNDS, all at once with others that do the same.

Prints how often somebody else was first, and then who got the tag that everybody wants.
"""

import sys

import numpy as np

from storage.errors import CommitConflict, InputError
from storage.repository import IMAGES, Draft, ImageChange, Store, find_head, open_store, tag_snapshot


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def commit(store: Store, pair_id: str) -> str:
    """Add one pair to whatever is newest."""
    draft = Draft(store, find_head(store))
    planes = np.full((3, 30, 30), len(pair_id), np.uint8)
    draft.put(IMAGES, pair_id, ImageChange(planes, ["a.grey", "b.grey", "winner.grey"], {"winner": "average"}))
    with draft:
        snapshot_id = draft.commit(pair_id, {"newest": pair_id}, {})
        draft.publish()
    return snapshot_id


def commit_until_done(store: Store, pair_id: str) -> tuple[str, int]:
    """Add one pair however often somebody else is first: the snapshot's id, and how often that was."""
    conflicts = 0
    while True:
        try:
            return commit(store, pair_id), conflicts
        except CommitConflict:
            conflicts += 1


def main(address: str, name: str, rounds: int) -> None:
    """Commit and tag `rounds` pairs, then try for the tag that everybody wants."""
    store = open_store(address)
    say("ready")
    sys.stdin.readline()
    conflicts = 0
    for number in range(rounds):
        snapshot, lost = commit_until_done(store, f"{name}/{number}")
        tag_snapshot(store, f"{name}-{number}", snapshot)
        conflicts += lost
    say(str(conflicts))
    try:
        tag_snapshot(store, "wanted", snapshot)
        say("won")
    except InputError:
        say("lost")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
