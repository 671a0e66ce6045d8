"""What flows tell a Prefect server and a webhook: artifacts, events, logs, failures, promotions – and that secrets are in none of it."""

import http.server
import inspect
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError
from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows import artifacts, build_prior, events, notices, retrain_model, train_model
from flows.artifacts import LISTED, Progress, leave_build, leave_decision, leave_failures, leave_student, write_markdown
from flows.build import Outcome
from flows.changes import Changes
from flows.events import PUBLISHED, announce_snapshot
from flows.logs import PACKAGES, open_logs
from flows.notices import BLOCK, VARIABLE, send_notice
from flows.progress import Report, stay_silent
from flows.retrain import Decision, RetrainRequest
from flows.summary import Failures, summarise
from flows.train_student import TrainRequest
from storage.errors import StoreError
from storage.schema import FIRST, KEPT, PROMOTED, ModelRow
from storage.snapshot import Snapshot
from train.checkpoint import read_checkpoint
from train.evaluate import CHAMPION, Difference, Interval, Standing, Verdict

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's server has its own

TOKEN, AWS_SECRET = "T0KEN-of-the-channel", "AWS/secret+of-nobody"
PATIENCE = 30.0

Notice = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A Prefect server of its own, that takes in what our packages log, as the deployments have it."""
    with prefect_test_harness(server_startup_timeout=120), ExitStack() as stack:
        stack.enter_context(temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}))
        handler = APILogHandler()
        for package in PACKAGES:
            logging.getLogger(package).addHandler(handler)
            stack.callback(logging.getLogger(package).removeHandler, handler)
        yield


@pytest.fixture(autouse=True)
def keep_levels() -> Iterator[None]:
    """Flows open our logs for good; other tests begin with them as they were."""
    loggers = [logging.getLogger(name) for name in (*PACKAGES, "distributed")]
    levels = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Notice]]:
    """A webhook that the environment names: what it was told."""
    told: list[Notice] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(404 if "refuse" in self.path else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tell nobody."""

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(notices, "PAUSE", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{listening.server_port}/hooks/{TOKEN}")
        yield told
        listening.shutdown()
        thread.join()


def find_artifact(key: str) -> str:
    """The newest artifact of a key."""
    with get_client(sync_client=True) as api:
        found = [one for one in api.read_artifacts() if one.key == key]
    return str(max(found, key=lambda one: one.created).data)  # type: ignore[arg-type, return-value]


def find_events(name: str) -> list[dict[str, Any]]:
    """The events of a name that the server knows, waited for."""
    until = time.monotonic() + PATIENCE
    with get_client(sync_client=True) as api:
        while True:
            asked = api.request("POST", "/events/filter", json={"filter": {"event": {"name": [name]}}})
            found: list[dict[str, Any]] = asked.json()["events"]
            if found or time.monotonic() > until:
                return found
            time.sleep(0.1)


# Artifacts.


class Kept:
    """In place of the server: the progress artifacts, and every number they were set to."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[float]] = {}
        self.descriptions: dict[str, str] = {}

    def create(self, progress: float, *, key: str, description: str) -> str:
        assert key not in self.numbers
        self.numbers[key], self.descriptions[key] = [progress], description
        return key

    def update(self, key: str, progress: float) -> None:
        self.numbers[key].append(progress)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    kept = Kept()
    monkeypatch.setattr(artifacts, "create_progress_artifact", kept.create)
    monkeypatch.setattr(artifacts, "update_progress_artifact", kept.update)
    return kept


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes when it is told to."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(artifacts, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_progress_is_told_now_and_then_and_at_the_end(kept: Kept, clock: SimpleNamespace) -> None:
    passed_on: list[tuple[str, int, int]] = []
    progress = Progress("build-prior", lambda *told: passed_on.append(told))
    times = {1: 0.0, 2: 4.9, 3: 5.0, 4: 9.9, 5: 10.0, 6: 30.0, 7: 30.1, 8: 30.2}
    for done, seconds in times.items():
        clock.now = 100.0 + seconds
        progress("evaluating pairs", done, 8)
    assert kept.numbers == {"build-prior-evaluating-pairs": [0.0, 37.5, 62.5, 75.0, 100.0]}
    assert kept.descriptions == {"build-prior-evaluating-pairs": "evaluating pairs: 8 in all"}
    assert passed_on == [("evaluating pairs", done, 8) for done in times]


def test_every_phase_has_its_own_progress(kept: Kept, clock: SimpleNamespace) -> None:
    progress = Progress("retrain-model", stay_silent)
    for what, done in (
        ("training", 1),
        ("scoring the teacher and the others", 1),
        ("training", 2),
        ("scoring the teacher and the others", 2),
    ):
        progress(what, done, 2)
    progress("training", 2, 2)  # a phase that is done again, as on a second round
    assert kept.numbers == {"retrain-model-training": [0, 100, 100], "retrain-model-scoring-the-teacher-and-the-others": [0, 100]}


def test_progress_of_one_step_is_all_of_it(kept: Kept, clock: SimpleNamespace) -> None:
    Progress("x", stay_silent)("inspecting pairs", 1, 1)
    assert kept.numbers == {"x-inspecting-pairs": [0, 100]}


def test_progress_never_passes_its_end(kept: Kept, clock: SimpleNamespace) -> None:
    progress = Progress("x", stay_silent)
    for done in (1, 2, 3):  # a batch that is tried again counts its pairs again
        clock.now += 10
        progress("evaluating pairs", done, 2)
    assert kept.numbers == {"x-evaluating-pairs": [0, 100, 100]}


def test_a_server_that_takes_nothing_ends_no_flow(
    kept: Kept, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def refuse(*_: object, key: str = "", **named: object) -> str:
        asked.append(key)
        raise ConnectionError("gone")

    for name in ("create_progress_artifact", "create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(artifacts, name, refuse)
    told: list[int] = []
    progress = Progress("x", lambda what, done, total: told.append(done))
    with caplog.at_level("WARNING", logger="flows"):
        for done in range(1, 5):
            clock.now += 10
            progress("training", done, 100)
        artifacts.leave_failures([Failures("gff", "raised", 1, "gff on p1 raised")])
    assert told == [1, 2, 3, 4] and asked == ["x-training", "build-prior-failures"], "a server that did not answer is left in peace"
    assert "the Prefect server did not take the progress (ConnectionError); the work goes on" in caplog.text


def test_progress_may_be_told_by_several_threads(kept: Kept, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_slowly(progress: float, *, key: str, description: str) -> str:
        time.sleep(0.05)  # as a server does, so that the others come in between
        return kept.create(progress, key=key, description=description)

    monkeypatch.setattr(artifacts, "create_progress_artifact", create_slowly)
    progress = Progress("x", stay_silent)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda done: progress("evaluating pairs", done, 400), range(1, 401)))
    assert kept.numbers == {"x-evaluating-pairs": [0, 100]}


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In place of the server: tables and texts by key."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda table, *, key, description: kept.update({key: table}))
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, *, key: kept.update({key: text}))
    return kept


def test_failures_are_a_table_where_there_are_any(left: dict[str, Any]) -> None:
    leave_failures(())
    assert left == {}
    leave_failures((Failures("tif", "raised", 3, "tif on p00 raised"), Failures("gff", "timeout", 1, "gff on p01 took too long")))
    assert left["build-prior-failures"] == [
        {"method": "tif", "reason": "raised", "candidates": 3, "the first": "tif on p00 raised"},
        {"method": "gff", "reason": "timeout", "candidates": 1, "the first": "gff on p01 took too long"},
    ]


def test_a_build_is_a_table_of_wins_and_a_summary(left: dict[str, Any], split_store: str) -> None:
    summary = summarise(Snapshot(split_store))
    leave_build(summary, True, "v1")
    wins = left["build-prior-wins"]
    assert {row["method"] for row in wins} == {"average", "maximum"} and sum(row["wins"] for row in wins) == 6
    told = left["build-prior-summary"]
    assert told.startswith(f"# Snapshot `{summary.snapshot_id}` (`v1`)") and "6 of 6 pairs have a winner" in told
    assert "nothing was written" not in told and "it was there already, nothing was written" in write_markdown(summary, False, "")


def test_only_so_many_pairs_that_were_set_aside_are_named(split_store: str) -> None:
    aside = tuple((f"x{number:03d}", "flat", f"x{number:03d} is flat") for number in range(LISTED + 9))
    told = write_markdown(replace(summarise(Snapshot(split_store)), set_aside=aside), True, "")
    assert told.count(" is flat") == LISTED and f"Set aside: {LISTED + 9} pairs" in told


def test_a_student_is_told_with_its_last_reports(left: dict[str, Any], trained: Path) -> None:
    leave_student(trained / "step-00000002")
    told = left["train-model-student"]
    assert str(trained / "step-00000002") in told and "## Losses at step 2" in told and "## Validation at step 2" in told
    assert f"| balanced | {read_checkpoint(trained).facts.value:.4g} |" in told


ROW = ModelRow(
    number=2,
    decision=PROMOTED,
    champion="c" * 16,
    previous="b" * 16,
    challenger="c" * 16,
    challenger_snapshot="NEWER",
    champion_snapshot="OLDER",
    judged_snapshot="NEWER",
    split="test",
    pairs=12,
    groups=5,
    criterion="balanced",
    reason="balanced differs by 0.100 [0.010, 0.200] on 12 pairs of 5 scenes: better",
)
VERDICT = Verdict(
    12,
    5,
    ("balanced",),
    ("balanced",),
    {},
    {},
    (Standing("student", {"balanced": Interval(4.2, 4.0, 4.4)}, {}),),
    (Difference(CHAMPION, "balanced", Interval(0.1, 0.01, 0.2), 102.4, Interval(0.75, 0.5, 0.9)),),
)
CHANGES = Changes(1, 2, 3, 60)


def test_a_decision_is_told_with_its_numbers_and_snapshots(left: dict[str, Any]) -> None:
    leave_decision(Decision(ROW, CHANGES, ROW.reason, VERDICT))
    told = left["retrain-model-decision"]
    assert told.startswith(f"# The challenger is champion now\n\n{ROW.reason}.\n")
    assert f"| champion now | {'c' * 16} |" in told and f"| champion before | {'b' * 16} |" in told
    assert "| challenger's snapshot | NEWER |" in told and "| champion's snapshot | OLDER |" in told
    assert "| judged on | 12 test pairs of 5 scenes of snapshot NEWER |" in told
    assert "| winners | 6 of 62 winners changed (1 new, 2 gone, 3 replaced) |" in told and "| row of the registry | 2 |" in told
    assert "| criterion | student against | difference |" in told and "| balanced | champion | 0.100 | 0.010 | 0.200 |" in told


def test_where_nothing_was_trained_the_reason_is_told(left: dict[str, Any]) -> None:
    leave_decision(Decision(None, CHANGES, "too little has changed: nothing is trained"))
    assert left["retrain-model-decision"] == "# Nothing was trained\n\ntoo little has changed: nothing is trained.\n"


def test_a_champion_that_stays_is_told_so(left: dict[str, Any]) -> None:
    leave_decision(Decision(replace(ROW, decision=KEPT, champion="b" * 16), CHANGES, "not proven better", VERDICT))
    told = left["retrain-model-decision"]
    assert told.startswith("# The champion stays\n\nnot proven better.\n") and f"| champion now | {'b' * 16} |" in told


def test_the_first_champion_had_none_before(left: dict[str, Any]) -> None:
    row = replace(ROW, decision=FIRST, previous="", champion_snapshot="")
    leave_decision(Decision(row, CHANGES, "the first", None))
    told = left["retrain-model-decision"]
    assert told.startswith("# The first champion\n") and "| champion before | none |" in told and "| champion's snapshot | none |" in told
    assert "lead" not in told


# Events.


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been sent to the server."""
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "emit_event", lambda event, **rest: kept.append({"event": event, **rest}))
    return kept


