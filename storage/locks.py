"""Locks: one per store and purpose, with the name and age of who holds it, in a folder and on an object store.

In a folder it is a kernel lock on `<name>.lock`, free the moment its process is gone, however that ended, with a note beside it of who
holds it.

On an object store it is a lease, `locks/<name>.json`, made only where there is none (a conditional write) and written anew while it is
held. Who waits needs no clock that agrees with anybody's: a lease that stays as it was for `DEAD_AFTER` seconds is a dead holder's. What
a holder commits who was taken for dead and was not is still checked for conflicts; what it writes without a commit (the registry of models)
is not, and replaces what came in between.
"""

import contextlib
import importlib.util
import json
import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import obstore
from filelock import FileLock, Timeout
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from storage.errors import StoreBusy, StoreError
from storage.files import Files, Location
from storage.repository import first_line

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import RetryConfig, S3Config

GRACE = 0.2
"""Seconds in which a folder's lock must come free before it counts as held: `find_holder` takes it for an instant, to see if it can."""

FOLDER_PAUSE, LEASE_PAUSE = 1.0, 5.0
"""Seconds between two looks of who waits, in a folder and on an object store."""

TOLD_EVERY = 600.0
"""Seconds after which who waits is told again for whom."""

RENEWED_EVERY = 30.0
"""Seconds between two writes of a lease."""

DEAD_AFTER = 120.0
"""Seconds of its own clock in which who waits has seen a lease stay as it was: its holder is dead."""

OLD_AFTER = 600.0
"""Seconds since a lease was written, by the store's clock and this machine's, after which who cannot watch it takes its holder for dead."""

_FAILURES = (BaseError, OSError)
_PATIENCE: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
"""How long one request may be repeated: short, so that a lease can be renewed several times before it counts as dead."""

