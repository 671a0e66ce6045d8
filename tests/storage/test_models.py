"""Tests of storage.models: the history of champions, the way back, and the weights that are kept."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import CommitConflict, InputError, SchemaMismatch, StoreError
from storage.files import Files, hash_bytes, parse_location
from storage.models import (
    FACTS,
    REGISTRY,
    WEIGHTS,
    append_model,
    find_champion,
    find_former,
    keep_student,
    open_folder,
    read_models,
)
from storage.schema import FIRST, KEPT, MODELS, PROMOTED, ROLLED_BACK, ModelRow

ROOT = Path(__file__).resolve().parents[2]

APPEND = """
import sys
from storage.files import Files, parse_location
from storage.models import append_model
from storage.schema import KEPT, PROMOTED, ModelRow
from storage.errors import CommitConflict

files, name = Files(parse_location(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    append_model(files, ModelRow(decision=KEPT, champion="", challenger=f"{name}{number}"), "")
print("appended", flush=True)
sys.stdin.readline()
try:
    append_model(files, ModelRow(decision=PROMOTED, champion=name), "")
    print("won")
except CommitConflict:
    print("lost")
"""
KEEP_AND_DIE = """
import os, signal, sys
from storage.files import Files, parse_location
from storage.models import keep_student

keep_student(Files(parse_location(sys.argv[1])), {"student.safetensors": b"weights", "checkpoint.json": b"{}"})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def local(tmp_path: Path) -> Files:
    """The files of a store in a folder."""
    return Files(parse_location(str(tmp_path / "store")))


def draw_contents(text: str = "weights") -> dict[str, bytes]:
    return {FACTS: b"{}", WEIGHTS: text.encode()}


def promote(files: Files, *students: str) -> None:
    for student in students:
        champion = find_champion(read_models(files))
        append_model(files, ModelRow(decision=PROMOTED if champion else FIRST, champion=student, previous=champion), champion)


def tell(text: str) -> tuple[ModelRow, ...]:
    """A history in short: `A` is promoted, `-A` gone back to, and `=` keeps the champion."""
    rows: list[ModelRow] = []
    for word in text.split():
        if word == "=":
            rows.append(ModelRow(decision=KEPT, champion=find_champion(rows), challenger="X"))
        elif word.startswith("-"):
            rows.append(ModelRow(decision=ROLLED_BACK, champion=word[1:]))
        else:
            rows.append(ModelRow(decision=PROMOTED if rows else FIRST, champion=word))
    return tuple(rows)


# The registry.


def test_a_decision_comes_back_as_it_was_written(files: Files) -> None:
    full = ModelRow(
        decision=FIRST,
        champion="a" * 16,
        challenger="a" * 16,
        challenger_snapshot="S1",
        judged_snapshot="S2",
        split="test",
        pairs=28,
        groups=9,
        criterion="balanced",
        challenger_value=5.125,
        reason="better than the teacher [0.1, 0.2]",
        verdict='{"pairs": 28}',
        run="/runs/1",
    )
    assert read_models(files) == ()
    first = append_model(files, full, "")
    second = append_model(files, ModelRow(decision=KEPT, champion="a" * 16, difference=-0.5, low=-1.0, high=0.25), "a" * 16)
    found = read_models(files)
    assert list(map(repr, found)) == list(map(repr, (first, second))), "as text, since nan is not equal to itself"
    assert repr(first) == repr(replace(full, number=1, time=first.time)) and second.number == 2
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", first.time)


def test_what_is_undefined_is_null_in_the_table(local: Files) -> None:
    append_model(local, ModelRow(decision=FIRST, champion="A", challenger_value=1.0), "")
    table = pq.read_table(pa.BufferReader(local.read(REGISTRY)))
    assert table.schema.equals(MODELS) and table.schema.metadata[b"models_version"] == b"1"
    assert (table["low"].null_count, table["challenger_value"].null_count) == (1, 0)


def test_a_decision_about_another_champion_is_refused(files: Files) -> None:
    promote(files, "A", "B")
    for expected in ("A", ""):
        with pytest.raises(CommitConflict, match=f"is B now, and the decision was made about {expected or 'nobody'}: .*run the same"):
            append_model(files, ModelRow(decision=PROMOTED, champion="C"), expected)
    assert find_champion(read_models(files)) == "B" and len(read_models(files)) == 2


@pytest.mark.parametrize("row", [ModelRow(decision="dropped", champion="A"), ModelRow(decision=KEPT, champion="B")])
def test_a_decision_that_contradicts_itself_is_refused(local: Files, row: ModelRow) -> None:
    promote(local, "A")
    with pytest.raises(InputError, match=f"the decision '{row.decision}' .* cannot be; expected one of first, promoted, kept, rolled_back"):
        append_model(local, row, "A")
    assert len(read_models(local)) == 1


def test_two_processes_at_once_lose_nothing(local: Files) -> None:
    command = [sys.executable, "-c", APPEND, local.location.address]
    both = [subprocess.Popen([*command, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "AB"]
    for word in ("ready", "appended"):
        for one in both:
            assert one.stdout and one.stdout.readline() == f"{word}\n"
        for one in both:
            assert one.stdin
            one.stdin.write("go\n")
            one.stdin.flush()
    assert sorted(one.communicate(timeout=60)[0] for one in both) == ["lost\n", "won\n"]
    rows = read_models(local)
    assert [row.number for row in rows] == list(range(1, 12))
    assert sorted(row.challenger for row in rows[:10]) == [f"{name}{number}" for name in "AB" for number in range(5)]
    for name in "AB":
        assert [row.challenger[1] for row in rows[:10] if row.challenger.startswith(name)] == list("01234"), "each in its own order"
    assert find_champion(rows) in ("A", "B")


# Damage.


def cut(content: bytes) -> bytes:
    return content[:-1]


def turn(content: bytes) -> bytes:
    """One bit of what the first column holds turned."""
    return content[:30] + bytes([content[30] ^ 1]) + content[31:]


def write_text(_: bytes) -> bytes:
    return b"two\nlines"


def empty(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, turn, write_text, empty])
def test_a_damaged_registry_is_refused_in_one_sentence(files: Files, damage: Callable[[bytes], bytes]) -> None:
    promote(files, "A")
    files.write(REGISTRY, damage(files.read(REGISTRY)))
    assert_refused(files, "cannot be read .*; restore the file from a backup")


@pytest.mark.parametrize("version", [b"2", b"none"])
def test_a_registry_of_another_version_is_refused(local: Files, version: bytes) -> None:
    table = MODELS.empty_table()
    write(local, table if version == b"none" else table.replace_schema_metadata({b"models_version": version}))
    assert_refused(local, f"is of version {version.decode()}, this release reads 1; use the release that wrote it")


def test_a_table_with_other_columns_is_refused(local: Files) -> None:
    write(local, pa.table({"champion": ["A"]}).replace_schema_metadata({b"models_version": b"1"}))
    assert_refused(local, "has not the columns of a registry")


def write(files: Files, table: pa.Table) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    files.write(REGISTRY, sink.getvalue())


def assert_refused(files: Files, words: str) -> None:
    """Neither read nor written over."""
    before = files.read(REGISTRY)
    for attempt in (lambda: read_models(files), lambda: append_model(files, ModelRow(decision=FIRST, champion="B"), "")):
        with pytest.raises(SchemaMismatch, match=f"models/registry.parquet in .* {words}") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert files.read(REGISTRY) == before


def test_a_registry_that_cannot_be_opened_is_one_sentence(local: Files, tmp_path: Path) -> None:
    (tmp_path / "store" / REGISTRY).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"models/registry.parquet in .* cannot be read .*; check your rights"):
        read_models(local)


@pytest.mark.parametrize("path", [REGISTRY, "models/"])
def test_a_store_that_cannot_be_written_is_one_sentence(local: Files, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def fill(_: Files, path: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "write", fill)
    with pytest.raises(StoreError, match=f"{path}.* cannot be written in .*No space left on device.*; check the free space"):
        promote(local, "A") if path == REGISTRY else keep_student(local, draw_contents())
    assert read_models(local) == ()


# The way back.


@pytest.mark.parametrize(
    ("history", "champion", "former"),
    [
        ("", "", ""),
        ("=", "", ""),
        ("A", "A", ""),
        ("A =", "A", ""),
        ("A B C", "C", "B A"),
        ("A B = C =", "C", "B A"),
        ("A B C -B", "B", "A"),
        ("A B C -B -A", "A", ""),
        ("A B C -B -A D", "D", "A"),
        ("A B C -B -A D -A", "A", ""),
        ("A B C -A", "A", ""),
        ("A B -A = C", "C", "A"),
        ("A B -A -B", "B", "A"),
        ("A B C -A -C", "C", "A"),
        ("A B A", "A", "B A"),
        ("A B A -B", "B", "A"),
    ],
)
def test_champions_are_a_stack(history: str, champion: str, former: str) -> None:
    rows = tell(history)
    assert (find_champion(rows), find_former(rows)) == (champion, tuple(former.split()))


# The weights.


def test_a_student_is_kept_under_the_hash_of_its_weights(files: Files) -> None:
    student = keep_student(files, draw_contents())
    assert student == hash_bytes(b"weights")[:16]
    with open_folder(files, student) as folder:
        assert {one.name: one.read_bytes() for one in folder.iterdir()} == draw_contents()
    assert folder.exists() == (files.location.folder is not None), "a copy goes when it is not needed any more"


def test_a_student_in_a_folder_is_not_copied(local: Files, tmp_path: Path) -> None:
    student = keep_student(local, draw_contents())
    with open_folder(local, student) as folder:
        assert folder == tmp_path / "store" / "models" / student


def test_the_same_student_is_kept_once(local: Files) -> None:
    student = keep_student(local, draw_contents())
    with open_folder(local, student) as folder:
        before = (folder / WEIGHTS).stat().st_ino
        assert keep_student(local, draw_contents()) == student and (folder / WEIGHTS).stat().st_ino == before
    assert keep_student(local, draw_contents("others")) != student


@pytest.mark.parametrize("names", [(), (WEIGHTS,), (WEIGHTS, FACTS, "training.safetensors")])
def test_a_student_is_two_files(local: Files, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"{WEIGHTS} and {FACTS}, and {', '.join(sorted(names)) or 'nothing'} came"):
        keep_student(local, dict.fromkeys(names, b""))


@pytest.mark.parametrize("name", [WEIGHTS, FACTS])
def test_lost_files_are_named(files: Files, name: str) -> None:
    student = keep_student(files, draw_contents())
    files.delete(f"models/{student}/{name}")
    with pytest.raises(StoreError, match=f"student {student} .*models/{student}/{name} is missing; restore .* fusion-prior model rollback"):
        open_folder(files, student).__enter__()


def test_damaged_weights_are_not_handed_out(files: Files) -> None:
    student = keep_student(files, draw_contents())
    files.write(f"models/{student}/{WEIGHTS}", b"others")
    with pytest.raises(StoreError, match=f"student {student} .* is not what was written; restore"):
        open_folder(files, student).__enter__()
    assert keep_student(files, draw_contents()) == student
    with open_folder(files, student) as folder:
        assert (folder / WEIGHTS).read_bytes() == b"weights", "keeping it again mends it"


def test_who_is_killed_before_the_row_leaves_a_registry_as_it_was(local: Files) -> None:
    promote(local, "A")
    killed = subprocess.run([sys.executable, "-c", KEEP_AND_DIE, local.location.address], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert [row.champion for row in read_models(local)] == ["A"]
    student = keep_student(local, draw_contents())
    promote(local, student)
    assert find_champion(read_models(local)) == student


def test_who_is_killed_before_the_facts_leaves_a_folder_that_is_filled_again(files: Files) -> None:
    student = hash_bytes(b"weights")[:16]
    files.write(f"models/{student}/{WEIGHTS}", b"weights")
    with pytest.raises(StoreError, match=f"{FACTS} is missing"):
        open_folder(files, student).__enter__()
    keep_student(files, draw_contents())
    with open_folder(files, student) as folder:
        assert sorted(one.name for one in folder.iterdir()) == [FACTS, WEIGHTS]


def test_the_facts_are_written_last(local: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(Files, "write", lambda _, path, content: written.append(path))
    student = keep_student(local, draw_contents())
    assert written == [f"models/{student}/{WEIGHTS}", f"models/{student}/{FACTS}"]
