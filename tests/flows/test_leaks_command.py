"""Tests of flows.leaks_command: what leaks is told with exit code 1, what cannot be compared is told too."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from flows.leaks_command import find_leaks, leaks, summarise
from flows.progress import Report
from prior.arrays import luma
from prior.example_scenes import make_scenes
from prior.pairs import Source, inspect, load, scan
from prior.pictures import write_png
from storage.errors import InputError
from storage.planes import stack
from storage.repository import IMAGES, Draft, ImageChange, create_store, find_head
from storage.schema import PAIRS, QUARANTINED, SCHEMA_VERSION, SELECTIONS, PairRow, SelectionRow, scores_schema
from storage.snapshot import Snapshot
from storage.tables import to_table, write_table

SPLITS = ("train", "train", "val", "test")
COLUMNS = ["pair_id", "split", "picture", "file", "bits", "correlation", "exact"]

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(leaks)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two folders with four small pairs, p0 to p3."""
    folder = tmp_path_factory.mktemp("source")
    for number, scene in zip(range(len(SPLITS)), make_scenes(), strict=False):
        for name, picture in zip(("ir", "vis"), scene, strict=True):
            write_png(folder / name / f"p{number}.png", np.ascontiguousarray(picture[::2, ::2]))
    return Source(a=folder / "ir", b=folder / "vis")


@pytest.fixture(scope="module")
def store(source: Source, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with these pairs, in the splits of `SPLITS`; p0 has no hashes, and a pair that was set aside has no image."""
    store = create_store(str(tmp_path_factory.mktemp("kept") / "store"))
    rows = []
    with Draft(store, find_head(store)) as draft:
        for ref, split in zip(scan([source]).pairs, SPLITS, strict=True):
            a, b = load(ref)
            planes, names = stack({"a": a, "b": b, "winner": np.maximum(luma(a), luma(b))})
            draft.put(IMAGES, ref.pair_id, ImageChange(planes, names, {}))
            row = inspect(ref).row
            rows.append(replace(row, split=split, scene_hash="" if ref.pair_id == "p0" else row.scene_hash))
        selections = [SelectionRow(pair_id=row.pair_id, method="maximum", content_key="", value=1.0) for row in rows]
        rows.append(PairRow(pair_id="q", source="s", task="medical", status=QUARANTINED, split="train", a_hash=rows[0].a_hash))
        tables = {"pairs": to_table(rows, PAIRS), "scores": to_table([], scores_schema(())), "selections": to_table(selections, SELECTIONS)}
        references = {name: write_table(store.files, name, table).to_json() for name, table in tables.items()}
        draft.commit("all", {"schema_version": SCHEMA_VERSION, "tables": references}, {})
        draft.publish("v1")
    return store.address


@pytest.fixture
def public(source: Source, tmp_path: Path) -> Path:
    """Another folder: the file `a` of p0, `b` of p3 in half its size, and a picture of its own."""
    folder = tmp_path / "public"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "zero.png").write_bytes((source.a / "p0.png").read_bytes())
    three = next(ref for ref in scan([source]).pairs if ref.pair_id == "p3")
    write_png(folder / "three.png", np.ascontiguousarray(load(three)[1][::2, ::2]))
    write_png(folder / "other.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    outcome = CliRunner().invoke(app, [str(one) for one in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome.exit_code, outcome.stdout, outcome.stderr


def test_pairs_that_stand_in_the_folder_are_told_with_exit_code_1(store: str, public: Path) -> None:
    code, out, told = run("v1", "--against", public, "--store", store, "--format", "json")
    first, *others = json.loads(out)
    assert code == 1 and list(first) == COLUMNS
    assert first == dict(zip(COLUMNS, ("p0", "train", "a", "deep/zero.png", 0, first["correlation"], True), strict=True))
    assert first["correlation"] == pytest.approx(1, abs=1e-4)
    assert [(row["pair_id"], row["split"], row["file"], row["exact"]) for row in others] == [("p3", "test", "three.png", False)]
    assert f"2 of 4 pairs also stand among the 3 pictures in {public}: test 1 of 1, train 1 of 2, val 0 of 1; 1 of them with" in told


def test_a_split_is_asked_about_alone(store: str, public: Path) -> None:
    code, out, told = run("v1", "--against", public, "--store", store, "--split", "val", "--format", "csv")
    assert (code, out) == (0, ",".join(COLUMNS) + "\n")
    assert told == f"none of 1 pairs (val 1) stands among the 3 pictures in {public}\n"
    code, out, _ = run("main", "--against", public, "--store", store, "--split", "test, val")
    assert code == 1 and "three.png" in out and "zero.png" not in out


def test_what_cannot_be_decoded_is_told_and_the_rest_compared(store: str, public: Path) -> None:
    for number in range(7):
        (public / f"cut{number}.png").write_bytes(b"\x89PNG\r\n")
    code, _, told = run("v1", "--against", public, "--store", store)
    assert code == 1 and told.count("cannot be decoded") == 5 and "… and 2 more that could not be compared" in told
    assert f"among the 3 pictures in {public}" in told
    alone = public / "alone"
    alone.mkdir()
    (alone / "cut.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"no picture in .*alone can be compared; the first: .*cut\.png: cannot be decoded"):
        run("v1", "--against", alone, "--store", store)


def test_what_cannot_be_asked_is_one_sentence(store: str, public: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        run("v1", "--against", tmp_path / "absent", "--store", store)
    with pytest.raises(InputError, match="split 'valid' is none of train, val, test; give some of these, with commas"):
        run("v1", "--against", public, "--store", store, "--split", "train,valid")
    empty = create_store(str(tmp_path / "empty"))
    tables = {"pairs": to_table([], PAIRS), "scores": to_table([], scores_schema(())), "selections": to_table([], SELECTIONS)}
    references = {name: write_table(empty.files, name, table).to_json() for name, table in tables.items()}
    with Draft(empty, find_head(empty)) as draft:
        draft.commit("none", {"schema_version": SCHEMA_VERSION, "tables": references}, {})
        draft.publish()
    with pytest.raises(InputError, match="has no pair of split test with a winner"):
        run("main", "--against", public, "--store", empty.address, "--split", "test")


def test_progress_is_told_to_its_end(store: str, public: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report: Report = lambda what, done, total: told.append((what, done, total))  # noqa: E731
    search = find_leaks(Snapshot(store), public, report=report)
    assert Counter(what for what, _, _ in told) == {"reading pairs": 4, "comparing pictures": 3, "comparing what is near": 2}
    assert {(what, total) for what, done, total in told if done == total} == {(what, total) for what, _, total in told}
    assert search.pairs == {"train": 2, "val": 1, "test": 1} and summarise(search, public).startswith("2 of 4 pairs")
