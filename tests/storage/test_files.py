"""Tests of storage.files: addresses, and files that are whole or not there."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage.errors import InputError, WriteFailed
from storage.files import Files, hash_bytes, parse_location

DIE_IN_FSYNC = """
import os, signal, sys
from storage.files import Files, parse_location
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
Files(parse_location(sys.argv[1])).write("tables/one", b"new")
"""


@pytest.fixture
def local(tmp_path: Path) -> Files:
    """The files of a store in a folder."""
    return Files(parse_location(str(tmp_path / "store")))


def test_a_relative_path_stays_where_it_was_when_the_working_directory_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = parse_location("here/store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Files(location).write("one", b"1")
    assert location.address == "here/store"
    assert location.resolved == str(tmp_path / "here" / "store")
    assert (tmp_path / "here" / "store" / "one").read_bytes() == b"1"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_location("~/store").folder == tmp_path / "store"


def test_an_s3_address_has_bucket_prefix_and_options() -> None:
    location = parse_location("s3://bucket/deep/prefix/?endpoint_override=127.0.0.1:9000&scheme=http&region=eu-west-1")
    assert (location.folder, location.bucket, location.prefix) == (None, "bucket", "deep/prefix")
    assert (location.endpoint_url, location.region) == ("http://127.0.0.1:9000", "eu-west-1")
    assert location.resolved == location.address


def test_an_s3_address_needs_no_options() -> None:
    location = parse_location("s3://bucket")
    assert (location.bucket, location.prefix, location.endpoint_url, location.region) == ("bucket", "", None, "us-east-1")
    assert parse_location("s3://bucket?endpoint_override=host").endpoint_url == "https://host"


@pytest.mark.parametrize(
    "address",
    ["", "s3://", "s3:///prefix", "gs://bucket/prefix", "http://host/store", "file:///store", "s3://bucket/prefix?token=1", "://"],
)
def test_rubbish_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match=r"expected a folder, or s3://bucket/prefix"):
        parse_location(address)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:SECRET@bucket/prefix",
        "s3://AKIA:SE/SECRET@bucket/prefix",
        "s3://AKIA:SE?SECRET@bucket/prefix",
        "s3://AKIA:[SECRET@bucket/prefix",
        "s3://AKIA:SECRET\u2100@bucket/prefix",
        "s3://AKIA@bucket/prefix",
        "S3://AKIA:SECRET@bucket",
        "gs://AKIA:SECRET@bucket/prefix",
        "s3://bucket/prefix?endpoint_override=AKIA:SECRET@host:9000",
        "s3://bucket/prefix?endpoint_override=AKIA:SECRET%40host:9000",
        "s3://bucket/prefix?access_key=AKIA&secret_key=SECRET",
    ],
)
def test_an_address_with_credentials_is_refused_without_a_word_of_them(address: str) -> None:
    with pytest.raises(InputError, match=r"expected a folder, or s3://bucket/prefix") as caught:
        parse_location(address)
    assert "AKIA" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_at_sign_or_a_colon_in_a_path_is_no_credential() -> None:
    assert parse_location("s3://bucket/ada@home/a:b").prefix == "ada@home/a:b"
    assert parse_location("ada@home:store").folder == Path("ada@home:store").absolute()


def test_files_are_written_read_replaced_and_deleted(files: Files) -> None:
    assert not files.exists("deep/down/one")
    files.write("deep/down/one", b"old")
    files.write("deep/down/one", b"new \x00\xff")
    files.jot("deep/down/two", b"")
    assert files.exists("deep/down/one")
    assert files.read("deep/down/one") == b"new \x00\xff"
    assert files.read("deep/down/two") == b""
    files.delete("deep/down/one")
    files.delete("deep/down/one")
    assert not files.exists("deep/down/one")
    assert files.list("deep/down") == ("deep/down/two",)


def test_a_folder_is_no_file(files: Files) -> None:
    files.write("folder/one", b"1")
    assert not files.exists("folder")


def test_reading_what_is_not_there_raises(files: Files) -> None:
    with pytest.raises(FileNotFoundError):
        files.read("nothing/here")


def test_a_list_is_in_order_and_of_one_folder_only(files: Files) -> None:
    assert files.list("journal") == ()
    for path in ("journal/b", "journal/a", "journal/deeper/c", "other/d"):
        files.write(path, b"1")
    assert files.list("journal") == ("journal/a", "journal/b")


def test_the_content_is_on_the_disk_before_it_gets_its_name(local: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append((os.fstat(number).st_size, (tmp_path / "store" / "one").exists())))
    local.write("one", b"12345")
    assert seen == [(5, False)]
    assert local.read("one") == b"12345"


def test_a_jotted_file_does_not_wait_for_the_disk(local: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail)
    local.jot("one", b"1")
    assert local.read("one") == b"1"


@pytest.mark.parametrize("place", [(os, "fsync"), (Path, "replace")], ids=["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    local: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str]
) -> None:
    local.write("tables/one", b"old")
    monkeypatch.setattr(*place, fail)
    with pytest.raises(WriteFailed, match=r"tables/one cannot be written in .*store \(the disk is full\); make room or check your rights"):
        local.write("tables/one", b"new")
    assert local.read("tables/one") == b"old"
    assert [one.name for one in (tmp_path / "store" / "tables").iterdir()] == ["one"]


def fail(*_: object) -> None:
    raise OSError("the disk is full")


def test_what_a_killed_process_left_half_written_is_not_listed(local: Files, tmp_path: Path) -> None:
    local.write("tables/one", b"old")
    done = subprocess.run([sys.executable, "-c", DIE_IN_FSYNC, str(tmp_path / "store")], check=False)
    assert done.returncode == -9
    assert len(list((tmp_path / "store" / "tables").iterdir())) == 2
    assert local.list("tables") == ("tables/one",)
    assert local.read("tables/one") == b"old"


def test_readers_see_one_whole_file_or_the_other(local: Files) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    local.jot("one", contents[0])
    writers = [threading.Thread(target=jot_often, args=(local, content)) for content in contents]
    for writer in writers:
        writer.start()
    seen = [local.read("one") for _ in range(100)]
    for writer in writers:
        writer.join()
    assert set(seen) <= set(contents)
    assert local.list(".") == ("./one",)


def jot_often(files: Files, content: bytes) -> None:
    """Write the same file again and again."""
    for _ in range(20):
        files.jot("one", content)


def test_a_hash_is_sha256_in_hexadecimal() -> None:
    assert hash_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_s3_ends_without_a_word(s3_address: str) -> None:
    script = "import sys; from storage.files import *; f = Files(parse_location(sys.argv[1])); f.write('a/b', b'1'); print(f.list('a'))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script, s3_address], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "('a/b',)\n", "")
