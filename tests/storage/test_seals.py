"""Seals: every file that a snapshot added is listed with its hash, and a seal proves itself."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from storage import seals
from storage.errors import StoreError
from storage.files import hash_bytes
from storage.repository import CHUNKS, IMAGES, Draft, ImageChange, Store, create_store, find_head
from storage.seals import SealedFile, find_snapshot_of, read_contents, read_seals, save_seal, write_seal
from storage.snapshot import Snapshot
from storage.tables import TableReference

_spec = importlib.util.spec_from_file_location("sealed_stores", Path(__file__).with_name("sealed_stores.py"))
assert _spec and _spec.loader
stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stores)


def put(draft: Draft, pair_id: str, value: int, shape: tuple[int, int, int] = (3, 24, 24)) -> None:
    draft.put(IMAGES, pair_id, ImageChange(np.full(shape, value, np.uint8), ["a.grey", "b.grey", "winner.grey"][: shape[0]], {}))


def test_everything_that_a_snapshot_added_is_sealed(address: str) -> None:
    store = create_store(address)
    first = stores.grow(store, {"p": 0, "q": 0}, candidates=True)
    second = stores.grow(store, {"p": 1, "q": 0}, candidates=True)
    found = read_seals(store.files)
    assert {one.snapshot_id for one in found.valid} == {first, second} and not found.damaged and not found.void
    sealed = {one.path: one for seal in found.valid for one in seal.files}
    folders = ("chunks", "manifests", "snapshots", "transactions")
    assert set(sealed) == {path for name in folders for path in store.files.list(f"repository/{name}")} | set(store.files.list("tables"))
    for path, one in sealed.items():
        content = store.files.read(path)
        assert (one.sha256, one.size) == (hash_bytes(content), len(content))
        assert bool(one.array) == path.startswith(CHUNKS)
    (newer,) = found.of(second)
    assert sorted(one.array for one in newer.files if one.array) == ["candidates/p", "candidates/p", "images/p"]
    contents = read_contents(store.files, newer)
    assert all(contents[one.sha256] == store.files.read(one.path) for one in newer.files if not one.array)
    assert not any(one.sha256 in contents for one in newer.files if one.array)


def test_equal_images_are_told_apart_by_number(store: Store) -> None:
    with Draft(store, find_head(store)) as draft:
        for name in ("p", "q"):
            put(draft, name, 7)
        snapshot_id = draft.commit("two", {}, {})
        write_seal(store, snapshot_id, draft, [])
    (seal,) = read_seals(store.files).valid
    assert sorted(one.array for one in seal.files if one.array) == ["images/p", "images/q"]


def test_a_chunk_of_a_dead_build_is_not_sealed(store: Store) -> None:
    dead = Draft(store, find_head(store))
    put(dead, "p", 7)
    dead.commit("nobody publishes it", {}, {})
    with Draft(store, find_head(store)) as draft:
        put(draft, "p", 7)
        write_seal(store, draft.commit("one", {}, {}), draft, [])
    (seal,) = read_seals(store.files).valid
    assert len(store.files.list(CHUNKS)) == 2 and sum(bool(one.array) for one in seal.files) == 1


@pytest.mark.parametrize("size", [(1, 16, 32), (1, 16, 33)], ids=["inlined", "a file"])
def test_a_chunk_so_small_that_it_stands_in_its_manifest_is_sealed_there(store: Store, size: tuple[int, int, int]) -> None:
    with Draft(store, find_head(store)) as draft:
        put(draft, "p", 7, size)
        write_seal(store, draft.commit("one", {}, {}), draft, [])
    (seal,) = read_seals(store.files).valid
    assert sum(bool(one.array) for one in seal.files) == len(store.files.list(CHUNKS)) == (0 if size[2] == 32 else 1)


def test_a_chunk_that_is_not_what_was_written_is_not_sealed(store: Store) -> None:
    with Draft(store, find_head(store)) as draft:
        put(draft, "p", 7)
        snapshot_id = draft.commit("one", {}, {})
        (chunk,) = store.files.list(CHUNKS)
        stores.place(store, chunk).write_bytes(bytes(3 * 24 * 24))
        with pytest.raises(StoreError, match=r"1 chunks of .* the first of images/p; nothing was published"):
            write_seal(store, snapshot_id, draft, [])
    assert not read_seals(store.files).valid


def test_a_table_that_was_there_before_is_sealed_again(store: Store) -> None:
    stores.grow(store, {"p": 0})
    second = stores.grow(store, {"p": 0})
    (seal,) = read_seals(store.files).of(second)
    tables = [TableReference(**one).path for one in Snapshot(store, second).manifest["tables"].values()]
    assert set(tables) <= {one.path for one in seal.files}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_seal_is_told_from_a_whole_one(store: Store, damage: str) -> None:
    snapshot_id = stores.grow(store, {"p": 0})
    (seal,) = read_seals(store.files).valid
    content = bytearray(store.files.read(seal.path))
    content[len(content) // 2] ^= 1
    store.files.write(seal.path, {"cut": bytes(content[:-1]), "flipped": bytes(content), "empty": b""}[damage])
    found = read_seals(store.files)
    assert not found.valid and found.damaged == (seal.path,) and find_snapshot_of(seal.path) == snapshot_id
    with pytest.raises(StoreError, match="fusion-prior repair"):
        read_contents(store.files, seal)


def test_a_seal_makes_those_void_that_it_replaces(store: Store) -> None:
    files = [SealedFile("tables/t.parquet", "0" * 64, 1, content=b"t")]
    older = save_seal(store.files, "S", files)
    newer = save_seal(store.files, "S", [*files, SealedFile("tables/u.parquet", "1" * 64, 1, content=b"u")], [older])
    found = read_seals(store.files)
    assert [one.path for one in found.of("S")] == [newer] and found.void == (older,)
    assert read_contents(store.files, found.valid[0]) == {"0" * 64: b"t", "1" * 64: b"u"}
    assert seals.FOLDER == "seals"
