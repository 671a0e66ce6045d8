"""Stores that somebody made up, to have a file outside of them read, overwritten or deleted: it never is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.repair import repair_store
from storage.collect import Keep, collect_garbage
from storage.errors import FusionPriorError, StoreError
from storage.files import Files, hash_bytes, parse_location
from storage.repository import TAGGING, Draft, find_head, open_store, tag_snapshot
from storage.seals import SealedFile, read_seals, save_seal
from storage.snapshot import Snapshot
from storage.verify import verify_store

OUTSIDE = ("../secret.parquet", "tables/../../secret.parquet", "tables/./../../secret.parquet", "..\\secret.parquet", "ABSOLUTE")
Care = Callable[[str], object]
CARE: dict[str, Care] = {
    "verify": verify_store,
    "repair": repair_store,
    "gc": lambda address: collect_garbage(address, Keep()),
    "gc --keep 1": lambda address: collect_garbage(address, Keep(newest=1)),
}


@pytest.fixture
def secret(ready: Any, tmp_path: Path) -> Path:
    """A file beside the store, which is even what the crafted manifest says: a table of v1."""
    path = tmp_path / "secret.parquet"
    table = Snapshot(str(ready.store), "v1").manifest["tables"]["pairs"]["path"]
    path.write_bytes((ready.store / table).read_bytes())
    return path


def name_outside(path: str, secret: Path) -> str:
    return str(secret) if path == "ABSOLUTE" else path


def take_care(address: str, secret: Path, care: Care) -> None:
    """Whatever is done about the store and however that ends, the file outside stays as it was, and nothing comes beside it."""
    before, names = secret.read_bytes(), sorted(secret.parent.iterdir())
    try:
        care(address)
    except FusionPriorError as error:
        assert "\n" not in str(error)
    assert secret.read_bytes() == before
    assert sorted(secret.parent.iterdir()) == names


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_table_outside_the_store_is_not_read(ready: Any, secret: Path, tmp_path: Path, path: str) -> None:
    address = ready.copy_to(tmp_path / "store")
    store = open_store(address)
    manifest = json.loads(json.dumps(dict(Snapshot(store).manifest)))
    manifest["tables"]["pairs"]["path"] = name_outside(path, secret)
    with Draft(store, find_head(store)) as draft:
        draft.commit("crafted", manifest, {})
        draft.publish("crafted")
    with pytest.raises(StoreError, match="leads out of the store; expected one below it; do not trust this store"):
        Snapshot(address, "crafted").table("pairs")
    assert Snapshot(address, "v1").table("pairs").num_rows == 3
    found = verify_store(address).findings
    assert any("leads out of the store" in one.sentence for one in found)
    for care in CARE.values():
        take_care(address, secret, care)
    with Draft(store, find_head(store)) as draft:  # and when it is not the newest any more
        draft.commit("after it", dict(Snapshot(store, "v1").manifest) | {"after": 1}, {})
        draft.publish()
    take_care(address, secret, CARE["gc --keep 1"])


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("care", CARE)
def test_a_file_outside_the_store_is_not_touched_for_a_seal(ready: Any, secret: Path, tmp_path: Path, path: str, care: str) -> None:
    address = ready.copy_to(tmp_path / "store")
    store = open_store(address)
    (seal,) = read_seals(store.files).of(find_head(store))
    content = b"what somebody would like to stand there"
    crafted = SealedFile(name_outside(path, secret), hash_bytes(content), len(content), content=content)
    save_seal(store.files, seal.snapshot_id, [crafted], replaces=[name_outside(path, secret)])
    assert any("leads out of the store" in one.sentence for one in verify_store(address).findings)
    take_care(address, secret, CARE[care])
    assert Snapshot(address, "v1").table("pairs").num_rows == 3


def test_what_leads_out_is_neither_written_nor_deleted_nor_looked_for(secret: Path, tmp_path: Path) -> None:
    files = Files(parse_location(str(tmp_path / "store")))
    for path in OUTSIDE:
        for touch in (files.read, files.exists, files.delete, lambda path: files.write(path, b""), lambda path: files.jot(path, b"")):
            with pytest.raises(StoreError, match="leads out of the store"):
                touch(name_outside(path, secret))


# A tag whose making was killed.


def test_a_tag_that_was_never_made_is_no_damage_and_one_that_is_lost_is(ready: Any, tmp_path: Path) -> None:
    address = ready.copy_to(tmp_path / "store")
    store = open_store(address)
    folder = tmp_path / "store" / "repository" / "refs" / "tag.v2"
    store.files.jot(TAGGING, b"v2")
    folder.mkdir()  # what Icechunk has done when it is killed before it has opened the tag's file
    assert verify_store(address).findings == ()
    collect_garbage(address, Keep())
    tag_snapshot(store, "v2", find_head(store))
    assert Snapshot(address, "v2").id == Snapshot(address, "v1").id and not store.files.exists(TAGGING)
    (folder / "ref.json").unlink()
    (found,) = verify_store(address).findings
    assert found.where == "tag v2"
