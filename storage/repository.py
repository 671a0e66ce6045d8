"""The repository: where a store's images and versions live (Icechunk), and the one way to add to it.

A store is a folder or an `s3://` address:

    repository/   images and manifests, an Icechunk repository
    tables/       Parquet files, each named after its own hash
    journal/      finished work of builds that are not published yet
    seals/        what files every snapshot consists of, with their hashes
    models/       the registry of decisions about the champion, and the weights of every champion
    locks/        who builds and who retrains now; in a folder files beside these, `build.lock` and so on
    tag.lock.txt  the tag that is being made

A build commits on a branch of its own; only what has been checked is published: `main` moves to it and its tag appears in one locked step.
Before it nothing is visible, after it nothing changes. Icechunk on a local folder loses commits when two processes commit at once, so every
branch and every tag moves under the publish lock; object stores detect the conflict themselves.
"""

import atexit
import contextlib
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import icechunk
import numpy as np
import zarr
from filelock import FileLock

from storage.errors import CommitConflict, InputError, SnapshotNotFound, StoreError, WriteFailed
from storage.files import Files, Location, hash_bytes, parse_location
from storage.planes import Planes
from storage.schema import check_tag_name

MAIN = "main"
IMAGES = "images"
CANDIDATES = "candidates"
MANIFEST = "manifest"
REPOSITORY = "repository"
CHUNKS = f"{REPOSITORY}/chunks"
DRAFT = "build-"
"""How the branches of drafts begin."""

TAGGING = "tag.lock.txt"
"""Beside the publish lock: the name of the tag that is being made."""

icechunk.set_logs_filter("error")  # its warnings go to stdout, which belongs to the answer

# One of its threads may still be on its way out of Python when the last answer is there; if Python ends in that instant, the thread and
# with it the whole process is aborted (signal 6). A short sleep lets it go.
atexit.register(time.sleep, 0.1)


@dataclass(frozen=True, slots=True)
class Store:
    """An open store."""

    files: Files
    repository: icechunk.Repository

    @property
    def address(self) -> str:
        """Where it lies, as the user gave it."""
        return self.files.location.address


def open_store(address: str) -> Store:
    """Open an existing store.

    Raises:
        StoreError: there is none at this address, or it cannot be reached.
    """
    location = parse_location(address)
    absent = StoreError(f"there is no store at {address}; make one with: fusion-prior build --store {address}")
    if location.folder is not None and not (location.folder / REPOSITORY).is_dir():
        raise absent  # asked first, because icechunk makes the folder that it looks into
    try:
        storage = _storage(location)
        if not icechunk.Repository.exists(storage):
            raise absent
        return Store(Files(location), icechunk.Repository.open(storage))
    except (OSError, icechunk.IcechunkError) as error:
        raise StoreError(
            f"the store at {address} cannot be opened ({first_line(error)}); check the address and your rights to it, or look for damage "
            f"with: fusion-prior verify --store {address}"
        ) from error


def create_store(address: str) -> Store:
    """Open a store, made first where there is none.

    Raises:
        StoreError: it cannot be made or reached.
    """
    location = parse_location(address)
    try:
        with _lock(location):
            repository = icechunk.Repository.open_or_create(_storage(location))
    except (OSError, icechunk.IcechunkError) as error:
        raise StoreError(f"no store can be made at {address} ({first_line(error)}); check the address and your rights to it") from error
    return Store(Files(location), repository)


@contextlib.contextmanager
def hold_publish_lock(store: Store) -> Iterator[None]:
    """Serialise with every other process that commits or tags.

    Raises:
        WriteFailed: the store cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_lock(store.files.location))
        except OSError as error:
            raise WriteFailed(
                f"the publish lock of {store.address} cannot be used ({first_line(error)}); check your rights to it"
            ) from error
        yield


@contextlib.contextmanager
def tell_write_failures(address: str) -> Iterator[None]:
    """Turn what icechunk raises where it cannot write into a WriteFailed."""
    try:
        yield
    except icechunk.IcechunkError as error:
        remedy = "make room or check your rights to it, and run the same command again"
        raise WriteFailed(f"{address} cannot be written ({first_line(error)}); {remedy}") from error


@dataclass(frozen=True, slots=True)
class ImageChange:
    """The new image of one pair: its planes, their names, and what else stands on the array."""

    planes: Planes
    names: Sequence[str]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk that a draft wrote: the path of its array, and the sha256 of its bytes, which are stored as they are."""

    array: str
    sha256: str


