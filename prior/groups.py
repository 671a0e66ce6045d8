"""Which pairs show the same scene, and which split each of them belongs to.

Two pairs are near when any picture of one is near any of the other: alike in its coarse brightness (the perceptual hash) and, since
dark or plain pictures are alike in that without being one scene, in its edges as well (the 64 x 64 signature). Groups are what hangs
together. Group and split of a pair that the newest snapshot holds never change, whatever is added; a new pair follows them.

What it cannot see: a camera that has moved on by more than some 5 % of the picture, and the slices of one patient; for the latter, and
for series that are named after what they show, a source states its `subject`.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prior.signatures import PairSignature, read_hashes
from storage.schema import TEST, TRAIN, VAL, PairRow

# Measured on 211 infrared-visible, multi-focus and multi-exposure pairs of seven public sets. Of 22 155 couples of them 4 show one scene:
# the same frame in two sets (3), the same crossing twice (distance 6, correlation 0.73). The other couples have a correlation of at most
# 0.37 where a hash is within 16 bits, and hashes from 20 bits on where a correlation is above 0.45; the one alone comes down to 12 bits,
# the other up to 0.61. A copy saved as JPEG of quality 40, resized, with other gamma or locally equalised was found in every case, one
# that had lost 4 % on each side in 92 of 100.
NEAR_HASH = 12  # bits of 64
NEAR_STRUCTURE = 0.5  # correlation of the signatures
SAME_HASH = 8  # bits, in both pictures, where signatures are not at hand: unrelated couples begin at 18, slices of heads at 10
CHUNK = 256  # pictures compared with all at a time, which bounds memory

# Seven, one and two tenths: validation only picks a checkpoint, while the test must carry the comparison with the single methods.
# These three never change, or pairs of the stores that are there would move.
TRAIN_BELOW = 0.7
VAL_BELOW = 0.8
SALT = "fusion-prior split 569"  # picked once among 800, by how near the example pairs and six small public sets come to these shares

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Scene:
    """A usable pair as the search for its like sees it.

    Attributes:
        row: the pair's row.
        signature: of its pictures.
        subject: what its source says it shows, the same for all pairs of one patient or series; None where it says nothing.
    """

    row: PairRow
    signature: PairSignature
    subject: str | None = None

    @property
    def name(self) -> str:
        """The name of the subject's group; empty where there is no subject."""
        return "" if self.subject is None else f"{self.row.source}:{self.subject}"


class _Link(NamedTuple):
    """Two pairs of one scene, by their places; sorted, the most alike come first."""

    unlikeness: float
    one: int
    other: int