IfHeld = Literal["wait", "refuse"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: a name, the machine, the process there, and since when; `pid` is 0 where nobody can tell who it is."""

    who: str
    host: str
    pid: int
    since: datetime


@contextlib.contextmanager
def hold_lock(files: Files, name: str, who: str, *, if_held: IfHeld = "wait") -> Iterator[None]:
    """Hold a store's lock of some purpose; no other process, and no other thread of this one, holds it at the same time.

    Args:
        files: the store's.
        name: of the purpose, such as "build"; locks of different names do not know of each other.
        who: told to those who want the lock meanwhile.
        if_held: what to do while somebody else holds it.

    Raises:
        StoreBusy: somebody else holds it, and it was not to be waited for.
        StoreError: the store cannot be reached or written.
    """
    folder = files.location.folder
    with _hold_lease(files, name, who, if_held) if folder is None else _hold_folder(files, folder, name, who, if_held):
        yield


def find_holder(files: Files, name: str) -> Holder | None:
    """Who holds a store's lock now, or None: what a dead process left behind is nobody's.

    Raises:
        StoreError: the store cannot be reached or read.
    """
    with _tell_failures(files, name):
        if files.location.folder is not None:
            return _find_in_folder(files, files.location.folder, name)
        found = _look(_connect(files.location), _lease_path(name))
        return None if found is None or found.age >= OLD_AFTER else found.holder


# In a folder


@contextlib.contextmanager
def _hold_folder(files: Files, folder: Path, name: str, who: str, if_held: IfHeld) -> Iterator[None]:
    # thread_local=False: who lets go need not be the thread that took it; each call's own lock keeps threads apart
    lock = FileLock(folder / f"{name}.lock", thread_local=False)

    def attempt() -> Holder | None:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=GRACE)
            return None
        return _read_note(files, name) or _nobody_known(datetime.now(UTC))

    try:
        with _tell_failures(files, name):
            folder.mkdir(parents=True, exist_ok=True)
            _take(files, name, if_held, attempt, FOLDER_PAUSE)
            _tell_taken_over(files, name, _read_note(files, name))
            files.jot(_note_path(name), _encode(_this_process(who)))
        try:
            yield
        finally:
            files.delete(_note_path(name))
    finally:
        lock.release()


def _find_in_folder(files: Files, folder: Path, name: str) -> Holder | None:
    path = folder / f"{name}.lock"
    if not path.is_file():
        return None  # asked first, because a look must leave nothing behind
    try:
        with FileLock(path, timeout=0):
            return None
    except Timeout:
        return _read_note(files, name) or _nobody_known(datetime.now(UTC))
    except PermissionError:
        return _read_note(files, name)  # in a store that may only be read the note's word is all there is


def _note_path(name: str) -> str:
    return f"{name}.lock.json"


def _read_note(files: Files, name: str) -> Holder | None:
    try:
        return _decode(files.read(_note_path(name))) or _nobody_known(datetime.now(UTC))
    except FileNotFoundError:
        return None
    except OSError:
        return _nobody_known(datetime.now(UTC))


# On an object store


@contextlib.contextmanager
def _hold_lease(files: Files, name: str, who: str, if_held: IfHeld) -> Iterator[None]:
    with _tell_failures(files, name):
        lease = _Lease(files, name, who, if_held)
    try:
        with _tell_failures(files, name):
            _take(files, name, if_held, lease.attempt, LEASE_PAUSE)
            lease.keep()
        yield
    finally:
        lease.let_go()


@dataclass(frozen=True, slots=True)
class _Found:
    """A lease as it stands on the store: its holder, the token of the hold, the version, and the seconds since it was written."""

    holder: Holder
    token: str
    e_tag: str
    age: float


class _Lease:
    """A lease, from the first attempt to take it until it is let go; a thread of its own renews it."""

    def __init__(self, files: Files, name: str, who: str, if_held: IfHeld) -> None:
        self._files, self._name, self._who, self._if_held = files, name, who, if_held
        self._store, self._path = _connect(files.location), _lease_path(name)
        self._holder = _this_process(who)
        self._token = uuid.uuid4().hex
        self._e_tag = ""  # of the version that this hold has written; empty while it is not held
        self._seen, self._since = "", 0.0  # somebody else's version, and when it was first seen, by this process's own clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_on, name=f"lease of the {name} lock", daemon=True)

    def attempt(self) -> Holder | None:
        """Take it where it is free or its holder is dead; else who holds it."""
        while True:
            self._holder = _this_process(self._who)
            found = _look(self._store, self._path)
            if found is not None and not self._is_dead(found):
                return found.holder
            self._e_tag = self._write({"e_tag": found.e_tag} if found else "create")
            if self._e_tag:
                _tell_taken_over(self._files, self._name, found.holder if found else None)
                return None

    def keep(self) -> None:
        """Start to renew it."""
        self._thread.start()

    def let_go(self) -> None:
        """Delete it, unless it is somebody else's by now."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if not self._e_tag:
            return
        try:
            if self._renew():  # after this nobody takes it for dead before it is deleted
                obstore.delete(self._store, self._path)
        except _FAILURES as error:
            logger.warning("%s could not be let go (%s); it is free when it is old enough", self._title(), first_line(error))

    def _is_dead(self, found: _Found) -> bool:
        if self._if_held == "refuse":
            return found.age >= OLD_AFTER
        if found.e_tag != self._seen:
            self._seen, self._since = found.e_tag, time.monotonic()
        return time.monotonic() - self._since >= DEAD_AFTER

    def _renew_on(self) -> None:
        while self._e_tag and not self._ended.wait(RENEWED_EVERY):
            try:
                self._renew()
            except _FAILURES as error:
                logger.warning("%s could not be renewed (%s); trying again", self._title(), first_line(error))

    def _renew(self) -> bool:
        self._e_tag = self._write({"e_tag": self._e_tag})
        if not self._e_tag:
            logger.error(
                "%s was lost to somebody who took %s for dead; if both publish, the last one is told of the conflict",
                self._title(),
                self._who,
            )
        return bool(self._e_tag)

    def _write(self, mode: "PutMode") -> str:
        """Write the lease; the version written, or nothing where somebody else was first."""
        content = _encode(self._holder, token=self._token, turn=uuid.uuid4().hex)  # the same bytes would be the same version
        try:
            return str(obstore.put(self._store, self._path, content, mode=mode)["e_tag"])
        except (AlreadyExistsError, PreconditionError):
            # perhaps this hold itself was: the answer to a write can be lost, and the write is repeated then
            found = _look(self._store, self._path)
            return found.e_tag if found is not None and found.token == self._token else ""

    def _title(self) -> str:
        return _title(self._files, self._name)


def _look(store: S3Store, path: str) -> _Found | None:
    try:
        answer = obstore.get(store, path)
        content = bytes(answer.bytes())
    except FileNotFoundError:
        return None
    modified = answer.meta["last_modified"]
    age = (datetime.now(UTC) - modified).total_seconds()
    return _Found(_decode(content) or _nobody_known(modified), _decode_token(content), str(answer.meta["e_tag"]), age)


def _lease_path(name: str) -> str:
    return f"locks/{name}.json"


def _connect(location: Location) -> S3Store:
    config: S3Config = {"region": location.region, "virtual_hosted_style_request": False, "disable_bulk_delete": True}
    if location.endpoint_url is not None:
        # under both names, or AWS_ENDPOINT_URL_S3 would be stronger than the address
        config |= {"endpoint": location.endpoint_url, "aws_endpoint_url_s3": location.endpoint_url}
    return S3Store(
        location.bucket,
        prefix=location.prefix or None,
        config=config,
        client_options={"allow_http": (location.endpoint_url or "").startswith("http:"), "timeout": "10s"},
        retry_config=_PATIENCE,
        credential_provider=_find_credentials(),
    )


def _find_credentials() -> "Boto3CredentialProvider | None":
    """Those of boto3 where it is installed, for it knows profiles and single sign-on; else obstore looks into the environment by itself."""
    if importlib.util.find_spec("boto3") is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError:
        return None  # boto3 found none


# What both say and keep


def _take(files: Files, name: str, if_held: IfHeld, attempt: Callable[[], Holder | None], pause: float) -> None:
    """Attempt until nobody else holds the lock; short pauses let signals through."""
    told = -math.inf
    while (holder := attempt()) is not None:
        if if_held == "refuse":
            raise StoreBusy(
                f"{_title(files, name)} is held by {_describe(holder)}; run the same command again when that has ended "
                "(what a dead process held is freed by itself)"
            )
        if time.monotonic() - told >= TOLD_EVERY:
            logger.warning("%s is held by %s; waiting for that to end", _title(files, name), _describe(holder))
            told = time.monotonic()
        time.sleep(pause)


@contextlib.contextmanager
def _tell_failures(files: Files, name: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        remedy = "check the address and your rights to it"
        if files.location.folder is None:
            remedy += " (AWS profiles are read where boto3 is installed, else only the variables AWS_… and the machine's role)"
        raise StoreError(f"{_title(files, name)} cannot be used ({first_line(error)}); {remedy}") from error


def _tell_taken_over(files: Files, name: str, dead: Holder | None) -> None:
    if dead is not None:
        logger.warning("%s was left behind by %s; taken over", _title(files, name), _describe(dead))


def _title(files: Files, name: str) -> str:
    return f"the {name} lock of {files.location.address}"


def _describe(holder: Holder) -> str:
    if not holder.pid:
        return "somebody unknown"
    age = _write_age((datetime.now(UTC) - holder.since).total_seconds())
    return f"{holder.who} (process {holder.pid} on {holder.host}, taken {age} ago)"


def _write_age(seconds: float) -> str:
    """Seconds in a unit that people count in; clocks of two machines may differ, so that an age can come out negative."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{max(0, int(seconds)) // size} {unit}"
    return f"{int(seconds) // 86_400} days"


def _this_process(who: str) -> Holder:
    return Holder(who, socket.gethostname(), os.getpid(), datetime.now(UTC))


def _nobody_known(since: datetime) -> Holder:
    return Holder("somebody unknown", "", 0, since)


def _encode(holder: Holder, **more: str) -> bytes:
    note = {"who": holder.who, "host": holder.host, "pid": holder.pid, "since": holder.since.isoformat(), **more}
    return json.dumps(note).encode()


def _decode(content: bytes) -> Holder | None:
    """The holder that a note names, or None where it is half-written or no note at all."""
    try:
        note = json.loads(content)
        since = datetime.fromisoformat(note["since"]).astimezone(UTC)
        return Holder(str(note["who"]), str(note["host"]), int(note["pid"]), since)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _decode_token(content: bytes) -> str:
    try:
        return str(json.loads(content)["token"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
