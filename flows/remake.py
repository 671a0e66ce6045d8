"""A lost chunk made again, byte for byte: from a copy, from pictures that are kept elsewhere in the store, or from the source files.

Whatever is offered counts only if its sha256 is the sealed one, so that nothing that is tried can do harm.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.recipe import SourceBlock
from prior import evaluate, registry
from prior.arrays import Picture
from prior.pairs import PairRef, load
from prior.pictures import read_picture, try_hash
from prior.published import PREFIX
from storage.errors import FusionPriorError, InputError, StoreError
from storage.files import hash_bytes
from storage.findings import read_safely
from storage.planes import stack, unstack
from storage.repository import CANDIDATES, IMAGES, array_path
from storage.schema import OK, PairRow, ScoreRow, SelectionRow
from storage.seals import SealedFile
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_score_rows, to_selection_rows
from storage.verify import Look


@dataclass(frozen=True, slots=True)
class Holder:
    """A pair as one snapshot has it: its row, what was selected, its valid candidates."""

    snapshot: Snapshot
    pair: PairRow
    selection: SelectionRow
    candidates: Sequence[ScoreRow]


class Remaker:
    """Makes lost chunks again from what the rest of the store, the source files and the methods still give."""

    def __init__(self, look: Look, proven: Collection[str]) -> None:
        """Read the tables of all snapshots that can be read; `proven` are the files that are what was sealed."""
        self._files = look.store.files
        self._copies: dict[str, list[str]] = defaultdict(list)
        for seal in look.seals.valid:
            for one in seal.files:
                if one.path in proven:
                    self._copies[one.sha256].append(one.path)
        self._array = ""
        self._made: dict[str, bytes] = {}  # of this array, by sha256
        self._reasons: dict[str, None] = {}
        self._offers: Iterator[bytes] = iter(())
        self._holders: dict[str, list[Holder]] = defaultdict(list)
        for snapshot_id in look.readable:
            for holder in _list_holders(look, snapshot_id):
                self._holders[array_path(IMAGES, holder.pair.pair_id)].append(holder)

    def remake(self, sealed: SealedFile) -> bytes:
        """The bytes of a lost chunk; chunks of one array after the other cost least.

        Raises:
            StoreError: nothing gives them any more, and why not.
        """
        for path in dict.fromkeys(self._copies[sealed.sha256]):
            content = self._files.read(path)
            if hash_bytes(content) == sealed.sha256:
                return content
        if sealed.array != self._array or not sealed.array.startswith(f"{CANDIDATES}/"):
            self._array, self._made, self._reasons = sealed.array, {}, {}
            self._offers = self._offer(sealed)
        while sealed.sha256 not in self._made:
            content = next(self._offers, b"")
            if not content:
                raise StoreError("; ".join(self._reasons) or "what is made from the same files is not the same, byte for byte")
            self._made[hash_bytes(content)] = content
        return self._made[sealed.sha256]

    def _offer(self, sealed: SealedFile) -> Iterator[bytes]:
        """Everything that may be the chunk, the cheap first; what stands in the way is noted."""
        group, _, name = sealed.array.partition("/")
        holders = self._holders[f"{IMAGES}/{name}"]
        if not holders:
            self._reasons["no snapshot that can be read has its pair"] = None
        if group == IMAGES:
            yield from _offer_images([one for one in holders if one.selection.image_hash == sealed.sha256], holders, self._reasons)
        elif group == CANDIDATES:
            yield from _offer_candidates(holders, self._reasons)


def _list_holders(look: Look, snapshot_id: str) -> list[Holder]:
    """All pairs of a snapshot; none where a table of it is lost."""
    try:
        with read_safely():
            snapshot = Snapshot(look.store, snapshot_id)
            pairs = {row.pair_id: row for row in to_pair_rows(snapshot.table("pairs"))}
            selections = to_selection_rows(snapshot.table("selections"))
            scores = to_score_rows(snapshot.table("scores"))
    except FusionPriorError:
        return []
    valid: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in scores:
        if row.status == OK:
            valid[row.pair_id].append(row)
    return [Holder(snapshot, pairs[row.pair_id], row, valid[row.pair_id]) for row in selections if row.pair_id in pairs]


def _offer_images(wanted: Sequence[Holder], holders: Sequence[Holder], reasons: dict[str, None]) -> Iterator[bytes]:
    """Images put together from the sources and the winner's picture."""
    for holder in wanted[:1]:  # all of them have the same picture
        row = next((row for row in holder.candidates if row.method == holder.selection.method), None)
        if row is None:
            continue
        for a, b in _find_sources(holder, holders, reasons):
            for picture in _find_pictures(holder, row, holders, (a, b), reasons):
                if picture.shape[:2] == a.shape[:2]:  # another is not the one that was kept
                    yield stack({"a": a, "b": b, "winner": picture})[0].tobytes()


