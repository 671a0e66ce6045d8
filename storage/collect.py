"""Garbage collection: frees what no branch, no tag and no champion leads to, and never what one does.

What goes is found by a rehearsal on a copy (`storage.rehearsal`); then the same is done to the store, file by file, in an order that makes
every step safe to die in: new seals first, which allow for the files of before and after; then the changed files; what goes, last.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from storage.errors import InputError, SchemaMismatch, StoreError
from storage.files import Files, Location, hash_bytes
from storage.findings import Finding
from storage.inventory import is_half_written, list_folders, take_inventory
from storage.locks import IfHeld, hold_lock
from storage.references import BRANCH, REFERENCES, check_references
from storage.rehearsal import OBJECTS, rehearse
from storage.repository import DRAFT, MAIN, Store, hold_publish_lock
from storage.seals import FOLDER as SEALS
from storage.seals import SNAPSHOTS, SealedFile, do_all, find_snapshot_of, read_contents, save_seal
from storage.snapshot import Snapshot
from storage.tables import FOLDER as TABLES
from storage.verify import Look, Report, check_files, check_seals

STALE = timedelta(days=1)
"""A file whose writing has not ended for so long is a dead process's."""

_AGE = re.compile(r"([1-9][0-9]*)(d?)")


@dataclass(frozen=True, slots=True)
class Keep:
    """What to keep of the history of branches: all of it unless one of these is given.

    Attributes:
        newest: so many snapshots of `main`, and those of other branches that are no older.
        age: the snapshots that are no older.
    """

    newest: int = 0
    age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a collection does.

    Attributes:
        snapshots: the ids of those that go.
        branches: of builds that did not end.
        files: the paths of the files that go, with their sizes in bytes.
        changed: by path, the new bytes of snapshots whose parents go.
        seals: by snapshot that stays, the files of its new seal.
        replaced: by snapshot that stays, the seals that the new one replaces.
    """

    snapshots: tuple[str, ...]
    branches: tuple[str, ...]
    files: Mapping[str, int]
    changed: Mapping[str, bytes]
    seals: Mapping[str, Sequence[SealedFile]]
    replaced: Mapping[str, Sequence[str]]

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(self.files.values())


def parse_keep(text: str) -> Keep:
    """What to keep, from `all`, a number of snapshots such as `10`, or an age such as `30d`.

    Raises:
        InputError: it is none of these.
    """
    if text == "all":
        return Keep()
    found = _AGE.fullmatch(text)
    if found is None or len(found[1]) > 6:
        raise InputError(f"keep = {text!r} is not understood; write all, a number of snapshots such as 10, or an age such as 30d")
    return Keep(age=timedelta(days=int(found[1]))) if found[2] else Keep(newest=int(found[1]))


def collect_garbage(
    address: str,
    keep: Keep,
    *,
    who: str = "a garbage collection",
    if_held: IfHeld = "wait",
    report: Report = lambda what, done, total: None,
) -> Garbage:
    """Free what nothing leads to, and of the history what is not to be kept.

    Args:
        address: the store's.
        keep: what to keep of the history of branches; what a tag, a branch or the champion names is kept in any case.
        who: named to those who want to build into the store meanwhile.
        if_held: what to do while a build of the store runs.
        report: told of progress.

    Raises:
        StoreError: the store is damaged: nothing is freed before it is repaired.
        StoreBusy: a build of the store runs, and it was not to be waited for.
    """
    files = Look(address).store.files
    with hold_lock(files, "build", who, if_held=if_held):
        look = Look(address)
        with hold_publish_lock(look.store):
            garbage = _plan(look, keep)
            _carry_out(look.store, garbage, report)
    return garbage


def find_garbage(address: str, keep: Keep) -> Garbage:
    """What `collect_garbage` would do, without doing it; raises the same, but waits for nobody."""
    return _plan(Look(address), keep)


# What is to be done


def _plan(look: Look, keep: Keep) -> Garbage:
    _refuse_damage(look)
    lying = take_inventory(look.store.files, "")
    rehearsal = rehearse(look, lying, _find_effective_threshold(look, keep))
    gone = {one.rpartition("/")[2] for one in rehearsal.gone if one.startswith(SNAPSHOTS)}
    expired = [one for one in look.history.parents if one in gone]
    kept = [one for one in look.history.parents if one not in gone]
    named = {path for one in kept for path in _list_tables(look.store, one)}
    tables = [path for path in lying if _is_table(path) and path not in named]
    sealed = _move_seals(look, rehearsal.changed, {*rehearsal.gone, *tables}, kept)
    replaced = {name: [one.path for one in look.seals.of(name)] for name in sealed}
    seals = _find_idle_seals(look, lying, kept, replaced)
    stale = [path for path, one in lying.items() if is_half_written(path) and datetime.now(UTC) - one.modified > STALE]
    branches = sorted(one for one in look.store.repository.list_branches() if one.startswith(DRAFT))
    paths = dict.fromkeys((*rehearsal.gone, *tables, *seals, *stale))
    sizes = {path: lying[path].size for path in paths}
    return Garbage(tuple(expired), tuple(branches), sizes, rehearsal.changed, sealed, replaced)


def _refuse_damage(look: Look) -> None:
    """Stop before a damaged store: what is lost in it might still be told by what would go."""
    snapshots = [one for one in look.history.snapshots if one not in look.history.broken]
    rows = {path: found for path, found in look.list_sealed(snapshots).items() if not found[0].array}
    found: list[Finding] = check_references(look.references, look.history, look.sealed)
    found += check_seals(look.seals, dict.fromkeys(snapshots, False)) + check_files(look.store.files, rows)[0]
    if found:
        raise StoreError(
            f"nothing is freed in {look.store.address} while it is damaged ({found[0].sentence}); first: fusion-prior repair --store "
            f"{look.store.address}"
        )


def _find_effective_threshold(look: Look, keep: Keep) -> datetime | None:
    """The threshold, where a snapshot goes by it; without one Icechunk would cut what is named from its parents for nothing."""
    threshold = _find_threshold(look, keep)
    named = look.history.lines.keys()  # by a branch, a tag or the registry of models
    unnamed = [one for one, parent in look.history.parents.items() if parent is not None and one not in named]
    return threshold if threshold is not None and any(look.history.times[one] < threshold for one in unnamed) else None


def _find_threshold(look: Look, keep: Keep) -> datetime | None:
    """Snapshots that are older are not to be kept; None where all are."""
    if not keep.newest and keep.age is None:
        return None
    for above in look.history.lines.values():
        if any(look.history.times[one] < look.history.times[older] for one, older in itertools.pairwise(above)):
            raise StoreError(
                f"snapshots of {look.store.address} claim to be older than what they come from: the clocks of two machines differed; "
                "nothing was freed, use --keep all"
            )
    if keep.age is not None:
        return datetime.now(UTC) - keep.age
    main = next(one.snapshot_id for one in look.references if one.name == MAIN)
    builds = [one for one in look.history.lines[main] if look.history.parents[one] is not None]
    return look.history.times[builds[: keep.newest][-1]] if builds else None


def _move_seals(look: Look, changed: Mapping[str, bytes], gone: set[str], kept: Sequence[str]) -> dict[str, list[SealedFile]]:
    """New seals of snapshots that stay: without files that go, with the changed ones, and with what they use and older ones had sealed."""
    staying = set(kept)
    covered = {one.path for name in kept for seal in look.seals.of(name) for one in seal.files}
    moved: dict[str, list[SealedFile]] = {}
    for name in kept:
        path = f"{SNAPSHOTS}/{name}"
        own = look.seals.of(name)
        rows = [one for seal in own for one in seal.files if one.path not in gone]
        new: list[SealedFile] = []
        if path in changed:
            content = changed[path]
            new += [SealedFile(path, hash_bytes(content), len(content), content=content)] if own else []
            new += _inherit(look, name, staying, gone | covered)
            covered |= {one.path for one in new}
        if new or len(own) > 1 or len(rows) < sum(len(seal.files) for seal in own):
            contents = {digest: content for seal in own for digest, content in read_contents(look.store.files, seal).items()}
            unique = {(one.path, one.sha256): replace(one, content=one.content or contents.get(one.sha256)) for one in (*new, *rows)}
            moved[name] = list(unique.values())
    return moved


def _inherit(look: Look, name: str, staying: Collection[str], without: Collection[str]) -> list[SealedFile]:
    """What the snapshots that go between one and the next older that stays had sealed, and that stays."""
    rows: dict[str, SealedFile] = {}
    parent = look.history.parents[name]
    while parent is not None and parent not in staying:
        for seal in look.seals.of(parent):
            contents = read_contents(look.store.files, seal)
            rows |= {one.path: replace(one, content=contents.get(one.sha256)) for one in seal.files if one.path not in without}
        parent = look.history.parents[parent]
    return list(rows.values())


def _list_tables(store: Store, snapshot_id: str) -> list[str]:
    """The tables of a snapshot; a commit that no build made has none."""
    if store.repository.lookup_snapshot(snapshot_id).parent_id is None:
        return []
    try:
        tables = Snapshot(store, snapshot_id).manifest.get("tables", {})
    except SchemaMismatch:
        raise
    except StoreError:
        return []
    return [str(one["path"]) for one in tables.values()]


def _is_table(path: str) -> bool:
    return path.rpartition("/")[0] == TABLES and not is_half_written(path)


def _find_idle_seals(look: Look, lying: Iterable[str], kept: Sequence[str], replaced: Mapping[str, Sequence[str]]) -> list[str]:
    """Seals of snapshots that are not there any more, and those that others replace."""
    void = {*look.seals.void, *(path for paths in replaced.values() for path in paths)}
    seals = [path for path in lying if path.rpartition("/")[0] == SEALS and not is_half_written(path)]
    return [path for path in seals if path in void or find_snapshot_of(path) not in kept]


# Doing it


def _carry_out(store: Store, garbage: Garbage, report: Report) -> None:
    for name in garbage.branches:
        store.repository.delete_branch(name)
    for name, rows in garbage.seals.items():
        save_seal(store.files, name, rows, garbage.replaced[name])
    for path, content in garbage.changed.items():
        store.files.write(path, content)
    paths = sorted(garbage.files, key=_rank)
    for start in range(0, len(paths), 256):
        do_all(store.files.delete, paths[start : start + 256])
        report("freeing files", min(start + 256, len(paths)), len(paths))
    _remove_empty_branches(store.files)


def _rank(path: str) -> int:
    """Snapshots go before what they consist of."""
    folder = path.rpartition("/")[0]
    return OBJECTS.index(folder) if folder in OBJECTS else len(OBJECTS)


def _remove_empty_branches(files: Files) -> None:
    """Take away the folders that deleted branches leave behind, one for every build that ever was."""
    location: Location = files.location
    if location.folder is None:
        return
    for name in list_folders(files, REFERENCES):
        if name.startswith(f"{BRANCH}."):
            with suppress(OSError):  # one that is not empty is a branch
                (location.folder / REFERENCES / name).rmdir()
