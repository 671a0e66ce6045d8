"""Tests of train.diffusion: the schedule ends in noise, a perfect student is recovered exactly, and sampling repeats itself."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from storage.errors import InputError
from train import diffusion
from train.config import Network
from train.diffusion import decode, encode, make_schedule, predict, sample, walk
from train.model import Student

VARIANTS = [("image", "velocity"), ("image", "target"), ("residual", "velocity"), ("residual", "target")]


class Oracle(Student):
    """A student that knows the fused image and does not refine it."""

    fused: Tensor

    def predict(self, noisy: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        target = encode(self, self.fused, a, b)
        if self.network.predicts == "target":
            return target
        signal = make_schedule().alphas_cumprod[step].view(-1, 1, 1, 1)
        noise = (noisy - signal.sqrt() * target) / (1 - signal).sqrt()
        return signal.sqrt() * noise - (1 - signal).sqrt() * target

    def refine(self, image: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return image


@pytest.fixture(params=VARIANTS, ids="-".join)
def oracle(request: pytest.FixtureRequest, network: Network) -> Oracle:
    target, predicts = request.param
    student = Oracle(replace(network, target=target, predicts=predicts))
    student.fused = draw(2)
    return student


def draw(seed: int) -> Tensor:
    return torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_schedule_begins_clean_and_ends_in_pure_noise() -> None:
    signal = make_schedule().alphas_cumprod
    assert len(signal) == diffusion.STEPS
    assert signal[-1] == 0
    assert signal[0] > 0.9999
    assert all(later < earlier for earlier, later in pairwise(signal.tolist()))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 50])
def test_sampling_begins_at_pure_noise(steps: int, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    student = Student(network)
    monkeypatch.setattr(student, "predict", lambda noisy, step, a, b: seen.append(int(step)) or torch.zeros_like(noisy))
    sample(student, draw(0), draw(1), draw(3), steps)
    assert seen[0] == diffusion.STEPS - 1
    assert len(seen) == steps
    assert sorted(seen, reverse=True) == seen


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 50])
def test_a_student_that_knows_the_image_samples_it(steps: int, oracle: Oracle) -> None:
    with torch.no_grad():
        fused = sample(oracle, draw(0), draw(1), draw(3), steps)
    torch.testing.assert_close(fused, oracle.fused, atol=2e-4, rtol=0)


def test_every_noise_level_on_the_way_is_the_one_that_the_next_step_expects(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a perfect prediction the sampler walks along `signal * target + noise level * noise`, the line it was trained on."""
    student, fused, noise = Student(network), draw(2), draw(3)
    signal = make_schedule().alphas_cumprod
    gaps: list[float] = []

    def look(noisy: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        target = encode(student, fused, a, b)
        expected = signal[step].sqrt() * target + (1 - signal[step]).sqrt() * noise
        gaps.append((noisy - expected).abs().max().item())
        return target

    monkeypatch.setattr(student, "predict", look)
    with torch.no_grad():
        sample(student, draw(0), draw(1), noise, 7)
    assert max(gaps) < 1e-4


def test_what_is_encoded_is_decoded(oracle: Oracle) -> None:
    a, b = draw(0), draw(1)
    torch.testing.assert_close(decode(oracle, encode(oracle, oracle.fused, a, b), a, b), oracle.fused, atol=1e-6, rtol=0)


def test_the_same_noise_gives_the_same_image(student: Student) -> None:
    with torch.no_grad():
        first, again, other = (sample(student, draw(0), draw(1), draw(seed), 3) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_flow_through_the_judged_step_alone(student: Student) -> None:
    """The steps before it are the student's past, not what is being learnt."""
    asked: list[bool] = []
    student.denoiser.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled()))
    walk(student, draw(0), draw(1), draw(3), 3, 2).refined.mean().backward()
    assert asked == [False, False, True]


def test_a_detached_refinement_leaves_the_denoiser_alone(network: Network) -> None:
    student = disturb(Student(replace(network, detach=True)))
    predict(student, make_schedule(), draw(2), torch.tensor([500]), draw(0), draw(1)).refined.mean().backward()
    assert all(one.grad is None for one in student.denoiser.parameters())
    assert any(one.grad is not None for one in student.refiner.parameters())


@pytest.mark.parametrize("steps", [0, -1, 51])
def test_a_wrong_number_of_steps_is_refused(steps: int, student: Student) -> None:
    with pytest.raises(InputError, match="expected 1 to 50"):
        sample(student, draw(0), draw(1), draw(3), steps)


@pytest.fixture
def student(network: Network) -> Iterator[Student]:
    yield disturb(Student(network))


def disturb(student: Student) -> Student:
    """Weights under which every part has a say, where fresh ones leave some at zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in student.parameters():
            one += 0.05 * torch.randn(one.shape, generator=generator)
    return student
