"""Tests of storage.repository: one commit is one snapshot, nothing is lost, and names hold for good."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage import repository
from storage.errors import CommitConflict, InputError, SnapshotNotFound, StoreError
from storage.planes import stack
from storage.repository import (
    CANDIDATES,
    IMAGES,
    MAIN,
    Draft,
    ImageChange,
    Store,
    array_path,
    check_tag,
    create_store,
    find_head,
    find_snapshot,
    open_store,
    tag_snapshot,
)
from storage.snapshot import Snapshot

Draw = Callable[..., dict[str, NDArray[np.uint8]]]
Put = Callable[..., None]
Publish = Callable[..., str]

AWKWARD = (
    *(
        "street_01",
        "Street_01",
        "a/b",
        "a%2Fb",
        "a b",
        "a+b",
        "é",
        "e\u0301",
        "日本",
        "%",
        "%2E",
        "%252E",
        ".",
        "..",
        "...",
        "a.b",
        ".hidden",
    ),
    *(
        "zarr.json",
        ".zarray",
        ".zgroup",
        "__x",
        "c",
        "c/0/0/0",
        "0",
        "images",
        "candidates",
        "~",
        "a\\b",
        "a\nb",
        "\0",
        "x" * 200,
        "é" * 200,
    ),
)


def read(address: str, name: str = MAIN) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Every pair's pictures in a snapshot, found by what stands in it."""
    snapshot = Snapshot(address, name)
    group = snapshot.root[IMAGES]
    assert isinstance(group, zarr.Group)
    return {str(array.attrs["pair_id"]): snapshot.pictures(str(array.attrs["pair_id"])) for array in group.array_values()}


def same(one: dict[str, NDArray[np.uint8]], other: dict[str, NDArray[np.uint8]]) -> bool:
    """Whether two pairs have equal pictures."""
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def commit(draft: Draft, message: str, manifest: dict[str, Any], metadata: dict[str, Any] | None = None) -> str:
    """Commit a draft and publish it at once; the snapshot's id."""
    with draft:
        snapshot_id = draft.commit(message, manifest, metadata or {})
        draft.publish()
    return snapshot_id


# Opening


def test_a_store_is_made_once_and_opened_ever_after(address: str) -> None:
    made = create_store(address)
    assert made.address == open_store(address).address == address
    assert find_head(create_store(address)) == find_head(open_store(address)) == find_head(made)


def test_opening_what_is_no_store_tells_how_to_make_one(address: str) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*; make one with: fusion-prior build --store"):
        open_store(address)


