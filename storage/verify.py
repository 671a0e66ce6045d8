"""Verification: is everything that a store's branches and tags lead to still there, and is it what was written.

In one pass: every sealed file has its size and its sha256, however many snapshots share it; every snapshot's tables, images and manifest
say the same, and refer to chunks that are there; every reference names a snapshot, back to the beginning. What killed builds left
behind is no damage. It is not to be run while `gc` is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import icechunk

from storage import models
from storage.contents import READ, Contents, check_contents
from storage.errors import FusionPriorError, StoreError
from storage.files import Files, hash_bytes, parse_location
from storage.findings import DAMAGED, IMAGE, MISSING, MODELS, SEAL, SNAPSHOT, TABLE, Finding
from storage.hits import Hits
from storage.references import History, Reference, check_references, find_registered, read_references, walk_history
from storage.repository import Store, find_snapshot, open_store
from storage.seals import FOLDER, MANIFESTS, SNAPSHOTS, TRANSACTIONS, SealedFile, Seals, do_all, find_snapshot_of, read_seals

Report = Callable[[str, int, int], None]
"""Told of progress: what, how much of it is done, how much there is."""

STRIDE = 256
"""Files between two reports."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look through a store found.

    Attributes:
        findings: every damage; none where all is well.
        snapshots: the ids of those that were looked at.
        files: how many sealed files were.
        size: of these, in bytes.
        images: how many images no seal covers; they were read whole.
        proven: the paths of those that are what was sealed.
    """

    findings: tuple[Finding, ...]
    snapshots: tuple[str, ...]
    files: int
    size: int
    images: int
    proven: frozenset[str]


class Look:
    """A store as it is seen at one moment: its references, their history, and the seals.

    Attributes:
        store: freshly opened, so that nothing is remembered from before.
        references: its branches and tags.
        history: behind them, and behind what the registry of models names.
        seals: all of them.
    """

    store: Store
    references: tuple[Reference, ...]
    history: History
    seals: Seals

    def __init__(self, address: str) -> None:
        """Open the store and look at what is small."""
        self.store = open_store(address)
        self.references = read_references(self.store.files)
        self.seals = read_seals(self.store.files)
        registered = (one for one in find_registered(self.store.files) if self.seals.of(one) or _is_there(self.store.repository, one))
        heads = dict.fromkeys((*(one.snapshot_id for one in self.references if one.snapshot_id), *registered))
        self.history = walk_history(self.store.repository, heads)

    @cached_property
    def covered(self) -> Mapping[str, frozenset[str]]:
        """The hashes of all sealed chunks by the path of their array."""
        found: dict[str, set[str]] = {}
        for seal in self.seals.valid:
            for one in seal.files:
                if one.array:
                    found.setdefault(one.array, set()).add(one.sha256)
        return {array: frozenset(digests) for array, digests in found.items()}

    @cached_property
    def sealed_manifests(self) -> frozenset[str]:
        """The ids of all manifests that are sealed."""
        paths = (one.path for seal in self.seals.valid for one in seal.files if one.path.startswith(MANIFESTS))
        return frozenset(path.rpartition("/")[2] for path in paths)

    @property
    def sealed(self) -> frozenset[str]:
        """The snapshots that have a seal."""
        return frozenset(one.snapshot_id for one in self.seals.valid)

    @property
    def readable(self) -> tuple[str, ...]:
        """The snapshots that can be read, or whose seal says what they were."""
        return tuple(one for one in self.history.snapshots if one not in self.history.broken or one in self.sealed)

    def vouches(self, array: str, digest: str, manifests: Iterable[str] = ()) -> bool:
        """Whether a chunk of an array with this hash is sealed ("" for any), and all of these manifests."""
        known = self.covered.get(array, frozenset())
        return (digest in known if digest else bool(known)) and self.sealed_manifests.issuperset(manifests)

    def find(self, name: str) -> str:
        """The id behind a tag, a branch or an id, even where the snapshot cannot be read; raises SnapshotNotFound."""
        named = {one.name: one.snapshot_id for one in self.references if one.snapshot_id}
        found = named.get(name, name)
        return found if found in self.history.broken or self.seals.of(found) else find_snapshot(self.store, name)

    def list_sealed(self, snapshots: Iterable[str]) -> dict[str, list[SealedFile]]:
        """The files that the seals of these snapshots list, by path; one that may have the bytes of several has several."""
        rows: dict[str, list[SealedFile]] = {}
        wanted = set(snapshots)
        for seal in self.seals.valid:
            for one in seal.files if seal.snapshot_id in wanted else ():
                rows.setdefault(one.path, []).append(one)
        return rows


def _is_there(repository: icechunk.Repository, snapshot_id: str) -> bool:
    try:
        repository.lookup_snapshot(snapshot_id)
    except (icechunk.IcechunkError, ValueError):
        return False
    return True


def verify_store(
    store: Store | str,
    snapshots: Sequence[str] = (),
    *,
    report: Report = lambda what, done, total: None,
    proven: frozenset[str] = frozenset(),
) -> Verification:
    """Look for damage.

    Args:
        store: the store or its address; it is opened anew.
        snapshots: tags, branches or ids to look at; without any, all that can be reached.
        report: told of progress.
        proven: paths of files that need not be read again.

    Raises:
        StoreError: no store at this address, or it cannot be reached.
        SnapshotNotFound: nothing under one of the names.
    """
    address = store if isinstance(store, str) else store.address
    lost = _check_main(address)
    if lost:
        return Verification((lost,), (), 0, 0, 0, frozenset())
    look = Look(address)
    wanted = tuple(dict.fromkeys(look.find(one) for one in snapshots)) or look.readable
    seen: set[tuple[str, ...]] = set()
    contents = _check_all_contents(look, wanted, seen, report)
    rows = _select_rows(look, contents) if snapshots else look.list_sealed(wanted)
    found, sizes = check_files(look.store.files, rows, report, proven)
    hits = Hits(look.store.files, look.seals, contents, look.vouches) if found else None
    hit = [hits.name(one, rows[one.where]) for one in found] if hits else []
    others = [] if snapshots else [*check_references(look.references, look.history, look.sealed), *_check_models(look.store.files)]
    seals = check_seals(look.seals, {name: one.is_sealed for name, one in contents.items()})
    findings = _merge((*hit, *others, *seals, *(problem for one in contents.values() for problem in one.findings)))
    good = frozenset(rows) - {one.where for one in found}
    images = sum(one[0] == READ for one in seen)
    return Verification(findings, wanted, len(rows), sum(sizes.values()), images, good)


def check_files(
    files: Files,
    rows: Mapping[str, Sequence[SealedFile]],
    report: Report = lambda what, done, total: None,
    proven: frozenset[str] = frozenset(),
) -> tuple[list[Finding], dict[str, int]]:
    """Compare files with what was sealed.

    Args:
        files: the store's.
        rows: by path, what the file may be.
        report: told of progress.
        proven: paths that need not be read again.

    Returns:
        The damages, and the sizes of the files that were read by path.
    """
    paths = [path for path in rows if path not in proven]
    found: list[Finding] = []
    sizes: dict[str, int] = {}
    for start in range(0, len(paths), STRIDE):
        part = paths[start : start + STRIDE]
        for path, (size, problem) in zip(part, do_all(lambda path: _compare(files, rows[path]), part), strict=True):
            sizes[path] = size
            found += [problem] if problem else []
        report("checking files", min(start + STRIDE, len(paths)), len(paths))
    return found, sizes


def _compare(files: Files, rows: Sequence[SealedFile]) -> tuple[int, Finding | None]:
    """A file's size, and what is wrong with it."""
    sealed = rows[0]
    try:
        content = files.read(sealed.path)
    except FileNotFoundError:
        return 0, Finding(MISSING, sealed.path, f"{sealed.path} is missing")
    except (OSError, StoreError) as error:
        return 0, Finding(DAMAGED, sealed.path, f"{sealed.path} cannot be read ({error})")
    if hash_bytes(content) in {one.sha256 for one in rows}:
        return len(content), None
    what = f"has {len(content)} bytes in place of {sealed.size}" if len(content) != sealed.size else "has the right size and other bytes"
    return len(content), Finding(DAMAGED, sealed.path, f"{sealed.path} {what}")


