"""Where a snapshot came from: its manifest names the sources, the code and the versions; none of it makes another snapshot."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from distributed import Client

from flows import provenance, publish
from flows.build import build
from flows.diff import find_diff
from flows.output import print_json
from flows.provenance import hash_code, hash_sources
from flows.recipe import Recipe
from flows.versions import describe_versions
from storage.schema import EXCLUDED, OK, PairRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows

Ask = Callable[..., Recipe]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def test_a_manifest_names_sources_code_and_versions(client: Client, ask: Ask, store: str) -> None:
    snapshot = build(ask(methods=["average"]), store, client).snapshot
    versions = snapshot.manifest["versions"]
    assert versions["Python"] == platform.python_version() and versions["fusion-prior code"] == hash_code()
    assert all(versions[name] == version(name) for name in (*publish.LIBRARIES, "scikit-image", "dask", "prefect"))
    hashes = {digest for row in to_pair_rows(snapshot.table("pairs")) for digest in (row.a_hash, row.b_hash)}
    lines = "".join(f"{digest}\n" for digest in sorted(hashes))
    assert snapshot.manifest["sources"] == {"files": 6, "sha256": hashlib.sha256(lines.encode()).hexdigest()}


def test_other_code_and_other_versions_make_no_other_snapshot(
    client: Client, ask: Ask, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(ask(methods=["average"]), store, client)
    monkeypatch.setattr(publish, "list_versions", lambda libraries: {"Python": "4.0", "fusion-prior code": "other"})
    again = build(ask(methods=["average"]), store, client)
    assert not again.made and again.snapshot.id == first.snapshot.id
    assert build(ask(methods=["average", "tif"]), store, client).snapshot.manifest["versions"]["Python"] == "4.0"


def test_a_snapshot_of_an_older_release_is_found_listed_and_compared(
    client: Client, ask: Ask, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_older(*parts: object) -> dict[str, object]:
        made = make_manifest(*parts)  # type: ignore[arg-type]
        return {**{name: one for name, one in made.items() if name != "sources"}, "versions": {"numpy": "2.0"}}

    make_manifest = publish.make_manifest
    with monkeypatch.context() as patch:
        patch.setattr(publish, "make_manifest", make_older)
        older = build(ask(methods=["average"]), store, client).snapshot
    assert "sources" not in older.manifest
    assert not build(ask(methods=["average"]), store, client).made
    newer = build(ask(methods=["average", "tif"]), store, client).snapshot
    assert {one.cause for one in find_diff(older, newer).winners} <= {"method added"}
    assert [row["id"] for row in describe_versions(newer.store)] == [newer.id, older.id]


def test_sources_are_hashed_once_each_in_any_order() -> None:
    rows = [
        PairRow(pair_id=name, source="s", task="medical", status=OK, a_hash=a, b_hash=b)
        for name, a, b in (("p", "2", "1"), ("q", "3", "1"), ("r", "", ""))
    ]
    assert hash_sources(rows) == hash_sources(reversed(rows)) == {"files": 3, "sha256": hashlib.sha256(b"1\n2\n3\n").hexdigest()}
    assert hash_sources(rows[:1]) != hash_sources(rows) and hash_sources([])["files"] == 0


def test_code_is_hashed_with_every_file_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("made_up",))
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "made_up"
    folder.mkdir()
    found = []
    for path, text in (("__init__.py", ""), ("x.py", "1\n"), ("x.py", "2\n"), ("notes.txt", "?"), (".#x.py", None)):
        if text is None:
            (folder / path).symlink_to("nowhere")  # as an editor leaves it
        else:
            (folder / path).write_text(text)
        found.append(hash_code.__wrapped__())
    (folder / "x.py").rename(folder / "y.py")
    found.append(hash_code.__wrapped__())
    sys.modules.pop("made_up", None)
    assert found[2] == found[3] == found[4] and len(set(found)) == 4 and {len(one) for one in found} == {16}


def test_names_that_are_no_utf_8_are_spelled_out_in_the_manifest(client: Client, ask: Ask, store: str, tmp_path: Path) -> None:
    recipe = ask(methods=["average"])
    for name in (b"lonely-\xff.png", b"notes-\xff.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path / "ir") + b"/" + name)).write_bytes(b"x")
    manifest = build(recipe, store, client).snapshot.manifest
    assert [Path(path).name for path in manifest["orphans"]] == ["lonely-\\udcff.png"]
    assert [Path(path).name for path in manifest["clutter"]] == ["notes-\\udcff.txt"]
    assert json.dumps(dict(manifest), ensure_ascii=False).encode()


def test_the_licence_of_a_folder_whose_name_is_no_utf_8_has_a_name(client: Client, ask: Ask, store: str, tmp_path: Path) -> None:
    recipe = ask(methods=["average"])
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ir-\xff"))
    (tmp_path / "ir").rename(folder)
    block = recipe.source[0].model_copy(update={"a": folder, "licence": "CC0"})
    snapshot = Snapshot(store, build(recipe.model_copy(update={"source": (block,)}), store, client).snapshot.id)
    assert snapshot.manifest["licences"] == {"ir-\\udcff": "CC0"}


def test_an_excluded_pair_may_have_any_name(client: Client, ask: Ask, store: str, tmp_path: Path) -> None:
    recipe = ask(methods=["average"], exclude=["p-\\udcff"])
    for folder in ("ir", "vis"):
        name = Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/p-\xff.png"))
        name.write_bytes((tmp_path / folder / "p00.png").read_bytes())
    row = to_pair_rows(build(recipe, store, client).snapshot.table("pairs"))[0]
    assert (row.pair_id, row.status, Path(row.a_path).name) == ("p-\\udcff", EXCLUDED, "p-\\udcff.png")


def test_json_with_a_path_that_is_no_utf_8_is_utf_8_and_keeps_the_path(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"a": "/x/ir-\udcff", "b": "ä"})
    printed = capfdbinary.readouterr().out.decode("utf-8")
    assert json.loads(printed) == {"a": "/x/ir-\udcff", "b": "ä"} and "ä" in printed
