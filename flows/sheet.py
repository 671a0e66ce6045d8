"""A sheet of one pair: its sources and its best candidates side by side, each with its scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flows.candidates import recover
from flows.summary import group_scores, make_policy
from prior.arrays import Picture
from prior.select import find_values, rank
from storage.errors import InputError, unknown_name
from storage.schema import COPY_OF_SOURCE, NO_CANDIDATE, OK, ScoreRow
from storage.snapshot import Snapshot

TILE = 420  # px, the width of one picture on the sheet
COLUMNS, MANY_COLUMNS = 3, 6
MANY = 12  # tiles, from which on a sheet is wide
GAP = 12
HEAD = 76
CAPTION = 58
PAPER, INK, FAINT, MARKED = (250, 250, 248), (20, 20, 20), (110, 110, 110), (20, 110, 60)
LOST = "its picture was not kept and cannot be made again"


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture, None where it cannot be had any more, with its title, the word that marks it, and its caption."""

    picture: Picture | None
    title: str
    caption: str
    mark: str = ""


def draw_sheet(snapshot: Snapshot, pair_id: str, best: int, version: str = "") -> Picture:
    """The sources of a pair and its best candidates, with value and scores, under a line that says what all of it is.

    Args:
        snapshot: where the pair is.
        pair_id: the pair.
        best: how many candidates to show.
        version: what the snapshot was asked for as, if not by its id.

    Returns:
        uint8 RGB.

    Raises:
        UnknownName: there is no such pair.
        InputError: it was set aside, or has no candidate.
    """
    row = _find_pair(snapshot, pair_id)
    pictures, winner = snapshot.pictures(pair_id), snapshot.winner_of(pair_id)
    sources = [
        Tile(pictures["a"], f"a: {row['a_modality']}", row["a_format"]),
        Tile(pictures["b"], f"b: {row['b_modality']}", row["b_format"]),
    ]
    candidates = [
        Tile(recover(snapshot, one), f"{one.method}   {value:.4f}", _describe(one), "winner" if one.method == winner else "")
        for one, value in rank_candidates(snapshot, pair_id)[:best]
    ]
    return _compose(_head(snapshot, pair_id, version), [*sources, *candidates])


def _find_pair(snapshot: Snapshot, pair_id: str) -> dict[str, str]:
    """What the table says of a pair that has pictures.

    Raises:
        UnknownName: there is no such pair; the nearest ids are named.
        InputError: it has none, for a reason that is told.
    """
    columns = ("pair_id", "status", "reason", "message", "a_modality", "b_modality", "a_format", "b_format")
    rows = {one["pair_id"]: one for one in snapshot.table("pairs", columns).to_pylist()}
    if pair_id not in rows:
        raise unknown_name("pair", pair_id, rows)
    row: dict[str, str] = rows[pair_id]
    if row["status"] != OK:
        state = ", ".join(dict.fromkeys((row["status"], row["reason"])))
        why = row["message"].removeprefix(f"pair {pair_id}: ") + (
            "; `fusion-prior scores` says more" if row["status"] == NO_CANDIDATE else ""
        )
        raise InputError(f"pair {pair_id!r} has no pictures to show ({state}): {why}")
    return row


def _head(snapshot: Snapshot, pair_id: str, version: str) -> tuple[str, str]:
    """Which pair it is, by which criterion and in which snapshot; and what the numbers are."""
    name, rule = str(snapshot.manifest["criterion"]["name"]), str(snapshot.manifest["criterion"]["rule"])
    named = snapshot.id if version in ("", snapshot.id) else f"{version} ({snapshot.id})"
    value = f"the value by {name}" + ("" if rule == name else f", which is {rule}")
    return f"{pair_id} · {name} · snapshot {named}", f"beside each method {value}; below it single scores"


def rank_candidates(snapshot: Snapshot, pair_id: str) -> list[tuple[ScoreRow, float]]:
    """The valid candidates of a pair with the values they have beside each other, best first.

    A winner set by hand stands first, and what cannot win, as a copy or by the criterion's conditions, behind all that could.
    """
    rows = group_scores(snapshot).get(pair_id, [])
    policy = make_policy(snapshot, str(snapshot.manifest["criterion"]["rule"]))
    values = find_values(rows, policy)
    ranked = [(row, values[row.method]) for row in rows if math.isfinite(values.get(row.method, math.nan))]
    if not ranked:
        raise InputError(f"{pair_id} has no valid candidate; `fusion-prior scores` says why")
    winner, could_win = snapshot.winner_of(pair_id), {method for _, method in rank(rows, policy)}

    def place(one: tuple[ScoreRow, float]) -> tuple[bool, bool, bool, float, str]:
        row, value = one
        return row.method != winner, COPY_OF_SOURCE in row.flags, row.method not in could_win, -value, row.method

    return sorted(ranked, key=place)


def _describe(row: ScoreRow) -> str:
    scores = (f"{name} {row.scores[name]:.3f}" for name in ("ssim", "vif", "qabf") if name in row.scores)
    return "  ".join((*scores, *row.flags))


def _compose(head: tuple[str, str], tiles: Sequence[Tile]) -> Picture:
    height = max(_fit(tile.picture).shape[0] for tile in tiles if tile.picture is not None)
    columns = min(COLUMNS if len(tiles) < MANY else MANY_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width = columns * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, HEAD + rows * (height + CAPTION + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, GAP), head[0], 24, INK, width - 2 * GAP)
    _write(draw, (GAP, GAP + 32), head[1], 15, FAINT, width - 2 * GAP)
    for number, tile in enumerate(tiles):
        x = GAP + number % columns * (TILE + GAP)
        y = HEAD + number // columns * (height + CAPTION + GAP)
        if tile.picture is None:
            draw.rectangle((x, y, x + TILE, y + height), outline=FAINT)
            _write(draw, (x + GAP, y + height // 2), LOST, 15, FAINT, TILE - 2 * GAP)
        else:
            sheet.paste(Image.fromarray(_fit(tile.picture)), (x, y))
        mark = round(draw.textlength(tile.mark, ImageFont.load_default(18)))
        _write(draw, (x + TILE - mark, y + height + 6), tile.mark, 18, MARKED, mark)
        _write(draw, (x, y + height + 6), tile.title, 18, INK, TILE - mark - GAP)
        _write(draw, (x, y + height + 30), tile.caption, 13, FAINT, TILE)
    return np.asarray(sheet)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], width: int) -> None:
    """One line of text, cut where it would be wider than there is room."""
    font = ImageFont.load_default(size)
    line = " ".join(text.splitlines())
    if draw.textlength(line, font) > width:
        while line and draw.textlength(f"{line} …", font) > width:
            line = line[:-1]
        line = f"{line.rstrip()} …"
    draw.text(place, line, colour, font=font)


def _fit(picture: Picture) -> Picture:
    """A picture as RGB in the width of a tile."""
    image = Image.fromarray(picture).convert("RGB")
    return np.asarray(image.resize((TILE, max(1, round(image.height * TILE / image.width))), Image.Resampling.LANCZOS))
