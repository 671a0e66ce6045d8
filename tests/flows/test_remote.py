"""A store on an object store, as one in a folder: built by workers that have the credentials from the environment, and all that follows."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from distributed import Client

from flows import publish
from flows.build import Outcome, build
from flows.cluster import open_client
from flows.diff import find_diff
from flows.recipe import Recipe, make_recipe
from flows.repair import repair_store
from flows.reselect import reselect
from flows.versions import describe_versions
from flows.work import PairDone
from prior.pictures import write_png
from storage.collect import Keep, collect_garbage
from storage.errors import CommitConflict, InputError
from storage.history import set_branch
from storage.locks import find_holder
from storage.repository import CHUNKS, MAIN, find_head, open_store, tag_snapshot
from storage.seals import FOLDER, write_seal
from storage.snapshot import Snapshot
from storage.verify import verify_store

METHODS = ["average", "maximum", "tif"]


@pytest.fixture(scope="module")
def client(s3_address_of_module: str) -> Iterator[Client]:
    """Two workers, started when the credentials are in the environment."""
    with open_client(workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two small pairs and three methods."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for side in ("ir", "vis"):
        (folder / side).mkdir()
        for number in range(2):
            write_png(folder / side / f"p{number}.png", cv2.GaussianBlur(rng.integers(0, 256, (56, 64), np.uint8), (0, 0), 1.5))
    return make_recipe({"source": [{"a": str(folder / "ir"), "b": str(folder / "vis")}], "methods": METHODS, "keep": "all"})


@pytest.fixture(scope="module")
def first(s3_address_of_module: str, client: Client, recipe: Recipe) -> Outcome:
    """The first snapshot, v1."""
    return build(recipe, s3_address_of_module, client, tag="v1")


@pytest.fixture(scope="module")
def second(first: Outcome, client: Client, recipe: Recipe) -> Outcome:
    """The second one, v2: a method less and another criterion."""
    fewer = recipe.model_copy(update={"methods": ("average", "tif"), "criterion": "vif"})
    return build(fewer, first.snapshot.store.address, client, tag="v2")


def test_a_build_is_there_to_be_read(first: Outcome, recipe: Recipe, client: Client) -> None:
    address = first.snapshot.store.address
    snapshot = Snapshot(address, "v1")
    assert first.made and len(snapshot) == 2 and snapshot.table("scores").num_rows == 6
    rows = {row["pair_id"]: row["image_hash"] for row in snapshot.table("selections").to_pylist()}
    assert {pair_id: snapshot.image_hash(pair_id) for pair_id in rows} == rows
    assert {method: one.shape for method, one in snapshot.candidates("p0").items()} == dict.fromkeys(METHODS, (56, 64))
    assert open_store(address).files.list("journal") == ()
    assert find_holder(open_store(address).files, "build") is None


def test_a_second_build_is_told_from_the_first_with_the_causes(first: Outcome, second: Outcome) -> None:
    address = first.snapshot.store.address
    found = find_diff(Snapshot(address, "v1"), Snapshot(address, "v2"))
    assert found.winners and {one.cause for one in found.winners} <= {"method removed", "criterion"}
    assert found.mean_before + found.effect == pytest.approx(found.mean_after)
    assert [row["names"] for row in describe_versions(open_store(address))][:2] == [("v2", "main"), ("v1",)]


def test_nothing_is_found_wrong_until_something_is(second: Outcome) -> None:
    store = second.snapshot.store
    assert verify_store(store.address).findings == ()
    path = store.files.list(CHUNKS)[0]
    whole = store.files.read(path)
    store.files.write(path, whole[:-1] + bytes([whole[-1] ^ 1]))
    (found,) = verify_store(store.address).findings
    assert found.where == path
    assert repair_store(store.address).left == ()
    assert verify_store(store.address).findings == () and store.files.read(path) == whole


def test_winners_are_picked_again_from_the_scores(first: Outcome, second: Outcome) -> None:
    outcome = reselect(first.snapshot.store.address, "v1", "qabf", refuse_to_run, tag="by-qabf")
    assert outcome.made and outcome.before and outcome.before.id == second.snapshot.id
    assert Snapshot(outcome.snapshot.store.address, "by-qabf").manifest["criterion"]["rule"] == "qabf"
    assert verify_store(outcome.snapshot.store.address).findings == ()


def refuse_to_run(*_: object) -> Iterable[PairDone]:
    raise AssertionError("nothing is left to be done")


def test_a_tag_never_moves(first: Outcome, second: Outcome) -> None:
    store = open_store(first.snapshot.store.address)
    tag_snapshot(store, "again", first.snapshot.id)
    tag_snapshot(store, "again", first.snapshot.id)
    with pytest.raises(InputError, match="tags never move"):
        tag_snapshot(store, "again", second.snapshot.id)
    assert set_branch(store, "trial", "again") is None
    assert Snapshot(store.address, "trial").id == first.snapshot.id


def test_who_is_beaten_at_the_last_moment_loses_nothing(
    first: Outcome, second: Outcome, recipe: Recipe, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = first.snapshot.store.address
    wanted = recipe.model_copy(update={"methods": ("average", "maximum", "laplacian_pyramid"), "criterion": "balanced"})

    def seal_and_be_beaten(*arguments: Any) -> None:
        write_seal(*arguments)
        set_branch(open_store(address), MAIN, "v1")  # as somebody who goes back to an older snapshot

    tag_snapshot(open_store(address), "newest", find_head(open_store(address)))
    with monkeypatch.context() as patch, pytest.raises(CommitConflict, match="run the same command again: finished work is kept"):
        patch.setattr(publish, "write_seal", seal_and_be_beaten)
        build(wanted, address, client, tag="v3")
    store = open_store(address)
    assert find_head(store) == first.snapshot.id and "v3" not in store.repository.list_tags()
    assert verify_store(address).findings == ()
    before = {folder: set(store.files.list(folder)) for folder in (CHUNKS, FOLDER)}
    assert len(collect_garbage(address, Keep()).files) > 3
    assert all(set(store.files.list(folder)) < files for folder, files in before.items())
    monkeypatch.setattr("flows.build.run_in_turn", refuse_to_run)
    outcome = build(wanted, address, client, tag="v3")
    assert outcome.made and outcome.before and outcome.before.id == first.snapshot.id
    assert verify_store(address).findings == ()
    assert [Snapshot(address, name).id for name in ("v1", "v2", "v3")] == [first.snapshot.id, second.snapshot.id, outcome.snapshot.id]
