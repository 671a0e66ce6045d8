"""What lies in one folder: its pictures under the keys of their names, and what is none of them."""

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from prior.pictures import SUFFIXES, is_picture, show_path
from storage.errors import InputError

BY_STEM = "{key}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's entries in the order of their names; links that lead out of it are never opened.

    Attributes:
        pictures: files that are or claim to be pictures, such links included.
        outside: the links among them that lead out of the folder.
        clutter: everything else, hidden entries and folders included.
    """

    pictures: tuple[Path, ...]
    outside: frozenset[Path]
    clutter: tuple[Path, ...]


def list_folder(folder: Path) -> Listing:
    """List one folder, without its subfolders.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(
            f"{show_path(folder)} is not a folder; check the path, which counts from the current folder unless it begins with /"
        )
    entries = sorted(folder.iterdir())
    outside = frozenset(entry for entry in entries if leads_out(entry))
    pictures = tuple(entry for entry in entries if _claims_picture(entry, entry in outside))
    return Listing(pictures, outside, tuple(sorted({*entries} - {*pictures})))


def leads_out(path: Path) -> bool:
    """Whether a path is a link to something that does not lie in the link's own folder."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(path.parent))


def parse_pattern(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The two halves of a pattern such as `IR{key} VIS{key}`, each as an expression with the group `key`; by stem where it is empty.

    Raises:
        InputError: it is not two words with one `{key}` each.
    """
    try:
        halves = shlex.split(unicodedata.normalize("NFC", pattern) or f"{BY_STEM} {BY_STEM}")  # quotes allow names with spaces
    except ValueError:
        halves = []
    if len(halves) != 2 or any(half.count(BY_STEM) != 1 for half in halves):
        raise InputError(
            f"pattern = {pattern!r} is not understood; write one word per folder with {BY_STEM} in each, "
            f'such as "IR{BY_STEM} VIS{BY_STEM}", and quotes around a word with spaces'
        )
    a, b = (re.compile("(?P<key>.+)".join(map(re.escape, strip_suffix(half).split(BY_STEM))), re.DOTALL) for half in halves)
    return a, b


def group_by_key(paths: Iterable[Path], pattern: re.Pattern[str]) -> dict[str, tuple[Path, ...]]:
    """Paths under the keys of their names; names that the pattern does not match are left out."""
    groups: dict[str, tuple[Path, ...]] = {}
    for path in paths:
        match = pattern.fullmatch(normalise_stem(path))
        if match:
            groups[match["key"]] = (*groups.get(match["key"], ()), path)
    return groups


def normalise_stem(path: Path) -> str:
    """A file's name without its extension, in one spelling: systems differ in how they compose accents."""
    return unicodedata.normalize("NFC", show_path(strip_suffix(path.name)))


def strip_suffix(name: str) -> str:
    """A name without its picture extension, if it has one."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name


def _claims_picture(path: Path, is_outside: bool) -> bool:
    if path.name.startswith("."):
        return False
    if is_outside:
        return path.suffix.lower() in SUFFIXES
    # A broken link with the name of a picture is a picture that cannot be read; folders, pipes and devices are none.
    return (path.is_file() or not path.exists()) and is_picture(path)
