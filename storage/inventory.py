"""Everything that lies below a folder of a store, half-written files included, with size and age; `Files.list` shows what is whole."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.fs as pafs

from storage.files import Files

HALF_WRITTEN = re.compile(r"(?:^|/)\.[^/]+\.[0-9a-f]{32}$|#\d+$")
"""The names of files that are being written, ours and those of icechunk; one that stays is a dead process's."""


@dataclass(frozen=True, slots=True)
class Lying:
    """One file as the store lists it: its size in bytes, and when it was last written."""

    size: int
    modified: datetime


def take_inventory(files: Files, folder: str) -> dict[str, Lying]:
    """Every file below a folder ("" for the whole store), by path; a folder that is not there holds none."""
    if files.location.folder is None:
        found = files.open_remote().get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
        return {one.path.strip("/"): Lying(one.size, one.mtime) for one in found if one.type == pafs.FileType.File}
    root = files.location.folder
    paths = (f"{place}{os.sep}{name}" for place, _, names in os.walk(root / folder) for name in names)
    return {os.path.relpath(path, root).replace(os.sep, "/"): _look(path) for path in paths}


def list_folders(files: Files, folder: str) -> tuple[str, ...]:
    """The names of the folders directly in a folder, empty ones included where the store knows such."""
    if files.location.folder is not None:
        place = files.location.folder / folder
        return tuple(sorted(one.name for one in os.scandir(place) if one.is_dir())) if place.is_dir() else ()
    found = files.open_remote().get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    return tuple(sorted(one.base_name for one in found if one.type == pafs.FileType.Directory))


def is_half_written(path: str) -> bool:
    """Whether a path is that of a file whose writing has not ended."""
    return HALF_WRITTEN.search(path) is not None


def _look(path: str) -> Lying:
    status = os.lstat(path)
    return Lying(status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
