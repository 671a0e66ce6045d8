"""What changed between two snapshots, as far as a student would notice: the images it learns from."""

from dataclasses import dataclass

from storage.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Changes:
    """How many winners changed from one snapshot to another.

    Attributes:
        added, removed: pairs that have a winner in the newer, in the older one alone.
        replaced: pairs whose winner is another method's, or another image.
        winners: pairs that have a winner in the newer one.
    """

    added: int
    removed: int
    replaced: int
    winners: int

    @property
    def changed(self) -> int:
        """All of them."""
        return self.added + self.removed + self.replaced

    @property
    def share(self) -> float:
        """The changed ones as a share, in [0, 1], of all pairs that have a winner in either."""
        either = self.winners + self.removed
        return self.changed / either if either else 0.0

    def __str__(self) -> str:
        parts = f"{self.added} new, {self.removed} gone, {self.replaced} replaced"
        return f"{self.changed} of {self.winners + self.removed} winners changed ({parts})"


def compare_winners(older: Snapshot | None, newer: Snapshot) -> Changes:
    """How many winners changed from `older`, None where there was nothing, to `newer`."""
    before, after = find_images(older) if older else {}, find_images(newer)
    common = before.keys() & after.keys()
    return Changes(
        added=len(after.keys() - before.keys()),
        removed=len(before.keys() - after.keys()),
        replaced=sum(before[pair_id] != after[pair_id] for pair_id in common),
        winners=len(after),
    )


def find_images(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """The method and the image's hash of every winner, by pair."""
    rows = snapshot.table("selections", ["pair_id", "method", "image_hash"]).to_pylist()
    return {row["pair_id"]: (row["method"], row["image_hash"]) for row in rows}
