"""Layouts: how a snapshot lies in a folder for those who do not have this project. One file each; here is what they have in common.

A layout is a function `(job) -> Description`: it writes the pictures and tables below `job.folder` and tells what it wrote.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.licences import Claim
from storage.schema import PairRow, SelectionRow

Json = dict[str, Any]
MAX_STEM = 80  # characters; with every ending still short enough for the oldest tar header
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))})
"""What Windows takes for devices, in any case and before any ending."""

PICTURES = ("a", "b", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One pair of an export, without its pictures.

    Attributes:
        pair: the pair's row.
        selection: what was picked for it.
        stem: its name in every file name: letters, digits, `-` and `_` alone, different from all others in any case.
        method_licence: of the winner's method, empty where nobody said.
        scores: the winner's, by metric; those that are undefined are left out.
    """

    pair: PairRow
    selection: SelectionRow
    stem: str
    method_licence: str
    scores: Mapping[str, float]

    def list_claims(self) -> tuple[Claim, ...]:
        """The licences of its pictures and of its winner's method."""
        origin = f"the pictures of {self.pair.source}" if self.pair.source else "the pictures"
        return Claim(self.pair.licence, origin), Claim(self.method_licence, f"method {self.selection.method}")


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one pair, each as the bytes of a PNG file."""

    a: bytes
    b: bytes
    target: bytes

    @property
    def size(self) -> int:
        """All bytes together."""
        return len(self.a) + len(self.b) + len(self.target)

    def hashes(self) -> dict[str, str]:
        """The sha256 of each file."""
        return {f"{name}_sha256": hashlib.sha256(getattr(self, name)).hexdigest() for name in PICTURES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a layout writes, and where to.

    Attributes:
        folder: there, and empty.
        entries: ordered by pair_id.
        metrics: whose scores the entries have.
        read: gives the pictures of some entries, one after the other, in their order.
        shard_bytes: the size at which a shard is full.
        visible: "a" or "b", the source that is the visible one where the modalities' names do not tell; empty to look for colour.
    """

    folder: Path
    entries: tuple[Entry, ...]
    metrics: tuple[str, ...]
    read: Callable[[Sequence[Entry]], Iterator[tuple[Entry, Pictures]]]
    shard_bytes: int
    visible: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a layout wrote.

    Attributes:
        entries: the pairs.
        notes: sentences on what was left out or is missing.
        loading: how the folder is read, as Markdown.
        distribution: the files, as Croissant describes them.
        record_sets: what can be read from them, likewise.
        header: more fields of the card's header.
    """

    entries: tuple[Entry, ...]
    loading: str
    distribution: list[Json]
    record_sets: list[Json]
    notes: tuple[str, ...] = ()
    header: Json = field(default_factory=dict)


def make_stems(pair_ids: Collection[str]) -> dict[str, str]:
    """A name for the files of each pair, from its id; ids that would get the same one, in any case, are told apart by their hashes."""
    bare = {pair_id: clean(pair_id)[:MAX_STEM] or "pair" for pair_id in pair_ids}
    often = Counter(stem.casefold() for stem in bare.values())
    digests = {pair_id: _hash(pair_id) for pair_id in bare}
    stems = {
        pair_id: stem if often[stem.casefold()] == 1 else f"{stem[: MAX_STEM - 17]}-{digests[pair_id][:16]}"
        for pair_id, stem in bare.items()
    }
    return stems if len({one.casefold() for one in stems.values()}) == len(stems) else digests


def clean(name: str) -> str:
    """A name as every file system takes it: letters, digits, `-` and `_`, and no device of Windows."""
    plain = spell_plainly(name)
    return f"{plain}-{_hash(name)[:16]}" if plain.casefold() in RESERVED else plain


def spell_plainly(name: str) -> str:
    """A name in letters, digits, `-` and `_`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")


def describe_entry(entry: Entry) -> Json:
    """An entry as flat JSON, without its scores; what is undefined is null."""
    pair, chosen = entry.pair, entry.selection
    return {
        "pair_id": pair.pair_id,
        "stem": entry.stem,
        "split": pair.split,
        "source": pair.source,
        "task": pair.task,
        "a_modality": pair.a_modality,
        "b_modality": pair.b_modality,
        "height": pair.height,
        "width": pair.width,
        "method": chosen.method,
        "value": to_number(chosen.value),
        "runner_up": chosen.runner_up,
        "margin": to_number(chosen.margin),
        "flags": " ".join(chosen.flags),
        "group": pair.group,
        "licence": pair.licence,
        "method_licence": entry.method_licence,
    }


def list_scores(entry: Entry) -> dict[str, float]:
    """The winner's scores as columns."""
    return {f"score_{name}": score for name, score in entry.scores.items()}


def to_number(value: float | None) -> float | None:
    """A number as JSON knows it."""
    return value if value is not None and math.isfinite(value) else None


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
