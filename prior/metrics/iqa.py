"""Judges from pyiqa, looked up on demand as `iqa:<model>`: only models that run without downloaded weights.

Models that compare with a reference judge a candidate by the mean over its two sources. Grey levels are scaled to [0, 1] and
repeated in three channels. This is the only module that imports pyiqa, and with it torch, and only inside its functions:
together they take several seconds.

Reference: Chen, Mo 2022, https://github.com/chaofengc/IQA-PyTorch.
"""

import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from prior.arrays import Picture
from prior.registry import Metric, metric_family
from prior.statistics import Fused, Sources
from storage.errors import FusionPriorError, InputError, unknown_name

if TYPE_CHECKING:
    import torch

PREFIX = "iqa:"
# The models that need no weights, and the shortest side in px that each can judge.
SHORTEST_SIDES: Mapping[str, int] = MappingProxyType(
    {
        "cw_ssim": 64,
        "entropy": 3,
        "fsim": 3,
        "gmsd": 3,
        "mad": 64,
        "ms_ssim": 161,
        "nlpd": 3,
        "piqe": 8,
        "psnr": 3,
        "psnry": 3,
        "ssim": 11,
        "ssimc": 11,
        "vif": 33,
        "vsi": 3,
    }
)


@metric_family(PREFIX)
def find_iqa(name: str) -> Metric:
    """The metric of a pyiqa model that runs without downloaded weights.

    Args:
        name: `iqa:<model>`, for example `iqa:ms_ssim`.

    Returns:
        A metric like the registered ones; it pickles. Its number is nan on images too small for the model.

    Raises:
        UnknownName: pyiqa has no such model.
        InputError: the model needs weights that are not part of pyiqa.
    """
    model = name.removeprefix(PREFIX)
    if model not in SHORTEST_SIDES:
        raise _refuse(name, model)
    found = _load(model)
    judge, how = (_judge_against_sources, ", mean over both sources") if found.metric_mode == "FR" else (_judge_alone, "")
    return Metric(
        name=PREFIX + model,
        judge=functools.partial(judge, model),
        better="lower" if found.lower_better else "higher",
        bounds=(-math.inf, math.inf),
        version=f"1, pyiqa {version('pyiqa')}",
        reference="Chen, Mo 2022, https://github.com/chaofengc/IQA-PyTorch",
        definition=f"{model} of pyiqa {version('pyiqa')}, grey repeated in three channels of [0, 1]{how}",
        needs=(),
        licence="PolyForm-Noncommercial-1.0.0",
    )


def _refuse(name: str, model: str) -> FusionPriorError:
    """Why a name outside the table is no metric of ours."""
    with _one_quiet_thread():
        import pyiqa

        known = pyiqa.list_models()
    usable = [PREFIX + one for one in SHORTEST_SIDES]
    if model in known:
        return InputError(f"metric {name!r} needs weights that pyiqa would download; choose one that runs without: {', '.join(usable)}")
    return unknown_name("metric", name, usable)


def _judge_against_sources(model: str, fused: Fused) -> float:
    if min(fused.image.shape) < SHORTEST_SIDES[model]:
        return math.nan
    of_a, of_b = fused.sources.once(_to_tensors)
    image = fused.once(_to_tensor)
    return (_run(model, image, of_a) + _run(model, image, of_b)) / 2


def _judge_alone(model: str, fused: Fused) -> float:
    if min(fused.image.shape) < SHORTEST_SIDES[model]:
        return math.nan
    return _run(model, fused.once(_to_tensor))


def _run(model: str, *images: "torch.Tensor") -> float:
    """The model's number for a candidate, alone or followed by a source."""
    with _one_quiet_thread():
        try:
            return float(_load(model)(*images))
        except (AssertionError, RuntimeError) as error:
            height, width = images[0].shape[-2:]
            text = f"metric {PREFIX}{model} failed on an image of {width} x {height} px: {error}; leave the metric out for such images"
            raise InputError(text) from error


@functools.cache
def _load(model: str) -> Any:
    with _one_quiet_thread():
        import pyiqa

        return pyiqa.create_metric(model, device="cpu")


def _to_tensors(sources: Sources) -> "tuple[torch.Tensor, torch.Tensor]":
    return _stack(sources.a), _stack(sources.b)


def _to_tensor(fused: Fused) -> "torch.Tensor":
    return _stack(fused.image)


def _stack(image: Picture) -> "torch.Tensor":
    """Grey levels as a batch of one RGB image in [0, 1], `(1, 3, H, W)`."""
    import torch

    return torch.from_numpy(image.astype(np.float32) / np.float32(255)).expand(1, 3, -1, -1).contiguous()


@contextmanager
def _one_quiet_thread() -> Iterator[None]:
    """Run torch on one thread, as every other judge, and keep the warnings of pyiqa's own code from our callers."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)
