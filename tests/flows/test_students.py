"""Students as methods: by name in recipes and on workers, by hand on files and folders, never unasked."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import Result
from distributed import Client
from typer.testing import CliRunner

from flows import students
from flows.build import build
from flows.command_line import app
from flows.progress import stay_silent
from flows.recipe import make_recipe
from flows.single import fuse_files, fuse_folders
from flows.students import choose_method, find_student, open_student
from prior.arrays import Image
from prior.pictures import read_picture, write_png
from prior.registry import find_method, methods, resolve_methods
from storage.errors import FusionPriorError, InputError, UnknownName
from storage.schema import OK
from storage.tables import to_score_rows
from train.checkpoint import STUDENT, read_checkpoint


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def images() -> tuple[Image, Image]:
    a, b = np.random.default_rng(0).random((2, 45, 51), dtype=np.float32)
    return a, b


# By name.


def test_a_student_is_a_method_with_the_hash_of_its_weights(trained: Path, images: tuple[Image, Image]) -> None:
    found = find_method(f"student:{trained}")
    facts = read_checkpoint(trained).facts
    assert (found.name, found.family, found.sets) == (f"student:{trained}", "diffusion (student)", ())
    assert found.version == facts.hashes[STUDENT][:16] and "10.1016/j.inffus.2024.102450" in found.reference
    assert found.parameters == {"steps": facts.network.steps, "seed": 0}
    fused = found.fuse(*images)
    assert fused.shape == (45, 51) and fused.dtype == np.float32 and np.array_equal(fused, found.fuse(*images))
    assert np.array_equal(fused, pickle.loads(pickle.dumps(found)).fuse(*images))
    assert find_method(f"student:{trained / 'step-00000002'}").version == found.version


def test_a_student_is_part_of_no_set_and_listed_nowhere(trained: Path) -> None:
    name = f"student:{trained}"
    find_method(name)
    assert name not in methods() and not any(one.startswith("student:") for one in resolve_methods(["all"]))
    assert resolve_methods(["average", name, name]) == ("average", name)
    assert name not in call("methods", "--format", "json").stdout


def test_a_student_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere holds no checkpoint"):
        make_recipe({"methods": ["average", "student:nowhere"]})
    with pytest.raises(InputError, match="holds no checkpoint"):
        resolve_methods([f"student:{tmp_path}"])


def test_damaged_weights_are_told_when_the_student_is_named(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "step-00000002" / STUDENT).write_bytes(b"nothing")
    with pytest.raises(InputError, match="sha256 differs"):
        find_student(f"student:{run}")


def test_a_student_that_was_replaced_is_not_taken_for_the_old_one(trained: Path, tmp_path: Path, images: tuple[Image, Image]) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    old = find_student(f"student:{run}")
    students._load.cache_clear()
    path = run / "step-00000002" / "checkpoint.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"hashes": facts["hashes"] | {STUDENT: "0" * 64}}))
    with pytest.raises(InputError, match="has been replaced since it was named"):
        old.fuse(*images)


def test_a_candidate_is_made_on_one_thread_and_the_setting_is_put_back(
    trained: Path, images: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("train.fuse.fuse", lambda *given, **how: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        find_student(f"student:{trained}").fuse(*images)
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# In a build.


def test_a_build_with_a_student_has_its_candidates(
    trained: Path, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    name = f"student:{trained}"
    block = make_pairs(2, colour=True)
    recipe = make_recipe({"source": [block], "methods": ["average", name], "parameters": {name: {"steps": 1}}, "keep": "all"})
    snapshot = build(recipe, str(tmp_path / "store"), client).snapshot
    rows = {(row.pair_id, row.method): row for row in to_score_rows(snapshot.table("scores"))}
    found = find_method(name)
    assert {(row.status, row.version) for (_, method), row in rows.items() if method == name} == {(OK, found.version)}
    assert len(rows) == 4 and snapshot.manifest["methods"][name]["version"] == found.version
    fuse_files(choose_method(None, trained, 1, None, "cpu"), Path(block["a"]) / "p00.png", Path(block["b"]) / "p00.png", tmp_path / "f.png")
    kept = snapshot.candidates("p00")[name].astype(np.int16)
    assert kept.shape == (56, 64, 3) and np.abs(kept - read_picture(tmp_path / "f.png").pixels).max() <= 1


# By hand.


def test_exactly_one_of_method_and_checkpoint_fuses(trained: Path) -> None:
    for name, checkpoint in ((None, None), ("tif", trained)):
        with pytest.raises(InputError, match=r"one of --method, .* and --checkpoint"):
            choose_method(name, checkpoint, None, None, None)
    for settings in ((2, None, None), (None, 0, None), (None, None, "cpu")):
        with pytest.raises(InputError, match="give them with --checkpoint"):
            choose_method("tif", None, *settings)
    with pytest.raises(UnknownName, match="did you mean tif"):
        choose_method("tiff", None, None, None, None)
    assert choose_method("tif", None, None, None, None) is methods()["tif"]


@pytest.mark.parametrize("steps", [0, 51])
def test_a_student_samples_in_1_to_50_steps(trained: Path, steps: int) -> None:
    with pytest.raises(InputError, match=f"--steps is {steps}; a student samples in 1 to 50 steps"):
        open_student(read_checkpoint(trained), steps)


def test_settings_reach_the_student(trained: Path, images: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("train.fuse.fuse", lambda student, a, b, **how: told.append((student.training, how)))
    choose_method(None, trained, 3, 7, "cpu").fuse(*images)
    choose_method(None, trained, None, None, None).fuse(*images)
    assert told == [(False, {"steps": 3, "seed": 7}), (False, {"steps": None, "seed": 0})]


def test_a_fused_file_keeps_the_colour_of_its_pair(trained: Path, make_pairs: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    folders = make_pairs(1)
    a, b = (Path(folders[name]) / "p00.png" for name in ("a", "b"))
    grey = cv2.normalize(read_picture(b).pixels, None, 60, 190, cv2.NORM_MINMAX)
    write_png(b, np.dstack([grey + 15, grey, grey - 15]))
    done = call("fuse", "--checkpoint", trained, "--steps", 1, "--device", "cpu", a, b, tmp_path / "f.png")
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "f.png"), done.output
    fused, source = (cv2.cvtColor(read_picture(path).pixels, cv2.COLOR_RGB2YCrCb).astype(int) for path in (tmp_path / "f.png", b))
    assert np.abs(fused - source)[..., 1:].max() <= 2, "the colour is that of the source"
    assert np.abs(fused - source)[..., 0].max() > 10, "the brightness is not"


@pytest.fixture
def broken(make_pairs: Callable[..., dict[str, str]]) -> tuple[Path, Path]:
    """Two folders with two good pairs, one of two sizes, one that is no picture, and a picture without a partner."""
    folders = make_pairs(3, colour=True)
    a, b = Path(folders["a"]), Path(folders["b"])
    write_png(a / "p01.png", np.zeros((60, 60), np.uint8))
    (a / "p03.png").write_text("nothing")
    shutil.copy(b / "p00.png", b / "p03.png")
    shutil.copy(b / "p00.png", b / "alone.png")
    return a, b


@pytest.mark.parametrize("how", ["--method", "--checkpoint"])
def test_folders_are_fused_but_for_the_pairs_that_fail(
    trained: Path, broken: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level("WARNING", "flows")
    done = call("fuse", how, {"--method": "average", "--checkpoint": trained}[how], *broken, tmp_path / "out")
    assert done.exit_code == 1 and "2 of 4 pairs fused" in done.stderr, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p00.png", "p02.png"]
    assert read_picture(tmp_path / "out" / "p00.png").pixels.shape == (56, 64, 3)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3 and "alone.png" in lines[0] and "pair p01" in lines[1] and "pair p03" in lines[2]
    assert all("\n" not in line for line in lines)


def test_folders_of_good_pairs_end_with_success(make_pairs: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    folders = make_pairs(2)
    done = call("fuse", "--method", "average", folders["a"], folders["b"], tmp_path / "out")
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "out"))
    told: list[tuple[str, int, int]] = []
    fuse_folders(find_method("average"), Path(folders["a"]), Path(folders["b"]), tmp_path / "out", lambda *one: told.append(one))
    assert told == [("fusing", 1, 2), ("fusing", 2, 2)]


def test_sources_and_files_are_not_written_over(broken: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = broken
    (tmp_path / "file").write_text("kept")
    for out in (a, b, tmp_path / "file"):
        with pytest.raises(InputError, match="which fused pictures must not replace"):
            fuse_folders(find_method("average"), a, b, out, stay_silent)
    with pytest.raises(InputError, match="cannot be written"):
        fuse_files(find_method("average"), a / "p00.png", b / "p00.png", b)
    assert (tmp_path / "file").read_text() == "kept" and not list(tmp_path.rglob("*.tmp"))


def test_a_folder_does_not_pair_with_a_file(broken: tuple[Path, Path], tmp_path: Path) -> None:
    done = call("fuse", "--method", "average", broken[0], broken[1] / "p00.png", tmp_path / "out")
    assert isinstance(done.exception, FusionPriorError) and "is not a folder" in str(done.exception)
