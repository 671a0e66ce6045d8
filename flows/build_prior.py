"""The Prefect flow `build-prior`: the build of `flows/build.py`, with batches as tasks that are retried alone, progress and artifacts.

Every parameter is flat and has a default; called without any it builds the prior of the embedded example pairs in `./store`.
"""

import threading
import time
from collections.abc import Sequence

import prefect
from distributed import Client
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from flows.artifacts import Progress, leave_build, leave_failures
from flows.build import Batch, RunBatches, build, run_pairs
from flows.cluster import make_tls, open_client
from flows.events import announce_snapshot
from flows.logs import open_logs
from flows.notices import name_run, tell_failure
from flows.options import check_worker_count
from flows.progress import Report, show_progress
from flows.recipe import Keep, Task, collect_recipe
from flows.summary import summarise
from flows.work import PairDone
from storage.errors import BuildFailed
from storage.locks import IfHeld

BATCHES_AT_ONCE = 2
"""Two, so that no worker idles while the last pairs of a batch come in."""


class Counter:
    """Pairs that are done, counted over all batches."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._done = 0
        self._lock = threading.Lock()

    def step(self) -> None:
        """One more pair is done."""
        with self._lock:
            self._done += 1
            self._report("evaluating pairs", self._done, self._total)


@prefect.task(name="evaluate-batch", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE, persist_result=False)
def evaluate_batch(client: Client, batch: Batch, counter: Counter) -> list[PairDone]:
    """Evaluate one batch of pairs on the Dask cluster; pairs that an earlier try finished are not evaluated again."""
    began, done = time.perf_counter(), []
    for one in run_pairs(client, batch):
        done.append(one)
        counter.step()
    seconds = time.perf_counter() - began
    evaluated, failed = sum(one.evaluated for one in done), sum(one.failed for one in done)
    get_run_logger().info(
        "%d pairs done in %.1f s (%.2f pairs/s): %d candidates evaluated, %d failed",
        len(done),
        seconds,
        len(done) / seconds,
        evaluated,
        failed,
    )
    return done


@prefect.flow(
    name="build-prior",
    task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE),  # type: ignore[arg-type]
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
def build_prior(
    a: str | None = None,
    b: str | None = None,
    published: str | None = None,
    pattern: str | None = None,
    task: Task | None = None,
    methods: list[str] | None = None,
    criterion: str | None = None,
    metrics: list[str] | None = None,
    max_shift: float | None = None,
    keep: Keep | None = None,
    recipe: str | None = None,
    store: str = "store",
    tag: str = "",
    workers: int = 0,
    scheduler: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    retry_failed: bool = False,
    if_held: IfHeld = "wait",
) -> str:
    """Build the fusion knowledge prior of a set of pairs and keep it as one snapshot.

    What is left out is as the recipe says, or else the recipe's default.

    Args:
        a: folder of the first modality; without `a`, `b` and `recipe` the embedded example pairs are built.
        b: folder of the second modality.
        published: folder with one folder of published results per method.
        pattern: how the files of a pair are named, such as "IR{key} VIS{key}"; by default they share their stem.
        task: infrared-visible, medical, multi-focus or multi-exposure.
        methods: live methods, or sets of them: fast, standard, all, the name of a task, or none for the published results alone.
        criterion: diff-if, diff-if-released, balanced, or a rule such as "2*ssim + vif + 3*qabf".
        metrics: to store beside the standard ones.
        max_shift: set pairs aside whose estimated shift is larger, in px.
        keep: whose pictures to keep: winners or all.
        recipe: a TOML file with all of this and more; what is given here replaces what it says.
        store: where the prior is kept: a folder or an s3:// address.
        tag: a name for the snapshot, for good.
        workers: processes of the local Dask cluster; 0 is one per core, four per core the most.
        scheduler: the address of an existing Dask scheduler, such as tcp://127.0.0.1:8786.
        tls_ca: file with the authority's certificate, for a scheduler at tls://…
        tls_cert: file with this side's certificate.
        tls_key: file with its key.
        retry_failed: try candidates again that failed before.
        if_held: wait for another build of the same store to end, or refuse.

    Returns:
        The snapshot's id.
    """
    open_logs()
    check_worker_count(workers)
    wanted = collect_recipe(
        recipe,
        a=a,
        b=b,
        published=published,
        pattern=pattern,
        task=task,
        methods=methods,
        criterion=criterion,
        metrics=metrics,
        max_shift=max_shift,
        keep=keep,
    )
    with open_client(workers, scheduler, make_tls(tls_ca, tls_cert, tls_key)) as client, show_progress() as report:
        try:
            told = Progress("build-prior", report)
            outcome = build(
                wanted,
                store,
                client,
                tag=tag,
                retry_failed=retry_failed,
                report=told,
                run_batches=run_as_tasks(client, told),
                who=name_run(),
                if_held=if_held,
            )
        except BuildFailed as error:
            leave_failures(error.failures)
            raise
    if outcome.made:
        announce_snapshot(outcome, tag)
    leave_build(summarise(outcome.snapshot), outcome.made, tag)
    return outcome.snapshot.id


def run_as_tasks(client: Client, report: Report) -> RunBatches:
    """What runs batches as Prefect tasks, several at once."""

    def run_batches(cut: Sequence[Batch]) -> list[PairDone]:
        counter = Counter(sum(map(len, cut)), report)
        # quote: Prefect must not walk through thousands of tasks in search of futures
        futures = [evaluate_batch.submit(quote(client), quote(batch), quote(counter)) for batch in cut]  # type: ignore[call-overload]
        wait(futures)
        return [one for future in futures for one in future.result()]

    return run_batches


if __name__ == "__main__":
    build_prior()