class Draft:
    """A snapshot in the making, on a branch of its own: images go in one by one, and `publish` makes all of it visible at once.

    with Draft(store, parent) as draft:
        draft.put(…)
        snapshot_id = draft.commit(…)
        draft.publish("v1")

    A draft that ends without `publish` leaves nothing but objects that nothing refers to.
    """

    def __init__(self, store: Store, parent: str) -> None:
        """Start from the snapshot `parent`, which must still be the newest when the draft is published."""
        self.parent = parent
        self.branch = f"{DRAFT}{uuid.uuid4().hex}"
        self.chunks: list[Chunk] = []
        self.older_chunks = frozenset(store.files.list(CHUNKS))
        self._store = store
        self._committed = ""
        with hold_publish_lock(store):
            if find_head(store) != parent:
                raise _conflict(store)
            with tell_write_failures(store.address):
                store.repository.create_branch(self.branch, parent)
        self._session = store.repository.writable_session(self.branch)
        self._root = zarr.open_group(self._session.store, mode="a")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with hold_publish_lock(self._store):
            if self.branch in self._store.repository.list_branches():
                self._store.repository.delete_branch(self.branch)

    def put(self, group: str, pair_id: str, change: ImageChange) -> None:
        """Put one pair's image into a group, in place of an older one; a candidates' plane is a chunk, else the whole image is."""
        rows, height, width = change.planes.shape
        planes = np.ascontiguousarray(change.planes)
        array = self._root.create_array(
            array_path(group, pair_id),
            shape=change.planes.shape,
            chunks=(1 if group == CANDIDATES else rows, height, width),
            dtype="uint8",
            compressors=None,  # photographs hardly shrink without loss, and raw chunks read fastest
            fill_value=0,
            dimension_names=("plane", "y", "x"),
            attributes={"planes": list(change.names), "pair_id": pair_id, **change.attributes},
            overwrite=True,
            config={"write_empty_chunks": True},  # an image that is all zero must still be there
        )
        with tell_write_failures(self._store.address):
            array[:] = planes
        self.chunks += [Chunk(array_path(group, pair_id), hash_bytes(one.data)) for one in (planes if group == CANDIDATES else [planes])]

    def delete(self, group: str, pair_id: str) -> None:
        """Take one pair's image out of a group; one that is not there is no error."""
        path = array_path(group, pair_id)
        if path in self._root:
            del self._root[path]

    def commit(self, message: str, manifest: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        """Close the draft: manifest and images become a snapshot that can be read by its id, and by nothing else yet.

        Returns:
            The snapshot's id.

        Raises:
            StoreError: the store refuses the commit, for example because nothing has changed.
        """
        self._root.attrs[MANIFEST] = dict(manifest)
        try:
            self._committed = self._session.commit(message, metadata=dict(metadata))
        except icechunk.IcechunkError as error:
            reason = first_line(error)
            raise StoreError(f"nothing was committed to {self._store.address} ({reason}); check that it can be written") from error
        return self._committed

    def publish(self, tag: str = "") -> None:
        """Make the committed snapshot the newest one of `main`, and name it where a tag is given, under one lock.

        Who is killed between the two has published without a tag, which the same build, run again, gives.

        Raises:
            CommitConflict: somebody else published since the draft was started.
            InputError: see `check_tag`.
        """
        with hold_publish_lock(self._store):
            if find_head(self._store) != self.parent:
                raise _conflict(self._store)
            if tag:
                check_tag(self._store, tag, self._committed)
            try:
                self._store.repository.reset_branch(MAIN, self._committed, from_snapshot_id=self.parent)
            except icechunk.IcechunkError as error:
                if find_head(self._store) != self.parent:
                    raise _conflict(self._store) from None
                reason = first_line(error)
                raise StoreError(f"{MAIN} of {self._store.address} does not move ({reason}); check that it can be written") from error
            if not tag:
                return
            try:
                _create_tag(self._store, tag, self._committed)
            except InputError as error:
                raise InputError(f"snapshot {self._committed} is published and the newest one, but not tagged: {error}") from None


def array_path(group: str, pair_id: str) -> str:
    """Where a pair's array stands in the repository: its id with everything but letters, digits, `-`, `_` and `~` quoted.

    The dot is quoted too: `.` and `..` are no names, and `zarr.json` is Zarr's own.
    """
    return f"{group}/{urllib.parse.quote(pair_id, safe='').replace('.', '%2E')}"


def find_head(store: Store) -> str:
    """The id of the newest commit on `main` (a new store has one without content)."""
    return str(store.repository.lookup_branch(MAIN))


def find_snapshot(store: Store, name: str) -> str:
    """The id behind a tag, a branch or an id.

    Raises:
        SnapshotNotFound: nothing has this name, or nothing has been built yet.
    """
    repository = store.repository
    if name in repository.list_tags():
        found = repository.lookup_tag(name)
    elif name in repository.list_branches():
        found = repository.lookup_branch(name)
    else:
        found = name
    try:
        info = repository.lookup_snapshot(found)
    except (icechunk.IcechunkError, ValueError):
        known = ", ".join(sorted(repository.list_tags())) or "none"
        raise SnapshotNotFound(f"no snapshot {name!r} in {store.address}; give an id, {MAIN!r}, or a tag (tags: {known})") from None
    if info.parent_id is None:
        raise SnapshotNotFound(f"nothing has been built in {store.address} yet; make a snapshot with: fusion-prior build")
    return str(info.id)


def check_tag(store: Store, name: str, snapshot: str | None) -> None:
    """Refuse a tag that cannot be given to a snapshot (None: one that is still to be made).

    Raises:
        InputError: no valid name, or the tag names another snapshot; a tag never moves.
    """
    if name == MAIN:
        raise InputError(f"tag {name!r} would hide the branch {MAIN!r}, which is always the newest snapshot; choose another name")
    check_tag_name(name)
    if name in store.repository.list_branches():
        raise InputError(f"{name!r} is a branch already, and a name means one thing; choose another name")
    if name in store.repository.list_tags() and store.repository.lookup_tag(name) != snapshot:
        named = store.repository.lookup_tag(name)
        raise InputError(f"tag {name!r} already names snapshot {named} in {store.address}, and tags never move; choose another name")


def tag_snapshot(store: Store, name: str, snapshot: str) -> None:
    """Name a snapshot for good; naming it the same again is no error.

    Raises:
        InputError: see `check_tag`.
    """
    with hold_publish_lock(store):
        check_tag(store, name, snapshot)
        _create_tag(store, name, snapshot)


def find_tag_in_making(files: Files) -> str:
    """The tag that is being made, or was when its process was ended: its folder can be there without it."""
    try:
        return files.read(TAGGING).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _create_tag(store: Store, name: str, snapshot: str) -> None:
    if name not in store.repository.list_tags():
        store.files.jot(TAGGING, name.encode())
        try:
            store.repository.create_tag(name, snapshot)
        except icechunk.IcechunkError as error:
            raise InputError(f"tag {name!r} cannot be used in {store.address} ({first_line(error)}); choose another name") from None
    store.files.delete(TAGGING)


def first_line(error: Exception) -> str:
    """The first line of an error's message: those of icechunk go on with the places in its source."""
    return str(error).strip().partition("\n")[0].removeprefix("x ").strip()


def _lock(location: Location) -> contextlib.AbstractContextManager[Any]:
    if location.folder is None:
        return contextlib.nullcontext()
    location.folder.mkdir(parents=True, exist_ok=True)
    return FileLock(location.folder / "publish.lock")


def _storage(location: Location) -> icechunk.Storage:
    if location.folder is not None:
        return icechunk.local_filesystem_storage(str(location.folder / REPOSITORY))
    return icechunk.s3_storage(
        bucket=location.bucket,
        prefix="/".join(part for part in (location.prefix, REPOSITORY) if part),
        region=location.region,
        endpoint_url=location.endpoint_url,
        allow_http=(location.endpoint_url or "").startswith("http:"),
        force_path_style=location.endpoint_url is not None,
        from_env=True,
    )


def _conflict(store: Store) -> CommitConflict:
    return CommitConflict(
        f"somebody else committed to {store.address} while this build ran; run the same command again: finished work is kept"
    )
