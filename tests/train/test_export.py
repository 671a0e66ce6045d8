"""An exported file fuses as the student does, at every size, and carries nothing of the machine that wrote it."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.errors import InputError
from train.config import PRESETS
from train.export import export_student
from train.fuse import Fuse, Image, fuse
from train.model import Student

SIZES = ((41, 53), (64, 64), (100, 37), (258, 301))  # of odd sides, of sides that need no padding, and beyond the square of noise
STEPS = {"residual": None, "image": 2}  # the first network's own number is 2 as well, the other's is 4
SEED = 5

NETWORKS = {
    "residual": replace(PRESETS["tiny"].network, widths=(8, 8, 8), groups=4, refiner_width=4),
    "image": replace(PRESETS["diff-if"].network, widths=(8, 8), layers=1, groups=4, refiner_width=4, refiner_blocks=1),
}
"""Small kin of the presets: one folds its pixels and predicts a residual outright, one attends and predicts the velocity of an image."""


def make_student(name: str) -> Student:
    """A student with something to say: what begins at zero is drawn at random."""
    torch.manual_seed(1)
    student = Student(NETWORKS[name]).eval()
    for one in student.parameters():
        if not one.any():
            torch.nn.init.normal_(one, std=0.1)
    return student


def draw(height: int, width: int) -> tuple[Image, Image]:
    a, b = np.random.default_rng(height).random((2, height, width), dtype=np.float32)
    return a, b


@dataclass(frozen=True)
class Exported:
    """An exported file, what wrote it, what it runs as and what it says of itself."""

    name: str
    student: Student
    path: Path
    fuse: Fuse
    about: str


def open_onnx(path: Path) -> tuple[Fuse, str]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    about = pytest.importorskip("onnx").load(path).doc_string
    return lambda a, b: session.run(["fused"], {"a": a[None, None], "b": b[None, None]})[0][0, 0], about


def open_torch(path: Path) -> tuple[Fuse, str]:
    said = {"about.txt": ""}
    program = torch.export.load(path, extra_files=said).module()
    return lambda a, b: program(*(torch.from_numpy(one)[None, None] for one in (a, b)))[0, 0].numpy(), said["about.txt"]


@pytest.fixture(scope="module", params=[("image", "onnx"), ("residual", "torch")], ids="-".join)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    name, form = request.param
    if form == "onnx":
        pytest.importorskip("onnxscript")
    file_name, open_file = {"onnx": ("student.onnx", open_onnx), "torch": ("student.pt2", open_torch)}[form]
    path = tmp_path_factory.mktemp("exported") / file_name
    student = make_student(name)
    export_student(student, path, form=form, steps=STEPS[name], seed=SEED)
    return Exported(name, student, path, *open_file(path))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_file_fuses_as_the_student_does(exported: Exported, size: tuple[int, int]) -> None:
    a, b = draw(*size)
    expected = fuse(exported.student, a, b, steps=STEPS[exported.name], seed=SEED)
    fused = exported.fuse(a, b)
    assert fused.dtype == np.float32 and fused.shape == size
    assert expected.std() > 0.05
    assert np.abs(fused - expected).max() * 255 <= 1


def test_file_stands_alone_and_knows_no_paths(exported: Exported) -> None:
    assert list(exported.path.parent.iterdir()) == [exported.path]
    content = exported.path.read_bytes()
    assert [one for one in ("/torch/nn/", "/train/export.py", "/diffusers/") if one.encode() in content] == []


def test_file_says_what_it_is(exported: Exported) -> None:
    assert f"in 2 sampling steps from the noise of seed {SEED}" in exported.about


def test_student_stays_as_it_is(exported: Exported) -> None:
    fresh = make_student(exported.name).state_dict()
    assert all(one.requires_grad for one in exported.student.parameters())
    assert all(torch.equal(one, fresh[name]) for name, one in exported.student.state_dict().items())


@pytest.mark.parametrize("exported", [("image", "onnx")], ids="-".join, indirect=True)
def test_onnx_names_its_inputs_and_their_axes(exported: Exported) -> None:
    graph = pytest.importorskip("onnx").load(exported.path).graph
    shapes = {one.name: one.type.tensor_type.shape.dim for one in (*graph.input, *graph.output)}
    axes = {name: [axis.dim_param or axis.dim_value for axis in shape] for name, shape in shapes.items()}
    assert axes == {name: [1, 1, "height", "width"] for name in ("a", "b", "fused")}


@pytest.mark.parametrize("steps", [0, 51])
def test_steps_out_of_range_are_refused(tmp_path: Path, steps: int) -> None:
    with pytest.raises(InputError, match=f"asked for {steps} sampling steps; expected 1 to 50"):
        export_student(make_student("residual"), tmp_path / "file", form="torch", steps=steps)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    with pytest.raises(InputError, match=rf"needs the package {package}; install it with pip install 'fusion-prior\[onnx\]'"):
        export_student(make_student("residual"), tmp_path / "file", form="onnx")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("train.export._FORMS", {"torch": lambda *_: b"content"})
    with pytest.raises(InputError, match="cannot be written"):
        export_student(make_student("residual"), tmp_path / "folder", form="torch")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
