"""The whole operation, as a person would run it: a real server, every deployment, a worker, a schedule, an event, a cancelled run.

Everything is a process of its own on a free loopback port, with a Prefect home of its own; what is still alive at the end is found by that.
"""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows import prepare_server
from storage.errors import SnapshotNotFound
from storage.models import read_models
from storage.repository import open_store
from storage.snapshot import Snapshot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LOGIN, PASSWORD = "keeper", "pa55-of-the-server"
TOKEN = "t0ken-of-the-webhook"
KEY = "k3y-of-the-object-store"
WANTED = {"train": 4, "val": 1, "test": 3}
TINY = {"steps": 2, "batch": 2, "crop": 48, "device": "cpu", "report_every": 1}
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PLUG_IN = "Metadata-Version: 2.1\nName: troublesome\nVersion: 1\n"


def find_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(what: str, ask: Callable[[], Any], seconds: float = 120) -> Any:
    """Ask again and again until there is an answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            answer = ask()
            if answer:
                return answer
        time.sleep(0.5)
    raise TimeoutError(f"in {seconds:g} s there was never: {what}")


@dataclass
class Operation:
    """A server with all that belongs to it."""

    folder: Path
    environment: dict[str, str]
    api: httpx.Client
    notices: list[dict[str, Any]]
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start one of Prefect's processes, which writes into a log of its own."""
        log = (self.folder / f"{'-'.join(command[:2])}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # who is started in the background of a shell ignores Ctrl-C, which Prefect's worker turns SIGTERM into
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        log.close()
        self.processes.append(process)
        return process

    def call(self, *command: str, module: str = "prefect", timeout: float = 240) -> tuple[int, str]:
        """Run one command in the checkout; returns its status and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", module, *command],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout

    def post(self, path: str, **body: object) -> Any:
        answer = self.api.post(path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def post_list(self, path: str, body: list[dict[str, Any]]) -> None:
        self.api.post(path, json=body).raise_for_status()

    def find_runs(self, deployment: str) -> list[dict[str, Any]]:
        """The runs of a deployment, the newest first."""
        runs: list[dict[str, Any]] = self.post("/flow_runs/filter", deployments={"name": {"any_": [deployment]}}, sort="START_TIME_DESC")
        return runs

    def find_states(self, deployment: str) -> Counter[str]:
        return Counter(run["state_type"] for run in self.find_runs(deployment))

    def find_living(self) -> list[psutil.Process]:
        """Every process that lives in this operation's environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.environ().get("PREFECT_HOME") == self.environment["PREFECT_HOME"]:
                    found.append(process)
        return found


class Listener(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it is told."""

    notices: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == f"/{TOKEN}":
            self.notices.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


@pytest.fixture(scope="module")
def notices() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's secret address, and what it was told."""
    told: list[dict[str, Any]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Webhook", (Listener,), {"notices": told}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{TOKEN}", told
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def operation(tmp_path_factory: pytest.TempPathFactory, notices: tuple[str, list[dict[str, Any]]]) -> Iterator[Operation]:
    """A server, all deployments and a worker; whatever is left of them is killed at the end."""
    folder = tmp_path_factory.mktemp("operation")
    about = folder / "plug_in" / "troublesome-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(PLUG_IN)
    (about / "entry_points.txt").write_text("[fusion_prior.methods]\ntroublesome = troublesome_methods\n")
    port = find_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, about.parent))),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": f"{LOGIN}:{PASSWORD}",
        "PREFECT_API_AUTH_STRING": f"{LOGIN}:{PASSWORD}",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "FUSION_PRIOR_WEBHOOK": notices[0],
        "AWS_SECRET_ACCESS_KEY": KEY,
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "200",
    }
    with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(LOGIN, PASSWORD), timeout=30) as api:
        run = Operation(folder, environment, api, notices[1])
        try:
            run.start("server", "start", "--port", str(port))
            wait_for("a server that answers", lambda: api.get("/health").is_success)
            for module, command in (("flows.prepare_server", ()), ("prefect", ("--no-prompt", "deploy", "--all"))):
                status, said = run.call(*command, module=module)
                assert status == 0, said
            run.start("worker", "start", "--pool", "prior-pool")
            yield run
        finally:
            for process in run.find_living():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            for started in run.processes:
                started.wait(timeout=30)


