"""What prefect.yaml, the plugin and the Makefile promise, without a server."""

import asyncio
import inspect
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import prefect_plugin, prepare_server
from flows.build import Outcome

ROOT = Path(__file__).resolve().parents[2]
YAML = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in YAML["deployments"]}


def find_flow(deployment: dict[str, Any]) -> Any:
    path, _, name = deployment["entrypoint"].partition(":")
    return getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_every_flow_is_deployed() -> None:
    flows = {path.stem.replace("_", "-") for path in (ROOT / "flows").glob("*.py") if "@prefect.flow(" in path.read_text(encoding="utf-8")}
    assert set(DEPLOYMENTS) == flows >= {"build-prior", "train-model", "retrain-model"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_its_flow(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    flow = find_flow(deployment)
    assert flow.name == name
    assert deployment["description"] and prepare_server.TAG in deployment["tags"]
    assert deployment["work_pool"]["name"] == prepare_server.POOL
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    flow.validate_parameters(deployment["parameters"])
    for asked in (*deployment.get("schedules", ()), *deployment.get("triggers", ())):
        assert set(asked.get("parameters", {})) <= set(inspect.signature(flow.fn).parameters)
    assert not any(schedule["active"] for schedule in deployment.get("schedules", ())), "shipped paused"
    assert flow.on_failure_hooks and flow.on_crashed_hooks


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_is_flat_described_and_has_a_default(name: str) -> None:
    flow = find_flow(DEPLOYMENTS[name])
    plain = {"string", "number", "integer", "boolean", "array", "null"}
    assert all(one.default is not inspect.Parameter.empty for one in inspect.signature(flow.fn).parameters.values())
    for parameter, described in flow.parameters.properties.items():
        assert {one.get("type") for one in described.get("anyOf", [described])} <= plain, parameter
        assert described.get("description"), f"{parameter} has no line in the docstring"


def test_the_trigger_waits_for_the_event_that_is_emitted() -> None:
    from flows.events import PUBLISHED

    (trigger,) = DEPLOYMENTS["retrain-model"]["triggers"]
    assert trigger["expect"] == [PUBLISHED]
    source = inspect.getsource(import_module("flows.events"))
    for template in trigger["parameters"].values():
        assert f'"{template.strip("{} ").removeprefix("event.payload.")}":' in source
    assert "before" in Outcome.__slots__


def test_silence_is_several_heartbeats() -> None:
    for deployment in DEPLOYMENTS.values():
        seconds = int(deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
        assert seconds >= 30, "less is refused by Prefect"
        assert prepare_server.SILENCE.total_seconds() >= 4 * seconds
    given_up, taken_up = prepare_server.GIVE_UP, prepare_server.TAKE_UP
    assert given_up.actions[0].state.value == "CRASHED", "the one state that no run which has ended can be brought into"
    assert taken_up.trigger.expect == {f"prefect.flow-run.{given_up.actions[0].name}"}


def test_nothing_is_reported_and_nothing_listens_outside() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["prefect"]
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["api"]["host"] == settings["worker"]["webserver"]["host"] == "127.0.0.1"
    assert settings["plugins"] == {"enabled": True, "allow": ["fusion-prior"]}


# The short name.


@pytest.mark.parametrize(
    ("name", "whole"), [("build-prior", "build-prior/build-prior"), ("build-prior/build-prior", "build-prior/build-prior"), ("a/b", "a/b")]
)
def test_a_deployment_is_found_by_its_flow_alone(name: str, whole: str) -> None:
    assert prefect_plugin.complete_name(name) == whole


def test_the_plugin_wraps_the_client_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import PrefectClient

    asked: list[str] = []

    async def read(self: object, name: str) -> str:
        asked.append(name)
        return name

    monkeypatch.setattr(PrefectClient, "read_deployment_by_name", read)
    for _ in range(2):
        prefect_plugin.setup_environment(ctx=None)  # type: ignore[arg-type]
    method: Any = PrefectClient.read_deployment_by_name
    assert method.__wrapped__ is read
    asyncio.run(method(object(), "build-prior"))
    assert asked == ["build-prior/build-prior"]


def test_the_plugin_is_installed() -> None:
    assert [one.value for one in entry_points(group="prefect.plugins") if one.name == "fusion-prior"] == ["flows.prefect_plugin"]


# A server that does not answer.


def test_a_server_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for command in (
        ["flows.prepare_server"],
        ["flows.command_line", "build", "--store", str(tmp_path / "store"), "--methods", "average"],
    ):
        done = subprocess.run([sys.executable, "-m", *command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2) and done.stdout == ""
        assert done.stderr.startswith("error: the Prefect server that PREFECT_API_URL names does not answer")
        assert "make server" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()