def check_seals(seals: Seals, sealed: Mapping[str, bool]) -> list[Finding]:
    """Snapshots whose seal is lost or damaged.

    Args:
        seals: those that are there.
        sealed: by snapshot that is looked at, whether it must have one.
    """
    damaged = {find_snapshot_of(path): path for path in seals.damaged}
    found = []
    for snapshot_id, is_sealed in sealed.items():
        if snapshot_id in damaged:
            path = damaged[snapshot_id]
            found.append(Finding(SEAL, path, f"{path} is not what was written: what it listed is not checked", (snapshot_id,)))
        elif is_sealed and not seals.of(snapshot_id):
            sentence = f"snapshot {snapshot_id} has lost its seal: not all of its files are checked"
            found.append(Finding(SEAL, f"{FOLDER}/{snapshot_id}", sentence, (snapshot_id,)))
    return found


def _check_main(address: str) -> Finding | None:
    """Without `main` Icechunk opens nothing."""
    files = Files(parse_location(address))
    main = read_references(files)[0]
    if main.snapshot_id or not files.list(SNAPSHOTS):
        return None  # where there is no store at all, opening it says so
    lost = check_references([main], History(), ())[0]
    return replace(lost, sentence=f"{lost.sentence}; nothing else was looked at")


def _check_all_contents(look: Look, wanted: Sequence[str], seen: set[tuple[str, ...]], report: Report) -> dict[str, Contents]:
    """The contents of every snapshot, as far as it can be read."""
    contents = {}
    for done, snapshot_id in enumerate(wanted, 1):
        contents[snapshot_id] = check_contents(look.store, snapshot_id, look.vouches, seen)
        report("checking snapshots", done, len(wanted))
    return contents