def write_recipe(path: Path, source: dict[str, str], methods: list[str], parameters: str = "") -> Path:
    """A recipe with one source."""
    block = "\n".join(f"{name} = {json.dumps(value)}" for name, value in source.items())
    path.write_text(f"methods = {json.dumps(methods)}\n{parameters}\n[[source]]\n{block}\n")
    return path


@pytest.fixture(scope="module")
def scenes(operation: Operation, write_scenes: Callable[[Path, dict[str, int]], dict[str, str]]) -> dict[str, str]:
    return write_scenes(operation.folder, WANTED)


def test_a_whole_operation(operation: Operation, scenes: dict[str, str]) -> None:
    """In this order, because each needs what the one before left; see the functions' names."""
    see_what_is_deployed(operation)
    see_the_schedule(operation)
    see_who_is_let_in(operation)
    store = build_and_retrain(operation, scenes)
    shorten_silence(operation)
    see_a_failure(operation)
    counted = f'[parameters.counted]\nlog = "{operation.folder / "log"}"\npause = 2.0'
    slow = write_recipe(operation.folder / "slow.toml", scenes, ["average", "counted"], counted)
    cancel_a_build(operation, slow)
    lose_a_worker(operation, slow)
    see_the_failure_stay(operation)
    see_nothing_left(operation)
    see_no_secret(operation, store)


def see_what_is_deployed(operation: Operation) -> None:
    found = {one["name"]: one for one in operation.post("/deployments/filter")}
    assert set(found) == {"build-prior", "reselect-prior", "check-prior", "train-model", "retrain-model"}
    for one in found.values():
        assert one["description"] and "fusion-prior" in one["tags"] and one["work_pool_name"] == "prior-pool"
        assert one["global_concurrency_limit"]["limit"] == 1 and one["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert not any(schedule["active"] for schedule in one["schedules"])
        described = one["parameter_openapi_schema"]["properties"]
        assert described and all("description" in parameter for parameter in described.values())
    scheduled = {name for name, one in found.items() if len(one["schedules"]) == 1}
    assert scheduled == {"build-prior", "check-prior", "retrain-model"} and not any(
        found[name]["schedules"] for name in set(found) - scheduled
    )
    assert {one["name"] for one in operation.post("/automations/filter")} == {
        "retrain-model on a new snapshot",
        prepare_server.GIVE_UP.name,
        prepare_server.TAKE_UP.name,
    }
    parameters = found["retrain-model"]["parameters"] | TINY | {"runs": str(operation.folder / "runs")}
    operation.api.patch(f"/deployments/{found['retrain-model']['id']}", json={"parameters": parameters}).raise_for_status()


def see_the_schedule(operation: Operation) -> None:
    whole = "build-prior/build-prior"
    deployment = operation.api.get(f"/deployments/name/{whole}").json()
    schedule = deployment["schedules"][0]["id"]
    status, said = operation.call("deployment", "schedule", "resume", whole, schedule)
    assert status == 0, said

    def find_scheduled() -> list[dict[str, Any]]:
        return [run for run in operation.find_runs("build-prior") if run["auto_scheduled"] and run["state_type"] == "SCHEDULED"]

    runs = wait_for("a run that the schedule asks for", find_scheduled)
    assert all(run["expected_start_time"][11:19] == "02:00:00" for run in runs), "every night at two"
    status, said = operation.call("deployment", "schedule", "pause", whole, schedule)
    assert status == 0, said
    wait_for("no scheduled run any more", lambda: not find_scheduled())


def see_who_is_let_in(operation: Operation) -> None:
    address = operation.environment["PREFECT_API_URL"]
    assert httpx.post(f"{address}/deployments/filter", json={}).status_code == 401


def build_and_retrain(operation: Operation, scenes: dict[str, str]) -> str:
    """The command of the issue, literally; then what its event sets off."""
    status, said = operation.call("deployment", "run", "no-such-thing")
    assert status == 1 and "'no-such-thing' not found" in said
    store, recipe = str(operation.folder / "store"), write_recipe(operation.folder / "r.toml", scenes, ["average", "laplacian_pyramid"])
    status, said = operation.call("deployment", "run", "build-prior", "--watch", "-p", f"store={store}", "-p", f"recipe={recipe}")
    assert status == 0 and "Completed" in said, said
    snapshot = Snapshot(store)

    def find_ended() -> dict[str, Any] | None:
        return next((run for run in operation.find_runs("retrain-model") if run["state_type"] in TERMINAL), None)

    run = wait_for("a retraining that ended", find_ended)
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["parameters"]["store"] == store
    assert run["created_by"]["type"] == "AUTOMATION"
    row = read_models(open_store(store).files)[-1]
    assert (row.decision, row.judged_snapshot, row.challenger_snapshot) == ("first", snapshot.id, snapshot.id)
    assert (row.pairs, row.split) == (WANTED["test"], "test")
    artifacts = {one["key"]: str(one["data"]) for one in operation.post("/artifacts/latest/filter")}
    assert {"build-prior-wins", "build-prior-summary", "build-prior-evaluating-pairs", "retrain-model-training"} <= set(artifacts)
    assert row.champion in artifacts["retrain-model-decision"] and snapshot.id in artifacts["retrain-model-decision"]
    promoted = [one for one in operation.notices if one["kind"] == "promoted"]
    assert [one["champion"] for one in promoted] == [row.champion]
    for words in ("pairs/s", "8 pairs usable of 8", "training on 4 pairs"):
        wait_for(f"a log with {words!r}", lambda words=words: words in read_logs(operation), 30)
    return store


def see_a_failure(operation: Operation) -> None:
    """A build that cannot be done ends as failed, and the webhook is told why."""
    status, said = operation.call(
        "deployment", "run", "build-prior/build-prior", "--watch", "-p", f"recipe={operation.folder / 'nowhere.toml'}"
    )
    assert status == 1 and "Failed" in said, said
    failed = wait_for("a notice of the failure", lambda: [one for one in operation.notices if one["kind"] == "failed"])
    assert failed[0]["flow"] == "build-prior" and "nowhere.toml" in failed[0]["message"]
    send_late_heartbeat(operation, failed[0]["run_id"])


def send_late_heartbeat(operation: Operation, run: str) -> None:
    """A sign of life that comes in after the end, as it does when a run ends within its first seconds."""
    tags = [{"prefect.resource.id": "prefect.tag.fusion-prior", "prefect.resource.role": "tag"}]
    now = datetime.now(UTC).isoformat()
    event = {"occurred": now, "event": "prefect.flow-run.heartbeat", "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"}}
    operation.post_list("/events", [event | {"related": tags, "payload": {}, "id": str(uuid.uuid4())}])


