"""Crops of a snapshot's pairs, as a stream in which a seed and a number say everything.

Crop n of a stream is the same whoever makes it, and when: which pair it shows, where it lies and how it is flipped follow from (seed, n)
alone. So a run can be stopped and taken up at any step, and spread over any number of worker processes and ranks.

    crops = Crops("store", "v1", "train", luma, size=128, seed=0)
    for batch in load_batches(crops, start=0, steps=1000, batch=16):
        ...

Crops stay uint8 until they are on the device that computes with them: a quarter of float32 to move.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from storage.errors import FusionPriorError, InputError, StoreError, unknown_name
from storage.planes import Planes, unstack
from storage.snapshot import Snapshot

Picture = NDArray[np.uint8]
Luma = Callable[[Picture], Picture]
"""From a picture, `(H, W)` or `(H, W, 3)`, to its 8-bit luma `(H, W)`; a function of a module, so that it reaches worker processes."""

Weighting = Literal["none", "margin"]
KEPT_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class ScenePair:
    """One pair that can be learned from.

    Attributes:
        pair_id: its name in the snapshot.
        height: of its pictures, pixels.
        width: of its pictures, pixels.
        margin: how far its winner is ahead of the runner-up, in the criterion's unit; negative where a person chose against the
            criterion, nan where there was no other candidate.
        group: what it shares with the pairs that show the same scene; a group is never split.
    """

    pair_id: str
    height: int
    width: int
    margin: float
    group: str


@dataclass(frozen=True, slots=True)
class Crop:
    """One crop of a pair.

    Attributes:
        a: luma of the first source, uint8 `(1, size, size)`.
        b: luma of the second source, likewise.
        winner: luma of the selected candidate, likewise.
        weight: how much the pair counts; 1 on average.
        pair_id: which pair it shows.
    """

    a: Tensor
    b: Tensor
    winner: Tensor
    weight: float
    pair_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Several crops: `a`, `b` and `winner` uint8 `(B, 1, size, size)`, `weight` float32 `(B,)`, and the ids of their pairs."""

    a: Tensor
    b: Tensor
    winner: Tensor
    weight: Tensor
    pair_ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device; from pinned memory the copy goes on in the background."""
        return self._map(lambda one: one.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, from where a GPU fetches it without the CPU."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(change(self.a), change(self.b), change(self.winner), change(self.weight), self.pair_ids)


class Crops(Dataset[Crop]):
    """The endless stream of crops of one split: `crops[n]` for every n from 0 on; `len(crops)` numbers are one epoch.

    In an epoch every pair comes once. A pair with a side shorter than the crop is mirrored at its borders.
    """

    def __init__(
        self,
        address: str,
        name: str,
        split: str,
        luma: Luma,
        *,
        size: int,
        seed: int,
        weighting: Weighting = "none",
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """List the pairs; their pictures are read when they are asked for.

        Args:
            address: of the store.
            name: of the snapshot: id, tag or branch.
            split: "train", "val" or "test".
            luma: what makes luma of a picture.
            size: of a crop, height and width, pixels.
            seed: 0 or more.
            weighting: what a pair counts, see `weigh_pairs`.
            kept_bytes: so many bytes of pictures each process that reads keeps in memory; 0 reads every time.

        Raises:
            InputError: the snapshot has no pair of this split, or a number is out of range.
            UnknownName: no such weighting.
            SnapshotNotFound: no such snapshot.
            StoreError: no store at this address.
        """
        for what, given, least in (("size of a crop", size, 1), ("seed", seed, 0), ("number of bytes to keep", kept_bytes, 0)):
            _check_least(what, given, least)
        snapshot = Snapshot(address, name)
        self.address = address
        self.snapshot_id = snapshot.id  # a branch moves on: what is opened later must be what was listed
        self.pairs = list_pairs(snapshot, split)
        self.weights = weigh_pairs([one.margin for one in self.pairs], weighting)
        self._luma, self._size, self._seed, self._kept_bytes = luma, size, seed, kept_bytes
        self._snapshot: Snapshot | None = snapshot
        self._kept: dict[str, tuple[Planes, Sequence[str]]] = {}
        self._room = kept_bytes

    def __len__(self) -> int:
        """The numbers in an epoch: one per pair."""
        return len(self.pairs)

    def __getitem__(self, number: int) -> Crop:
        """Crop `number`, 0 or more.

        Raises:
            InputError: a negative number, or the snapshot holds no image of the pair.
            StoreError: the pair's image is lost.
        """
        _check_least("number of a crop", number, 0)
        epoch, place = divmod(number, len(self.pairs))
        index = _shuffle(self._seed, epoch, len(self.pairs))[place]
        pair_id = self.pairs[index].pair_id
        planes, names = self._read(pair_id)
        cut = _cut(planes, self._size, np.random.default_rng((self._seed, number)))
        # the luma of the crop alone, which for a colour picture is a twentieth of the work
        a, b, winner = (self._to_tensor(picture) for picture in _in_order(unstack(cut, names)))
        return Crop(a, b, winner, float(self.weights[index]), pair_id)

    def __getstate__(self) -> dict[str, Any]:
        """Where to read, not what was read: every process opens the store for itself."""
        return self.__dict__ | {"_snapshot": None, "_kept": {}, "_room": self._kept_bytes}

    def _to_tensor(self, picture: Picture) -> Tensor:
        return torch.from_numpy(np.array(self._luma(picture)))[None]  # a copy: the planes may be kept

    def _read(self, pair_id: str) -> tuple[Planes, Sequence[str]]:
        """A pair's planes, from memory where they are kept.

        Pairs are kept as they come until there is no room, and then for good. Every pair comes once per epoch: to drop the one that was
        used longest ago would be to drop the one that comes next.
        """
        if pair_id in self._kept:
            return self._kept[pair_id]
        self._snapshot = self._snapshot or Snapshot(self.address, self.snapshot_id)
        found = _read_planes(self._snapshot, pair_id)
        if found[0].nbytes <= self._room:
            self._kept[pair_id] = found
            self._room -= found[0].nbytes
        return found


class _Shares(Dataset[Batch | FusionPriorError]):
    """By step, one rank's share of the batch, or the error that prevents it: torch would bury that one under a worker's traceback."""

    def __init__(self, crops: Crops, batch: int, rank: int, world: int) -> None:
        self._crops = crops
        self._batch = batch
        self._share = batch // world
        self._first = rank * self._share

    def __getitem__(self, step: int) -> Batch | FusionPriorError:
        first = step * self._batch + self._first
        try:
            return stack_crops([self._crops[number] for number in range(first, first + self._share)])
        except FusionPriorError as error:
            return error


def list_pairs(snapshot: Snapshot, split: str) -> tuple[ScenePair, ...]:
    """The pairs of a split that have a winner, in the order of their ids.

    Raises:
        InputError: there is none, or the snapshot was made before there were splits.
    """
    table = snapshot.table("pairs")
    if not {"split", "group"} <= set(table.column_names):
        raise InputError(f"snapshot {snapshot.id} has no train, val and test splits; build it again with this release, which adds them")
    chosen = snapshot.table("selections", ["pair_id", "margin"])
    margins = dict(zip(chosen["pair_id"].to_pylist(), chosen["margin"].to_pylist(), strict=True))
    rows = [row for row in table.to_pylist() if row["pair_id"] in margins]
    found = [
        ScenePair(row["pair_id"], row["height"], row["width"], margins[row["pair_id"]], row["group"])
        for row in sorted(rows, key=lambda row: str(row["pair_id"]))
        if row["split"] == split
    ]
    if not found:
        there = ", ".join(sorted({row["split"] for row in rows} - {""})) or "none"
        raise InputError(
            f"snapshot {snapshot.id} holds no pair with a winner in split {split!r} (splits with pairs: {there}); "
            "name one of these, or build again from more pairs"
        )
    return tuple(found)


def weigh_pairs(margins: Sequence[float], weighting: Weighting) -> NDArray[np.float32]:
    """What each pair counts, 1 on average.

    Args:
        margins: winner minus runner-up, one per pair, nan where there was no other candidate.
        weighting: "none" for 1 throughout; "margin" for more where the winner is further ahead and so less likely to be there by chance.
            A margin m then counts 0.5 + m / (m + the median of the positive margins), a negative one as 0, divided by the mean of all:
            between 1/3 and 3, and the same in any unit. A pair without a margin counts 1.

    Returns:
        float32, one per pair.

    Raises:
        UnknownName: no such weighting.
    """
    if weighting not in _WEIGHTINGS:
        raise unknown_name("weighting", weighting, _WEIGHTINGS)
    return _WEIGHTINGS[weighting](np.asarray(margins, np.float64)).astype(np.float32)


def stack_crops(crops: Sequence[Crop]) -> Batch:
    """Crops of one size as a batch."""
    return Batch(
        a=torch.stack([one.a for one in crops]),
        b=torch.stack([one.b for one in crops]),
        winner=torch.stack([one.winner for one in crops]),
        weight=torch.tensor([one.weight for one in crops], dtype=torch.float32),
        pair_ids=tuple(one.pair_id for one in crops),
    )


def load_batches(
    crops: Crops, *, start: int, steps: int, batch: int, rank: int = 0, world: int = 1, workers: int = 0, pinned: bool = False
) -> Iterator[Batch]:
    """The batches of the steps from `start` on: step s has the crops s · batch … (s + 1) · batch - 1, of which each rank gets its share.

    Args:
        crops: the stream.
        start: the first step, 0 or more: a run that is taken up again names the step that it had come to.
        steps: how many.
        batch: crops per step, of all ranks together.
        rank: which share, from 0 on.
        world: how many ranks there are; the crops of a step do not depend on it.
        workers: processes that read ahead; 0 reads in this one.
        pinned: whether the batches lie in page-locked memory, for a GPU to fetch.

    Returns:
        One batch per step, each with batch / world crops; what a worker process cannot read is raised here, at its step.

    Raises:
        InputError: a number is out of range, or the batch cannot be shared evenly.
    """
    least = (("start", start, 0), ("number of steps", steps, 0), ("batch", batch, 1), ("number of ranks", world, 1), ("rank", rank, 0))
    for what, given, lowest in (*least, ("number of workers", workers, 0)):
        _check_least(what, given, lowest)
    if rank >= world:
        raise InputError(f"rank {rank} of {world} does not exist; ranks are counted from 0")
    if batch % world:
        raise InputError(f"a batch of {batch} crops cannot be shared evenly by {world} ranks; make it a multiple of {world}")
    loader = DataLoader(
        _Shares(crops, batch, rank, world),
        batch_size=None,  # a step is a batch already
        sampler=range(start, start + steps),
        collate_fn=_pass_on,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # a forked process hangs once Icechunk has been used
        pin_memory=pinned,
        generator=torch.Generator(),  # its own: torch would draw from the one that the training draws from
    )
    return _raise_errors(loader)


def read_pair(snapshot: Snapshot, pair_id: str, luma: Luma) -> tuple[Picture, Picture, Picture]:
    """The whole lumas of a pair: a, b and winner, uint8 `(H, W)` each.

    Raises:
        InputError: the snapshot holds no image of this pair.
        StoreError: the image is lost.
    """
    a, b, winner = (luma(picture) for picture in _in_order(unstack(*_read_planes(snapshot, pair_id))))
    return a, b, winner


def _read_planes(snapshot: Snapshot, pair_id: str) -> tuple[Planes, Sequence[str]]:
    try:
        return snapshot.planes(pair_id)
    except StoreError as error:
        raise StoreError(f"pair {pair_id!r}: {error}") from error


def _in_order(pictures: Mapping[str, Picture]) -> tuple[Picture, Picture, Picture]:
    return pictures["a"], pictures["b"], pictures["winner"]


@functools.lru_cache(maxsize=2)  # the crops of one batch can be of two epochs
def _shuffle(seed: int, epoch: int, pairs: int) -> NDArray[np.int64]:
    """The order of the pairs in an epoch; the spawn key keeps its stream apart from those of the crops."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(pairs)


