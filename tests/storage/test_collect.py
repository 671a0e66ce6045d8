"""Garbage collection frees what nothing leads to, never what something does, and can die at any moment."""

import importlib.util
import os
import random
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import models
from storage.collect import Garbage, Keep, collect_garbage, find_garbage, parse_keep
from storage.errors import InputError, StoreBusy, StoreError
from storage.files import Files
from storage.history import list_branches, list_versions, set_branch
from storage.locks import hold_lock
from storage.repository import DRAFT, IMAGES, Draft, ImageChange, Store, create_store, find_head, open_store
from storage.schema import FIRST, PROMOTED, ModelRow
from storage.seals import read_seals
from storage.snapshot import Snapshot
from storage.verify import verify_store

_spec = importlib.util.spec_from_file_location("sealed_stores", Path(__file__).with_name("sealed_stores.py"))
assert _spec and _spec.loader
stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stores)

OBJECTS = ("repository/chunks/", "repository/manifests/", "repository/snapshots/", "repository/transactions/", "tables/")


def read_all(store: Store) -> dict[str, object]:
    """What every snapshot that can be reached holds, by id."""
    found: dict[str, object] = {}
    for one in list_versions(store):
        snapshot = Snapshot(store, one.id)
        pair_ids = snapshot.table("pairs")["pair_id"].to_pylist()
        images = [(pair_id, snapshot.image_hash(pair_id), sorted(snapshot.candidates(pair_id))) for pair_id in pair_ids]
        found[one.id] = (dict(snapshot.manifest), images, snapshot.table("scores").num_rows)
    return found


def leave_dead_build(store: Store, value: int, *, committed: bool) -> None:
    """What a build leaves that is killed, before or after its commit."""
    dead = Draft(store, find_head(store))
    dead.put(IMAGES, "dead", ImageChange(np.full((3, 24, 24), value, np.uint8), ["a.grey", "b.grey", "winner.grey"], {}))
    if committed:
        dead.commit("nobody publishes it", {"serial": value}, {})


def check_collected(address: str, keep: str) -> Garbage:
    """Collect, and check that what stays is whole and the same, that nothing else stays, and that it was told beforehand."""
    before = open_store(address)
    held, files = read_all(before), stores.list_all(before)
    names = (list_branches(before), {name: before.repository.lookup_tag(name) for name in before.repository.list_tags()})
    told = find_garbage(address, parse_keep(keep))
    assert stores.list_all(before) == files  # a look changes nothing
    garbage = collect_garbage(address, parse_keep(keep))
    assert (set(garbage.files), set(garbage.snapshots), garbage.size) == (set(told.files), set(told.snapshots), told.size)
    store = open_store(address)
    left = read_all(store)
    assert left == {name: one for name, one in held.items() if name not in garbage.snapshots}
    assert names == (list_branches(store), {name: store.repository.lookup_tag(name) for name in store.repository.list_tags()})
    assert {*names[0].values(), *names[1].values()} - {find_root(store)} <= set(left)
    assert not verify_store(address).findings
    objects = {path for path in stores.list_all(store) if path.startswith(OBJECTS)}
    assert objects == {one.path for seal in read_seals(store.files).valid for one in seal.files}
    gone = {path for path in set(files) - set(stores.list_all(store)) if "/refs/" not in path}
    assert gone == set(garbage.files)
    again = find_garbage(address, parse_keep(keep))
    assert not (again.files or again.snapshots or again.seals or again.changed or again.branches)
    return garbage


