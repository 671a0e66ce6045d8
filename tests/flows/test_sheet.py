"""Sheets: every one says which pair, criterion and snapshot it shows, and a pair without pictures is refused with its own reason."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from PIL import Image, ImageDraw

from flows import sheet
from flows.build import build
from flows.command_line import show
from flows.recipe import Recipe
from flows.sheet import GAP, HEAD, TILE, draw_sheet
from prior.pictures import read_picture
from storage.errors import InputError, UnknownName
from storage.snapshot import Snapshot

Written = list[tuple[tuple[int, int], str]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """The texts of the sheets that are drawn, with their places, as they stand there."""
    texts: Written = []
    text = ImageDraw.ImageDraw.text

    def write(self: ImageDraw.ImageDraw, place: tuple[int, int], line: str, *rest: object, **named: object) -> None:
        texts.append((place, line))
        text(self, place, line, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", write)
    return texts


def test_a_sheet_says_what_it_shows(split_store: str, written: Written, tmp_path: Path) -> None:
    snapshot = Snapshot(split_store)
    pair_id = snapshot.pair(0).selection.pair_id
    show(pair_id, tmp_path / "sheet.png", split_store, "v1", 2)
    texts = [line for _, line in written]
    assert texts[0] == f"{pair_id} · diff-if · snapshot v1 ({snapshot.id})"
    assert texts[1] == "beside each method the value by diff-if, which is 2*ssim + vif + 3*qabf; below it single scores"
    selection = snapshot.pair(0).selection
    (place,) = (place for place, line in written if line == "winner")
    assert f"{selection.method}   {selection.value:.4f}" in [line for at, line in written if at[1] == place[1] and at[0] < place[0]]
    pixels = read_picture(tmp_path / "sheet.png").pixels
    assert pixels.shape[1] == 3 * (TILE + GAP) + GAP
    assert (pixels[: HEAD - GAP] < 100).any() and (pixels[:, -GAP:] > 200).all()


def test_a_rule_is_not_told_twice_and_an_id_not_either(split_store: str, written: Written) -> None:
    snapshot = copy.copy(Snapshot(split_store))
    snapshot.manifest = {**snapshot.manifest, "criterion": {"name": "qabf", "rule": "qabf"}}
    pair_id = snapshot.pair(0).selection.pair_id
    draw_sheet(snapshot, pair_id, 1, snapshot.id)
    assert written[0][1] == f"{pair_id} · qabf · snapshot {snapshot.id}"
    assert written[1][1] == "beside each method the value by qabf; below it single scores"


@pytest.mark.parametrize("text", ["long " * 100, "two\nlines", "", "\n"])
def test_a_text_stays_on_its_line_and_in_its_place(text: str, written: Written) -> None:
    paper = Image.new("RGB", (400, 80), "white")
    sheet._write(ImageDraw.Draw(paper), (10, 20), text, 18, (0, 0, 0), 200)
    dark = np.argwhere(np.asarray(paper)[:, :, 0] < 128)
    assert "\n" not in written[0][1] and written[0][1].endswith("…") == (len(text) > 20)
    assert not dark.size or (dark[:, 1].min() >= 10 and dark[:, 1].max() <= 212 and np.ptp(dark[:, 0]) < 24)


@pytest.fixture
def odd_store(client: Client, ask: Callable[..., Recipe], tmp_path: Path) -> str:
    """A store with a pair that is quarantined, one that is excluded, and one without a candidate."""
    recipe = ask(methods=["copies_a"], exclude=["p02"])
    (tmp_path / "vis" / "p01.png").write_bytes(b"\x89PNG\r\n\x1a\n not quite")
    address = str(tmp_path / "store")
    build(recipe, address, client)
    return address


def test_a_pair_that_was_set_aside_is_refused_with_its_reason(odd_store: str, tmp_path: Path) -> None:
    told = {
        "p00": r"\(no_candidate\): p00 has no valid candidate \(copy of a source.*\); `fusion-prior scores` says more$",
        "p01": r"\(quarantined, unreadable\): .*p01\.png: cannot be decoded .*; replace the file or take it out$",
        "p02": r"\(excluded\): p02 stands in the recipe's exclude list$",
    }
    for pair_id, why in told.items():
        with pytest.raises(InputError, match=rf"^pair '{pair_id}' has no pictures to show {why}"):
            show(pair_id, tmp_path / "sheet.png", odd_store, "main", 4)
    assert not (tmp_path / "sheet.png").exists()


def test_a_pair_that_is_not_there_is_told_its_neighbours(odd_store: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"^unknown pair 'P01'; did you mean p01"):
        show("P01", tmp_path / "sheet.png", odd_store, "main", 4)


def test_a_sheet_that_cannot_be_written_is_one_sentence(split_store: str, tmp_path: Path) -> None:
    pair_id = Snapshot(split_store).pair(0).selection.pair_id
    for out, words in (
        (tmp_path, "Is a directory"),
        (Path("/proc/x.png"), "cannot be written"),
        (tmp_path / "x.jpg", "name a file that ends"),
    ):
        with pytest.raises(InputError, match=words):
            show(pair_id, out, split_store, "main", 2)
    assert list(tmp_path.iterdir()) == []
