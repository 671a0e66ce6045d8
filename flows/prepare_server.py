"""Prepares a Prefect server for the deployments: the work pool, and what the server shall do by itself beside the triggers of prefect.yaml.

`make deploy` runs it before `prefect deploy --all`; run again it changes nothing that is right already.

A flow run tells every half minute that it lives. One that falls silent without an end has lost its worker or its machine: Prefect leaves
it running for ever, and as every deployment runs once at a time, its next runs wait in vain. So it is declared crashed, which the
server does to no run that has ended, however late its last sign of life came in; and a run that crashed for this reason is scheduled
anew, with its own parameters. The next worker takes it, and finished work is not done again. Should the old process still live, unheard,
it holds the lock of its store or its run, and the new one waits for it.
"""

import sys
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from storage.errors import InputError
from storage.repository import first_line

POOL = "prior-pool"
TAG = "fusion-prior"
SIGNS = ("prefect.flow-run.Pending", "prefect.flow-run.Running", "prefect.flow-run.heartbeat")
"""After these a run has to be heard of again."""

SILENCE = timedelta(seconds=150)
"""Five heartbeats of the frequency that prefect.yaml sets."""

SILENT = "FellSilent"
"""The name of the state of a run that was given up."""

OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}

GIVE_UP = AutomationCore(
    name="fusion-prior: give up a run that fell silent",
    description="Its worker or its machine is gone.",
    trigger=EventTrigger(
        posture=Posture.Proactive,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=OURS,
        after=set(SIGNS),
        expect={"prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=SILENCE,
    ),
    actions=[ChangeFlowRunState(state=StateType.CRASHED, name=SILENT, message="Nothing was heard of it any more")],
)

TAKE_UP = AutomationCore(
    name="fusion-prior: take up again a run that fell silent",
    description="The next worker goes on with it.",
    trigger=EventTrigger(
        posture=Posture.Reactive,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=OURS,
        expect={f"prefect.flow-run.{SILENT}"},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=timedelta(0),
    ),
    actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="It fell silent and is taken up again")],
)


def prepare_server() -> None:
    """Make the work pool and the automations where they are not there yet; raises InputError where no server answers."""
    check_server()
    with get_client(sync_client=True) as client:
        make_pool(client)
        for automation in (GIVE_UP, TAKE_UP):
            register_automation(client, automation)


def check_server() -> None:
    """Refuse a server that is named in the settings and does not answer; where none is named, Prefect starts one for the occasion.

    Raises:
        InputError: it does not answer, or not to us.
    """
    if PREFECT_API_URL.value() is None:
        return
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck() or _try_to_read(client)
    if problem:
        raise InputError(
            f"the Prefect server that PREFECT_API_URL names does not answer ({first_line(problem)}); start it with `make server`, check "
            "PREFECT_API_AUTH_STRING, or take the setting away to go without"
        )


def _try_to_read(client: SyncPrefectClient) -> Exception | None:
    """What is in the way of reading from a server that is well: most often a wrong password."""
    try:
        client.read_work_pools(limit=1)
    except PrefectHTTPStatusError as error:
        return error
    return None


def make_pool(client: SyncPrefectClient) -> None:
    """Make the work pool whose worker runs every flow as a process; one that is there is left as it is."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs the flows of fusion-prior as processes"))


def register_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or bring the one of its name up to date."""
    known = client.read_automations_by_name(automation.name)
    if known:
        client.update_automation(known[0].id, automation)
    else:
        client.create_automation(automation)


if __name__ == "__main__":
    try:
        prepare_server()
    except InputError as error:
        sys.exit(f"error: {error}")