def test_a_new_snapshot_is_told_with_what_changed(split_store: str, emitted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(split_store).parent)
    snapshot = Snapshot("store")  # told as a whole address, for whoever runs elsewhere
    announce_snapshot(Outcome(snapshot, made=True, before=None), "v1")
    announce_snapshot(Outcome(snapshot, made=True, before=snapshot), "")
    resource = {"prefect.resource.id": f"fusion-prior.store.{split_store}", "prefect.resource.name": split_store}
    assert [(one["event"], one["resource"]) for one in emitted] == [(PUBLISHED, resource)] * 2
    known = {"store": split_store, "snapshot": snapshot.id, "winners": 6}
    assert emitted[0]["payload"] == known | {"before": None, "tag": "v1", "changed": 6, "share": 1.0}
    assert emitted[1]["payload"] == known | {"before": snapshot.id, "tag": None, "changed": 0, "share": 0.0}


def test_the_deployment_waits_for_this_event() -> None:
    yaml = (Path(__file__).parents[2] / "prefect.yaml").read_text()
    assert f"expect: [{PUBLISHED}]" in yaml and "prefect.resource.id: fusion-prior.store.*" in yaml
    assert "{{ event.payload.store }}" in yaml


def test_a_build_that_found_its_snapshot_tells_no_event(
    server: None, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path, emitted: list[dict[str, Any]]
) -> None:
    asked = make_pairs(2) | {"methods": ["average"], "store": str(tmp_path / "s"), "scheduler": client.scheduler.address}
    first = build_prior.build_prior(**asked)
    assert [one["payload"]["snapshot"] for one in emitted] == [first] and emitted[0]["payload"]["before"] is None
    assert build_prior.build_prior(**asked) == first and len(emitted) == 1
    assert "it was there already, nothing was written" in find_artifact("build-prior-summary")
    make_pairs(1, first=2)
    second = build_prior.build_prior(**asked)
    assert emitted[1]["payload"] | {"store": ""} == {
        "store": "", "snapshot": second, "before": first, "tag": None, "winners": 3, "changed": 1, "share": 1 / 3,
    }  # fmt: skip


