"""A rehearsal of garbage collection: Icechunk works on a copy of the repository's small files, and nothing happens to the store.

Icechunk forgets old snapshots by changing the files of the oldest that stay, in place, and tells beforehand neither what goes nor how
much. The copy lies in a temporary folder, with empty files for chunks; what Icechunk leaves there is compared with what it was to leave.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icechunk

from storage.errors import StoreError
from storage.findings import read_safely
from storage.inventory import Lying
from storage.references import BRANCH, OBJECT_ID, Reference, write_reference
from storage.repository import CHUNKS, IMAGES, REPOSITORY, array_path
from storage.seals import MANIFESTS, SNAPSHOTS, TRANSACTIONS, do_all
from storage.snapshot import Snapshot
from storage.verify import Look

OBJECTS = (SNAPSHOTS, TRANSACTIONS, MANIFESTS, CHUNKS)
"""The folders that Icechunk deletes from; what goes first, first."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What Icechunk did to the copy.

    Attributes:
        gone: the paths of the files that it deleted.
        changed: by path, the new bytes of the snapshots whose parents are gone.
    """

    gone: tuple[str, ...]
    changed: Mapping[str, bytes]


def rehearse(look: Look, lying: Mapping[str, Lying], threshold: datetime | None) -> Rehearsal:
    """What would be deleted and changed.

    Args:
        look: the store as it is.
        lying: all its files.
        threshold: snapshots that are older go, unless a reference or the registry of models names them; None where none does.

    Raises:
        StoreError: Icechunk did anything but what it was to do.
    """
    with tempfile.TemporaryDirectory() as above:
        root = Path(above)
        objects = [path for path in lying if path.rpartition("/")[0] in OBJECTS and OBJECT_ID.fullmatch(path.rpartition("/")[2])]
        with read_safely():
            contents = _copy(look, objects, root)
        for one in _list_heads(look):
            _place(root, one.path, write_reference(one.snapshot_id))
        with read_safely():
            repository = _open_copy(root)
            if threshold is not None:
                repository.expire_snapshots(threshold)
            repository.garbage_collect(datetime.now(UTC) + timedelta(days=1))  # of any age
        gone = tuple(path for path in objects if not (root / path).exists())
        snapshots = [path for path in contents if path.startswith(SNAPSHOTS) and path not in gone]
        changed = {path: content for path in snapshots if (content := (root / path).read_bytes()) != contents[path]}
        _check(look, _open_copy(root), threshold, frozenset(gone))
        return Rehearsal(gone, changed)


def _copy(look: Look, objects: Sequence[str], root: Path) -> dict[str, bytes]:
    """Copy the files of all snapshots that can be reached, and leave empty ones for everything else; returns what was copied."""
    reached = [look.store.repository.lookup_snapshot(one) for one in look.history.parents]
    wanted = {f"{SNAPSHOTS}/{one.id}" for one in reached} | {f"{MANIFESTS}/{name.id}" for one in reached for name in one.manifests}
    paths = sorted(wanted)
    contents = dict(zip(paths, do_all(look.store.files.read, paths), strict=True))
    for path in objects:
        _place(root, path, contents.get(path, b""))
    return contents


def _place(root: Path, path: str, content: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def _open_copy(root: Path) -> icechunk.Repository:
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(root / REPOSITORY)))


def _list_heads(look: Look) -> list[Reference]:
    """The branches and tags, and a branch for each snapshot that only the registry of models names."""
    named = {one.snapshot_id for one in look.references}
    return [*look.references, *(Reference(BRANCH, f"registered-{head}", head) for head in look.history.lines if head not in named)]


def _check(look: Look, copy: icechunk.Repository, threshold: datetime | None, gone: frozenset[str]) -> None:
    times, parents = look.history.times, look.history.parents
    kept: set[str] = set()
    for head, line in look.history.lines.items():
        expected = [one for one in line if one == head or parents[one] is None or threshold is None or times[one] >= threshold]
        with read_safely():
            found = [one.id for one in copy.ancestry(snapshot_id=head)]
            manifests = {f"{MANIFESTS}/{name.id}" for one in found for name in copy.lookup_snapshot(one).manifests}
        if found != expected or manifests & gone:
            raise _refuse(look, head)
        kept |= set(found)
    left = {(one.array, one.sha256) for seal in look.seals.valid for one in seal.files if one.array and one.path not in gone}
    for one in kept:
        if any(image not in left and look.vouches(*image) for image in _list_images(look, one)):
            raise _refuse(look, one)


def _refuse(look: Look, snapshot_id: str) -> StoreError:
    return StoreError(
        f"in a rehearsal of the collection snapshot {snapshot_id} of {look.store.address} did not keep what it has to; nothing was freed: "
        "report this, and use --keep all until it is mended"
    )


def _list_images(look: Look, snapshot_id: str) -> list[tuple[str, str]]:
    """The path of the array and the hash of every selected image; of a commit that no build made, none."""
    try:
        table = Snapshot(look.store, snapshot_id).table("selections", ["pair_id", "image_hash"])
    except (StoreError, KeyError):
        return []
    return [(array_path(IMAGES, row["pair_id"]), row["image_hash"]) for row in table.to_pylist() if row["image_hash"]]
