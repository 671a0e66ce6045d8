"""Tests of prior.groups: pairs of one scene stay together, and no pair ever moves."""

import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prior.arrays import Picture, luma
from prior.groups import NEAR_HASH, Scene, assign_splits, choose_split, find_groups
from prior.pairs import PairRef, Source, inspect, load, scan
from prior.signatures import PairSignature, perceptual_hash, read_hashes, sign_pair, write_hashes
from storage.schema import EXCLUDED, OK, QUARANTINED, TEST, TRAIN, VAL, PairRow

POSITIONS = st.lists(st.integers(0, 64), unique=True, max_size=12)


def see(position: int, pair_id: str = "", source: str = "s", subject: str | None = None) -> Scene:
    """A pair of a made-up line of scenes, on which two are near when their positions differ by no more than 12.

    A step is one bit of the hash of `a` and turns its signature by 4 degrees; its `b` is like no other.
    """
    angle = np.radians(4 * position)
    vectors = np.zeros((2, 4096), np.float16)
    vectors[0, :2] = np.cos(angle), np.sin(angle)
    hashes = ((1 << position) - 1, int(np.random.default_rng(4096 + position).integers(0, 2**64, dtype=np.uint64)))
    name = pair_id or f"p{position:02d}"
    row = PairRow(pair_id=name, source=source, task="medical", status=OK, a_hash=f"a{position}", b_hash=f"b{position}")
    return Scene(replace(row, scene_hash=write_hashes(hashes)), PairSignature(name, (64, 64), vectors, hashes), subject)


def keep(scenes: Sequence[Scene], known: Sequence[PairRow] = ()) -> tuple[PairRow, ...]:
    """The rows that a snapshot of these scenes holds."""
    return assign_splits([scene.row for scene in scenes], scenes, known)


def hold(position: int, group: str, pair_id: str = "") -> PairRow:
    """A row of a snapshot."""
    return replace(see(position, pair_id).row, group=group, split=choose_split(group))


def split_line(positions: Sequence[int]) -> set[frozenset[int]]:
    """What hangs together on the line, found the other way: cut wherever the next one is too far."""
    ordered = sorted(positions)
    cuts = [0, *(place for place in range(1, len(ordered)) if ordered[place] - ordered[place - 1] > NEAR_HASH), len(ordered)]
    return {frozenset(ordered[start:end]) for start, end in itertools.pairwise(cuts) if start < end}


# What belongs together.


@given(POSITIONS)
def test_groups_are_what_hangs_together(positions: list[int]) -> None:
    groups = find_groups([see(one) for one in positions], [])
    found = {frozenset(one for one in positions if groups[f"p{one:02d}"] == name) for name in set(groups.values())}
    assert found == split_line(positions)