def _select_rows(look: Look, contents: Mapping[str, Contents]) -> dict[str, list[SealedFile]]:
    """Of everything that is sealed, what some snapshots consist of."""
    paths: set[str] = set()
    images: set[tuple[str, str]] = set()
    candidates: set[str] = set()
    for snapshot_id, one in contents.items():
        paths |= {f"{SNAPSHOTS}/{snapshot_id}", f"{TRANSACTIONS}/{snapshot_id}", *one.tables}
        paths |= {f"{MANIFESTS}/{name}" for array in one.arrays.values() for name in array.manifests}
        images |= set(one.images.items())
        candidates |= set(one.arrays) - set(one.images)
    own = look.list_sealed(name for name, one in contents.items() if one.snapshot is None)
    return {
        path: rows
        for path, rows in look.list_sealed((*look.history.snapshots, *contents)).items()
        if path in own or path in paths or any(one.array in candidates or (one.array, one.sha256) in images for one in rows)
    }


def _merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings without those that tell of the same file again, or of images that a damaged file spoils."""
    merged: dict[str, Finding] = {}
    spoilt: set[tuple[str, str]] = set()
    for one in findings:
        if one.kind in (MISSING, DAMAGED):
            spoilt |= {(snapshot_id, pair_id) for snapshot_id in one.snapshots for pair_id in one.pairs}
        is_told = one.kind == IMAGE and all((name, pair_id) in spoilt for name in one.snapshots for pair_id in one.pairs)
        known = merged.get(one.where)
        if is_told:
            continue
        if known is None:
            merged[one.where] = one
        elif one.kind in (SNAPSHOT, TABLE, IMAGE):
            snapshots, pairs = {*known.snapshots, *one.snapshots}, {*known.pairs, *one.pairs}
            merged[one.where] = replace(known, snapshots=tuple(sorted(snapshots)), pairs=tuple(sorted(pairs)))
    return tuple(merged.values())


def _check_models(files: Files) -> list[Finding]:
    """Whether the decisions can be read, and the champion's weights are what they were."""
    try:
        champion = models.find_champion(models.read_models(files))
    except FusionPriorError as error:
        return [Finding(MODELS, models.REGISTRY, str(error))]
    if not champion:
        return []
    try:
        with models.open_folder(files, champion):
            return []
    except FusionPriorError as error:
        return [Finding(MODELS, f"{models.FOLDER}/{champion}", str(error))]
