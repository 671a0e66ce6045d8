"""Tests of storage.snapshot: what is read is what was committed, with our code and without it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from storage import schema
from storage.errors import InputError, SchemaMismatch, SnapshotNotFound, StoreError
from storage.files import hash_bytes
from storage.planes import stack
from storage.repository import IMAGES, Draft, ImageChange, Store, create_store, find_head, tag_snapshot
from storage.schema import FAILED, OK, PairRow, ScoreRow, scores_schema
from storage.snapshot import Snapshot, make_cube
from storage.tables import to_pair_rows, to_score_rows, to_selection_rows, to_table, write_table

PAIRS = ("city/01", "forêt 2", "medical.3")
Draw = Callable[..., dict[str, NDArray[np.uint8]]]
Publish = Callable[..., str]


def commit(draft: Draft, message: str, manifest: dict[str, Any], metadata: dict[str, Any] | None = None) -> str:
    """Commit a draft and publish it at once; the snapshot's id."""
    with draft:
        snapshot_id = draft.commit(message, manifest, metadata or {})
        draft.publish()
    return snapshot_id


def read_everything(snapshot: Snapshot) -> dict[str, Any]:
    """All that a snapshot says, as text and lists that compare."""
    pair_ids = snapshot.table("pairs")["pair_id"].to_pylist()
    return {
        "manifest": dict(snapshot.manifest),
        "tables": [repr(table.to_pylist()) for table in (snapshot.table("pairs"), snapshot.table("scores"), snapshot.table("selections"))],
        "hashes": [snapshot.image_hash(pair_id) for pair_id in pair_ids],
        "pictures": [{name: one.tolist() for name, one in snapshot.pictures(pair_id).items()} for pair_id in pair_ids],
        "candidates": [{name: one.tolist() for name, one in snapshot.candidates(pair_id).items()} for pair_id in pair_ids],
    }


def test_a_snapshot_holds_what_was_committed(address: str, draw: Draw, publish: Publish) -> None:
    store = create_store(address)
    snapshot = Snapshot(address, publish(store, PAIRS))
    for pair_id in PAIRS:
        pictures = draw(pair_id)
        found = snapshot.pictures(pair_id)
        assert list(found) == ["a", "b", "winner"]
        assert all(np.array_equal(found[name], pictures[name]) and found[name].dtype == np.uint8 for name in pictures)
        assert np.array_equal(snapshot.candidates(pair_id)["average"], pictures["winner"])
        assert snapshot.image_hash(pair_id) == hash_bytes(stack(pictures)[0].tobytes())
        assert snapshot.candidate_keys(pair_id) == [f"average/{pair_id}", f"gff/{pair_id}"]
        assert snapshot.winner_of(pair_id) == "average"
    assert [row.pair_id for row in to_pair_rows(snapshot.table("pairs"))] == list(PAIRS)
    assert [(row.method, row.status) for row in to_score_rows(snapshot.table("scores"))] == [("average", OK), ("gff", FAILED)] * 3
    assert [row.content_key for row in to_selection_rows(snapshot.table("selections"))] == [f"average/{pair_id}" for pair_id in PAIRS]
    assert snapshot.table("scores", ["method", "ssim"]).column_names == ["method", "ssim"]
    assert snapshot.manifest["seed"] == 0


def test_an_older_snapshot_stays_as_it_was(address: str, publish: Publish) -> None:
    store = create_store(address)
    first = publish(store, PAIRS)
    tag_snapshot(store, "v1", first)
    held = Snapshot(address, "v1")
    before = read_everything(held)
    publish(store, (*PAIRS, "new"), seed=1)
    assert read_everything(held) == before
    assert read_everything(Snapshot(address, "v1")) == before
    assert read_everything(Snapshot(address, first)) == before
    assert read_everything(Snapshot(address)) != before


def test_a_snapshot_cannot_be_written(store: Store, publish: Publish) -> None:
    snapshot = Snapshot(store.address, publish(store, PAIRS))
    with pytest.raises(icechunk.IcechunkError, match="read-only"):
        snapshot.root.attrs["manifest"] = {}


