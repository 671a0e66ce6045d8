"""Leaks: pairs of a snapshot that also stand in a folder, such as a public test set, whatever size, format or quality they have there.

A picture of the folder is near one of a pair's three, its two sources and its winner, by the same two measures that group the pairs of
one scene; see `prior.groups`. The winner is compared as well because a folder may hold fused results alone: of 134 that were published
for pairs of a public set, 69 are near a source of their pair, and 43 more are near its winner only.

A file that a pair was made from is found by its bytes, whatever became of it in the snapshot.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prior.arrays import Picture, luma
from prior.folders import list_folder
from prior.groups import NEAR_STRUCTURE, find_near
from prior.pictures import read_picture, show_path
from prior.signatures import Signature, perceptual_hash, read_hashes, signature
from storage.errors import InputError
from storage.schema import PairRow

PICTURES = ("a", "b", "winner")


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures of a folder and of all below it.

    Attributes:
        pictures: in the order of their paths.
        passed: sentences about what was not opened.
    """

    pictures: tuple[Path, ...]
    passed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture of the folder as the search sees it.

    Attributes:
        file: its path, from the folder on.
        digest: sha256 of the file's bytes.
        hash: its perceptual hash.
        vector: its signature.
    """

    file: str
    digest: str
    hash: int
    vector: Signature


@dataclass(frozen=True, slots=True)
class KnownPair:
    """A pair of the snapshot as the search sees it.

    Attributes:
        row: the pair's row.
        hashes: the perceptual hashes of `PICTURES`.
    """

    row: PairRow
    hashes: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A picture of the folder that one picture of a pair is near to by its hash, or was made from.

    Attributes:
        sight: the folder's picture.
        picture: which of the pair's it is: "a", "b" or "winner".
        bits: of 64, in which their hashes differ.
        exact: whether the pair was made from this very file.
    """

    sight: Sight
    picture: str
    bits: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Leak:
    """One file of the folder that shows a pair of the snapshot.

    Attributes:
        pair_id, split: the pair.
        picture: the pair's picture that is most like the file: "a", "b" or "winner".
        file: its path, from the folder on.
        bits: of 64, in which their perceptual hashes differ.
        correlation: of their signatures, at most 1.
        exact: whether the pair was made from a file of the same bytes.
    """

    pair_id: str
    split: str
    picture: str
    file: str
    bits: int
    correlation: float
    exact: bool


def find_pictures(folder: Path) -> Found:
    """List the pictures of a folder and of all below it; hidden entries count for nothing, and links that lead out are not followed.

    Raises:
        InputError: there is no such folder, or no picture in it.
    """
    pictures: list[Path] = []
    passed: list[str] = []
    for path, why in _walk(folder, Path(os.path.realpath(folder))):
        if why:
            passed.append(f"{show_path(path)} {why}")
        else:
            pictures.append(path)
    if not pictures:
        reason = f" ({passed[0]})" if passed else ""
        raise InputError(f"{show_path(folder)} holds no pictures to compare with{reason}; name the folder that they lie in or below")
    return Found(tuple(sorted(pictures)), tuple(sorted(passed)))


def look(path: Path, folder: Path) -> Sight:
    """Decode a picture of the folder and sign it.

    Levels of more than 8 bits are stretched to what the picture holds of them, as other sets keep the same picture in 8 bits.

    Raises:
        InputError: see `read_picture`.
    """
    decoded = read_picture(path, "percentile")
    grey = luma(decoded.pixels)
    return Sight(show_path(path.relative_to(folder)), decoded.file_hash, perceptual_hash(grey), signature(grey))


def know(row: PairRow, pictures: Mapping[str, Picture]) -> KnownPair:
    """A pair with the hashes of its pictures; those of its sources stand in its row, but for snapshots of the first schema."""
    a, b = read_hashes(row.scene_hash) if row.scene_hash else (perceptual_hash(luma(pictures[name])) for name in ("a", "b"))
    return KnownPair(row, (a, b, perceptual_hash(luma(pictures["winner"]))))


def find_suspects(pairs: Sequence[KnownPair], sights: Iterable[Sight]) -> dict[str, list[Suspect]]:
    """What has to be looked at closely: the near pictures of every pair that has any, by pair_id."""
    hashes = np.array([pair.hashes for pair in pairs], np.uint64).reshape(-1)
    by_digest: dict[str, set[int]] = defaultdict(set)
    for number, pair in enumerate(pairs):
        for which, digest in enumerate((pair.row.a_hash, pair.row.b_hash)):
            if digest:
                by_digest[digest].add(len(PICTURES) * number + which)
    suspects: dict[str, list[Suspect]] = defaultdict(list)
    for sight in sights:
        same = by_digest.get(sight.digest, set())
        near = find_near(np.array([sight.hash], np.uint64), hashes)[:, 1].tolist()
        for place in sorted(same.union(near)):
            number, which = divmod(place, len(PICTURES))
            bits = (sight.hash ^ pairs[number].hashes[which]).bit_count()
            suspects[pairs[number].row.pair_id].append(Suspect(sight, PICTURES[which], bits, place in same))
    return dict(suspects)


def judge(row: PairRow, pictures: Mapping[str, Picture], suspects: Sequence[Suspect]) -> list[Leak]:
    """The leaks of one pair: for every file that shows it, the picture that is most like it.

    Args:
        row: the pair's row.
        pictures: its own, by name.
        suspects: of this pair.
    """
    vectors = {name: signature(luma(pictures[name])) for name in {one.picture for one in suspects}}
    best: dict[str, Leak] = {}
    for one in suspects:
        alike = round(float(np.dot(vectors[one.picture], one.sight.vector)), 4)
        if one.exact or alike >= NEAR_STRUCTURE:
            leak = Leak(row.pair_id, row.split, one.picture, one.sight.file, one.bits, alike, one.exact)
            best[leak.file] = min(best.get(leak.file, leak), leak, key=rank)
    return list(best.values())


def rank(leak: Leak) -> tuple[bool, float, int, str, str]:
    """What leaks are sorted by: the worst, those of the same bytes and then the most alike, come first."""
    return not leak.exact, -leak.correlation, leak.bits, leak.pair_id, leak.file


def _walk(folder: Path, top: Path) -> Iterator[tuple[Path, str]]:
    """Every picture below a folder, and why it is passed over, if it is; whole folders too, where they are passed over."""
    try:
        listing = list_folder(folder)
    except OSError as error:
        yield folder, f"cannot be listed ({error.strerror}); check your rights to it"
        return
    pictures = frozenset(listing.pictures)
    for entry in sorted(one for one in (*pictures, *listing.clutter) if not one.name.startswith(".")):
        if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(top):
            yield entry, f"leads out of {show_path(top)} and was not opened; put what it leads to there"
        elif entry.is_dir():
            yield from () if entry.is_symlink() else _walk(entry, top)  # what a link leads to is listed in its own place
        elif entry in pictures:
            yield entry, ""