def see_the_failure_stay(operation: Operation) -> None:
    """A run that failed has nothing more to say, and is not taken up again for that."""
    failed = [run for run in operation.find_runs("build-prior") if run["state_type"] == "FAILED"]
    assert [run["run_count"] for run in failed] == [1]
    assert len([one for one in operation.notices if one["kind"] == "failed" and one["state"] == "Failed"]) == 1


def cancel_a_build(operation: Operation, recipe: Path) -> None:
    """A build that is cancelled half-way leaves no snapshot and no process."""
    run = start_slow_build(operation, recipe, "cancelled", calls=3)
    see_who_listens(operation)
    status, said = operation.call("flow-run", "cancel", run)
    assert status == 0, said
    assert wait_for("a run that ended", lambda: read_state(operation, run, TERMINAL)) == "CANCELLED"
    wait_for("no process of the run any more", lambda: not find_flow_processes(operation))
    with pytest.raises(SnapshotNotFound):
        Snapshot(str(operation.folder / "cancelled"))


def lose_a_worker(operation: Operation, recipe: Path) -> None:
    """A run whose worker is gone is scheduled anew by the server after a silence, and the next worker goes on where it was."""
    log, worker = operation.folder / "log", operation.processes[-1]
    before = len(log.read_text().splitlines())
    run = start_slow_build(operation, recipe, "lost", calls=before + 3)
    worker.kill()
    for process in find_flow_processes(operation):
        with contextlib.suppress(psutil.Error):  # it ended by itself
            if "prefect.engine" in " ".join(process.cmdline()):
                process.kill()
    wait_for("no process of the run any more", lambda: not find_flow_processes(operation))
    assert read_state(operation, run, ("RUNNING",)), "nobody has told the server"
    wait_for("the server's giving the run up", lambda: read_state(operation, run, ("CRASHED", "SCHEDULED")), 150)
    wait_for("the run's being scheduled anew", lambda: read_state(operation, run, ("SCHEDULED",)), 60)
    operation.start("worker", "start", "--pool", "prior-pool")
    assert wait_for("a run that ended", lambda: read_state(operation, run, TERMINAL)) == "COMPLETED"
    assert Snapshot(str(operation.folder / "lost")).table("selections").num_rows == sum(WANTED.values())
    assert len(log.read_text().splitlines()) < before + 3 + sum(WANTED.values()), "what was finished is not done again"
    wait_for("a log of the dead run's lock", lambda: "taken over" in read_logs(operation), 30)


