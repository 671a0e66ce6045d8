"""Reading a snapshot: the one door through which anything leaves the store.

snapshot = Snapshot("store", "v1")
len(snapshot), snapshot.pair(0)      # how many pairs have a winner; the first of them, with its pictures
snapshot.table("selections")         # an Arrow table, one row per pair
snapshot.pictures("street_01")       # {"a": …, "b": …, "winner": …}
snapshot.to_xarray()                 # all scores: pair, method, metric
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import icechunk
import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from storage.errors import InputError, SchemaMismatch, StoreError
from storage.files import hash_bytes
from storage.planes import Planes, unstack
from storage.repository import CANDIDATES, IMAGES, MAIN, MANIFEST, Store, array_path, find_snapshot, first_line, open_store
from storage.schema import READABLE, SelectionRow, metric_columns
from storage.tables import TableReference, read_table, to_selection_rows

if TYPE_CHECKING:
    import xarray as xr

TableName = Literal["pairs", "scores", "selections"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StoredPair:
    """One pair as the prior holds it.

    Attributes:
        selection: who won, with value and margin.
        a, b: the sources, uint8 `(H, W)` or `(H, W, 3)`.
        target: the winner's picture, likewise.
    """

    selection: SelectionRow
    a: Pixels
    b: Pixels
    target: Pixels


class Snapshot:
    """One immutable version of the prior; `len` is the number of its pairs that have a winner.

    Attributes:
        store: where it lies.
        id: its name for good.
        manifest: what made it: recipe, versions, licences, tables.
        root: the Zarr group of its images, read-only.
    """

    store: Store
    id: str
    manifest: Mapping[str, Any]
    root: zarr.Group

    def __init__(self, path: str | Store, version: str = MAIN) -> None:
        """Open a snapshot, read-only.

        Args:
            path: the store's address, or the store where it is open already.
            version: a tag, a branch or an id.

        Raises:
            StoreError: no store at this address, or no build made this commit.
            SnapshotNotFound: nothing under this name.
            SchemaMismatch: another release wrote it.
        """
        self.store = open_store(path) if isinstance(path, str) else path
        self.id = find_snapshot(self.store, version)
        self.root = zarr.open_group(self.store.repository.readonly_session(snapshot_id=self.id).store, mode="r")
        self.manifest = _read_manifest(self.root, f"{self.id} in {self.store.address}")

    def __len__(self) -> int:
        return len(self._selections)

    def __bool__(self) -> bool:
        return True  # one without winners is a snapshot all the same

    def pair(self, number: int) -> StoredPair:
        """The pair of this number, in the order of the ids; negative numbers count from the end.

        Raises:
            IndexError: there are not so many.
            StoreError: its image is lost.
        """
        selection = self._selections[number]
        pictures = self.pictures(selection.pair_id)
        return StoredPair(selection, pictures["a"], pictures["b"], pictures["winner"])

    def table(self, name: TableName, columns: Sequence[str] | None = None) -> pa.Table:
        """One of the three tables, whole or some columns.

        `pairs` has every pair that was asked for, in the order of the ids (of schema 1 without `group`, `split` and `scene_hash`);
        `scores` every candidate, failed ones included: a row per pair and method, a column per metric; `selections` what was picked
        for each pair that has a winner.

        Raises:
            StoreError: its file is gone.
            SchemaMismatch: its file is another one.
        """
        return read_table(self.store.files, TableReference(**self.manifest["tables"][name]), columns)

    def pictures(self, pair_id: str) -> dict[str, Pixels]:
        """The sources `a` and `b` and the `winner` of one pair, uint8 `(H, W)` or `(H, W, 3)`.

        Raises:
            InputError: the snapshot holds no image of this pair.
            StoreError: the image is lost.
        """
        return unstack(*self.planes(pair_id))

    def planes(self, pair_id: str) -> tuple[Planes, Sequence[str]]:
        """What `pictures` unstacks: the planes of one pair, uint8 `(plane, y, x)`, and their names; for who needs only a part of them.

        Raises:
            InputError: the snapshot holds no image of this pair.
            StoreError: the image is lost.
        """
        array = self._array(IMAGES, pair_id)
        return _read(array), _planes_of(array)

    def candidates(self, pair_id: str) -> dict[str, Pixels]:
        """Every candidate's picture of one pair by method; empty unless the snapshot was built to keep all."""
        if array_path(CANDIDATES, pair_id) not in self.root:
            return {}
        return unstack(*self.candidate_planes(pair_id))

    def candidate_planes(self, pair_id: str) -> tuple[Planes, Sequence[str]]:
        """What `candidates` unstacks; raises as `planes`."""
        array = self._array(CANDIDATES, pair_id)
        return _read(array), _planes_of(array)

    def candidate(self, pair_id: str, method: str) -> Pixels:
        """One candidate's picture, of a snapshot that was built to keep all.

        Raises:
            InputError: it is not there.
            StoreError: the image is lost.
        """
        array = self._array(CANDIDATES, pair_id)
        names = _planes_of(array)
        own = [number for number, name in enumerate(names) if name.rpartition(".")[0] == method]
        if not own:
            raise InputError(f"snapshot {self.id} holds no picture of {method} for pair {pair_id!r}")
        return unstack(_read(array, slice(own[0], own[-1] + 1)), names[own[0] : own[-1] + 1])[method]

    def count_planes(self, pair_id: str) -> tuple[int, int]:
        """How many planes are kept of a pair's pictures, and of its candidates."""
        has_candidates = array_path(CANDIDATES, pair_id) in self.root
        return self._array(IMAGES, pair_id).shape[0], self._array(CANDIDATES, pair_id).shape[0] if has_candidates else 0

    def winner_of(self, pair_id: str) -> str:
        """The method whose candidate was selected for a pair."""
        return str(self._array(IMAGES, pair_id).attrs["winner"])

    def pair_hash(self, pair_id: str) -> str:
        """The content hash of the sources of a pair whose image is kept."""
        return str(self._array(IMAGES, pair_id).attrs["pair_hash"])

    def candidate_keys(self, pair_id: str) -> list[str]:
        """The content keys of all candidates of one pair whose pictures, where valid, are kept."""
        if array_path(CANDIDATES, pair_id) not in self.root:
            return []
        return [str(key) for key in self._array(CANDIDATES, pair_id).attrs["content_keys"]]  # type: ignore[union-attr]

    def image_hash(self, pair_id: str) -> str:
        """The sha256 of a pair's planes as they are read now."""
        return hash_bytes(_read(self._array(IMAGES, pair_id)).tobytes())

    def to_xarray(self) -> "xr.Dataset":
        """All scores as `score(pair, method, metric)`, nan where there is none, with `status` and `seconds` by pair and method.

        Pick a method with `.sel({"method": name})`: `.sel(method=name)` is xarray's keyword for how to look up.
        """
        return make_cube(self.table("scores"))

    @cached_property
    def _selections(self) -> list[SelectionRow]:
        return to_selection_rows(self.table("selections"))

    def _array(self, group: str, pair_id: str) -> "zarr.Array[Any]":
        try:
            array = self.root[array_path(group, pair_id)]
        except KeyError:
            raise InputError(f"snapshot {self.id} holds no image of pair {pair_id!r}; `fusion-prior pairs` lists every pair") from None
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{array_path(group, pair_id)} in snapshot {self.id} is not an array; build again")
        return array