# The flows that train.


def given(flow: Any) -> dict[str, Any]:
    """A flow's parameters with their defaults."""
    return {name: one.default for name, one in inspect.signature(flow.fn).parameters.items()}


@pytest.mark.parametrize("flow", [train_model.train_model, retrain_model.retrain_model])
def test_parameters_are_flat_and_every_one_has_a_default(flow: Any) -> None:
    assert all(one is not inspect.Parameter.empty for one in given(flow).values())
    plain = {"string", "number", "integer", "boolean", "array", "null"}
    for name, described in flow.parameters.properties.items():
        kinds = {one.get("type") for one in described.get("anyOf", [described])}
        assert kinds <= plain and described.get("description", ""), name


@pytest.mark.parametrize("flow", [train_model.train_model, retrain_model.retrain_model])
@pytest.mark.parametrize("wrong", [{"steps": "many"}, {"rate": "fast"}, {"compiled": "perhaps"}, {"workers": None}])
def test_a_wrong_parameter_is_refused(flow: Any, wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters(wrong)


def test_a_wrong_way_of_waiting_is_refused() -> None:
    with pytest.raises(ParameterTypeError):
        retrain_model.retrain_model.validate_parameters({"if_held": "perhaps"})


def test_every_part_of_a_request_is_a_parameter_and_defaults_are_those_of_the_request() -> None:
    request = asdict(TrainRequest(store="store", out=Path("o")))
    trained, retrained = given(train_model.train_model), given(retrain_model.retrain_model)
    assert trained.keys() == request.keys()
    assert {name for name in request if trained[name] != request[name]} == {"out", "resume"}
    own = {one.name: one.default for one in fields(RetrainRequest) if one.name not in ("training", "who")}
    assert retrained.keys() == request.keys() - {"out", "first", "resume"} | own.keys() | {"runs"}
    assert {name: retrained[name] for name in own} == own
    assert {name: retrained[name] for name in request.keys() & retrained.keys()} == {
        name: request[name] for name in request.keys() & retrained.keys()
    }


SETTINGS: dict[str, Any] = {
    "store": "elsewhere", "snapshot": "v1", "preset": "small", "mix": "criteria", "prior_weight": 0.5, "steps": 9, "batch": 4, "crop": 48,
    "rate": 0.1, "seed": 3, "last_stage": 0.2, "weighting": "margin", "accumulate": 2, "evaluate_every": 5, "save_every": 6,
    "report_every": 7, "device": "cpu", "workers": 1, "max_minutes": 2.0, "compiled": True,
}  # fmt: skip


def test_a_training_is_asked_for_as_it_is_said(server: None, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainRequest] = []

    def train(request: TrainRequest, report: Report) -> Path:
        asked.append(request)
        report("training", 2, 2)
        return trained / "step-00000002"

    monkeypatch.setattr(train_model, "train_student", train)
    assert train_model.train_model() == str(trained / "step-00000002")
    train_model.train_model(**SETTINGS, out="there", first="begun", resume=False)
    assert asked == [
        TrainRequest(store="store", out=Path("runs/student"), resume=True),
        TrainRequest(**SETTINGS, out=Path("there"), first=Path("begun"), resume=False),
    ]
    assert float(find_artifact("train-model-training")) == 100 and "# Student in" in find_artifact("train-model-student")


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decision], list[RetrainRequest]]:
    """Sets what retrainings end with from now on; what was asked."""
    asked: list[RetrainRequest] = []

    def set_decision(decision: Decision) -> list[RetrainRequest]:
        def retrain(request: RetrainRequest, report: Report) -> Decision:
            asked.append(request)
            report("training", 2, 2)
            return decision

        monkeypatch.setattr(retrain_model, "retrain", retrain)
        return asked

    return set_decision


