"""The Prefect flow `reselect-prior`: the reselection of `flows/reselect.py`, its batches as tasks that are retried alone."""

from collections.abc import Sequence

import prefect
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import Progress, leave_build
from flows.build import Batch
from flows.build_prior import BATCHES_AT_ONCE, run_as_tasks
from flows.cluster import make_tls, open_client
from flows.events import announce_snapshot
from flows.logs import open_logs
from flows.notices import name_run, tell_failure
from flows.options import check_worker_count
from flows.progress import show_progress
from flows.reselect import reselect
from flows.summary import summarise
from flows.work import PairDone
from storage.locks import IfHeld


@prefect.flow(
    name="reselect-prior",
    task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE),  # type: ignore[arg-type]
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
def reselect_prior(
    store: str = "store",
    snapshot: str = "main",
    criterion: str = "balanced",
    tag: str = "",
    workers: int = 0,
    scheduler: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    if_held: IfHeld = "wait",
) -> str:
    """Pick the winners of a snapshot again by another criterion, from its scores, and keep them as a new snapshot.

    Args:
        store: where the prior is kept: a folder or an s3:// address.
        snapshot: whose scores are used: a tag, a branch or an id.
        criterion: a profile, a rule, or a rule with a condition such as "balanced where qabf > 0.4".
        tag: a name for the new snapshot, for good.
        workers: processes of the local Dask cluster, which is started only if pictures must be made; 0 is one per core.
        scheduler: the address of an existing Dask scheduler, such as tcp://127.0.0.1:8786.
        tls_ca: file with the authority's certificate, for a scheduler at tls://…
        tls_cert: file with this side's certificate.
        tls_key: file with its key.
        if_held: wait for a build of the same store to end, or refuse.

    Returns:
        The new snapshot's id.
    """
    open_logs()
    check_worker_count(workers)
    with show_progress() as report:
        told = Progress("reselect-prior", report)

        def run(cut: Sequence[Batch]) -> list[PairDone]:
            with open_client(workers, scheduler, make_tls(tls_ca, tls_cert, tls_key)) as client:
                return list(run_as_tasks(client, told)(cut))

        outcome = reselect(store, snapshot, criterion, run, tag=tag, who=name_run(), if_held=if_held)
    if outcome.made:
        announce_snapshot(outcome, tag)
    leave_build(summarise(outcome.snapshot), outcome.made, tag, "reselect-prior")
    return outcome.snapshot.id


if __name__ == "__main__":
    reselect_prior()
