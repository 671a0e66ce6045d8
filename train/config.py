"""What a training run is asked for: the network, the mix of losses and the way of training, each a frozen record.

The three presets share every idea and differ in size. `diff-if` is the published network (Yi et al., Information Fusion 110:102450, 2024,
doi 10.1016/j.inffus.2024.102450) with the corrections listed in `CORRECTIONS`; `small` and `tiny` are ours, for machines without a GPU.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from storage.errors import InputError, unknown_name
from train import judges

LARGEST_SEED = 2**63

ARCHITECTURE = 1
"""Raised whenever the weights of an older release would mean something else in a network of equal configuration."""

CORRECTIONS = (
    "the SSIM loss has a uniform 7 x 7 window and a fixed dynamic range, in place of a 64 px window whose range follows the batch",
    "an undefined VIF is no perfect one and ties break by name (in the criterion that made the prior)",
    "the noise level is a whole step of the schedule in training and in sampling alike, so that the clean image is recovered exactly",
    "every crop of a batch has a step of its own",
    "weights are averaged over time (EMA), the learning rate falls along a cosine, and a run resumes with its whole state",
    "the schedule ends in pure noise (zero terminal signal), where sampling begins; predicted is v or the clean target, not the noise",
    "sampling is deterministic, and its direction is computed anew from the refined image",
    "the step is embedded as 0 … 999, not as a number below 1",
    "the weight of the prior against the rules is a parameter",
    "held-out pairs are fused and judged during training, and the student best by `balanced` is kept",
    "nothing is resized: sources are padded, and large ones fused in overlapping tiles",
)
"""What the preset `diff-if` does otherwise than the published code, each a defect there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The two networks of a student.

    Attributes:
        widths: channels of the denoiser's levels; each level halves the grid.
        layers: residual blocks per level.
        groups: of the group normalisation; divides every width.
        attention: whether the deepest level attends over its grid.
        dropout: share of activations dropped in training.
        fold: side of the square of pixels that is folded into channels before either network; 1 folds nothing.
        target: what is diffused: the "image" itself, or its "residual" to the mean of the sources.
        predicts: what the denoiser says of a noisy target: its "velocity" v, or the clean "target" outright, through which no noise passes.
        refiner_width: channels of the refinement network; even.
        refiner_blocks: its blocks per stage.
        refiner_expansion: hidden channels of a block's feed-forward part, as a multiple of its width.
        detach: whether the losses of the refined image stop before the denoiser, as published.
        steps: of the sampler, unless others are asked for.
    """

    widths: tuple[int, ...]
    layers: int
    groups: int
    attention: bool
    dropout: float
    fold: int
    target: Literal["image", "residual"]
    predicts: Literal["velocity", "target"]
    refiner_width: int
    refiner_blocks: int
    refiner_expansion: float
    detach: bool
    steps: int

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by."""
        return self.fold << (len(self.widths) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The weights of the losses; the defaults are the published ones.

    Attributes:
        noise: of the denoiser's own error (L1 on what it predicts).
        prior: of the distance (L1) to the prior's winner.
        maximum: of the distance (L1) to the brighter source.
        gradient: of the distance (L1) to the stronger gradient of the sources.
        ssim: of 1 - SSIM with either source.
        balanced: of the shortfall under the criterion `balanced`, in differentiable form.
        diff_if: of the shortfall under the criterion `diff-if`, likewise.
    """

    noise: float = 8.0
    prior: float = 2.0
    maximum: float = 4.0
    gradient: float = 5.0
    ssim: float = 1.0
    balanced: float = 0.0
    diff_if: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a student is trained.

    Attributes:
        steps: of the optimiser, in all.
        batch: crops per step, over all processes.
        crop: side of a crop, px.
        rate: the highest learning rate.
        warm_up: steps until it is reached.
        clip: the largest norm of the gradient.
        accumulate: parts a batch is cut into, one after the other, to save memory.
        ema: how slowly the averaged weights follow.
        last_stage: share of the steps, at the end, that train on the sampler's own images by `last_mix`.
        mix: weights of the losses.
        last_mix: the same in the last stage.
        weighting: "none", or "margin": winners by a clear margin count more.
        seed: of the weights, crops and noise.
        evaluate_every: steps between evaluations on the validation pairs.
        save_every: steps between checkpoints.
        report_every: steps between reports.
    """

    steps: int
    batch: int = 8
    crop: int = 128
    rate: float = 1e-3
    warm_up: int = 100
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.995
    last_stage: float = 0.0
    mix: Mix = field(default_factory=Mix)
    last_mix: Mix = field(default_factory=Mix)
    weighting: Literal["none", "margin"] = "none"
    seed: int = 0
    evaluate_every: int = 500
    save_every: int = 500
    report_every: int = 50


@dataclass(frozen=True, slots=True)
class Preset:
    """A network and the way it is trained, unless the user says otherwise."""

    network: Network
    training: Training


MIXES: Mapping[str, Mix] = MappingProxyType(
    {
        "published": Mix(),
        "prior-only": Mix(prior=11.0, maximum=0.0, gradient=0.0, ssim=0.0),
        "rules-only": Mix(prior=0.0),
        "criteria": Mix(noise=1.0, prior=2.0, maximum=0.0, gradient=0.0, ssim=0.0, balanced=0.5, diff_if=1.5),
    }
)
"""Named mixes of losses: the published one, its two halves, and the prior with the criteria themselves."""

SMALL = Network(
    widths=(32, 64, 96),
    layers=1,
    groups=8,
    attention=False,
    dropout=0.0,
    fold=2,
    target="residual",
    predicts="target",
    refiner_width=24,
    refiner_blocks=1,
    refiner_expansion=2.0,
    detach=False,
    steps=2,
)
"""The networks that `small` and `tiny` share but for their sizes."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "diff-if": Preset(
            Network(
                widths=(48, 96, 192, 288),
                layers=2,
                groups=24,
                attention=True,
                dropout=0.1,
                fold=1,
                target="image",
                predicts="velocity",
                refiner_width=36,
                refiner_blocks=2,
                refiner_expansion=2.66,
                detach=True,
                steps=4,
            ),
            Training(steps=40_000, batch=16, rate=1e-4, warm_up=500, ema=0.999, evaluate_every=2000, save_every=2000),
        ),
        "small": Preset(
            SMALL,
            Training(steps=10_000, mix=MIXES["criteria"], last_mix=MIXES["criteria"], last_stage=0.8),
        ),
        "tiny": Preset(
            replace(SMALL, widths=(16, 24, 32), refiner_width=16, refiner_expansion=1.5),
            Training(steps=3_000, rate=2e-3, mix=MIXES["criteria"], last_mix=MIXES["criteria"], last_stage=0.8),
        ),
    }
)


def find_preset(name: str) -> Preset:
    """The preset of this name; raises UnknownName."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


def find_mix(name: str) -> Mix:
    """The mix of losses of this name; raises UnknownName."""
    if name not in MIXES:
        raise unknown_name("mix", name, MIXES)
    return MIXES[name]


def check_training(training: Training, network: Network, processes: int = 1) -> None:
    """Refuse numbers that no run can have, of one process or several; raises InputError."""
    least = {
        "steps": 1,
        "batch": 1,
        "crop": judges.SMALLEST,
        "accumulate": 1,
        "seed": 0,
        "evaluate_every": 1,
        "save_every": 1,
        "report_every": 1,
    }
    for name, lowest in least.items():
        if getattr(training, name) < lowest:
            raise InputError(f"{name} is {getattr(training, name)}; it must be {lowest} or more")
    if training.seed >= LARGEST_SEED:
        raise InputError(f"seed is {training.seed}; it must be below {LARGEST_SEED}")
    if training.batch % processes:
        raise InputError(f"a batch of {training.batch} crops cannot be shared evenly by {processes} processes; change --batch")
    share = training.batch // processes
    if share % training.accumulate:
        raise InputError(f"{share} crops per process cannot be cut into {training.accumulate} equal parts; change --batch or --accumulate")
    if training.crop % network.multiple:
        nearest = network.multiple * max(-(-judges.SMALLEST // network.multiple), round(training.crop / network.multiple))
        raise InputError(f"crop is {training.crop}; these networks need a multiple of {network.multiple}, such as {nearest}")
    for name, low, high in (("rate", 0.0, 1.0), ("ema", 0.0, 1.0), ("last_stage", 0.0, 1.0), ("clip", 0.0, 1e9)):
        if not low <= getattr(training, name) <= high:
            raise InputError(f"{name} is {getattr(training, name)}; it must lie between {low:g} and {high:g}")
    for mix in (training.mix, training.last_mix):
        check_mix(mix)


def check_mix(mix: Mix) -> None:
    """Refuse weights under which nothing is learnt, or the opposite of it; raises InputError."""
    weights = asdict(mix)
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise InputError(f"the weight of the loss {name!r} is {weight}; it must be 0 or more")
    if not any(weight for name, weight in weights.items() if name != "noise"):
        raise InputError("every loss of the fused image has weight 0, so that the refinement learns nothing; give one of them a weight")