def test_opening_what_is_no_store_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        open_store(str(tmp_path / "mistyped" / "store"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_cannot_be_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match=r"no store can be made at .*File exists.*check the address"):
        create_store(str(tmp_path / "store"))


@pytest.mark.parametrize("reach", [open_store, create_store])
def test_a_bucket_that_is_not_there_is_told_in_one_line(s3_address: str, reach: Callable[[str], Store]) -> None:
    with pytest.raises(StoreError, match=r"s3://nobucket/.*check the address and your rights to it") as caught:
        reach(s3_address.replace("s3://prior/", "s3://nobucket/"))
    assert "\n" not in str(caught.value)


def test_a_new_store_has_no_snapshot(address: str) -> None:
    store = create_store(address)
    with pytest.raises(SnapshotNotFound, match=r"nothing has been built in .* yet; make a snapshot with: fusion-prior build"):
        find_snapshot(store, MAIN)


# Drafts


def test_pairs_are_put_replaced_and_deleted(address: str, draw: Draw, put: Put) -> None:
    store = create_store(address)
    draft = Draft(store, find_head(store))
    for pair_id in ("kept", "replaced", "deleted"):
        put(draft, pair_id)
    first = commit(draft, "one", {"number": 1}, {"pairs": 3})
    draft = Draft(store, first)
    put(draft, "replaced", seed=1)
    put(draft, "new")
    draft.delete(IMAGES, "deleted")
    draft.delete(CANDIDATES, "never there")
    second = commit(draft, "two", {"number": 2}, {})
    found = read(address)
    assert sorted(found) == ["kept", "new", "replaced"]
    assert same(found["kept"], draw("kept"))
    assert same(found["replaced"], draw("replaced", 1))
    assert Snapshot(address).manifest == {"number": 2}
    assert find_head(store) == second
    history = list(store.repository.ancestry(branch=MAIN))
    assert [(one.id, one.message) for one in history[:2]] == [(second, "two"), (first, "one")]
    assert history[1].metadata == {"pairs": 3}


def test_a_smaller_picture_replaces_a_larger_one(store: Store) -> None:
    for size in (40, 20):
        draft = Draft(store, find_head(store))
        planes, names = stack({"a": np.full((size, size), size, np.uint8)})
        draft.put(IMAGES, "p", ImageChange(planes, names, {"size": size}))
        commit(draft, "m", {"size": size}, {})
    assert Snapshot(store.address).pictures("p")["a"].tolist() == [[20] * 20] * 20


def test_nothing_is_visible_before_it_is_published(address: str, put: Put) -> None:
    store = create_store(address)
    draft = Draft(store, find_head(store))
    put(draft, "first")
    with pytest.raises(SnapshotNotFound):
        Snapshot(address)
    held = draft.commit("one", {}, {})
    with pytest.raises(SnapshotNotFound):
        Snapshot(address)
    assert Snapshot(address, held).pictures("first")
    draft.publish("v1")
    assert Snapshot(address).id == Snapshot(address, "v1").id == held
    draft = Draft(store, find_head(store))
    put(draft, "second")
    put(draft, "first", seed=1)
    assert list(read(address)) == ["first"]
    assert not same(read(address)["first"], {})


def test_a_draft_that_is_dropped_leaves_no_trace(store: Store, draw: Draw, put: Put) -> None:
    put(Draft(store, find_head(store)), "dropped")
    draft = Draft(store, find_head(store))
    put(draft, "kept")
    commit(draft, "one", {}, {})
    assert same(read(store.address)["kept"], draw("kept"))
    assert list(read(store.address)) == ["kept"]


def test_a_draft_of_an_older_snapshot_is_refused(store: Store, publish: Publish) -> None:
    first = publish(store, ["p"])
    publish(store, ["p"], seed=1)
    with pytest.raises(CommitConflict, match="run the same command again"):
        Draft(store, first)


def test_the_second_of_two_commits_is_refused(address: str, draw: Draw, put: Put) -> None:
    store, other = create_store(address), create_store(address)
    mine, theirs = Draft(store, find_head(store)), Draft(other, find_head(other))
    put(mine, "mine")
    put(theirs, "theirs")
    snapshot = commit(theirs, "theirs", {"by": "them"}, {})
    with pytest.raises(CommitConflict, match=r"somebody else committed to .*run the same command again: finished work is kept"):
        commit(mine, "mine", {"by": "me"}, {})
    assert find_head(store) == snapshot
    assert list(read(address)) == ["theirs"]
    mine = Draft(store, find_head(store))
    put(mine, "mine")
    commit(mine, "mine", {"by": "me"}, {})
    assert sorted(read(address)) == ["mine", "theirs"]


def test_icechunk_refuses_it_too_when_the_head_moves_at_the_last_moment(address: str, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    store = create_store(address)
    parent = find_head(store)
    mine, theirs = Draft(store, parent), Draft(store, parent)
    put(mine, "mine")
    put(theirs, "theirs")
    commit(theirs, "theirs", {}, {})
    seen = iter([parent])
    monkeypatch.setattr(repository, "find_head", lambda store: next(seen, "another"))
    with pytest.raises(CommitConflict):
        commit(mine, "mine", {}, {})
    assert list(read(address)) == ["theirs"]


def test_a_commit_without_a_change_is_refused_in_one_line(store: Store) -> None:
    commit(Draft(store, find_head(store)), "one", {"same": 1}, {})
    with pytest.raises(StoreError, match="no changes") as caught:
        commit(Draft(store, find_head(store)), "two", {"same": 1}, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("group", [IMAGES, CANDIDATES])
def test_an_image_that_is_all_zero_is_there_in_full(store: Store, tmp_path: Path, group: str) -> None:
    draft = Draft(store, find_head(store))
    draft.put(group, "black", ImageChange(np.zeros((3, 64, 64), np.uint8), ["a.grey", "b.grey", "winner.grey"], {}))
    commit(draft, "one", {}, {})
    array = Snapshot(store.address).root[array_path(group, "black")]
    assert isinstance(array, zarr.Array)
    assert array.nchunks_initialized == array.nchunks == (1 if group == IMAGES else 3)
    assert sum(one.stat().st_size for one in (tmp_path / "store" / "repository" / "chunks").iterdir()) == 3 * 64 * 64


def test_a_draft_leaves_no_branch(store: Store, put: Put) -> None:
    with pytest.raises(ZeroDivisionError), Draft(store, find_head(store)) as draft:
        put(draft, "p")
        draft.commit("one", {}, {})
        assert list(store.repository.list_branches()) != [MAIN]
        1 / 0  # noqa: B018
    assert list(store.repository.list_branches()) == [MAIN]


def test_snapshot_and_tag_appear_together_or_not_at_all(address: str, publish: Publish, put: Put) -> None:
    store = create_store(address)
    tag_snapshot(store, "v1", publish(store, ["p"]))
    newest = find_head(store)
    with Draft(store, newest) as draft:
        put(draft, "q")
        draft.commit("two", {}, {})
        with pytest.raises(InputError, match="tags never move"):
            draft.publish("v1")
        assert find_head(store) == newest
        draft.publish("v2")
    assert find_head(store) == find_snapshot(store, "v2") != newest


# Names of pairs


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=2, max_size=20, unique=True))
@example(list(AWKWARD))
def test_no_two_ids_share_a_path(pair_ids: list[str]) -> None:
    paths = [array_path(IMAGES, pair_id) for pair_id in pair_ids]
    assert len(set(paths)) == len(paths)
    for path in paths:
        group, _, name = path.partition("/")
        assert group == IMAGES
        assert name.isascii()
        assert name
        assert not {*name} & {*"/\\. "}


def test_every_id_comes_back_as_it_was(address: str, draw: Draw, put: Put) -> None:
    store = create_store(address)
    draft = Draft(store, find_head(store))
    for pair_id in AWKWARD:
        put(draft, pair_id)
    commit(draft, "one", {}, {})
    found = read(address)
    assert sorted(found) == sorted(AWKWARD)
    assert all(same(found[pair_id], draw(pair_id)) for pair_id in AWKWARD)


# Names of snapshots


@pytest.mark.parametrize("name", ["v1", "2026-11-22", "a.b_c-D", "7", "x" * 100])
def test_a_tag_names_a_snapshot_for_good(address: str, publish: Publish, name: str) -> None:
    store = create_store(address)
    first = publish(store, ["p"])
    tag_snapshot(store, name, first)
    tag_snapshot(store, name, first)
    second = publish(store, ["p"], seed=1)
    with pytest.raises(InputError, match=f"tag '{name}' already names snapshot {first} in .*, and tags never move; choose another name"):
        tag_snapshot(store, name, second)
    assert find_snapshot(store, name) == first
    assert find_snapshot(store, MAIN) == second


@pytest.mark.parametrize("name", ["", " ", ".v1", "-v1", "v 1", "v/1", "é", "v1\n", "x" * 101])
def test_what_is_no_name_is_no_tag(store: Store, publish: Publish, name: str) -> None:
    snapshot = publish(store, ["p"])
    with pytest.raises(InputError, match="is not a valid name; use letters, digits"):
        tag_snapshot(store, name, snapshot)
    assert list(store.repository.list_tags()) == []


def test_no_tag_hides_the_branch(store: Store, publish: Publish) -> None:
    snapshot = publish(store, ["p"])
    with pytest.raises(InputError, match="tag 'main' would hide the branch"):
        tag_snapshot(store, MAIN, snapshot)


def test_a_tag_is_refused_before_there_is_a_snapshot_for_it(store: Store, publish: Publish) -> None:
    check_tag(store, "v1", None)
    tag_snapshot(store, "v1", publish(store, ["p"]))
    with pytest.raises(InputError, match="tags never move"):
        check_tag(store, "v1", None)


def test_a_deleted_tag_is_never_given_again(store: Store, publish: Publish) -> None:
    snapshot = publish(store, ["p"])
    tag_snapshot(store, "v1", snapshot)
    store.repository.delete_tag("v1")
    with pytest.raises(InputError, match=r"tag 'v1' cannot be used in .*already exists.*; choose another name") as caught:
        tag_snapshot(store, "v1", snapshot)
    assert "\n" not in str(caught.value)


def test_only_a_snapshot_is_tagged(store: Store) -> None:
    with pytest.raises(InputError, match="tag 'v1' cannot be used"):
        tag_snapshot(store, "v1", "rubbish")


def test_a_snapshot_is_found_by_tag_branch_and_id(address: str, publish: Publish) -> None:
    store = create_store(address)
    first, second = publish(store, ["p"]), publish(store, ["p"], seed=1)
    tag_snapshot(store, "v1", first)
    store.repository.create_branch("trial", first)
    assert [find_snapshot(store, name) for name in ("v1", "trial", first, first.lower(), MAIN, second)] == [first] * 4 + [second] * 2


@pytest.mark.parametrize("name", ["", "rubbish", "V1", "v1 ", "../v1", "é", "0" * 20, "x" * 300])
def test_what_names_no_snapshot_is_told_with_the_tags(store: Store, publish: Publish, name: str) -> None:
    tag_snapshot(store, "v1", publish(store, ["p"]))
    with pytest.raises(SnapshotNotFound, match=r"no snapshot .* in .*; give an id, 'main', or a tag \(tags: v1\)"):
        find_snapshot(store, name)


# Quiet


def test_icechunk_is_silent_but_for_errors(capfd: pytest.CaptureFixture[str], store: Store) -> None:
    with contextlib.suppress(icechunk.IcechunkError):
        store.repository.lookup_tag("nothing")
    assert capfd.readouterr().out == ""