def choose_split(group: str) -> str:
    """The split of a group, from its name alone: "train", "val" or "test", whatever other groups there are."""
    digest = hashlib.sha256(f"{SALT}/{group}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return TRAIN if fraction < TRAIN_BELOW else VAL if fraction < VAL_BELOW else TEST


def assign_splits(rows: Iterable[PairRow], scenes: Sequence[Scene], known: Sequence[PairRow]) -> tuple[PairRow, ...]:
    """The rows with group and split.

    Args:
        rows: of all pairs, usable or not.
        scenes: the usable ones.
        known: the rows of the newest snapshot; a pair that is set aside now keeps what stands there, for the day it is usable again.
    """
    groups = find_groups(scenes, known)
    before = {row.pair_id: row for row in known}
    return tuple(_assign(row, groups.get(row.pair_id, ""), before.get(row.pair_id)) for row in rows)


def find_groups(scenes: Sequence[Scene], known: Sequence[PairRow]) -> dict[str, str]:
    """The group of every usable pair.

    A pair is known by its two files, or by its id as long as it looks the same, and keeps its group for good: also where a new pair is
    near to two known groups, which then joins the one it is most alike to. Known pairs that are not among the scenes have no signature
    any more and are compared by their hashes alone. New groups are named after their subject, or else after the first of their hashes:
    a store that begins with other pairs of a scene may name, and so split, it otherwise.

    Args:
        scenes: in any order.
        known: rows of the newest snapshot, in any order; those without a group count for nothing.

    Returns:
        The group by pair_id.
    """
    scenes = sorted(scenes, key=lambda scene: scene.row.pair_id)
    known = sorted((row for row in known if row.group and row.scene_hash), key=lambda row: row.pair_id)
    held = _recognise(scenes, known)
    present = {row.pair_id for row in held.values()}
    absent = [row for row in known if row.pair_id not in present]
    labels = [held[scene.row.pair_id].group if scene.row.pair_id in held else "" for scene in scenes] + [row.group for row in absent]
    links = [*_link_subjects(scenes), *_link_near(scenes, labels), *_link_absent(scenes, absent)]
    return _name_groups(scenes, *_join(links, labels))


def find_near(some: Hashes, others: Hashes) -> NDArray[np.intp]:
    """The places, `(couples, 2)`, of every two pictures, one of `some` and one of `others`, whose hashes are near; in their order.

    Args:
        some: perceptual hashes `(M,)`; M times N distances are held at once.
        others: perceptual hashes `(N,)`.
    """
    return np.argwhere(np.bitwise_count(some[:, None] ^ others) <= NEAR_HASH)


def _assign(row: PairRow, group: str, before: PairRow | None) -> PairRow:
    if group:
        return replace(row, group=group, split=choose_split(group))
    return replace(row, group=before.group, split=before.split, scene_hash=before.scene_hash) if before else row


def _recognise(scenes: Sequence[Scene], known: Sequence[PairRow]) -> dict[str, PairRow]:
    """The known row of every pair that has one: with the same files, or of the same name and looks, so that no other scene inherits it."""
    by_id = {row.pair_id: row for row in known}
    by_files = {(row.a_hash, row.b_hash): row for row in reversed(known)}
    found = {}
    for scene in scenes:
        own, files = by_id.get(scene.row.pair_id), (scene.row.a_hash, scene.row.b_hash)
        if own and files == (own.a_hash, own.b_hash):
            found[scene.row.pair_id] = own
        elif files in by_files:
            found[scene.row.pair_id] = by_files[files]
        elif own and min(_compare(scene, own)) <= NEAR_HASH:
            found[scene.row.pair_id] = own
    return found


def _compare(scene: Scene, row: PairRow) -> tuple[int, int]:
    """In how many bits the hashes of `a` and of `b` differ from those that are stored."""
    a, b = (one ^ other for one, other in zip(scene.signature.hashes, read_hashes(row.scene_hash), strict=True))
    return a.bit_count(), b.bit_count()


def _link_subjects(scenes: Sequence[Scene]) -> Iterator[_Link]:
    """Every pair to the one before it of the same subject, ahead of all that merely look alike."""
    last: dict[str, int] = {}
    for place, scene in enumerate(scenes):
        if scene.name:
            if scene.name in last:
                yield _Link(-math.inf, last[scene.name], place)
            last[scene.name] = place


def _link_near(scenes: Sequence[Scene], labels: Sequence[str]) -> Iterator[_Link]:
    """All near pairs but those that both have their groups already, and those of which one source says that they show two subjects."""
    hashes = np.array([scene.signature.hashes for scene in scenes], np.uint64).ravel()
    likeness: dict[tuple[int, int], float] = defaultdict(float)
    for one, other in _find_couples(hashes):
        places = one // 2, other // 2
        if not all(labels[place] for place in places) and not _are_apart(*(scenes[place] for place in places)):
            vectors = (scenes[picture // 2].signature.vectors[picture % 2].astype(np.float32) for picture in (one, other))
            likeness[places] = max(likeness[places], float(np.dot(*vectors)))
    # rounded, or the last bit of a sum would decide between two that are equally alike
    return (_Link(-round(alike, 4), *places) for places, alike in likeness.items() if alike >= NEAR_STRUCTURE)


def _find_couples(hashes: Hashes) -> Iterator[tuple[int, int]]:
    """The places of any two pictures of different pairs whose hashes are near, the smaller first; `a` and `b` of a pair are neighbours."""
    for start in range(0, len(hashes), CHUNK):
        for one, other in find_near(hashes[start : start + CHUNK], hashes[start:]) + start:
            if one // 2 < other // 2:
                yield int(one), int(other)


def _are_apart(one: Scene, other: Scene) -> bool:
    return bool(one.name and other.name) and one.row.source == other.row.source and one.subject != other.subject


def _link_absent(scenes: Sequence[Scene], absent: Sequence[PairRow]) -> Iterator[_Link]:
    """Every pair to the absent ones of nearly equal hashes; without signatures both pictures must be alike."""
    if not scenes or not absent:
        return
    hashes = np.array([scene.signature.hashes for scene in scenes], np.uint64)
    for number, row in enumerate(absent):
        distances = np.bitwise_count(hashes ^ np.array(read_hashes(row.scene_hash), np.uint64)).max(axis=1)
        for place in np.flatnonzero(distances <= SAME_HASH):
            yield _Link(int(distances[place]) / 64 - 1, int(place), len(scenes) + number)


def _join(links: Iterable[_Link], labels: Sequence[str]) -> tuple[list[int], dict[int, str]]:
    """Join along the links, the most alike first, but never two that have different labels already.

    Returns:
        For every place the first place that it hangs together with, and the labels of these.
    """
    roots = list(range(len(labels)))
    label = dict(enumerate(labels))

    def find(place: int) -> int:
        while roots[place] != place:
            roots[place] = roots[roots[place]]
            place = roots[place]
        return place

    for _, one, other in sorted(links):
        first, second = sorted((find(one), find(other)))
        if not (label[first] and label[second] and label[first] != label[second]):
            roots[second] = first
            label[first] = label[first] or label[second]
    return [find(place) for place in range(len(labels))], label


def _name_groups(scenes: Sequence[Scene], roots: Sequence[int], labels: Mapping[int, str]) -> dict[str, str]:
    members: dict[int, list[Scene]] = defaultdict(list)
    for scene, root in zip(scenes, roots, strict=False):  # absent pairs come after the scenes
        members[root].append(scene)
    names = {root: labels[root] or _found(together) for root, together in members.items()}
    return {scene.row.pair_id: names[root] for root, together in members.items() for scene in together}


def _found(scenes: Sequence[Scene]) -> str:
    """The name of a new group; of the perceptual hash, which other encoders and releases of libraries leave as it is."""
    subjects = sorted(scene.name for scene in scenes if scene.name)
    first = min(scene.row.scene_hash for scene in scenes)
    return subjects[0] if subjects else hashlib.sha256(first.encode()).hexdigest()[:12]
