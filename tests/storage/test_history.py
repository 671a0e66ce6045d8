"""Tests of storage.history: every snapshot is listed with its names, and no name is moved that would lose one."""

from collections.abc import Callable

import pytest

from storage.errors import InputError, SnapshotNotFound
from storage.history import delete_branch, list_branches, list_versions, set_branch
from storage.repository import DRAFT, MAIN, Draft, Store, create_store, find_head, find_snapshot, tag_snapshot

Publish = Callable[..., str]


def test_an_empty_store_has_no_version(address: str) -> None:
    assert list_versions(create_store(address)) == ()


def test_versions_come_newest_first_with_their_names(address: str, publish: Publish) -> None:
    store = create_store(address)
    first, second = publish(store, ["p"]), publish(store, ["p"], seed=1)
    tag_snapshot(store, "v1", first)
    tag_snapshot(store, "release", first)
    set_branch(store, "trial", "v1")
    newest, oldest = list_versions(store)
    assert (newest.id, newest.parent, newest.tags, newest.branches) == (second, first, (), (MAIN,))
    assert (oldest.id, oldest.parent, oldest.tags, oldest.branches) == (first, "", ("release", "v1"), ("trial",))
    assert newest.facts == {"pairs": 1} and newest.time >= oldest.time


def test_a_snapshot_that_only_a_tag_holds_is_listed(store: Store, publish: Publish) -> None:
    first, second = publish(store, ["p"]), publish(store, ["p"], seed=1)
    tag_snapshot(store, "v2", second)
    assert set_branch(store, MAIN, first) == second
    assert find_head(store) == first
    assert {one.id: one.branches for one in list_versions(store)} == {second: (), first: (MAIN,)}
    third = publish(store, ["p"], seed=2)
    assert {one.id: one.parent for one in list_versions(store)} == {first: "", second: first, third: first}


def test_a_branch_is_made_moved_and_deleted(store: Store, publish: Publish) -> None:
    first, second = publish(store, ["p"]), publish(store, ["p"], seed=1)
    assert set_branch(store, "trial", first) is None
    assert set_branch(store, "trial", MAIN) == first
    assert set_branch(store, "trial", MAIN) == second
    assert list_branches(store) == {MAIN: second, "trial": second}
    delete_branch(store, "trial")
    assert list_branches(store) == {MAIN: second}


def test_nothing_is_left_without_a_name(store: Store, publish: Publish) -> None:
    first, second = publish(store, ["p"]), publish(store, ["p"], seed=1)
    with pytest.raises(InputError, match=f"moving branch 'main' to {first} would leave snapshot {second} without a name; first name it"):
        set_branch(store, MAIN, first)
    set_branch(store, "trial", second)
    set_branch(store, MAIN, first)
    with pytest.raises(InputError, match=f"deleting branch 'trial' would leave snapshot {second}"):
        delete_branch(store, "trial")
    tag_snapshot(store, "v2", second)
    delete_branch(store, "trial")
    assert find_snapshot(store, "v2") == second


@pytest.mark.parametrize("name", ["", "a b", "../x", f"{DRAFT}1", "v1"])
def test_what_is_no_name_is_no_branch(store: Store, publish: Publish, name: str) -> None:
    tag_snapshot(store, "v1", publish(store, ["p"]))
    with pytest.raises(InputError):
        set_branch(store, name, "v1")
    assert list(list_branches(store)) == [MAIN]


def test_a_name_that_no_branch_can_have_is_told_as_one_of_a_branch(store: Store, publish: Publish) -> None:
    with pytest.raises(InputError, match=r"^branch 'a b' is not a valid name"):
        set_branch(store, "a b", publish(store, ["p"]))


def test_a_name_means_one_thing(store: Store, publish: Publish) -> None:
    snapshot = publish(store, ["p"])
    set_branch(store, "trial", snapshot)
    with pytest.raises(InputError, match="'trial' is a branch already"):
        tag_snapshot(store, "trial", snapshot)


@pytest.mark.parametrize("name", [MAIN, "nothing"])
def test_only_a_branch_beside_main_is_deleted(store: Store, publish: Publish, name: str) -> None:
    publish(store, ["p"])
    with pytest.raises(InputError, match="is not a branch that can be deleted; branches beside main: none"):
        delete_branch(store, name)


def test_a_branch_names_a_snapshot(store: Store, publish: Publish) -> None:
    publish(store, ["p"])
    with pytest.raises(SnapshotNotFound):
        set_branch(store, "trial", "nothing")


def test_branches_of_drafts_are_nobodys_business(store: Store, publish: Publish) -> None:
    snapshot = publish(store, ["p"])
    draft = Draft(store, snapshot)
    assert list(list_branches(store)) == [MAIN]
    with draft:
        pass