def shorten_silence(operation: Operation) -> None:
    """Let the server wait for hardly more than one heartbeat, which it cannot be told to expect more often than every 30 s."""
    found = next(one for one in operation.post("/automations/filter") if one["name"] == prepare_server.GIVE_UP.name)
    trigger = found["trigger"] | {"within": 40}
    body = {name: found[name] for name in ("name", "description", "enabled", "actions")} | {"trigger": trigger}
    operation.api.put(f"/automations/{found['id']}", json=body).raise_for_status()


def start_slow_build(operation: Operation, recipe: Path, store: str, calls: int) -> str:
    """Ask for a build into a store of its own, and wait until its slow method was called so often in all."""
    log = operation.folder / "log"
    status, said = operation.call(
        "deployment", "run", "build-prior", "-p", f"store={operation.folder / store}", "-p", f"recipe={recipe}", "-p", "workers=2"
    )
    assert status == 0, said
    wait_for(f"{calls} calls of the slow method", lambda: log.exists() and len(log.read_text().splitlines()) >= calls)
    return said.split("UUID: ")[1].split()[0]


def see_who_listens(operation: Operation) -> None:
    """Server, worker and Dask's processes are heard on loopback alone."""
    heard = {one.laddr.ip for process in operation.find_living() for one in process.net_connections() if one.status == "LISTEN"}
    assert heard == {"127.0.0.1"}


def read_state(operation: Operation, run: str, wanted: tuple[str, ...]) -> str:
    state = str(operation.api.get(f"/flow_runs/{run}").json()["state_type"])
    return state if state in wanted else ""


def read_logs(operation: Operation) -> str:
    """The newest lines of the logs of all runs; they reach the server in batches."""
    return " ".join(one["message"] for one in operation.post("/logs/filter", limit=200, sort="TIMESTAMP_DESC"))


def find_flow_processes(operation: Operation) -> list[psutil.Process]:
    """The processes of flow runs: those that run them, and Dask's."""
    marks = ("prefect.engine", "spawn_main", "distributed")
    found = []
    for process in operation.find_living():
        with contextlib.suppress(psutil.Error):
            found += [process] if any(mark in " ".join(process.cmdline()) for mark in marks) else []
    return found


def see_nothing_left(operation: Operation) -> None:
    """Worker and server end when they are asked to, and nothing outlives them."""
    wait_for("no run that goes on", lambda: not {"RUNNING", "PENDING"} & set(operation.find_states("retrain-model")))
    for process in reversed([one for one in operation.processes if one.poll() is None]):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    wait_for("nothing that still lives", lambda: not operation.find_living(), 60)


def see_no_secret(operation: Operation, store: str) -> None:
    """Neither the server's database nor any log holds what must be known to nobody."""
    kept = [path for path in operation.folder.rglob("*") if path.is_file() and path.suffix in (".log", ".db", ".db-wal", ".toml", ".json")]
    assert any(path.name == "prefect.db" for path in kept) and any(path.name == "worker-start.log" for path in kept)
    for path in kept:
        content = path.read_bytes()
        for secret in (PASSWORD, TOKEN, KEY):
            assert secret.encode() not in content, f"{path} holds a secret"