def test_images_are_read_without_our_code(store: Store, tmp_path: Path, draw: Draw, publish: Publish) -> None:
    tag_snapshot(store, "v1", publish(store, PAIRS))
    plain = icechunk.Repository.open(icechunk.local_filesystem_storage(str(tmp_path / "store" / "repository")))
    root = zarr.open_group(plain.readonly_session(tag="v1").store, mode="r")
    group = root["images"]
    assert isinstance(group, zarr.Group)
    arrays = {str(array.attrs["pair_id"]): array for array in group.array_values()}
    assert sorted(arrays) == sorted(PAIRS)
    for pair_id, array in arrays.items():
        pictures = draw(pair_id)
        assert array.attrs["planes"] == ["a.grey", "b.grey", "winner.red", "winner.green", "winner.blue"]
        assert array.metadata.to_dict()["dimension_names"] == ("plane", "y", "x")
        np.testing.assert_array_equal(array[:], np.stack([pictures["a"], pictures["b"], *np.moveaxis(pictures["winner"], 2, 0)]))


def test_images_are_read_by_xarray(store: Store, draw: Draw, publish: Publish) -> None:
    publish(store, ["street"])
    session = store.repository.readonly_session("main")
    opened = xr.open_zarr(session.store, group="images", consolidated=False)
    assert opened["street"].dims == ("plane", "y", "x")
    np.testing.assert_array_equal(opened["street"][0].to_numpy(), draw("street")["a"])


def test_tables_are_read_without_our_code(store: Store, tmp_path: Path, publish: Publish) -> None:
    manifest = Snapshot(store.address, publish(store, PAIRS)).manifest
    tables = {name: pq.read_table(tmp_path / "store" / one["path"]) for name, one in manifest["tables"].items()}
    assert {name: table.num_rows for name, table in tables.items()} == {"pairs": 3, "scores": 6, "selections": 3}
    assert tables["scores"]["ssim"].to_pylist() == [1, None, 1.125, None, 1.25, None]
    assert json.dumps(manifest)


def test_the_cube_holds_every_score(store: Store, publish: Publish) -> None:
    cube = Snapshot(store.address, publish(store, PAIRS)).to_xarray()
    assert cube["score"].dims == ("pair", "method", "metric")
    assert [cube[name].to_numpy().tolist() for name in ("pair", "method", "metric")] == [sorted(PAIRS), ["average", "gff"], ["ssim", "vif"]]
    assert cube["score"].sel({"method": "average", "metric": "ssim"}).to_numpy().tolist() == [1, 1.125, 1.25]
    assert np.isnan(cube["score"].sel(metric="vif")).all()
    assert np.isnan(cube["score"].sel({"method": "gff"})).all()
    assert cube["status"].sel(pair="forêt 2").to_numpy().tolist() == [OK, FAILED]
    assert cube["seconds"].sel({"method": "average"}).to_numpy().tolist() == [0.5] * 3


def test_a_cube_has_holes_where_a_pair_lacks_a_method() -> None:
    rows = [
        ScoreRow(pair_id=pair_id, method=method, version="1", content_key="k", status=OK, scores={"ssim": score, "vif": -score})
        for pair_id, method, score in (("q", "pca", 1.0), ("p", "tif", 2.0), ("p", "gff", 3.0))
    ]
    cube = make_cube(to_table(rows, scores_schema(("ssim", "vif"))))
    expected = [[[3.0, -3.0], [np.nan, np.nan], [2.0, -2.0]], [[np.nan, np.nan], [1.0, -1.0], [np.nan, np.nan]]]
    np.testing.assert_array_equal(cube["score"].to_numpy(), expected)
    assert cube["status"].to_numpy().tolist() == [[OK, "", OK], ["", OK, ""]]


def test_a_cube_of_nothing_is_empty() -> None:
    cube = make_cube(to_table([], scores_schema(("ssim",))))
    assert dict(cube.sizes) == {"pair": 0, "method": 0, "metric": 1}


def test_an_unknown_pair_is_told(store: Store, publish: Publish) -> None:
    snapshot = Snapshot(store.address, publish(store, PAIRS))
    for read in (snapshot.pictures, snapshot.winner_of, snapshot.image_hash):
        with pytest.raises(
            InputError, match=f"snapshot {snapshot.id} holds no image of pair 'city/02'; `fusion-prior pairs` lists every pair"
        ):
            read("city/02")
    assert snapshot.candidates("city/02") == {}
    assert snapshot.candidate_keys("city/02") == []


