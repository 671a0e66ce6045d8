"""Verification finds every damage to a store's files, names what it hits, and finds nothing where nothing is damaged."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.errors import SnapshotNotFound, StoreError
from storage.findings import DAMAGED, IMAGE, MISSING, REFERENCE, SEAL, SNAPSHOT, TABLE
from storage.repository import CHUNKS, IMAGES, Draft, ImageChange, Store, create_store, find_head, open_store
from storage.schema import SELECTIONS
from storage.seals import read_seals
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows, to_table, write_table
from storage.verify import verify_store

_spec = importlib.util.spec_from_file_location("sealed_stores", Path(__file__).with_name("sealed_stores.py"))
assert _spec and _spec.loader
stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stores)

Change = Callable[[str, bytes | None], None]
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda content: None,
    "cut": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :],
}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of three snapshots: `v1` with candidates, one in between, and `v3`; not to be changed."""
    store = create_store(str(tmp_path_factory.mktemp("grown") / "store"))
    stores.grow(store, {"city/01": 0, "p": 0, "q": 0}, candidates=True, tag="v1")
    stores.grow(store, {"city/01": 1, "p": 0, "r": 0})
    stores.grow(store, {"city/01": 1, "p": 2, "r": 0}, tag="v3")
    return store


@pytest.fixture
def copy(grown: Store, tmp_path: Path) -> Store:
    """A copy of it that may be damaged."""
    shutil.copytree(grown.address, tmp_path / "copy")
    return open_store(str(tmp_path / "copy"))


@pytest.fixture
def change(copy: Store) -> Iterator[Change]:
    """Gives a file of the copy other bytes, or none."""

    def act(path: str, content: bytes | None) -> None:
        stores.place(copy, path).unlink() if content is None else stores.place(copy, path).write_bytes(content)

    return act


def find_head_of(store: Store, tag: str) -> str:
    return str(store.repository.lookup_tag(tag))


def find_chunk(store: Store, snapshot_id: str, array: str) -> str:
    """The path of the chunk of an image."""
    digest = Snapshot(store, snapshot_id).image_hash(array.removeprefix("images/").replace("%2F", "/"))
    return next(one.path for seal in read_seals(store.files).valid for one in seal.files if (one.array, one.sha256) == (array, digest))


def test_nothing_is_found_in_a_whole_store(grown: Store) -> None:
    found = verify_store(grown)
    assert not found.findings and len(found.snapshots) == 3 and found.images == 0
    counted = [path for path in stores.list_all(grown) if path.startswith(("repository/", "tables/")) and "/refs/" not in path]
    assert found.files == len(counted) and found.size == sum(len(grown.files.read(path)) for path in counted)
    assert found.proven == set(counted)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_found_and_named(copy: Store, change: Change, damage: str) -> None:
    files = {
        path: content for path, content in stores.list_all(copy).items() if path.partition("/")[0] in ("repository", "tables", "seals")
    }
    assert len(files) > 40
    for path, content in files.items():
        change(path, DAMAGES[damage](content))
        findings = verify_store(copy).findings
        assert len(findings) == 1, path
        (one,) = findings
        name = path.rpartition("/")[2]
        if "/refs/" in path:
            kind, reference = path.split("/")[2].split(".", 1)
            assert (one.kind, one.where) == (REFERENCE, f"{kind} {reference}")
        elif path.startswith("seals/"):
            assert one.kind == SEAL and one.snapshots == (name.partition("-")[0],)
        else:
            assert (one.kind, one.where) == (MISSING if damage == "gone" else DAMAGED, path)
            assert path in one.sentence
        change(path, content)
    assert not verify_store(copy).findings


def test_a_damaged_chunk_names_the_snapshots_and_the_pair_that_it_hits(copy: Store, change: Change) -> None:
    first, newest = find_head_of(copy, "v1"), find_head_of(copy, "v3")
    middle = copy.repository.lookup_snapshot(newest).parent_id
    shared = find_chunk(copy, first, "images/p")  # of the first two snapshots
    change(shared, None)
    (one,) = verify_store(copy).findings
    assert (set(one.snapshots), one.pairs) == ({first, middle}, ("p",)) and one.sentence == f"{shared} is missing: it hits p"
    assert not verify_store(copy, ["v3"]).findings
    (one,) = verify_store(copy, ["v1"]).findings
    assert (one.snapshots, one.pairs) == ((first,), ("p",))


def test_a_damaged_candidate_names_its_pair(copy: Store, change: Change) -> None:
    path = next(one.path for seal in read_seals(copy.files).valid for one in seal.files if one.array == "candidates/q")
    change(path, bytes(24 * 24))
    (one,) = verify_store(copy).findings
    assert (one.snapshots, one.pairs) == ((find_head_of(copy, "v1"),), ("q",))


