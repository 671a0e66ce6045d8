"""Candidates brought back: the picture of any candidate of a snapshot, kept or not, by fusing or reading it again."""

from pathlib import Path

from prior import evaluate, registry
from prior.arrays import Picture
from prior.pictures import hash_file, read_picture
from prior.published import PREFIX
from storage.errors import FusionPriorError
from storage.schema import ScoreRow
from storage.snapshot import Snapshot


def recover(snapshot: Snapshot, row: ScoreRow) -> Picture | None:
    """The picture of one valid candidate, or None where it cannot be had any more.

    A picture that was kept is read; a live method of the same version fuses again; a published file is read where it still has the
    same bytes.
    """
    pictures = snapshot.pictures(row.pair_id)
    kept = snapshot.candidates(row.pair_id) | {snapshot.winner_of(row.pair_id): pictures["winner"]}
    if row.method in kept:
        return kept[row.method]
    if row.method.startswith(PREFIX):
        return _read_again(row)
    return _fuse_again(snapshot, row, pictures["a"], pictures["b"])


def _read_again(row: ScoreRow) -> Picture | None:
    path = Path(row.file)
    if not path.is_file() or not hash_file(path).startswith(row.version):
        return None
    return read_picture(path).pixels


def _fuse_again(snapshot: Snapshot, row: ScoreRow, a: Picture, b: Picture) -> Picture | None:
    try:
        method = registry.find_method(row.method)
        if str(method.version) != row.version:
            return None
        parameters = snapshot.manifest["recipe"]["parameters"].get(row.method, {})
        return evaluate.fuse(method, evaluate.prepare(row.pair_id, a, b), parameters).picture
    except FusionPriorError:
        return None
