"""What a scene looks like: in 64 x 64 numbers, to tell whether two pictures show the same edges, and in 64 bits, to find it among many.

A fused image keeps the edges of its sources. The signature is the logarithm of the gradient magnitude, averaged over a 64 x 64 grid: a
published result correlates best with its own pair, unless its name is wrong. The perceptual hash is of the coarse brightness: of any
size and encoding, a picture has nearly the same. Both together tell pairs of one scene; see `prior.groups`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from prior.arrays import Picture

SIDE = 64
MARGIN = 0.02  # a better correlation with another pair counts from here: above the differences within one scene
CHUNK = 1024  # pairs compared at a time, which bounds memory
COARSE, KEPT = 32, 8  # the picture's side for its hash, and the lowest frequencies of it that count
DIGITS = 16  # of one hash, hexadecimal

Signature = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PairSignature:
    """The signatures of a pair's two sources.

    Attributes:
        pair_id: of the pair.
        size: height and width of its pictures.
        vectors: float16 `(2, 4096)`, `a` first, each of zero mean and unit norm.
        hashes: the perceptual hashes, `a` first.
    """

    pair_id: str
    size: tuple[int, int]
    vectors: NDArray[np.float16]
    hashes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SignatureGroup:
    """The signatures of all pairs of one size.

    Attributes:
        pair_ids: in the order of the matrix.
        matrix: float16 `(pairs, 2, 4096)`.
    """

    pair_ids: tuple[str, ...]
    matrix: NDArray[np.float16]


def signature(luma: Picture) -> Signature:
    """The signature of one picture.

    Args:
        luma: 8-bit luma `(H, W)`.

    Returns:
        float32 `(4096,)` of zero mean and unit norm; zeros where the picture is flat.
    """
    image = luma.astype(np.float32)
    magnitude = cv2.magnitude(cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8))
    cells = cv2.resize(np.log1p(magnitude), (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    cells -= cells.mean()
    norm = float(np.linalg.norm(cells))
    return (cells / np.float32(norm) if norm > 0 else cells).astype(np.float32)


def perceptual_hash(luma: Picture) -> int:
    """The perceptual hash of one picture: which of its lowest cosine frequencies are above their median.

    After C. Zauner, "Implementation and benchmarking of perceptual image hash functions", FH Hagenberg 2010 (pHash).

    Args:
        luma: 8-bit luma `(H, W)`.

    Returns:
        64 bits; those of two pictures of one scene differ in few places.
    """
    coarse = cv2.resize(luma.astype(np.float32), (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    # rounded, or frequencies that are not there would have the sign of the last bit
    waves = np.round(cv2.dct(coarse)[:KEPT, :KEPT].ravel(), 2)
    return int.from_bytes(np.packbits(waves > np.median(waves[1:])).tobytes(), "big")


def sign_pair(pair_id: str, a: Picture, b: Picture) -> PairSignature:
    """The signatures of a pair's two lumas."""
    height, width = a.shape
    vectors = np.stack([signature(a), signature(b)]).astype(np.float16)
    return PairSignature(pair_id, (height, width), vectors, (perceptual_hash(a), perceptual_hash(b)))


def write_hashes(hashes: tuple[int, int]) -> str:
    """A pair's perceptual hashes as the text that the store keeps: 16 hexadecimal digits each."""
    return "".join(f"{one:0{DIGITS}x}" for one in hashes)


def read_hashes(text: str) -> tuple[int, int]:
    """The reverse of `write_hashes`."""
    return int(text[:DIGITS], 16), int(text[DIGITS:], 16)


def group_signatures(signed: Iterable[PairSignature]) -> dict[tuple[int, int], SignatureGroup]:
    """Signatures in one matrix per size, ordered by pair: only pairs of one size can be mistaken for each other."""
    groups: dict[tuple[int, int], list[PairSignature]] = {}
    for one in sorted(signed, key=lambda pair: pair.pair_id):
        groups.setdefault(one.size, []).append(one)
    return {
        size: SignatureGroup(tuple(pair.pair_id for pair in pairs), np.stack([pair.vectors for pair in pairs]))
        for size, pairs in groups.items()
    }


def find_other_pair(shown: Signature, pair_id: str, group: SignatureGroup) -> tuple[str, float] | None:
    """The pair that a result shows, if it is another one.

    Args:
        shown: signature of the result.
        pair_id: the pair whose name the result bears.
        group: all pairs of the result's size.

    Returns:
        The other pair, and by how much the result correlates better with it; None where it shows its own pair, or where its own pair
        is not in the group.
    """
    if pair_id not in group.pair_ids:
        return None
    own = group.pair_ids.index(pair_id)
    likeness = _correlate(shown, group.matrix)
    gain = likeness - likeness[own]
    best = int(gain.argmax())
    return (group.pair_ids[best], float(gain[best])) if gain[best] > MARGIN else None


def _correlate(shown: Signature, matrix: NDArray[np.float16]) -> Signature:
    """The correlation of one signature with every pair: the larger of those with `a` and `b`."""
    chunks = (matrix[start : start + CHUNK].astype(np.float32) for start in range(0, len(matrix), CHUNK))
    likeness: Signature = np.concatenate([(chunk @ shown).max(axis=1) for chunk in chunks])
    return likeness