@given(POSITIONS, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_the_pairs(positions: list[int], random: Random) -> None:
    known = [hold(one, f"g{one}") for one in positions[::3]]
    scenes = [see(one) for one in positions]
    shuffled, other = list(scenes), list(known)
    random.shuffle(shuffled)
    random.shuffle(other)
    assert find_groups(shuffled, other) == find_groups(scenes, known)


def test_a_group_has_the_same_name_whatever_its_pairs_are_called() -> None:
    names = {"x", "y", "z"}
    (group,) = {name for pair_id in names for name in find_groups([see(7, pair_id)], []).values()}
    assert len(group) == 12 and int(group, 16)


def test_alike_in_brightness_alone_is_not_one_scene() -> None:
    first, second = see(3), see(4)
    turned = np.roll(second.signature.vectors, 5, axis=1)
    assert len(set(find_groups([first, second], []).values())) == 1
    assert len(set(find_groups([first, replace(second, signature=replace(second.signature, vectors=turned))], []).values())) == 2


def test_a_scene_is_found_with_its_modalities_swapped() -> None:
    scene = see(5, "x")
    signed = see(5, "y").signature
    swapped = replace(signed, vectors=signed.vectors[::-1], hashes=signed.hashes[::-1])
    assert len(set(find_groups([scene, replace(see(40, "y"), signature=swapped)], []).values())) == 1


def test_nothing_has_no_groups() -> None:
    assert find_groups([], []) == {} and find_groups([], [hold(3, "g")]) == {} and assign_splits([], [], []) == ()


# Nothing moves.


@given(POSITIONS, POSITIONS)
def test_adding_pairs_never_moves_a_known_one(first: list[int], more: list[int]) -> None:
    before = {row.pair_id: (row.group, row.split) for row in keep([see(one) for one in first])}
    known = keep([see(one) for one in first])
    after = {row.pair_id: (row.group, row.split) for row in keep([see(one) for one in {*first, *more}], known)}
    assert {pair_id: after[pair_id] for pair_id in before} == before
    for one in set(more) - set(first):
        near = {before[f"p{other:02d}"] for other in first if abs(other - one) <= NEAR_HASH}
        assert not near or after[f"p{one:02d}"] in set(before.values()), "a new pair near to a known one must follow a known one"


@given(POSITIONS)
def test_the_same_pairs_again_are_the_same_rows(positions: list[int]) -> None:
    rows = keep([see(one) for one in positions])
    assert keep([see(one) for one in positions], rows) == rows


def test_a_bridge_joins_the_group_it_is_most_alike_to_and_moves_nobody() -> None:
    known = [hold(0, "left"), hold(20, "right")]
    assert find_groups([see(0), see(9), see(20)], known) == {"p00": "left", "p09": "left", "p20": "right"}
    assert find_groups([see(0), see(11), see(20)], known) == {"p00": "left", "p11": "right", "p20": "right"}


def test_a_new_pair_follows_a_known_one_through_another_new_pair() -> None:
    assert set(find_groups([see(0), see(10), see(20), see(30)], [hold(0, "old")]).values()) == {"old"}


def test_a_renamed_pair_keeps_its_group() -> None:
    assert find_groups([see(3, "new name")], [hold(3, "old", "old name")]) == {"new name": "old"}


def test_names_that_change_places_do_not_take_the_groups_along() -> None:
    known = [hold(3, "three", "x"), hold(40, "forty", "y")]
    assert find_groups([see(40, "x"), see(3, "y")], known) == {"x": "forty", "y": "three"}


def test_a_pair_that_was_saved_again_keeps_its_group() -> None:
    again = see(5, "x")
    changed = replace(again, row=replace(again.row, a_hash="other", b_hash="files"))
    assert find_groups([changed], [hold(3, "old", "x")]) == {"x": "old"}


def test_another_scene_under_a_known_name_does_not_inherit_its_group() -> None:
    assert find_groups([see(50, "x")], [hold(3, "old", "x")])["x"] != "old"


def test_a_known_pair_that_is_not_there_any_more_is_found_by_its_hashes() -> None:
    again = see(3, "copy")
    copy = replace(again, row=replace(again.row, a_hash="other", b_hash="files"))
    assert find_groups([copy], [hold(3, "old", "gone")]) == {"copy": "old"}
    assert find_groups([see(6, "near in a alone")], [hold(3, "old", "gone")])["near in a alone"] != "old"


@pytest.mark.parametrize("status", [QUARANTINED, EXCLUDED])
def test_a_pair_that_is_set_aside_for_a_while_comes_back_to_its_group(status: str) -> None:
    known = [hold(3, "old", "x")]
    aside = replace(known[0], status=status, group="", split="", scene_hash="", a_hash="", b_hash="")
    (kept,) = assign_splits([aside], [], known)
    assert (kept.status, kept.group, kept.split) == (status, "old", choose_split("old"))
    (back,) = keep([see(3, "x")], [kept])
    assert (back.group, back.split, back.scene_hash) == ("old", choose_split("old"), see(3).row.scene_hash)


def test_a_pair_that_was_never_usable_has_no_split() -> None:
    (row,) = assign_splits([PairRow(pair_id="x", source="s", task="medical", status=QUARANTINED)], [], [])
    assert (row.group, row.split, row.scene_hash) == ("", "", "")


def test_rows_of_an_old_snapshot_know_no_groups() -> None:
    scenes = [see(3), see(40)]
    assert find_groups(scenes, [replace(scene.row, scene_hash="") for scene in scenes]) == find_groups(scenes, [])


# Subjects.


def test_pairs_of_one_subject_are_one_group_however_they_look() -> None:
    groups = find_groups([see(one, subject="p1") for one in (0, 30, 60)], [])
    assert set(groups.values()) == {"s:p1"}
    assert set(find_groups([see(one, subject="") for one in (0, 30, 60)], []).values()) == {"s:"}, "a whole folder can be one subject"


def test_two_subjects_of_a_source_stay_apart_however_alike() -> None:
    groups = find_groups([see(3, "x", subject="p1"), see(3, "y", subject="p2")], [])
    assert groups == {"x": "s:p1", "y": "s:p2"}


def test_a_subject_and_its_copy_in_another_source_are_one_group() -> None:
    scenes = [see(3, "x", "ct", "p1"), see(3, "y", "pet", "17"), see(40, "z", "pet", "17"), see(4, "w", "mixed")]
    assert set(find_groups(scenes, []).values()) == {"ct:p1"}


def test_a_new_slice_follows_the_known_slices_of_its_subject() -> None:
    known = [hold(0, "named by its looks")]
    groups = find_groups([see(0, subject="p1"), see(30, subject="p1")], known)
    assert groups == {"p00": "named by its looks", "p30": "named by its looks"}


# Splits.


@pytest.mark.parametrize(
    ("group", "split"), [("a", TRAIN), ("b", VAL), ("c", VAL), ("d", TRAIN), ("g", TEST), ("brain:17", TRAIN), ("7e34ae801ab8", TEST)]
)
def test_a_split_follows_from_the_name_of_the_group_for_good(group: str, split: str) -> None:
    assert choose_split(group) == split


def test_splits_have_their_shares() -> None:
    counts = Counter(choose_split(f"group {number}") for number in range(20_000))
    assert {name: round(count / 20_000, 2) for name, count in counts.items()} == {TRAIN: 0.7, VAL: 0.1, TEST: 0.2}


# Hashes.


@given(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)))
def test_hashes_survive_being_written(hashes: tuple[int, int]) -> None:
    text = write_hashes(hashes)
    assert len(text) == 32 and read_hashes(text) == hashes


