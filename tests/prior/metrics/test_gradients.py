"""The metrics of gradients: against their definitions spelt out, where they are undefined, and the laws they obey."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior.arrays import luma
from prior.pictures import read_picture
from prior.registry import metrics
from prior.statistics import Fused, Sources
from prior.statistics.gradients import BORDERS, Border, find_edges, slope_right, slope_up

Grey = NDArray[np.uint8]
Textbook = Mapping[str, Callable[[Grey, Grey, Grey], float]]

ALONE = ("sf", "sf_mn", "sf_unit", "ag", "ag_inner", "ag_forward", "ag_forward_mn", "ei")
EDGES = ("qabf", "qabf_folded", "qabf_vifb", "q_g", "nabf", "labf", "qabf_petrovic", "nabf_petrovic")
NAMES = (*ALONE, "q_sf", "q_m", *EDGES, "nabf_swapped")
MIRRORED: Mapping[Border, str] = {"zero": "constant", "replicate": "edge", "mirror": "reflect"}


def judge(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in NAMES}


def judge_one(name: str, f: Grey) -> float:
    return metrics()[name].judge(Fused(f, Sources(f, f)))


def draw_image(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Grey:
    """An image of one kind: noise, two neighbouring levels, black and white, one level, black, one spot, a saturated ramp, or smooth."""
    image: Grey = np.full(shape, rng.integers(256), np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, shape).astype(np.uint8)
    elif kind == "faint":
        image = rng.integers(100, 102, shape).astype(np.uint8)
    elif kind == "extremes":
        image = np.where(rng.random(shape) < 0.5, np.uint8(255), np.uint8(0))
    elif kind == "black":
        image = np.zeros(shape, np.uint8)
    elif kind == "spot":
        image[rng.integers(shape[0]), rng.integers(shape[1])] ^= np.uint8(rng.integers(1, 256))
    elif kind == "ramp":
        # often exactly along an axis, where the angle is a special case
        down, along = rng.uniform(-9, 9, 2) * rng.integers(0, 2, 2)
        image = np.clip(np.add.outer(down * np.arange(shape[0]), along * np.arange(shape[1])) + 128, 0, 255).astype(np.uint8)
    elif kind == "smooth":
        image = np.asarray(cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2), np.uint8)
    return image


KINDS = st.sampled_from(["noise", "faint", "extremes", "flat", "black", "spot", "ramp", "smooth"])


@st.composite
def scenes(draw: st.DrawFn, shortest: int = 1) -> list[Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    shape = (draw(st.integers(shortest, 60)), draw(st.integers(shortest, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(KINDS), shape) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


@pytest.fixture
def scene() -> list[Grey]:
    rng = np.random.default_rng(7)
    a, b = (draw_image(rng, "smooth", (61, 83)) for _ in range(2))
    return [a, b, np.maximum(a, b)]


# --- against the definitions ------------------------------------------------------------------------------------------------------------


def find_errors(expected: Mapping[str, float], scores: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Every score that is not the expected one, beside it."""
    pairs = {name: (scores[name], value) for name, value in expected.items()}
    return {
        name: (score, value) for name, (score, value) in pairs.items() if score != pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True)
    }


@given(scenes())
@settings(max_examples=40)
def test_numbers_are_those_of_the_definitions(textbook: Textbook, scene: list[Grey]) -> None:
    assert not find_errors({name: textbook[name](*scene) for name in NAMES}, judge(*scene))


@given(scenes(shortest=20))
@settings(max_examples=40)
def test_numbers_are_those_of_the_definitions_on_larger_images(textbook: Textbook, scene: list[Grey]) -> None:
    assert not find_errors({name: textbook[name](*scene) for name in NAMES}, judge(*scene))


def test_numbers_are_those_of_the_definitions_on_golden_cases(textbook: Textbook, shared: Path) -> None:
    folders = sorted(path for path in (shared / "golden").iterdir() if path.is_dir())
    assert len(folders) == 15
    for folder in folders:
        triple = [luma(read_picture(folder / f"{which}.png").pixels)[:96, :160] for which in "abf"]
        assert not find_errors({name: textbook[name](*triple) for name in NAMES}, judge(*triple)), folder.name


