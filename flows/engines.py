"""The ways to a build from the command line: as a Prefect flow, plainly, or as a rehearsal that only tells what would be done."""

import os
from typing import Any

from dask.system import CPU_COUNT

from flows.build import build
from flows.cluster import make_tls, open_client
from flows.estimate import estimate
from flows.interrupts import hold_interrupts
from flows.output import print_estimate
from flows.progress import show_progress
from flows.recipe import collect_recipe

PREFECT_SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, by us
}


def build_with_prefect(asked: dict[str, Any], how: dict[str, Any]) -> str:
    """The id of the snapshot that the flow `build-prior` makes of a request, on a server of its own unless one is named."""
    collect_recipe(**asked)  # a wrong request is refused before a server is started
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    from prefect.client.orchestration import get_client  # it reads its settings once

    from flows.build_prior import build_prior
    from flows.prepare_server import check_server

    check_server()
    with hold_interrupts(), get_client(sync_client=True):
        pass  # where no server is named, the first client starts one, which must outlive an interrupt to be told of it
    return str(build_prior(**asked, **how))


def build_plainly(asked: dict[str, Any], how: dict[str, Any]) -> str:
    """The id of the snapshot that a request makes, without Prefect."""
    recipe = collect_recipe(**asked)
    tls = make_tls(how["tls_ca"], how["tls_cert"], how["tls_key"])
    with open_client(how["workers"], how["scheduler"], tls) as client, show_progress() as report:
        named = {name: how[name] for name in ("tag", "retry_failed", "if_held")}
        outcome = build(recipe, how["store"], client, report=report, who="fusion-prior build", **named)
    return outcome.snapshot.id


def rehearse(asked: dict[str, Any], store: str, workers: int) -> None:
    """Print what a build of a request would do, and leave nothing."""
    recipe = collect_recipe(**asked)
    # workers beyond the cores make no pair faster, neither here nor in the build whose time is told
    with open_client(min(workers or CPU_COUNT, CPU_COUNT)) as client, show_progress() as report:
        print_estimate(estimate(recipe, store, client, report))
