"""Tests of train.data: what a crop is follows from (seed, n) alone, and nothing is missed or read twice."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prior.arrays import luma
from storage.errors import InputError, SnapshotNotFound, StoreError, UnknownName
from storage.snapshot import Snapshot
from train.data import Batch, Crop, Crops, list_pairs, load_batches, read_pair, stack_crops, weigh_pairs

Publish = Callable[..., str]
Scene = Callable[..., Any]
SIZE = 32
IDS = ("city/01", "forêt 2", "medical.3", "x", "y")


@dataclass(frozen=True, slots=True)
class Prior:
    """Where a snapshot lies."""

    address: str
    snapshot_id: str

    def crops(self, split: str = "train", **options: Any) -> Crops:
        return Crops(self.address, self.snapshot_id, split, luma, **({"size": SIZE, "seed": 7} | options))


@pytest.fixture
def prior(tmp_path: Path, publish: Publish, scene: Scene) -> Prior:
    """Five pairs to train on, of several sizes, and one each to validate and test."""
    scenes = [scene(one, height=40 + 9 * number, width=70 - 5 * number, margin=0.1 * number) for number, one in enumerate(reversed(IDS))]
    return Prior(str(tmp_path / "store"), publish([*scenes, scene("v", "val"), scene("t", "test")]))


def show(crop: Crop) -> tuple[Any, ...]:
    """A crop as something that compares."""
    return crop.pair_id, crop.weight, crop.a.tolist(), crop.b.tolist(), crop.winner.tolist()


def show_batch(batch: Batch) -> tuple[Any, ...]:
    return batch.pair_ids, batch.weight.tolist(), batch.a.tolist(), batch.b.tolist(), batch.winner.tolist()


# Which pairs there are.


def test_the_pairs_of_a_split_are_those_with_a_winner_in_order(tmp_path: Path, publish: Publish, scene: Scene) -> None:
    scenes = [scene("c"), scene("a", height=50, margin=0.25), scene("b", has_winner=False), scene("d", "val"), scene("e", "")]
    snapshot = Snapshot(str(tmp_path / "store"), publish(scenes))
    found = list_pairs(snapshot, "train")
    assert [one.pair_id for one in found] == ["a", "c"]
    assert (found[0].height, found[0].width, found[0].margin, found[0].group) == (50, 60, 0.25, "a")
    assert [one.pair_id for one in list_pairs(snapshot, "val")] == ["d"]


def test_a_split_without_pairs_is_refused(tmp_path: Path, publish: Publish, scene: Scene) -> None:
    snapshot = Snapshot(str(tmp_path / "store"), publish([scene("a"), scene("b", "val"), scene("c", "test", has_winner=False)]))
    for split in ("test", "validation", ""):
        with pytest.raises(InputError, match=rf"no pair with a winner in split '{split}' \(splits with pairs: train, val\)"):
            list_pairs(snapshot, split)


@pytest.mark.parametrize("without", [["split"], ["group"], ["group", "split"]])
def test_a_snapshot_without_splits_says_how_to_get_them(tmp_path: Path, publish: Publish, scene: Scene, without: list[str]) -> None:
    snapshot_id = publish([scene("a")], without=without)
    with pytest.raises(InputError, match="no train, val and test splits; build it again"):
        Crops(str(tmp_path / "store"), snapshot_id, "train", luma, size=SIZE, seed=0)


# What a crop is.


def test_a_crop_shows_one_window_of_all_three_pictures(prior: Prior) -> None:
    crops = prior.crops()
    sizes = {one.pair_id: (one.height, one.width) for one in crops.pairs}
    windows = set()
    for number in range(60):
        crop = crops[number]
        assert {tuple(one.shape) for one in (crop.a, crop.b, crop.winner)} == {(1, SIZE, SIZE)}
        assert {one.dtype for one in (crop.a, crop.b, crop.winner)} == {torch.uint8}
        rows, columns = crop.a[0, :, 0].int(), crop.b[0, 0].int()
        assert torch.equal(crop.a[0].int(), rows[:, None].expand(SIZE, SIZE))
        assert torch.equal(crop.b[0].int(), columns.expand(SIZE, SIZE))
        assert torch.equal(crop.winner[0].int(), (rows[:, None] + columns) // 2)
        down, right = int(rows[1] - rows[0]), int(columns[1] - columns[0])
        assert torch.equal(rows.diff(), torch.full((SIZE - 1,), down)) and torch.equal(columns.diff(), torch.full((SIZE - 1,), right))
        height, width = sizes[crop.pair_id]
        assert rows.max() < height and columns.max() < width
        windows.add((crop.pair_id, int(rows.min()), int(columns.min()), down, right))
    assert len(windows) > 50
    assert {window[3:] for window in windows} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_windows_reach_every_border(tmp_path: Path, publish: Publish, scene: Scene) -> None:
    publish([scene("a", height=SIZE + 2, width=SIZE)])
    crops = Crops(str(tmp_path / "store"), "main", "train", luma, size=SIZE, seed=0)
    assert {int(crops[number].a.min()) for number in range(40)} == {0, 1, 2}


@pytest.mark.parametrize(("height", "width"), [(41, 41), (41, 250), (127, 128), (200, 50), (1, 2)])
def test_a_short_side_is_mirrored(tmp_path: Path, publish: Publish, scene: Scene, height: int, width: int) -> None:
    publish([scene("a", height=height, width=width)])
    crops = Crops(str(tmp_path / "store"), "main", "train", luma, size=128, seed=0)
    for number in range(8):
        crop = crops[number]
        for places, side in ((crop.a[0, :, 0].tolist(), height), (crop.b[0, 0].tolist(), width)):
            assert len(places) == 128
            assert set(places) == set(range(side)) if side <= 128 else len(set(places)) == 128
            steps = [after - before for before, after in pairwise(places)]
            # it turns round at the ends and nowhere else, and no row comes twice in a row
            assert {abs(step) for step in steps} == ({1} if side > 1 else {0})
            turns = {place for place, (one, other) in zip(places[1:], pairwise(steps), strict=False) if one != other}
            assert turns <= {0, side - 1}


def test_luma_is_made_of_crops_only(prior: Prior) -> None:
    seen = []

    def look(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(picture.shape)
        return luma(picture)

    Crops(prior.address, prior.snapshot_id, "train", look, size=SIZE, seed=0)[0]
    assert seen == [(SIZE, SIZE), (SIZE, SIZE, 3), (SIZE, SIZE, 3)]


# What it follows from.


def test_a_crop_follows_from_seed_and_number_alone(prior: Prior) -> None:
    numbers = [0, 3, 1, 12, 12, 4, 2**40]
    there = [show(prior.crops()[number]) for number in numbers]
    crops = prior.crops()
    back = [show(crops[number]) for number in reversed(numbers)]
    assert there == back[::-1]
    assert there != [show(prior.crops(seed=8)[number]) for number in numbers]


def test_a_changed_crop_changes_no_other(prior: Prior) -> None:
    crops = prior.crops()
    before = show(crops[3])
    crops[3].a.zero_()
    assert show(crops[3]) == before


@pytest.mark.parametrize("kept_bytes", [0, 40 * 70 * 7, 2 * 50 * 70 * 7])
def test_what_is_kept_in_memory_changes_nothing(prior: Prior, kept_bytes: int) -> None:
    all_kept, some_kept = prior.crops(), prior.crops(kept_bytes=kept_bytes)
    assert [show(all_kept[number]) for number in range(20)] == [show(some_kept[number]) for number in range(20)]


def test_pairs_are_kept_while_there_is_room_and_not_read_again(prior: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = Snapshot.planes

    def count(snapshot: Snapshot, pair_id: str) -> Any:
        read.append(pair_id)
        return original(snapshot, pair_id)

    monkeypatch.setattr(Snapshot, "planes", count)
    two_pairs = 2 * max(one.height * one.width * 7 for one in prior.crops().pairs)
    for kept_bytes, least, most in ((10**9, 5, 5), (two_pairs, 6, 11), (0, 15, 15)):
        crops = prior.crops(kept_bytes=kept_bytes)
        read.clear()
        for number in range(15):
            crops[number]
        assert least <= len(read) <= most
        assert set(read) == set(IDS)


@pytest.mark.parametrize("start", [0, 5, 35])
def test_an_epoch_has_every_pair_once(prior: Prior, start: int) -> None:
    crops = prior.crops()
    assert len(crops) == 5
    assert sorted(crops[number].pair_id for number in range(start, start + 5)) == sorted(IDS)


def test_epochs_and_seeds_have_their_own_order(prior: Prior) -> None:
    crops = prior.crops()
    orders = {tuple(crops[5 * epoch + number].pair_id for number in range(5)) for epoch in range(12)}
    assert len(orders) > 6
    other = prior.crops(seed=8)
    assert [crops[number].pair_id for number in range(30)] != [other[number].pair_id for number in range(30)]


def test_crops_survive_pickling_and_open_the_store_again(prior: Prior) -> None:
    crops = prior.crops(weighting="margin")
    before = [show(crops[number]) for number in range(6)]
    content = pickle.dumps(crops)
    assert len(content) < 4000, "pictures do not travel"
    assert [show(pickle.loads(content)[number]) for number in range(6)] == before


def test_a_stream_stays_with_its_snapshot(prior: Prior, publish: Publish, scene: Scene) -> None:
    crops = Crops(prior.address, "main", "train", luma, size=SIZE, seed=7)
    expected = show(crops[0])
    publish([scene("new")])
    assert crops.snapshot_id == prior.snapshot_id
    assert show(pickle.loads(pickle.dumps(crops))[0]) == expected


@pytest.mark.parametrize(
    ("options", "message"), [({"size": 0}, "size of a crop is 0"), ({"seed": -1}, "seed is -1"), ({"kept_bytes": -1}, "bytes")]
)
def test_numbers_out_of_range_are_refused(prior: Prior, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prior.crops(**options)
    with pytest.raises(InputError, match="number of a crop is -1"):
        prior.crops()[-1]
    with pytest.raises(SnapshotNotFound, match="nowhere"):
        Crops(prior.address, "nowhere", "train", luma, size=SIZE, seed=0)


# What it counts.


def test_pairs_count_alike_unless_asked(prior: Prior) -> None:
    assert {prior.crops()[number].weight for number in range(5)} == {1.0}


def test_a_larger_margin_counts_more(prior: Prior) -> None:
    crops = prior.crops(weighting="margin")
    weights = {crops[number].pair_id: crops[number].weight for number in range(5)}
    assert sorted(weights, key=lambda one: weights[one]) == list(reversed(IDS))
    assert sum(weights.values()) / 5 == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_weights_by_margin_are_bounded_monotone_and_without_unit(unit: float) -> None:
    margins = np.array([-3, 0, 1e-9, 0.5, 1, 2, 1e12]) * unit
    weights = weigh_pairs(margins.tolist(), "margin")
    assert weights.dtype == np.float32
    assert weights[0] == weights[1]
    assert np.all(np.diff(weights) >= 0) and weights[-1] > weights[1] * 2.9
    assert np.all((weights > 1 / 3) & (weights < 3))
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(weights, weigh_pairs((margins / unit).tolist(), "margin"), rtol=1e-6)


def test_a_pair_without_a_margin_counts_one() -> None:
    weights = weigh_pairs([float("nan"), 1.0, 5.0, float("nan")], "margin")
    # raw: 0.5 + 1/4 and 0.5 + 5/8, the median being 3
    np.testing.assert_allclose(weights, [1, 0.75 / 0.9375, 1.125 / 0.9375, 1], rtol=1e-6)


@pytest.mark.parametrize("margins", [[float("nan")] * 2, [0.0, 0.0], [-1.0, 0.0], [-1.0, float("nan")]])
def test_margins_that_say_nothing_count_alike(margins: list[float]) -> None:
    assert weigh_pairs(margins, "margin").tolist() == [1, 1]


def test_an_unknown_weighting_is_refused(prior: Prior) -> None:
    with pytest.raises(UnknownName, match="unknown weighting 'margins'; did you mean margin"):
        prior.crops(weighting="margins")


# Batches.


def test_batches_are_the_stream_in_order(prior: Prior) -> None:
    crops = prior.crops(weighting="margin")
    batches = list(load_batches(crops, start=0, steps=3, batch=4))
    assert [show_batch(one) for one in batches] == [
        show_batch(stack_crops([crops[4 * step + place] for place in range(4)])) for step in range(3)
    ]
    assert batches[0].a.shape == (4, 1, SIZE, SIZE)
    assert (batches[0].a.dtype, batches[0].weight.dtype) == (torch.uint8, torch.float32)


def test_a_run_taken_up_again_goes_on_as_it_would_have(prior: Prior) -> None:
    whole = [show_batch(one) for one in load_batches(prior.crops(), start=0, steps=6, batch=3)]
    rest = [show_batch(one) for one in load_batches(prior.crops(), start=4, steps=2, batch=3)]
    assert rest == whole[4:]


@pytest.mark.parametrize("world", [2, 3, 6])
def test_the_shares_of_all_ranks_are_the_batch(prior: Prior, world: int) -> None:
    crops = prior.crops()
    whole = list(load_batches(crops, start=1, steps=2, batch=6))
    shares = [list(load_batches(crops, start=1, steps=2, batch=6, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        assert sum((share[step].pair_ids for share in shares), ()) == batch.pair_ids
        assert torch.equal(torch.cat([share[step].winner for share in shares]), batch.winner)


def test_a_worker_process_reads_the_same(prior: Prior) -> None:
    crops = prior.crops(weighting="margin")
    state = torch.get_rng_state()
    here = [show_batch(one) for one in load_batches(crops, start=2, steps=3, batch=4)]
    there = [show_batch(one) for one in load_batches(crops, start=2, steps=3, batch=4, workers=1)]
    assert here == there
    assert torch.equal(torch.get_rng_state(), state), "the training's own random numbers are not touched"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pair_without_its_image_stops_the_stream_with_one_sentence(tmp_path: Path, publish: Publish, scene: Scene, workers: int) -> None:
    publish([scene("there"), scene("gone", has_picture=False)])
    crops = Crops(str(tmp_path / "store"), "main", "train", luma, size=SIZE, seed=0)
    with pytest.raises(InputError) as caught:
        list(load_batches(crops, start=0, steps=3, batch=2, workers=workers))
    assert "holds no image of pair 'gone'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lost_image_names_its_pair(tmp_path: Path, publish: Publish, scene: Scene) -> None:
    publish([scene("city/01")])
    crops = Crops(str(tmp_path / "store"), "main", "train", luma, size=SIZE, seed=0)
    for path in (tmp_path / "store" / "repository" / "chunks").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match=r"pair 'city/01': .* cannot be read .*backup"):
        list(load_batches(crops, start=0, steps=1, batch=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 5, "world": 2}, "5 crops cannot be shared evenly by 2 ranks"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"rank": -1}, "rank is -1"),
        ({"start": -1}, "start is -1"),
        ({"steps": -1}, "steps is -1"),
        ({"batch": 0}, "batch is 0"),
        ({"world": 0}, "ranks is 0"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_requests_that_make_no_sense_are_refused_at_once(prior: Prior, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_batches(prior.crops(), **({"start": 0, "steps": 1, "batch": 4} | options))


def test_a_batch_moves_whole(prior: Prior) -> None:
    batch = stack_crops([prior.crops()[0]]).to("meta")
    assert {one.device.type for one in (batch.a, batch.b, batch.winner, batch.weight)} == {"meta"}
    assert batch.pair_ids == (prior.crops()[0].pair_id,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_batches_reach_the_gpu_unchanged(prior: Prior) -> None:
    crops = prior.crops()
    plain = list(load_batches(crops, start=0, steps=2, batch=4))
    pinned = list(load_batches(crops, start=0, steps=2, batch=4, pinned=True))
    assert all(one.is_pinned() for batch in pinned for one in (batch.a, batch.b, batch.winner, batch.weight))
    assert [show_batch(one.to("cuda").to("cpu")) for one in pinned] == [show_batch(one) for one in plain]


# Whole pairs.


def test_a_whole_pair_is_three_lumas(prior: Prior, draw: Callable[[int, int], dict[str, Any]]) -> None:
    snapshot = Snapshot(prior.address, prior.snapshot_id)
    pair = list_pairs(snapshot, "train")[0]
    expected = draw(pair.height, pair.width)
    found = dict(zip(("a", "b", "winner"), read_pair(snapshot, pair.pair_id, luma), strict=True))
    assert all(np.array_equal(found[name], luma(expected[name])) and found[name].ndim == 2 for name in expected)
    with pytest.raises(InputError, match="holds no image of pair 'nobody'"):
        read_pair(snapshot, "nobody", luma)
