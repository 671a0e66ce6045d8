"""A student in one file that fuses without this project: padding, start noise and the whole sampler inside, images of any size.

The file takes `a` and `b`, float32 `(1, 1, H, W)` in [0, 1], and gives `fused`, likewise. It cuts no tiles: the memory it needs grows with
the image, and above `fuse.TILE` px, where `train.fuse.fuse` starts to cut, the two differ a little. Opening a `.pt2` takes far longer than
opening the same student as ONNX: torch parses an expression for every size within the networks.

session = onnxruntime.InferenceSession("student.onnx")                   # form "onnx"
fused = session.run(["fused"], {"a": a, "b": b})[0]
fused = torch.export.load("student.pt2").module()(a, b)                  # form "torch"
"""

import copy
import importlib
import io
import warnings
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.onnx import ONNXProgram

from storage.errors import InputError
from storage.files import Files, parse_location
from train.diffusion import follow, make_plan
from train.fuse import NOISE_SIDE, make_noise
from train.model import Student

SOURCES, FUSED = ("a", "b"), "fused"


def export_student(student: Student, path: Path, *, form: Literal["onnx", "torch"], steps: int | None = None, seed: int = 0) -> None:
    """Write a student as one self-contained file, whole or not at all; an older one under this path is replaced.

    The file's images agree with `train.fuse.fuse` to less than one grey level of 255. Their sides must be longer than `student.multiple`.

    Args:
        student: as from `train.fuse.load_student`; it stays as it is.
        path: of the file.
        form: "onnx", for ONNX Runtime and its kin; or "torch", for `torch.export.load` (a `.pt2`).
        steps: of the sampler, 1 to 50; the network's own number unless given.
        seed: of the noise that sampling starts from.

    Raises:
        InputError: `steps` or `seed` is out of range, the packages for ONNX are missing, or the path cannot be written.
    """
    steps = student.network.steps if steps is None else steps
    fuser = Fuser(student, steps, seed)
    about = f"Fuses two registered lumas a and b, float32 (1, 1, H, W) in [0, 1], in {steps} sampling steps from the noise of seed {seed}."
    content = _FORMS[form](fuser, about)
    try:
        Files(parse_location(str(path.parent))).write(path.name, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another path") from error


class Fuser(nn.Module):
    """What `train.fuse.fuse` does to an image of one tile, in a form that can be traced once for all sizes."""

    def __init__(self, student: Student, steps: int, seed: int) -> None:
        super().__init__()
        self.plan = make_plan(steps)
        self.student = copy.deepcopy(student).cpu().eval().requires_grad_(False)
        self.noise: Tensor
        self.register_buffer("noise", make_noise(seed, slice(0, NOISE_SIDE), slice(0, NOISE_SIDE)))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The fused image, `(1, 1, H, W)` in [0, 1]."""
        height, width = a.shape[-2:]
        rows, columns = self._pad(height), self._pad(width)
        a, b = (_gather(one, rows, columns) * 2 - 1 for one in (a, b))
        noise = _gather(self.noise, rows % NOISE_SIDE, columns % NOISE_SIDE)
        fused = follow(self.student, self.plan, a, b, noise, len(self.plan.times) - 1).refined.clamp(-1, 1)
        # cropped by an index: a slice asks whether it ends within the image, which a trace for all sizes cannot answer
        return ((_gather(fused, torch.arange(height), torch.arange(width)) + 1) / 2).clamp(0, 1)

    def _pad(self, side: int) -> Tensor:
        """Where each line of the padded image comes from: the last one repeated."""
        multiple = self.student.multiple
        # rounded up in a form that shows a trace, for every side, that the sum is divisible by the multiple and is not zero
        count = torch.sym_max((side + multiple - 1) // multiple, 1)
        return torch.arange(multiple * count).clamp(max=side - 1)


def _gather(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return image[:, :, rows][:, :, :, columns]


def _trace(fuser: Fuser) -> tuple[ExportedProgram, dict[str, dict[int, Dim]]]:
    """The program for all sizes, and which of its axes are free."""
    shortest = fuser.student.multiple + 1  # below, a level of the denoiser would be a single pixel, which a trace takes for a constant
    axes = {2: Dim("height", min=shortest), 3: Dim("width", min=shortest)}
    shapes = dict.fromkeys(SOURCES, axes)
    example = torch.zeros(1, 1, 2 * shortest + 1, 3 * shortest + 1)  # sides that differ, or they would be taken for one number
    with torch.no_grad():
        return torch.export.export(fuser, (example, example.clone()), dynamic_shapes=shapes), shapes


def _to_torch(fuser: Fuser, about: str) -> bytes:
    program, _ = _trace(fuser)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of this machine
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={"about.txt": about})
    return stream.getvalue()


def _to_onnx(fuser: Fuser, about: str) -> bytes:
    for name in ("onnx", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(f"the form onnx needs the package {name}; install it with pip install 'fusion-prior[onnx]'") from error
    program, shapes = _trace(fuser)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # the axes of b are those of a: so they are meant
        exported = torch.onnx.export(program, input_names=SOURCES, output_names=(FUSED,), dynamic_shapes=shapes, dynamo=True, verbose=False)
    model = cast(ONNXProgram, exported).model_proto  # None is for the older exporter
    model.doc_string = about
    for node in model.graph.node:
        node.ClearField("metadata_props")  # more than the weights of a small student, and the paths of this machine
    content: bytes = model.SerializeToString()
    return content


_FORMS = {"onnx": _to_onnx, "torch": _to_torch}
