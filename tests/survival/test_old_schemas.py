"""Snapshots of older schemas: they are read, listed, looked through, compared, exported and built upon; what cannot be mended is told how.

That one of a newer schema is refused, with what to do, is tested where snapshots are: tests/storage/test_snapshot.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distributed import Client

from flows import publish
from flows.build import build
from storage.collect import Keep, collect_garbage
from storage.repository import CHUNKS, open_store
from storage.schema import PAIRS, SELECTIONS
from storage.seals import read_seals
from storage.snapshot import Snapshot
from storage.verify import verify_store

RunCommands = Callable[..., list[tuple[int, str, str]]]
NOT_IN_FIRST = {"group", "split", "scene_hash"}
NOT_IN_SECOND = {"licence", "planes", "candidate_planes"}
FACTS_SINCE_THIRD = {"methods", "mean_value", "bytes"}


def leave_out(schema: pa.Schema, names: set[str]) -> pa.Schema:
    return pa.schema([one for one in schema if one.name not in names])


def write_old(make_manifest: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A manifest as it was before the third schema."""

    def make(*arguments: Any) -> dict[str, Any]:
        manifest = {name: part for name, part in make_manifest(*arguments).items() if name not in ("used", "evaluation")}
        methods = {name: {part: one[part] for part in ("version", "licence")} for name, one in manifest["methods"].items()}
        return manifest | {"methods": methods}

    return make


@pytest.fixture(scope="module", params=[1, 2])
def old_store(ready: Any, client: Client, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose v1 was made by a release of an older schema, and whose v2 by this one."""
    address = str(tmp_path_factory.mktemp("old") / "store")
    with pytest.MonkeyPatch.context() as patch:
        describe = publish.describe_commit
        patch.setattr(publish, "describe_commit", lambda *all_: {k: v for k, v in describe(*all_).items() if k not in FACTS_SINCE_THIRD})
        patch.setattr(publish, "make_manifest", write_old(publish.make_manifest))
        patch.setattr(publish, "write_seal", lambda *_: None)
        patch.setattr(publish, "SELECTIONS", leave_out(SELECTIONS, NOT_IN_SECOND))
        for module in ("flows.plan", "flows.publish"):
            patch.setattr(f"{module}.SCHEMA_VERSION", request.param)
            if request.param == 1:
                patch.setattr(f"{module}.PAIRS", leave_out(PAIRS, NOT_IN_FIRST))
        build(ready.ask(methods=["average", "tif"], keep="winners"), address, client, tag="v1")
    snapshot = Snapshot(address, "v1")
    assert snapshot.manifest["schema_version"] == request.param
    assert {*SELECTIONS.names} - {*snapshot.table("selections").column_names} == NOT_IN_SECOND
    assert build(ready.ask(), address, client, tag="v2").made
    return address


def test_an_old_snapshot_is_as_good_as_a_new_one(old_store: str, ready: Any, run_commands: RunCommands, tmp_path: Path) -> None:
    snapshot = Snapshot(old_store, "v1")
    assert len(snapshot) == 4 and snapshot.pair(0).target.shape == (56, 64)
    assert (
        {row["method"] for row in snapshot.table("scores").to_pylist()} == set(snapshot.to_xarray()["method"].values) == {"average", "tif"}
    )
    collect_garbage(old_store, Keep())
    commands = (
        ("snapshots", "--format", "json"),
        ("winners", "--snapshot", "v1", "--criterion", "vif"),
        ("manifest", "v1"),
        ("diff", "v1", "v2"),
        ("verify",),
        ("verify", "v1"),
        ("export", "v1", "--layout", "webdataset", "--out", tmp_path / "shards"),
        ("export", "v1", "--layout", "huggingface", "--out", tmp_path / "folder"),
        ("repair",),
    )
    for words, (code, out, err) in zip(commands, run_commands(*((*one, "--store", old_store) for one in commands)), strict=True):
        if words[0] == "export" and snapshot.manifest["schema_version"] == 1:
            assert code == 2 and "has no train, val and test splits; build it again with this release" in err
        else:
            assert (code, "error: " in err) == (0, False), (words, out, err)


def test_damage_in_an_old_snapshot_is_found_and_told_what_to_do_about_it(old_store: str, run_commands: RunCommands) -> None:
    store = open_store(old_store)
    seals = read_seals(store.files).valid
    sealed = {one.path for seal in seals for one in seal.files}
    path = next(one for one in store.files.list(CHUNKS) if one not in sealed)
    whole = store.files.read(path)
    store.files.write(path, whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        (found,) = verify_store(old_store).findings
        ((code, out, _),) = run_commands(("repair", "--store", old_store, "--format", "json"))
    finally:
        store.files.write(path, whole)
    assert len(found.pairs) == 1 and Snapshot(old_store, "v1").id in found.snapshots
    assert code == 1 and found.pairs[0] in out and "fusion-prior build" in out
