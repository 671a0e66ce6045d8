"""Tests of flows.export_command: the command from a built store to the folder, and that what a snapshot used is told as it is."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from click.testing import Result
from distributed import Client
from typer.testing import CliRunner

from flows.build import build
from flows.export_command import export, find_metric_licences
from flows.recipe import make_recipe
from prior.groups import choose_split
from prior.pictures import encode_png, read_picture, write_png
from storage.errors import InputError
from storage.export import Export, ExportRequest
from storage.snapshot import Snapshot

CRITERION = "2*ssim + vif + 3*qabf"
METHODS = ("average", "maximum")


def find_names(wanted: dict[str, int]) -> list[str]:
    """So many names of each split, in order."""
    left, names = dict(wanted), []
    for number in range(100):
        name = f"s{number:02d}"
        split = choose_split(f":{name}")  # every pair is a subject, whose group is named after it
        if left.get(split):
            left[split] -= 1
            names.append(name)
    return names


@pytest.fixture(scope="module")
def names() -> list[str]:
    return find_names({"train": 2, "val": 1, "test": 1})


@pytest.fixture(scope="module")
def store(client: Client, tmp_path_factory: pytest.TempPathFactory, names: Sequence[str]) -> str:
    """A store whose newest snapshot has four pairs of a stated licence; a published result of none won the first."""
    home = tmp_path_factory.mktemp("export")
    for number, name in enumerate(names):
        levels = np.random.default_rng(number).integers(0, 256, (130, 136, 4), np.uint8)
        for folder, picture in (
            ("ir", levels[:, :, 3]),
            ("vis", levels[:, :, :3]),
            ("fused/X", levels[:, :, 0] // 2 + levels[:, :, 3] // 2),
        ):
            write_png(home / folder / f"{name}.png", picture)
    block = {"a": str(home / "ir"), "b": str(home / "vis"), "published": str(home / "fused"), "licence": "CC-BY-4.0", "subject": "^(.*)$"}
    by_hand = {names[0]: {"method": "published:X", "reason": "to have one"}, names[1]: {"method": "average", "reason": "to have one"}}
    recipe = make_recipe({"source": [block], "methods": METHODS, "criterion": CRITERION, "winners": by_hand, "allow_copies": True})
    build(recipe, str(home / "store"), client, tag="v1")
    return str(home / "store")


def run(*words: str) -> Result:
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, list(words))


def test_a_snapshot_tells_what_its_winners_used(store: str, names: Sequence[str]) -> None:
    snapshot = Snapshot(store, "v1")
    used = snapshot.manifest["used"]
    rows: list[dict[str, Any]] = snapshot.table("selections").to_pylist()
    assert used["pairs"] == {"CC-BY-4.0": len(names)}
    assert used["metrics"] == {"ssim": "MIT", "vif": "MIT", "qabf": "MIT"} == find_metric_licences(snapshot.manifest)
    wins = {name: [row for row in rows if row["method"] == name] for name in {row["method"] for row in rows}}
    licences = {name: "" if name == "published:X" else "MIT" for name in wins}
    assert {"published:X", "average"} <= set(wins)
    assert used["methods"] == {name: {licences[name]: len(many)} for name, many in wins.items()}
    assert all(row["licence"] == licences[row["method"]] for row in rows)


def test_of_an_older_snapshot_the_metrics_are_asked(store: str) -> None:
    older = {name: one for name, one in Snapshot(store).manifest.items() if name != "used"}
    assert find_metric_licences(older) == {"ssim": "MIT", "vif": "MIT", "qabf": "MIT"}
    other = {"criterion": {"name": "x", "rule": "ssim + iqa:fsim + iqa:gone + gone"}}
    assert find_metric_licences(other) == {
        "ssim": "MIT",
        "iqa:fsim": "PolyForm-Noncommercial-1.0.0",
        "iqa:gone": "",
        "gone": "",
    }


@pytest.mark.parametrize("layout", ["diff-if", "webdataset", "huggingface"])
def test_the_last_line_is_the_folder(store: str, tmp_path: Path, layout: str) -> None:
    done = run("v1", "--out", str(tmp_path / "out"), "--layout", layout, "--store", store)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert "2 train, 1 val, 1 test" in done.stderr
    assert {"README.md", "croissant.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_the_pictures_are_those_of_the_prior(store: str, tmp_path: Path) -> None:
    done = run("main", "--out", str(tmp_path / "out"), "--store", store, "--split", "train, test")
    assert done.exit_code == 0 and not (tmp_path / "out" / "eval").exists()
    snapshot = Snapshot(store)
    with (tmp_path / "out" / "pairs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    for row in rows:
        pictures = snapshot.pictures(row["pair_id"])
        for name, key in (("a", "a"), ("b", "b"), ("target", "winner")):
            assert np.array_equal(read_picture(tmp_path / "out" / row[f"{name}_file"]).pixels, pictures[key])
            assert (tmp_path / "out" / row[f"{name}_file"]).read_bytes() == encode_png(pictures[key])
        assert "/Infrared/" in row["a_file"] and "/Visible/" in row["b_file"]


def test_a_commercial_export_leaves_out_what_nobody_said_anything_about(store: str, names: Sequence[str], tmp_path: Path) -> None:
    words = ("v1", "--out", str(tmp_path / "out"), "--store", store, "--policy", "commercial", "--layout", "webdataset")
    refused = run(*words)
    assert isinstance(refused.exception, InputError)
    assert f"no licence stated (method published:X) on 1 of 4 pairs: {names[0]}" in str(refused.exception)
    assert list(tmp_path.iterdir()) == []
    done = run(*words, "--only-allowed")
    assert done.exit_code == 0 and "1 of 4 pairs are left out" in done.stderr


def test_every_option_reaches_the_export(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ExportRequest] = []

    def note(snapshot: Snapshot, request: ExportRequest, *rest: object) -> Export:
        asked.append(request)
        return Export(folder=request.out, counts={}, notes=())

    monkeypatch.setattr("storage.export.export_snapshot", note)
    words = ("--split", "val", "--policy", "commercial", "--allow", "X-1", "--allow", "Y 2", "--visible", "a", "--shard-size", "3")
    assert run("v1", "--out", str(tmp_path / "out"), "--store", store, *words).exit_code == 0
    assert run("v1", "--out", str(tmp_path / "out"), "--store", store, "--only-allowed").exit_code == 0
    first, second = asked
    assert (first.splits, first.policy, first.allow, first.refused) == (("val",), "commercial", ("X-1", "Y 2"), "stop")
    assert (first.visible, first.shard_bytes, first.layout) == ("a", 3_000_000, "diff-if")
    assert (second.splits, second.policy, second.allow, second.refused) == (("train", "val", "test"), "any", (), "leave_out")
    assert (second.visible, second.shard_bytes, second.metric_licences) == ("", 512_000_000, {"ssim": "MIT", "vif": "MIT", "qabf": "MIT"})
