"""Tests of storage.journal: an entry is there when it is whole, and one that is not does no harm."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import journal
from storage.errors import StoreError
from storage.files import Files, hash_bytes, parse_location
from storage.journal import Entry, Note
from storage.planes import unstack
from storage.schema import COPY_OF_SOURCE, FAILED, OK, ScoreRow

METRICS = ("ssim", "vif")
PARQUET, RAW, CANDIDATES = "journal/key.parquet", "journal/key.planes", "journal/key.candidates.planes"
RNG = np.random.default_rng(0)
PICTURES = {name: RNG.integers(0, 256, shape, np.uint8) for name, shape in (("a", (9, 7)), ("b", (9, 7, 3)), ("winner", (9, 7, 3)))}
MADE = {name: RNG.integers(0, 256, (9, 7, 3), np.uint8) for name in ("average", "published:v1.2")}
ROWS = (
    ScoreRow(
        pair_id="street/01",
        method="average",
        version="1",
        content_key="1",
        status=OK,
        flags=(COPY_OF_SOURCE,),
        scores={"ssim": 1.5, "vif": 0.25},
    ),
    ScoreRow(pair_id="street/01", method="gff", version="2", content_key="2", status=FAILED, reason="raised", message="no é"),
)
Damage = Callable[[bytes], bytes]


@pytest.fixture
def local(tmp_path: Path) -> Files:
    """The files of a store in a folder."""
    return Files(parse_location(str(tmp_path)))


def write(files: Files, key: str = "key") -> None:
    """An entry with everything."""
    journal.write_entry(files, key, ROWS, METRICS, PICTURES, MADE)


def test_an_entry_comes_back_as_it_was(files: Files) -> None:
    write(files)
    assert journal.has_entry(files, "key")
    entry = journal.read_entries(files)["key"]
    pictures = unstack(journal.read_planes(files, entry), entry.planes)
    made = unstack(journal.read_candidates(files, entry), entry.candidate_planes)
    assert (entry.key, repr(entry.rows)) == ("key", repr(ROWS))
    assert entry.image_hash == hash_bytes(journal.read_planes(files, entry).tobytes())
    assert entry.candidates_hash not in ("", entry.image_hash)
    for found, wanted in ((pictures, PICTURES), (made, MADE)):
        assert list(found) == list(wanted)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_an_entry_may_have_no_pictures_and_no_rows(files: Files) -> None:
    journal.write_entry(files, "key", (), METRICS, {}, {})
    assert journal.read_entries(files) == {"key": Entry("key", ())}
    assert files.list("journal") == (PARQUET,)


def test_an_empty_journal_has_no_entries(files: Files) -> None:
    assert journal.read_entries(files) == {}
    assert not journal.has_entry(files, "key")


def test_an_entry_is_there_only_when_its_rows_are(local: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Files, "jot", refuse_rows)
        with pytest.raises(OSError, match="the disk is full"):
            write(local)
    assert local.list("journal") == (CANDIDATES, RAW)
    assert not journal.has_entry(local, "key")
    assert journal.read_entries(local) == {}
    write(local)
    assert list(journal.read_entries(local)) == ["key"]


def refuse_rows(files: Files, path: str, content: bytes) -> None:
    """Write pictures only."""
    if path.endswith(".parquet"):
        raise OSError("the disk is full")
    files.write(path, content)


def test_deleting_entries_leaves_nothing_of_them(files: Files) -> None:
    write(files)
    write(files, "other")
    journal.write_note(files, "key", Note(True, "gff"))
    journal.delete_entries(files, ["key", "never there"])
    assert list(journal.read_entries(files)) == ["other"]
    assert not [path for path in files.list("journal") if "/key." in path]


def test_a_note_comes_back_as_it_was(files: Files) -> None:
    note = Note(True, "gff", ("pca",), ("tif",))
    journal.write_note(files, "key", note)
    assert journal.read_note(files, "key") == note
    assert journal.read_note(files, "other") == Note()


def test_a_finished_pair_has_no_note(local: Files) -> None:
    journal.write_note(local, "key", Note(True, "gff"))
    write(local)
    assert journal.read_note(local, "key") == Note()


def test_a_new_build_forgets_notes_and_half_deleted_entries_and_keeps_whole_ones(local: Files) -> None:
    write(local)
    whole = local.list("journal")
    journal.write_note(local, "left", Note(True, "gff"))
    write(local, "cut")
    local.delete("journal/cut.parquet")
    journal.delete_leftovers(local)
    assert local.list("journal") == whole
    assert journal.read_note(local, "left") == Note()
    assert list(journal.read_entries(local)) == ["key"]


def cut(length: int) -> Damage:
    """Keep the first bytes only."""
    return lambda content: content[:length]


def flip(place: int) -> Damage:
    """Turn one bit."""
    return lambda content: content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def take_column(content: bytes) -> bytes:
    """The rows as a version with one column less wrote them."""
    return parquet(pq.read_table(pa.BufferReader(content)).drop_columns(["message"]))


def take_header(content: bytes) -> bytes:
    """The rows as they are, with nothing beside them."""
    return parquet(pq.read_table(pa.BufferReader(content)).replace_schema_metadata(None))


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


ROW_DAMAGES = [
    cut(0),
    cut(3),
    cut(500),
    cut(-1),
    lambda _: b"no parquet",
    lambda content: content + b"\0",
    flip(60),
    take_column,
    take_header,
]


@pytest.mark.parametrize("damage", ROW_DAMAGES)
def test_an_entry_with_damaged_rows_is_deleted_with_a_warning(local: Files, damage: Damage, caplog: pytest.LogCaptureFixture) -> None:
    write(local)
    write(local, "other")
    local.write(PARQUET, damage(local.read(PARQUET)))
    with caplog.at_level(logging.WARNING, "storage.journal"):
        assert list(journal.read_entries(local)) == ["other"]
    assert [record.name for record in caplog.records] == ["storage.journal"]
    assert "journal entry key cannot be read" in caplog.text
    assert "its pair will be evaluated again" in caplog.text
    assert not [path for path in local.list("journal") if "/key." in path]


@pytest.mark.parametrize("path", [RAW, CANDIDATES])
def test_an_entry_without_its_pictures_is_deleted_with_a_warning(files: Files, path: str, caplog: pytest.LogCaptureFixture) -> None:
    write(files)
    files.delete(path)
    with caplog.at_level(logging.WARNING, "storage.journal"):
        assert journal.read_entries(files) == {}
    assert f"{path} is missing" in caplog.text
    assert not journal.has_entry(files, "key")


def test_an_entry_that_is_published_meanwhile_is_left_out(local: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    write(local)
    monkeypatch.setattr(Files, "list", lambda *_: (PARQUET, "journal/gone.parquet"))
    assert list(journal.read_entries(local)) == ["key"]


def test_trouble_with_the_disk_is_no_damage(local: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    write(local)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="timed out"):
        patch.setattr(Files, "read", time_out)
        journal.read_entries(local)
    assert list(journal.read_entries(local)) == ["key"]


def time_out(*_: object) -> bytes:
    """What a network disk may do."""
    raise OSError("timed out")


def turn(content: bytes) -> bytes:
    """Other planes of the same size."""
    header, planes = content[:12], content[12:]
    return header + planes[::-1]


PICTURE_DAMAGES = [cut(0), cut(9), cut(100), cut(-1), flip(0), flip(20), flip(-1), lambda _: b"no array", turn]


@pytest.mark.parametrize(("path", "read"), [(RAW, journal.read_planes), (CANDIDATES, journal.read_candidates)])
@pytest.mark.parametrize("damage", PICTURE_DAMAGES)
def test_damaged_pictures_are_refused_and_made_anew_next_time(
    local: Files, path: str, read: Callable[[Files, Entry], object], damage: Damage
) -> None:
    write(local)
    entry = journal.read_entries(local)["key"]
    local.write(path, damage(local.read(path)))
    with pytest.raises(StoreError, match=f"{path} cannot be read .*run the same command again"):
        read(local, entry)
    assert journal.read_entries(local) == {}


def test_pictures_that_are_gone_are_told(files: Files) -> None:
    write(files)
    entry = journal.read_entries(files)["key"]
    files.delete(RAW)
    with pytest.raises(StoreError, match="run the same command again"):
        journal.read_planes(files, entry)
    assert not journal.has_entry(files, "key")
