"""The versions of a store as rows: what each snapshot holds, read from what its build kept with the commit."""

import math
from typing import Any

from storage.errors import StoreError
from storage.history import Version, list_versions
from storage.repository import Store
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows


def describe_versions(store: Store) -> list[dict[str, Any]]:
    """One row per snapshot, the newest first; what an older release did not keep is looked up, what nobody knows is None."""
    return [_describe(store, one) for one in list_versions(store)]


def _describe(store: Store, version: Version) -> dict[str, Any]:
    facts = version.facts if "mean_value" in version.facts else {**version.facts, **_look_up(store, version.id)}
    size = facts.get("bytes")
    return {
        "id": version.id,
        "names": (*version.tags, *version.branches),
        "time": f"{version.time:%Y-%m-%dT%H:%M:%SZ}",
        "pairs": facts.get("pairs"),
        "winners": facts.get("selections"),
        "methods": facts.get("methods"),
        "criterion": facts.get("criterion"),
        "mean value": facts.get("mean_value"),
        "MB": None if size is None else -(-size // 10**6),
        "parent": version.parent,
    }


def _look_up(store: Store, snapshot_id: str) -> dict[str, Any]:
    try:
        snapshot = Snapshot(store, snapshot_id)
        values = [row.value for row in to_selection_rows(snapshot.table("selections"))]
        methods = set(snapshot.table("scores", ["method"])["method"].to_pylist())
        criterion = snapshot.manifest["criterion"]["name"]
    except (StoreError, KeyError):
        return {}  # no build made it, or it is damaged: the list goes on, and `verify` tells
    return {"criterion": criterion, "methods": len(methods), "mean_value": math.fsum(values) / len(values) if values else None}
