"""Judges from pyiqa, looked up on demand as `iqa:<model>`: those without weights, and those whose weights lie on this machine.

Models that compare with a reference judge a candidate by the mean over its two sources. Grey levels are scaled to [0, 1] and
repeated in three channels. Nothing is ever fetched: a model that misses a file is refused, with the place where the file belongs.
This is the only module that imports pyiqa, and with it torch, and only inside its functions: together they take several seconds.

Reference: Chen, Mo 2022, https://github.com/chaofengc/IQA-PyTorch.
"""

import difflib
import functools
import io
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from importlib.metadata import version
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from prior.arrays import Picture
from prior.passport import Passport
from prior.registry import Metric, metric_family
from prior.statistics import Fused, Sources
from storage.errors import InputError, UnknownName, unknown_name

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
OF_SETS, OF_FACES = "compares whole sets of pictures, where a candidate is one", "judges faces that it looks for in the picture"
# The models that a grey candidate and its sources are no input for, and why.
UNFIT: Mapping[str, str] = MappingProxyType(
    {
        "clipscore": "compares a picture with a caption, which a pair has not",
        "fgresq_pair": "answers with four numbers, where a metric has one",
        "fid": OF_SETS,
        "fid_dinov2": OF_SETS,
        "inception_score": OF_SETS,
        "msswd": "measures differences of colour, where candidates are grey",
        "sfid": OF_SETS,
        "topiq_nr-face": OF_FACES,
        "topiq_nr-face-v1": OF_FACES,
        "topiq_nr_swin-face": OF_FACES,
        "uranker": "judges the colour of pictures taken under water, where candidates are grey",
    }
)
MISTYPED = 0.8  # likeness from which on an unknown model is a known one mistyped
# Where functions that fetch a file from an address to a path stand under this name. Modules that are imported later take the first one's.
FETCHERS = ("torch.hub", "pyiqa.utils.download_util", "timm.models._hub")

_loading: ContextVar[str] = ContextVar("_loading", default="")  # the metric whose model is being loaded here
_one_at_a_time = Lock()


@metric_family(PREFIX)
def find_iqa(name: str) -> Metric:
    """The metric of a pyiqa model whose weights, if it has any, lie on this machine.

    Args:
        name: `iqa:<model>`, for example `iqa:ms_ssim`; the model in either case.

    Returns:
        A metric like the registered ones; it pickles. Its number is nan on images too small for a model without weights.

    Raises:
        UnknownName: pyiqa has no such model.
        InputError: the model misses a file, or is not made for a grey candidate and its sources.
    """
    model = _find_model(name)
    found = _load(model)
    judge, how = (_judge_against_sources, ", mean over both sources") if _compares(found) else (_judge_alone, "")
    return Metric(
        name=PREFIX + model,
        judge=functools.partial(judge, model),
        better="lower" if found.lower_better else "higher",
        bounds=(-math.inf, math.inf),  # the ranges that pyiqa states are rough: its nlpd of noise is 1.4
        version=f"1, pyiqa {version('pyiqa')}",
        reference="Chen, Mo 2022, https://github.com/chaofengc/IQA-PyTorch",
        definition=f"{model} of pyiqa {version('pyiqa')}, grey repeated in three channels of [0, 1]{how}",
        needs=() if model in SHORTEST_SIDES else ("weights that pyiqa names",),
        licence="PolyForm-Noncommercial-1.0.0",
        passport=_write_passport(model, found),
    )


def list_weightless() -> tuple[str, ...]:
    """The names of the models that need no weights, in alphabetical order; all others judge where theirs lie on this machine."""
    return tuple(PREFIX + model for model in sorted(SHORTEST_SIDES))


def _find_model(name: str) -> str:
    """The model of a name, as pyiqa spells it; raises as `find_iqa` does."""
    model = name.removeprefix(PREFIX).casefold()
    if model in SHORTEST_SIDES:
        return model
    if model in UNFIT:
        raise InputError(f"metric {name!r} {UNFIT[model]}; choose another")
    spelt = {one.casefold(): one for one in _list_models()}
    if model not in spelt:
        fit = [folded for folded, one in spelt.items() if one not in UNFIT]
        if difflib.get_close_matches(model, fit, n=1, cutoff=MISTYPED):
            raise unknown_name("metric", name, [PREFIX + spelt[one] for one in fit])
        text = f"unknown metric {name!r}; these need no weights: {', '.join(list_weightless())}; "
        raise UnknownName(text + f"{len(fit) - len(SHORTEST_SIDES)} more work where their weights lie on this machine")
    return spelt[model]


