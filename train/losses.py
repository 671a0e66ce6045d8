"""The losses: what the denoiser, the prior, the rules and the criterion ask of a student.

The rules are those of Yi et al., Information Fusion 110:102450 (2024), doi 10.1016/j.inffus.2024.102450: the brighter source, the stronger
gradient, likeness to both. Their SSIM is replaced by the one the criterion uses; see `config.CORRECTIONS`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from train import diffusion, judges
from train.config import Mix
from train.model import Student

BEST = 9.0
"""The value, under either criterion, of a fusion that is equal to both of two equal sources: a shortfall counts from here."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """Crops on their way through a step, `(B, 1, h, w)` in [-1, 1] but for `weight`, `(B,)`."""

    a: Tensor
    b: Tensor
    winner: Tensor
    weight: Tensor
    noise: Tensor


class Objective(nn.Module):
    """A student together with what is asked of it: crops in, one loss per name out."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.schedule = diffusion.make_schedule()

    def forward(self, scenes: Scenes, step: Tensor, mix: Mix, last: int | None = None) -> dict[str, Tensor]:
        """The weighted losses of a batch by name, their sum being what is minimised.

        Args:
            scenes: the crops.
            step: the noise level of each, int64 `(B,)`.
            mix: the weights; a loss of weight 0 is not computed.
            last: the sampler's step whose image is judged, in the last stage; None judges the prediction from `step`.
        """
        student, (a, b) = self.student, (scenes.a, scenes.b)
        target = diffusion.encode(student, scenes.winner, a, b)
        noisy = self.schedule.add_noise(target, scenes.noise, step)
        wanted = self.schedule.get_velocity(target, scenes.noise, step) if student.network.predicts == "velocity" else target
        losses: dict[str, Tensor] = {}
        if last is None:
            prediction = diffusion.predict(student, self.schedule, noisy, step, a, b)
            losses["noise"] = self._miss(prediction.raw, wanted, scenes, mix)
        else:
            prediction = diffusion.walk(student, a, b, scenes.noise, student.network.steps, last)
            if mix.noise:
                losses["noise"] = self._miss(diffusion.denoise(student, self.schedule, noisy, step, a, b)[0], wanted, scenes, mix)
        return losses | judge_image(prediction.refined.float(), scenes, mix)

    @staticmethod
    def _miss(raw: Tensor, wanted: Tensor, scenes: Scenes, mix: Mix) -> Tensor:
        """The denoiser's own loss."""
        return mix.noise * average(distance(raw.float(), wanted), scenes.weight)


def judge_image(image: Tensor, scenes: Scenes, mix: Mix) -> dict[str, Tensor]:
    """The weighted losses of fused images in [-1, 1], not clamped, by name."""
    losses = {}
    if mix.prior:
        losses["prior"] = mix.prior * average(distance(image, scenes.winner), scenes.weight)
    if mix.maximum:
        losses["maximum"] = mix.maximum * distance(image, torch.maximum(scenes.a, scenes.b)).mean()
    if mix.gradient:
        losses["gradient"] = mix.gradient * distance(gradient(image), find_stronger(gradient(scenes.a), gradient(scenes.b))).mean()
    if mix.ssim or mix.balanced or mix.diff_if:
        terms = judges.measure_terms(judges.prepare(to_unit(scenes.a), to_unit(scenes.b)), to_unit(image))
        if mix.ssim:
            losses["ssim"] = mix.ssim * (2 - terms.ssim_a - terms.ssim_b).mean()
        if mix.balanced:
            losses["balanced"] = mix.balanced * (BEST - judges.value_balanced(terms)).mean()
        if mix.diff_if:
            losses["diff_if"] = mix.diff_if * (BEST - judges.value_diff_if(terms)).mean()
    return losses


def distance(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference of each image, `(B,)`."""
    return (x - y).abs().flatten(1).mean(1)


def average(losses: Tensor, weight: Tensor) -> Tensor:
    """The mean loss of a batch, each crop counting by its weight."""
    return (losses * weight).mean()


def gradient(image: Tensor) -> Tensor:
    """The Sobel derivatives across and down, `(B, 2, h, w)`, the border repeated."""
    across = image.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T)).unsqueeze(1)
    return functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), kernels)


def find_stronger(x: Tensor, y: Tensor) -> Tensor:
    """Of two derivatives, at every pixel the one of larger magnitude."""
    return torch.where(x.abs() >= y.abs(), x, y)


def to_unit(image: Tensor) -> Tensor:
    """An image in [-1, 1] as one in [0, 1]; what lies outside is left outside, so that a gradient leads it back."""
    return (image + 1) / 2
