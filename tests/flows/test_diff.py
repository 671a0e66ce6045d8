"""The difference between two snapshots: every cause, the first of several, values under one criterion, and effects that add up."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from flows.build import build
from flows.diff import Diff, find_diff, find_effects, to_json, to_table
from flows.diff_command import describe, diff, to_terminal_rows
from flows.options import Format
from flows.recipe import Recipe
from prior.criterion import parse_criterion
from prior.evaluate import fail
from prior.select import Policy, select
from storage.errors import InputError, SnapshotNotFound
from storage.repository import Draft, Store, create_store, find_head
from storage.schema import (
    COPY_OF_SOURCE,
    EXCLUDED,
    NO_CANDIDATE,
    OK,
    PAIRS,
    QUARANTINED,
    SELECTIONS,
    PairRow,
    ScoreRow,
    SelectionRow,
    scores_schema,
)
from storage.snapshot import Snapshot
from storage.tables import to_table as to_arrow
from storage.tables import write_table

METRICS = ("ssim", "vif")
Rows = tuple[ScoreRow, ...]


@dataclass(frozen=True)
class Made:
    """A snapshot to be: its rows by pair, and what its manifest says."""

    rows: Mapping[str, Rows]
    criterion: str = "ssim"
    allow_copies: bool = False
    winners: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, PairRow] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(METRICS, 1))
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def score(pair_id: str, method: str, ssim: float, vif: float = 0.0, version: str = "1", flags: tuple[str, ...] = ()) -> ScoreRow:
    return ScoreRow(
        pair_id=pair_id, method=method, version=version, content_key="", status=OK, flags=flags, scores={"ssim": ssim, "vif": vif}
    )


def pair(pair_id: str, **fields: Any) -> PairRow:
    known = {"source": "s", "task": "medical", "status": OK, "split": "train", "a_hash": "a", "b_hash": "b", "pair_hash": f"of {pair_id}"}
    return PairRow(pair_id=pair_id, **(known | fields))


def commit(store: Store, made: Made) -> Snapshot:
    """Commit a snapshot without images: a diff reads none."""
    pairs = {pair_id: made.pairs.get(pair_id) or pair(pair_id) for pair_id in sorted({*made.rows, *made.pairs})}
    by_hand = {pair_id: (method, "why not") for pair_id, method in made.winners.items()}
    policy = Policy(parse_criterion(made.criterion), made.allow_copies, by_hand)
    selections = [pick(pairs[pair_id], rows, policy) for pair_id, rows in made.rows.items() if select(pair_id, rows, policy)]
    scores = [row for rows in made.rows.values() for row in rows]
    tables = {
        "pairs": write_table(store.files, "pairs", to_arrow(pairs.values(), PAIRS)),
        "scores": write_table(store.files, "scores", to_arrow(scores, scores_schema(tuple(made.metrics)))),
        "selections": write_table(store.files, "selections", to_arrow(selections, SELECTIONS)),
    }
    recipe = {
        "allow_copies": made.allow_copies,
        "winners": {pair_id: {"method": method, "reason": reason} for pair_id, (method, reason) in by_hand.items()},
        "parameters": dict(made.parameters),
    }
    manifest = {
        "recipe": recipe,
        "criterion": {"name": policy.criterion.name, "rule": policy.criterion.rule},
        "methods": dict(made.methods),
        "metrics": dict(made.metrics),
        "tables": {name: reference.to_json() for name, reference in tables.items()},
        **made.more,
    }
    with Draft(store, find_head(store)) as draft:
        return Snapshot(store, draft.commit("made by hand", manifest, {}))


def pick(own: PairRow, rows: Rows, policy: Policy) -> SelectionRow:
    choice = select(own.pair_id, rows, policy)
    assert choice is not None
    winner = next(row for row in rows if row.method == choice.method)
    image = f"{own.pair_hash}, {winner.method} {winner.version}, {winner.clipped}"
    return SelectionRow(pair_id=own.pair_id, method=winner.method, content_key="", value=choice.value, image_hash=image)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return create_store(str(tmp_path_factory.mktemp("diff") / "store"))


@pytest.fixture(scope="module")
def compare(store: Store) -> Callable[[Made, Made], Diff]:
    return lambda before, after: find_diff(commit(store, before), commit(store, after))


Compare = Callable[[Made, Made], Diff]

TIF, GFF = score("p", "tif", 0.9, 0.1), score("p", "gff", 0.8, 0.7)
BASE = Made({"p": (GFF, TIF), "q": (score("q", "gff", 0.4),)})


def change(*rows: ScoreRow, **fields: Any) -> Made:
    """`BASE` with other rows for `p`, or another manifest."""
    return replace(BASE, rows=BASE.rows | {"p": rows or BASE.rows["p"]}, **fields)


TIMEOUT = fail(replace(TIF, scores={}), "timeout", "tif on p: 300 s\nand more")
MISSING = fail(replace(TIF, scores={}, method="published:x"), "missing", "no file")
PUBLISHED = replace(TIF, method="published:x")
RENDERED = change(GFF, replace(TIF, clipped=0.5))  # the same by all that is recorded, and yet another image
TURNED = change(replace(GFF, scores={"ssim": 0.95, "vif": 0.7}), TIF)
SET_ASIDE = pair("p", status=QUARANTINED, reason="shifted", pair_hash="")
LEFT_OUT = pair("p", status=EXCLUDED, reason="excluded", pair_hash="")

CAUSES = [
    (BASE, replace(BASE, rows={"q": BASE.rows["q"]}, pairs={"p": SET_ASIDE}), "quarantine", "quarantined now: shifted"),
    (replace(BASE, rows={"q": BASE.rows["q"]}, pairs={"p": SET_ASIDE}), BASE, "quarantine", "quarantined before: shifted"),
    (BASE, replace(BASE, rows={"q": BASE.rows["q"]}, pairs={"p": LEFT_OUT}), "quarantine", "excluded now"),
    (BASE, replace(BASE, rows={"q": BASE.rows["q"]}), "source", "the pair is gone"),
    (replace(BASE, rows={"q": BASE.rows["q"]}), BASE, "source", "the pair is new"),
    (BASE, change(pairs={"p": pair("p", pair_hash="other", b_hash="new")}), "source", "other content of b"),
    (BASE, change(pairs={"p": pair("p", pair_hash="other")}), "source", "the same files, read in another way"),
    (BASE, change(GFF), "method removed", "tif was removed"),
    (BASE, change(GFF, TIMEOUT), "method removed", "tif failed now, timeout: tif on p: 300 s"),
    (change(GFF, PUBLISHED), change(GFF, MISSING), "method removed", "published:x has no file now"),
    (change(GFF), BASE, "method added", "tif was added"),
    (change(GFF, TIMEOUT), BASE, "method added", "tif failed before, timeout: tif on p: 300 s"),
    (BASE, change(replace(GFF, version="2", scores={"ssim": 1.0, "vif": 0.0}), TIF), "method version", "gff 1 -> 2"),
    (BASE, change(GFF, replace(TIF, version="2")), "method version", "tif 1 -> 2"),
    (change(PUBLISHED), change(replace(PUBLISHED, version="5f")), "method version", "another file of published:x"),
    (
        replace(BASE, methods={"tif": {"parameters": {"r": 3, "eps": 0.1}}}),
        replace(RENDERED, methods={"tif": {"parameters": {"r": 5, "eps": 0.1}}}),
        "method version",
        "tif: r 3 -> 5",
    ),
    (
        replace(BASE, methods={"tif": {"version": 1}}),
        replace(RENDERED, methods={"tif": {"parameters": {"r": 5}}}, parameters={"tif": {"r": 5}}),
        "method version",
        "tif: r unset -> 5",
    ),
    (BASE, replace(TURNED, metrics={"ssim": 2, "vif": 1}), "metric version", "ssim 1 -> 2"),
    (BASE, replace(TURNED, more={"evaluation": 2}), "metric version", "evaluation 1 -> 2"),
    (BASE, change(criterion="vif", metrics={"ssim": 1, "vif": 2}), "criterion", "ssim -> vif"),
    (BASE, change(winners={"p": "gff"}), "criterion", "set by hand: nobody -> gff"),
    (
        change(GFF, replace(TIF, flags=(COPY_OF_SOURCE,))),
        change(GFF, replace(TIF, flags=(COPY_OF_SOURCE,)), allow_copies=True),
        "criterion",
        "copies of a source may win now",
    ),
    (BASE, replace(TURNED, metrics={"ssim": 1, "vif": 2}), "unexplained", "nothing recorded differs"),
    (
        replace(BASE, more={"versions": {"numpy": "2.3", "scipy": "1"}}),
        replace(RENDERED, more={"versions": {"numpy": "2.4", "scipy": "1"}}),
        "unexplained",
        "nothing recorded differs but libraries: numpy 2.3 -> 2.4",
    ),
    (
        replace(BASE, more={"versions": {"numpy": "2.3"}}),
        replace(RENDERED, more={"versions": {"Python": "3.11.7", "numpy": "2.3"}}),
        "unexplained",
        "nothing recorded differs",
    ),
]


@pytest.mark.parametrize(("before", "after", "cause", "detail"), CAUSES, ids=[f"{cause}: {detail}" for *_, cause, detail in CAUSES])
def test_every_changed_winner_has_its_cause(compare: Compare, before: Made, after: Made, cause: str, detail: str) -> None:
    found = compare(before, after)
    assert [(one.pair_id, one.cause, one.detail) for one in found.winners] == [("p", cause, detail)]
    assert found.kept == 1
    assert found.effect == pytest.approx(found.mean_after - found.mean_before, abs=1e-12)


def test_the_first_cause_that_applies_counts(compare: Compare) -> None:
    """Everything differs at once, and then ever less of it."""
    tif, gff = replace(TIF, version="2"), replace(GFF, version="2")
    other = pair("p", pair_hash="other")
    rest: dict[str, Any] = {"criterion": "1*vif + 0*ssim", "metrics": {"ssim": 2, "vif": 2}}
    gone = change(gff, score("p", "new", 0.0, 2.0), **rest)
    cases = [
        replace(gone, rows={"q": BASE.rows["q"]}, pairs={"p": SET_ASIDE}),
        replace(gone, pairs={"p": other}),
        gone,
        change(gff, tif, score("p", "new", 0.0, 2.0), **rest),
        change(gff, tif, **rest),
        change(GFF, TIF, **rest),
        change(GFF, TIF, criterion="1*vif + 0*ssim"),
    ]
    found = [compare(BASE, case).winners[0].cause for case in cases]
    assert found == ["quarantine", "source", "method removed", "method added", "method version", "metric version", "criterion"]


def test_a_snapshot_does_not_differ_from_itself(store: Store) -> None:
    snapshot = commit(store, BASE)
    found = find_diff(snapshot, snapshot)
    assert (found.winners, found.tolls, found.effect, found.kept, found.unvalued) == ((), (), 0.0, 2, 0)
    assert found.added == found.removed == found.changed == ()
    assert found.mean_before == found.mean_after == pytest.approx(0.65)


def test_pairs_come_go_and_change_whether_they_have_a_winner_or_not(compare: Compare) -> None:
    idle = {"n": pair("n", status=NO_CANDIDATE), "o": pair("o", status=QUARANTINED, pair_hash="")}
    after = replace(BASE, rows={"p": BASE.rows["p"], "r": (score("r", "gff", 1.0),)}, pairs=idle | {"n": pair("n", pair_hash="other")})
    found = compare(replace(BASE, pairs=idle), after)
    assert (found.added, found.removed, found.changed) == (("r",), ("q",), ("n",))
    assert [(one.pair_id, one.method_before, one.method_after) for one in found.winners] == [("q", "gff", ""), ("r", "", "gff")]


def test_both_winners_are_valued_under_the_newer_criterion(compare: Compare) -> None:
    (changed,) = compare(BASE, change(criterion="vif + ssim")).winners
    assert (changed.value_before, changed.value_after) == (pytest.approx(1.0), pytest.approx(1.5))
    assert changed.effect == pytest.approx(0.25) and changed.split == "train"


def test_a_candidate_that_is_still_there_has_its_newer_scores_and_another_its_older_ones(compare: Compare) -> None:
    newer = replace(TIF, scores={"ssim": 0.5, "vif": 0.0})
    assert compare(BASE, change(GFF, newer)).winners[0].value_before == 0.5
    assert compare(BASE, change(GFF, replace(newer, version="2"))).winners[0].value_before == 0.9
    assert compare(BASE, change(GFF)).winners[0].value_before == 0.9
    assert compare(BASE, change(GFF, pairs={"p": pair("p", pair_hash="other")})).winners[0].value_before == 0.9


def test_ranks_of_an_older_winner_are_among_the_newer_candidates(compare: Compare) -> None:
    others = tuple(score("p", f"m{number}", number / 10) for number in range(4))
    found = compare(change(*others, TIF), change(*others, GFF, criterion="rank(ssim)"))
    assert [(one.cause, one.value_before, one.value_after) for one in found.winners] == [("method removed", 5.0, 4.0)]
    gone = compare(change(*others, TIF), replace(BASE, rows={"q": BASE.rows["q"]}, criterion="rank(ssim)")).winners
    assert [(one.cause, one.value_before) for one in gone if one.pair_id == "p"] == [("source", 4.0)]  # among those it won against


def test_where_values_are_relative_any_candidate_can_be_the_cause(compare: Compare) -> None:
    rule = "2*z(ssim) + z(vif)"
    rows = (score("p", "tif", 1.0, 0.0), score("p", "gff", 0.0, 1.0))
    before = change(*rows, criterion=rule)
    (found,) = compare(before, change(*rows, score("p", "pca", -9.0, 0.0), criterion=rule)).winners
    assert (found.method_before, found.method_after, found.cause) == ("tif", "gff", "method added")
    assert found.detail == "pca was added (values are relative to all candidates)"


@pytest.mark.parametrize("rule", ["vif", "ssim + otherwise(vif, 1)"])
def test_winners_without_a_value_under_the_newer_criterion_are_left_out_and_counted(compare: Compare, rule: str) -> None:
    before = change(GFF, replace(TIF, scores={"ssim": 0.9}), metrics={"ssim": 1})
    found = compare(before, replace(BASE, rows={"p": (GFF,), "q": (replace(BASE.rows["q"][0]),)}, criterion=rule))
    (changed,) = found.winners
    assert math.isnan(changed.value_before) and math.isnan(changed.effect) and not math.isnan(changed.value_after)
    assert (found.unvalued, found.effect) == (1, 0.0) and found.mean_before == found.mean_after
    assert to_json(found)["winners"]["changed"][0]["effect"] is None


def test_snapshots_of_older_schemas_are_compared_as_far_as_they_tell(store: Store) -> None:
    older = commit(store, replace(BASE, methods={"tif": {"version": 1}}, parameters={"tif": {"r": 5}}))
    table = older.table("pairs").drop_columns(["group", "split", "scene_hash"])
    manifest = dict(older.manifest) | {"schema_version": 1}
    manifest["tables"] = manifest["tables"] | {"pairs": write_table(store.files, "pairs", table).to_json()}
    with Draft(store, find_head(store)) as draft:
        older = Snapshot(store, draft.commit("of schema 1", manifest, {}))
    parameters: dict[str, Any] = {"methods": {"tif": {"parameters": {"r": 5, "eps": 1}}}, "parameters": {"tif": {"r": 5}}}
    (found,) = find_diff(older, commit(store, replace(RENDERED, **parameters))).winners
    assert (found.cause, found.split) == ("unexplained", "train")
    assert find_diff(older, older).kept == 2


# Effects.

values = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1e3, 1e3, allow_subnormal=False), max_size=8)


@given(values, values)
def test_effects_add_up_to_the_difference_of_the_means(before: dict[str, float], after: dict[str, float]) -> None:
    effects = find_effects(before, after)
    means = [math.fsum(one.values()) / len(one) if one else 0.0 for one in (before, after)]
    assert effects.keys() == before.keys() | after.keys()
    assert math.fsum(effects.values()) == pytest.approx(means[1] - means[0], abs=1e-9)
    assert all(effects[one] == 0 for one in before.keys() & after.keys() if before[one] == after[one])


@given(values.filter(bool), st.floats(-1e3, 1e3))
def test_a_value_that_comes_or_goes_moves_the_mean_by_what_it_is_above_it(before: dict[str, float], value: float) -> None:
    after = before | {"z": value}
    lead = value - math.fsum(before.values()) / len(before)
    assert find_effects(before, after)["z"] == pytest.approx(lead / len(after), abs=1e-9)
    assert find_effects(after, before)["z"] == pytest.approx(-lead / len(after), abs=1e-9)


# The command.


@pytest.fixture(scope="module")
def versions(store: Store) -> tuple[str, str]:
    """The ids of two snapshots: the criterion differs, and a method is removed."""
    return commit(store, BASE).id, commit(store, change(GFF, criterion="vif")).id


def test_the_command_tells_all_of_it_as_a_table(store: Store, versions: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    diff(*versions, store.address)
    told = capsys.readouterr()
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.out.splitlines()]
    assert ["method removed", "1", "0.3000"] in lines and ["all", "1", "0.3000"] in lines
    assert ["p", "method removed", "tif was removed", "tif", "gff", "0.1000", "0.7000"] in lines
    assert told.err == "1 of 2 winners are the same\nmean value 0.0500 -> 0.3500\n"


def test_the_command_writes_csv_json_and_parquet(
    store: Store, versions: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "new folder" / "changed.parquet"
    diff(*versions, store.address, Format.json, out)
    found = json.loads(capsys.readouterr().out)
    diff(*versions, store.address, Format.csv)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    table = pq.read_table(out)
    assert list(out.parent.iterdir()) == [out]
    assert found["causes"] == [{"cause": "method removed", "winners": 1, "effect": pytest.approx(0.3)}]
    assert found["mean"] == {"before": pytest.approx(0.05), "after": pytest.approx(0.35), "effect": pytest.approx(0.3), "unvalued": 0}
    assert table.to_pylist() == found["winners"]["changed"]
    assert table.schema.metadata[b"newer"].decode() == found["newer"]
    assert [row["detail"] for row in rows] == ["tif was removed"] and list(rows[0]) == table.column_names


def test_the_command_refuses_what_is_not_there(store: Store, versions: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFound, match="no snapshot 'v7'"):
        diff(versions[0], "v7", store.address)
    with pytest.raises(InputError, match="cannot be written"):
        diff(*versions, store.address, out=tmp_path)


def test_a_terminal_is_shown_what_did_most(compare: Compare) -> None:
    rows = {f"p{number}": (score(f"p{number}", "tif", number / 4), score(f"p{number}", "gff", -1.0)) for number in range(5)}
    found = compare(Made(rows), Made({pair_id: own[1:] for pair_id, own in rows.items()}))
    assert [row["pair_id"] for row in to_terminal_rows(found, 2)] == ["p3", "p4"]
    assert describe(found, 2)[0].startswith("2 of 5 changed winners are shown")
    assert not any("shown" in sentence for sentence in describe(found, 5))


def test_what_a_table_leaves_out_is_counted_and_named(compare: Compare) -> None:
    many = {f"n{number}": (score(f"n{number}", "tif", 1.0),) for number in range(7)}
    told = describe(compare(BASE, replace(BASE, rows={"q": BASE.rows["q"]} | many)), 10)
    assert told[-2:] == ["new: 7 pairs (n0, n1, n2, n3, n4 …)", "gone: 1 pair (p)"]
    unvalued = describe(compare(BASE, change(criterion="vif + 0*z", metrics={"ssim": 1, "vif": 1, "z": 1})), 2)
    assert any(sentence.startswith("left out of the means: 2 pairs, where a winner has no value under ") for sentence in unvalued)


def test_a_mean_of_nothing_is_none(compare: Compare) -> None:
    none = replace(BASE, rows={}, pairs={"p": SET_ASIDE, "q": pair("q", status=NO_CANDIDATE)})
    assert "mean value none -> 0.6500" in describe(compare(none, BASE), 2)
    assert "mean value 0.6500 -> none" in describe(compare(BASE, none), 2)
    assert "mean value none -> none" in describe(compare(none, none), 0)


# Real snapshots.


def test_built_snapshots_differ_by_criterion_and_by_a_removed_method(ask: Callable[..., Recipe], client: Client, tmp_path: Path) -> None:
    address = str(tmp_path / "store")
    first = build(ask(criterion="diff-if"), address, client).snapshot
    second = build(ask(criterion="-ssim", allow_copies=True), address, client).snapshot
    lost = second.table("selections")["method"][0].as_py()
    left = [name for name in ("average", "maximum", "tif") if name != lost]
    third = build(ask(criterion="-ssim", allow_copies=True, methods=left), address, client).snapshot
    by_criterion, by_method = find_diff(first, second), find_diff(second, third)
    assert {one.cause for one in by_criterion.tolls} == {"criterion"} and by_criterion.effect > 0
    assert {one.cause for one in by_method.tolls} == {"method removed"} and by_method.effect < 0
    for found in (by_criterion, by_method):
        assert found.unvalued == 0 and found.effect == pytest.approx(found.mean_after - found.mean_before, abs=1e-12)
        assert to_table(found).num_rows == len(found.winners) == 3 - found.kept > 0
    assert by_criterion.mean_after == pytest.approx(by_method.mean_before)