def test_a_lost_snapshot_names_all_its_pairs_and_hides_nothing_of_the_others(copy: Store, change: Change) -> None:
    newest = find_head_of(copy, "v3")
    change(f"repository/snapshots/{newest}", None)
    change(find_chunk(open_store(copy.address), find_head_of(copy, "v1"), "images/q"), None)
    found = {one.where.split("/")[1]: one for one in verify_store(copy).findings}
    assert found["snapshots"].pairs == ("city/01", "p", "r") and found["snapshots"].snapshots == (newest,)
    assert found["chunks"].pairs == ("q",)
    (one,) = verify_store(copy, ["v3"]).findings
    assert one.where.endswith(newest)


def test_a_damaged_transaction_log_hits_no_image(copy: Store, change: Change) -> None:
    change(f"repository/transactions/{find_head(copy)}", b"")
    (one,) = verify_store(copy).findings
    assert one.pairs == () and one.sentence.endswith("no image is hit")


def test_what_killed_builds_leave_is_no_damage(copy: Store) -> None:
    dead = Draft(copy, find_head(copy))
    dead.put(IMAGES, "z", ImageChange(np.full((3, 24, 24), 9, np.uint8), ["a.grey", "b.grey", "winner.grey"], {}))
    dead.commit("nobody publishes it", {}, {})
    copy.files.write("tables/pairs-0123456789abcdef.parquet", b"half a build")
    assert not verify_store(copy).findings


def test_files_that_are_proven_are_not_read_again(copy: Store, change: Change) -> None:
    proven = verify_store(copy).proven
    change(copy.files.list(CHUNKS)[0], None)
    assert not verify_store(copy, proven=proven).findings and verify_store(copy).findings


def test_two_damages_of_one_pair_are_two_findings(copy: Store, change: Change) -> None:
    first = find_head_of(copy, "v1")
    manifests = json.loads(copy.repository.inspect_snapshot(first))["nodes"]
    manifest = next(one["manifest_refs"][0]["id"] for one in manifests if one["path"] == "/images/q")
    change(find_chunk(copy, first, "images/q"), None)
    change(f"repository/manifests/{manifest}", None)
    assert sorted((one.kind, one.pairs) for one in verify_store(copy).findings) == [(MISSING, ("q",)), (MISSING, ("q",))]


# What no hash of a file finds: a commit whose parts do not fit.


def commit_by_hand(store: Store, change: Callable[[zarr.Group], None]) -> str:
    """A snapshot of `main` that somebody changed without a build."""
    session = store.repository.writable_session("main")
    change(zarr.open_group(session.store, mode="a"))
    return str(session.commit("by hand"))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("winner", "gff", "has the winner 'gff', the tables say 'average'"),
        ("pair_hash", "other", "has the pair_hash 'other', the tables say 'hash of p'"),
        ("pair_id", "q", "has the pair_id 'q', the tables say 'p'"),
        ("planes", ["a.grey"], "has 3 planes, the tables say 3 and the array names 1"),
    ],
)
def test_an_array_that_does_not_fit_the_tables_is_found(copy: Store, name: str, value: object, sentence: str) -> None:
    snapshot_id = commit_by_hand(copy, lambda root: root["images/p"].attrs.update({name: value}))
    findings = {one.kind: one for one in verify_store(copy).findings}
    assert set(findings) == {SEAL, IMAGE}  # nobody sealed it either
    assert findings[IMAGE].sentence == f"images/p in snapshot {snapshot_id} {sentence}" and findings[IMAGE].pairs == ("p",)


def drop_chunk(root: zarr.Group) -> None:
    root["images/p"].resize((0, 24, 24))  # type: ignore[union-attr]
    root["images/p"].resize((3, 24, 24))  # type: ignore[union-attr]


def add_array(root: zarr.Group) -> None:
    root.create_array("images/x", shape=(1, 2, 2), dtype="u1", attributes={"pair_id": "x"})[:] = 1


@pytest.mark.parametrize(
    ("act", "pair_id", "sentence"),
    [
        (drop_chunk, "p", "has lost a chunk, and would be read as black"),
        (lambda root: root["images/p"].__setitem__(slice(None), 5), "p", "does not read as what was selected: its hash is another one"),
        (lambda root: root.__delitem__("images/p"), "p", "is not there, though its pair has a winner"),
        (add_array, "x", "belongs to no selection"),
    ],
    ids=["chunk", "pixels", "lost", "too many"],
)
def test_an_image_that_is_not_the_selected_one_is_found(
    copy: Store, act: Callable[[zarr.Group], None], pair_id: str, sentence: str
) -> None:
    snapshot_id = commit_by_hand(copy, act)
    findings = [one for one in verify_store(copy).findings if one.kind == IMAGE and one.pairs == (pair_id,)]
    assert [one.sentence for one in findings] == [f"images/{pair_id} in snapshot {snapshot_id} {sentence}"]


