"""Summaries: what failed, by method and reason, and a snapshot in a few numbers."""

import copy
import pickle
from pathlib import Path

import pytest
from distributed import Client

from flows.build import build
from flows.output import describe
from flows.recipe import make_recipe
from flows.sheet import rank_candidates
from flows.summary import Failures, count_failures, find_winners, group_scores, name_reasons, summarise
from storage.errors import BuildFailed, UnknownName
from storage.schema import FAILED, MISSING, OK, UNCONSTRAINED, ScoreRow
from storage.snapshot import Snapshot


def fail(method: str, pair_id: str, reason: str, status: str = FAILED) -> ScoreRow:
    message = f"{method} on {pair_id}: {reason}" if reason else ""
    return ScoreRow(pair_id=pair_id, method=method, version="1", content_key="k", status=status, reason=reason, message=message)


ROWS = [
    fail("tif", "p00", "", OK),
    fail("tif", "p01", "timeout"),
    fail("gff", "p00", "raised"),
    fail("published:x", "p00", "missing", MISSING),
    fail("gff", "p01", "raised"),
    fail("gff", "p02", "killed"),
    fail("tif", "p02", "raised"),
    fail("gff", "p03", "raised"),
]
FAILED_ROWS = (
    Failures("gff", "raised", 3, "gff on p00: raised"),
    Failures("gff", "killed", 1, "gff on p02: killed"),
    Failures("tif", "raised", 1, "tif on p02: raised"),
    Failures("tif", "timeout", 1, "tif on p01: timeout"),
)


def test_failures_are_counted_by_method_and_reason_the_most_frequent_first() -> None:
    assert count_failures(ROWS) == FAILED_ROWS


def test_what_did_not_fail_is_no_failure() -> None:
    assert count_failures([row for row in ROWS if row.status != FAILED]) == () == count_failures([])


def test_reasons_are_named_over_all_methods() -> None:
    assert name_reasons(FAILED_ROWS) == "killed 1, raised 4, timeout 1"
    assert name_reasons(()) == ""


def test_a_summary_of_what_went_well_tells_no_failures(split_store: str) -> None:
    summary = summarise(Snapshot(split_store))
    assert summary.failed == () and all(one.failed == 0 for one in summary.tallies)
    assert not [sentence for sentence in describe(summary) if "failed" in sentence]


def test_too_many_failures_are_told_in_the_error_too(split_store: str, client: Client, tmp_path: Path) -> None:
    folder = Path(split_store).parent
    block = {"a": str(folder / "ir"), "b": str(folder / "vis"), "subject": "^(.*)$"}
    recipe = {"source": [block], "methods": ["average", "raises", "returns_nan"]}
    with pytest.raises(BuildFailed, match=r"12 of 18 live candidates failed \(raised 6, wrong_output 6\)") as caught:
        build(make_recipe(recipe), str(tmp_path / "s"), client)
    told = [(one.method, one.reason, one.count) for one in caught.value.failures]
    assert told == [("raises", "raised", 6), ("returns_nan", "wrong_output", 6)]
    assert caught.value.failures[0].first in str(caught.value) and "no light at all" in caught.value.failures[0].first
    assert pickle.loads(pickle.dumps(caught.value)).failures == caught.value.failures

    summary = summarise(build(make_recipe(recipe | {"max_failures": 1}), str(tmp_path / "s"), client).snapshot)
    assert summary.failed == caught.value.failures
    assert "12 candidates failed (raised 6, wrong_output 6); `fusion-prior scores` says why." in describe(summary)


# Another criterion, from the kept scores.


def test_winners_by_rank_have_the_points_of_the_kept_scores(split_store: str) -> None:
    snapshot = Snapshot(split_store)
    winners = find_winners(snapshot, "rank(qabf)")
    best = {pair_id: max(rows, key=lambda row: row.scores["qabf"]).method for pair_id, rows in group_scores(snapshot).items()}
    assert {one.pair_id: one.method for one in winners} == best and len(best) == 6
    assert all((one.value, one.margin) == (1, 1) and UNCONSTRAINED not in one.flags for one in winners)


def test_winners_that_no_condition_was_kept_for_are_flagged_or_left_out(split_store: str) -> None:
    snapshot = Snapshot(split_store)
    free, bound = find_winners(snapshot, "qabf"), find_winners(snapshot, "qabf where qabf > 9")
    assert [(one.pair_id, one.method, one.value) for one in bound] == [(one.pair_id, one.method, one.value) for one in free]
    assert all(one.flags[-1] == UNCONSTRAINED for one in bound) and not any(UNCONSTRAINED in one.flags for one in free)
    middle = sorted(one.value for one in free)[3]
    kept = find_winners(snapshot, f"qabf where qabf >= {middle!r} else none")
    assert [(one.pair_id, one.method) for one in kept] == [(one.pair_id, one.method) for one in free if one.value >= middle]
    assert len(kept) == 3 and all(one.value >= middle and one.flags == () for one in kept)
    assert find_winners(snapshot, "qabf where qabf > 9 else none") == []


def test_conditions_on_a_metric_that_was_not_kept_are_refused(split_store: str) -> None:
    with pytest.raises(UnknownName, match="unknown metric in this snapshot 'absent'"):
        find_winners(Snapshot(split_store), "qabf where absent > 1")


def test_candidates_on_a_sheet_have_the_values_they_have_beside_each_other(split_store: str) -> None:
    snapshot = copy.copy(Snapshot(split_store))
    for rule, values in (("rank(qabf)", [1, 0]), ("z(qabf) where qabf > 9", [1, -1])):
        snapshot.manifest = {**snapshot.manifest, "criterion": {"name": rule, "rule": rule}}
        for pair_id, rows in group_scores(snapshot).items():
            ranked = rank_candidates(snapshot, pair_id)
            assert sorted((value for _, value in ranked), reverse=True) == values
            assert max(ranked, key=lambda one: one[1])[0] == max(rows, key=lambda row: row.scores["qabf"])
            assert ranked[0][0].method == snapshot.winner_of(pair_id)  # by the snapshot's own selection