@pytest.mark.parametrize("border", list(BORDERS))
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (9, 14)])
def test_slopes_are_exact_at_every_border(border: Border, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(shape[1]).integers(0, 256, shape).astype(np.uint8)
    # NumPy mirrors no side of 1 px; all that is beyond it is that pixel
    modes = [MIRRORED[border] if side > 1 or border != "mirror" else "edge" for side in shape]
    x = np.pad(np.pad(image.astype(int), ((1, 1), (0, 0)), modes[0]), ((0, 0), (1, 1)), modes[1])  # type: ignore[call-overload]
    across, down = x[:, 2:] - x[:, :-2], x[2:] - x[:-2]
    assert np.array_equal(slope_right(image, border), across[:-2] + 2 * across[1:-1] + across[2:])
    assert np.array_equal(slope_up(image, border), -(down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]))


def test_every_gradient_of_8_bit_levels_has_its_strength_and_angle() -> None:
    rng = np.random.default_rng(2)
    for kind in ("noise", "extremes", "faint", "flat"):
        image = draw_image(rng, kind, (200, 300))
        right, up = (slope(image, "mirror").astype(np.float64) for slope in (slope_right, slope_up))
        edges = find_edges(image, "mirror")
        assert np.array_equal(edges.strengths, np.sqrt(right**2 + up**2).astype(np.float32))
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.where(right == 0, np.pi / 2, np.arctan(up / right))
        assert np.abs(edges.angles - expected).max() < 3e-7


def test_sums_of_squares_are_exact_at_the_largest_differences() -> None:
    board = (255 * (np.add.outer(np.arange(700), np.arange(900)) % 2)).astype(np.uint8)
    assert judge_one("sf", board) == pytest.approx(255 * math.sqrt(2), rel=1e-15)


# --- numbers that can be told without computing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("sf", 3), ("sf_unit", 3 / 255), ("ag", 3 / math.sqrt(2)), ("ag_forward", 3 / math.sqrt(2))]
)
def test_a_ramp_rises_by_its_step(name: str, expected: float) -> None:
    ramp = np.tile(3 * np.arange(40, dtype=np.uint8), (30, 1))
    assert judge_one(name, ramp) == pytest.approx(expected, rel=1e-7)


def test_the_averages_differ_by_their_counts_alone(scene: list[Grey]) -> None:
    scores = judge(*scene)
    height, width = scene[2].shape
    assert scores["ag_inner"] == pytest.approx(scores["ag"] * height * width / ((height - 1) * (width - 1)), rel=1e-15)
    assert scores["ag_forward_mn"] == pytest.approx(scores["ag_forward"] * (height - 1) * (width - 1) / (height * width), rel=1e-15)
    assert scores["sf_unit"] == pytest.approx(scores["sf"] / 255, rel=1e-15)


def test_copies_of_one_image_are_as_good_as_can_be(scene: list[Grey]) -> None:
    scores = judge(scene[0], scene[0], scene[0])
    assert scores["q_m"] == pytest.approx(3, rel=1e-15) and scores["q_sf"] == 0 and scores["nabf"] == 0
    assert scores["qabf"] == pytest.approx(0.975, abs=5e-4) and scores["q_g"] == pytest.approx(0.98666, abs=1e-5)
    assert scores["labf"] == pytest.approx(1 - math.sqrt(0.9999 * 0.9995 / ((1 + math.exp(-9.5)) * (1 + math.exp(-11)))), abs=1e-4)


def test_added_activity_is_above_zero_and_lost_activity_below(scene: list[Grey]) -> None:
    a, b, _ = scene
    noise = np.random.default_rng(3).integers(0, 256, a.shape).astype(np.uint8)
    assert judge(a, b, noise)["q_sf"] > 0 > judge(a, b, np.full_like(a, 90))["q_sf"] == -1