@functools.cache
def draw(seed: int) -> Picture:
    """A smooth random scene."""
    noise = np.random.default_rng(seed).standard_normal((120, 160)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("size", [(160, 120), (80, 60), (200, 200)])
def test_a_hash_is_the_same_in_every_size(size: tuple[int, int]) -> None:
    for seed in range(10):
        resized = cv2.resize(draw(seed), size, interpolation=cv2.INTER_AREA)
        assert (perceptual_hash(resized) ^ perceptual_hash(draw(seed))).bit_count() <= 4  # type: ignore[arg-type]


def test_hashes_of_two_scenes_differ_in_half_their_bits() -> None:
    distances = [(perceptual_hash(draw(seed)) ^ perceptual_hash(draw(seed + 1))).bit_count() for seed in range(20)]
    assert np.mean(distances) == pytest.approx(32, abs=4) and min(distances) > NEAR_HASH


# Real pairs.


def list_pairs(shared: Path, name: str, *keys: str) -> list[PairRef]:
    folder = shared / "data" / name
    source = Source(a=folder / "ir", b=folder / "vis", name=name)
    found = [replace(ref, pair_id=f"{name}/{ref.key}") for ref in scan([source]).pairs]
    return [ref for ref in found if not keys or ref.key in keys]


def look(refs: Sequence[PairRef]) -> list[Scene]:
    inspections = [inspect(ref) for ref in refs]
    return [Scene(one.row, one.signature) for one in inspections if one.signature]


def test_real_scenes_that_stand_in_two_sets_or_in_one_set_twice_are_found(shared: Path) -> None:
    keys = ("FLIR_00122", "FLIR_01463", "FLIR_04354", "FLIR_06099", "FLIR_06128", "FLIR_06874", "FLIR_06876", "FLIR_04215")
    refs = [*list_pairs(shared, "roadscene", *keys), *list_pairs(shared, "roadscene_warped"), *list_pairs(shared, "tno")]
    groups = find_groups(look(refs), [])
    together = [sorted(one for one in groups if groups[one] == name) for name in sorted(set(groups.values()))]
    assert sorted(one for one in together if len(one) > 1) == [
        ["roadscene/FLIR_00122", "roadscene_warped/3"],
        ["roadscene/FLIR_01463", "roadscene_warped/24"],
        ["roadscene/FLIR_04354", "roadscene_warped/40"],
        ["roadscene/FLIR_06099", "roadscene/FLIR_06128"],
    ]


def test_a_real_pair_is_found_again_after_it_was_cropped_resized_and_saved_as_jpeg(shared: Path) -> None:
    refs = list_pairs(shared, "msrs")
    scenes = look(refs)
    groups = find_groups(scenes, [])
    assert len(set(groups.values())) == len(refs) == 24
    known = [replace(scene.row, group=groups[scene.row.pair_id], split=TRAIN) for scene in scenes]
    copies = [spoil(ref) for ref in refs]
    found = find_groups([*scenes, *copies], known)
    assert {copy.row.pair_id: found[copy.row.pair_id] for copy in copies} == {f"{name} again": group for name, group in groups.items()}


def spoil(ref: PairRef) -> Scene:
    """A copy of a pair that has lost its borders, half its size, some of its quality, and its name."""
    pictures = []
    for picture in map(luma, load(ref)):
        smaller = cv2.resize(picture[8:-8, 10:-10], (320, 240), interpolation=cv2.INTER_AREA)
        pictures.append(cv2.imdecode(cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE))
    name = f"{ref.pair_id} again"
    signed = sign_pair(name, *pictures)  # type: ignore[arg-type]
    row = PairRow(pair_id=name, source="again", task="infrared-visible", status=OK, a_hash=name, b_hash=name)
    return Scene(replace(row, scene_hash=write_hashes(signed.hashes)), signed)
