"""What a damaged file hits: the snapshots that it is a part of, and the pairs whose images do not read any more as they were selected."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from storage.contents import Contents, Vouched, find_hit
from storage.errors import FusionPriorError
from storage.files import Files
from storage.findings import IMAGE, Finding, name_some
from storage.repository import CHUNKS
from storage.seals import MANIFESTS, SNAPSHOTS, TRANSACTIONS, SealedFile, Seals
from storage.tables import FOLDER, TableReference, read_table

Place = tuple[str, str]
"""A snapshot's id and the path of one of its arrays."""


class Hits:
    """Finds what damaged files hit, in the contents of the snapshots that are looked at."""

    def __init__(self, files: Files, seals: Seals, contents: Mapping[str, Contents], vouched: Vouched) -> None:
        """Note which arrays every file bears on."""
        self._files, self._seals, self._contents, self._vouched = files, seals, contents, vouched
        self._by_manifest: dict[str, list[Place]] = defaultdict(list)
        self._by_chunk: dict[tuple[str, str], list[Place]] = defaultdict(list)
        self._by_table: dict[str, list[str]] = defaultdict(list)
        self._spoilt = {
            (snapshot_id, problem.where) for snapshot_id, one in contents.items() for problem in one.findings if problem.kind == IMAGE
        }
        self._read: dict[tuple[str, ...], bool] = {}
        for snapshot_id, one in contents.items():
            for path in one.tables:
                self._by_table[path].append(snapshot_id)
            for path, array in one.arrays.items():
                digest = one.images.get(path, "")
                self._by_chunk["" if digest else path, digest].append((snapshot_id, path))
                for name in array.manifests:
                    self._by_manifest[name].append((snapshot_id, path))

    def name(self, finding: Finding, rows: Sequence[SealedFile]) -> Finding:
        """The finding of a sealed file, with the snapshots and pairs that it hits."""
        snapshots, pairs = self._find(finding.where, rows)
        whom = f"it hits {name_some(pairs)}" if pairs else "no image is hit"
        return replace(finding, snapshots=tuple(sorted(snapshots)), pairs=tuple(sorted(pairs)), sentence=f"{finding.sentence}: {whom}")

    def _find(self, path: str, rows: Sequence[SealedFile]) -> tuple[set[str], set[str]]:
        folder, _, name = path.rpartition("/")
        if folder == FOLDER:
            snapshots = set(self._by_table[path])
            return snapshots, {pair_id for one in snapshots for pair_id in self._contents[one].pairs.values()}
        if folder == TRANSACTIONS:
            return {name} & set(self._contents), set()
        if folder == SNAPSHOTS:
            one = self._contents.get(name)
            if one is None:
                return set(), set()
            pairs = self._keep_spoilt([(name, array) for array in one.arrays])[1] if one.snapshot else self._list_pairs(name)
            return {name}, pairs
        if folder == MANIFESTS:
            return self._keep_spoilt(self._by_manifest[name])
        if folder == CHUNKS:
            keys = {key for one in rows for key in (("", one.sha256), (one.array, ""))}
            return self._keep_spoilt([place for key in keys for place in self._by_chunk[key]])
        return set(), set()

    def _keep_spoilt(self, places: Iterable[Place]) -> tuple[set[str], set[str]]:
        """The snapshots and the pairs of those arrays that do not read as they were selected."""
        found: set[Place] = set()
        arrays: dict[str, list[str]] = defaultdict(list)
        for snapshot_id, path in places:
            arrays[snapshot_id].append(path)
        for snapshot_id, paths in arrays.items():
            one = self._contents[snapshot_id]
            keys = {path: (path, one.images.get(path, ""), *one.arrays[path].manifests) for path in paths}
            new = [path for path in paths if keys[path] not in self._read and (snapshot_id, path) not in self._spoilt]
            hit = set(find_hit(one, new, self._vouched))
            self._read |= {keys[path]: path in hit for path in new}
            found |= {(snapshot_id, path) for path in paths if (snapshot_id, path) in self._spoilt or self._read[keys[path]]}
        return {snapshot_id for snapshot_id, _ in found}, {self._contents[snapshot_id].pairs[path] for snapshot_id, path in found}

    def _list_pairs(self, snapshot_id: str) -> set[str]:
        """The pairs of a snapshot that cannot be opened, from the table that its seal names."""
        for seal in self._seals.of(snapshot_id):
            for one in seal.files:
                if one.path.startswith(f"{FOLDER}/selections-"):
                    try:
                        return set(read_table(self._files, TableReference(one.path, one.sha256, 0), ["pair_id"])["pair_id"].to_pylist())
                    except FusionPriorError:
                        continue
        return set()
