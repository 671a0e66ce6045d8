"""The contents of one snapshot: do its tables, its arrays and its manifest say the same, and is every chunk referred to.

A chunk that is not referred to reads as black without an error, so that it is asked for by its key. Images are read only where no seal
vouches for them; what was looked at in one snapshot is not looked at again in the next that shares it.
"""

import asyncio
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import icechunk
import numpy as np
import pyarrow as pa
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from storage.errors import FusionPriorError, StoreError
from storage.files import hash_bytes
from storage.findings import IMAGE, SNAPSHOT, TABLE, Finding, read_safely
from storage.repository import CANDIDATES, IMAGES, Store, array_path
from storage.schema import OK
from storage.seals import SNAPSHOTS, do_all
from storage.snapshot import Snapshot
from storage.tables import TableReference, read_table

SEALED_SINCE = 3
"""The first schema whose snapshots have seals."""

AT_ONCE = 1000
"""Questions to the repository that are open at a time."""

TABLES = ("pairs", "scores", "selections")
_DOCUMENT = "zarr.json"

READ = "read"
"""Begins what is noted of an array that was read whole."""

Vouched = Callable[[str, str, Sequence[str]], bool]
"""Whether seals cover the array of a path with a hash ("" for any), and all of some manifests."""


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a snapshot: its path, the manifests that its chunks stand in, and what Zarr keeps of it."""

    path: str
    manifests: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What stands on it beside the pixels."""
        found = self.document.get("attributes")
        return found if isinstance(found, dict) else {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Planes, rows, columns."""
        return tuple(self.document.get("shape", ()))

    @property
    def chunk_keys(self) -> list[str]:
        """The keys of all its chunks."""
        sides = self.document["chunk_grid"]["configuration"]["chunk_shape"]
        counts = [range(math.ceil(length / side)) for length, side in zip(self.shape, sides, strict=True)]
        return [f"{self.path}/c/{'/'.join(map(str, place))}" for place in itertools.product(*counts)]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a snapshot holds, as far as it can be told.

    Attributes:
        snapshot: to read with.
        arrays: by path.
        images: by path of an image's array, the hash that was selected.
        pairs: by path of any array, the pair.
        tables: the paths of its tables' files.
        is_sealed: whether it is of a schema that has seals.
        findings: what does not fit.
    """

    snapshot: Snapshot | None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    is_sealed: bool = False
    findings: tuple[Finding, ...] = ()


def check_contents(store: Store, snapshot_id: str, vouched: Vouched, seen: set[tuple[str, ...]]) -> Contents:
    """Check one snapshot.

    Args:
        store: freshly opened, so that nothing is remembered from before.
        snapshot_id: whose contents.
        vouched: tells which arrays the seals cover.
        seen: what was looked at in other snapshots; added to.
    """
    try:
        with read_safely():
            return _check(Snapshot(store, snapshot_id), vouched, seen)
    except FusionPriorError as error:
        sentence = f"snapshot {snapshot_id} cannot be read: {error}"
        return Contents(None, findings=(Finding(SNAPSHOT, f"{SNAPSHOTS}/{snapshot_id}", sentence, (snapshot_id,)),))


def _check(snapshot: Snapshot, vouched: Vouched, seen: set[tuple[str, ...]]) -> Contents:
    arrays = _read_arrays(snapshot.store.repository, snapshot.id)
    references = _read_references(snapshot)
    tables, problems = _read_tables(snapshot, references)
    rows: list[dict[str, Any]] = tables["selections"].to_pylist() if "selections" in tables else []
    images = {array_path(IMAGES, row["pair_id"]): str(row["image_hash"] or "") for row in rows}
    wrong: dict[str, str] = {}  # by path of an array, what is wrong with it
    if len(tables) == len(TABLES):
        wrong |= _compare_tables(rows, tables) | _compare_arrays(rows, tables["pairs"], arrays)
    wrong |= _find_chunkless(snapshot, arrays, seen)
    wrong |= _read_unvouched(snapshot, arrays, images, vouched, seen, wrong)
    pairs = {path: str(one.attributes.get("pair_id", "")) for path, one in arrays.items()}
    pairs |= {array_path(group, row["pair_id"]): row["pair_id"] for row in rows for group in (IMAGES, CANDIDATES)}
    found = (
        Finding(IMAGE, path, f"{path} in snapshot {snapshot.id} {text}", (snapshot.id,), (pairs[path],)) for path, text in wrong.items()
    )
    return Contents(
        snapshot,
        arrays,
        images,
        pairs,
        tuple(one.path for one in references.values()),
        snapshot.manifest.get("schema_version", 0) >= SEALED_SINCE,
        (*problems, *found),
    )


def find_hit(contents: Contents, paths: Iterable[str], vouched: Vouched) -> list[str]:
    """Those of a snapshot's arrays that do not read as they were selected; of candidates, as a seal has them."""
    snapshot = contents.snapshot
    if snapshot is None:
        return []
    wanted = [path for path in paths if path in contents.arrays]
    bad = do_all(lambda path: _is_hit(snapshot, path, contents, vouched), wanted)
    return [path for path, is_bad in zip(wanted, bad, strict=True) if is_bad]


def hash_chunks(snapshot: Snapshot, path: str) -> list[str]:
    """The sha256 of every chunk of an array as it is read now, in the order of its planes.

    Raises:
        StoreError: it cannot be read.
    """
    with read_safely():
        array = snapshot.root[path]
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{path} in snapshot {snapshot.id} is not an array")
        planes = np.ascontiguousarray(array[:])
        return [hash_bytes(planes[start : start + array.chunks[0]].data) for start in range(0, len(planes), array.chunks[0])]


def _is_hit(snapshot: Snapshot, path: str, contents: Contents, vouched: Vouched) -> bool:
    try:
        found = hash_chunks(snapshot, path)
    except StoreError:
        return True
    if contents.images.get(path):
        return found != [contents.images[path]]
    return vouched(path, "", ()) and not all(vouched(path, digest, ()) for digest in found)


def _read_arrays(repository: icechunk.Repository, snapshot_id: str) -> dict[str, Array]:
    nodes = json.loads(repository.inspect_snapshot(snapshot_id, pretty=False))["nodes"]
    manifests = {
        str(node["path"]).strip("/"): tuple(str(one["id"]) for one in node.get("manifest_refs") or ())
        for node in nodes
        if node["node_type"] == "array"
    }
    session = repository.readonly_session(snapshot_id=snapshot_id)

    async def read(path: str) -> Mapping[str, Any]:
        buffer = await session.store.get(f"{path}/{_DOCUMENT}", default_buffer_prototype())
        return json.loads(buffer.to_bytes()) if buffer is not None else {}

    documents = _ask_all(read, list(manifests))
    return {path: Array(path, manifests[path], document) for path, document in zip(manifests, documents, strict=True)}


def _ask_all(question: Callable[[str], Any], subjects: Sequence[str]) -> list[Any]:
    """The answers of the repository, which takes many questions at once."""

    async def ask(part: Sequence[str]) -> list[Any]:
        return await asyncio.gather(*(question(one) for one in part))

    return [answer for start in range(0, len(subjects), AT_ONCE) for answer in sync(ask(subjects[start : start + AT_ONCE]))]


def _read_references(snapshot: Snapshot) -> dict[str, TableReference]:
    """Which files the manifest says hold the tables; raises StoreError."""
    found = snapshot.manifest.get("tables")
    if not isinstance(found, dict) or set(found) != set(TABLES):
        raise StoreError(f"its manifest does not name the tables {', '.join(TABLES)}")
    return {name: TableReference(**one) for name, one in found.items()}


def _read_tables(snapshot: Snapshot, references: Mapping[str, TableReference]) -> tuple[dict[str, pa.Table], list[Finding]]:
    tables, found = {}, []
    for name, reference in references.items():
        try:
            with read_safely():
                table = read_table(snapshot.store.files, reference)
            if table.num_rows != reference.rows:
                raise StoreError(f"{reference.path} has {table.num_rows} rows, the manifest says {reference.rows}")
            tables[name] = table
        except FusionPriorError as error:
            found.append(Finding(TABLE, reference.path, f"the {name} of snapshot {snapshot.id}: {error}", (snapshot.id,)))
    return tables, found


def _compare_tables(rows: Sequence[Mapping[str, Any]], tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """What the selections say that the other tables do not, by path of the image's array."""
    scores = tables["scores"].select(["pair_id", "method", "content_key", "status"]).to_pylist()
    valid = {(row["pair_id"], row["method"], row["content_key"]) for row in scores if row["status"] == OK}
    pairs = {row["pair_id"]: row for row in tables["pairs"].select(["pair_id", "status"]).to_pylist()}
    wrong = {}
    for row in rows:
        pair_id = row["pair_id"]
        if pairs.get(pair_id, {}).get("status") != OK:
            wrong[array_path(IMAGES, pair_id)] = "was selected for a pair that the pairs table does not have as usable"
        elif (pair_id, row["method"], row["content_key"]) not in valid:
            wrong[array_path(IMAGES, pair_id)] = f"was selected from {row['method']}, of which the scores table has no such valid candidate"
    return wrong


def _compare_arrays(rows: Sequence[Mapping[str, Any]], pairs: pa.Table, arrays: Mapping[str, Array]) -> dict[str, str]:
    """What the arrays say that the tables do not, by path."""
    hashes = dict(zip(pairs["pair_id"].to_pylist(), pairs["pair_hash"].to_pylist(), strict=True))
    known = {array_path(group, row["pair_id"]) for row in rows for group in (IMAGES, CANDIDATES)}
    wrong = {path: "belongs to no selection" for path in arrays if path not in known}
    for row in rows:
        path = array_path(IMAGES, row["pair_id"])
        if path not in arrays:
            wrong[path] = "is not there, though its pair has a winner"
            continue
        expected = {"pair_id": row["pair_id"], "winner": row["method"], "pair_hash": hashes.get(row["pair_id"])}
        other = [name for name, value in expected.items() if arrays[path].attributes.get(name) != value]
        if other:
            name = other[0]
            wrong[path] = f"has the {name} {arrays[path].attributes.get(name)!r}, the tables say {expected[name]!r}"
        wrong |= _compare_planes(row, arrays)
    return wrong


def _compare_planes(row: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, str]:
    """Arrays of one pair that have not as many planes as the selection, or as their own list of planes, says."""
    wrong = {}
    for group, column in ((IMAGES, "planes"), (CANDIDATES, "candidate_planes")):
        path = array_path(group, row["pair_id"])
        named = arrays[path].attributes.get("planes", []) if path in arrays else []
        kept = arrays[path].shape[0] if path in arrays and arrays[path].shape else 0
        said = row.get(column) or len(named)  # nothing where the schema is older
        if not kept == len(named) == said:
            wrong[path] = f"has {kept} planes, the tables say {said} and the array names {len(named)}"
    return wrong


def _find_chunkless(snapshot: Snapshot, arrays: Mapping[str, Array], seen: set[tuple[str, ...]]) -> dict[str, str]:
    """Arrays with a chunk that no manifest refers to, or whose manifest cannot be read."""
    session = snapshot.store.repository.readonly_session(snapshot_id=snapshot.id)
    new = [one for one in arrays.values() if (one.path, *one.manifests) not in seen]

    async def ask(path: str) -> str:
        try:
            with read_safely():
                there = [await session.store.exists(key) for key in arrays[path].chunk_keys]
        except FusionPriorError as error:
            return f"cannot be read ({error})"
        return "" if there and all(there) else "has lost a chunk, and would be read as black"

    wrong = {one.path: text for one, text in zip(new, _ask_all(ask, [one.path for one in new]), strict=True) if text}
    seen |= {(one.path, *one.manifests) for one in new if one.path not in wrong}
    return wrong


def _read_unvouched(
    snapshot: Snapshot,
    arrays: Mapping[str, Array],
    images: Mapping[str, str],
    vouched: Vouched,
    seen: set[tuple[str, ...]],
    wrong: Mapping[str, str],
) -> dict[str, str]:
    """Arrays that no seal covers, and that do not read as they were selected."""

    def is_new(path: str) -> bool:
        is_covered = vouched(path, images.get(path, ""), arrays[path].manifests)
        return path not in wrong and not is_covered and _as_read(arrays[path], images) not in seen

    def look(path: str) -> str:
        try:
            found = hash_chunks(snapshot, path)
        except StoreError as error:
            return f"cannot be read ({error})"
        return "" if images.get(path, "") in ("", *found[:1]) else "does not read as what was selected: its hash is another one"

    new = list(filter(is_new, arrays))
    texts = dict(zip(new, do_all(look, new), strict=True))
    seen |= {_as_read(arrays[path], images) for path, text in texts.items() if not text}
    return {path: text for path, text in texts.items() if text}


def _as_read(array: Array, images: Mapping[str, str]) -> tuple[str, ...]:
    return (READ, array.path, images.get(array.path, ""), *array.manifests)
