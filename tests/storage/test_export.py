"""Tests of storage.export and storage.layouts: every layout is read by those it is for, whole or not at all, and licences are kept."""

import csv
import errno
import hashlib
import io
import itertools
import json
import re
import resource
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import webdataset
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from storage import export as export_module
from storage.errors import InputError, StoreError, UnknownName
from storage.export import LAYOUTS, Export, ExportRequest, export_snapshot, list_entries, read_pictures
from storage.layouts import MAX_STEM, Entry, Job, Pictures, clean, diff_if, make_stems
from storage.planes import stack
from storage.repository import IMAGES, Draft, ImageChange, create_store, find_head
from storage.schema import OK, PAIRS, SELECTIONS, SPLITS, PairRow, ScoreRow, SelectionRow, scores_schema
from storage.snapshot import Snapshot
from storage.tables import to_table, write_table

CROP = 128
Picture = NDArray[np.uint8]
GREY, COLOUR = (132, 140), (132, 140, 3)


def describe(pair_id: str, split: str, **fields: Any) -> PairRow:
    known = {"source": "street", "task": "infrared-visible", "a_modality": "ir", "b_modality": "vis", "licence": "CC-BY-4.0"}
    sized = {"height": 132, "width": 140, "group": f"scene of {pair_id}", "a_format": "png grey8", "b_format": "png rgb8"}
    return PairRow(pair_id=pair_id, split=split, status=OK, **{**known, **sized, **fields})


BRAIN = {"source": "brain", "task": "medical", "a_modality": "SPECT-Tc", "b_modality": "MR-T2", "licence": "CC-BY-NC-4.0"}
FOCUS = {"source": "focus", "task": "multi-focus", "a_modality": "near focus", "b_modality": "far focus", "licence": "public domain"}
ROWS = (
    describe("brain/7", "train", **BRAIN),
    describe("focus/1", "train", **FOCUS),
    describe("street/01", "train"),
    describe("street/02", "val"),
    describe("street/é.png x", "test"),
    describe("street/small", "train", height=100),
    describe("street_01", "train"),
)
METHODS = {"street/02": ("published:U2Fusion", ""), "focus/1": ("tif", "MIT")}
SMALL = "street/small"


def draw(row: PairRow) -> dict[str, Picture]:
    rng = np.random.default_rng([ord(letter) for letter in row.pair_id])
    colour_first = row.task == "medical"
    shapes = {"a": COLOUR if colour_first else GREY, "b": GREY if colour_first else COLOUR, "winner": COLOUR}
    return {name: rng.integers(0, 256, (row.height, *shape[1:]), np.uint8) for name, shape in shapes.items()}


def encode(picture: Picture) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=1)
    return content.getvalue()


