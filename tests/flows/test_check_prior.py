"""The flow `check-prior`: quiet where all is well, a failure that names the damage where it is not, a repair where it is asked for."""

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from flows import check_prior as module
from flows.check_prior import check_prior
from flows.logs import PACKAGES
from flows.notices import tell_failure
from storage.errors import StoreError
from storage.repository import CHUNKS, Store, create_store

_spec = importlib.util.spec_from_file_location("sealed_stores", Path(__file__).parents[1] / "storage" / "sealed_stores.py")
assert _spec and _spec.loader
stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stores)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two snapshots, the first tagged v1."""
    made = create_store(str(tmp_path / "store"))
    stores.grow(made, {"p": 0}, tag="v1")
    stores.grow(made, {"p": 1})
    return made


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The tables that the flow leaves; there is no server."""
    tables: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "create_table_artifact", lambda table, **named: tables.append({"rows": table, **named}))
    monkeypatch.setattr(module, "Progress", lambda flow, onward: onward)
    monkeypatch.setattr(module, "open_logs", lambda: None)
    monkeypatch.setattr(module, "name_run", lambda: "check-prior run test")
    return tables


def test_a_whole_store_leaves_nothing_to_tell(store: Store, left: list[dict[str, Any]]) -> None:
    assert check_prior.fn(store=store.address).startswith("no damage in 2 snapshots")
    assert check_prior.fn(store=store.address, snapshot="v1", repair=True).startswith("no damage in 1 snapshots")
    assert not left


def test_damage_fails_the_run_and_is_named(store: Store, left: list[dict[str, Any]]) -> None:
    path = store.files.list(CHUNKS)[0]
    content = store.files.read(path)
    store.files.delete(path)
    with pytest.raises(
        StoreError, match=rf"is damaged in 1 place: {path} is missing: it hits p; mend it with: fusion-prior repair --store "
    ):
        check_prior.fn(store=store.address)
    (table,) = left
    assert table["key"] == "check-prior-findings"
    assert table["description"] == "1 damage"
    assert (table["rows"][0]["kind"], table["rows"][0]["pairs"]) == ("missing", "p")
    store.files.write(path, content)
    assert check_prior.fn(store=store.address)


def test_what_can_be_mended_is_mended_where_it_is_asked_for(store: Store, left: list[dict[str, Any]]) -> None:
    path = store.files.list("tables")[0]
    store.files.delete(path)
    assert check_prior.fn(store=store.address, repair=True).startswith("mended: 1 damage; no damage in 2 snapshots")
    assert left[0]["rows"][0]["outcome"] == "mended"
    for chunk in store.files.list(CHUNKS):
        store.files.delete(chunk)
    store.files.delete(path)
    with pytest.raises(StoreError, match=r"is damaged in 2 places that cannot be mended: .* it hits p"):
        check_prior.fn(store=store.address, repair=True)
    assert sorted(str(row["outcome"]).partition(":")[0] for row in left[1]["rows"]) == ["mended", "stays", "stays"]


def test_failures_are_told_and_parameters_have_defaults() -> None:
    assert check_prior.on_failure_hooks == check_prior.on_crashed_hooks == [tell_failure]
    assert all(one.default is not inspect.Parameter.empty for one in inspect.signature(check_prior.fn).parameters.values())
    assert check_prior.name == "check-prior" and "storage" in PACKAGES
