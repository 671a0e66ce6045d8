"""Every registered metric against its passport: golden values, bounds, where it is undefined, how it moves, and on whom it depends."""

import csv
import functools
import itertools
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prior import golden
from prior.arrays import luma
from prior.examples import make_examples
from prior.passport import Passport
from prior.pictures import read_picture
from prior.registry import Metric, find_method, metrics, resolve_metrics
from prior.statistics import Fused, Sources
from storage.errors import InputError

Grey = NDArray[np.uint8]
Textbook = Callable[[Grey, Grey, Grey], float]

NAMES = tuple(metrics())
WHOLES = tuple(name for name, one in metrics().items() if not one.term_of)
ALL_CASES = 15
DARK, BRIGHT = (np.full((64, 64), level, np.uint8) for level in (1, 2))  # of their cosine transform a single coefficient is not 0
FEW = 24  # px: in less even a picture that is not flat may have nothing to go by, such as an edge
SCENES = ("scene_01", "scene_04", "head_01", "head_07", "focus_01", "focus_03", "exposure_01", "exposure_03")


def passport_of(name: str) -> Passport:
    passport = metrics()[name].passport
    assert passport is not None, f"{name} has no passport"
    return passport


def judge(a: Grey, b: Grey, f: Grey, names: tuple[str, ...] = NAMES) -> dict[str, float]:
    fused = Fused(f, Sources(a, b))
    return {name: metrics()[name].judge(fused) for name in names}


# --- what a passport says -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_passport_is_filled_in(name: str) -> None:
    one, passport = metrics()[name], passport_of(name)
    for text in (
        one.definition,
        one.reference,
        passport.title,
        passport.symbol,
        passport.meaning,
        passport.undefined,
        passport.dynamic_range,
    ):
        assert text.strip(), name
    assert any(character.isdigit() for character in one.reference), f"{name}: a reference has a year"
    assert one.bounds[0] < one.bounds[1]
    assert (passport.combination == "one source") == bool(one.term_of)
    assert bool(passport.golden) or one.term_of or one.variant_of, f"{name} has no golden row"


@pytest.mark.parametrize("name", NAMES)
def test_terms_and_variants_name_a_metric(name: str) -> None:
    one = metrics()[name]
    for other in filter(None, (one.term_of, one.variant_of)):
        assert other in metrics() and other != name


def test_all_is_every_metric_and_its_terms_without_variants() -> None:
    found = resolve_metrics(["all"])
    assert set(found) == {name for name, one in metrics().items() if not one.variant_of}
    assert resolve_metrics(["vif", "all", "vif"])[0] == "vif" and len(resolve_metrics(["vif", "all"])) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_pickle(name: str) -> None:
    one = metrics()[name]
    assert pickle.loads(pickle.dumps(one)) == one


# --- golden values --------------------------------------------------------------------------------------------------------------------


def compare(name: str, case: str, score: float, expected: float, tolerance: float) -> str:
    """What is wrong with a score beside its golden value; empty where nothing is."""
    if (name, case) in golden.EXCLUDED:
        return ""
    if math.isnan(expected):
        return "" if math.isnan(score) else f"{name} on {case}: {score} where the reference is undefined"
    if score == expected:
        return ""
    error = golden.measure_error(score, expected)
    return "" if error <= tolerance else f"{name} on {case}: {score}, golden {expected}, error {error:.1e}"


@pytest.mark.parametrize("case", golden.CASES)
def test_golden_values_of_the_synthetic_cases(case: str) -> None:
    one = golden.read_case(case)
    scores = judge(one.a, one.b, one.f)
    wrong = []
    for name, score in scores.items():
        passport = passport_of(name)
        if passport.golden:
            values = golden.list_values(passport.golden, passport.golden_by)
            assert values, f"{name}: no golden row {passport.golden!r}"
            if case in values:  # public code that failed on a case has no row for it
                wrong.append(compare(name, case, score, values[case], passport.tolerance))
    assert not list(filter(None, wrong))


def test_golden_values_of_all_cases(shared: Path) -> None:
    with (shared / "golden" / "values.csv").open(newline="") as lines:
        rows = {(row["case"], row["metric"], row["implementation"]): row["value"] for row in csv.DictReader(lines)}
    cases = sorted({case for case, _, _ in rows})
    assert len(cases) == ALL_CASES
    wrong = []
    for case in cases:
        a, b, f = (luma(read_picture(shared / "golden" / case / f"{which}.png").pixels) for which in "abf")
        for name, score in judge(a, b, f).items():
            passport = passport_of(name)
            key = (case, passport.golden, passport.golden_by)
            if key in rows and rows[key] != "error":
                wrong.append(compare(name, case, score, float(rows[key]), passport.tolerance))
    assert not list(filter(None, wrong))


