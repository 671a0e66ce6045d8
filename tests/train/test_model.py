"""Tests of train.model and train.config: the presets are what they are said to be, and fit images of many sizes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from storage.errors import InputError, UnknownName
from train.config import MIXES, PRESETS, Mix, Network, Training, check_training, find_mix, find_preset
from train.model import Block, Student


def count(student: torch.nn.Module) -> int:
    return sum(one.numel() for one in student.parameters())


def test_small_and_tiny_are_as_small_as_they_promise() -> None:
    assert count(Student(PRESETS["small"].network)) <= 2_000_000
    assert count(Student(PRESETS["tiny"].network)) <= 300_000


def test_the_published_network_has_about_its_published_size() -> None:
    """22.38 M and 1.36 M by a count of the released code; the library's U-Net differs in its middle block."""
    with torch.device("meta"):
        student = Student(PRESETS["diff-if"].network)
    assert count(student.denoiser) == pytest.approx(22.38e6, rel=0.03)
    assert count(student.refiner) == pytest.approx(1.36e6, rel=0.03)


def test_the_published_losses_have_their_published_weights() -> None:
    mix = PRESETS["diff-if"].training.mix
    assert (mix.noise, mix.prior, mix.maximum, mix.gradient, mix.ssim, mix.balanced, mix.diff_if) == (8, 2, 4, 5, 1, 0, 0)


@pytest.mark.parametrize("size", [(8, 8), (16, 40), (24, 8)])
@pytest.mark.parametrize("fold", [1, 2])
def test_an_image_keeps_its_size(size: tuple[int, int], fold: int, network: Network) -> None:
    student = Student(replace(network, fold=fold))
    image, step = torch.rand(2, 1, *size), torch.tensor([3, 999])
    with torch.no_grad():
        assert student.predict(image, step, image, image).shape == image.shape
        assert student.refine(image, step, image, image).shape == image.shape


def test_the_multiple_is_what_both_networks_need(network: Network) -> None:
    assert Student(network).multiple == 4
    assert Student(replace(network, fold=1, widths=(8, 8, 8))).multiple == 4


def test_an_untrained_student_of_residuals_gives_the_mean_of_the_sources(network: Network) -> None:
    student, image = Student(network), torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        student.denoiser.conv_out.bias.zero_()
        assert not student.predict(image, torch.tensor([999]), image, image).any()
        assert torch.equal(student.refine(image, torch.tensor([999]), image, image), image)


def test_attention_across_channels_does_not_see_where_a_pixel_lies() -> None:
    """A block's attention is a mix of channels, the same at all places."""
    block = Block(8, 2, 1.5)
    torch.nn.init.dirac_(block.spread[1].weight, groups=24)
    x = torch.rand(1, 8, 6, 5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    with torch.no_grad():
        mixed, other = block._attend(x), block._attend(shuffled)
    torch.testing.assert_close(mixed.flatten(2)[:, :, order], other.flatten(2), atol=1e-5, rtol=1e-4)


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="tiny"):
        find_preset("tyni")
    with pytest.raises(UnknownName, match="published"):
        find_mix("publishd")
    assert find_mix("published") == MIXES["published"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"crop": 40}, "crop is 40; it must be 41"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "must be below"),
        ({"batch": 6, "accumulate": 4}, "cannot be cut into 4 equal parts"),
        ({"crop": 50}, "a multiple of 8, such as 48"),
        ({"crop": 43}, "a multiple of 8, such as 48"),
        ({"mix": Mix(prior=-1.0)}, "'prior' is -1.0"),
        ({"last_mix": Mix(ssim=float("nan"))}, "'ssim' is nan"),
        ({"mix": Mix(prior=0, maximum=0, gradient=0, ssim=0)}, "refinement learns nothing"),
        ({"rate": -1.0}, "rate is -1.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"last_stage": 1.5}, "last_stage is 1.5"),
    ],
)
def test_numbers_that_no_run_can_have_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_training(replace(Training(steps=10), **wrong), PRESETS["tiny"].network)


def test_a_batch_is_shared_and_cut_evenly_before_anything_is_written() -> None:
    network = PRESETS["tiny"].network
    with pytest.raises(InputError, match="shared evenly by 3 processes"):
        check_training(Training(steps=1, batch=8), network, 3)
    with pytest.raises(InputError, match="4 crops per process cannot be cut into 8"):
        check_training(Training(steps=1, batch=8, accumulate=8), network, 2)
