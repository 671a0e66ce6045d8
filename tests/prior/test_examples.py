"""The example pairs: what they promise to a newcomer, and that they are the same everywhere, offline and after an interruption."""

import socket
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from prior.arrays import Picture, luma
from prior.example_heads import CT_SLICES, PET_SLICES, Tissue, make_tissues
from prior.examples import Example, load_photograph, make_examples, write_examples, write_picture
from prior.pairs import Source, inspect, scan
from storage.errors import InputError
from storage.schema import OK, TASKS

MEANS = {
    "scene_01": (87.4, 98.7),
    "scene_02": (68.0, 30.6),
    "scene_03": (83.5, 132.0),
    "scene_04": (128.3, 117.2),
    "scene_05": (64.6, 81.7),
    "scene_06": (63.6, 157.7),
    "scene_07": (86.8, 94.5),
    "scene_08": (73.5, 33.6),
    "head_01": (63.4, 58.5),
    "head_02": (73.4, 62.3),
    "head_03": (63.7, 66.8),
    "head_04": (60.0, 66.0),
    "head_05": (63.6, 50.3),
    "head_06": (61.2, 60.5),
    "head_07": (58.8, 45.4),
    "head_08": (69.4, 55.3),
    "focus_01": (102.9, 105.1),
    "focus_02": (114.1, 116.7),
    "focus_03": (99.5, 100.5),
    "focus_04": (118.0, 117.3),
    "focus_05": (162.5, 162.6),
    "exposure_01": (50.6, 183.2),
    "exposure_02": (16.9, 150.2),
    "exposure_03": (39.0, 197.9),
    "exposure_04": (35.4, 156.9),
    "exposure_05": (41.0, 226.4),
}
"""Mean luma of a and of b, measured once; the pixels must not drift from one machine or release to the next."""

HIDDEN = {
    "scene_01": ((0.24, 0.74, 0.27),),
    "scene_02": ((0.15, 0.72, 0.27), (0.25, 0.74, 0.28), (1.16, 0.84, 0.34)),
    "scene_03": ((0.36, 0.74, 0.26), (0.54, 0.68, 0.22)),
    "scene_06": ((0.5, 0.56, 0.17),),
    "scene_08": ((0.2, 0.82, 0.34), (1.08, 0.92, 0.4)),
}
"""People whom shadow, darkness, smoke or fog hides: x, feet and size as fractions of the picture's height."""


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("the examples must not use the network")


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """Every way out of the machine raises, pooch included."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, refuse)
        for name in ("create_connection", "getaddrinfo"):
            patch.setattr(socket, name, refuse)
        patch.setattr(urllib.request, "urlopen", refuse)
        patch.setitem(sys.modules, "pooch", None)
        yield


@pytest.fixture(scope="module")
def examples(offline: None) -> dict[str, Example]:
    return {one.pair_id: one for one in make_examples()}


@pytest.fixture(scope="module")
def written(offline: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Source, ...]]:
    folder = tmp_path_factory.mktemp("written") / "examples"
    return folder, write_examples(folder)


def of_task(examples: dict[str, Example], task: str) -> list[Example]:
    return [one for one in examples.values() if one.task == task]


def test_there_are_enough_of_every_kind(examples: dict[str, Example]) -> None:
    assert Counter(one.source for one in examples.values()) == {
        "infrared-visible": 8,
        "mri-ct": 4,
        "mri-pet": 4,
        "multi-focus": 5,
        "multi-exposure": 5,
    }
    assert {one.task for one in examples.values()} == set(TASKS)
    assert len(examples) == len(MEANS) == 26  # no pair_id twice


@pytest.mark.parametrize("pair_id", MEANS)
def test_both_pictures_are_usable_and_differ(examples: dict[str, Example], pair_id: str) -> None:
    one = examples[pair_id]
    for picture in (one.a, one.b):
        assert picture.dtype == np.uint8
        assert picture.ndim == 2 or picture.shape[2] == 3
        assert picture.shape[:2] == one.a.shape[:2]
        assert min(picture.shape[:2]) >= 192 and max(picture.shape[:2]) <= 341
        assert luma(picture).std() > 10
    assert np.abs(luma(one.a).astype(np.float64) - luma(one.b)).mean() > 5


def test_sizes_and_colour_vary(examples: dict[str, Example]) -> None:
    sizes = {one.a.shape[:2] for one in examples.values()}
    assert len(sizes) >= 15
    assert any(height % 2 and width % 2 for height, width in sizes)
    for task in ("infrared-visible", "multi-focus", "multi-exposure"):
        assert {one.b.ndim for one in of_task(examples, task)} == {2, 3}, "grey and colour cameras"
    assert all(one.a.ndim == 2 for one in of_task(examples, "infrared-visible"))


@pytest.mark.parametrize("pair_id", MEANS)
def test_levels_do_not_drift(examples: dict[str, Example], pair_id: str) -> None:
    one = examples[pair_id]
    assert (luma(one.a).mean(), luma(one.b).mean()) == pytest.approx(MEANS[pair_id], abs=0.5)


@pytest.mark.parametrize(("pair_id", "person"), [(pair_id, person) for pair_id, people in HIDDEN.items() for person in people])
def test_heat_shows_whom_light_hides(examples: dict[str, Example], pair_id: str, person: tuple[float, float, float]) -> None:
    one = examples[pair_id]
    assert contrast_of(one.a, person) > 40
    assert abs(contrast_of(luma(one.b), person)) < 18


def contrast_of(picture: Picture, person: tuple[float, float, float]) -> float:
    """The chest's grey level less that of the ground on both sides."""
    x, foot, size = (int(length * len(picture)) for length in person)
    row, reach, side = foot - int(0.63 * size), int(0.07 * size), int(0.28 * size)
    band = picture[row - reach : row + reach + 1].astype(np.float64)
    beside = np.concatenate([band[:, x - side - 3 : x - side], band[:, x + side + 1 : x + side + 4]], axis=1)
    return float(band[:, x - reach : x + reach + 1].mean() - beside.mean())


