"""The journal: what a build has finished and not yet published, pair by pair, so that a killed build loses nothing.

A pair's entry is its score rows in Parquet and its pictures as raw planes beside them. The pictures are written first: an entry is there
when its rows are. A note says where a pair's evaluation stands, so that the next process knows that the last one died, and in what.
Entries are found by key, and a key covers everything that made the entry, so a stale entry is never taken for a fresh one.
An entry that a failing disk or an older version left unreadable is deleted, and its pair is done again.
"""

import io
import json
import logging
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.errors import SchemaMismatch, StoreError
from storage.files import Files, hash_bytes
from storage.planes import Planes, stack
from storage.schema import ScoreRow, metric_columns, scores_schema
from storage.tables import parse_table, to_score_rows, to_table

FOLDER = "journal"
PLANES = ".planes"
# Before the planes' bytes stand how many there are, their height and their width. NumPy's own format writes its header as Python text, and
# reading that in two threads at once fails now and then (cpython issue 106905).
_SHAPE = struct.Struct("<3I")
_PLANES, _HASH = b"planes", b"image_hash"
_CANDIDATES, _CANDIDATES_HASH = b"candidate_planes", b"candidates_hash"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one finished pair, without its pictures.

    Attributes:
        key: the pair's key.
        rows: its score rows.
        planes: the names of the planes of its pictures; empty where none were kept.
        image_hash: sha256 of the planes' bytes.
        candidate_planes: the names of the planes of all candidates, where all are kept.
        candidates_hash: sha256 of their bytes.
    """

    key: str
    rows: tuple[ScoreRow, ...]
    planes: tuple[str, ...] = ()
    image_hash: str = ""
    candidate_planes: tuple[str, ...] = ()
    candidates_hash: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Where a pair's evaluation stands.

    Attributes:
        begun: a process is at it, or died at it.
        running: the method that process was in, if it was careful enough to say so.
        deadly: methods that took processes with them.
        timeouts: methods that ran out of time.
    """

    begun: bool = False
    running: str = ""
    deadly: tuple[str, ...] = ()
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
    planes, image_hash = _write_pictures(files, _pictures_path(key), pictures)
    candidate_planes, candidates_hash = _write_pictures(files, _candidates_path(key), candidates)
    header = {
        _PLANES: json.dumps(planes),
        _HASH: image_hash,
        _CANDIDATES: json.dumps(candidate_planes),
        _CANDIDATES_HASH: candidates_hash,
    }
    table = to_table(rows, scores_schema(metrics)).replace_schema_metadata(header)
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    files.jot(_rows_path(key), sink.getvalue())
    delete_note(files, key)


def read_entries(files: Files) -> dict[str, Entry]:
    """Every finished pair in the journal, by key; an entry that cannot be read is deleted."""
    keys = (path.removeprefix(f"{FOLDER}/").removesuffix(".parquet") for path in files.list(FOLDER) if path.endswith(".parquet"))
    found = (_read_or_delete(files, key) for key in keys)
    return {entry.key: entry for entry in found if entry}


def has_entry(files: Files, key: str) -> bool:
    """Whether a pair is finished."""
    return files.exists(_rows_path(key))


def read_planes(files: Files, entry: Entry) -> Planes:
    """The pictures of one finished pair.

    Raises:
        StoreError: they are not what was written; the entry is deleted.
    """
    return _read_pictures(files, entry.key, _pictures_path(entry.key), entry.image_hash)


def read_candidates(files: Files, entry: Entry) -> Planes:
    """All candidates of one finished pair; raises as `read_planes`."""
    return _read_pictures(files, entry.key, _candidates_path(entry.key), entry.candidates_hash)


def delete_entries(files: Files, keys: Iterable[str]) -> None:
    """Forget finished pairs, because they are published."""
    for key in keys:
        for path in (_rows_path(key), _pictures_path(key), _candidates_path(key)):
            files.delete(path)
        delete_note(files, key)


def write_note(files: Files, key: str, note: Note) -> None:
    """Note where a pair's evaluation stands."""
    files.jot(f"{FOLDER}/{key}.json", json.dumps(asdict(note)).encode())