def test_a_retraining_is_asked_for_as_it_is_said(
    server: None, webhook: list[Notice], decided: Callable[[Decision], list[RetrainRequest]]
) -> None:
    asked = decided(Decision(None, CHANGES, "nothing is trained"))
    assert retrain_model.retrain_model() == "nothing is trained"
    retrain_model.retrain_model(**SETTINGS, runs="there", least_change=0.5, criterion="diff-if", if_held="refuse")
    assert asked[0] == RetrainRequest(training=TrainRequest(store="store", out=Path("runs")), who=asked[0].who)
    training = TrainRequest(**SETTINGS, out=Path("there"))
    assert asked[1] == RetrainRequest(training=training, least_change=0.5, criterion="diff-if", if_held="refuse", who=asked[1].who)
    with get_client(sync_client=True) as api:
        runs = {run.name for run in api.read_flow_runs()}
    assert {one.who.removeprefix("retrain-model run ") for one in asked} <= runs and len({one.who for one in asked}) == 2
    assert float(find_artifact("retrain-model-training")) == 100 and "# Nothing was trained" in find_artifact("retrain-model-decision")


@pytest.mark.parametrize("decision", [PROMOTED, FIRST, KEPT])
def test_promotions_alone_are_told(
    server: None, webhook: list[Notice], decided: Callable[[Decision], list[RetrainRequest]], decision: str
) -> None:
    row = replace(ROW, decision=decision)
    decided(Decision(row, CHANGES, row.reason, VERDICT))
    assert retrain_model.retrain_model(store="plain") == row.reason
    facts = {"store": "plain", "champion": row.champion, "previous": row.previous, "number": 2}
    text = f"{row.champion} is the champion of plain: {row.reason}"
    assert webhook == ([] if decision == KEPT else [{"kind": "promoted", "text": text, **facts}])


