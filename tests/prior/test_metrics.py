"""SSIM, VIF and Qabf against golden numbers, published scores, an independent float64 reference, and the laws they obey."""

import csv
import importlib.util
import itertools
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior.registry import metrics
from prior.statistics import Fused, Sources

Grey = NDArray[np.uint8]
Row = dict[str, str]

NAMES = ("qabf", "ssim", "ssim_a", "ssim_b", "ssim_l2", "vif", "vif_a", "vif_b")
CRITERIA = ("score_intended", "score_released", "score_balanced")
# The folders of sources a and b of each published set.
SOURCES = {
    "vifb": ("ir", "vis"),
    "tno": ("ir", "vis"),
    "roadscene": ("ir", "vis"),
    "lytro": ("a", "b"),
    "harvard_mri_ct": ("mri", "ct"),
    "harvard_mri_pet": ("mri", "pet"),
}


def load_reference() -> ModuleType:
    """`tests/textbook/criteria.py` by its path: the name `tests` belongs to a package that pyiqa installs."""
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).resolve().parents[1] / "textbook" / "criteria.py")
    if spec is None or spec.loader is None:
        pytest.fail("tests/textbook/criteria.py is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()


def judge(a: Grey, b: Grey, f: Grey) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in NAMES}


def apply_criteria(scores: dict[str, float]) -> dict[str, float]:
    """The three criteria, under the names of the shared table."""
    return {
        "score_intended": 2 * scores["ssim"] + scores["vif"] + 3 * scores["qabf"],
        "score_released": 2 * scores["ssim_l2"] + scores["vif"] + 3 * scores["qabf"],
        "score_balanced": 4 * min(scores["ssim_a"], scores["ssim_b"]) + 2 * min(scores["vif_a"], scores["vif_b"]) + 3 * scores["qabf"],
    }


def read_rows(path: Path) -> list[Row]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def read_grey(path: Path) -> Grey:
    colour = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if colour is None:
        pytest.fail(f"cannot decode {path}")
    return np.rint(cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_BGR2GRAY)).astype(np.uint8)


def find_stem(folder: Path, stem: str) -> Path:
    return next(path for path in folder.iterdir() if path.stem == stem)


@pytest.fixture
def scene() -> list[Grey]:
    """Two sources and a candidate with structure at every scale, 61 x 83 px."""
    rng = np.random.default_rng(7)
    a, b = (draw_relief(rng, 61, 83) for _ in range(2))
    return [a, b, np.maximum(a, b)]


# --- golden numbers: those of the cases stand in test_passports.py ---------------------------------------------------------------


def test_published_scores_and_their_winners(shared: Path) -> None:
    rows = [row for row in read_rows(shared / "golden" / "published_scores.csv") if not row["method"].startswith("reference:")]
    pairs = [(key, list(group)) for key, group in itertools.groupby(rows, key=lambda row: (row["dataset"], row["pair"]))]
    assert len(pairs) == 105
    for (dataset, pair), group in pairs:
        folder = shared / "data" / dataset
        sources = Sources(*(read_grey(find_stem(folder / side, pair)) for side in SOURCES[dataset]))
        ranked = {name: sorted(group, key=lambda row: -float(row[name])) for name in CRITERIA}
        # Every sixth method, and the first two of each criterion: with errors far below their distance these decide the winner.
        chosen = {row["method"]: row for rows in (group[::6], *(best[:2] for best in ranked.values())) for row in rows}
        values = {method: apply_criteria(check_published(judge_published(folder, sources, row), row)) for method, row in chosen.items()}
        for name, best in ranked.items():
            assert max(values, key=lambda method: values[method][name]) == best[0]["method"], (dataset, pair, name)


def judge_published(folder: Path, sources: Sources, row: Row) -> dict[str, float]:
    fused = Fused(read_grey(find_stem(folder / "fused" / row["method"].removeprefix("published:"), row["pair"])), sources)
    return {name: metrics()[name].judge(fused) for name in NAMES}


