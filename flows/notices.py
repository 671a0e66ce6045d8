"""Notices: one JSON message to the user's own webhook when a flow fails and when a student is promoted.

The webhook's address is a secret – whoever has it can write to the channel – so it is no parameter, which everybody can read on the
server: it comes from the environment variable FUSION_PRIOR_WEBHOOK of the process that runs the flow, or from Prefect's Secret block
`fusion-prior-webhook`. It never stands in a log, an artifact or an error. `text` is what Slack, Mattermost and the like show as it is.
"""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from typing import Any

import prefect
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

VARIABLE, BLOCK = "FUSION_PRIOR_WEBHOOK", "fusion-prior-webhook"

TRIES, PAUSE, PATIENCE = 3, 2.0, 10.0
"""How often a webhook is called, and how many seconds lie between two calls and may pass in one."""

logger = logging.getLogger(__name__)


def tell_failure(flow: "Flow[Any, Any]", flow_run: FlowRun, state: "State[Any]") -> None:
    """A state hook for flows: tell the webhook that a run failed, crashed, or was ended."""
    text = f"{flow.name}: run {flow_run.name} is {state.name}: {state.message or 'no reason is given'}"
    send_notice("failed", text, flow=flow.name, run=flow_run.name, run_id=str(flow_run.id), state=state.name, message=state.message)


def send_notice(kind: str, text: str, **facts: object) -> bool:
    """Send one message to the webhook; returns whether it arrived. A webhook that does not answer never hurts the flow.

    Args:
        kind: "failed" or "promoted".
        text: one sentence for people.
        facts: the same for machines, as JSON knows it.
    """
    address = find_webhook()
    if not address:
        return False
    body = json.dumps({"kind": kind, "text": text, **facts}).encode()
    for trial in range(TRIES):
        problem = _post(address, body)
        if not problem:
            logger.info("the webhook was told: %s", kind)
            return True
        if trial < TRIES - 1:
            time.sleep(PAUSE)
    logger.warning("the webhook was not told of %r: %s; check %s, or the block %s", kind, problem, VARIABLE, BLOCK)
    return False


def find_webhook() -> str:
    """The webhook's address, or nothing where there is none."""
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        try:
            address = str(Secret.load(BLOCK, _sync=True).get()).strip()  # type: ignore[call-arg, union-attr]
        except Exception:  # no such block, or no server to ask: Prefect has no error of its own for either
            return ""
    if not address.startswith(("https://", "http://")):
        logger.warning("what %s or the block %s holds is no web address; nobody is told", VARIABLE, BLOCK)
        return ""
    return address


def _post(address: str, body: bytes) -> str:
    """Call the webhook; returns what went wrong, in words without its address."""
    # not by httpx, whose log tells the whole address
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json", "User-Agent": "fusion-prior"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"it cannot be reached ({type(error).__name__})"


def name_run() -> str:
    """Who is at work, for those who wait: the flow's run as the server names it."""
    run = prefect.runtime.flow_run
    return f"{run.flow_name} run {run.name}"
