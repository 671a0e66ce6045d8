"""Where a snapshot came from: which files its pairs were read from, and which code, in which versions, made it."""

import functools
import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from storage.schema import PairRow

PACKAGES = ("flows", "prior", "storage", "train")
DIGITS = 16  # of the code's sha256


def hash_sources(rows: Iterable[PairRow]) -> dict[str, int | str]:
    """How many different files the pairs name, and one sha256 over those of all of them: sorted, in hexadecimal, a line each."""
    hashes = sorted({digest for row in rows for digest in (row.a_hash, row.b_hash) if digest})
    return {"files": len(hashes), "sha256": hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()}


def list_versions(libraries: Iterable[str]) -> dict[str, str]:
    """The versions of Python, of this project's code and of some libraries, as they are installed here."""
    return {"Python": platform.python_version(), "fusion-prior code": hash_code(), **{name: version(name) for name in libraries}}


@functools.cache
def hash_code() -> str:
    """The first digits of a sha256 over every Python file of this project, with its place: another one is other code."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        spec = find_spec(name)
        for folder in map(Path, (spec.submodule_search_locations if spec else None) or ()):
            for path in sorted(path for path in folder.rglob("*.py") if path.is_file()):
                digest.update(f"{name}/{path.relative_to(folder).as_posix()}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:DIGITS]
