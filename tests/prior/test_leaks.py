"""Tests of prior.leaks: a pair is found again whatever was done to its pictures, and no other one is."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prior.arrays import Picture, luma
from prior.example_scenes import make_scenes
from prior.groups import NEAR_HASH, find_near
from prior.leaks import PICTURES, KnownPair, Leak, find_pictures, find_suspects, judge, know, look, rank
from prior.pictures import hash_file, write_png
from prior.signatures import perceptual_hash, sign_pair, write_hashes
from storage.errors import InputError
from storage.schema import OK, TEST, PairRow

Pictures = Mapping[str, Picture]
Save = Callable[[Path, Picture], None]


@functools.cache
def draw_pairs() -> tuple[tuple[KnownPair, Pictures], ...]:
    """The example scenes as pairs of a snapshot, with the brighter of the two for a winner."""
    return tuple(make_pair(f"scene{number}", a, b) for number, (a, b) in enumerate(make_scenes()))


def make_pair(pair_id: str, a: Picture, b: Picture) -> tuple[KnownPair, Pictures]:
    pictures = {"a": a, "b": b, "winner": np.maximum(luma(a), luma(b))}
    row = PairRow(pair_id=pair_id, source="s", task="infrared-visible", status=OK, split=TEST)
    return know(replace(row, scene_hash=write_hashes(sign_pair(pair_id, luma(a), luma(b)).hashes)), pictures), pictures


def search(folder: Path, pairs: Sequence[tuple[KnownPair, Pictures]]) -> list[Leak]:
    """What leaks into a folder, the worst first."""
    suspects = find_suspects([pair for pair, _ in pairs], [look(path, folder) for path in find_pictures(folder).pictures])
    by_id = {pair.row.pair_id: (pair.row, pictures) for pair, pictures in pairs}
    return sorted((leak for name, some in suspects.items() for leak in judge(*by_id[name], some)), key=rank)


def save_poor(path: Path, picture: Picture) -> None:
    Image.fromarray(picture).save(path.with_suffix(".jpg"), quality=40)


def save_half(path: Path, picture: Picture) -> None:
    Image.fromarray(picture).reduce(2).save(path.with_suffix(".png"))


def save_cropped(path: Path, picture: Picture) -> None:
    """Without 3 % of its height and width."""
    crop(picture, 0.015).save(path.with_suffix(".bmp"))


def save_webp(path: Path, picture: Picture) -> None:
    Image.fromarray(picture).save(path.with_suffix(".webp"), quality=60)


def save_nameless(path: Path, picture: Picture) -> None:
    Image.fromarray(picture).save(path, format="GIF")


def save_deep(path: Path, picture: Picture) -> None:
    """As a thermal camera would: a few hundred of 65536 levels."""
    cv2.imwrite(str(path.with_suffix(".tiff")), luma(picture).astype(np.uint16) * 2 + 7000)


def save_all(path: Path, picture: Picture) -> None:
    """Everything at once."""
    crop(luma(picture), 0.01).reduce(2).save(path.with_suffix(".jpg"), quality=50)


def crop(picture: Picture, share: float) -> Image.Image:
    """A picture without this share of it on each side."""
    height, width = (round(share * side) for side in picture.shape[:2])
    return Image.fromarray(picture[height:-height, width:-width])


@pytest.mark.parametrize("save", [save_poor, save_half, save_cropped, save_webp, save_nameless, save_deep, save_all])
@pytest.mark.parametrize("which", PICTURES)
def test_a_spoiled_copy_is_found_and_no_other_pair(tmp_path: Path, save: Save, which: str) -> None:
    pairs = draw_pairs()
    for pair, pictures in pairs:
        save(tmp_path / pair.row.pair_id, pictures[which])
    leaks = search(tmp_path, pairs)
    assert sorted((leak.pair_id, Path(leak.file).stem) for leak in leaks) == [(pair.row.pair_id,) * 2 for pair, _ in pairs]
    assert not any(leak.exact for leak in leaks) and {leak.split for leak in leaks} == {TEST}
    assert all(0.5 <= leak.correlation <= 1 and 0 <= leak.bits <= NEAR_HASH for leak in leaks)


def test_other_scenes_and_rubbish_are_not_found(tmp_path: Path) -> None:
    pairs = draw_pairs()
    for pair, pictures in pairs[4:]:
        write_png(tmp_path / "b" / f"{pair.row.pair_id}.png", pictures["b"])
    write_png(tmp_path / "black.png", np.zeros((64, 64), np.uint8))
    write_png(tmp_path / "speck.png", np.full((1, 1), 7, np.uint8))
    write_png(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    assert search(tmp_path, pairs[:4]) == []


def test_alike_in_brightness_alone_is_no_leak(tmp_path: Path) -> None:
    pair, pictures = make_pair("p", draw_stripes(0), draw_stripes(0))
    write_png(tmp_path / "other.png", draw_stripes(1))
    suspects = find_suspects([pair], [look(tmp_path / "other.png", tmp_path)])["p"]
    assert max(one.bits for one in suspects) <= NEAR_HASH and judge(pair.row, pictures, suspects) == []


def draw_stripes(axis: int) -> Picture:
    """A ramp with thin stripes along one axis, which change all edges and little of the coarse brightness."""
    ramp = np.add.outer(np.linspace(0, 60, 256), np.linspace(0, 130, 256))
    stripes = 8 * (np.indices(ramp.shape)[axis] // 8 % 2)
    return np.asarray(20 + ramp + stripes, np.uint8)


def test_a_file_is_told_once_with_the_picture_it_is_most_like(tmp_path: Path) -> None:
    a = luma(next(iter(make_scenes()))[0])
    poorer = np.asarray(cv2.GaussianBlur(a, (0, 0), 1), np.uint8)
    write_png(tmp_path / "one.png", poorer)
    leaks = search(tmp_path, [make_pair("p", a, poorer)])
    assert [(leak.picture, leak.file, leak.bits, leak.correlation) for leak in leaks] == [("b", "one.png", 0, 1.0)]


def test_the_very_same_file_is_a_leak_whatever_it_became_and_comes_first(tmp_path: Path) -> None:
    (first, of_first), (second, of_second) = draw_pairs()[:2]
    write_png(tmp_path / "alike.png", of_first["a"])
    write_png(tmp_path / "raw.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    made = replace(second, row=replace(second.row, b_hash=hash_file(tmp_path / "raw.png")))
    leaks = search(tmp_path, [(first, of_first), (made, of_second)])
    assert [(leak.pair_id, leak.picture, leak.file, leak.exact) for leak in leaks] == [
        (second.row.pair_id, "b", "raw.png", True),
        (first.row.pair_id, "a", "alike.png", False),
    ]
    assert leaks[0].correlation < 0.5 < leaks[1].correlation


def test_rows_without_hashes_are_hashed_from_their_pictures() -> None:
    pair, pictures = draw_pairs()[0]
    bare = know(replace(pair.row, scene_hash=""), pictures)
    assert bare.hashes == pair.hashes == tuple(perceptual_hash(luma(pictures[name])) for name in PICTURES)
    other = know(replace(pair.row, scene_hash=write_hashes((1, 2))), pictures)
    assert other.hashes[:2] == (1, 2), "what the store says needs no reading"


HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=8)


@given(HASHES, HASHES, st.integers(0, 20))
def test_near_hashes_are_found_one_by_one(some: list[int], others: list[int], flips: int) -> None:
    others = [*others, *(one ^ ((1 << flips) - 1) for one in some)]
    expected = [[i, j] for i, one in enumerate(some) for j, other in enumerate(others) if (one ^ other).bit_count() <= NEAR_HASH]
    assert find_near(np.array(some, np.uint64), np.array(others, np.uint64)).tolist() == expected


# The folder.


def test_pictures_are_found_in_every_folder_below_but_not_in_hidden_ones(tmp_path: Path) -> None:
    for name in ("c.png", "x/a.png", "x/y/b.png", ".hidden/d.png", "x/.e.png"):
        write_png(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    found = find_pictures(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.pictures] == ["c.png", "x/a.png", "x/y/b.png"] and found.passed == ()


def test_links_within_the_folder_are_followed_and_links_out_of_it_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for path in (folder / "x" / "a.png", tmp_path / "out" / "b.png"):
        write_png(path, np.zeros((4, 4), np.uint8))
    (folder / "c.png").symlink_to(folder / "x" / "a.png")
    (folder / "again").symlink_to(folder)
    (folder / "d.png").symlink_to(tmp_path / "out" / "b.png")
    (folder / "out").symlink_to(tmp_path / "out")
    found = find_pictures(folder)
    assert [str(path.relative_to(folder)) for path in found.pictures] == ["c.png", "x/a.png"]
    assert [sentence.partition(" leads out of ")[0] for sentence in found.passed] == [str(folder / "d.png"), str(folder / "out")]
    (tmp_path / "named").symlink_to(folder)
    assert len(find_pictures(tmp_path / "named").pictures) == 2


def test_a_folder_without_pictures_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there is not a folder"):
        find_pictures(tmp_path / "not there")
    with pytest.raises(InputError, match="holds no pictures to compare with; name the folder"):
        find_pictures(tmp_path)
    (tmp_path / "away.png").symlink_to(Path(__file__))
    with pytest.raises(InputError, match=r"holds no pictures to compare with \(.*away.png leads out of"):
        find_pictures(tmp_path)


def test_a_file_that_cannot_be_decoded_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"cut\.png: cannot be decoded"):
        look(tmp_path / "cut.png", tmp_path)


# Real pictures.


def test_real_pairs_of_one_set_that_stand_in_another_are_found(shared: Path) -> None:
    names = ("FLIR_00122", "FLIR_01463", "FLIR_04354", "FLIR_06874", "FLIR_06876")
    folders = [shared / "data" / "roadscene" / one for one in ("ir", "vis")]
    pairs = [make_pair(name, *(look_up(folder, name) for folder in folders)) for name in names]
    leaks = search(shared / "data" / "roadscene_warped", pairs)
    assert sorted({(leak.pair_id, Path(leak.file).stem) for leak in leaks}) == [(names[0], "3"), (names[1], "24"), (names[2], "40")]


def test_a_real_pair_that_has_lost_3_per_cent_on_each_side_is_found(shared: Path, tmp_path: Path) -> None:
    folders = [shared / "data" / "tno" / one for one in ("ir", "vis")]
    names = sorted(path.stem for path in folders[0].iterdir())
    pairs = [make_pair(name, *(look_up(folder, name) for folder in folders)) for name in names]
    for pair, pictures in pairs:
        for which in ("a", "b"):
            crop(pictures[which], 0.03).save(tmp_path / f"{pair.row.pair_id}.{which}.png")
    leaks = search(tmp_path, pairs)
    assert {leak.pair_id for leak in leaks} == set(names) and len(names) == 16
    assert all(leak.pair_id == leak.file.partition(".")[0] for leak in leaks)


def look_up(folder: Path, name: str) -> Picture:
    return np.asarray(Image.open(next(folder.glob(f"{name}.*"))))
