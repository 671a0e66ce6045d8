"""MI and SCD against golden numbers, their definitions spelt out in float64, and the laws they obey."""

import csv
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior.metrics import mi, scd
from prior.registry import metrics
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]

NAMES = ("mi", "mi_a", "mi_b", "scd")
CASES = Path(__file__).resolve().parents[1] / "golden"
# Of the cases that travel with the tests: MI(log2,raw) and SCD of the shared table.
GOLDEN = {
    "c07_gradients_avg": (2.1434485068252265, 1.4141814892847986),
    "c08_noise_avg": (4.68386523381321, 1.4092485870703642),
    "c09_constant": (0.0, math.nan),
    "c11_tiny16": (9.676416245899446, 1.1618579513586047),
    "c13_saturated_max": (7.20011200176795, 1.6276732110499048),
}


def judge(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in NAMES}


def read_case(folder: Path) -> list[Grey]:
    return [read_grey(folder / f"{name}.png") for name in ("a", "b", "f")]


def read_grey(path: Path) -> Grey:
    colour = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if colour is None:
        pytest.fail(f"cannot decode {path}")
    return np.rint(cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_BGR2GRAY)).astype(np.uint8)


@pytest.fixture
def scene() -> list[Grey]:
    rng = np.random.default_rng(7)
    a, b = (cv2.GaussianBlur(rng.integers(0, 256, (40, 52)).astype(np.uint8), (0, 0), 2) for _ in range(2))
    return [a, b, np.maximum(a, b)]


# --- golden numbers and definitions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_values_of_the_synthetic_cases(case: str) -> None:
    scores = judge(*read_case(CASES / case))
    assert (scores["mi"], scores["scd"]) == pytest.approx(GOLDEN[case], abs=1e-9, nan_ok=True)


