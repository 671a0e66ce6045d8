"""The diffusion: a schedule that ends in pure noise, the step from a noisy target to a fused image, and the DDIM sampler.

Schedule: betas linear from 1e-6 to 1e-2 over 1000 steps (Yi et al., Information Fusion 110:102450, 2024, doi 10.1016/j.inffus.2024.102450),
rescaled to zero terminal signal and sampled from the last step on (Lin et al., WACV 2024, doi 10.1109/WACV57701.2024.00532). The denoiser
predicts the clean target, or v = sqrt(abar) noise - sqrt(1 - abar) target (Salimans and Ho, ICLR 2022, arXiv 2202.00512): unlike the noise,
both say something where there is no signal. Sampler: DDIM (Song et al., ICLR 2021, arXiv 2010.02502).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from storage.errors import InputError
from train.model import Student

STEPS = 1000
MOST_SAMPLING_STEPS = 50

RESIDUAL_SCALE = 4.0
"""A winner's residual to the mean of its sources has a spread of about a quarter of the images'."""


def make_schedule() -> DDIMScheduler:
    """The noise schedule, and the steps that a sampler visits."""
    return DDIMScheduler(
        num_train_timesteps=STEPS,
        beta_start=1e-6,
        beta_end=1e-2,
        beta_schedule="linear",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """The way of a sampler.

    Attributes:
        schedule: of the noise.
        times: the steps it visits, the noisiest first.
        signals: the share of the target in each (abar).
    """

    schedule: DDIMScheduler
    times: tuple[int, ...]
    signals: tuple[float, ...]


def make_plan(steps: int) -> Plan:
    """The way of a sampler of 1 to 50 steps; raises InputError."""
    if not 1 <= steps <= MOST_SAMPLING_STEPS:
        raise InputError(f"asked for {steps} sampling steps; expected 1 to {MOST_SAMPLING_STEPS}")
    schedule = make_schedule()
    schedule.set_timesteps(steps)
    return Plan(schedule, tuple(schedule.timesteps.tolist()), tuple(schedule.alphas_cumprod[schedule.timesteps].tolist()))


def encode(student: Student, image: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """What is diffused for a fused image: itself, or its scaled residual to the mean of the sources."""
    return image if student.network.target == "image" else (image - (a + b) / 2) * RESIDUAL_SCALE


def decode(student: Student, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The image in [-1, 1] of a diffused target."""
    image = target if student.network.target == "image" else target / RESIDUAL_SCALE + (a + b) / 2
    return image.clamp(-1, 1)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student makes of a noisy target.

    Attributes:
        raw: what the denoiser says, `(B, 1, H, W)`: the velocity or the clean target.
        refined: the fused image that follows, refined, in [-1, 1] but not clamped.
    """

    raw: Tensor
    refined: Tensor


def denoise(student: Student, schedule: DDIMScheduler, noisy: Tensor, step: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What the denoiser says of a noisy target, and the fused image in [-1, 1] that follows.

    Args:
        student: the networks.
        schedule: of the noise.
        noisy: `(B, 1, H, W)`.
        step: its noise level, int64 `(B,)`, 0 … 999.
        a: the first source, in [-1, 1].
        b: the second.
    """
    raw: Tensor = student.predict(noisy, step, a, b)
    target = raw
    if student.network.predicts == "velocity":
        signal = schedule.alphas_cumprod.to(noisy)[step].view(-1, 1, 1, 1)
        target = signal.sqrt() * noisy - (1 - signal).sqrt() * raw
    return raw, decode(student, target, a, b)


def predict(student: Student, schedule: DDIMScheduler, noisy: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Prediction:
    """The fused image behind a noisy target, refined; arguments as in `denoise`."""
    raw, image = denoise(student, schedule, noisy, step, a, b)
    shown = image.detach() if student.network.detach else image
    return Prediction(raw, student.refine(shown, step, a, b))


def sample(student: Student, a: Tensor, b: Tensor, noise: Tensor, steps: int) -> Tensor:
    """Fuse: the DDIM sampler from pure noise, every prediction refined before the next step; deterministic.

    Args:
        student: the networks.
        a: the first source, `(B, 1, H, W)` in [-1, 1], sides divisible by `student.multiple`.
        b: the second, likewise.
        noise: where it starts, of the same shape.
        steps: 1 to 50.

    Returns:
        The fused images, in [-1, 1].
    """
    return walk(student, a, b, noise, steps, steps - 1).refined.clamp(-1, 1)


def walk(student: Student, a: Tensor, b: Tensor, noise: Tensor, steps: int, last: int) -> Prediction:
    """The sampler's prediction at step `last` of `steps`; in training, gradients flow through that step alone."""
    return follow(student, make_plan(steps), a, b, noise, last)


def follow(student: Student, plan: Plan, a: Tensor, b: Tensor, noise: Tensor, last: int) -> Prediction:
    """The same along a plan made before: nothing here asks a tensor for a number, so that the whole of it can be traced (train.export)."""
    noisy, levels = noise, [noise.new_full(noise.shape[:1], time, dtype=torch.long) for time in plan.times[: last + 1]]
    for level, (now, then) in zip(levels, pairwise(plan.signals[: last + 1]), strict=False):
        with torch.no_grad():
            refined = predict(student, plan.schedule, noisy, level, a, b).refined
            noisy = _move(noisy, encode(student, refined.clamp(-1, 1), a, b), now, then)
    return predict(student, plan.schedule, noisy, levels[-1], a, b)


def _move(noisy: Tensor, target: Tensor, now: float, then: float) -> Tensor:
    """From one noise level to the next, along the direction that the predicted target implies.

    The library's own step goes to `time - 1000 // steps`, which is not the step it visits next unless `steps` divides 1000.
    """
    direction = (noisy - now**0.5 * target) / (1 - now) ** 0.5
    moved: Tensor = then**0.5 * target + (1 - then) ** 0.5 * direction
    return moved
