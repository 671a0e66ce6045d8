"""The Prefect flow: typed parameters, batches as tasks, artifacts, and the same snapshot as without Prefect."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from distributed import Client
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError
from prefect.testing.utilities import prefect_test_harness

from flows import build_prior as module
from flows.build import build, cut_batches, run_pairs
from flows.build_prior import build_prior
from flows.logs import PACKAGES
from flows.recipe import Recipe
from flows.reselect_prior import reselect_prior
from flows.work import PairDone, PairTask
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's server has its own


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A Prefect server of its own, in memory of nobody; flows open our logs, which are closed again."""
    loggers = [logging.getLogger(name) for name in (*PACKAGES, "distributed")]
    levels = [one.level for one in loggers]
    with prefect_test_harness(server_startup_timeout=120):
        yield
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


def find_artifacts(snapshot_id: str) -> dict[str, object]:
    """What was left by the runs that ended with a snapshot."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
        summaries = [one.flow_run_id for one in found if one.key == "build-prior-summary" and snapshot_id in str(one.data)]
    return {str(one.key): one.data for one in found if one.flow_run_id in summaries}


def test_flow_makes_the_snapshot_and_leaves_artifacts(
    server: None,
    client: Client,
    ask: Callable[..., Recipe],
    make_pairs: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.build.SMALLEST_BATCH", 2)
    folders = make_pairs(3)
    scheduler = client.scheduler.address
    snapshot_id = build_prior(**folders, methods=["average", "tif"], store=str(tmp_path / "s"), tag="v1", scheduler=scheduler)
    flow_made = Snapshot(str(tmp_path / "s"), "v1")
    plainly_made = build(ask(methods=["average", "tif"]), str(tmp_path / "plain"), client).snapshot
    assert flow_made.id == snapshot_id
    assert to_selection_rows(flow_made.table("selections")) == to_selection_rows(plainly_made.table("selections"))
    artifacts = find_artifacts(snapshot_id)
    phases = {"build-prior-inspecting-pairs", "build-prior-evaluating-pairs"}
    assert set(artifacts) == phases | {"build-prior-wins", "build-prior-summary"}
    assert all(artifacts[phase] == 100 for phase in phases)
    wins = json.loads(str(artifacts["build-prior-wins"]))
    assert sum(row["wins"] for row in wins) == 3
    assert snapshot_id in str(artifacts["build-prior-summary"]) and "3 of 3 pairs have a winner" in str(artifacts["build-prior-summary"])
    with get_client(sync_client=True) as api:
        runs = [run for run in api.read_task_runs() if run.name.startswith("evaluate-batch")]
    assert len(runs) == 2 and all(run.state is not None and run.state.is_completed() for run in runs)


def test_reselection_is_a_flow_too(server: None, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    store, scheduler = str(tmp_path / "s"), client.scheduler.address
    first = build_prior(**make_pairs(2), methods=["average", "maximum"], store=store, scheduler=scheduler)
    second = reselect_prior(store=store, criterion="-ssim_a", tag="v2", scheduler=scheduler)
    assert second == Snapshot(store, "v2").id == Snapshot(store).id != first
    with get_client(sync_client=True) as api:
        left = {str(one.key) for one in api.read_artifacts() if second in str(one.data) or second in str(one.description)}
    assert left == {"reselect-prior-summary", "reselect-prior-wins"}


def test_what_failed_is_an_artifact_of_its_own(
    server: None, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    methods, scheduler = ["average", "tif", "maximum", "raises"], client.scheduler.address
    artifacts = find_artifacts(build_prior(**make_pairs(2), methods=methods, store=str(tmp_path / "s"), scheduler=scheduler))
    (failed,) = json.loads(str(artifacts["build-prior-failures"]))
    assert (failed["method"], failed["reason"], failed["candidates"]) == ("raises", "raised", 2)
    assert "2 candidates failed (raised 2)" in str(artifacts["build-prior-summary"])


def test_parameters_are_flat_and_every_one_has_a_default() -> None:
    parameters = inspect.signature(build_prior.fn).parameters.values()
    assert all(one.default is not inspect.Parameter.empty for one in parameters)
    plain = {"string", "number", "integer", "boolean", "array", "null"}
    for name, described in build_prior.parameters.properties.items():
        kinds = {one.get("type") for one in described.get("anyOf", [described])}
        assert kinds <= plain, name


@pytest.mark.parametrize("wrong", [{"workers": "many"}, {"keep": "some"}, {"task": "underwater"}, {"max_shift": "far"}, {"methods": 3}])
def test_a_wrong_parameter_is_refused_before_anything_runs(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ParameterTypeError):
        build_prior.validate_parameters({"store": str(tmp_path / "s")} | wrong)
    assert not (tmp_path / "s").exists()


def test_a_batch_that_fails_is_retried_alone(
    server: None, client: Client, make_pairs: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.build.SMALLEST_BATCH", 1)
    monkeypatch.setattr(module.evaluate_batch, "retry_delay_seconds", 0.1)
    handed_out: list[str] = []

    def fail_first_time(opened: Client, tasks: Sequence[PairTask]) -> Iterator[PairDone]:
        names = [task.ref.pair_id for task in tasks]
        handed_out.extend(names)
        if names == ["p01"] and handed_out.count("p01") == 1:
            raise OSError("the network was gone for a moment")
        return run_pairs(opened, tasks)

    monkeypatch.setattr(module, "run_pairs", fail_first_time)
    build_prior(**make_pairs(3), methods=["average"], store=str(tmp_path / "s"), scheduler=client.scheduler.address)
    assert sorted(handed_out) == ["p00", "p01", "p01", "p02"]
    assert Snapshot(str(tmp_path / "s")).table("selections").num_rows == 3


def test_a_long_build_is_cut_into_twenty_batches() -> None:
    assert [len(batch) for batch in cut_batches(list(range(100)))] == [32, 32, 32, 4]  # type: ignore[arg-type]
    assert len(cut_batches(list(range(10_000)))) == 20  # type: ignore[arg-type]
