"""The judges from pyiqa: looked up by name, run without a download, and kept to themselves."""

import math
import pickle
import socket
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prior.metrics import iqa
from prior.registry import Metric
from prior.statistics import Fused, Sources
from storage.errors import InputError, UnknownName


@pytest.fixture
def fused() -> Fused:
    """A noisy candidate of two noisy sources, 61 x 83 px."""
    a, b, f = np.random.default_rng(7).integers(0, 256, (3, 61, 83)).astype(np.uint8)
    return Fused(f, Sources(a, b))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Importing torch for the first time may warn; that is torch's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch  # noqa: F401
    yield


def test_iqa_metrics_follow_pyiqa(fused: Fused, quiet: None) -> None:
    psnr = [10 * math.log10(255**2 / np.mean((fused.image.astype(float) - source) ** 2)) for source in (fused.sources.a, fused.sources.b)]
    assert iqa.find_iqa("iqa:psnr").judge(fused) == pytest.approx(sum(psnr) / 2, abs=1e-3)
    levels = np.bincount(fused.image.ravel()) / fused.image.size
    entropy = -sum(share * math.log2(share) for share in levels if share > 0)
    assert iqa.find_iqa("iqa:entropy").judge(fused) == pytest.approx(entropy, abs=1e-3)


@pytest.mark.parametrize("model", sorted(iqa.SHORTEST_SIDES))
def test_every_iqa_model_runs_without_a_download(model: str, quiet: None) -> None:
    side = max(iqa.SHORTEST_SIDES[model], 48)
    a, b, f = np.random.default_rng(1).integers(0, 256, (3, side, side + 5)).astype(np.uint8)
    found = iqa.find_iqa(f"iqa:{model}")
    assert found.name == f"iqa:{model}" and model in found.definition
    assert found.better == ("lower" if model in ("gmsd", "nlpd", "mad", "piqe") else "higher")
    passport = found.passport
    assert passport is not None and passport.smallest == iqa.SHORTEST_SIDES[model] and str(passport.smallest) in passport.undefined
    assert passport.combination == ("candidate alone" if model in ("entropy", "piqe") else "mean")
    assert model in passport.title and "_" not in passport.symbol.replace(r"\_", "")
    assert found.needs == ()
    copy: Metric = pickle.loads(pickle.dumps(found))
    score = copy.judge(Fused(f, Sources(a, b)))
    assert math.isfinite(score)
    assert score == found.judge(Fused(f, Sources(a, b)))


@pytest.mark.parametrize("model", ["ms_ssim", "ssim"])
def test_iqa_is_undefined_below_the_shortest_side_of_its_model(model: str, quiet: None) -> None:
    side = iqa.SHORTEST_SIDES[model]
    images = np.random.default_rng(1).integers(0, 256, (3, side, side)).astype(np.uint8)
    found = iqa.find_iqa(f"iqa:{model}")
    assert math.isfinite(found.judge(Fused(images[0], Sources(images[1], images[2]))))
    smaller = images[:, :-1]
    assert math.isnan(found.judge(Fused(smaller[0], Sources(smaller[1], smaller[2]))))


def test_iqa_leaves_the_threads_of_torch_alone(fused: Fused, quiet: None) -> None:
    import torch

    before = torch.get_num_threads()
    seen: list[int] = []
    torch.set_num_threads(before + 1)
    try:
        iqa.find_iqa("iqa:psnr").judge(fused)
        with iqa._one_quiet_thread():
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [1, before + 1]


def test_iqa_refuses_what_it_cannot_run(quiet: None) -> None:
    with pytest.raises(UnknownName, match="iqa:ssim"):
        iqa.find_iqa("iqa:sssim")


def test_iqa_names_the_models_without_weights_unless_another_is_mistyped(quiet: None) -> None:
    assert iqa.list_weightless() == tuple(f"iqa:{model}" for model in sorted(iqa.SHORTEST_SIDES))
    for name in ("iqa:", "iqa:quality"):
        with pytest.raises(
            UnknownName, match=f"unknown metric '{name}'; these need no weights: iqa:cw_ssim, .*, iqa:vsi; [0-9]+ more work"
        ):
            iqa.find_iqa(name)
    with pytest.raises(UnknownName, match="did you mean iqa:musiq"):
        iqa.find_iqa("iqa:musik")
    assert iqa.find_iqa("iqa:PSNR").name == "iqa:psnr"


@pytest.mark.parametrize("model", sorted(iqa.UNFIT))
def test_iqa_refuses_models_of_anything_but_grey_pairs(model: str, quiet: None) -> None:
    assert model in iqa._list_models()
    with pytest.raises(InputError) as caught:
        iqa.find_iqa(f"iqa:{model}")
    assert str(caught.value) == f"metric 'iqa:{model}' {iqa.UNFIT[model]}; choose another"


def test_iqa_names_the_model_and_the_image_when_pyiqa_fails(fused: Fused, monkeypatch: pytest.MonkeyPatch, quiet: None) -> None:
    def fail(*_: Any) -> float:
        raise RuntimeError("kernel larger than the image")

    found = iqa.find_iqa("iqa:psnr")
    monkeypatch.setattr(iqa, "_load", lambda model: fail)
    with pytest.raises(InputError, match="iqa:psnr failed on an image of 83 x 61 px: kernel larger"):
        found.judge(fused)