def find_root(store: Store) -> str:
    return next(one.id for one in store.repository.ancestry(branch="main") if one.parent_id is None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("all", Keep()), ("1", Keep(newest=1)), ("10", Keep(newest=10)), ("30d", Keep(age=timedelta(days=30)))],
)
def test_keep_is_understood(text: str, expected: Keep) -> None:
    assert parse_keep(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0d", "-1", "ten", "30 d", "30h", "1.5", "9999999"])
def test_another_keep_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write all, a number of snapshots such as 10, or an age such as 30d"):
        parse_keep(text)


def test_without_a_limit_only_what_nothing_leads_to_goes(store: Store) -> None:
    stores.grow(store, {"p": 0, "q": 0}, candidates=True)
    stores.grow(store, {"p": 1})
    leave_dead_build(store, 1, committed=False)
    leave_dead_build(store, 2, committed=True)
    store.files.write("tables/pairs-0123456789abcdef.parquet", b"of a dead build")
    garbage = check_collected(store.address, "all")
    assert not garbage.snapshots and len(garbage.branches) == 2
    assert {path.rpartition("/")[0] for path in garbage.files} == {path.rstrip("/") for path in OBJECTS}
    assert not [path for path in stores.place(store, "repository/refs").iterdir() if DRAFT in path.name]


def test_a_store_without_garbage_is_left_as_it_is(store: Store) -> None:
    stores.grow(store, {"p": 0}, tag="v1")
    before = stores.list_all(store)
    check_collected(store.address, "all")
    assert {path: one for path, one in stores.list_all(store).items() if path != "build.lock"} == before


def test_the_newest_snapshots_and_all_that_is_named_stay(store: Store) -> None:
    ids = [stores.grow(store, {"p": seed, "q": 0}, tag="v1" if seed == 1 else "") for seed in range(6)]
    set_branch(store, "old", ids[2])
    garbage = check_collected(store.address, "2")
    assert set(garbage.snapshots) == {ids[0], ids[3]}
    assert [one.id for one in open_store(store.address).repository.ancestry(branch="main")][:-1] == [ids[5], ids[4]]


def test_where_no_snapshot_goes_all_keep_their_parents(store: Store) -> None:
    ids = [stores.grow(store, {"p": seed}, tag=f"v{seed}" if seed < 2 else "") for seed in range(3)]
    store.files.write(models.REGISTRY, models._pack([ModelRow(decision=FIRST, champion="A", challenger="A", challenger_snapshot=ids[2])]))
    ids.append(stores.grow(store, {"p": 3}))
    store.files.write("tables/pairs-0123456789abcdef.parquet", b"of a dead build")
    before = [one.id for one in open_store(store.address).repository.ancestry(branch="main")]
    garbage = collect_garbage(store.address, Keep(newest=1))
    assert set(garbage.files) == {"tables/pairs-0123456789abcdef.parquet"} and not garbage.changed and not garbage.snapshots
    assert [one.id for one in open_store(store.address).repository.ancestry(branch="main")] == before and set(before) > set(ids)


def test_an_image_that_an_expired_snapshot_wrote_stays_sealed_where_it_is_used(store: Store) -> None:
    stores.grow(store, {"p": 0, "q": 0}, candidates=True)
    newest = stores.grow(store, {"p": 0, "q": 1}, candidates=True)
    (image,) = [one for seal in read_seals(store.files).valid for one in seal.files if one.array == "images/p"]
    check_collected(store.address, "1")
    (seal,) = read_seals(store.files).valid
    assert seal.snapshot_id == newest and image in seal.files
    stores.place(store, image.path).write_bytes(bytes(image.size))
    (one,) = verify_store(store).findings
    assert one.pairs == ("p",)


def test_age_counts_from_now(store: Store) -> None:
    stores.grow(store, {"p": 0})
    stores.grow(store, {"p": 1})
    assert not check_collected(store.address, "1d").snapshots


def test_snapshots_older_than_an_age_go(store: Store) -> None:
    ids = [stores.grow(store, {"p": seed}) for seed in range(2)]
    time.sleep(0.01)
    found = find_garbage(store.address, Keep(age=timedelta(microseconds=1)))
    assert found.snapshots == (ids[0],)  # the head stays, however old


def test_what_the_champion_was_trained_on_stays(store: Store) -> None:
    ids = [stores.grow(store, {"p": seed}) for seed in range(6)]
    rows = [
        ModelRow(decision=FIRST, champion="A", challenger="A", challenger_snapshot=ids[0], judged_snapshot=ids[0]),
        ModelRow(decision=PROMOTED, champion="B", challenger="B", challenger_snapshot=ids[2], judged_snapshot=ids[3]),
    ]
    store.files.write(models.REGISTRY, models._pack(rows))
    garbage = collect_garbage(store.address, Keep(newest=1))
    assert set(garbage.snapshots) == {ids[1], ids[4]}
    fresh = open_store(store.address)
    assert [Snapshot(fresh, one).pictures("p")["winner"].tolist() for one in (ids[0], ids[2], ids[3])] == [
        stores.draw("p", seed)["winner"].tolist() for seed in (0, 2, 3)
    ]
    found = verify_store(store)
    assert set(found.snapshots) == set(ids) - set(garbage.snapshots)
    assert [one.kind for one in found.findings] == ["models"]  # there are no weights
    assert not collect_garbage(store.address, Keep(newest=1)).files


def test_half_written_files_go_when_they_are_old(store: Store) -> None:
    stores.grow(store, {"p": 0})
    paths = [f"{folder}/.x.parquet.{'0' * 32}" for folder in ("tables", "seals", "repository/snapshots")]
    paths.append(f"{store.files.list('repository/chunks')[0]}#1")
    for path in paths:
        stores.place(store, path).write_bytes(b"half")
    assert not find_garbage(store.address, Keep()).files
    for path in paths:
        os.utime(stores.place(store, path), (0, 0))
    assert set(collect_garbage(store.address, Keep()).files) == set(paths)
    assert not any(stores.place(store, path).exists() for path in paths)


def test_nothing_is_freed_in_a_damaged_store(store: Store) -> None:
    stores.grow(store, {"p": 0}, tag="v1")
    stores.grow(store, {"p": 1})
    leave_dead_build(store, 1, committed=True)
    seal = read_seals(store.files).valid[0]
    sealed = {one.path.rpartition("/")[0]: one.path for one in seal.files if not one.array}
    assert len(sealed) == 4
    for path in (*sealed.values(), seal.path):
        content = store.files.read(path)
        stores.place(store, path).write_bytes(content[:-1])
        before = stores.list_all(store)
        with pytest.raises(StoreError, match=r"nothing is freed in .* first: fusion-prior repair"):
            collect_garbage(store.address, Keep(newest=1))
        assert {path for path in stores.list_all(store) if "lock" not in path} == {path for path in before if "lock" not in path}
        stores.place(store, path).write_bytes(content)


def test_a_running_build_is_not_disturbed(store: Store) -> None:
    stores.grow(store, {"p": 0})
    with hold_lock(store.files, "build", "a build"), pytest.raises(StoreBusy, match="held by a build"):
        collect_garbage(store.address, Keep(), if_held="refuse")


def test_stores_of_older_schemas_are_collected_too(store: Store) -> None:
    ids = [stores.grow(store, {"p": seed, "q": 0}, seal=seed > 1) for seed in range(4)]
    garbage = collect_garbage(store.address, Keep(newest=3))
    assert garbage.snapshots == (ids[0],) and not verify_store(store).findings
    garbage = collect_garbage(store.address, Keep(newest=1))
    assert set(garbage.snapshots) == {ids[1], ids[2]} and not verify_store(store).findings
    assert not find_garbage(store.address, Keep(newest=1)).files


def test_garbage_on_s3_is_collected(s3_address: str) -> None:
    store = create_store(s3_address)
    first = stores.grow(store, {"p": 0, "q": 0})
    stores.grow(store, {"p": 1, "q": 0})
    leave_dead_build(store, 1, committed=True)
    assert collect_garbage(s3_address, Keep(newest=1)).snapshots == (first,)
    found = verify_store(s3_address)
    assert not found.findings and len(found.snapshots) == 1
    assert not find_garbage(s3_address, Keep(newest=1)).files


class Killed(BaseException):
    """In place of the end of the process."""


def test_a_collection_can_die_at_any_moment(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.grow(store, {"p": 0, "q": 0}, candidates=True)
    stores.grow(store, {"p": 1, "q": 0}, candidates=True, tag="v1")
    stores.grow(store, {"p": 1, "q": 1})
    newest = stores.grow(store, {"p": 1, "q": 2})
    leave_dead_build(store, 1, committed=True)
    held = read_all(store)
    left = [1 << 30]

    def die(act: Callable[..., None]) -> Callable[..., None]:
        def dying(files: Files, path: str, *content: bytes) -> None:
            left[0] -= "lock" not in path
            if left[0] < 0:
                raise Killed
            act(files, path, *content)

        return dying

    monkeypatch.setattr(Files, "write", die(Files.write))
    monkeypatch.setattr(Files, "delete", die(Files.delete))
    steps = len(find_garbage(store.address, Keep(newest=1)).files)
    for moment in (*range(8), *range(8, steps, 9)):
        address = str(tmp_path / f"copy {moment}")
        shutil.copytree(store.address, address)
        left[0] = moment
        with pytest.raises(Killed):
            collect_garbage(address, Keep(newest=1))
        left[0] = 1 << 30
        assert not verify_store(address).findings, moment
        assert read_all(open_store(address)).items() <= held.items()
        collect_garbage(address, Keep(newest=1))
        assert set(read_all(open_store(address))) == {newest, store.repository.lookup_tag("v1")}
        assert not verify_store(address).findings and not find_garbage(address, Keep(newest=1)).files


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32))
def test_any_history_keeps_what_it_has_to(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    chance = random.Random(seed)
    store = create_store(str(tmp_path_factory.mktemp("history") / "store"))
    for step in range(chance.randint(2, 6)):
        wanted = {name: chance.randint(0, 2) for name in ("p", "q", "r.1", "s/2") if chance.random() < 0.7}
        stores.grow(store, wanted, candidates=chance.random() < 0.4, tag=f"t{step}" if chance.random() < 0.3 else "")
        if chance.random() < 0.3:
            set_branch(store, f"b{step}", "main")
        if chance.random() < 0.3:
            target = chance.choice(list_versions(store)).id
            set_branch(store, f"side{step}", "main")
            set_branch(store, "main", target)
        if chance.random() < 0.3:
            leave_dead_build(store, step, committed=chance.random() < 0.5)
        if chance.random() < 0.3:
            check_collected(store.address, chance.choice(["all", "1", "2", "3"]))
            store = open_store(store.address)
    check_collected(store.address, chance.choice(["all", "1", "2"]))