def check_published(scores: dict[str, float], row: Row) -> dict[str, float]:
    """The scores, once they agree with the published row."""
    terms = ("ssim_a", "ssim_b", "vif_a", "vif_b", "qabf")
    assert {name: scores[name] for name in terms} == pytest.approx({name: float(row[name]) for name in terms}, abs=1e-4), row
    assert scores["ssim_l2"] == pytest.approx(float(row["ssim_a_L2"]) + float(row["ssim_b_L2"]), abs=1e-4), row
    assert apply_criteria(scores) == pytest.approx({name: float(row[name]) for name in CRITERIA}, abs=1e-4), row
    return scores


# --- against the float64 reference --------------------------------------------------------------------------------------------------


def draw_noise(rng: np.random.Generator, height: int, width: int) -> Grey:
    return rng.integers(0, 256, (height, width)).astype(np.uint8)


def draw_black_and_white(rng: np.random.Generator, height: int, width: int) -> Grey:
    white: Grey = np.where(rng.random((height, width)) < rng.random(), np.uint8(255), np.uint8(0))
    return white


def draw_gradient(rng: np.random.Generator, height: int, width: int) -> Grey:
    down, along = rng.uniform(-4, 4, 2)
    levels: Grey = np.clip(np.add.outer(down * np.arange(height), along * np.arange(width)) + 128, 0, 255).astype(np.uint8)
    return levels


def draw_constant(rng: np.random.Generator, height: int, width: int) -> Grey:
    return np.full((height, width), rng.integers(256), np.uint8)


def draw_one_spot(rng: np.random.Generator, height: int, width: int) -> Grey:
    image = draw_constant(rng, height, width)
    image[rng.integers(height), rng.integers(width)] ^= np.uint8(rng.integers(1, 256))
    return image


def draw_bright_with_corner(rng: np.random.Generator, height: int, width: int) -> Grey:
    image = np.full((height, width), 255, np.uint8)
    image[rng.integers(height) :, rng.integers(width) :] = rng.choice([0, 254])
    return image


def draw_relief(rng: np.random.Generator, height: int, width: int) -> Grey:
    return np.clip(np.cumsum(np.cumsum(rng.normal(size=(height, width)), 0), 1) + 128, 0, 255).astype(np.uint8)


Draw = Callable[[np.random.Generator, int, int], Grey]
DRAWS: tuple[Draw, ...] = (
    draw_noise,
    draw_black_and_white,
    draw_gradient,
    draw_constant,
    draw_one_spot,
    draw_bright_with_corner,
    draw_relief,
)


@st.composite
def scenes(draw: st.DrawFn, shortest: int = 41) -> list[Grey]:
    """Two sources and a candidate of one size, each of any kind, the candidate sometimes made from the sources."""
    height, width = draw(st.integers(shortest, shortest + 24)), draw(st.integers(shortest, shortest + 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw(st.sampled_from(DRAWS))(rng, height, width) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return [a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))]


@given(scenes())
@settings(max_examples=80, deadline=None)
def test_errors_against_float64(scene: list[Grey]) -> None:
    assert judge(*scene) == pytest.approx(reference.score(*scene), abs=1e-6, nan_ok=True)


@given(scenes(shortest=1))
@settings(max_examples=40, deadline=None)
def test_errors_against_float64_on_small_images(scene: list[Grey]) -> None:
    assert judge(*scene) == pytest.approx(reference.score(*scene), abs=1e-6, nan_ok=True)


# --- laws -----------------------------------------------------------------------------------------------------------------------------


@given(scenes(shortest=7))
@settings(max_examples=40, deadline=None)
def test_scores_stay_inside_their_bounds(scene: list[Grey]) -> None:
    for name, score in judge(*scene).items():
        low, high = metrics()[name].bounds
        assert math.isnan(score) or low - 1e-12 <= score <= high + 1e-12, name


