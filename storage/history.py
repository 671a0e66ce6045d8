"""The history of a store: every snapshot that can be reached, the names it has, and how names are given and moved.

A tag names a snapshot for good. A branch names one and moves; `main` is the newest snapshot of the builds. Nothing is done that would
leave a snapshot without a name, for what has none is freed some day by `gc`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import icechunk

from storage.errors import InputError, SnapshotNotFound, StoreError
from storage.repository import DRAFT, MAIN, Store, find_snapshot, first_line, hold_publish_lock, tell_write_failures
from storage.schema import check_tag_name


@dataclass(frozen=True, slots=True)
class Version:
    """One snapshot in a store's history.

    Attributes:
        id: its name for good.
        parent: the snapshot before it; empty for the first.
        time: when it was committed, UTC.
        tags, branches: what names it, in alphabetical order.
        facts: what the build kept with the commit; snapshots of older releases have fewer.
    """

    id: str
    parent: str
    time: datetime
    tags: tuple[str, ...]
    branches: tuple[str, ...]
    facts: Mapping[str, Any]


def list_versions(store: Store) -> tuple[Version, ...]:
    """Every snapshot that a tag or a branch names or comes from, the newest first; without that of an empty store.

    Raises:
        StoreError: a part of the history cannot be read.
    """
    tags, branches = _list_names(store)
    found: dict[str, icechunk.SnapshotInfo] = {}
    for head in {*tags, *branches}:
        for info in _walk(store, head):
            if info.id in found:
                break
            found[info.id] = info
    empty = {info.id for info in found.values() if info.parent_id is None}
    versions = (
        Version(
            id=info.id,
            parent=info.parent_id if info.parent_id and info.parent_id not in empty else "",
            time=info.written_at,
            tags=tuple(sorted(tags.get(info.id, ()))),
            branches=tuple(sorted(branches.get(info.id, ()))),
            facts=info.metadata,
        )
        for info in found.values()
        if info.id not in empty
    )
    return tuple(sorted(versions, key=lambda one: (one.time, one.id), reverse=True))


def list_branches(store: Store) -> dict[str, str]:
    """The snapshot of every branch by its name, but for those of drafts."""
    repository = store.repository
    return {name: str(repository.lookup_branch(name)) for name in sorted(repository.list_branches()) if not name.startswith(DRAFT)}


def set_branch(store: Store, name: str, snapshot: str) -> str | None:
    """Make a branch, or move one that is there.

    Args:
        store: the store.
        name: of the branch; `main` too can go back to an older snapshot.
        snapshot: a tag, a branch or an id.

    Returns:
        What the branch named before; None for a new one.

    Raises:
        InputError: no name for a branch, or the snapshot that it names now would be left without a name.
        SnapshotNotFound: no such snapshot.
    """
    if name != MAIN:
        _check_branch_name(store, name)
    target = find_snapshot(store, snapshot)
    with hold_publish_lock(store):
        before = list_branches(store).get(name)
        if before is None:
            with tell_write_failures(store.address):
                store.repository.create_branch(name, target)
        elif before != target:
            _check_named(store, before, name, f"moving branch {name!r} to {target}", [target])
            _move(store, name, before, target)
    return before


def delete_branch(store: Store, name: str) -> None:
    """Take a branch away; the snapshots stay, because they must have other names.

    Raises:
        InputError: it is `main`, there is no such branch, or a snapshot would be left without a name.
    """
    with hold_publish_lock(store):
        branches = list_branches(store)
        if name == MAIN or name not in branches:
            known = ", ".join(one for one in branches if one != MAIN) or "none"
            raise InputError(f"{name!r} is not a branch that can be deleted; branches beside {MAIN}: {known}")
        _check_named(store, branches[name], name, f"deleting branch {name!r}", [])
        store.repository.delete_branch(name)


def _list_names(store: Store) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The names of snapshots by id: of tags, and of branches."""
    tags: dict[str, list[str]] = defaultdict(list)
    branches: dict[str, list[str]] = defaultdict(list)
    for name in store.repository.list_tags():
        tags[str(store.repository.lookup_tag(name))].append(name)
    for name, head in list_branches(store).items():
        branches[head].append(name)
    return tags, branches


def _walk(store: Store, head: str) -> list[icechunk.SnapshotInfo]:
    try:
        return list(store.repository.ancestry(snapshot_id=head))
    except icechunk.IcechunkError as error:
        raise StoreError(
            f"the history of {head} in {store.address} cannot be read ({first_line(error)}); `fusion-prior verify` says what is damaged"
        ) from error


def _check_branch_name(store: Store, name: str) -> None:
    check_tag_name(name, "branch")
    if name.startswith(DRAFT):
        raise InputError(f"branch {name!r} would be taken for one of a build, which begin with {DRAFT!r}; choose another name")
    if name in store.repository.list_tags():
        raise InputError(f"{name!r} is a tag already, and a name means one thing; choose another name")


def _check_named(store: Store, snapshot: str, branch: str, what: str, kept: list[str]) -> None:
    """Refuse what would leave a snapshot, which a branch names now, without any name."""
    tags, branches = _list_names(store)
    others = [head for head, names in branches.items() if set(names) - {branch}]
    for head in (*tags, *others, *kept):
        if any(info.id == snapshot for info in _walk(store, head)):
            return
    raise InputError(f"{what} would leave snapshot {snapshot} without a name; first name it: fusion-prior tag NAME {snapshot}")


def _move(store: Store, name: str, before: str, target: str) -> None:
    try:
        store.repository.reset_branch(name, target, from_snapshot_id=before)
    except icechunk.IcechunkError as error:
        raise SnapshotNotFound(
            f"branch {name!r} of {store.address} does not move to {target} ({first_line(error)}); "
            "somebody else may have moved it: look with `fusion-prior branch`"
        ) from error
