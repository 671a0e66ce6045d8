"""Reading a snapshot: the one door through which anything leaves the store.

snapshot = open_snapshot("store", "v1")
snapshot.selections()                # an Arrow table, one row per pair
snapshot.pictures("street_01")       # {"a": …, "b": …, "winner": …}
snapshot.cube()                      # xarray: pair, method, metric
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import icechunk
import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from storage.errors import InputError, SchemaMismatch, StoreError
from storage.files import hash_bytes
from storage.planes import Planes, unstack
from storage.repository import CANDIDATES, IMAGES, MAIN, MANIFEST, Store, array_path, find_snapshot, first_line, open_store
from storage.schema import READABLE, metric_columns
from storage.tables import TableReference, read_table

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable version of the prior.

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

    def pairs(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every pair that was asked for, in the order of the ids; one of schema 1 has no `group`, `split` and `scene_hash`."""
        return self._table("pairs", columns)

    def scores(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every candidate, failed ones included: one row per pair and method, one column per metric."""
        return self._table("scores", columns)

    def selections(self, columns: Sequence[str] | None = None) -> pa.Table:
        """What was picked for each pair that has a winner."""
        return self._table("selections", columns)

    def pictures(self, pair_id: str) -> dict[str, NDArray[np.uint8]]:
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

    def candidates(self, pair_id: str) -> dict[str, NDArray[np.uint8]]:
        """Every candidate's picture of one pair by method; empty unless the snapshot was built to keep all."""
        if array_path(CANDIDATES, pair_id) not in self.root:
            return {}
        array = self._array(CANDIDATES, pair_id)
        return unstack(_read(array), _planes_of(array))

    def winner_of(self, pair_id: str) -> str:
        """The method whose candidate was selected for a pair."""
        return str(self._array(IMAGES, pair_id).attrs["winner"])

    def candidate_keys(self, pair_id: str) -> list[str]:
        """The content keys of all candidates of one pair whose pictures, where valid, are kept."""
        if array_path(CANDIDATES, pair_id) not in self.root:
            return []
        return [str(key) for key in self._array(CANDIDATES, pair_id).attrs["content_keys"]]  # type: ignore[union-attr]

    def image_hash(self, pair_id: str) -> str:
        """The sha256 of a pair's planes as they are read now."""
        return hash_bytes(_read(self._array(IMAGES, pair_id)).tobytes())

    def cube(self) -> "xr.Dataset":
        """All scores as `score(pair, method, metric)`, nan where there is none, with `status` and `seconds` by pair and method.

        Pick a method with `.sel({"method": name})`: `.sel(method=name)` is xarray's keyword for how to look up.
        """
        return make_cube(self.scores())

    def _table(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        return read_table(self.store.files, TableReference(**self.manifest["tables"][name]), columns)

    def _array(self, group: str, pair_id: str) -> "zarr.Array[Any]":
        try:
            array = self.root[array_path(group, pair_id)]
        except KeyError:
            raise InputError(f"snapshot {self.id} holds no image of pair {pair_id!r}; `fusion-prior pairs` lists every pair") from None
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{array_path(group, pair_id)} in snapshot {self.id} is not an array; build again")
        return array


def open_snapshot(address: str, name: str = MAIN) -> Snapshot:
    """Open a snapshot by tag, branch or id, read-only.

    Raises:
        StoreError: no store at this address.
        SnapshotNotFound: nothing under this name.
    """
    store = open_store(address)
    return read_snapshot(store, find_snapshot(store, name))


def read_snapshot(store: Store, snapshot_id: str) -> Snapshot:
    """A snapshot of an open store by its id."""
    session = store.repository.readonly_session(snapshot_id=snapshot_id)
    root = zarr.open_group(session.store, mode="r")
    manifest = root.attrs.get(MANIFEST)
    if not isinstance(manifest, dict):
        raise StoreError(f"commit {snapshot_id} in {store.address} was not made by a build: it has no manifest")
    found = manifest.get("schema_version", READABLE[-1])
    if found not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise SchemaMismatch(f"snapshot {snapshot_id} has schema {found}, this release reads {known}; use the release that made it")
    return Snapshot(store, snapshot_id, manifest, root)


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


def _read(array: "zarr.Array[Any]") -> NDArray[np.uint8]:
    try:
        return np.asarray(array[:], dtype=np.uint8)
    except (icechunk.IcechunkError, ValueError) as error:
        raise StoreError(f"{array.path} cannot be read ({first_line(error)}); restore the store from a backup") from error


def _planes_of(array: "zarr.Array[Any]") -> list[str]:
    return [str(name) for name in array.attrs["planes"]]  # type: ignore[union-attr]