def test_every_main_metric_is_equal_to_its_textbook_version(textbook: Mapping[str, Textbook]) -> None:
    mains = {name for name in WHOLES if not metrics()[name].variant_of}
    assert mains <= set(textbook)
    for scene in SCENES[::3]:
        a, b, f = (image[:96, :112] for image in load_scene(scene))
        scores = judge(a, b, f, tuple(name for name in WHOLES if name in textbook))
        wrong = [compare(name, scene, score, textbook[name](a, b, f), passport_of(name).tolerance) for name, score in scores.items()]
        assert not list(filter(None, wrong))


# --- how they move ----------------------------------------------------------------------------------------------------------------------


SETS = {"tno": ("ir", "vis"), "harvard_mri_ct": ("mri", "ct"), "lytro": ("a", "b")}


def test_metrics_move_as_their_passports_say_on_real_pairs_too(shared: Path) -> None:
    wrong = []
    scenes = [scene for name, sides in SETS.items() for scene in load_real(shared / "data" / name, sides)]
    for spoil in (add_noise, blur):
        moves = {name: list(drawn) for name, drawn in list_moves(spoil).items()}
        for a, b, f in scenes:
            good, bad = judge(a, b, f), judge(a, b, spoil(f))
            for name in NAMES:
                moves[name].append(bad[name] - good[name])
        for name in NAMES:
            said = passport_of(name).noise if spoil is add_noise else passport_of(name).blur
            found = name_trend(moves[name] + moves[name_twin(name)])
            if found != said:
                wrong.append(f"{name} {found} under {spoil.__name__}, its passport says {said}: {moves[name]}")
    assert not wrong


def load_real(folder: Path, sides: tuple[str, str]) -> Iterator[tuple[Grey, Grey, Grey]]:
    """Three scenes of a set: the upper left corner of its third pair and of its eleventh, and the middle of the third."""
    first, second = (folder / side for side in sides)
    paths = sorted(first.iterdir())
    for path in (paths[2], paths[10]):
        other = next(one for one in second.iterdir() if one.stem == path.stem)
        a, b = (luma(read_picture(one).pixels) for one in (path, other))
        yield make_scene(a, b)
        if path == paths[2]:
            top, left = (a.shape[0] - 176) // 2, (a.shape[1] - 208) // 2
            yield make_scene(a[top:, left:], b[top:, left:])


def name_trend(moves: list[float]) -> str:
    defined = [move for move in moves if math.isfinite(move)]
    return "unstated" if not defined else "rises" if min(defined) > 0 else "falls" if max(defined) < 0 else "varies"


@functools.cache
def load_scene(pair_id: str) -> tuple[Grey, Grey, Grey]:
    """One embedded example pair with a good candidate."""
    example = next(one for one in make_examples() if one.pair_id == pair_id)
    return make_scene(luma(example.a), luma(example.b))


def make_scene(a: Grey, b: Grey) -> tuple[Grey, Grey, Grey]:
    """At most 176 x 208 px of a pair, its levels moved to 40..215 so that noise is not clipped, with a good candidate."""
    a, b = (to_levels(40 + source[:176, :208] * (175 / 255)) for source in (a, b))
    fused = find_method("laplacian_pyramid").fuse(a.astype(np.float32) / 255, b.astype(np.float32) / 255)
    return a, b, to_levels(255 * fused)


def to_levels(field: NDArray[np.floating]) -> Grey:
    return np.rint(np.clip(field, 0, 255)).astype(np.uint8)


def add_noise(image: Grey) -> Grey:
    return to_levels(image + np.random.default_rng(0).normal(0, 10, image.shape))


def blur(image: Grey) -> Grey:
    return to_levels(cv2.GaussianBlur(image.astype(np.float64), (0, 0), 2))


@functools.cache
def list_moves(spoil: Callable[[Grey], Grey]) -> dict[str, list[float]]:
    """By metric, the score of the spoilt candidate less that of the good one, on every scene where both are defined."""
    moves: dict[str, list[float]] = {name: [] for name in NAMES}
    for scene in SCENES:
        a, b, f = load_scene(scene)
        good, bad = judge(a, b, f), judge(a, b, spoil(f))
        for name in NAMES:
            if math.isfinite(bad[name] - good[name]):
                moves[name].append(bad[name] - good[name])
    return moves


