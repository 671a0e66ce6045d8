"""Seals: what files a snapshot consists of, with their hashes, so that damage is found and small files can be put back.

    seals/<snapshot>-<first 16 digits of its own sha256>.parquet

A seal is written when its snapshot is committed and before anybody sees it. It lists every file that the snapshot added to the store, and
the files of its tables: path, sha256, size, for a chunk the array that it belongs to, and for everything else the bytes themselves.
Icechunk keeps no checksums; a flipped bit in its files is found here or nowhere.

A snapshot can have several seals. One that `replaces` others makes them void: garbage collection moves the rows of snapshots that go
over to one that stays. A path with several rows may hold the bytes of any of them; the first is what it is put back to.
"""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from storage.errors import StoreError
from storage.files import Files, hash_bytes
from storage.repository import CHUNKS, REPOSITORY, Chunk, Draft, Store
from storage.tables import TableReference, parse_table

FOLDER = "seals"
MANIFESTS, SNAPSHOTS, TRANSACTIONS = f"{REPOSITORY}/manifests", f"{REPOSITORY}/snapshots", f"{REPOSITORY}/transactions"
THREADS = 4
"""Files read and hashed at once."""

INLINED_UP_TO = 512
"""Bytes: chunks not larger than this stand in their manifest, if the repository does not say otherwise."""

_DIGITS = 16
_REPLACES = b"replaces"
_COLUMNS = pa.schema(
    [("path", pa.string()), ("sha256", pa.string()), ("size", pa.int64()), ("array", pa.string()), ("content", pa.binary())]
)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file as it was sealed.

    Attributes:
        path: below the store.
        sha256: of its bytes.
        size: in bytes.
        array: of a chunk, the path of its array in the repository; else empty.
        content: the bytes, of everything but chunks; None where they were not read.
    """

    path: str
    sha256: str
    size: int
    array: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal that proved whole: its path, its snapshot, the files, and the paths of the seals that it makes void."""

    path: str
    snapshot_id: str
    files: tuple[SealedFile, ...]
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seals:
    """The seals of a store.

    Attributes:
        valid: whole ones that none of the others makes void.
        void: paths of those that another replaces.
        damaged: paths of those that are not what was written.
    """

    valid: tuple[Seal, ...]
    void: tuple[str, ...]
    damaged: tuple[str, ...]

    def of(self, snapshot_id: str) -> tuple[Seal, ...]:
        """The valid ones of a snapshot."""
        return tuple(one for one in self.valid if one.snapshot_id == snapshot_id)


def write_seal(store: Store, snapshot_id: str, draft: Draft, tables: Iterable[TableReference]) -> None:
    """Write the seal of a committed, not yet published snapshot.

    Raises:
        StoreError: a chunk that the draft wrote is not there, or its bytes are others.
    """
    new = [path for path in store.files.list(CHUNKS) if path not in draft.older_chunks]
    chunks, left = assign_chunks(read_files(store.files, new), draft.chunks)
    lost = [one for one in left if not is_inlined(store, snapshot_id, one)]
    if lost:
        raise StoreError(
            f"{len(lost)} chunks of {store.address} are not what was written, the first of {lost[0].array}; nothing was published: "
            "check the disk, then build again"
        )
    save_seal(store.files, snapshot_id, [*chunks, *read_small_files(store, snapshot_id, [one.path for one in tables])])


def save_seal(files: Files, snapshot_id: str, sealed: Sequence[SealedFile], replaces: Sequence[str] = ()) -> str:
    """Write a seal of these files; returns its path."""
    rows = [{"path": one.path, "sha256": one.sha256, "size": one.size, "array": one.array, "content": one.content} for one in sealed]
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=_COLUMNS).replace_schema_metadata({_REPLACES: json.dumps(list(replaces))})
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    path = f"{FOLDER}/{snapshot_id}-{hash_bytes(content)[:_DIGITS]}.parquet"
    files.write(path, content)
    return path


def read_seals(files: Files) -> Seals:
    """All seals of a store, without the bytes of the files in them."""
    paths = files.list(FOLDER)
    found = dict(zip(paths, do_all(lambda path: _try_seal(files, path), paths), strict=True))
    whole = [one for one in found.values() if one is not None]
    void = {path for one in whole for path in one.replaces} & set(found)
    return Seals(
        valid=tuple(one for one in whole if one.path not in void),
        void=tuple(sorted(void)),
        damaged=tuple(path for path, one in found.items() if one is None and path not in void),
    )