def change_selection(store: Store, **fields: object) -> str:
    """A snapshot whose table of selections says something else of the pair p; only what does not fit shows it."""
    newest = Snapshot(store)
    rows = [replace(row, **fields) if row.pair_id == "p" else row for row in to_selection_rows(newest.table("selections"))]
    reference = write_table(store.files, "selections", to_table(rows, SELECTIONS)).to_json()
    manifest = dict(newest.manifest) | {"tables": {**newest.manifest["tables"], "selections": reference}}
    return commit_by_hand(store, lambda root: root.attrs.update({"manifest": manifest}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"content_key": "other"}, "was selected from average, of which the scores table has no such valid candidate"),
        ({"method": "gff", "content_key": "gff/p/2"}, "was selected from gff, of which the scores table has no such valid candidate"),
        ({"planes": 4}, "has 3 planes, the tables say 4 and the array names 3"),
        ({"image_hash": "0" * 64}, "does not read as what was selected: its hash is another one"),
    ],
)
def test_a_selection_that_does_not_fit_is_found(copy: Store, fields: dict[str, object], sentence: str) -> None:
    change_selection(copy, **fields)
    found = [one for one in verify_store(copy).findings if one.kind == IMAGE]
    assert len(found) == 1 and found[0].pairs == ("p",)
    assert sentence in found[0].sentence or found[0].sentence.endswith("the tables say 'gff'")


@pytest.mark.parametrize(
    ("reference", "kind", "sentence"),
    [
        ({"path": "../../etc/passwd", "sha256": "0" * 64, "rows": 1}, TABLE, "leads out of the store"),
        ({"path": "tables/nothing.parquet", "sha256": "0" * 64, "rows": 1}, TABLE, "is missing"),
        (None, SNAPSHOT, "does not name the tables"),
        ({"rows": 99}, TABLE, "has 3 rows, the manifest says 99"),
    ],
    ids=["outside", "missing", "none", "rows"],
)
def test_a_manifest_that_cannot_be_is_found(copy: Store, reference: dict[str, object] | None, kind: str, sentence: str) -> None:
    manifest = dict(Snapshot(copy).manifest)
    tables = dict(manifest["tables"])
    tables = {**tables, "scores" if reference and "path" in reference else "pairs": {**tables["pairs"], **(reference or {})}}
    manifest["tables"] = tables if reference else {}
    commit_by_hand(copy, lambda root: root.attrs.update({"manifest": manifest}))
    assert any(one.kind == kind and sentence in one.sentence for one in verify_store(copy).findings)


def test_a_commit_that_no_build_made_is_found(copy: Store) -> None:
    snapshot_id = commit_by_hand(copy, lambda root: root.attrs.__delitem__("manifest"))
    (one,) = verify_store(copy).findings
    assert (one.kind, one.snapshots) == (SNAPSHOT, (snapshot_id,)) and "was not made by a build" in one.sentence


# Stores of older schemas, and others


def test_without_a_seal_images_are_read_whole(tmp_path: Path) -> None:
    store = create_store(str(tmp_path / "store"))
    snapshot_id = stores.grow(store, {"p": 0, "q": 0}, candidates=True, seal=False)
    stores.grow(store, {"p": 0, "q": 1}, seal=False)
    found = verify_store(store)
    assert not found.findings and (found.images, found.files) == (5, 0)  # p is shared
    path = store.files.list(CHUNKS)[0]
    for content in (None, bytes(stores.place(store, path).stat().st_size)):
        stores.place(store, path).write_bytes(content) if content else stores.place(store, path).unlink()
        findings = verify_store(store).findings
        images = [one for one in findings if one.where.startswith("images/")]
        assert (all(one.kind == IMAGE and len(one.pairs) == 1 for one in findings) and len(images) == len(findings) <= 1) or not content
    assert snapshot_id in found.snapshots


def test_an_older_snapshot_below_a_sealed_one_is_read(tmp_path: Path) -> None:
    store = create_store(str(tmp_path / "store"))
    stores.grow(store, {"p": 0, "q": 0}, seal=False)
    stores.grow(store, {"p": 0, "q": 1})
    found = verify_store(store)
    assert not found.findings and found.images == 2
    for path in store.files.list(CHUNKS):
        stores.place(store, path).unlink()
    assert {pair_id for one in verify_store(store, ["main"]).findings for pair_id in one.pairs} == {"p", "q"}


def test_a_store_on_s3_is_verified(s3_address: str) -> None:
    store = create_store(s3_address)
    stores.grow(store, {"p": 0, "q": 0}, tag="v1")
    assert not verify_store(s3_address).findings
    path = store.files.list(CHUNKS)[0]
    store.files.write(path, bytes(3 * 24 * 24))
    (one,) = verify_store(s3_address).findings
    assert one.where == path and one.kind == DAMAGED
    store.files.write("repository/refs/tag.v1/ref.json", b"{")
    assert {one.kind for one in verify_store(s3_address).findings} == {DAMAGED, REFERENCE}


def test_what_is_not_there_is_no_store_and_no_snapshot(grown: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        verify_store(str(tmp_path))
    with pytest.raises(SnapshotNotFound, match="no snapshot 'v9'"):
        verify_store(grown, ["v9"])