def test_a_snapshot_without_any_pair_opens(store: Store, publish: Publish) -> None:
    snapshot = Snapshot(store.address, publish(store, []))
    assert snapshot.table("pairs").num_rows == snapshot.table("scores").num_rows == snapshot.table("selections").num_rows == 0
    with pytest.raises(InputError, match="holds no image"):
        snapshot.pictures("p")


def test_a_folder_that_is_no_store_is_told_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no store")
    with pytest.raises(StoreError, match=f"there is no store at {tmp_path}; make one with: fusion-prior build --store {tmp_path}"):
        Snapshot(str(tmp_path))


def test_a_name_that_is_nothing_is_told(store: Store, publish: Publish) -> None:
    publish(store, PAIRS)
    with pytest.raises(SnapshotNotFound, match="no snapshot 'v2'"):
        Snapshot(store.address, "v2")


def test_a_commit_that_no_build_made_is_no_snapshot(store: Store) -> None:
    session = store.repository.writable_session("main")
    zarr.open_group(session.store, mode="a").attrs["note"] = "by hand"
    session.commit("by hand")
    with pytest.raises(StoreError, match="was not made by a build: it has no manifest"):
        Snapshot(store.address)


def test_a_lost_table_does_not_hide_the_pictures(store: Store, draw: Draw, publish: Publish) -> None:
    snapshot = Snapshot(store.address, publish(store, PAIRS))
    store.files.write(snapshot.manifest["tables"]["scores"]["path"], b"rubbish")
    with pytest.raises(SchemaMismatch, match="restore the file from a backup"):
        snapshot.table("scores")
    assert np.array_equal(snapshot.pictures(PAIRS[0])["a"], draw(PAIRS[0])["a"])


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["lost", "cut"])
def test_a_damaged_chunk_is_never_read_as_black(store: Store, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    draft = Draft(store, find_head(store))
    draft.put(IMAGES, "p", ImageChange(np.full((3, 64, 64), 7, np.uint8), ["a.grey", "b.grey", "winner.grey"], {"winner": "average"}))
    commit(draft, "one", {}, {})
    for chunk in (tmp_path / "store" / "repository" / "chunks").iterdir():
        damage(chunk)
    with pytest.raises(StoreError, match=r"images/p cannot be read .*restore the store from a backup") as caught:
        Snapshot(store.address).pictures("p")
    assert "\n" not in str(caught.value)


def test_a_snapshot_of_another_schema_is_refused(store: Store) -> None:
    commit(Draft(store, find_head(store)), "one", {"schema_version": 999}, {})
    with pytest.raises(SchemaMismatch, match="has schema 999, this release reads 1, 2 and 3; use the release that made it"):
        Snapshot(store.address)


def test_a_snapshot_of_the_first_schema_stays_readable(store: Store) -> None:
    row = PairRow(pair_id="p", source="s", task="medical", status=OK)
    pairs = to_table([row], schema.PAIRS).drop_columns(["group", "split", "scene_hash"])
    tables = {"pairs": pairs, "scores": to_table([], scores_schema(())), "selections": to_table([], schema.SELECTIONS)}
    references = {name: write_table(store.files, name, table).to_json() for name, table in tables.items()}
    commit(Draft(store, find_head(store)), "one", {"schema_version": 1, "tables": references}, {})
    snapshot = Snapshot(store.address)
    assert not {"group", "split", "scene_hash"} & set(snapshot.table("pairs").column_names)
    (read,) = to_pair_rows(snapshot.table("pairs"))
    assert (read.pair_id, read.status, read.group, read.split, read.scene_hash) == ("p", OK, "", "", "")


# What a stranger's store may do: nothing.


def test_reading_unpickles_nothing(address: str, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_id = publish(create_store(address), PAIRS)

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    found = Snapshot(address, snapshot_id)
    assert len(read_everything(found)["pictures"]) == len(PAIRS) and found.to_xarray()["score"].size


def test_an_array_whose_codec_would_unpickle_is_not_read(store: Store) -> None:
    session = store.repository.writable_session("main")
    poison = {"name": "numcodecs.pickle", "configuration": {}}
    root = zarr.open_group(session.store, mode="a")
    array = root.create_array("images/p1", shape=(3, 4, 4), chunks=(3, 4, 4), dtype="uint8", compressors=None, filters=None)
    document = json.loads(json.dumps(array.metadata.to_dict(), default=str))
    document["codecs"] = [poison]
    with pytest.raises(Exception, match="codec"):  # zarr's own error: it knows no such codec
        zarr.core.metadata.v3.ArrayV3Metadata.from_dict(document)


# The reader.


def test_pairs_are_read_by_their_numbers_in_the_order_of_their_ids(address: str, draw: Draw, publish: Publish) -> None:
    snapshot = Snapshot(address, publish(create_store(address), PAIRS))
    assert len(snapshot) == 3
    read = [snapshot.pair(number) for number in range(len(snapshot))]
    assert [(one.selection.pair_id, one.selection.method) for one in read] == [(pair_id, "average") for pair_id in PAIRS]
    for one in read:
        pictures = draw(one.selection.pair_id)
        assert all(np.array_equal(found, pictures[name]) for found, name in ((one.a, "a"), (one.b, "b"), (one.target, "winner")))
    assert snapshot.pair(-1).selection == read[2].selection
    for number in (3, -4):
        with pytest.raises(IndexError):
            snapshot.pair(number)


def test_a_snapshot_without_any_winner_has_no_length_but_is_one(store: Store, publish: Publish) -> None:
    snapshot = Snapshot(store, publish(store, []))
    assert len(snapshot) == 0 and bool(snapshot)
    assert dict(snapshot.to_xarray().sizes) == {"pair": 0, "method": 0, "metric": 2}
    with pytest.raises(IndexError):
        snapshot.pair(0)


def test_a_pair_without_a_winner_has_no_number(store: Store, draw: Draw, put: Callable[..., None]) -> None:
    rows = [PairRow(pair_id=one, source="s", task="medical", status=OK) for one in ("p", "q", "r")]
    selections = [schema.SelectionRow(pair_id=one, method="average", content_key="k", value=1.0) for one in ("p", "r")]
    draft = Draft(store, find_head(store))
    for row in selections:
        put(draft, row.pair_id)
    tables = {
        "pairs": to_table(rows, schema.PAIRS),
        "scores": to_table([], scores_schema(())),
        "selections": to_table(selections, schema.SELECTIONS),
    }
    references = {name: write_table(store.files, name, table).to_json() for name, table in tables.items()}
    commit(draft, "two of three", {"tables": references})
    snapshot = Snapshot(store)
    assert (len(snapshot), snapshot.table("pairs").num_rows) == (2, 3)
    assert snapshot.pair(1).selection.pair_id == "r" and np.array_equal(snapshot.pair(1).target, draw("r")["winner"])


def test_a_pair_whose_image_is_lost_is_told(store: Store, tmp_path: Path) -> None:
    selections = [schema.SelectionRow(pair_id="p", method="average", content_key="k", value=1.0)]
    references = {"selections": write_table(store.files, "selections", to_table(selections, schema.SELECTIONS)).to_json()}
    draft = Draft(store, find_head(store))
    draft.put(IMAGES, "p", ImageChange(np.full((3, 64, 64), 7, np.uint8), ["a.grey", "b.grey", "winner.grey"], {}))
    commit(draft, "one", {"tables": references})
    assert Snapshot(store).pair(0).a[0, 0] == 7
    for chunk in (tmp_path / "store" / "repository" / "chunks").iterdir():
        chunk.unlink()
    with pytest.raises(StoreError, match=r"images/p cannot be read .*restore the store from a backup"):
        Snapshot(store.address).pair(0)


def test_tables_have_the_columns_of_the_schema_and_those_asked_for(store: Store, publish: Publish) -> None:
    snapshot = Snapshot(store, publish(store, PAIRS))
    assert snapshot.table("pairs").schema.equals(schema.PAIRS) and snapshot.table("selections").schema.equals(schema.SELECTIONS)
    assert snapshot.table("scores").schema.equals(scores_schema(("ssim", "vif")))
    assert snapshot.table("pairs", ["pair_id"]).to_pydict() == {"pair_id": list(PAIRS)}
    with pytest.raises(KeyError):
        snapshot.table("models")  # type: ignore[arg-type]


def test_a_snapshot_is_opened_through_a_store_as_through_its_address(address: str, publish: Publish) -> None:
    store = create_store(address)
    publish(store, PAIRS)
    one, other = Snapshot(store), Snapshot(address)
    assert one.id == other.id and one.store is store and other.store.address == address
    assert read_everything(one) == read_everything(other)
    assert one.to_xarray().identical(other.to_xarray())