def read_contents(files: Files, seal: Seal) -> dict[str, bytes]:
    """The bytes of all small files in a seal, by sha256.

    Raises:
        StoreError: the seal is not what was written.
    """
    table = _read_checked(files, seal.path)
    if table is None:
        raise StoreError(f"{seal.path} in {files.location.address} is damaged; repair the store with: fusion-prior repair")
    contents: list[bytes | None] = table["content"].to_pylist()
    return {one.sha256: content for one, content in zip(seal.files, contents, strict=True) if content is not None}


def find_snapshot_of(seal_path: str) -> str:
    """The snapshot whose seal lies, or lay, under a path."""
    return seal_path.removeprefix(f"{FOLDER}/").partition("-")[0]


def read_small_files(store: Store, snapshot_id: str, tables: Sequence[str]) -> list[SealedFile]:
    """What a snapshot added to the store beside chunks, and its tables, as they are now.

    Raises:
        FileNotFoundError: one of them is not there.
    """
    return read_files(store.files, [*_list_metadata(store, snapshot_id), *tables], kept=True)


def read_files(files: Files, paths: Sequence[str], *, kept: bool = False) -> list[SealedFile]:
    """Files as they are now, with their bytes where those are to be kept."""

    def look(path: str) -> SealedFile:
        content = files.read(path)
        return SealedFile(path, hash_bytes(content), len(content), content=content if kept else None)

    return do_all(look, paths)


def do_all(function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
    """`function` of every task, some at once: reading and hashing leave the interpreter free."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, tasks))


def _list_metadata(store: Store, snapshot_id: str) -> list[str]:
    """The paths of a snapshot's own file, its transaction log and the manifests its parent has not; of the first of all, its parent too."""
    info = store.repository.lookup_snapshot(snapshot_id)
    paths = [f"{SNAPSHOTS}/{snapshot_id}", f"{TRANSACTIONS}/{snapshot_id}"]
    manifests = {one.id for one in info.manifests}
    if info.parent_id is not None:
        parent = store.repository.lookup_snapshot(info.parent_id)
        manifests -= {one.id for one in parent.manifests}
        if parent.parent_id is None:
            paths.append(f"{SNAPSHOTS}/{parent.id}")
    return [*paths, *(f"{MANIFESTS}/{one}" for one in sorted(manifests))]


def assign_chunks(found: Iterable[SealedFile], chunks: Iterable[Chunk]) -> tuple[list[SealedFile], list[Chunk]]:
    """The files that are chunks of a draft, each with its array, and the chunks without a file; equal bytes are told apart by number."""
    arrays: dict[str, list[str]] = defaultdict(list)
    for one in chunks:
        arrays[one.sha256].append(one.array)
    assigned = [SealedFile(one.path, one.sha256, one.size, arrays[one.sha256].pop()) for one in found if arrays.get(one.sha256)]
    return assigned, [Chunk(array, digest) for digest, names in arrays.items() for array in names]


def is_inlined(store: Store, snapshot_id: str, chunk: Chunk) -> bool:
    """Whether a chunk is so small that it stands in its manifest, or its array was taken out of the draft again."""
    limit = store.repository.config.inline_chunk_threshold_bytes
    root = zarr.open_group(store.repository.readonly_session(snapshot_id=snapshot_id).store, mode="r")
    if chunk.array not in root:
        return True
    array = root[chunk.array]
    if not isinstance(array, zarr.Array):
        return False
    pixels = 1
    for side in array.chunks:
        pixels *= side
    return pixels <= (INLINED_UP_TO if limit is None else limit)


def _try_seal(files: Files, path: str) -> Seal | None:
    table = _read_checked(files, path, ["path", "sha256", "size", "array"])
    if table is None:
        return None
    replaces = json.loads((table.schema.metadata or {}).get(_REPLACES, b"[]"))
    return Seal(path, find_snapshot_of(path), tuple(SealedFile(**row) for row in table.to_pylist()), tuple(replaces))


def _read_checked(files: Files, path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """A seal's table, or None where its bytes are not those that its name says."""
    try:
        content = files.read(path)
    except OSError:
        return None
    expected = path.rpartition("-")[2].removesuffix(".parquet")
    return parse_table(content, columns) if hash_bytes(content)[:_DIGITS] == expected else None