def _write_passport(model: str, found: Any) -> Passport:
    """What can be said of a model of pyiqa without having tried it."""
    compares = _compares(found)
    asked = "how much the fused image looks like the sources" if compares else "how good the fused image looks by itself"
    plain = model.replace("_", r"\_")
    shortest = SHORTEST_SIDES.get(model)
    return Passport(
        title=f"{model} of pyiqa",
        symbol=f"{plain} (pyiqa)",
        meaning=f"What the model {model} of pyiqa says about {asked}; its range is roughly {found.score_range}.",
        combination="mean" if compares else "candidate alone",
        dynamic_range="0..1, grey repeated in three channels",
        undefined=f"a side below {shortest} px" if shortest else "never; an image that the model cannot take is an error",
        noise="unstated",
        blur="unstated",
        window="as in pyiqa",
        border="as in pyiqa",
        smallest=shortest or 1,
    )


def _compares(found: Any) -> bool:
    """Whether a model of pyiqa compares a picture with a reference."""
    return bool(found.metric_mode == "FR")


def _judge_against_sources(model: str, fused: Fused) -> float:
    if min(fused.image.shape) < SHORTEST_SIDES.get(model, 1):
        return math.nan
    of_a, of_b = fused.sources.once(_to_tensors)
    image = fused.once(_to_tensor)
    return (_run(model, image, of_a) + _run(model, image, of_b)) / 2


def _judge_alone(model: str, fused: Fused) -> float:
    if min(fused.image.shape) < SHORTEST_SIDES.get(model, 1):
        return math.nan
    return _run(model, fused.once(_to_tensor))


def _run(model: str, *images: "torch.Tensor") -> float:
    """The model's number for a candidate, alone or followed by a source."""
    judge = _load(model)
    with _one_quiet_thread():
        try:
            return float(judge(*images))
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            height, width = images[0].shape[-2:]
            text = f"metric {PREFIX}{model} failed on an image of {width} x {height} px: {error}; leave the metric out for such images"
            raise InputError(text) from error


@functools.cache
def _list_models() -> tuple[str, ...]:
    with _one_quiet_thread():
        import pyiqa

        return tuple(pyiqa.list_models())


@functools.cache
def _load(model: str) -> Any:
    """The model, from what lies on this machine; pyiqa's own words on standard output are dropped."""
    name = PREFIX + model
    with _one_at_a_time, _one_quiet_thread(), redirect_stdout(io.StringIO()):
        import pyiqa

        with _keep_offline(name):
            try:
                return pyiqa.create_metric(model, device="cpu")
            except InputError:
                raise
            except Exception as error:  # whatever the libraries below raise
                raise _explain(name, error) from error


# --- without the network ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _keep_offline(name: str) -> Iterator[None]:
    """Fetch nothing for the model that is loaded within; other threads' downloads go on, but for those from Hugging Face."""
    from huggingface_hub import constants

    _guard_fetchers()
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    token = _loading.set(name)
    try:
        yield
    finally:
        _loading.reset(token)
        constants.HF_HUB_OFFLINE = before


@functools.cache
def _guard_fetchers() -> None:
    """Put a guard before everything that pyiqa fetches files with; it stays, and lets through what is not for a model of ours."""
    import urllib.request

    for module in filter(None, map(sys.modules.get, FETCHERS)):
        module.__dict__["download_url_to_file"] = _guard(module.__dict__["download_url_to_file"])
    urllib.request.__dict__["urlopen"] = _guard(urllib.request.urlopen)


def _guard(fetch: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fetch)
    def fetch_unless_loading(*arguments: Any, **options: Any) -> Any:
        name = _loading.get()
        if name:
            address, place = str(arguments[0]), str(arguments[1]) if len(arguments) > 1 else _clip_folders()
            raise _missing(name, address, place)
        return fetch(*arguments, **options)

    return fetch_unless_loading


def _missing(name: str, address: str, place: str) -> InputError:
    file = address.rsplit("/", 1)[-1]
    text = f"metric {name!r} needs the file {file}, which is not at {place}, or is damaged there; nothing is downloaded here: fetch it "
    return InputError(text + f"from {address}, as pyiqa would, or choose a metric that needs no weights")


def _clip_folders() -> str:
    """Where the copies of CLIP that are in use keep their weights; these alone open addresses by themselves."""
    import torch

    return f"{torch.hub.get_dir()}/clip or ~/.cache/clip"


def _explain(name: str, error: BaseException) -> InputError:
    """Why a model cannot be loaded: the refusal that a library may have wrapped, or else its own words."""
    from huggingface_hub import constants

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, InputError):
            return link
        asked = re.search(r"https://huggingface\.co/(\S+?)/resolve/[^:\s]+", str(link))
        if asked:
            folder = f"{constants.HF_HUB_CACHE}/models--{asked[1].replace('/', '--')}"
            return _missing(name, asked[0], folder)
        if isinstance(link, ModuleNotFoundError):
            return InputError(f"metric {name!r} needs the Python module {link.name}, which is not installed; install it or choose another")
        link = link.__cause__ or link.__context__
    words = next(iter(str(error).splitlines()), type(error).__name__)
    text = f"metric {name!r} cannot be loaded from the files on this machine, and nothing is downloaded here: {words}; "
    return InputError(text + f"put what is missing into torch's folder or into {constants.HF_HUB_CACHE}, or choose another metric")


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
