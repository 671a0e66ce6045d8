"""Students as methods: `student:<folder>`, from a run's folder (its best checkpoint) or a checkpoint's own, made on demand.

The version of such a method is the beginning of the sha256 of its weights, so that other weights are evaluated anew. Its name, which
content keys carry as well, is the folder as it was given: one that is relative counts from where each process runs, so write the whole
path for workers that run elsewhere, and name a checkpoint's own folder while its run still goes on. torch is imported on demand.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prior import registry
from prior.registry import Fuse, Method, method_family
from storage.errors import InputError

if TYPE_CHECKING:
    from prior.arrays import Image
    from train.checkpoint import Checkpoint
    from train.model import Student

PREFIX = "student:"


@method_family(PREFIX)
def find_student(name: str) -> Method:
    """The method of a student; its weights are read and checked at once, so that a damaged file is told before any work.

    Args:
        name: `student:<folder>`, of a run or of one checkpoint.

    Raises:
        InputError: there is no checkpoint, or it is damaged.
        SchemaMismatch: it is of a release with other networks.
    """
    from train.checkpoint import STUDENT, read_checkpoint

    checkpoint = read_checkpoint(Path(name.removeprefix(PREFIX)))
    folder, digest = str(checkpoint.folder.absolute()), checkpoint.facts.hashes.get(STUDENT, "")
    _load(folder, digest)
    return describe_student(name, checkpoint, functools.partial(_fuse_alone, folder, digest, steps=checkpoint.facts.network.steps))


def choose_method(name: str | None, checkpoint: Path | None, steps: int | None, seed: int | None, device: str | None) -> Method:
    """What is asked to fuse: a method by its name, or the student of a checkpoint, told how to.

    Raises:
        InputError: not exactly one of the two is given, or settings of a student without its checkpoint; see `open_student` too.
        UnknownName: no such method.
    """
    if (name is None) == (checkpoint is None):
        raise InputError("what shall fuse? give one of --method, a name from `fusion-prior methods`, and --checkpoint, a trained student")
    if checkpoint is not None:
        from train.checkpoint import read_checkpoint

        found = read_checkpoint(checkpoint)
        return describe_student(f"{PREFIX}{checkpoint}", found, open_student(found, steps, seed or 0, device or "auto"))
    if (steps, seed, device) != (None, None, None):
        raise InputError("--steps, --seed and --device tell a student how to fuse; give them with --checkpoint")
    return registry.find_method(str(name))


def open_student(checkpoint: "Checkpoint", steps: int | None = None, seed: int = 0, device: str = "auto") -> Fuse:
    """The student of a checkpoint as a function `(a, b) -> fused` of lumas.

    Args:
        checkpoint: as from `train.checkpoint.read_checkpoint`.
        steps: of the sampler; the network's own number unless given.
        seed: of the noise that sampling starts from.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: no such number of steps or device, or the weights are damaged.
    """
    from train.checkpoint import read_student
    from train.diffusion import MOST_SAMPLING_STEPS
    from train.fuse import fuse
    from train.processes import find_device

    if steps is not None and not 1 <= steps <= MOST_SAMPLING_STEPS:
        raise InputError(f"--steps is {steps}; a student samples in 1 to {MOST_SAMPLING_STEPS} steps")
    student = read_student(checkpoint).to(find_device(device)).eval()
    return functools.partial(fuse, student, steps=steps, seed=seed)


def describe_student(name: str, checkpoint: "Checkpoint", fuse: Fuse) -> Method:
    """A student's entry, as the registry would have it."""
    from train.checkpoint import STUDENT

    return Method(
        name=name,
        fuse=fuse,
        family="diffusion (student)",
        reference="Yi et al. 2024, doi 10.1016/j.inffus.2024.102450",
        version=checkpoint.facts.hashes[STUDENT][:16],
        sets=(),
        needs=("a checkpoint",),
        licence=f"weights trained on snapshot {checkpoint.facts.snapshot_id}",
        idempotent=False,
    )


def _fuse_alone(folder: str, digest: str, a: "Image", b: "Image", *, steps: int, seed: int = 0) -> "Image":
    """A candidate of a build, on one thread wherever it is made: workers share the cores among them, and sums keep their order."""
    from train.fuse import fuse

    with _one_thread():
        return fuse(_load(folder, digest), a, b, steps=steps, seed=seed)


@functools.lru_cache(maxsize=2)
def _load(folder: str, digest: str) -> "Student":
    """The student of a checkpoint, once per process; the hash is part of the key because a folder can come to hold other weights."""
    from train.checkpoint import STUDENT, read_checkpoint, read_student

    checkpoint = read_checkpoint(Path(folder))
    if checkpoint.facts.hashes.get(STUDENT, "") != digest:
        raise InputError(f"the student in {folder} has been replaced since it was named; run the same command again")
    return read_student(checkpoint).eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