def decode(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "PNG"
        return np.asarray(opened)


def select(row: PairRow) -> SelectionRow:
    method, licence = METHODS.get(row.pair_id, ("gff", "Apache-2.0"))
    key = f"{method}/{row.pair_id}"
    return SelectionRow(
        pair_id=row.pair_id, method=method, licence=licence, content_key=key, value=2.5, runner_up="pca", flags=("by_hand",)
    )


def put_snapshot(address: str, rows: Sequence[PairRow] = ROWS, **manifest: Any) -> Snapshot:
    """Commit the pairs as a build does; every winner has two scores, one of them undefined."""
    store = create_store(address)
    selections = [select(row) for row in rows]
    scores = [
        ScoreRow(pair_id=one.pair_id, method=method, version="1", content_key=key, status=OK, scores={"ssim": number, "iqa:fsim": np.nan})
        for one in selections
        for method, key, number in ((one.method, one.content_key, 1.5), ("pca", f"pca/{one.pair_id}", 0.5))
    ]
    tables = {
        "pairs": to_table(rows, PAIRS),
        "scores": to_table(scores, scores_schema(("ssim", "iqa:fsim"))),
        "selections": to_table(selections, SELECTIONS),
    }
    for name, columns in manifest.pop("drop", {}).items():
        tables[name] = tables[name].drop_columns(columns)
    about = {
        "criterion": {"name": "diff-if", "rule": "2*ssim + vif + 3*qabf"},
        "methods": {"gff": {"version": 3, "parameters": {}, "licence": "Apache-2.0"}},
        "tables": {name: write_table(store.files, name, table).to_json() for name, table in tables.items()},
        **manifest,
    }
    with Draft(store, find_head(store)) as draft:
        for row in rows:
            draft.put(IMAGES, row.pair_id, ImageChange(*stack(draw(row)), {"winner": select(row).method}))
        snapshot_id = draft.commit("pairs", about, {})
        draft.publish()
    return Snapshot(store, snapshot_id)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return put_snapshot(str(tmp_path_factory.mktemp("export") / "store"))


def export(snapshot: Snapshot, out: Path, **asked: Any) -> Export:
    return export_snapshot(snapshot, ExportRequest(out=out, **asked), encode, lambda what, done, total: None)


@pytest.fixture(scope="module")
def exported(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a layout, exported once; not to be changed."""
    home = tmp_path_factory.mktemp("exported")

    def find(layout: str) -> Path:
        if not (home / layout).exists():
            export(snapshot, home / layout, layout=layout)
        return home / layout

    return find


def read_table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as stream:
        return {row["pair_id"]: row for row in csv.DictReader(stream)}


# Diff-IF: three folders, sorted by path, paired by position.


def list_as_diff_if(root: Path, folders: Sequence[str]) -> Iterator[tuple[Path, ...]]:
    """The files of each pair: sorted paths of every folder, the n-th of one with the n-th of the others."""
    listed = [sorted(str(path) for path in (root / name).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".bmp")) for name in folders]
    assert len({len(paths) for paths in listed}) == 1 and listed[0]
    for paths in zip(*listed, strict=True):
        yield tuple(map(Path, paths))


def crop_as_diff_if(path: Path, mode: str) -> Picture:
    """A crop as the trainer takes it; a picture that is too small has no place for it."""
    with Image.open(path) as opened:
        image = np.asarray(opened.convert(mode))
    top, left = np.random.default_rng(0).integers(0, (image.shape[0] - CROP + 1, image.shape[1] - CROP + 1))
    return image[top : top + CROP, left : left + CROP]


@pytest.mark.parametrize(
    ("home", "folders", "modes"),
    [
        ("infrared-visible/train", ("Visible", "Infrared", "Fusion_K"), ("YCbCr", "YCbCr", "YCbCr")),
        ("infrared-visible/eval", ("Visible", "Infrared", "Fusion_K"), ("YCbCr", "YCbCr", "YCbCr")),
        ("infrared-visible/test", ("Visible", "Infrared", "Fusion_K"), ("YCbCr", "YCbCr", "YCbCr")),
        ("medical/train", ("CT-PET-SPECT", "MRI", "Fusion_K"), ("YCbCr", "YCbCr", "L")),
        ("multi-focus/train", ("near_focus", "far_focus", "Fusion_K"), ("YCbCr", "YCbCr", "YCbCr")),
    ],
)
def test_the_folders_are_read_as_diff_if_reads_them(
    exported: Callable[[str], Path], home: str, folders: tuple[str, ...], modes: Any
) -> None:
    folder = exported("diff-if")
    found = list(list_as_diff_if(folder / home, folders))
    by_file = {(row[f"{name}_file"]): (pair_id, name) for pair_id, row in read_table(folder).items() for name in ("a", "b", "target")}
    for paths in found:
        assert len({path.name.split(".png")[0] for path in paths}) == 1
        members = [by_file[path.relative_to(folder).as_posix()] for path in paths]
        assert len({pair_id for pair_id, _ in members}) == 1, "three pictures of one pair"
        assert members[2][1] == "target"
        pictures = draw(next(row for row in ROWS if row.pair_id == members[0][0]))
        for path, (_, name), mode in zip(paths, members, modes, strict=True):
            assert np.array_equal(decode(path.read_bytes()), pictures[name.replace("target", "winner")])
            assert crop_as_diff_if(path, mode).shape[:2] == (CROP, CROP)
    first = by_file[found[0][0].relative_to(folder).as_posix()][1]
    assert first == {"Visible": "b", "CT-PET-SPECT": "a", "near_focus": "a"}[folders[0]]


def test_splits_and_tasks_are_kept_apart(exported: Callable[[str], Path]) -> None:
    table = read_table(exported("diff-if"))
    assert {pair_id: row["target_file"].rpartition("/")[0] for pair_id, row in table.items()} == {
        "brain/7": "medical/train/Fusion_K",
        "focus/1": "multi-focus/train/Fusion_K",
        "street/01": "infrared-visible/train/Fusion_K",
        "street/02": "infrared-visible/eval/Fusion_K",
        "street/é.png x": "infrared-visible/test/Fusion_K",
        "street_01": "infrared-visible/train/Fusion_K",
    }


def test_the_table_tells_every_pair_and_the_hash_of_every_picture(exported: Callable[[str], Path]) -> None:
    folder = exported("diff-if")
    table = read_table(folder)
    for row in table.values():
        for name in ("a", "b", "target"):
            assert hashlib.sha256((folder / row[f"{name}_file"]).read_bytes()).hexdigest() == row[f"{name}_sha256"]
    row = table["street/02"]
    assert (row["method"], row["licence"], row["method_licence"], row["value"]) == ("published:U2Fusion", "CC-BY-4.0", "", "2.5")
    assert (row["score_ssim"], row["score_iqa_fsim"], row["margin"], row["flags"]) == ("1.5", "", "", "by_hand")


def test_a_pair_too_small_for_a_crop_stays_out_of_diff_if_alone(
    snapshot: Snapshot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = export(snapshot, tmp_path / "out")
    assert done.counts == {"train": 4, "val": 1, "test": 1}
    assert done.notes[0] == "1 pairs are left out: a side is under 128 px, which the trainer of Diff-IF cannot crop."
    assert "1 pairs have a side under 128 px" in caplog.text
    assert done.notes[0] in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert export(snapshot, tmp_path / "shards", layout="webdataset").counts["train"] == 5
    (lonely,) = (row for row in ROWS if row.pair_id == SMALL)
    with pytest.raises(InputError, match="no pair is at least 128 px on each side"):
        diff_if.write(make_job(tmp_path, [lonely]))


def test_one_task_needs_no_folder_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    described = diff_if.write(make_job(tmp_path, [row for row in ROWS if row.source == "focus"]))
    assert (tmp_path / "train" / "near_focus" / "p0.png").is_file()
    assert described.notes == ("There are no multi-focus pairs for `eval`.",)
    assert "wants both train and eval" in caplog.text


def make_job(folder: Path, rows: Sequence[PairRow], visible: str = "") -> Job:
    """A job whose pictures are no pictures."""
    entries = tuple(
        Entry(pair=row, selection=select(row), stem=f"p{number}", method_licence="MIT", scores={}) for number, row in enumerate(rows)
    )
    nothing = Pictures(b"a", b"b", b"target")
    return Job(
        folder=folder, entries=entries, metrics=(), read=lambda some: ((one, nothing) for one in some), shard_bytes=10**6, visible=visible
    )


@pytest.mark.parametrize(
    ("fields", "visible", "expected"),
    [
        ({"a_modality": "IR", "b_modality": "VIS"}, "", "b"),
        ({"a_modality": "visible_day", "b_modality": "thermal"}, "", "a"),
        ({"a_modality": "ir_warped", "b_modality": "cam2"}, "", "b"),
        ({"a_modality": "left", "b_modality": "lwir14"}, "b", "a"),
        ({"a_modality": "left", "b_modality": "visible2", "a_format": "png rgb8", "b_format": "png grey8"}, "", "b"),
        ({"a_modality": "visible2", "b_modality": "right"}, "", "a"),
        ({"a_modality": "rgb", "b_modality": "ir"}, "b", "a"),
        ({"a_modality": "1", "b_modality": "2"}, "", "b"),
        ({"a_modality": "1", "b_modality": "2", "a_format": "png rgb8", "b_format": "png grey-as-rgb8"}, "", "a"),
        ({"a_modality": "ir", "b_modality": "thermal", "a_format": "png rgb8", "b_format": "png grey8"}, "", "a"),
        ({"a_modality": "1", "b_modality": "2", "b_format": "png grey8"}, "a", "a"),
        ({**BRAIN, "a_modality": "MRI", "b_modality": "CT"}, "", "b"),
        ({**BRAIN, "a_modality": "MRI", "b_modality": "PET"}, "", "b"),
        ({**BRAIN, "a_modality": "t1", "b_modality": "t2"}, "a", "a"),
    ],
)
def test_which_source_is_visible_is_told(tmp_path: Path, fields: dict[str, Any], visible: str, expected: str) -> None:
    row = describe("p", "train", **fields)
    diff_if.write(make_job(tmp_path, [row], visible))
    (path,) = tmp_path.glob(f"train/{'CT-PET-SPECT' if row.task == 'medical' else 'Visible'}/p0.png")
    assert path.read_bytes().decode() == expected


@pytest.mark.parametrize(("a_format", "b_format"), [("png rgb8", "png rgb8"), ("png grey8", "gif palette8"), ("", "")])
def test_where_nothing_tells_the_visible_source_one_is_asked(tmp_path: Path, a_format: str, b_format: str) -> None:
    row = describe("p", "train", a_modality="1", b_modality="2", a_format=a_format, b_format=b_format)
    with pytest.raises(InputError, match=r"whether '1' \(a\) or '2' \(b\) of street is Visible.* --visible a or --visible b"):
        diff_if.write(make_job(tmp_path, [row]))


def test_pairs_that_contradict_each_other_tell_nothing(tmp_path: Path) -> None:
    row = describe("p", "train", a_modality="1", b_modality="2")
    other = replace(row, pair_id="q", a_format=row.b_format, b_format=row.a_format)
    with pytest.raises(InputError, match="it cannot be told"):
        diff_if.write(make_job(tmp_path, [row, other]))


def test_modalities_that_are_no_folders_become_letters(tmp_path: Path) -> None:
    rows = [describe("p", "train", **FOCUS), describe("q", "train", **{**FOCUS, "source": "other", "a_modality": "left"})]
    diff_if.write(make_job(tmp_path, rows))
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["A", "B", "Fusion_K"]


# WebDataset.


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves its shards open
def test_shards_are_read_by_webdataset(exported: Callable[[str], Path]) -> None:
    folder = exported("webdataset")
    shards = sorted(path.name for path in folder.glob("*.tar"))
    assert shards == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    for shard, split in zip(shards, ("test", "train", "val"), strict=True):
        wanted = {row.pair_id: row for row in ROWS if row.split == split}
        found = list(webdataset.WebDataset(str(folder / shard), shardshuffle=False))
        assert sorted(json.loads(one["json"])["pair_id"] for one in found) == sorted(wanted)
        for one in found:
            facts = json.loads(one["json"])
            pictures = draw(wanted[facts["pair_id"]])
            assert facts["stem"] == one["__key__"].removeprefix("./") and "." not in facts["stem"]
            assert all(
                np.array_equal(decode(one[name]), pictures[key]) for name, key in (("a.png", "a"), ("b.png", "b"), ("target.png", "winner"))
            )
            assert (facts["scores"], facts["margin"], facts["value"], facts["split"]) == ({"ssim": 1.5}, None, 2.5, split)
            assert facts["method_licence"] == METHODS.get(facts["pair_id"], ("", "Apache-2.0"))[1]


def test_shards_are_closed_when_full_and_equal_every_time(snapshot: Snapshot, tmp_path: Path) -> None:
    most = 250_000
    for name in ("one", "two"):
        export(snapshot, tmp_path / name, layout="webdataset", shard_bytes=most)
    shards = sorted(path.name for path in (tmp_path / "one").glob("train-*.tar"))
    assert shards == [f"train-{number:06d}.tar" for number in range(len(shards))] and len(shards) > 1
    assert all((tmp_path / "one" / name).stat().st_size <= most + tarfile.RECORDSIZE for name in shards)
    stems = [member.split(".")[0] for name in shards for member in list_members(tmp_path / "one" / name)]
    assert len(list(itertools.groupby(stems))) == len(set(stems)) == 5, "the members of a pair lie side by side"
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def list_members(shard: Path) -> list[str]:
    with tarfile.open(shard) as opened:
        return opened.getnames()


def test_a_pair_larger_than_a_shard_gets_one_of_its_own(snapshot: Snapshot, tmp_path: Path) -> None:
    export(snapshot, tmp_path / "out", layout="webdataset", shard_bytes=1, splits=("train",))
    assert len(list((tmp_path / "out").glob("*.tar"))) == 5


# Hugging Face.


def test_the_folder_is_loaded_by_datasets(exported: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(exported("huggingface")), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 5, "validation": 1, "test": 1}
    known = {row.pair_id: row for row in ROWS}
    for row in (one for rows in loaded.values() for one in rows):
        pictures = draw(known[row["pair_id"]])
        assert all(np.array_equal(np.asarray(row[name]), pictures[key]) for name, key in (("a", "a"), ("b", "b"), ("target", "winner")))
        assert (row["score_ssim"], row["score_iqa_fsim"], row["value"], row["margin"]) == (1.5, None, 2.5, None)
    assert loaded["validation"][0]["method"] == "published:U2Fusion"


def test_parquet_files_are_numbered_and_closed_when_full(snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.layouts.huggingface.GROUP_BYTES", 1)
    export(snapshot, tmp_path / "out", layout="huggingface", shard_bytes=250_000)
    names = sorted(path.name for path in (tmp_path / "out" / "data").glob("train-*"))
    assert names == [f"train-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))] and len(names) > 1
    import pyarrow.parquet as pq

    files = [pq.ParquetFile(tmp_path / "out" / "data" / name) for name in names]
    assert sum(one.metadata.num_row_groups for one in files) == sum(one.metadata.num_rows for one in files) == 5


# The card.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_card_tells_what_it_is_and_what_it_stands_under(exported: Callable[[str], Path], snapshot: Snapshot, layout: str) -> None:
    _, header, text = (exported(layout) / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["license"] == "unknown" and facts["size_categories"] == ["n<1K"] and facts["task_categories"] == ["image-to-image"]
    assert snapshot.id in text and "2*ssim + vif + 3*qabf" in text and "10.1016/j.inffus.2024.102450" in text
    assert re.search(r"\| gff \| 3 \| \d \| [\d.]+ % \|", text)
    assert "| method published:U2Fusion | not stated | not known to be allowed | 1 |" in text
    assert "| the pictures of brain | CC-BY-NC-4.0 | not known to be allowed | 1 |" in text
    assert ("configs" in facts) == (layout == "huggingface")
    if layout == "huggingface":
        assert facts["configs"][0]["data_files"][1] == {"split": "validation", "path": "data/validation-*.parquet"}


def test_one_licence_stands_in_the_header(tmp_path: Path) -> None:
    rows = [describe("p", "train", licence="apache-2.0"), describe("q", "val", licence="Apache-2.0")]
    export(put_snapshot(str(tmp_path / "store"), rows), tmp_path / "out", layout="webdataset")
    assert 'license: "apache-2.0"' in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    export(put_snapshot(str(tmp_path / "mixed"), [describe("p", "train")]), tmp_path / "second", layout="webdataset")
    assert 'license: "other"\nlicense_name: "several"' in (tmp_path / "second" / "README.md").read_text(encoding="utf-8")


# Croissant.

read_croissant = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # mlcroissant's rdflib


@read_croissant
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_metadata_is_valid_and_every_file_has_its_hash(exported: Callable[[str], Path], snapshot: Snapshot, layout: str) -> None:
    folder = exported(layout)
    described = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert described.metadata.ctx.issues.report() == ""
    assert described.metadata.version == f"1.0.0+{snapshot.id}"
    assert "https://spdx.org/licenses/CC-BY-NC-4.0.html" in described.metadata.license
    files = {one.content_url: one for one in described.metadata.distribution if hasattr(one, "sha256")}
    tables = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".csv", ".tar", ".parquet")}
    assert set(files) == tables
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == one.sha256 for name, one in files.items())


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # mlcroissant's pandas
@read_croissant
@pytest.mark.parametrize("layout", ["diff-if", "huggingface"])
def test_the_metadata_says_how_every_pair_is_read(exported: Callable[[str], Path], layout: str) -> None:
    described = mlcroissant.Dataset(str(exported(layout) / "croissant.json"))
    found = list(described.records("pairs"))
    assert len(found) == (6 if layout == "diff-if" else 7)
    for one in found:
        (row,) = (row for row in ROWS if row.pair_id == one["pairs/pair_id"].decode())
        assert (one["pairs/height"], one["pairs/split"].decode(), one["pairs/score_ssim"]) == (row.height, row.split, 1.5)
        if layout == "huggingface":
            assert np.array_equal(np.asarray(one["pairs/target"]), draw(row)["winner"])


@read_croissant
def test_the_metadata_says_which_pair_a_picture_belongs_to(exported: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    described = mlcroissant.Dataset(str(exported("diff-if") / "croissant.json"))
    names = [one.id for one in described.metadata.record_sets if one.id != "pairs"]
    assert len(names) == 9 and "infrared-visible-Fusion_K-pictures" in names
    for name, picture in (("infrared-visible-Visible-pictures", "b"), ("medical-CT-PET-SPECT-pictures", "a")):
        for one in described.records(name):
            (row,) = (row for row in ROWS if row.pair_id == one[f"{name}/pair_id"].decode())
            assert np.array_equal(np.asarray(one[f"{name}/picture"]), draw(row)[picture])
    assert "Could not match" not in caplog.text


# Licences.


def test_a_commercial_export_is_refused_whole_and_says_why(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export(snapshot, tmp_path / "out", policy="commercial")
    message = str(caught.value)
    assert "no licence stated (method published:U2Fusion) on 1 of 7 pairs: street/02" in message
    assert "'CC-BY-NC-4.0' (the pictures of brain) on 1 of 7 pairs: brain/7" in message
    assert list(tmp_path.iterdir()) == []


def test_refused_pairs_are_left_out_where_one_says_so(snapshot: Snapshot, tmp_path: Path) -> None:
    done = export(snapshot, tmp_path / "out", policy="commercial", refused="leave_out", layout="webdataset")
    assert done.counts == {"train": 4, "val": 0, "test": 1}
    assert done.notes == ("2 of 7 pairs are left out: they are not known to be usable commercially.",)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert done.notes[0] in text and "CC-BY-NC" not in text and 'license: "other"' in text


def test_what_is_stated_is_let_through_and_stands_in_the_card(snapshot: Snapshot, tmp_path: Path) -> None:
    asked = {"policy": "commercial", "allow": ("CC BY-NC 4.0",), "splits": ("train", "test"), "layout": "webdataset"}
    assert export(snapshot, tmp_path / "out", **asked).counts == {"train": 5, "test": 1}
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Whoever exported stated that `CC BY-NC 4.0` allows commercial use." in text
    assert "| the pictures of brain | CC-BY-NC-4.0 | allowed, as stated | 1 |" in text


def test_a_metric_that_may_not_be_used_refuses_every_pair(snapshot: Snapshot, tmp_path: Path) -> None:
    asked = {"policy": "commercial", "refused": "leave_out", "metric_licences": {"ssim": "MIT", "iqa:fsim": "PolyForm-Noncommercial-1.0.0"}}
    with pytest.raises(InputError, match=r"'PolyForm-Noncommercial-1.0.0' \(metric iqa:fsim\) on 7 of 7 pairs") as caught:
        export(snapshot, tmp_path / "out", **asked)
    assert "nothing would be left" in str(caught.value) and "--only-allowed" not in str(caught.value)
    assert export(snapshot, tmp_path / "out", **asked, allow=("PolyForm-Noncommercial-1.0.0",)).counts["test"] == 1


def test_silence_cannot_be_stated_to_allow_anything(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--allow was given an empty text"):
        export(snapshot, tmp_path / "out", policy="commercial", allow=("",))


def test_an_older_snapshot_knows_the_licences_of_live_methods(tmp_path: Path) -> None:
    older = put_snapshot(str(tmp_path / "store"), schema_version=2, drop={"selections": ["licence", "planes", "candidate_planes"]})
    _, entries = list_entries(older, SPLITS)
    licences = {one.pair.pair_id: one.method_licence for one in entries}
    assert (licences["street/01"], licences["street/02"], licences["focus/1"]) == ("Apache-2.0", "", "")


def test_a_snapshot_without_splits_is_to_be_built_again(tmp_path: Path) -> None:
    oldest = put_snapshot(str(tmp_path / "store"), ROWS[:1], schema_version=1, drop={"pairs": ["group", "split", "scene_hash"]})
    with pytest.raises(InputError, match="has no train, val and test splits; build it again"):
        export(oldest, tmp_path / "out")


# Whole or not at all.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_disk_leaves_nothing(snapshot: Snapshot, tmp_path: Path, layout: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # what is written beyond fails, as on a disk that is full
    try:
        with pytest.raises(InputError, match=r"out cannot be written \(.*File too large.*\); nothing was left there"):
            export(snapshot, tmp_path / "out", layout=layout)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("lost"), OSError(errno.ENOSPC, "No space left on device")])
def test_an_export_that_ends_early_leaves_nothing(snapshot: Snapshot, tmp_path: Path, error: BaseException) -> None:
    seen = itertools.count()

    def fail(picture: Picture) -> bytes:
        if next(seen) == 10:
            raise error
        return encode(picture)

    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        export_snapshot(snapshot, ExportRequest(out=tmp_path / "out", layout="webdataset"), fail, lambda what, done, total: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("full", "file", "link"):
        with pytest.raises(InputError, match=f"{name} is there and not an empty folder"):
            export(snapshot, tmp_path / name)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_an_empty_folder_and_one_that_is_not_there_are_filled(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        assert export(snapshot, out).folder == out
        assert (out / "README.md").is_file()
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_progress_is_told_and_little_is_read_ahead(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[object] = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
            submitted.append(arguments)
            return super().submit(*arguments, **named)

    monkeypatch.setattr(export_module, "AHEAD", 2)
    monkeypatch.setattr(export_module, "ThreadPoolExecutor", Counting)
    told = []
    _, entries = list_entries(snapshot, SPLITS)
    found = read_pictures(snapshot, entries, encode, lambda *words: told.append(words))
    for number, (entry, pictures) in enumerate(found):
        assert entry is entries[number] and np.array_equal(decode(pictures.a), draw(entry.pair)["a"])
        assert len(submitted) <= number + 2, "two pairs at once and no more"
    assert told == [("exported", number, 7) for number in range(1, 8)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"layout": "diff_if"}, "unknown layout 'diff_if'; did you mean diff-if"), ({"splits": ("eval",)}, "unknown split 'eval'")],
)
def test_a_name_that_is_nothing_is_told(snapshot: Snapshot, tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        export(snapshot, tmp_path / "out", **asked)


def test_no_split_at_all_is_told(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no split is named, so there is nothing to export; name some of train, val, test with --split"):
        export(snapshot, tmp_path / "out", splits=())


def test_a_split_without_pairs_is_told(tmp_path: Path) -> None:
    lonely = put_snapshot(str(tmp_path / "store"), ROWS[:1])
    with pytest.raises(InputError, match="has no pair with a winner in val; name other splits with --split"):
        export(lonely, tmp_path / "out", splits=("val",))


# Names of files.


@given(st.lists(st.text(max_size=120), unique=True, max_size=20))
def test_every_pair_gets_a_file_name_of_its_own(pair_ids: list[str]) -> None:
    stems = make_stems(pair_ids)
    assert list(stems) == pair_ids
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", stem) and len(stem) <= MAX_STEM for stem in stems.values())
    assert len({stem.casefold() for stem in stems.values()}) == len(pair_ids)


def test_names_that_would_be_the_same_are_told_apart() -> None:
    stems = make_stems(["a/1", "a_1", "A 1", "b/1"])
    assert stems["b/1"] == "b_1"
    assert all(re.fullmatch(r"[aA]_1-[0-9a-f]{16}", stems[one]) for one in ("a/1", "a_1", "A 1"))
    taken = [*stems, stems["a/1"]]  # an id that looks like another's name
    assert len(set(make_stems(taken).values())) == 5


@pytest.mark.parametrize("name", ["nul", "AUX", "Con", "prn", "com1", "LPT9", "/nul/"])
def test_a_device_of_windows_is_no_name(name: str) -> None:
    bare = name.strip("/")
    assert re.fullmatch(f"{bare}-[0-9a-f]{{16}}", make_stems([name])[name]) and re.fullmatch(f"{bare}-[0-9a-f]{{16}}", clean(name))
    assert make_stems(["nul.a", "null", "com0"]) == {"nul.a": "nul_a", "null": "null", "com0": "com0"}