def test_the_visible_scenes_hold_the_texture(examples: dict[str, Example]) -> None:
    bright = [one for one in of_task(examples, "infrared-visible") if one.pair_id not in ("scene_02", "scene_06", "scene_08")]
    assert len(bright) == 5
    for one in bright:
        assert detail(one.b).mean() > 2 * detail(one.a).mean(), one.pair_id


def detail(picture: Picture) -> NDArray[np.float64]:
    """Squared Laplacian in blocks of 16 by 16 pixels."""
    squared = cv2.Laplacian(luma(picture).astype(np.float64), cv2.CV_64F) ** 2
    rows, columns = (side // 16 for side in squared.shape)
    return np.asarray(squared[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).mean((1, 3)))


@pytest.mark.parametrize("number", range(4))
def test_bone_is_bright_in_ct_and_tissue_varied_in_mri(examples: dict[str, Example], number: int) -> None:
    one, tissues = examples[f"head_{number + 1:02}"], make_tissues(CT_SLICES[number])
    bone = ndimage.binary_erosion(tissues == Tissue.BONE)
    brain = ndimage.binary_erosion((tissues == Tissue.GREY) | (tissues == Tissue.WHITE))
    assert one.b[bone].mean() > 230 and one.a[bone].mean() < 30
    assert one.a[brain].std() > 2 * one.b[brain].std()


@pytest.mark.parametrize("number", range(4))
def test_pet_shows_activity_in_colour_on_black(examples: dict[str, Example], number: int) -> None:
    one, tissues = examples[f"head_{number + 5:02}"], make_tissues(PET_SLICES[number])
    activity = luma(one.b)
    assert activity[tissues == Tissue.GREY].mean() > 1.25 * activity[tissues == Tissue.WHITE].mean()
    assert np.median(activity[tissues == Tissue.AIR]) == 0
    assert np.ptp(one.b.astype(np.int16), axis=2).max() > 200
    assert detail(one.a).mean() > 4 * detail(one.b).mean()


@pytest.mark.parametrize("pair_id", [name for name in MEANS if name.startswith("focus")])
def test_every_region_is_sharp_in_exactly_one_source(examples: dict[str, Example], pair_id: str) -> None:
    one = examples[pair_id]
    assert one.truth is not None
    whole = detail(one.truth)
    textured = whole > np.median(whole) / 2
    near, far = (detail(picture)[textured] / whole[textured] for picture in (one.a, one.b))
    assert (np.maximum(near, far) > 0.8).mean() > 0.75  # the rest lies on the edges of objects, where blur covers both
    assert (np.minimum(near, far) < 0.5).mean() > 0.9
    assert 0.25 < (near > far).mean() < 0.75


@pytest.mark.parametrize("pair_id", [name for name in MEANS if name.startswith("focus")])
def test_the_sharper_source_is_the_photograph(examples: dict[str, Example], pair_id: str) -> None:
    one = examples[pair_id]
    assert one.truth is not None and one.truth.shape == one.a.shape
    near, far = (np.abs(picture.astype(np.float64) - one.truth) for picture in (one.a, one.b))
    assert np.minimum(near, far).mean() < 0.5 < 1 < min(near.mean(), far.mean())


@pytest.mark.parametrize("pair_id", [name for name in MEANS if name.startswith("exposure")])
def test_exposures_clip_at_different_ends(examples: dict[str, Example], pair_id: str) -> None:
    one = examples[pair_id]
    assert one.truth is not None and one.truth.shape == one.a.shape
    under, truth, over = luma(one.a), luma(one.truth), luma(one.b)
    assert under.mean() + 30 < truth.mean() < over.mean() - 30
    assert (over >= 250).mean() > (truth >= 250).mean() + 0.03 and (under >= 250).mean() < 0.001
    assert (under <= 12).mean() > (truth <= 12).mean() and (under <= 12).mean() > (over <= 12).mean()


def test_only_photographs_have_a_truth(examples: dict[str, Example]) -> None:
    assert {one.task for one in examples.values() if one.truth is not None} == {"multi-focus", "multi-exposure"}
    assert {one.task for one in examples.values() if one.truth is None} == {"infrared-visible", "medical"}


def test_a_photograph_outside_the_wheel_is_refused(offline: None) -> None:
    with pytest.raises(InputError, match=r"eagle\.png is not inside the installed scikit-image"):
        load_photograph("eagle.png", (0, 0, 100, 100), 1)


def test_files_hold_the_pixels_as_users_keep_theirs(written: tuple[Path, tuple[Source, ...]], examples: dict[str, Example]) -> None:
    folder, sources = written  # a second call, so this also says that the pixels are the same every time
    expected: dict[Path, Picture] = {}
    for one in examples.values():
        home = folder / one.source
        expected[home / one.a_modality / f"{one.pair_id}.png"] = one.a
        expected[home / one.b_modality / f"{one.pair_id}.png"] = one.b
        if one.truth is not None:
            expected[home / "truth" / f"{one.pair_id}.png"] = one.truth
    assert {path for path in folder.rglob("*") if path.is_file()} == set(expected)  # also: no temporary file is left
    for path, picture in expected.items():
        assert np.array_equal(np.asarray(Pillow.open(path)), picture)
    assert [source.name for source in sources] == ["infrared-visible", "mri-ct", "mri-pet", "multi-focus", "multi-exposure"]
    for source in sources:
        assert source.task in TASKS and source.licence
        assert sorted(path.name for path in Path(source.a).iterdir()) == sorted(path.name for path in Path(source.b).iterdir())


def test_the_ordinary_path_takes_every_pair(written: tuple[Path, tuple[Source, ...]]) -> None:
    found = scan(written[1])
    assert not (found.refused or found.orphans or found.clutter)
    inspections = [inspect(ref, max_shift=1) for ref in found.pairs]
    assert {(one.row.status, one.row.flags, one.warnings) for one in inspections} == {(OK, (), ())}
    assert [one.row.pair_id.split("/")[1] for one in inspections if one.row.task == "medical"] == [f"head_{n:02}" for n in range(1, 9)]
    assert len(inspections) == len(MEANS)


def test_writing_again_repairs_and_touches_nothing_else(written: tuple[Path, tuple[Source, ...]]) -> None:
    folder, sources = written
    broken = folder / "multi-focus" / "near_focus" / "focus_01.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png") if path != broken}
    assert write_examples(folder) == sources
    assert broken.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png") if path != broken} == times
    assert all(path.suffix == ".png" for path in folder.rglob("*") if path.is_file())


def test_an_interruption_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.png"
    write_picture(path, np.arange(2500, dtype=np.uint8).reshape(50, 50))
    before = path.read_bytes()

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_picture(path, np.zeros((50, 50), np.uint8))
    assert [left.name for left in tmp_path.iterdir()] == ["one.png"]
    assert path.read_bytes() == before
