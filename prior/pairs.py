"""From folders to ordered pairs, each checked once: what fails a check is quarantined with its reason, never lost and never a crash."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from prior.arrays import Picture, luma
from prior.folders import BY_STEM, Listing, group_by_key, list_folder, parse_pattern
from prior.levels import Range, check_range
from prior.pictures import MIN_SIDE, Decoded, read_picture, show_path, try_hash
from prior.registration import Shift, estimate_shift
from prior.signatures import PairSignature, sign_pair, write_hashes
from storage.errors import InputError
from storage.schema import DUPLICATE, MISREGISTERED, OK, QUARANTINED, PairRow

SHIFT_LIMIT = 6.0  # px, above which a pair is flagged
UNKNOWN_SHIFT = Shift(math.nan, math.nan, 0.0)
ASPECT_TOLERANCE = 0.01
DECODING = 1  # raised whenever the same files would be decoded to other pixels; part of every pair hash

Resize = Literal["", "a", "b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Two folders of pictures and how to make pairs of them.

    Attributes:
        a: folder of the first modality.
        b: folder of the second; may be the same, with a pattern.
        name: in front of every pair id where there are several sources.
        task: one of `storage.schema.TASKS`.
        published: folder with one folder per published method.
        pattern: two words with `{key}`, one per folder, matched against names without their extension; empty pairs by equal names.
        licence: of the pictures.
        value_range: levels of 16-bit files that become black and white; see `prior.levels`.
        resize: the image that gives the size where the two differ; empty quarantines such pairs.
        a_modality: what `a` is an image of; the folder's name where empty.
        b_modality: likewise.

    Raises:
        InputError: the pattern, the value range or the resize policy is not understood, or both folders are one and there is no pattern.
    """

    a: Path
    b: Path
    name: str = ""
    task: str = "infrared-visible"
    published: Path | None = None
    pattern: str = ""
    licence: str = ""
    value_range: Range = "dtype"
    resize: Resize = ""
    a_modality: str = ""
    b_modality: str = ""

    def __post_init__(self) -> None:
        """Check what is typed by hand, before any folder is read."""
        check_range(self.value_range)
        parse_pattern(self.pattern)
        if not self.pattern and self.a.resolve() == self.b.resolve():
            raise InputError(f'a and b are both {show_path(self.a)}; name two folders, or give a pattern such as "{BY_STEM}_A {BY_STEM}_B"')
        if self.resize not in ("", "a", "b"):
            raise InputError(f'resize = {self.resize!r} is not a resize policy; write "a" or "b", the image that keeps its size')

    @property
    def modalities(self) -> tuple[str, str]:
        """What `a` and `b` are images of."""
        return self.a_modality or show_path(self.a.resolve().name), self.b_modality or show_path(self.b.resolve().name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRef:
    """Where the two files of a pair are: all that a worker needs to load it."""

    pair_id: str
    source: Source
    key: str
    a: Path
    b: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What the folders hold.

    Attributes:
        pairs: ordered by pair_id.
        refused: rows of pairs that cannot be looked at: ambiguous names, and links that lead out of their folder.
        orphans: pictures without a partner.
        clutter: what is no picture.
    """

    pairs: tuple[PairRef, ...]
    refused: tuple[PairRow, ...]
    orphans: tuple[Path, ...]
    clutter: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the checks of one pair found.

    Attributes:
        row: the pair's row, "ok" or quarantined with its reason.
        warnings: sentences for the user about a pair that is used all the same.
        signature: for the check of published results and the search for pairs of one scene; None where the pair is quarantined.
    """

    row: PairRow
    warnings: tuple[str, ...] = ()
    signature: PairSignature | None = field(default=None, repr=False)


def scan(sources: Sequence[Source]) -> Scan:
    """Find the pairs of all sources.

    Args:
        sources: with several, each needs a name of its own, and pair ids are `name/key`.

    Returns:
        Pairs and refused rows ordered by pair_id, orphans and clutter by path.

    Raises:
        InputError: a folder is missing or holds no pictures, two sources share a name, or nothing pairs.
    """
    names = [source.name for source in sources]
    if len(names) > 1 and ("" in names or len(set(names)) < len(names)):
        raise InputError(f"several sources need names of their own, got {names}; give each [[source]] another name")
    scans = [_scan_source(source, f"{source.name}/" if len(sources) > 1 else "") for source in sources]
    return Scan(
        pairs=tuple(sorted((pair for one in scans for pair in one.pairs), key=lambda pair: pair.pair_id)),
        refused=tuple(sorted((row for one in scans for row in one.refused), key=lambda row: row.pair_id)),
        orphans=tuple(sorted({path for one in scans for path in one.orphans})),
        clutter=tuple(sorted({path for one in scans for path in one.clutter})),
    )


def inspect(ref: PairRef, *, max_shift: float | None = None, smallest: int = MIN_SIDE) -> Inspection:
    """Decode a pair and check it; bad input becomes a quarantined row, never an error.

    Args:
        ref: the pair.
        max_shift: px; a pair whose estimated shift is larger is set aside. None sets nothing aside.
        smallest: px that the shorter side must have. Unless given, what every metric can judge; of smaller pairs no shift is estimated,
            and their signature tells them from no other.
    """
    row = _name_row(ref)
    try:
        decoded = _decode(ref)
        row = _describe(row, decoded)
        a, b, resized = _match_sizes(ref, decoded[0].pixels, decoded[1].pixels)
        row = replace(row, height=a.shape[0], width=a.shape[1], resized=resized)
        row = replace(row, pair_hash=_hash_pair(decoded, resized))
        grey_a, grey_b = luma(a), luma(b)
        _check_content(ref, grey_a, grey_b, smallest)
    except InputError as error:
        return Inspection(row=_quarantine(_fill_hashes(row, ref), error.code, str(error)))
    tiny = min(grey_a.shape) < MIN_SIDE
    row = _judge_shift(row, UNKNOWN_SHIFT if tiny else estimate_shift(grey_a, grey_b), max_shift)
    warnings = _gather_warnings(ref, decoded)
    if row.status != OK:
        return Inspection(row=row, warnings=warnings)
    signed = sign_pair(ref.pair_id, grey_a, grey_b)
    if tiny:  # so few edges are like those of other pairs by chance
        signed = replace(signed, vectors=np.zeros_like(signed.vectors))
    return Inspection(row=replace(row, scene_hash=write_hashes(signed.hashes)), warnings=warnings, signature=signed)


def load(ref: PairRef) -> tuple[Picture, Picture]:
    """The pixels of a pair, of one size: uint8, `(H, W)` or `(H, W, 3)` RGB.

    Raises:
        InputError: a file cannot be decoded, or the sizes differ and the source has no resize policy.
    """
    first, second = _decode(ref)
    a, b, _ = _match_sizes(ref, first.pixels, second.pixels)
    return a, b


def set_aside(ref: PairRef, reason: str, message: str) -> PairRow:
    """The row of a pair whose files could not be inspected: its reason is one of `storage.schema.PAIR_REASONS`."""
    return _quarantine(_name_row(ref), reason, message)


def flag_duplicates(rows: Sequence[PairRow]) -> tuple[PairRow, ...]:
    """The rows, with a flag on each pair whose two files are byte for byte those of an earlier row; it is kept, and names that row."""
    first: dict[tuple[str, str], str] = {}
    flagged = []
    for row in rows:
        content = (row.a_hash, row.b_hash)
        original = first.setdefault(content, row.pair_id) if all(content) else row.pair_id
        if original != row.pair_id:
            note = f"the same two files as pair {original}"
            row = replace(row, flags=(*row.flags, DUPLICATE), message="; ".join(filter(None, (row.message, note))))
        flagged.append(row)
    return tuple(flagged)


def _scan_source(source: Source, prefix: str) -> Scan:
    left, right = _list_pictures(source.a), _list_pictures(source.b)
    pattern_a, pattern_b = parse_pattern(source.pattern)
    of_a, of_b = group_by_key(left.pictures, pattern_a), group_by_key(right.pictures, pattern_b)
    outside = left.outside | right.outside
    paired = sorted(of_a.keys() & of_b.keys())
    pairs, refused = [], []
    for key in paired:
        a, b = of_a[key], of_b[key]
        ref = PairRef(pair_id=prefix + show_path(key), source=source, key=key, a=a[0], b=b[0])
        reason = _refuse(a, b, outside)
        if reason:
            refused.append(set_aside(ref, *reason))
        else:
            pairs.append(ref)
    if not paired:
        raise InputError(_explain_nothing(source, left, right))
    claimed = {path for key in paired for path in (*of_a[key], *of_b[key])}
    orphans = {*left.pictures, *right.pictures} - claimed
    return Scan(pairs=tuple(pairs), refused=tuple(refused), orphans=tuple(orphans), clutter=(*left.clutter, *right.clutter))


def _list_pictures(folder: Path) -> Listing:
    listing = list_folder(folder)
    if not listing.pictures:
        count = len(listing.clutter)
        raise InputError(f"{show_path(folder)} holds no pictures ({count} other entries); name the folder that holds the files themselves")
    return listing


def _refuse(a: tuple[Path, ...], b: tuple[Path, ...], outside: frozenset[Path]) -> tuple[str, str] | None:
    """Why the files of one key make no pair: reason code and sentence."""
    leaving = [path for path in (*a, *b) if path in outside]
    if leaving:
        return "outside", f"{_join_names(leaving)} leads out of its folder and was not opened; put the file itself there"
    for files in (a, b):
        if len(files) > 1:
            return "ambiguous", f"{_join_names(files)} in {show_path(files[0].parent)} claim the same pair; keep one of them"
    return None


def _explain_nothing(source: Source, left: Listing, right: Listing) -> str:
    how = f"with the pattern {source.pattern!r}" if source.pattern else "by their names"
    return (
        f"nothing pairs {how}: {show_path(source.a)} holds {_join_names(left.pictures)}, {show_path(source.b)} holds "
        f'{_join_names(right.pictures)}; give the part that is equal as {BY_STEM}, such as --pattern "IR{BY_STEM} VIS{BY_STEM}"'
    )


def _join_names(paths: Iterable[Path]) -> str:
    names = [show_path(path.name) for path in paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _name_row(ref: PairRef) -> PairRow:
    """The row of a pair of which nothing but its name is known."""
    source = ref.source
    return PairRow(
        pair_id=ref.pair_id,
        source=source.name,
        task=source.task,
        status=OK,
        a_path=show_path(ref.a),
        b_path=show_path(ref.b),
        a_modality=source.modalities[0],
        b_modality=source.modalities[1],
        licence=source.licence,
    )


def _quarantine(row: PairRow, reason: str, message: str) -> PairRow:
    return replace(row, status=QUARANTINED, reason=reason, message=f"pair {row.pair_id}: {message}")


def _decode(ref: PairRef) -> tuple[Decoded, Decoded]:
    return read_picture(ref.a, ref.source.value_range), read_picture(ref.b, ref.source.value_range)


def _describe(row: PairRow, decoded: tuple[Decoded, Decoded]) -> PairRow:
    a, b = decoded
    return replace(
        row,
        height=a.pixels.shape[0],
        width=a.pixels.shape[1],
        a_format=", ".join((a.format, *a.notes)),
        b_format=", ".join((b.format, *b.notes)),
        a_hash=a.file_hash,
        b_hash=b.file_hash,
    )


def _fill_hashes(row: PairRow, ref: PairRef) -> PairRow:
    """The row with the hash of every file that can at least be opened, so that a repaired file is noticed."""
    return replace(row, a_hash=row.a_hash or try_hash(ref.a), b_hash=row.b_hash or try_hash(ref.b))


def _match_sizes(ref: PairRef, a: Picture, b: Picture) -> tuple[Picture, Picture, str]:
    """The two pictures in one size, and a note of what was resized.

    Raises:
        InputError: they differ and the source has no resize policy.
    """
    if a.shape[:2] == b.shape[:2]:
        return a, b, ""
    sizes = f"{_show_size(a)} and {_show_size(b)}"
    if not ref.source.resize:
        raise InputError(f'a and b differ in size, {sizes}; resize them, or set resize = "a" or "b" in the source', "size_mismatch")
    if ref.source.resize == "a":
        return a, _resize(b, a), f"b from {_show_size(b)} to {_show_size(a)}"
    return _resize(a, b), b, f"a from {_show_size(a)} to {_show_size(b)}"


def _resize(picture: Picture, like: Picture) -> Picture:
    """A picture in the size of another: by area where it shrinks, bicubic where it grows."""
    height, width = like.shape[:2]
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return resized.astype(np.uint8, copy=False)


def _show_size(picture: Picture) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _hash_pair(decoded: tuple[Decoded, Decoded], resized: str) -> str:
    """The content hash of a pair: everything that decides its pixels."""
    a, b = decoded
    parts = (str(DECODING), a.file_hash, b.file_hash, a.value_range, b.value_range, resized)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _check_content(ref: PairRef, a: Picture, b: Picture, smallest: int) -> None:
    if min(a.shape) < smallest:
        raise InputError(f"{_show_size(a)} pixels, expected at least {smallest} on each side; take the pair out", "too_small")
    for path, grey in ((ref.a, a), (ref.b, b)):
        if grey.min() == grey.max():
            raise InputError(f"{show_path(path)}: every pixel is {grey.min()}; replace the file or take the pair out", "flat")


def _judge_shift(row: PairRow, shift: Shift, max_shift: float | None) -> PairRow:
    flags = (MISREGISTERED,) if shift.length > SHIFT_LIMIT else ()
    row = replace(row, flags=flags, shift=shift.length, shift_y=shift.y, shift_x=shift.x, shift_confidence=shift.confidence)
    if max_shift is None or not shift.length > max_shift:
        return row
    found = f"b seems shifted by {shift.length:.1f} px against a (confidence {shift.confidence:.2f})"
    return _quarantine(row, "shifted", f"{found}, more than max_shift = {max_shift:g}; register the pair or raise max_shift")


def _gather_warnings(ref: PairRef, decoded: tuple[Decoded, Decoded]) -> tuple[str, ...]:
    a, b = decoded
    found = [f"{show_path(path)}: {text}" for path, one in ((ref.a, a), (ref.b, b)) for text in one.warnings]
    if a.file_hash == b.file_hash:
        found.append("a and b are the same file")
    ratios = [one.pixels.shape[1] / one.pixels.shape[0] for one in decoded]
    if max(ratios) > min(ratios) * (1 + ASPECT_TOLERANCE):
        found.append(f"resizing distorts: {_show_size(a.pixels)} and {_show_size(b.pixels)} have different shapes")
    return tuple(f"pair {ref.pair_id}: {text}" for text in found)