def name_twin(name: str) -> str:
    """The term for the other source: that of a pair is the term for this one of the pair in the other order. A whole is its own."""
    return f"{name[:-1]}{'b' if name.endswith('a') else 'a'}" if metrics()[name].term_of else name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spoil", [add_noise, blur])
def test_metrics_move_as_their_passports_say(name: str, spoil: Callable[[Grey], Grey]) -> None:
    passport = passport_of(name)
    said = passport.noise if spoil is add_noise else passport.blur
    moves = list_moves(spoil)[name] + list_moves(spoil)[name_twin(name)]
    # what varies may do so only on real pairs
    assert said in (name_trend(moves), "varies"), f"{name}: {moves}"


# --- on whom a score depends ------------------------------------------------------------------------------------------------------------


def test_a_score_depends_on_no_other_candidate_metric_or_thread() -> None:
    a, b, f = (image[:80, :96] for image in load_scene("scene_01"))
    others = [f, to_levels(255.0 - f), add_noise(f), blur(f)]
    alone = [judge(a, b, other) for other in others]
    sources = Sources(a, b)
    together = [{name: metrics()[name].judge(Fused(other, sources)) for name in reversed(NAMES)} for other in reversed(others)][::-1]
    sources = Sources(a, b)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda other: {name: metrics()[name].judge(Fused(other, sources)) for name in NAMES}, others))
    for name in NAMES:
        for one, two, three in zip(alone, together, threaded, strict=True):
            assert same(one[name], two[name]) and same(one[name], three[name]), name


def test_scores_do_not_depend_on_the_order_of_memory() -> None:
    images = [image[:80, :96] for image in load_scene("scene_01")]
    expected = judge(*(np.ascontiguousarray(image) for image in images))
    frozen = [image.copy() for image in images]
    for image in frozen:
        image.setflags(write=False)
    for arranged in (frozen, [np.asfortranarray(image) for image in images], [image[::-1, ::-1].copy()[::-1, ::-1] for image in images]):
        scores = judge(*arranged)
        assert not [name for name in NAMES if not same(scores[name], expected[name])]


def same(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))


@pytest.mark.parametrize("name", NAMES)
def test_swapping_the_sources_does_what_the_passport_says(name: str) -> None:
    twin, scores = name_twin(name), []
    for a, b, f in (
        *([image[:80, :96] for image in load_scene(scene)] for scene in SCENES),
        (DARK, BRIGHT, BRIGHT),
        (BRIGHT, DARK, BRIGHT),
    ):
        scores.append((judge(a, b, f, (name,))[name], judge(b, a, f, (twin,))[twin]))
    equal = [swapped == pytest.approx(score, rel=1e-9, abs=1e-12, nan_ok=True) for score, swapped in scores]
    if passport_of(metrics()[name].term_of or name).symmetric:
        assert all(equal), scores
    else:
        assert not all(equal), f"{name} is said to depend on the order of the sources"


# --- bounds, and where they are undefined -----------------------------------------------------------------------------------------------


def draw_image(rng: np.random.Generator, kind: str, height: int, width: int) -> Grey:
    """An image of one kind: smooth, noise, black and white, one level, one spot, or a ramp."""
    if kind == "smooth":
        return to_levels(128 + 60 * cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2) * 4)
    if kind == "noise":
        return rng.integers(0, 256, (height, width)).astype(np.uint8)
    if kind == "extremes":
        return np.where(rng.random((height, width)) < 0.5, np.uint8(255), np.uint8(0))
    image = np.full((height, width), rng.integers(256), np.uint8)
    if kind == "spot":
        image[rng.integers(height), rng.integers(width)] ^= np.uint8(rng.integers(1, 256))
    if kind == "ramp":
        image = to_levels(np.add.outer(rng.uniform(-4, 4) * np.arange(height), rng.uniform(-4, 4) * np.arange(width)) + 128)
    return image


KINDS = st.sampled_from(["smooth", "noise", "extremes", "flat", "spot", "ramp"])


