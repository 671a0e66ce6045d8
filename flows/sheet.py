"""A sheet of one pair: its sources and its best candidates side by side, each with its scores."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flows.candidates import recover
from flows.summary import group_scores, make_policy
from prior.arrays import Picture
from prior.select import find_values, rank
from storage.errors import InputError
from storage.schema import COPY_OF_SOURCE, ScoreRow
from storage.snapshot import Snapshot

TILE = 420  # px, the width of one picture on the sheet
COLUMNS, MANY_COLUMNS = 3, 6
MANY = 12  # tiles, from which on a sheet is wide
GAP = 12
CAPTION = 58
PAPER, INK, FAINT = (250, 250, 248), (20, 20, 20), (110, 110, 110)

Tile = tuple[Picture | None, str, str]


def draw_sheet(snapshot: Snapshot, pair_id: str, best: int) -> Picture:
    """The sources of a pair and its best candidates, with value and scores.

    Args:
        snapshot: where the pair is.
        pair_id: the pair.
        best: how many candidates to show.

    Returns:
        uint8 RGB.

    Raises:
        InputError: the snapshot holds no image of this pair.
    """
    pictures = snapshot.pictures(pair_id)
    row = next(one for one in snapshot.table("pairs").to_pylist() if one["pair_id"] == pair_id)
    sources: list[Tile] = [
        (pictures["a"], f"a: {row['a_modality']}", row["a_format"]),
        (pictures["b"], f"b: {row['b_modality']}", row["b_format"]),
    ]
    candidates = [_tile(snapshot, one, value) for one, value in rank_candidates(snapshot, pair_id)[:best]]
    return _compose([*sources, *candidates])


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


def _tile(snapshot: Snapshot, row: ScoreRow, value: float) -> Tile:
    scores = "  ".join(f"{name} {row.scores[name]:.3f}" for name in ("ssim", "vif", "qabf") if name in row.scores)
    note = "  ".join(row.flags)
    return recover(snapshot, row), f"{row.method}   {value:.4f}", f"{scores}  {note}"


def _compose(tiles: list[Tile]) -> Picture:
    height = max(_fit(picture).shape[0] for picture, _, _ in tiles if picture is not None)
    columns = min(COLUMNS if len(tiles) < MANY else MANY_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, rows * (height + CAPTION + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (picture, title, caption) in enumerate(tiles):
        x = GAP + number % columns * (TILE + GAP)
        y = GAP + number // columns * (height + CAPTION + GAP)
        if picture is None:
            draw.rectangle((x, y, x + TILE, y + height), outline=FAINT)
            draw.text(
                (x + GAP, y + height // 2), "its picture was not kept and cannot be made again", FAINT, font=ImageFont.load_default(15)
            )
        else:
            sheet.paste(Image.fromarray(_fit(picture)), (x, y))
        draw.text((x, y + height + 6), title, INK, font=ImageFont.load_default(18))
        draw.text((x, y + height + 30), caption, FAINT, font=ImageFont.load_default(13))
    return np.asarray(sheet)


def _fit(picture: Picture) -> Picture:
    """A picture as RGB in the width of a tile."""
    image = Image.fromarray(picture).convert("RGB")
    return np.asarray(image.resize((TILE, max(1, round(image.height * TILE / image.width))), Image.Resampling.LANCZOS))
