"""Notices: what arrives at a webhook, what is tried again, and that its address is told to nobody."""

import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from flows import notices
from flows.notices import BLOCK, VARIABLE, find_webhook, send_notice, tell_failure

TOKEN = "T0KEN-of-the-channel"


@dataclass
class Webhook:
    """A webhook on this machine: what it was told, and how it answers, the last answer for good; 0 is never."""

    address: str
    answers: list[int] = field(default_factory=lambda: [200])
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def choose_answer(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Webhook]:
    """A webhook that the environment names, called again at once."""
    closing = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.calls.append((self.path, self.headers["Content-Type"], json.loads(body)))
            answer = hook.choose_answer()
            if not answer:
                closing.wait(60)
                return
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tell nobody."""

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(notices, "PAUSE", 0.01)
    caplog.set_level(logging.INFO, "flows.notices")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/hooks/{TOKEN}")
        monkeypatch.setenv(VARIABLE, hook.address)
        yield hook
        closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def no_block(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """There is no Prefect server to ask for the block; the names of what was asked for."""
    asked: list[str] = []

    def load(name: str, *, _sync: bool) -> None:
        asked.append(name)
        raise ValueError(f"Unable to find block document named {name}")

    monkeypatch.setattr(notices, "Secret", SimpleNamespace(load=load))
    return asked


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_notice_arrives_as_json(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    assert send_notice("promoted", "there is a new champion – abc", store="store", previous=None, number=2) is True
    facts = {"kind": "promoted", "text": "there is a new champion – abc", "store": "store", "previous": None, "number": 2}
    assert webhook.calls == [(f"/hooks/{TOKEN}", "application/json", facts)]
    assert caplog.messages == ["the webhook was told: promoted"]


def test_a_failure_is_told_with_run_and_reason(webhook: Webhook) -> None:
    flow, run = SimpleNamespace(name="build-prior"), SimpleNamespace(name="brave-fox", id=7)
    tell_failure(flow, run, SimpleNamespace(name="Failed", message="nothing fits"))  # type: ignore[arg-type]
    tell_failure(flow, run, SimpleNamespace(name="Crashed", message=None))  # type: ignore[arg-type]
    told = {"kind": "failed", "flow": "build-prior", "run": "brave-fox", "run_id": "7"}
    texts = ("build-prior: run brave-fox is Failed: nothing fits", "build-prior: run brave-fox is Crashed: no reason is given")
    assert [body for _, _, body in webhook.calls] == [
        told | {"text": texts[0], "state": "Failed", "message": "nothing fits"},
        told | {"text": texts[1], "state": "Crashed", "message": None},
    ]


def test_a_webhook_that_stumbles_is_told_on_the_second_try(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    webhook.answers = [500, 200]
    assert send_notice("failed", "it broke") is True
    assert [body["text"] for _, _, body in webhook.calls] == ["it broke"] * 2 and warnings_of(caplog) == []


def test_between_two_tries_there_is_a_pause(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    webhook.answers = [500]
    assert send_notice("failed", "it broke") is False
    assert pauses == [notices.PAUSE] * 2 and len(webhook.calls) == notices.TRIES == 3


@pytest.mark.parametrize(
    ("answer", "words"), [(404, "it answered 404"), (500, "it answered 500"), (0, "it cannot be reached (TimeoutError)")]
)
def test_a_webhook_that_never_answers_well_is_one_warning(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, answer: int, words: str
) -> None:
    monkeypatch.setattr(notices, "PATIENCE", 0.2)
    webhook.answers = [answer]
    assert send_notice("failed", "it broke") is False
    assert len(webhook.calls) == 3
    (warning,) = warnings_of(caplog)
    assert words in warning and VARIABLE in warning and BLOCK in warning
    assert TOKEN not in caplog.text and "127.0.0.1" not in caplog.text


def test_a_webhook_that_is_not_there_is_one_warning(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:9/hooks/{TOKEN}")  # the port of a service that nobody runs
    assert send_notice("failed", "it broke") is False
    (warning,) = warnings_of(caplog)
    assert "it cannot be reached (URLError)" in warning and TOKEN not in caplog.text and "127.0.0.1" not in caplog.text
    assert webhook.calls == []


@pytest.mark.parametrize("address", [f"{TOKEN}", f"ftp://somewhere/{TOKEN}", f"file:///{TOKEN}", f"HOOK=https://somewhere/{TOKEN}"])
def test_what_is_no_web_address_is_told_without_it(
    address: str, webhook: Webhook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, address)
    assert send_notice("failed", "it broke") is False
    (warning,) = warnings_of(caplog)
    assert "is no web address; nobody is told" in warning and VARIABLE in warning and TOKEN not in caplog.text


@pytest.mark.parametrize("rest", ["", "\n", "[", f"127.0.0.1:port/{TOKEN}", f"127.0.0.1:9/some where/{TOKEN}", f"127.0.0.1:9/ü/{TOKEN}\n"])
def test_an_address_that_cannot_be_called_never_hurts(
    rest: str, webhook: Webhook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"http://{rest}")
    assert send_notice("failed", "it broke") is False
    (warning,) = warnings_of(caplog)
    assert "cannot be reached" in warning and TOKEN not in caplog.text


def test_without_a_webhook_nothing_is_sent(no_block: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(notices, "_post", lambda *_: pytest.fail("somebody was called"))
    assert send_notice("failed", "it broke") is False
    assert no_block == [BLOCK] and caplog.text == ""


def test_the_environment_comes_before_the_block(no_block: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "https://somewhere")
    assert find_webhook() == "https://somewhere" and no_block == []
    monkeypatch.setenv(VARIABLE, "")
    assert find_webhook() == "" and no_block == [BLOCK]