@st.composite
def triples(draw: st.DrawFn) -> tuple[Grey, Grey, Grey]:
    """Two sources and a candidate of one size from 1 to 60 px, each of any kind, the candidate sometimes made from the sources."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b, other = (draw_image(rng, draw(KINDS), height, width) for _ in range(3))
    average = ((a.astype(np.uint16) + b) // 2).astype(np.uint8)
    return a, b, draw(st.sampled_from([other, np.maximum(a, b), average, 255 - a, a]))


@given(triples())
@settings(max_examples=40, deadline=None)
def test_scores_are_inside_their_bounds_or_undefined(triple: tuple[Grey, Grey, Grey]) -> None:
    for name, score in judge(*triple).items():
        low, high = metrics()[name].bounds
        slack = 1e-9 * max(1.0, *(abs(bound) for bound in (low, high) if math.isfinite(bound)), 0)
        assert math.isnan(score) or low - slack <= score <= high + slack, (name, score)
        assert not math.isnan(score) or min(triple[0].shape) < max(passport_of(name).smallest, FEW) or may_be_undefined(*triple), name


@given(triples())
@example((DARK, BRIGHT, BRIGHT))
@settings(max_examples=15, deadline=None)
def test_symmetric_metrics_do_not_know_which_source_is_which(triple: tuple[Grey, Grey, Grey]) -> None:
    names = tuple(name for name in WHOLES if passport_of(name).symmetric)
    a, b, f = triple
    scores, swapped = judge(a, b, f, names), judge(b, a, f, names)
    assert swapped == pytest.approx(scores, rel=1e-9, abs=1e-12, nan_ok=True)


def may_be_undefined(a: Grey, b: Grey, f: Grey) -> bool:
    """Whether something in a triple is flat or equal, so that a metric may be undefined even at full size."""
    wide = np.stack([a, b, f, a - f, b - f])
    return bool((np.ptp(wide, axis=(1, 2)) == 0).any()) or any(has_flat_window(image) for image in (a, b, f))


def has_flat_window(image: Grey) -> bool:
    ones = np.ones((7, 7), np.uint8)
    return bool((cv2.dilate(image, ones) == cv2.erode(image, ones)).any())


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_defined_from_their_smallest_side_on(name: str) -> None:
    side = passport_of(name).smallest
    rng = np.random.default_rng(5)
    for height, width in ((side, side), (side, side + 9), (side + 9, side)):
        a, b, f = (draw_image(rng, "noise", height, width) for _ in range(3))
        if min(height, width) > 2:  # of fewer pixels a chance draw may be flat
            assert math.isfinite(judge(a, b, f, (name,))[name])
        if side > 1:
            cut = (slice(0, height - 1), slice(None)) if height == side else (slice(None), slice(0, width - 1))
            assert math.isnan(judge(a[cut], b[cut], f[cut], (name,))[name])


@pytest.mark.parametrize("level", [0, 7, 255])
def test_constant_pictures_break_no_metric(level: int) -> None:
    rng = np.random.default_rng(1)
    flat, other = np.full((64, 64), level, np.uint8), draw_image(rng, "smooth", 64, 64)
    for a, b, f in itertools.product((flat, other), repeat=3):
        for name, score in judge(a, b, f).items():
            low, high = metrics()[name].bounds
            assert math.isnan(score) or low - 1e-9 <= score <= high + 1e-9, (name, score)


@pytest.mark.parametrize(
    "image", [np.full((50, 50), np.nan), np.zeros((50, 50)), np.zeros((50, 50, 3), np.uint8), np.zeros((0, 5), np.uint8)]
)
def test_nothing_but_8_bit_luma_is_judged(image: NDArray[np.generic]) -> None:
    fine = np.zeros((50, 50), np.uint8)
    with pytest.raises(InputError, match="expected 8-bit luma"):
        Sources(image, fine)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 8-bit luma"):
        Sources(fine, image)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 8-bit luma"):
        Fused(image, Sources(fine, fine))  # type: ignore[arg-type]


def test_the_metrics_of_the_suite_are_all_there() -> None:
    wanted = (
        "en sd sf ag ei mi nmi q_te q_ncie ce cc scd mse psnr ssim ssim_gaussian ms_ssim mef_ssim mef_ms_ssim vif viff qabf q_g nabf labf "
        "q_m q_sf q_p q_s q_w q_e q_c q_y q_cv q_cb fmi_pixel fmi_gradient fmi_dct"
    )
    mains = {name for name in WHOLES if not metrics()[name].variant_of}
    assert mains == set(wanted.split())


def test_a_metric_of_a_plug_in_needs_no_passport() -> None:
    bare = Metric("bare", lambda fused: 0.0, "higher", (0, 1), 1, "Nobody 2000", "0", (), "MIT")
    assert bare.passport is None