def read_note(files: Files, key: str) -> Note:
    """Where a pair's evaluation stood when its process ended; empty where there is no note."""
    try:
        content = json.loads(files.read(f"{FOLDER}/{key}.json"))
    except FileNotFoundError:
        return Note()
    return Note(content["begun"], content["running"], tuple(content["deadly"]), tuple(content["timeouts"]))


def delete_leftovers(files: Files) -> None:
    """Forget where every pair stood, and pictures without rows: a new build starts, and nothing runs."""
    paths = files.list(FOLDER)
    entries = {path.removesuffix(".parquet") for path in paths if path.endswith(".parquet")}
    for path in paths:
        belongs = path.endswith(".parquet") or path.removesuffix(PLANES).removesuffix(".candidates") in entries
        if not belongs:
            files.delete(path)


def delete_note(files: Files, key: str) -> None:
    """Forget where a pair's evaluation stood, because it is over."""
    files.delete(f"{FOLDER}/{key}.json")


def _rows_path(key: str) -> str:
    return f"{FOLDER}/{key}.parquet"


def _pictures_path(key: str) -> str:
    return f"{FOLDER}/{key}{PLANES}"


def _candidates_path(key: str) -> str:
    return f"{FOLDER}/{key}.candidates{PLANES}"


def _write_pictures(files: Files, path: str, pictures: Mapping[str, NDArray[np.uint8]]) -> tuple[tuple[str, ...], str]:
    """Write pictures, if there are any; the names of their planes and the hash of the planes' bytes."""
    if not pictures:
        return (), ""
    array, names = stack(pictures)
    planes = array.tobytes()
    files.jot(path, _SHAPE.pack(*array.shape) + planes)
    return names, hash_bytes(planes)


def _read_or_delete(files: Files, key: str) -> Entry | None:
    try:
        entry = _parse_entry(key, files.read(_rows_path(key)))
        _check_pictures(files, entry)
    except FileNotFoundError:
        return None  # a build elsewhere has just published it
    except SchemaMismatch as error:
        logger.warning("%s; it was deleted, and its pair will be evaluated again", error)
        delete_entries(files, [key])
        return None
    return entry


def _parse_entry(key: str, content: bytes) -> Entry:
    try:
        table = parse_table(content)
        if not table.schema.equals(scores_schema(metric_columns(table.schema))):
            raise SchemaMismatch("its columns are not those of a scores table")
        header = table.schema.metadata
        return Entry(
            key=key,
            rows=tuple(to_score_rows(table)),
            planes=tuple(json.loads(header[_PLANES])),
            image_hash=header[_HASH].decode(),
            candidate_planes=tuple(json.loads(header[_CANDIDATES])),
            candidates_hash=header[_CANDIDATES_HASH].decode(),
        )
    except Exception as error:  # a damaged file makes its parser raise anything at all
        raise SchemaMismatch(f"journal entry {key} cannot be read ({error})") from error


def _check_pictures(files: Files, entry: Entry) -> None:
    """Refuse an entry whose pictures are gone; whether they are whole shows when they are read."""
    wanted = ((entry.planes, _pictures_path(entry.key)), (entry.candidate_planes, _candidates_path(entry.key)))
    missing = [path for names, path in wanted if names and not files.exists(path)]
    if missing:
        raise SchemaMismatch(f"journal entry {entry.key} cannot be read ({missing[0]} is missing)")


def _read_pictures(files: Files, key: str, path: str, digest: str) -> Planes:
    try:
        return _parse_pictures(files.read(path), digest)
    except (FileNotFoundError, SchemaMismatch) as error:
        delete_entries(files, [key])
        raise StoreError(f"{path} cannot be read ({error}); it was deleted: run the same command again, which makes it anew") from error


def _parse_pictures(content: bytes, digest: str) -> Planes:
    planes = content[_SHAPE.size :]
    found = hash_bytes(planes)
    if found != digest:
        raise SchemaMismatch(f"its planes have sha256 {found[:16]}…, {digest[:16]}… were written")
    try:
        return np.frombuffer(planes, np.uint8).reshape(_SHAPE.unpack_from(content))
    except ValueError as error:
        raise SchemaMismatch(str(error)) from error
