"""The judges from pyiqa: looked up by name, run without a download, and kept to themselves."""

import math
import pickle
import subprocess
import sys
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
    with pytest.raises(InputError, match="needs weights"):
        iqa.find_iqa("iqa:lpips")


def test_iqa_names_the_model_and_the_image_when_pyiqa_fails(fused: Fused, monkeypatch: pytest.MonkeyPatch, quiet: None) -> None:
    def fail(*_: Any) -> float:
        raise RuntimeError("kernel larger than the image")

    found = iqa.find_iqa("iqa:psnr")
    monkeypatch.setattr(iqa, "_load", lambda model: fail)
    with pytest.raises(InputError, match="iqa:psnr failed on an image of 83 x 61 px: kernel larger"):
        found.judge(fused)


def test_importing_the_metrics_imports_neither_torch_nor_pyiqa() -> None:
    code = "import sys, prior.metrics, prior.metrics.iqa; print(sorted({'torch', 'pyiqa'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