def test_golden_values_of_all_cases(shared: Path) -> None:
    with (shared / "golden" / "values.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["implementation"] == "refimpl(py)"]
    names = {"MI(log2,raw)": "mi", "SCD": "scd"}
    rows = [row for row in rows if row["metric"] in names]
    assert len(rows) == 15 * len(names)
    cases = {case: judge(*read_case(shared / "golden" / case)) for case in {row["case"] for row in rows}}
    for row in rows:
        assert cases[row["case"]][names[row["metric"]]] == pytest.approx(float(row["value"]), abs=1e-9, nan_ok=True), row


def define_mi(x: Grey, f: Grey) -> float:
    joint = np.histogram2d(x.ravel(), f.ravel(), bins=256, range=[[0, 256], [0, 256]])[0] / x.size
    alone = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return float((joint[joint > 0] * np.log2(joint[joint > 0] / alone[joint > 0])).sum())


def define_scd(a: Grey, b: Grey, f: Grey) -> float:
    of_a, of_b, of_f = (image.astype(np.float64).ravel() for image in (a, b, f))
    return float(np.corrcoef(of_f - of_b, of_a)[0, 1] + np.corrcoef(of_f - of_a, of_b)[0, 1])


Draw = Callable[[np.random.Generator, tuple[int, int]], Grey]
DRAWS: dict[str, Draw] = {
    "noise": lambda rng, shape: rng.integers(0, 256, shape).astype(np.uint8),
    "few levels": lambda rng, shape: (85 * rng.integers(0, 4, shape)).astype(np.uint8),
    "constant": lambda rng, shape: np.full(shape, rng.integers(256), np.uint8),
    "ramp": lambda rng, shape: np.broadcast_to(np.linspace(0, rng.integers(1, 256), shape[1]).astype(np.uint8), shape),
}


@st.composite
def scenes(draw: st.DrawFn) -> list[Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    shape = (draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (DRAWS[draw(st.sampled_from(sorted(DRAWS)))](rng, shape) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


@given(scenes())
@settings(max_examples=80, deadline=None)
def test_numbers_are_those_of_the_definitions(scene: list[Grey]) -> None:
    a, b, f = scene
    scores = judge(a, b, f)
    expected = {"mi": define_mi(a, f) + define_mi(b, f), "mi_a": define_mi(a, f), "mi_b": define_mi(b, f)}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    if any(np.ptp(one.astype(np.int16)) == 0 for one in (a, b, f.astype(np.int16) - a, f.astype(np.int16) - b)):
        assert math.isnan(scores["scd"])
    else:
        assert scores["scd"] == pytest.approx(define_scd(a, b, f), abs=1e-9)


# --- laws -----------------------------------------------------------------------------------------------------------------------------


@given(scenes())
@settings(max_examples=40, deadline=None)
def test_scores_stay_inside_their_bounds(scene: list[Grey]) -> None:
    for name, score in judge(*scene).items():
        low, high = metrics()[name].bounds
        assert math.isnan(score) or low - 1e-12 <= score <= high + 1e-12, name


@given(scenes())
@settings(max_examples=20, deadline=None)
def test_swapping_the_sources_swaps_the_terms(scene: list[Grey]) -> None:
    a, b, f = scene
    scores, other_way = judge(a, b, f), judge(b, a, f)
    assert (other_way["mi_a"], other_way["mi_b"]) == (scores["mi_b"], scores["mi_a"])
    assert other_way["mi"] == scores["mi"] == scores["mi_a"] + scores["mi_b"]
    assert other_way["scd"] == pytest.approx(scores["scd"], abs=1e-12, nan_ok=True)


def test_information_does_not_ask_which_level_stands_for_which(scene: list[Grey]) -> None:
    shuffled = np.random.default_rng(0).permutation(256).astype(np.uint8)
    a, b, f = scene
    renamed = judge(a, b, shuffled[f])
    assert [renamed[name] for name in NAMES[:3]] == pytest.approx([judge(a, b, f)[name] for name in NAMES[:3]], abs=1e-12)


def test_all_levels_alike_often_carry_eight_bits() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    scores = judge(image, image.T.copy(), image)
    assert scores["mi_a"] == 8.0


def test_the_sum_of_both_sources_is_the_perfect_difference() -> None:
    a, b = (np.random.default_rng(seed).integers(0, 128, (20, 30)).astype(np.uint8) for seed in (1, 2))
    assert judge(a, b, a + b)["scd"] == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constants(scene: list[Grey], level: int) -> None:
    a, b, f = scene
    flat = np.full_like(a, level)
    assert judge(a, b, flat)["mi"] == 0
    assert judge(flat, b, f)["mi_a"] == 0
    assert math.isnan(judge(flat, b, f)["scd"])
    assert math.isnan(judge(a, b, a)["scd"])  # it adds nothing to a, which correlates with nothing
    assert math.isfinite(judge(a, b, flat)["scd"])


def test_better_candidates_score_higher(scene: list[Grey]) -> None:
    a, b, f = scene
    good, bad = judge(a, b, f), judge(a, b, np.random.default_rng(3).integers(0, 256, a.shape).astype(np.uint8))
    for name in NAMES:
        assert metrics()[name].better == "higher"
        assert good[name] > bad[name], name


def test_sums_do_not_overflow() -> None:
    a = np.zeros((1, 20_000_000), np.uint8)
    a[:, ::2] = 255
    b = 255 - a
    assert judge(a, b, a // 2 + b // 4)["scd"] == pytest.approx(2, abs=1e-9)
    assert judge(a, b, np.maximum(a, b) - a // 2)["mi"] == pytest.approx(2, abs=1e-9)


def test_images_may_be_read_only_and_in_any_order_of_memory(scene: list[Grey]) -> None:
    expected = judge(*scene)
    for arrange in (freeze, np.asfortranarray, stride, flip):
        assert judge(*(arrange(image) for image in scene)) == expected, arrange.__name__


def freeze(image: Grey) -> Grey:
    frozen = image.copy()
    frozen.setflags(write=False)
    return frozen


def stride(image: Grey) -> Grey:
    return np.repeat(np.repeat(image, 2, axis=0), 3, axis=1)[::2, ::3]


def flip(image: Grey) -> Grey:
    return image[::-1, ::-1].copy()[::-1, ::-1]


def test_inputs_are_untouched_and_what_is_known_of_a_pair_is_shared(scene: list[Grey]) -> None:
    before = [image.copy() for image in scene]
    sources, expected = Sources(scene[0], scene[1]), judge(*scene)
    fused = Fused(scene[2], sources)
    assert {name: metrics()[name].judge(fused) for name in reversed(NAMES)} == expected
    assert all(np.array_equal(now, then) for now, then in zip(scene, before, strict=True))
    assert sources.once(scd._prepare) is sources.once(scd._prepare)
    assert fused.once(mi._compare) is fused.once(mi._compare)


def test_every_metric_is_registered_with_its_facts() -> None:
    for name in NAMES:
        one = metrics()[name]
        assert one.bounds[0] < one.bounds[1]
        assert "10." in one.reference and one.definition
        assert pickle.loads(pickle.dumps(one)) == one
