"""The criterion's terms in torch: equal to the metrics, with true and finite slopes, and a loss that a fusion can climb."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.criterion import parse_criterion
from prior.registry import metrics
from prior.statistics import Fused, Sources
from storage.errors import InputError
from train.judges import Terms, measure_qabf, measure_ssim, measure_terms, measure_vif, prepare, value_balanced, value_diff_if

Grey = NDArray[np.uint8]

NAMES = ("ssim_a", "ssim_b", "vif_a", "vif_b", "qabf")


def to_batch(*images: Grey) -> Tensor:
    return torch.from_numpy(np.stack(images)[:, None].astype(np.float32) / np.float32(255))


def judge(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in NAMES}


def measure(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    return to_scores(measure_terms(prepare(to_batch(a), to_batch(b)), to_batch(f)))


def to_scores(terms: Terms) -> dict[str, float]:
    return {one.name: getattr(terms, one.name).item() for one in fields(terms)}


def draw_noise(rng: np.random.Generator) -> Grey:
    return rng.integers(0, 256, (57, 70)).astype(np.uint8)


def draw_relief(rng: np.random.Generator) -> Grey:
    return np.clip(np.cumsum(np.cumsum(rng.normal(size=(57, 70)), 0), 1) + 128, 0, 255).astype(np.uint8)


def draw_black_and_white(rng: np.random.Generator) -> Grey:
    white: Grey = np.where(cv2.blur(rng.random((57, 70)), (5, 5)) < 0.5, np.uint8(255), np.uint8(0))
    return white


def draw_gradient(rng: np.random.Generator) -> Grey:
    down, along = rng.uniform(-4, 4, 2)
    levels: Grey = np.clip(np.add.outer(down * np.arange(57), along * np.arange(70)) + 128, 0, 255).astype(np.uint8)
    return levels


def draw_scan(rng: np.random.Generator) -> Grey:
    """Bright tissue before a background that is black all over."""
    image = draw_relief(rng)
    image[:25] = 0
    image[:, 50:] = 0
    return image


Draw = Callable[[np.random.Generator], Grey]
DRAWS: tuple[Draw, ...] = (draw_noise, draw_relief, draw_black_and_white, draw_gradient, draw_scan)


def draw_smooth(count: int, side: int = 48) -> list[Tensor]:
    """Images in float64 whose neighbouring pixels hardly ever tie: there the terms have slopes."""
    rng = np.random.default_rng(5)
    fields = [cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1.5) for _ in range(count)]
    return [torch.from_numpy(0.5 + 0.15 * one / one.std()).clamp(0.02, 0.98)[None, None] for one in fields]


# --- equal to the metrics -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw_b", DRAWS)
@pytest.mark.parametrize("draw_a", DRAWS)
def test_terms_equal_the_metrics(draw_a: Draw, draw_b: Draw) -> None:
    rng = np.random.default_rng(2)
    a, b = draw_a(rng), draw_b(rng)
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    for f in (average, np.maximum(a, b), a, draw_relief(rng)):
        assert measure(a, b, f) == pytest.approx(judge(a, b, f), rel=1e-3, abs=3e-4)


@pytest.mark.parametrize(("dataset", "side_a", "side_b"), [("vifb", "ir", "vis"), ("lytro", "a", "b"), ("harvard_mri_ct", "mri", "ct")])
def test_terms_equal_the_metrics_on_real_pairs(shared: Path, dataset: str, side_a: str, side_b: str) -> None:
    folder = shared / "data" / dataset
    path = min((folder / side_a).iterdir())
    other = next(one for one in (folder / side_b).iterdir() if one.stem == path.stem)
    a, b = (np.asarray(cv2.imread(str(one), cv2.IMREAD_GRAYSCALE), np.uint8) for one in (path, other))
    for f in (((a.astype(np.uint16) + b) // 2).astype(np.uint8), np.maximum(a, b)):
        assert measure(a, b, f) == pytest.approx(judge(a, b, f), rel=1e-3, abs=3e-4)


def test_terms_of_a_batch_are_those_of_its_images() -> None:
    rng = np.random.default_rng(3)
    scenes = [[draw(rng) for _ in range(3)] for draw in DRAWS]
    terms = measure_terms(*(prepare(*(to_batch(*side) for side in list(zip(*scenes, strict=True))[:2])), to_batch(*(s[2] for s in scenes))))
    for i, scene in enumerate(scenes):
        assert {name: getattr(terms, name)[i].item() for name in NAMES} == pytest.approx(measure(*scene), rel=1e-4, abs=1e-5)


def test_single_terms_are_those_of_all() -> None:
    a, b, f = (to_batch(draw_relief(np.random.default_rng(seed))) for seed in range(3))
    terms = measure_terms(prepare(a, b), f)
    alone = Terms(measure_ssim(a, f), measure_ssim(b, f), measure_vif(a, f), measure_vif(b, f), measure_qabf(a, b, f))
    assert to_scores(alone) == pytest.approx(to_scores(terms), rel=1e-5)


@pytest.mark.parametrize(("profile", "value"), [("diff-if", value_diff_if), ("balanced", value_balanced)])
def test_values_are_those_of_the_profiles(profile: str, value: Callable[[Terms], Tensor]) -> None:
    criterion = parse_criterion(profile)
    for numbers in ((0.1, 0.7, 0.3, 0.2, 0.5), (0.7, 0.1, 0.2, 0.3, 0.4)):
        scores = dict(zip(NAMES, numbers, strict=True))
        scores |= {"ssim": scores["ssim_a"] + scores["ssim_b"], "vif": scores["vif_a"] + scores["vif_b"]}
        terms = Terms(*(torch.tensor([number]) for number in numbers))
        assert value(terms).item() == pytest.approx(criterion.value(scores), rel=1e-6)


def test_autocast_does_not_reach_the_terms() -> None:
    a, b, f = (to_batch(draw_relief(np.random.default_rng(seed))) for seed in range(3))
    expected, slopes = find_slopes(a, b, f)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, slopes_there = find_slopes(a, b, f)
    assert torch.equal(value, expected) and torch.equal(slopes_there, slopes)


def find_slopes(a: Tensor, b: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """The value by `balanced`, and its slopes."""
    f = f.clone().requires_grad_()
    value = value_balanced(measure_terms(prepare(a, b), f))
    return value.detach(), torch.autograd.grad(value.sum(), f)[0]


# --- slopes ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_those_of_finite_differences(name: str) -> None:
    a, b, f = draw_smooth(3)
    prepared = prepare(a, b)
    f = (0.5 * f + 0.3 * a + 0.2 * b).requires_grad_()
    (slopes,) = torch.autograd.grad(getattr(measure_terms(prepared, f), name).sum(), f)
    step = 1e-6
    for seed in range(4):
        direction = torch.from_numpy(np.random.default_rng(seed).normal(size=f.shape))
        ahead, behind = (getattr(measure_terms(prepared, f.detach() + sign * step * direction), name).item() for sign in (1, -1))
        assert (slopes * direction).sum().item() == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-6)


def test_each_image_of_a_batch_has_its_own_slopes() -> None:
    a, b, f = (torch.cat((one, one.flip(-1), 1 - one)) for one in draw_smooth(3))
    f.requires_grad_()
    (slopes,) = torch.autograd.grad(value_balanced(measure_terms(prepare(a, b), f))[1], f)
    assert slopes[1].abs().max() > 0
    assert slopes[0].abs().max() == slopes[2].abs().max() == 0


FLATS = {level: np.full((57, 70), level, np.uint8) for level in (0, 1, 128, 255)}


@pytest.mark.parametrize("level_f", FLATS)
@pytest.mark.parametrize("level_a", FLATS)
def test_slopes_are_finite_where_images_are_flat(level_a: int, level_f: int) -> None:
    relief = draw_relief(np.random.default_rng(0))
    for a, b, f in ((level_a, level_a, level_f), (level_a, relief, level_f), (level_a, relief, relief), (relief, relief, level_f)):
        check_finite(*(to_batch(FLATS[one] if isinstance(one, int) else one) for one in (a, b, f)))


def test_slopes_are_finite_where_images_are_saturated_or_the_same() -> None:
    rng = np.random.default_rng(0)
    saturated, scan, noise = draw_black_and_white(rng), draw_scan(rng), draw_noise(rng)
    scenes = ((saturated, saturated, saturated), (saturated, 255 - saturated, saturated), (scan, saturated, scan), (noise, noise, noise))
    for scene in scenes:
        check_finite(*map(to_batch, scene))


def check_finite(a: Tensor, b: Tensor, f: Tensor) -> None:
    f = f.clone().requires_grad_()
    terms = measure_terms(prepare(a, b), f)
    assert all(torch.isfinite(one).all() for one in (getattr(terms, name) for name in NAMES))
    (slopes,) = torch.autograd.grad(value_diff_if(terms).sum() + value_balanced(terms).sum(), f)
    assert torch.isfinite(slopes).all()


def test_what_is_undefined_counts_nothing() -> None:
    black, relief = FLATS[0], draw_relief(np.random.default_rng(0))
    assert measure(black, relief, relief)["vif_a"] == 0
    assert measure(black, black, relief)["qabf"] == 0


def test_a_student_that_diverged_shows_in_its_terms() -> None:
    a, b = (to_batch(draw_relief(np.random.default_rng(seed))) for seed in (1, 2))
    f = a.clone()
    f[0, 0, 20, 20] = torch.nan
    assert value_balanced(measure_terms(prepare(a, b), f)).isnan().all()


def test_climbing_the_slopes_raises_the_value() -> None:
    a, b = (to_batch(draw_relief(np.random.default_rng(seed))) for seed in (1, 2))
    prepared = prepare(a, b)
    f = (a + b) / 2
    values = []
    for _ in range(8):
        f.requires_grad_()
        value = value_balanced(measure_terms(prepared, f)).sum()
        (slopes,) = torch.autograd.grad(value, f)
        values.append(value.item())
        f = (f.detach() + 0.004 * slopes / slopes.square().mean().sqrt()).clamp(0, 1)
    assert values[-1] > values[0] + 0.02
    rounded = np.rint(255 * f[0, 0].numpy()).astype(np.uint8)
    images = [np.rint(255 * one[0, 0].numpy()).astype(np.uint8) for one in (a, b)]
    before, after = (judge(*images, one) for one in (((images[0].astype(np.uint16) + images[1]) // 2).astype(np.uint8), rounded))
    balanced = parse_criterion("balanced")
    assert balanced.value(after) > balanced.value(before)


# --- what is refused ------------------------------------------------------------------------------------------------------------------


def test_images_that_do_not_fit_are_refused() -> None:
    image = torch.zeros(2, 1, 48, 50)
    with pytest.raises(InputError, match="from 41 x 41 px"):
        prepare(image[..., :40], image[..., :40])
    with pytest.raises(InputError, match="alike"):
        prepare(image, image[:1])
    with pytest.raises(InputError, match="B, 1, H, W"):
        prepare()
    with pytest.raises(InputError, match="call prepare"):
        measure_terms(prepare(image), image)
    with pytest.raises(InputError, match="sources' shape"):
        measure_terms(prepare(image, image), image[:1])


def test_coarse_matrix_products_are_refused() -> None:
    image = torch.zeros(1, 1, 48, 48)
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(InputError, match="full precision"):
            prepare(image, image)
    finally:
        torch.set_float32_matmul_precision("highest")
