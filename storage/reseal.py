"""Putting back what the store itself can tell: the seal of a snapshot that is whole, and the file of a branch or tag."""

from collections.abc import Collection

from storage.contents import hash_chunks
from storage.errors import StoreError
from storage.files import Files
from storage.findings import read_safely
from storage.references import Reference, parse_reference, write_reference
from storage.repository import CHUNKS, Chunk, Store
from storage.seals import Seals, assign_chunks, is_inlined, read_files, read_small_files, save_seal
from storage.snapshot import Snapshot
from storage.tables import TableReference

LEAST = 18
"""Bytes of a cut file of a branch or tag that are believed: five of them are digits of the snapshot's id."""


def seal_again(store: Store, snapshot_id: str, seals: Seals) -> str:
    """Seal a snapshot whose seal is lost; returns the new one's path.

    Nothing but its being readable vouches for its transaction log and for candidates; everything else should have been verified before.

    Args:
        store: freshly opened.
        snapshot_id: the snapshot.
        seals: those that are there.

    Raises:
        StoreError: a part of the snapshot cannot be read.
    """
    snapshot = Snapshot(store, snapshot_id)
    parent = store.repository.lookup_snapshot(snapshot_id).parent_id
    with read_safely():
        store.repository.diff(from_snapshot_id=parent, to_snapshot_id=snapshot_id)  # reads the transaction log
        arrays = [f"{group}/{name}" for group, members in snapshot.root.groups() for name in members.array_keys()]
        known = {one.path for seal in seals.valid for one in seal.files}
        loose = read_files(store.files, [path for path in store.files.list(CHUNKS) if path not in known])
    covered = {(one.array, one.sha256) for seal in seals.valid for one in seal.files}
    chunks = [Chunk(path, digest) for path in arrays for digest in hash_chunks(snapshot, path)]
    found, left = assign_chunks(loose, [one for one in chunks if (one.array, one.sha256) not in covered])
    lost = [one for one in left if not is_inlined(store, snapshot_id, one)]
    if lost:
        raise StoreError(f"{lost[0].array} in snapshot {snapshot_id} reads from no chunk of its own")
    tables = [TableReference(**one).path for one in snapshot.manifest["tables"].values()]
    return save_seal(store.files, snapshot_id, [*found, *read_small_files(store, snapshot_id, tables)])


def restore_reference(files: Files, reference: Reference, snapshots: Collection[str]) -> str:
    """Write the file of a branch or tag anew where what is left of it fits one snapshot only.

    Args:
        files: the store's.
        reference: what is lost.
        snapshots: the ids of all that are there.

    Returns:
        The snapshot's id, or nothing where nobody can tell.
    """
    try:
        left = files.read(reference.path)
    except OSError:
        return ""
    fitting = [one for one in snapshots if _fits(left, write_reference(one))]
    if len(fitting) != 1 or parse_reference(left) in snapshots:
        return ""
    files.write(reference.path, write_reference(fitting[0]))
    return fitting[0]


def _fits(left: bytes, whole: bytes) -> bool:
    """Whether a file can have been the whole one: it is the beginning of it, it goes on after it, or one byte is another."""
    if len(left) == len(whole):
        return sum(one != other for one, other in zip(left, whole, strict=True)) <= 1
    return left.startswith(whole) or (len(left) >= LEAST and whole.startswith(left))