@given(scenes())
@settings(max_examples=20, deadline=None)
def test_swapping_the_sources_swaps_the_terms(scene: list[Grey]) -> None:
    a, b, f = scene
    swapped = {"ssim_a": "ssim_b", "ssim_b": "ssim_a", "vif_a": "vif_b", "vif_b": "vif_a"}
    scores, other_way = judge(a, b, f), judge(b, a, f)
    for name in NAMES:
        assert other_way[swapped.get(name, name)] == pytest.approx(scores[name], abs=1e-12, nan_ok=True), name


def test_a_copy_of_both_sources_is_nearly_perfect(scene: list[Grey]) -> None:
    scores = judge(scene[0], scene[0], scene[0])
    assert scores["ssim"] == scores["ssim_l2"] == 2
    assert scores["vif"] == pytest.approx(2, abs=1e-8)
    assert scores["qabf"] == pytest.approx(0.975, abs=5e-4)


def test_better_candidates_score_higher(scene: list[Grey]) -> None:
    a, b, f = scene
    noise = np.random.default_rng(3).integers(0, 256, a.shape).astype(np.uint8)
    good, bad = judge(a, b, f), judge(a, b, noise)
    for name in NAMES:
        assert metrics()[name].better == "higher"
        assert good[name] > bad[name], name


def test_sums_are_the_sums_of_their_terms(scene: list[Grey]) -> None:
    scores = judge(*scene)
    assert scores["ssim"] == scores["ssim_a"] + scores["ssim_b"]
    assert scores["vif"] == scores["vif_a"] + scores["vif_b"]


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_vif_of_a_constant_source_is_undefined(scene: list[Grey], level: int) -> None:
    constant = np.full_like(scene[0], level)
    scores = judge(constant, scene[1], scene[2])
    assert math.isnan(scores["vif_a"])
    assert math.isnan(scores["vif"])
    assert scores["vif_b"] == pytest.approx(reference.vif(scene[1], scene[2]), abs=1e-8)


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_a_constant_candidate_keeps_no_information(scene: list[Grey], level: int) -> None:
    assert judge(scene[0], scene[1], np.full_like(scene[0], level))["vif"] == 0


def test_constants_keep_the_border_that_qabf_sees() -> None:
    grey, black = np.full((50, 60), 90, np.uint8), np.zeros((50, 60), np.uint8)
    assert judge(grey, grey, grey + 1)["qabf"] > 0.96
    assert math.isnan(judge(black, black, grey)["qabf"])


@pytest.mark.parametrize("shape", [(41, 41), (41, 90), (90, 41)])
def test_vif_is_defined_from_41_px(shape: tuple[int, int]) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8))
    assert math.isfinite(judge(*images)["vif"])
    smaller = [image[: shape[0] - (shape[0] == 41), : shape[1] - (shape[1] == 41)] for image in images]
    scores = judge(*smaller)
    assert all(math.isnan(scores[name]) for name in ("vif", "vif_a", "vif_b"))
    assert math.isfinite(scores["ssim"]) and math.isfinite(scores["qabf"])


def test_ssim_is_defined_from_7_px() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (3, 7, 7)).astype(np.uint8))
    assert math.isfinite(judge(*images)["ssim"])
    scores = judge(*(image[:6] for image in images))
    assert all(math.isnan(scores[name]) for name in ("ssim", "ssim_a", "ssim_b", "ssim_l2"))


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


def test_inputs_are_untouched_and_the_order_of_calls_does_not_matter(scene: list[Grey]) -> None:
    before = [image.copy() for image in scene]
    expected = judge(*scene)
    fused = Fused(scene[2], Sources(scene[0], scene[1]))
    assert {name: metrics()[name].judge(fused) for name in reversed(NAMES)} == {name: expected[name] for name in NAMES}
    assert all(np.array_equal(now, then) for now, then in zip(scene, before, strict=True))


def test_every_metric_is_registered_with_its_facts() -> None:
    assert set(NAMES) <= set(metrics())
    for name in NAMES:
        one = metrics()[name]
        assert one.bounds[0] < one.bounds[1]
        assert "10." in one.reference and one.definition
        assert pickle.loads(pickle.dumps(one)) == one
