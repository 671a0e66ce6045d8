"""Tests of train.losses: each loss is nothing where it should be, is weighted as asked, and pulls the right way."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from train.config import MIXES, Mix, Network
from train.losses import Objective, Scenes, distance, find_stronger, gradient, judge_image
from train.model import Student

NOTHING = Mix(noise=0, prior=0, maximum=0, gradient=0, ssim=0)


def draw(seed: int, batch: int = 2, side: int = 48) -> Tensor:
    return torch.rand((batch, 1, side, side), generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def scenes() -> Scenes:
    return Scenes(draw(0), draw(1), draw(2), torch.ones(2), torch.randn((2, 1, 48, 48), generator=torch.Generator().manual_seed(3)))


def test_the_winner_itself_has_no_distance_to_the_prior(scenes: Scenes) -> None:
    assert judge_image(scenes.winner, scenes, replace(NOTHING, prior=2))["prior"] == 0


def test_the_brighter_source_has_no_distance_to_the_maximum(scenes: Scenes) -> None:
    assert judge_image(torch.maximum(scenes.a, scenes.b), scenes, replace(NOTHING, maximum=4))["maximum"] == 0


def test_the_stronger_gradient_is_chosen_per_direction_and_keeps_its_sign() -> None:
    x, y = torch.tensor([-3.0, 1.0]), torch.tensor([2.0, -4.0])
    assert find_stronger(x, y).tolist() == [-3.0, -4.0]


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    across, down = gradient(ramp)[0]
    assert across[:, 1:-1].unique().tolist() == [8.0]
    assert not down.any()


def test_two_equal_sources_are_matched_by_themselves(scenes: Scenes) -> None:
    same = replace(scenes, b=scenes.a, winner=scenes.a)
    losses = judge_image(scenes.a, same, MIXES["published"])
    assert sum(losses.values()).item() == pytest.approx(0, abs=1e-4)
    for name, loss in judge_image(scenes.a, same, replace(NOTHING, balanced=1, diff_if=1)).items():
        assert loss.item() == pytest.approx(0, abs=0.1), name  # Qabf of a perfect fusion is 0.987, not 1


@pytest.mark.parametrize("name", ["prior", "maximum", "gradient", "ssim", "balanced", "diff_if"])
def test_a_weight_multiplies_its_loss_and_zero_leaves_it_out(name: str, scenes: Scenes) -> None:
    image = draw(5)
    once, twice = (judge_image(image, scenes, replace(NOTHING, **{name: weight})) for weight in (1.0, 2.0))
    assert once.keys() == {name}
    assert twice[name].item() == pytest.approx(2 * once[name].item())
    assert once[name].item() > 0
    assert judge_image(image, scenes, NOTHING) == {}


@pytest.mark.parametrize("name", ["prior", "maximum", "gradient", "ssim", "balanced", "diff_if"])
def test_following_a_loss_makes_it_smaller(name: str, scenes: Scenes) -> None:
    image = ((scenes.a + scenes.b) / 2).requires_grad_()
    mix = replace(NOTHING, **{name: 1.0})
    before = judge_image(image, scenes, mix)[name]
    before.backward()
    assert image.grad is not None
    after = judge_image((image - 0.02 * image.grad / image.grad.abs().max()).detach(), scenes, mix)[name]
    assert after < before


def test_a_pair_of_weight_zero_has_no_say_in_what_the_prior_asks(scenes: Scenes) -> None:
    first, second = distance(scenes.a, scenes.winner)
    weighted = replace(scenes, weight=torch.tensor([2.0, 0.0]))
    asked = judge_image(scenes.a, weighted, replace(NOTHING, prior=1))["prior"]
    assert asked.item() == pytest.approx(first.item())
    assert first != second


@pytest.mark.parametrize("predicts", ["velocity", "target"])
@pytest.mark.parametrize("last", [None, 0, 1])
def test_every_loss_reaches_the_weights(predicts: str, last: int | None, network: Network, scenes: Scenes) -> None:
    objective = Objective(Student(replace(network, predicts=predicts)))
    losses = objective(scenes, torch.tensor([10, 990]), replace(MIXES["published"], balanced=1.0, diff_if=1.0), last)
    assert losses.keys() == {"noise", "prior", "maximum", "gradient", "ssim", "balanced", "diff_if"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in objective.parameters() if one.grad is not None)
    assert objective.student.refiner.out.weight.grad.abs().max() > 0
    assert objective.student.denoiser.conv_out.weight.grad.abs().max() > 0


def test_without_a_noise_loss_the_last_stage_does_not_predict_the_winner(network: Network, scenes: Scenes) -> None:
    objective = Objective(Student(network))
    losses = objective(scenes, torch.tensor([10, 990]), replace(NOTHING, prior=1.0), 1)
    assert losses.keys() == {"prior"}
