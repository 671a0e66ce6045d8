"""Reselection: another criterion's winners are those of a build, made from what a snapshot keeps."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from flows.build import Batch, Outcome, build
from flows.recipe import Recipe
from flows.reselect import reselect
from flows.work import PairDone, run_pair
from prior import registry
from storage.errors import InputError, SnapshotNotFound, StoreError, UnknownName
from storage.history import set_branch
from storage.repository import MAIN
from storage.schema import FAILED, NO_CANDIDATE, ScoreRow, SelectionRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_score_rows, to_selection_rows

Ask = Callable[..., Recipe]
OTHER = "-ssim_a"  # picks what is unlike the infrared source
METHODS = {"methods": ["average", "maximum", "tif", "laplacian_pyramid"]}


def do_here(cut: Sequence[Batch]) -> list[PairDone]:
    """Run batches in this process."""
    return [run_pair(task) for batch in cut for task in batch]


def refuse(cut: Sequence[Batch]) -> list[PairDone]:
    """Run nothing: no picture may have to be made."""
    raise AssertionError(f"{sum(map(len, cut))} pairs were to be evaluated")


def chosen(snapshot: Snapshot) -> list[SelectionRow]:
    return to_selection_rows(snapshot.table("selections"))


def rows_of(snapshot: Snapshot) -> list[ScoreRow]:
    return to_score_rows(snapshot.table("scores"))


def assert_same(one: Snapshot, other: Snapshot) -> None:
    """Two snapshots hold the same selections, pictures, pairs and scores."""
    assert chosen(one) == chosen(other)
    assert repr(one.table("pairs").to_pylist()) == repr(other.table("pairs").to_pylist())
    assert [(row.pair_id, row.method, row.scores) for row in rows_of(one)] == [
        (row.pair_id, row.method, row.scores) for row in rows_of(other)
    ]
    for row in chosen(one):
        assert one.image_hash(row.pair_id) == other.image_hash(row.pair_id) == row.image_hash


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def built(client: Client, ask: Ask, store: str) -> Outcome:
    return build(ask(**METHODS), store, client, tag="v1")


def test_it_makes_what_a_build_makes(built: Outcome, ask: Ask, store: str, client: Client, tmp_path: Path) -> None:
    asked: list[str] = []

    def run(cut: Sequence[Batch]) -> list[PairDone]:
        asked.extend(task.ref.pair_id for batch in cut for task in batch)
        return do_here(cut)

    shutil.rmtree(tmp_path / "ir")  # the sources are taken from the snapshot
    made = reselect(store, "v1", OTHER, run, tag="v2")
    assert made.made and made.before is not None and made.before.id == built.snapshot.id
    before = {row.pair_id: row.method for row in chosen(built.snapshot)}
    changed = [row.pair_id for row in chosen(made.snapshot) if row.method != before[row.pair_id]]
    assert asked == changed and changed, "only winners that changed are made"
    assert Snapshot(store, "v2").id == Snapshot(store).id == made.snapshot.id
    assert Snapshot(store, "v1").id == built.snapshot.id


def test_a_build_by_that_criterion_has_nothing_to_do(built: Outcome, ask: Ask, store: str, client: Client) -> None:
    made = reselect(store, "main", OTHER, do_here)
    again = build(ask(**METHODS, criterion=OTHER), store, client)
    assert not again.made and again.snapshot.id == made.snapshot.id
    other = build(ask(**METHODS, criterion=OTHER), f"{store}2", client)
    assert_same(made.snapshot, other.snapshot)


def test_kept_candidates_need_no_work(ask: Ask, store: str, client: Client) -> None:
    first = build(ask(**METHODS, keep="all"), store, client)
    second = reselect(store, "main", OTHER, refuse)
    assert chosen(second.snapshot) != chosen(first.snapshot)
    for row in chosen(second.snapshot):
        np.testing.assert_array_equal(second.snapshot.pictures(row.pair_id)["winner"], first.snapshot.candidates(row.pair_id)[row.method])
        assert second.snapshot.candidate_keys(row.pair_id) == first.snapshot.candidate_keys(row.pair_id)
    third = build(ask(**METHODS, keep="all", criterion="balanced"), store, client)
    other = build(ask(**METHODS, keep="all", criterion="balanced"), f"{store}2", client)
    assert_same(third.snapshot, other.snapshot)


def test_an_older_snapshot_comes_back_as_it_was(built: Outcome, ask: Ask, store: str, client: Client) -> None:
    build(ask(methods=["maximum"], exclude=["p01"], criterion=OTHER), store, client)
    back = reselect(store, "v1", "diff-if", refuse)
    assert back.made
    assert_same(back.snapshot, built.snapshot)
    assert back.snapshot.manifest["build_key"] == built.snapshot.manifest["build_key"]


def test_the_same_criterion_again_writes_nothing(built: Outcome, store: str) -> None:
    again = reselect(store, "main", "diff-if", refuse, tag="same")
    assert not again.made and again.snapshot.id == built.snapshot.id == Snapshot(store, "same").id


def pick(store: str, criterion: str, tmp_path: Path) -> dict[str, str]:
    """Who would win, found in a copy of the store, so that this one keeps no more pictures than before."""
    shutil.copytree(store, tmp_path / "copy")
    return {row.pair_id: row.method for row in chosen(reselect(str(tmp_path / "copy"), "main", criterion, do_here).snapshot)}


def test_a_method_of_another_version_cannot_win(
    built: Outcome, ask: Ask, store: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pick(store, OTHER, tmp_path)
    method = expected["p00"]
    with monkeypatch.context() as patch:
        patch.setitem(registry._methods, method, replace(registry.find_method(method), version=99))
        made = reselect(store, "v1", OTHER, do_here, tag="lost").snapshot
    lost = [row for row in rows_of(made) if row.status == FAILED]
    assert {(row.method, row.reason) for row in lost} == {(method, "changed")}
    assert "has version 99 now; score it again with: fusion-prior build --retry-failed" in lost[0].message
    winners = {row.pair_id: row.method for row in chosen(made)}
    assert all(winners[row.pair_id] != method for row in lost) and len(winners) == 3
    # what failed in the newest snapshot costs the older one nothing, and another try mends it
    again = reselect(store, "v1", OTHER, do_here, tag="found")
    assert again.made and {row.pair_id: row.method for row in chosen(again.snapshot)} == expected
    set_branch(again.snapshot.store, MAIN, "lost")
    assert not build(ask(**METHODS, criterion=OTHER), store, client).made
    tried = build(ask(**METHODS, criterion=OTHER), store, client, retry_failed=True)
    assert tried.made
    assert_same(tried.snapshot, again.snapshot)


def test_a_picture_with_other_scores_cannot_win(built: Outcome, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = pick(store, OTHER, tmp_path)["p00"]
    known = registry.find_method(method)
    monkeypatch.setitem(registry._methods, method, replace(known, fuse=lambda a, b, **named: known.fuse(a, b, **named)[::-1].copy()))
    made = reselect(store, "v1", OTHER, do_here).snapshot
    (first, *_) = [row for row in rows_of(made) if row.status == FAILED]
    assert (first.method, first.reason) == (method, "changed") and "is not what was scored" in first.message


def test_any_snapshot_lends_its_pictures(built: Outcome, store: str, tmp_path: Path) -> None:
    other = reselect(store, "v1", OTHER, do_here, tag="v2")
    reselect(store, "v1", "diff-if where qabf > 2 else none", refuse, tag="none")
    shutil.rmtree(tmp_path / "ir")
    back = reselect(store, "none", OTHER, refuse)
    assert_same(back.snapshot, other.snapshot)


def test_a_damaged_picture_is_not_handed_on(built: Outcome, store: str) -> None:
    reselect(store, "v1", OTHER, do_here)
    before = Snapshot(store).id
    for chunk in (Path(store) / "repository" / "chunks").iterdir():
        content = bytearray(chunk.read_bytes())
        content[100] ^= 1
        chunk.write_bytes(content)
    with pytest.raises(StoreError, match="is not what was written; put it back with: fusion-prior repair"):
        reselect(store, "v1", "diff-if", do_here)
    assert Snapshot(store).id == before


@pytest.mark.parametrize(
    ("version", "criterion", "error", "words"),
    [
        ("v1", "mi", UnknownName, "unknown profile or metric in this snapshot 'mi'"),
        ("v1", "no such", InputError, "neither a profile"),
        ("v1", "blanced", UnknownName, "did you mean balanced"),
        ("v9", "balanced", SnapshotNotFound, "no snapshot 'v9'"),
    ],
)
def test_what_cannot_be_selected_is_one_sentence(
    built: Outcome, store: str, version: str, criterion: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        reselect(store, version, criterion, refuse)
    assert Snapshot(store).id == built.snapshot.id


def test_a_pair_without_a_winner_can_have_one_again(ask: Ask, store: str, client: Client, tmp_path: Path) -> None:
    first = build(ask(**METHODS, criterion="diff-if where qabf > 2 else none"), store, client)
    assert {row.status for row in to_pair_rows(first.snapshot.table("pairs"))} == {NO_CANDIDATE}
    second = reselect(store, "main", "diff-if", do_here)
    other = build(ask(**METHODS), f"{store}2", client)
    assert_same(second.snapshot, other.snapshot)


def test_listing_says_what_every_snapshot_is(built: Outcome, store: str) -> None:
    from flows.versions import describe_versions
    from storage.repository import open_store

    second = reselect(store, "main", OTHER, do_here, tag="v2")
    rows: list[dict[str, Any]] = describe_versions(open_store(store))
    assert [row["id"] for row in rows] == [second.snapshot.id, built.snapshot.id]
    assert [row["names"] for row in rows] == [("v2", "main"), ("v1",)]
    assert [(row["pairs"], row["winners"], row["methods"], row["criterion"]) for row in rows] == [(3, 3, 4, OTHER), (3, 3, 4, "diff-if")]
    assert rows[0]["parent"] == built.snapshot.id and rows[1]["parent"] == ""
    assert rows[0]["mean value"] == pytest.approx(np.mean([row.value for row in chosen(second.snapshot)]))
