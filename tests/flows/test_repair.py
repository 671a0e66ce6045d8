"""Repair puts back the same bytes under the same ids, from copies, kept pictures, sources or methods, and names what it cannot."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from distributed import Client

from flows import care_commands
from flows.build import build
from flows.options import Format
from flows.recipe import make_recipe
from flows.repair import Repair, repair_store
from prior import registry
from prior.pictures import write_png
from storage.errors import StoreBusy, StoreError
from storage.files import hash_bytes
from storage.findings import IMAGE, REFERENCE, SEAL
from storage.history import list_versions
from storage.locks import hold_lock
from storage.repository import CHUNKS, create_store, open_store
from storage.seals import read_seals
from storage.snapshot import Snapshot
from storage.verify import verify_store

_spec = importlib.util.spec_from_file_location("sealed_stores", Path(__file__).parents[1] / "storage" / "sealed_stores.py")
assert _spec and _spec.loader
stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stores)

DAMAGED = ("repository/chunks/", "repository/manifests/", "repository/snapshots/", "repository/transactions/", "tables/")


@pytest.fixture(scope="module")
def built(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs with published results, and two stores of them: `winners`, and `all` with every candidate and two snapshots."""
    folder = tmp_path_factory.mktemp("built")
    rng = np.random.default_rng(5)
    for name in ("p", "q"):
        scene = cv2.GaussianBlur(rng.random((56, 64)).astype(np.float32), (0, 0), 2)
        scene = (255 * (scene - scene.min()) / np.ptp(scene)).astype(np.uint8)
        pictures = {"ir": 255 - scene // 2, "vis": cv2.applyColorMap(scene, cv2.COLORMAP_AUTUMN), "published/mean": 255 - scene // 4}
        for place, picture in pictures.items():
            (folder / place).mkdir(parents=True, exist_ok=True)
            write_png(folder / place / f"{name}.png", picture)
    source = {"a": str(folder / "ir"), "b": str(folder / "vis")}
    asked = {"source": [source], "methods": ["average", "tif"]}
    build(make_recipe(asked | {"winners": {"p": {"method": "tif", "reason": "sharper"}}}), str(folder / "winners"), client, tag="v1")
    asked = {"source": [{**source, "published": str(folder / "published")}], "methods": ["average", "tif"], "keep": "all"}
    build(make_recipe(asked), str(folder / "all"), client, tag="v1")
    build(make_recipe(asked | {"winners": {"p": {"method": "tif", "reason": "sharper"}}}), str(folder / "all"), client, tag="v2")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies one of the stores, so that it may be damaged."""
    return lambda name: Path(shutil.copytree(built / name, tmp_path / name))


def list_files(store: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {name: path.read_bytes() for path in paths if (name := str(path.relative_to(store))).startswith(DAMAGED)}


def find_chunks(store: Path, array: str) -> list[Path]:
    """The chunks that are sealed for an array."""
    return [store / one.path for seal in read_seals(open_store(str(store)).files).valid for one in seal.files if one.array == array]


def find_image(store: Path, tag: str, pair_id: str) -> Path:
    """The chunk that a snapshot's image of a pair is."""
    digest = Snapshot(str(store), tag).image_hash(pair_id)
    return next(path for path in find_chunks(store, f"images/{pair_id}") if hash_bytes(path.read_bytes()) == digest)


def name_reasons(done: Repair) -> str:
    return "; ".join(one.reason for one in done.left)


@pytest.mark.parametrize("name", ["winners", "all"])
def test_everything_but_the_seals_can_be_lost_at_once(copy: Callable[[str], Path], name: str) -> None:
    store = copy(name)
    before = list_files(store)
    ids = open_store(str(store)).repository.list_tags()
    for number, path in enumerate(before):
        content = bytearray(before[path])
        content[len(content) // 2] ^= 1
        if number % 3:
            (store / path).write_bytes(content if number % 3 == 1 else content[:-1])
        else:
            (store / path).unlink()
    done = repair_store(str(store))
    assert list_files(store) == before
    assert not done.left and not done.verification.findings and not verify_store(str(store)).findings
    assert {one.where for one in done.repaired} >= {path for path in before if path.startswith("repository/chunks")}
    assert open_store(str(store)).repository.list_tags() == ids


def test_nothing_is_done_to_a_whole_store(copy: Callable[[str], Path]) -> None:
    store = copy("winners")
    before = list_files(store)
    done = repair_store(str(store))
    assert not done.repaired and not done.left and list_files(store) == before


def test_a_chunk_is_taken_from_pictures_that_are_kept_when_the_files_are_gone(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copy("all")
    monkeypatch.setattr("flows.remake.try_hash", lambda path: "")  # no source and no published file is there any more
    monkeypatch.setattr(registry, "_methods", {})  # nor any method
    before = list_files(store)
    first, second = find_image(store, "v1", "p"), find_image(store, "v2", "p")
    lost = [first, *(path for path in find_chunks(store, "candidates/p") if path.read_bytes() in second.read_bytes())]
    assert len(lost) == 4  # three planes of the second winner's candidate
    for path in lost:
        path.unlink()
    done = repair_store(str(store))
    assert not done.left and list_files(store) == before


def test_a_lost_source_is_named_and_the_rest_is_mended(built: Path, copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store = copy("winners")
    before = list_files(store)
    moved = built / "ir" / "p.png"
    moved.rename(built / "away.png")
    try:
        for path in (store / CHUNKS).iterdir():
            path.unlink()
        done = repair_store(str(store))
    finally:
        (built / "away.png").rename(moved)
    assert [one.finding.pairs for one in done.left] == [("p",)] and f"the source file {moved} is gone" in name_reasons(done)
    assert [one.pairs for one in done.repaired] == [("q",)]
    assert not repair_store(str(store)).left and list_files(store) == before  # now it is there again


def test_another_source_is_not_taken_for_the_one_that_was(built: Path, copy: Callable[[str], Path]) -> None:
    store = copy("winners")
    source = built / "vis" / "q.png"
    content = source.read_bytes()
    find_chunks(store, "images/q")[0].write_bytes(b"")
    write_png(source, np.random.default_rng(0).integers(0, 256, (56, 64, 3), np.uint8))
    try:
        done = repair_store(str(store))
    finally:
        source.write_bytes(content)
    assert f"the source file {source} is another one than the build read" in name_reasons(done)
    assert find_chunks(store, "images/q")[0].read_bytes() == b""


def test_another_version_of_a_method_is_named(copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    store = copy("winners")
    find_chunks(store, "images/p")[0].unlink()
    monkeypatch.setitem(registry._methods, "tif", replace(registry.find_method("tif"), version=99))
    done = repair_store(str(store))
    assert "tif has version 99 now, the build had 1" in name_reasons(done) and done.left[0].finding.pairs == ("p",)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])], ids=["lost", "cut"])
def test_a_lost_seal_is_written_anew(copy: Callable[[str], Path], damage: Callable[[Path], object]) -> None:
    store = copy("all")
    files = open_store(str(store)).files
    before = {one.path: one.sha256 for seal in read_seals(files).valid for one in seal.files}
    for path in files.list("seals"):
        damage(store / path)
    done = repair_store(str(store))
    assert not done.left and {one.kind for one in done.repaired} == {SEAL} and not verify_store(str(store)).findings
    found = read_seals(open_store(str(store)).files)
    assert not found.damaged and len(found.valid) == 2
    assert {one.path: one.sha256 for seal in found.valid for one in seal.files} == before


def test_what_is_damaged_is_not_sealed(copy: Callable[[str], Path]) -> None:
    store = copy("winners")
    find_chunks(store, "images/p")[0].write_bytes(bytes(5 * 56 * 64))
    files = open_store(str(store)).files
    for path in files.list("seals"):
        (store / path).unlink()
    done = repair_store(str(store))
    assert {one.finding.kind for one in done.left} == {SEAL, IMAGE} and "what is damaged is not sealed" in name_reasons(done)
    assert not files.list("seals")


@pytest.mark.parametrize("reference", ["branch.main", "tag.v1"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one[:24],
        lambda one: one + b"\n",
        lambda one: one + b"{}" * 9,
        lambda one: one[:16] + (b"Z" if one[16:17] == b"Y" else b"Y") + one[17:],
        lambda one: b"[" + one[1:],
    ],
)
def test_a_damaged_reference_is_written_anew(copy: Callable[[str], Path], reference: str, damage: Callable[[bytes], bytes]) -> None:
    store = copy("all")
    path = store / "repository" / "refs" / reference / "ref.json"
    content = path.read_bytes()
    path.write_bytes(damage(content))
    done = repair_store(str(store))
    assert not done.left and [one.kind for one in done.repaired] == [REFERENCE] and path.read_bytes() == content


@pytest.mark.parametrize("reference", ["branch.main", "tag.v1"])
def test_a_lost_reference_is_told_with_what_can_be_done(copy: Callable[[str], Path], reference: str) -> None:
    store = copy("all")
    path = store / "repository" / "refs" / reference / "ref.json"
    path.unlink()
    done = repair_store(str(store))
    assert [one.finding.kind for one in done.left] == [REFERENCE] and f"repository/refs/{reference}/ref.json" in name_reasons(done)
    assert not path.exists()


def test_images_of_older_schemas_cannot_be_put_back(tmp_path: Path) -> None:
    store = create_store(str(tmp_path / "old"))
    stores.grow(store, {"p": 0}, seal=False)
    (tmp_path / "old" / store.files.list(CHUNKS)[0]).unlink()
    done = repair_store(store.address)
    assert [one.finding.pairs for one in done.left] == [("p",)] and "build it again into another store" in name_reasons(done)


def test_a_running_build_is_not_disturbed(copy: Callable[[str], Path]) -> None:
    store = copy("winners")
    with hold_lock(open_store(str(store)).files, "build", "a build"), pytest.raises(StoreBusy, match="held by a build"):
        repair_store(str(store), if_held="refuse")


def test_a_folder_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        repair_store(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


# The commands


def test_the_commands_tell_what_is_damaged_and_what_became_of_it(copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    store = copy("all")
    care_commands.verify(store=str(store))
    assert "no damage in 2 snapshots" in capsys.readouterr().err
    path = find_image(store, "v1", "p")
    path.unlink()
    with pytest.raises(typer.Exit) as caught:
        care_commands.verify("v1", store=str(store), form=Format.json)
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)
    assert caught.value.exit_code == 1 and (row["kind"], row["where"], row["pairs"]) == ("missing", str(path.relative_to(store)), ["p"])
    assert "1 damages in 1 snapshots" in printed.err and f"fusion-prior repair --store {store}" in printed.err
    care_commands.repair(store=str(store))
    printed = capsys.readouterr()
    assert "mended" in printed.out and "1 damages are mended, 0 stay" in printed.err
    (store / "repository" / "refs" / "tag.v1" / "ref.json").unlink()
    with pytest.raises(typer.Exit) as caught:
        care_commands.repair(store=str(store), form=Format.csv)
    assert caught.value.exit_code == 1 and "stays: " in capsys.readouterr().out


def test_gc_tells_what_goes(copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    store = copy("winners")
    (store / "tables" / "pairs-0123456789abcdef.parquet").write_bytes(b"of a dead build")
    before = list_files(store)
    care_commands.gc(store=str(store), dry_run=True, form=Format.csv)
    printed = capsys.readouterr()
    assert printed.out == "folder,files,bytes\ntables,1,15\n" and "0 snapshots, 1 files with 15 bytes" in printed.err
    assert list_files(store) == before
    care_commands.gc("1", store=str(store))
    assert "are freed" in capsys.readouterr().err and len(list_files(store)) == len(before) - 1
    assert len(Snapshot(str(store), "v1")) == 2


def test_gc_tells_how_many_snapshots_are_cut_from_their_parents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = create_store(str(tmp_path / "store"))
    for seed in range(4):
        stores.grow(store, {"p": seed}, tag=f"v{seed}" if seed != 1 else "")
    parents = {one.id: one.parent for one in list_versions(store)}
    care_commands.gc("1", store=store.address, dry_run=True)
    told = capsys.readouterr().err
    care_commands.gc("1", store=store.address)
    left = {one.id: one.parent for one in list_versions(open_store(store.address))}
    cut = sum(parent != parents[one] for one, parent in left.items())
    assert len(left) == 3 and f"{cut} snapshots that stay would lose the link to their parent" in told
    assert f"{cut} snapshots that stay have lost the link to their parent" in capsys.readouterr().err
    care_commands.gc("1", store=store.address)
    assert "parent" not in capsys.readouterr().err