def _read_manifest(root: zarr.Group, name: str) -> Mapping[str, Any]:
    manifest = root.attrs.get(MANIFEST)
    if not isinstance(manifest, dict):
        raise StoreError(f"commit {name} was not made by a build: it has no manifest")
    found = manifest.get("schema_version", READABLE[-1])
    if found not in READABLE:
        known = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        raise SchemaMismatch(f"snapshot {name} has schema {found}, this release reads {known}; use the release that made it")
    return manifest


def make_cube(scores: pa.Table) -> "xr.Dataset":
    """A scores table as an `xarray.Dataset` with the dimensions pair, method and metric."""
    import xarray as xr  # brings pandas, which every command would wait for

    metrics = metric_columns(scores.schema)
    pairs, pair_index = np.unique(scores["pair_id"].to_numpy(zero_copy_only=False).astype(object), return_inverse=True)
    methods, method_index = np.unique(scores["method"].to_numpy(zero_copy_only=False).astype(object), return_inverse=True)
    shape = (len(pairs), len(methods))
    score = np.full((*shape, len(metrics)), np.nan)
    seconds = np.full(shape, np.nan)
    status = np.full(shape, "", dtype=object)
    where = (pair_index, method_index)
    for number, metric in enumerate(metrics):
        score[(*where, number)] = scores[metric].to_numpy(zero_copy_only=False)
    seconds[where] = scores["seconds"].to_numpy(zero_copy_only=False)
    status[where] = scores["status"].to_numpy(zero_copy_only=False)
    return xr.Dataset(
        {"score": (("pair", "method", "metric"), score), "seconds": (("pair", "method"), seconds), "status": (("pair", "method"), status)},
        coords={"pair": pairs, "method": methods, "metric": list(metrics)},
    )


def _read(array: "zarr.Array[Any]", planes: slice = slice(None)) -> Pixels:
    try:
        return np.asarray(array[planes], dtype=np.uint8)
    except (icechunk.IcechunkError, ValueError) as error:
        raise StoreError(f"{array.path} cannot be read ({first_line(error)}); restore the store from a backup") from error


def _planes_of(array: "zarr.Array[Any]") -> list[str]:
    return [str(name) for name in array.attrs["planes"]]  # type: ignore[union-attr]
