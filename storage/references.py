"""References: what the branches, the tags and the registry of models of a store name, and the history behind it.

Icechunk leaves out a tag whose file is damaged as if it had never been, and deletes a branch without a trace. So the files themselves are
read here. What cannot be noticed at all: a deleted tag file on an object store, or one deleted together with its folder.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import icechunk

from storage.errors import StoreError
from storage.files import Files
from storage.findings import REFERENCE, SNAPSHOT, Finding, read_safely
from storage.inventory import list_folders
from storage.models import find_champion, find_former, read_models
from storage.repository import DRAFT, MAIN, REPOSITORY, find_tag_in_making
from storage.seals import SNAPSHOTS

REFERENCES = f"{REPOSITORY}/refs"
BRANCH, TAG = "branch", "tag"

OBJECT_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{19}[0G]")
"""How Icechunk names what it writes: twelve bytes in Crockford's base 32."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One branch or tag.

    Attributes:
        kind: `BRANCH` or `TAG`.
        name: without the kind.
        snapshot_id: what it names; empty where its file does not say.
    """

    kind: str
    name: str
    snapshot_id: str

    @property
    def path(self) -> str:
        """Where its file lies."""
        return f"{REFERENCES}/{self.kind}.{self.name}/ref.json"


@dataclass(frozen=True, slots=True)
class History:
    """Every snapshot that a reference leads to.

    Attributes:
        parents: by id, its parent's id; None for the empty one that every store begins with.
        times: by id, when it was written, UTC.
        lines: by head, the ids from it to the beginning, or to where its history breaks.
        broken: ids of snapshots that a reference or a child names and that cannot be read, with the reason.
    """

    parents: dict[str, str | None] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def snapshots(self) -> tuple[str, ...]:
        """The ids of all that hold something, readable or not."""
        return (*(one for one, parent in self.parents.items() if parent is not None), *self.broken)


def read_references(files: Files) -> tuple[Reference, ...]:
    """The branches and tags of a store, `main` always and first, those of drafts never; from their files alone."""
    folders = [name for name in list_folders(files, REFERENCES) if name != f"{BRANCH}.{MAIN}"]
    found = (_read_reference(files, *name.split(".", 1)) for name in (f"{BRANCH}.{MAIN}", *folders) if "." in name)
    return tuple(one for one in found if one is not None)


def _read_reference(files: Files, kind: str, name: str) -> Reference | None:
    """What a reference's file says; None for a draft's, for a deleted one, and for what is none."""
    one = Reference(kind, name, "")
    if kind not in (BRANCH, TAG) or name.startswith(DRAFT) or files.exists(f"{one.path}.deleted"):
        return None
    try:
        content = files.read(one.path)
    except OSError:
        is_gone = name != MAIN if kind == BRANCH else name == find_tag_in_making(files)  # their folders stay
        return None if is_gone and not files.exists(one.path) else one
    return Reference(kind, name, parse_reference(content))


def parse_reference(content: bytes) -> str:
    """The snapshot that a reference's file names; empty where it is not exactly what Icechunk writes."""
    try:
        found = json.loads(content)["snapshot"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    is_whole = isinstance(found, str) and OBJECT_ID.fullmatch(found) and write_reference(found) == content
    return str(found) if is_whole else ""


def write_reference(snapshot_id: str) -> bytes:
    """The bytes of the file of a branch or tag, as Icechunk writes them."""
    return json.dumps({"snapshot": snapshot_id}, separators=(",", ":")).encode()


def find_registered(files: Files) -> tuple[str, ...]:
    """The snapshots that the champion, and those one can go back to, were trained and judged on; none where the registry is damaged."""
    try:
        rows = read_models(files)
    except StoreError:
        return ()
    in_use = {find_champion(rows), *find_former(rows)} - {""}
    named = {one for row in rows if row.challenger in in_use for one in (row.challenger_snapshot, row.judged_snapshot)}
    return tuple(sorted(named - {""}))


def walk_history(repository: icechunk.Repository, heads: Iterable[str]) -> History:
    """Follow every head back to the beginning."""
    history = History()
    for head in heads:
        history.lines[head] = tuple(_walk(repository, head, history))
    return history


def _walk(repository: icechunk.Repository, head: str, history: History) -> list[str]:
    line: list[str] = []
    wanted: str | None = head
    while wanted is not None and wanted not in history.broken and wanted not in line:
        if wanted not in history.parents:
            try:
                with read_safely():
                    info = repository.lookup_snapshot(wanted)
            except StoreError as error:
                history.broken[wanted] = str(error)
                break
            history.parents[wanted] = info.parent_id
            history.times[wanted] = info.written_at
        line.append(wanted)
        wanted = history.parents[wanted]
    return line


def check_references(references: Sequence[Reference], history: History, sealed: Collection[str]) -> list[Finding]:
    """What is wrong with the references, and with the history behind them; `sealed` are the snapshots that have a seal."""
    found = []
    for one in references:
        if not one.snapshot_id:
            found.append(_tell_lost(one, f"{one.path} is lost or damaged: nobody can tell which snapshot {one.name} names"))
        elif one.snapshot_id in history.broken and one.snapshot_id not in sealed:
            found.append(_tell_lost(one, f"{one.kind} {one.name} names snapshot {one.snapshot_id}, which is not there"))
    told = {one.snapshot_id for one in references} - set(sealed)
    for snapshot_id, reason in history.broken.items():
        if snapshot_id not in told:
            names = _name_readers(references, history, snapshot_id)
            sentence = f"snapshot {snapshot_id}, in the history of {names}, cannot be read ({reason}); nor what came before it"
            found.append(Finding(SNAPSHOT, f"{SNAPSHOTS}/{snapshot_id}", sentence, (snapshot_id,)))
    return found


def _tell_lost(reference: Reference, sentence: str) -> Finding:
    return Finding(REFERENCE, f"{reference.kind} {reference.name}", sentence)


def _name_readers(references: Sequence[Reference], history: History, snapshot_id: str) -> str:
    """The references whose history holds a snapshot that cannot be read."""
    parents: Mapping[str, str | None] = history.parents
    names = []
    for one in references:
        line = history.lines.get(one.snapshot_id, ())
        if one.snapshot_id == snapshot_id or (line and parents[line[-1]] == snapshot_id):
            names.append(f"{one.kind} {one.name}")
    return ", ".join(names) or "the registry of models"