def _offer_candidates(holders: Sequence[Holder], reasons: dict[str, None]) -> Iterator[bytes]:
    """Planes of candidates' pictures, one chunk each."""
    seen: set[str] = set()
    for holder in holders:
        for row in holder.candidates:
            if row.content_key in seen:
                continue
            seen.add(row.content_key)
            for sources in _find_sources(holder, holders, reasons):
                for picture in _find_pictures(holder, row, holders, sources, reasons):
                    yield from (plane.tobytes() for plane in stack({"candidate": picture})[0])


def _find_sources(holder: Holder, holders: Sequence[Holder], reasons: dict[str, None]) -> Iterator[tuple[Picture, Picture]]:
    """The sources of a pair: as a whole image of it keeps them, else from their files; none where neither is there."""
    tried: set[str] = set()
    for one in holders:
        pair_id, digest = one.pair.pair_id, one.selection.image_hash
        if one.pair.pair_hash != holder.pair.pair_hash or digest in tried:
            continue
        tried.add(digest)
        try:
            with read_safely():
                planes, names = one.snapshot.planes(pair_id)
        except FusionPriorError:
            continue
        if hash_bytes(planes.data) == digest:
            pictures = unstack(planes, names)
            yield pictures["a"], pictures["b"]
            return
    try:
        yield _load_sources(holder)
    except (FusionPriorError, OSError) as error:
        reasons[str(error)] = None


def _load_sources(holder: Holder) -> tuple[Picture, Picture]:
    row = holder.pair
    for path, digest in ((row.a_path, row.a_hash), (row.b_path, row.b_hash)):
        found = try_hash(Path(path))
        if not found or found != digest:
            raise InputError(f"the source file {path or 'of an unknown name'} is {'another one than the build read' if found else 'gone'}")
    blocks = [one for one in holder.snapshot.manifest.get("recipe", {}).get("source", ()) if one.get("name", "") == row.source]
    try:
        source = SourceBlock.model_validate(blocks[0]).to_source()
    except (ValidationError, IndexError):
        raise InputError(f"the recipe of snapshot {holder.snapshot.id} does not say how its source {row.source!r} is read") from None
    return load(PairRef(pair_id=row.pair_id, source=source, key=row.pair_id, a=Path(row.a_path), b=Path(row.b_path)))


def _find_pictures(
    holder: Holder, row: ScoreRow, holders: Sequence[Holder], sources: tuple[Picture, Picture], reasons: dict[str, None]
) -> Iterator[Picture]:
    """The picture of one candidate: as it is kept somewhere, then read or fused again."""
    for one in holders:
        if any(row.content_key == other.content_key for other in one.candidates):
            yield from _read_kept(one, row)
    try:
        yield _read_published(row) if row.method.startswith(PREFIX) else _fuse_again(holder, row, sources)
    except (FusionPriorError, OSError) as error:
        reasons[str(error)] = None


def _read_kept(holder: Holder, row: ScoreRow) -> Iterator[Picture]:
    pair_id = holder.pair.pair_id
    try:
        with read_safely():
            picture = holder.snapshot.candidate(pair_id, row.method)
        yield picture
    except FusionPriorError:
        pass
    if holder.selection.content_key != row.content_key:
        return
    try:
        with read_safely():
            picture = holder.snapshot.pictures(pair_id)["winner"]
        yield picture
    except FusionPriorError:
        pass


def _read_published(row: ScoreRow) -> Picture:
    found = try_hash(Path(row.file))
    if not found or not found.startswith(row.version):
        raise InputError(f"the published file {row.file} is {'another one than the build read' if found else 'gone'}")
    return read_picture(Path(row.file)).pixels


def _fuse_again(holder: Holder, row: ScoreRow, sources: tuple[Picture, Picture]) -> Picture:
    method = registry.find_method(row.method)
    if str(method.version) != row.version:
        raise InputError(f"{row.method} has version {method.version} now, the build had {row.version}")
    known = holder.snapshot.manifest.get("methods", {}).get(row.method, {})
    return evaluate.fuse(method, evaluate.prepare(row.pair_id, *sources), known.get("parameters", {})).picture