# --- models whose weights lie on this machine, or do not --------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None) -> Iterator[Path]:
    """An empty folder in the place of every cache that weights are looked for in, and no network."""
    import huggingface_hub.constants
    import pyiqa.utils.download_util
    import torch

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("something was to be downloaded")

    before = torch.hub.get_dir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(pyiqa.utils.download_util, "DEFAULT_CACHE_DIR", str(tmp_path / "pyiqa"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hugging"))
    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    torch.hub.set_dir(tmp_path)
    iqa._load.cache_clear()
    yield tmp_path
    torch.hub.set_dir(before)
    iqa._load.cache_clear()


def save_weights(net: Any, path: Path) -> Any:
    """An untrained network, ready to judge, with its weights where pyiqa looks for them."""
    import torch

    path.parent.mkdir(exist_ok=True)
    torch.save({"params": net.state_dict()}, path)
    return net.eval()


def to_tensors(*images: Any) -> list[Any]:
    import torch

    return [torch.from_numpy(image).float().div(255).expand(1, 3, -1, -1) for image in images]


def test_a_model_judges_alone_by_weights_on_this_machine(weights: Path, fused: Fused, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from pyiqa.archs.cnniqa_arch import CNNIQA

    net = save_weights(CNNIQA(pretrained=None), weights / "pyiqa" / "CNNIQA_koniq10k-e6f14c91.pth")
    found = iqa.find_iqa("iqa:cnniqa")
    with torch.no_grad():
        assert found.judge(fused) == pytest.approx(float(net(*to_tensors(fused.image))), rel=1e-6)
    assert found.better == "higher" and found.needs and found.passport is not None and found.passport.smallest == 1
    assert capsys.readouterr().out == ""
    iqa._load.cache_clear()
    assert pickle.loads(pickle.dumps(found)).judge(fused) == found.judge(fused)


def test_a_model_compares_with_both_sources_by_weights_on_this_machine(weights: Path, fused: Fused) -> None:
    import torch
    from pyiqa.archs.wadiqam_arch import WaDIQaM

    net = save_weights(WaDIQaM(pretrained=False), weights / "pyiqa" / "WaDIQaM-kadid-f7541ea5.pth")
    image, of_a, of_b = to_tensors(fused.image, fused.sources.a, fused.sources.b)
    with torch.no_grad():
        expected = float(net(image, of_a) + net(image, of_b)) / 2
    assert iqa.find_iqa("iqa:wadiqam_fr").judge(fused) == pytest.approx(expected, rel=1e-6)


MISSING = {
    "cnniqa": ("pyiqa/CNNIQA_koniq10k-e6f14c91.pth", "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/CNNIQA_koniq10k"),
    "lpips": ("checkpoints/alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
    "nima-vgg16-ava": ("hugging/models--timm--vgg16.tv_in1k", "https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/"),
    "afine_nr": ("clip", "https://openaipublic.azureedge.net/clip/models/"),
}


@pytest.mark.parametrize("model", sorted(MISSING))
def test_iqa_says_which_file_is_missing_and_fetches_nothing(weights: Path, model: str) -> None:
    place, address = MISSING[model]
    with pytest.raises(InputError, match=f"metric 'iqa:{model}' needs the file .*nothing is downloaded here") as caught:
        iqa.find_iqa(f"iqa:{model}")
    assert f"not at {weights / place}" in str(caught.value) and f"from {address}" in str(caught.value)
    assert not [path for path in weights.rglob("*") if path.is_file()]


def test_iqa_names_what_it_cannot_read(weights: Path) -> None:
    path = weights / "pyiqa" / "CNNIQA_koniq10k-e6f14c91.pth"
    path.parent.mkdir()
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="metric 'iqa:cnniqa' cannot be loaded from the files on this machine"):
        iqa.find_iqa("iqa:cnniqa")


def test_iqa_names_the_module_that_a_model_needs(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyiqa

    def fail(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'icecream'", name="icecream")

    monkeypatch.setattr(pyiqa, "create_metric", fail)
    with pytest.raises(InputError, match="metric 'iqa:qalign' needs the Python module icecream"):
        iqa.find_iqa("iqa:qalign")


def test_other_downloads_go_their_way(weights: Path) -> None:
    import huggingface_hub.constants
    import torch

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(InputError):
        iqa.find_iqa("iqa:cnniqa")
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE
    there, here = weights / "there", weights / "here"
    there.write_bytes(b"weights")
    torch.hub.download_url_to_file(there.as_uri(), str(here), progress=False)
    assert here.read_bytes() == b"weights"
    with urllib.request.urlopen(there.as_uri()) as answer:
        assert answer.read() == b"weights"


def test_importing_the_metrics_imports_neither_torch_nor_pyiqa() -> None:
    code = "import sys, prior.metrics, prior.metrics.iqa; print(sorted({'torch', 'pyiqa'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
