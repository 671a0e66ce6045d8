"""Events: what happens to a store, told to the Prefect server, where triggers wait for it."""

from prefect.events import emit_event

from flows.build import Outcome
from flows.changes import compare_winners

PUBLISHED = "fusion-prior.snapshot.published"


def announce_snapshot(outcome: Outcome, tag: str) -> None:
    """Tell that a build made a new snapshot, and how many winners changed by it."""
    snapshot, changes = outcome.snapshot, compare_winners(outcome.before, outcome.snapshot)
    address = snapshot.store.files.location.resolved
    emit_event(
        PUBLISHED,
        resource={"prefect.resource.id": f"fusion-prior.store.{address}", "prefect.resource.name": address},
        payload={
            "store": address,
            "snapshot": snapshot.id,
            "before": outcome.before.id if outcome.before else None,
            "tag": tag or None,
            "winners": changes.winners,
            "changed": changes.changed,
            "share": changes.share,
        },
    )
