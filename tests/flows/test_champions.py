"""The champion: kept from a checkpoint, listed, copied, and gone back from, by functions and on the command line."""

import csv
import io
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from click.testing import Result
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from flows.champions import copy_champion, find_champion_folder, find_trained_on, keep_champion, roll_back
from flows.command_line import app
from flows.students import choose_method, find_student
from flows.train_student import read_first
from storage.errors import FusionPriorError, InputError, StoreError, UnknownName
from storage.files import Files, parse_location
from storage.models import FACTS, WEIGHTS, append_model, find_champion, keep_student, open_folder, read_models
from storage.repository import create_store
from storage.schema import FIRST, KEPT, PROMOTED, ROLLED_BACK, ModelRow
from train.checkpoint import STUDENT, read_checkpoint, read_student

ROOT = Path(__file__).resolve().parents[2]
REASON = "better by [0.01, 0.2], beyond its interval"


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A store without any snapshot or student."""
    return create_store(str(tmp_path / "store")).address


@pytest.fixture
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store without any snapshot or student on an S3 server on loopback."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host = "{}:{}".format(*server.get_host_and_port())
    pafs.S3FileSystem(endpoint_override=host, scheme="http", region="us-east-1", allow_bucket_creation=True).create_dir("champions")
    yield create_store(f"s3://champions/{uuid.uuid4().hex}?endpoint_override={host}&scheme=http&region=us-east-1").address
    server.stop()


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def refuse(*arguments: object) -> str:
    """What a command that ends with an error made on purpose says."""
    done = call(*arguments)
    assert isinstance(done.exception, FusionPriorError), done.output
    assert done.stdout == "" and "\n" not in str(done.exception)
    return str(done.exception)


def read_store(address: str) -> Files:
    return Files(parse_location(address))


def promote(address: str, *words: str) -> list[str]:
    """Make students of these words champions, one after the other; their names."""
    files, students = read_store(address), []
    for word in words:
        champion = find_champion(read_models(files))
        student = keep_student(files, {WEIGHTS: word.encode(), FACTS: b"{}"})
        row = ModelRow(
            decision=PROMOTED if champion else FIRST,
            champion=student,
            previous=champion,
            challenger=student,
            challenger_snapshot=f"snapshot of {word}",
            challenger_value=5.0,
            difference=0.1 if champion else float("nan"),
            low=0.01 if champion else float("nan"),
            high=0.2 if champion else float("nan"),
            reason=REASON,
            verdict=json.dumps({"word": word}),
        )
        append_model(files, row, champion)
        students.append(student)
    return students


def keep_and_promote(address: str, run: Path) -> str:
    files = read_store(address)
    student = keep_champion(files, read_checkpoint(run))
    append_model(files, ModelRow(decision=FIRST, champion=student), "")
    return student


# Keeping a checkpoint.


def test_a_kept_champion_is_a_checkpoint(trained: Path, address: str) -> None:
    student = keep_and_promote(address, trained)
    assert student == find_student(f"student:{trained}").version
    folder = find_champion_folder(address)
    assert folder == Path(address) / "models" / student and sorted(one.name for one in folder.iterdir()) == [FACTS, WEIGHTS]
    kept, whole = read_checkpoint(folder), read_checkpoint(trained)
    assert kept.facts == whole.facts
    ours, theirs = read_student(kept).state_dict(), read_student(whole).state_dict()
    assert ours.keys() == theirs.keys() and all(one.equal(theirs[name]) for name, one in ours.items())
    assert choose_method(None, folder, 1, None, "cpu").version == student == find_student(f"student:{folder}").version
    assert read_first(folder, kept.facts.network).keys() == ours.keys(), "a run can begin with it"


def test_a_champion_kept_on_s3_reads_as_well(trained: Path, s3_store: str) -> None:
    student = keep_champion(read_store(s3_store), read_checkpoint(trained))
    with open_folder(read_store(s3_store), student) as folder:
        assert read_student(read_checkpoint(folder)).state_dict().keys() == read_student(read_checkpoint(trained)).state_dict().keys()
    assert not folder.exists()


def test_a_damaged_checkpoint_is_not_kept(trained: Path, address: str, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    checkpoint = read_checkpoint(run)
    (checkpoint.folder / STUDENT).write_bytes(b"nothing")
    with pytest.raises(InputError, match="sha256 differs"):
        keep_champion(read_store(address), checkpoint)
    assert not (Path(address) / "models").exists()


def test_a_checkpoint_that_is_replaced_meanwhile_is_not_kept(
    trained: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    checkpoint = read_checkpoint(run)
    monkeypatch.setattr("train.checkpoint.read_student", lambda one: (one.folder / STUDENT).write_bytes(b"others"))
    with pytest.raises(InputError, match="was replaced while it was read"):
        keep_champion(read_store(address), checkpoint)
    monkeypatch.setattr("train.checkpoint.read_student", lambda one: shutil.rmtree(one.folder))
    with pytest.raises(InputError, match="cannot be read"):
        keep_champion(read_store(address), checkpoint)
    assert not (Path(address) / "models").exists()


# Going back.


def test_twice_back_is_two_back_and_then_there_is_none(address: str) -> None:
    first, second, third = promote(address, "one", "two", "three")
    row = roll_back(address, None, "")
    assert (row.decision, row.number, row.champion, row.previous) == (ROLLED_BACK, 4, second, third)
    assert row.champion_snapshot == "snapshot of three" and row.reason == f"went back by hand from {third} to {second}"
    assert roll_back(address, None, "fuses moiré").reason == "fuses moiré"
    with pytest.raises(InputError, match=f"before the champion {first} .* none to go back to; name one .*--to: {min(second, third)}, "):
        roll_back(address, None, "")
    (fourth,) = promote(address, "four")
    assert roll_back(address, None, "").previous == fourth
    rows = read_models(read_store(address))
    assert [row.champion for row in rows] == [first, second, third, second, first, fourth, first]


def test_any_former_champion_can_be_named(address: str) -> None:
    first, _, third = promote(address, "one", "two", "three")
    assert roll_back(address, first, "").champion == first
    assert roll_back(address, third, "").champion == third, "forward again"
    assert roll_back(address, None, "").champion == first


def test_what_a_champion_was_trained_on_is_told(address: str) -> None:
    first, second = promote(address, "one", "two")
    rows = read_models(read_store(address))
    assert [find_trained_on(rows, one) for one in (first, second, "another")] == ["snapshot of one", "snapshot of two", ""]


def test_who_cannot_be_gone_back_to_is_said(address: str) -> None:
    for attempt in (None, "0" * 16):
        with pytest.raises(InputError, match=r"no student has been champion in .* yet; the flow retrain-model"):
            roll_back(address, attempt, "")
    (first,) = promote(address, "one")
    with pytest.raises(InputError, match="no other student has been champion"):
        roll_back(address, None, "")
    (second,) = promote(address, "two")
    append_model(read_store(address), ModelRow(decision=KEPT, champion=second, challenger="c" * 16), second)
    with pytest.raises(InputError, match=f"{second} is the champion already"):
        roll_back(address, second, "")
    with pytest.raises(InputError, match=f"c+ was judged \\(row 3 .* never champion.*so far: {min(first, second)}, {max(first, second)}"):
        roll_back(address, "c" * 16, "")
    with pytest.raises(UnknownName, match=f"unknown champion '{first[:-1]}'; did you mean {first}?"):
        roll_back(address, first[:-1], "")
    with pytest.raises(UnknownName, match=f"unknown champion 'zz'; known: {min(first, second)}, {max(first, second)}"):
        roll_back(address, "zz", "")
    assert len(read_models(read_store(address))) == 3


def test_nobody_goes_back_to_lost_weights(address: str) -> None:
    first, second = promote(address, "one", "two")
    read_store(address).delete(f"models/{first}/{WEIGHTS}")
    with pytest.raises(StoreError, match=f"the student {first} cannot be had"):
        roll_back(address, None, "")
    assert find_champion(read_models(read_store(address))) == second


# A copy of the champion.


def test_a_champion_is_copied_into_a_new_folder(address: str, tmp_path: Path) -> None:
    promote(address, "one", "two")
    out = tmp_path / "deep" / "copy"
    assert copy_champion(address, out) == out
    assert {one.name: one.read_bytes() for one in out.iterdir()} == {WEIGHTS: b"two", FACTS: b"{}"}
    with pytest.raises(InputError, match="is there already; name a new folder"):
        copy_champion(address, out)
    assert [one.name for one in out.parent.iterdir()] == ["copy"]


def test_a_copy_that_fails_leaves_nothing(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(address, "one")
    whole = shutil.copyfile

    def fill(source: Path, target: Path) -> Path:
        if Path(source).name == FACTS:
            raise OSError(28, "No space left on device")
        return whole(source, target)

    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(InputError, match=r"cannot be written .No space left on device.; name another folder"):
        copy_champion(address, tmp_path / "deep" / "copy")
    assert list((tmp_path / "deep").iterdir()) == []


def test_on_s3_a_champion_must_be_copied(s3_store: str, tmp_path: Path) -> None:
    first, second = promote(s3_store, "one", "two")
    assert "give --out FOLDER" in refuse("model", "champion", "--store", s3_store)
    done = call("model", "champion", "--store", s3_store, "--out", tmp_path / "copy")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'copy'}\n"), done.output
    assert (tmp_path / "copy" / WEIGHTS).read_bytes() == b"two"
    assert call("model", "rollback", "--store", s3_store).stdout == f"{first}\n"
    assert [row.champion for row in read_models(read_store(s3_store))] == [first, second, first]


# Commands.


def test_decisions_are_listed(address: str) -> None:
    first, second = promote(address, "one", "two")
    call("model", "rollback", "--store", address, "--reason", "why not")
    table = call("model", "list", "--store", address).stdout
    lines = [line for line in table.splitlines() if line.startswith("│")]
    assert [f"{first} *" in line for line in lines] == [True, False, True] and second in lines[1]
    assert "+0.1000 [+0.0100, +0.2000]" in lines[1] and REASON in lines[1] and "snapshot of two" in lines[1] and "why not" in lines[2]
    columns = [one.name for one in fields(ModelRow)]
    told = json.loads(call("model", "list", "--store", address, "--format", "json").stdout)
    assert [list(one) for one in told] == [columns] * 3
    assert [one["verdict"] for one in told] == [{"word": "one"}, {"word": "two"}, None]
    assert (told[0]["low"], told[1]["low"], told[2]["champion"]) == (None, 0.01, first)
    rows = list(csv.DictReader(io.StringIO(call("model", "list", "--store", address, "--format", "csv").stdout)))
    assert [list(one) for one in rows] == [columns] * 3
    assert (rows[0]["low"], rows[1]["low"], rows[1]["verdict"]) == ("", "0.01", '{"word": "two"}')


def test_a_store_without_decisions_is_an_empty_table_and_a_sentence(address: str) -> None:
    columns = ",".join(one.name for one in fields(ModelRow))
    for form, answer in (("json", "[]\n"), ("csv", f"{columns}\n")):
        done = call("model", "list", "--store", address, "--format", form)
        assert (done.exit_code, done.stdout) == (0, answer)
        assert "no student has been judged" in done.stderr
    done = call("model", "list", "--store", address)
    assert done.exit_code == 0 and "decision" in done.stdout and len(done.stdout.splitlines()) < 6


def test_the_champion_is_shown_and_gone_back_from(trained: Path, address: str, tmp_path: Path) -> None:
    student = keep_and_promote(address, trained)
    (other,) = promote(address, "two")
    assert call("model", "champion", "--store", address).stdout == f"{Path(address) / 'models' / other}\n"
    assert call("model", "rollback", "--store", address).stdout == f"{student}\n"
    folder = call("model", "champion", "--store", address, "--out", tmp_path / "copy").stdout.strip()
    assert folder == str(tmp_path / "copy") and read_checkpoint(Path(folder)).facts == read_checkpoint(trained).facts
    shown = call("model", "show", folder, "--format", "json")
    assert shown.exit_code == 0 and json.loads(shown.stdout)["hashes"][STUDENT].startswith(student)


@pytest.mark.parametrize("command", [("rollback",), ("rollback", "--to", "a" * 16), ("champion",)])
def test_without_a_champion_commands_say_so(address: str, command: tuple[str, ...]) -> None:
    assert "no student has been champion" in refuse("model", *command, "--store", address)


@pytest.mark.parametrize("command", ["list", "rollback", "champion"])
def test_a_store_that_is_not_there_is_said(tmp_path: Path, command: str) -> None:
    assert "there is no store at" in refuse("model", command, "--store", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_history_is_shown_without_torch(address: str) -> None:
    promote(address, "one", "two")
    code = (
        "import sys\n"
        "from flows.command_line import app\n"
        f"for one in (['list'], ['rollback'], ['champion']):\n"
        f"    app(['model', *one, '--store', {address!r}], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False" and done.stdout.count("one") == 1