def test_a_negative_keeps_the_edges_once_directions_are_folded(scene: list[Grey]) -> None:
    a = np.tile(np.arange(100, 220, 3, dtype=np.uint8), (40, 1))
    tilted = np.clip(np.add.outer(-5.0 * np.arange(40), np.arange(40)) + 200, 0, 255).astype(np.uint8)
    negative = judge(tilted, tilted, 255 - tilted)
    assert negative["qabf_folded"] > negative["qabf"] - 1e-9
    turned = judge(a, a, tilted)
    assert turned["qabf_folded"] >= turned["qabf"]
    scores = judge(scene[0], scene[1], 255 - scene[0])
    assert scores["qabf_folded"] > scores["qabf"]


def test_ties_matter_little_on_levels_up_to_255(scene: list[Grey]) -> None:
    scores = judge(scene[0], scene[0], scene[0])
    assert scores["qabf"] != scores["qabf_vifb"] and scores["qabf"] == pytest.approx(scores["qabf_vifb"], abs=2e-6)


def test_swapped_arguments_take_source_a_for_the_fused_image(scene: list[Grey]) -> None:
    a, b, f = scene
    assert judge(a, b, f)["nabf_swapped"] == judge(b, f, a)["nabf"]


@given(scenes())
@settings(max_examples=20)
def test_what_is_kept_lost_and_added_is_all_there_is(scene: list[Grey]) -> None:
    scores = judge(*scene)
    assert scores["qabf_petrovic"] + scores["nabf"] + scores["labf"] == pytest.approx(1, abs=1e-12)


@given(scenes())
@settings(max_examples=20)
def test_rows_and_columns_count_alike_where_no_angle_enters(scene: list[Grey]) -> None:
    scores, turned = judge(*scene), judge(*(image.T for image in scene))
    for name in (*ALONE, "q_sf", "q_m"):
        assert turned[name] == pytest.approx(scores[name], rel=1e-12, nan_ok=True), name


@given(scenes())
@settings(max_examples=20)
def test_swapping_the_sources_leaves_all_but_one(scene: list[Grey]) -> None:
    a, b, f = scene
    scores, swapped = judge(a, b, f), judge(b, a, f)
    for name in set(NAMES) - {"nabf_swapped"}:
        assert swapped[name] == pytest.approx(scores[name], rel=1e-12, abs=1e-12, nan_ok=True), name


# --- where they are undefined -----------------------------------------------------------------------------------------------------------


def find_undefined(a: Grey, b: Grey, f: Grey) -> set[str]:
    return {name for name, score in judge(a, b, f).items() if math.isnan(score)}


def test_sources_without_edges_leave_some_undefined(scene: list[Grey]) -> None:
    image, grey, black = scene[0], np.full_like(scene[0], 90), np.zeros_like(scene[0])
    assert find_undefined(image, image, grey) == set()
    assert find_undefined(image, grey, image) == set()
    assert find_undefined(grey, grey, image) == {"q_sf", "q_m"}
    assert find_undefined(black, black, image) == {"q_sf", "q_m", "qabf", "qabf_folded", "qabf_vifb"}
    assert judge(grey, grey, grey)["qabf"] > 0.96  # of the border of zeros


def test_details_at_one_scale_alone_leave_q_m_undefined() -> None:
    board = (255 * (np.add.outer(np.arange(20), np.arange(20)) % 2)).astype(np.uint8)
    assert math.isnan(judge_one("q_m", board))
    blocks = np.kron(board, np.ones((2, 2), np.uint8))
    assert math.isnan(judge_one("q_m", blocks))
    assert judge_one("q_m", np.maximum(blocks, np.tile(board, (2, 2)))) == pytest.approx(3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 9), (3, 3), (4, 4)])
def test_too_few_pixels_leave_them_undefined(shape: tuple[int, int]) -> None:
    images = list(np.random.default_rng(1).integers(1, 256, (3, *shape)).astype(np.uint8))
    without_neighbours = {*ALONE, "q_sf"} - {"ei"} if min(shape) < 2 else set()
    without_edges = {"qabf", "qabf_folded", "qabf_vifb"} if shape == (1, 1) else set()
    assert find_undefined(*images) == without_neighbours | without_edges | ({"q_m"} if min(shape) < 4 else set())