def _cut(planes: Planes, size: int, rng: np.random.Generator) -> Planes:
    """A window of `(plane, y, x)` at a random place, flipped up-down and left-right at random; a view of the planes where they suffice."""
    _, height, width = planes.shape
    rows, columns = _place(rng, size, height), _place(rng, size, width)
    down, right = 1 - 2 * rng.integers(2, size=2)
    return planes[:, rows][:, :, columns][:, ::down, ::right]


def _place(rng: np.random.Generator, size: int, side: int) -> slice | NDArray[np.int64]:
    """Where on a side a window lies; on a shorter side the whole of it, mirrored at both ends as often as it takes.

    The end itself is not repeated: 2 1 | 0 1 2 | 1 0.
    """
    spare = side - size
    start = int(rng.integers(min(spare, 0), max(spare, 0), endpoint=True))
    if spare >= 0:
        return slice(start, start + size)
    period = max(2 * (side - 1), 1)
    places = np.arange(start, start + size) % period
    return np.minimum(places, period - places)


def _weigh_equally(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(margins)


def _weigh_by_margin(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.ones_like(margins)
    known = np.isfinite(margins)
    gains = np.maximum(margins[known], 0)
    if np.any(gains > 0):
        raw = 0.5 + gains / (gains + np.median(gains[gains > 0]))
        weights[known] = raw / raw.mean()
    return weights


_WEIGHTINGS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = MappingProxyType(
    {"none": _weigh_equally, "margin": _weigh_by_margin}
)


def _check_least(what: str, given: int, least: int) -> None:
    if given < least:
        raise InputError(f"the {what} is {given}; it must be {least} or more")


def _pass_on(share: Any) -> Any:
    return share


def _raise_errors(shares: "DataLoader[Batch | FusionPriorError]") -> Iterator[Batch]:
    for share in shares:
        if isinstance(share, FusionPriorError):
            raise share
        yield share