# Failures.


def test_a_flow_that_fails_is_told(server: None, webhook: list[Notice], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        train_model.train_model(store=str(tmp_path / "nowhere"))
    with pytest.raises(StoreError, match="there is no store"):
        retrain_model.retrain_model(store=str(tmp_path / "nowhere"))
    assert [(one["kind"], one["flow"], one["state"]) for one in webhook] == [
        ("failed", name, "Failed") for name in ("train-model", "retrain-model")
    ]
    with get_client(sync_client=True) as api:
        for one in webhook:
            run = api.read_flow_run(one["run_id"])
            assert run.name == one["run"] and run.state is not None and run.state.is_failed()
            assert one["message"] == run.state.message and "there is no store at" in one["message"]
            assert one["text"] == f"{one['flow']}: run {one['run']} is Failed: {one['message']}"


def test_a_build_that_fails_is_told_and_leaves_its_failures(
    server: None, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path, webhook: list[Notice]
) -> None:
    with pytest.raises(Exception, match="4 of 6 live candidates failed"):
        build_prior.build_prior(
            **make_pairs(2), methods=["average", "raises", "returns_nan"], store=str(tmp_path / "s"), scheduler=client.scheduler.address
        )
    rows = json.loads(find_artifact("build-prior-failures"))
    assert [(row["method"], row["reason"], row["candidates"]) for row in rows] == [
        ("raises", "raised", 2),
        ("returns_nan", "wrong_output", 2),
    ]
    assert all(row["method"] in row["the first"] for row in rows)
    assert [(one["kind"], one["flow"]) for one in webhook] == [("failed", "build-prior")]


def test_the_webhook_can_be_a_secret_of_the_server(
    server: None, webhook: list[Notice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = notices.find_webhook()
    monkeypatch.delenv(VARIABLE)
    assert send_notice("failed", "nobody is named") is False and webhook == []
    Secret(value=address).save(BLOCK)
    try:
        assert send_notice("promoted", "from here") is True
        with pytest.raises(StoreError):
            train_model.train_model(store=str(tmp_path / "nowhere"))
    finally:
        Secret.delete(BLOCK)
    assert [one["kind"] for one in webhook] == ["promoted", "failed"]


def test_without_a_webhook_a_failure_is_as_it_was(
    server: None, webhook: list[Notice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(StoreError, match="there is no store"):
        train_model.train_model(store=str(tmp_path / "nowhere"))
    assert webhook == [] and "the webhook was" not in caplog.text


# Logs.


def test_our_packages_speak_and_dask_only_in_need() -> None:
    open_logs()
    assert all(logging.getLogger(package).level == logging.INFO for package in PACKAGES)
    assert logging.getLogger("flows.build").isEnabledFor(logging.INFO) and not logging.getLogger("distributed.nanny").isEnabledFor(
        logging.ERROR
    )


def test_what_the_packages_tell_is_kept_with_the_run(server: None, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(request: TrainRequest, report: Report) -> Path:
        logging.getLogger("train.loop").info("step %d is kept", 2)
        return trained / "step-00000002"

    monkeypatch.setattr(train_model, "train_student", train)
    state = train_model.train_model(return_state=True)
    assert state.is_completed() and "step 2 is kept" in read_logs(state.state_details.flow_run_id)


def read_logs(run_id: object) -> list[str]:
    """Every line that the server keeps of a run."""
    APILogHandler().flush()
    with get_client(sync_client=True) as api:
        return [one["message"] for page in read_pages(api, "/logs/filter") for one in page if one["flow_run_id"] == str(run_id)]


# Secrets.


def test_secrets_are_told_nowhere(
    server: None,
    client: Client,
    make_pairs: Callable[..., dict[str, str]],
    webhook: list[Notice],
    decided: Callable[[Decision], list[RetrainRequest]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    caplog.set_level(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):  # it keeps to the terminal that there was when Prefect was imported
            monkeypatch.setattr(handler.console, "file", sys.stderr)
    asked = make_pairs(2) | {"store": str(tmp_path / "s"), "scheduler": client.scheduler.address}
    snapshot_id = build_prior.build_prior(**asked, methods=["average"])
    with pytest.raises(Exception, match="live candidates failed"):
        build_prior.build_prior(**asked, methods=["average", "raises", "returns_nan"])
    decided(Decision(ROW, CHANGES, ROW.reason, VERDICT))
    retrain_model.retrain_model(store=str(tmp_path / "s"))
    monkeypatch.setenv(VARIABLE, notices.find_webhook().replace("hooks", "refuse"))
    retrain_model.retrain_model(store=str(tmp_path / "s"))
    assert [one["kind"] for one in webhook] == ["failed", "promoted", *["promoted"] * notices.TRIES]

    published = [one for one in find_events(PUBLISHED) if one["payload"]["snapshot"] == snapshot_id]
    assert len(published) == 1
    told = {
        "server": read_everything(),
        "webhook": json.dumps(webhook),
        "events": json.dumps(published),
        "logs": caplog.text,
        "terminal": "".join(capfd.readouterr()),
    }
    for sentence in ("candidates to evaluate on 2 pairs", "the webhook was told: promoted", "it answered 404", "live candidates failed"):
        assert sentence in told["server"] and sentence in told["logs"]  # what is looked through is what was told
    assert "Finished in state Completed()" in told["terminal"]
    for where, text in told.items():
        for secret in (TOKEN, AWS_SECRET):
            assert secret not in text, f"{secret} in {where}"


def read_everything() -> str:
    """All that the server keeps: logs, artifacts, runs with their parameters, and their states."""
    APILogHandler().flush()
    places = ("/logs/filter", "/artifacts/filter", "/flow_runs/filter", "/task_runs/filter")
    with get_client(sync_client=True) as api:
        pages = [page for place in places for page in read_pages(api, place)]
        states = [
            one.json() for run in api.read_flow_runs() for one in [api.request("GET", "/flow_run_states/", params={"flow_run_id": run.id})]
        ]
    return json.dumps([*pages, *states], ensure_ascii=False)


def read_pages(api: Any, place: str) -> Iterator[list[Any]]:
    offset = 0
    while page := api.request("POST", place, json={"offset": offset}).json():
        yield page
        offset += len(page)
