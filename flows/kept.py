"""Kept pictures: every snapshot of a store is a place where a picture can be taken from that would otherwise be made again."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from storage.errors import StoreError
from storage.files import hash_bytes
from storage.history import list_versions
from storage.planes import Planes, stack, unstack
from storage.repository import Store
from storage.schema import PairRow, SelectionRow
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows

logger = logging.getLogger(__name__)


class Kept:
    """A snapshot whose pictures may be used again; it is read only as far as it is asked."""

    def __init__(self, store: Store, snapshot_id: str) -> None:
        self._store = store
        self._candidates: dict[str, list[str]] = {}
        self.id = snapshot_id

    @cached_property
    def snapshot(self) -> Snapshot:
        """The snapshot itself."""
        return Snapshot(self._store, self.id)

    @cached_property
    def winners(self) -> Mapping[str, SelectionRow]:
        """Its selections by pair_id; none where it cannot be read, for it is only one of many places."""
        try:
            return {one.pair_id: one for one in to_selection_rows(self.snapshot.table("selections"))}
        except StoreError as error:
            logger.warning("no picture is taken from snapshot %s: %s", self.id, error)
            return {}

    def is_winner(self, pair_id: str, content_key: str) -> bool:
        """Whether this candidate is the pair's winner there."""
        held = self.winners.get(pair_id)
        return held is not None and held.content_key == content_key

    def holds(self, pair_id: str, content_key: str) -> bool:
        """Whether this candidate's picture is there, as the winner's or as one of all."""
        return self.is_winner(pair_id, content_key) or content_key in self.list_candidates(pair_id)

    def holds_sources(self, row: PairRow) -> bool:
        """Whether the pictures of exactly this pair's sources are there."""
        return row.pair_id in self.winners and self.snapshot.pair_hash(row.pair_id) == row.pair_hash

    def list_candidates(self, pair_id: str) -> list[str]:
        """The content keys of all candidates of a pair, where all are kept."""
        if pair_id not in self.winners or self.snapshot.manifest["recipe"]["keep"] != "all":
            return []
        if pair_id not in self._candidates:
            self._candidates[pair_id] = self.snapshot.candidate_keys(pair_id)
        return self._candidates[pair_id]

    def read_image(self, pair_id: str) -> tuple[Planes, Sequence[str]]:
        """The pictures of a pair with its winner, as planes, which are what was written.

        Raises:
            StoreError: they are not, or cannot be read.
        """
        planes, names = self.snapshot.planes(pair_id)
        if hash_bytes(planes.data) != self.winners[pair_id].image_hash:
            raise StoreError(
                f"the image of {pair_id} in snapshot {self.id} is not what was written; put it back with: fusion-prior repair "
                f"--store {self._store.address}"
            )
        return planes, names

    def read_with_winner(self, pair_id: str, method: str, content_key: str) -> tuple[Planes, Sequence[str]]:
        """The pictures of a pair with this candidate as its winner; raises as `read_image`."""
        planes, names = self.read_image(pair_id)
        if self.is_winner(pair_id, content_key):
            return planes, names
        return stack(unstack(planes, names) | {"winner": self.snapshot.candidate(pair_id, method)})


def list_kept(store: Store, *first: Snapshot) -> tuple[Kept, ...]:
    """Every snapshot of a store, those named first before all others."""
    ids = dict.fromkeys((*(one.id for one in first), *_list_ids(store)))
    return tuple(Kept(store, one) for one in ids)


def _list_ids(store: Store) -> Iterator[str]:
    try:
        yield from (one.id for one in list_versions(store))
    except StoreError as error:
        logger.warning("pictures are not looked for in older snapshots: %s", error)
