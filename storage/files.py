"""Files below a store's root, on a local folder or under an `s3://` address, through one small set of verbs.

A write is whole or not at all: a local file is written beside its place, flushed to disk and renamed; an object store shows an object
only when it is complete.
"""

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow.fs as pafs

from storage.errors import InputError, StoreError, WriteFailed


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store lies.

    Attributes:
        address: as the user gave it.
        folder: the local folder, or None on an object store.
        bucket, prefix: on an object store.
        options: `region`, `endpoint_override` (host:port) and `scheme` from the address's query, as pyarrow names them.
    """

    address: str
    folder: Path | None
    bucket: str = ""
    prefix: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def resolved(self) -> str:
        """The address as it holds in any working directory."""
        return self.address if self.folder is None else str(self.folder)

    @property
    def endpoint_url(self) -> str | None:
        """The address of an S3 server other than Amazon's."""
        options = dict(self.options)
        host = options.get("endpoint_override")
        return f"{options.get('scheme', 'https')}://{host}" if host else None

    @property
    def region(self) -> str:
        """The bucket's region."""
        return dict(self.options).get("region", "us-east-1")


S3_OPTIONS = frozenset({"region", "endpoint_override", "scheme"})


def parse_location(address: str) -> Location:
    """A location from a path or an `s3://bucket/prefix[?region=…&endpoint_override=host:port&scheme=http]` address.

    Raises:
        InputError: nothing, another scheme, no bucket, credentials, or an option that S3 does not have.
    """
    wanted = "a folder, or s3://bucket/prefix with the options region, endpoint_override and scheme"
    if not address:
        raise InputError(f"the address of the store is empty; expected {wanted}")
    if "://" not in address:
        return Location(address, Path(address).expanduser().absolute())
    _refuse_credentials(address)
    parts = urlsplit(address)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = sorted(set(options) - S3_OPTIONS)
    if unknown:
        raise InputError(f"the address of the store has the options {', '.join(unknown)}; expected {wanted}")  # their values may be secret
    if parts.scheme != "s3" or not parts.netloc:
        raise InputError(f"store {address!r} is not an address of a store; expected {wanted}")
    return Location(address, None, parts.netloc, parts.path.strip("/"), tuple(sorted(options.items())))


def _refuse_credentials(address: str) -> None:
    """Refuse `s3://key:secret@…`, without a word of it: an address is logged, kept in manifests and told to others."""
    place, _, query = address.partition("://")[2].partition("?")
    bucket = re.split("[/#]", place, maxsplit=1)[0]  # a secret can hold a slash, and then its "@" comes after
    hosts = parse_qs(query).get("endpoint_override", [])
    if set(bucket) & set(":@") or any("@" in host for host in hosts):
        raise InputError(
            "the address of the store seems to hold credentials (a ':' or '@' before its path, or an '@' in endpoint_override); "
            "expected a folder, or s3://bucket/prefix, with the credentials in the AWS environment (AWS_ACCESS_KEY_ID …)"
        )


@dataclass(frozen=True, slots=True)
class Files:
    """The files below a location's root; paths are relative, with `/`."""

    location: Location

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all; an older one under this path is replaced.

        Raises:
            WriteFailed: it cannot be written.
            StoreError: the path leads out of the store.
        """
        _check_inside(path)
        with self._tell_failures(path):
            if self.location.folder is not None:
                _replace(self.location.folder / path, content, os.fsync)
                return
            with self.open_remote().open_output_stream(path) as stream:
                stream.write(content)

    def jot(self, path: str, content: bytes) -> None:
        """Write a file that must survive its process but not the machine: as `write`, without the wait for the disk."""
        if self.location.folder is None:
            self.write(path, content)
            return
        _check_inside(path)
        with self._tell_failures(path):
            _replace(self.location.folder / path, content)

    def read(self, path: str) -> bytes:
        """A file's bytes; raises FileNotFoundError, and StoreError for a path that leads out of the store."""
        _check_inside(path)
        if self.location.folder is not None:
            return (self.location.folder / path).read_bytes()
        with self.open_remote().open_input_file(path) as stream:
            content: bytes = stream.read()
        return content

    def exists(self, path: str) -> bool:
        """Whether there is a file under this path."""
        _check_inside(path)
        if self.location.folder is not None:
            return (self.location.folder / path).is_file()
        return bool(self.open_remote().get_file_info(path).type == pafs.FileType.File)

    def list(self, folder: str) -> tuple[str, ...]:
        """The paths of all files directly in a folder, in order; half-written ones are not listed."""
        if self.location.folder is not None:
            place = self.location.folder / folder
            names = (one.name for one in os.scandir(place) if one.is_file()) if place.is_dir() else ()
            return tuple(sorted(f"{folder}/{name}" for name in names if not name.startswith(".")))
        found = self.open_remote().get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        return tuple(sorted(f"{folder}/{one.base_name}" for one in found if one.type == pafs.FileType.File))

    def delete(self, path: str) -> None:
        """Delete a file; one that is not there is no error."""
        _check_inside(path)
        if self.location.folder is not None:
            (self.location.folder / path).unlink(missing_ok=True)
        elif self.exists(path):
            self.open_remote().delete_file(path)

    @contextlib.contextmanager
    def _tell_failures(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error).strip().partition("\n")[0]
            remedy = "make room or check your rights to it, and run the same command again"
            failed = WriteFailed(f"{path} cannot be written in {self.location.address} ({reason}); {remedy}")
            failed.strerror = reason
            raise failed from error

    def open_remote(self) -> pafs.FileSystem:
        """The files on the object store, with paths below the root."""
        location = self.location
        options = dict(location.options) | {"region": location.region}
        root = "/".join(part for part in (location.bucket, location.prefix) if part)
        return pafs.SubTreeFileSystem(root, pafs.S3FileSystem(**options))


def _check_inside(path: str) -> None:
    """Refuse a path that leads out of the store: a manifest says where tables lie, and anybody can have written it."""
    parts = path.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise StoreError(f"the path {path!r} leads out of the store; expected one below it; do not trust this store")


def hash_bytes(content: bytes | memoryview) -> str:
    """The sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes, settle: Callable[[int], None] = lambda _: None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            settle(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
