"""The journal: what a build has finished and not yet published, pair by pair, so that a killed build loses nothing.

A pair's entry is its score rows in Parquet and its pictures as `.npy` beside them. The pictures are written first: an entry is there
when its rows are. A note says which method a pair is in, so that the next process knows where the last one died.
Entries are found by key, and a key covers everything that made the entry, so a stale entry is never taken for a fresh one.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.files import Files, hash_bytes
from storage.planes import Planes, stack
from storage.schema import ScoreRow, scores_schema
from storage.tables import to_score_rows, to_table

FOLDER = "journal"
_PLANES, _HASH, _CANDIDATES = b"planes", b"image_hash", b"candidate_planes"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one finished pair, without its pictures.

    Attributes:
        key: the pair's key.
        rows: its new score rows.
        planes: the names of the planes of its pictures; empty where none were kept.
        image_hash: sha256 of the planes' bytes.
        candidate_planes: the names of the planes of all candidates, where all are kept.
    """

    key: str
    rows: tuple[ScoreRow, ...]
    planes: tuple[str, ...] = ()
    image_hash: str = ""
    candidate_planes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Where a pair's evaluation stands: the method it is in, how often the process died in each, which ran out of time."""

    running: str = ""
    deaths: Mapping[str, int] = field(default_factory=dict)
    timeouts: tuple[str, ...] = ()


def write_entry(
    files: Files,
    key: str,
    rows: Iterable[ScoreRow],
    metrics: tuple[str, ...],
    pictures: Mapping[str, NDArray[np.uint8]],
    candidates: Mapping[str, NDArray[np.uint8]],
) -> None:
    """Keep one finished pair; `pictures` are its sources and winner, `candidates` all its candidates where all are kept."""
    planes: tuple[str, ...] = ()
    candidate_planes: tuple[str, ...] = ()
    image_hash = ""
    if pictures:
        array, planes = stack(pictures)
        image_hash = hash_bytes(array.tobytes())
        files.write(f"{FOLDER}/{key}.npy", _to_npy(array))
    if candidates:
        array, candidate_planes = stack(candidates)
        files.write(f"{FOLDER}/{key}.candidates.npy", _to_npy(array))
    header = {_PLANES: json.dumps(planes), _HASH: image_hash, _CANDIDATES: json.dumps(candidate_planes)}
    table = to_table(rows, scores_schema(metrics)).replace_schema_metadata(header)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    files.write(f"{FOLDER}/{key}.parquet", sink.getvalue())
    delete_note(files, key)


def read_entries(files: Files) -> dict[str, Entry]:
    """Every finished pair in the journal, by key."""
    paths = (path for path in files.list(FOLDER) if path.endswith(".parquet"))
    return {entry.key: entry for entry in (_read_entry(files, path) for path in paths)}


def has_entry(files: Files, key: str) -> bool:
    """Whether a pair is finished."""
    return files.exists(f"{FOLDER}/{key}.parquet")


def read_planes(files: Files, key: str) -> Planes:
    """The pictures of one finished pair."""
    return _from_npy(files.read(f"{FOLDER}/{key}.npy"))


def read_candidates(files: Files, key: str) -> Planes:
    """All candidates of one finished pair."""
    return _from_npy(files.read(f"{FOLDER}/{key}.candidates.npy"))


def delete_entries(files: Files, keys: Iterable[str]) -> None:
    """Forget finished pairs, because they are published."""
    for key in keys:
        for ending in ("parquet", "npy", "candidates.npy"):
            files.delete(f"{FOLDER}/{key}.{ending}")
        delete_note(files, key)


def write_note(files: Files, key: str, note: Note) -> None:
    """Note where a pair's evaluation stands."""
    content = {"running": note.running, "deaths": dict(note.deaths), "timeouts": list(note.timeouts)}
    files.jot(f"{FOLDER}/{key}.json", json.dumps(content).encode())


def read_note(files: Files, key: str) -> Note:
    """Where a pair's evaluation stood when its process ended; empty where there is no note."""
    try:
        content = json.loads(files.read(f"{FOLDER}/{key}.json"))
    except FileNotFoundError:
        return Note()
    return Note(content["running"], content["deaths"], tuple(content["timeouts"]))


def delete_notes(files: Files) -> None:
    """Forget where every pair stood: a new build starts, and nothing runs."""
    for path in files.list(FOLDER):
        if path.endswith(".json"):
            files.delete(path)


def delete_note(files: Files, key: str) -> None:
    """Forget where a pair's evaluation stood, because it is over."""
    files.delete(f"{FOLDER}/{key}.json")


def _read_entry(files: Files, path: str) -> Entry:
    table = pq.read_table(pa.BufferReader(files.read(path)))
    header = table.schema.metadata
    return Entry(
        key=path.removeprefix(f"{FOLDER}/").removesuffix(".parquet"),
        rows=tuple(to_score_rows(table)),
        planes=tuple(json.loads(header[_PLANES])),
        image_hash=header[_HASH].decode(),
        candidate_planes=tuple(json.loads(header[_CANDIDATES])),
    )


def _to_npy(planes: Planes) -> bytes:
    sink = io.BytesIO()
    np.save(sink, planes, allow_pickle=False)
    return sink.getvalue()


def _from_npy(content: bytes) -> Planes:
    planes: Planes = np.load(io.BytesIO(content), allow_pickle=False)
    return planes
