"""The build, end to end on small pairs: what it keeps, what it does again, and what not."""

import math
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import dask
import numpy as np
import pyarrow as pa
import pytest
from distributed import Client

from flows.build import Outcome, build
from flows.cluster import open_client
from flows.recipe import Recipe
from flows.summary import find_winners, summarise
from prior.groups import choose_split
from prior.pictures import read_picture, write_png
from storage.errors import BuildFailed, InputError, SnapshotNotFound
from storage.schema import BY_HAND, COPY_OF_SOURCE, FAILED, MISSING, NO_CANDIDATE, OK, PAIRS, QUARANTINED, SPLITS, PairRow, ScoreRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_score_rows, to_selection_rows
from storage.verify import verify_store

Ask = Callable[..., Recipe]
Run = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def run(client: Client, store: str) -> Run:
    """Builds a recipe into the store."""

    def build_it(recipe: Recipe, **options: Any) -> Outcome:
        return build(recipe, store, client, **options)

    return build_it


def rows_of(outcome: Outcome) -> list[ScoreRow]:
    return to_score_rows(outcome.snapshot.table("scores"))


def read_all_bytes(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.suffix != ".lock"}


def read_content(snapshot: Snapshot) -> tuple[object, ...]:
    """Everything in a snapshot but how long it took."""
    scores = [
        (row.pair_id, row.method, row.status, row.reason, row.content_key, row.scores) for row in to_score_rows(snapshot.table("scores"))
    ]
    selections = to_selection_rows(snapshot.table("selections"))
    images = [snapshot.image_hash(row.pair_id) for row in selections]
    manifest = {name: value for name, value in snapshot.manifest.items() if name != "tables"}
    return repr(snapshot.table("pairs").to_pylist()), repr(scores), selections, images, manifest


# What a snapshot holds.


def test_keeps_every_score_and_the_best_picture(run: Run, ask: Ask) -> None:
    outcome = run(ask(), tag="v1")
    snapshot = Snapshot(outcome.snapshot.store.address, "v1")
    rows = to_score_rows(snapshot.table("scores"))
    assert outcome.made and snapshot.id == outcome.snapshot.id
    assert [(row.pair_id, row.method) for row in rows] == [(f"p0{n}", m) for n in range(3) for m in ("average", "maximum", "tif")]
    for selection in to_selection_rows(snapshot.table("selections")):
        values = {
            row.method: 2 * row.scores["ssim"] + row.scores["vif"] + 3 * row.scores["qabf"]
            for row in rows
            if row.pair_id == selection.pair_id
        }
        best, second = sorted(values, key=lambda name: (-values[name], name))[:2]
        assert (selection.method, selection.runner_up) == (best, second)
        assert selection.value == pytest.approx(values[best]) and selection.margin == pytest.approx(values[best] - values[second])
        assert selection.image_hash == snapshot.image_hash(selection.pair_id)
        assert set(snapshot.pictures(selection.pair_id)) == {"a", "b", "winner"}


def test_keeps_colour_and_says_where_it_came_from(run: Run, make_pairs: Callable[..., dict[str, str]], ask: Ask) -> None:
    make_pairs(3, colour=True)
    outcome = run(ask())
    pictures = outcome.snapshot.pictures("p00")
    assert (pictures["a"].ndim, pictures["b"].ndim, pictures["winner"].ndim) == (2, 3, 3)
    assert {row.chroma for row in rows_of(outcome)} == {"b"}


def test_content_is_the_same_on_one_worker_and_on_two(ask: Ask, client: Client, tmp_path: Path) -> None:
    two = build(ask(), str(tmp_path / "two"), client)
    with open_client(workers=1) as alone:
        one = build(ask(), str(tmp_path / "one"), alone)
    assert read_content(one.snapshot) == read_content(two.snapshot)


def test_peak_memory_does_not_grow_with_the_number_of_pairs(ask: Ask, make_pairs: Callable[..., Any], tmp_path: Path) -> None:
    recipe = ask(methods=["average"])
    peaks = []
    with open_client(workers=1) as alone:
        for count in (3, 6, 24):  # the first build loads everything
            make_pairs(count, size=(512, 512))
            alone.run(tracemalloc.start)
            tracemalloc.start()
            build(recipe, str(tmp_path / f"store{count}"), alone)
            traced = [tracemalloc.get_traced_memory(), *alone.run(tracemalloc.get_traced_memory).values()]
            peaks.append([peak / 1e6 for _, peak in traced])
            alone.run(tracemalloc.stop)
            tracemalloc.stop()
    grown = [after - before for before, after in zip(*peaks[1:], strict=True)]
    # what Dask remembers of its own doings grows with the time a build takes; one scene that stays is some 25 MB
    assert max(grown) < 60, f"MB of driver and worker; the 18 pairs added take more than 400 MB if their scenes stay: {peaks}"


def test_builds_the_example_pairs_where_no_source_is_named(run: Run, ask: Ask) -> None:
    outcome = run(ask().model_copy(update={"source": (), "methods": ("average",)}))
    rows = to_pair_rows(outcome.snapshot.table("pairs"))
    assert len(rows) >= 24 and {row.status for row in rows} == {OK}
    assert {row.task for row in rows} == {"infrared-visible", "medical", "multi-focus", "multi-exposure"}
    assert {row.split for row in rows} == set(SPLITS)


# What is done again.


def test_same_build_again_writes_nothing_and_can_still_be_tagged(run: Run, ask: Ask, store: str) -> None:
    first = run(ask())
    before = read_all_bytes(store)
    again = run(ask())
    assert not again.made and again.snapshot.id == first.snapshot.id
    assert read_all_bytes(store) == before
    assert run(ask(), tag="late").snapshot.id == first.snapshot.id
    assert Snapshot(store, "late").id == first.snapshot.id


def test_one_method_more_runs_that_method_alone(run: Run, ask: Ask, tmp_path: Path) -> None:
    logs = [tmp_path / "first", tmp_path / "second"]
    first = run(ask(methods=["counted"], parameters={"counted": {"log": str(logs[0])}}))
    assert len(logs[0].read_text().splitlines()) == 3
    second = run(ask(methods=["counted", "average"], parameters={"counted": {"log": str(logs[0])}}))
    assert len(logs[0].read_text().splitlines()) == 3
    seconds = {(row.pair_id, row.method): row.seconds for row in rows_of(first)}
    assert all(row.seconds == seconds[row.pair_id, row.method] for row in rows_of(second) if row.method == "counted")
    other = run(ask(methods=["counted"], parameters={"counted": {"log": str(logs[1])}}))
    assert other.made and len(logs[1].read_text().splitlines()) == 3, "other parameters are another candidate"


def test_a_changed_source_is_the_only_one_done_again(run: Run, ask: Ask, tmp_path: Path, make_pairs: Callable[..., Any]) -> None:
    log = tmp_path / "log"
    recipe = ask(methods=["counted"], parameters={"counted": {"log": str(log)}})
    first = run(recipe)
    picture = read_picture(tmp_path / "ir" / "p01.png").pixels
    write_png(tmp_path / "ir" / "p01.png", picture[::-1].copy())
    second = run(recipe)
    assert second.made and len(log.read_text().splitlines()) == 4
    np.testing.assert_array_equal(second.snapshot.pictures("p01")["a"], picture[::-1])
    np.testing.assert_array_equal(first.snapshot.pictures("p01")["a"], picture)  # a snapshot never changes


def test_another_criterion_selects_from_the_kept_scores(run: Run, ask: Ask, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fields: dict[str, Any] = {"methods": ["counted", "maximum"], "parameters": {"counted": {"log": str(log)}}}
    first = run(ask(**fields, criterion="0*ssim"))  # a tie: the first name wins
    assert {row.method for row in to_selection_rows(first.snapshot.table("selections"))} == {"counted"}
    second = run(ask(**fields, criterion="-ssim_a"))
    third = run(ask(**fields, criterion="0*ssim"))
    assert third.snapshot.id not in (first.snapshot.id, second.snapshot.id)
    changed = {row.pair_id for row in to_selection_rows(second.snapshot.table("selections")) if row.method != "counted"}
    assert changed, "the second criterion must pick others for this test to mean anything"
    assert len(log.read_text().splitlines()) == 3, "a picture that any snapshot keeps is not made again"
    assert read_content(third.snapshot)[:4] == read_content(first.snapshot)[:4]
    assert {row.seconds for row in rows_of(first)} == {row.seconds for row in rows_of(third)}


def test_a_pair_that_is_gone_leaves_the_next_snapshot_only(run: Run, ask: Ask, tmp_path: Path) -> None:
    first = run(ask())
    (tmp_path / "ir" / "p01.png").unlink()
    second = run(ask())
    assert [row.pair_id for row in to_pair_rows(second.snapshot.table("pairs"))] == ["p00", "p02"]
    with pytest.raises(InputError, match="p01"):
        second.snapshot.pictures("p01")
    assert first.snapshot.pictures("p01")


def test_keeps_every_candidate_on_request(run: Run, ask: Ask) -> None:
    first = run(ask())
    kept = run(ask(keep="all"))
    assert first.snapshot.candidates("p00") == {} and set(kept.snapshot.candidates("p00")) == {"average", "maximum", "tif"}
    winner = kept.snapshot.winner_of("p00")
    np.testing.assert_array_equal(kept.snapshot.candidates("p00")[winner], kept.snapshot.pictures("p00")["winner"])
    assert {row.seconds for row in rows_of(first)} == {row.seconds for row in rows_of(kept)}, "nothing was scored again"
    fewer = run(ask()).snapshot
    assert fewer.candidates("p00") == {} and {row.candidate_planes for row in to_selection_rows(fewer.table("selections"))} == {0}
    assert not verify_store(fewer.store).findings


# Groups and splits.


def pairs_of(outcome: Outcome) -> dict[str, PairRow]:
    return {row.pair_id: row for row in to_pair_rows(outcome.snapshot.table("pairs"))}


def place_of(outcome: Outcome) -> dict[str, tuple[str, str]]:
    """The group and split of every pair, by the name of its files."""
    return {pair_id.rpartition("/")[2]: (row.group, row.split) for pair_id, row in pairs_of(outcome).items()}


def copy_pair(folder: Path, name: str, to: Path, new_name: str, crop: int = 0) -> None:
    """A pair of one source as a smaller pair of another, without some rows at the top."""
    for modality in ("ir", "vis"):
        picture = read_picture(folder / modality / f"{name}.png").pixels[crop:]
        write_png(to / modality / f"{new_name}.png", cv2.resize(picture, (60, 50), interpolation=cv2.INTER_AREA).astype(np.uint8))


def test_every_usable_pair_has_a_split_of_its_scene(run: Run, ask: Ask, tmp_path: Path) -> None:
    copy_pair(tmp_path, "p01", tmp_path, "q01")
    (tmp_path / "vis" / "p02.png").write_bytes(b"\x89PNG\r\n\x1a\n not quite")
    rows = pairs_of(run(ask()))
    assert (rows["p02"].group, rows["p02"].split, rows["p02"].scene_hash) == ("", "", "")
    assert rows["p01"].group == rows["q01"].group != rows["p00"].group
    assert all(row.split == choose_split(row.group) for row in rows.values() if row.status == OK)


def test_a_source_that_is_added_later_moves_no_pair(run: Run, ask: Ask, tmp_path: Path) -> None:
    recipe = ask(methods=["average"])
    first = run(recipe)
    copies = {f"{name} without {crop}": (name, crop) for name in ("p00", "p01", "p02") for crop in range(4)}
    for copy, (name, crop) in copies.items():
        copy_pair(tmp_path, name, tmp_path / "more", copy, crop)
    block = recipe.source[0]
    more = block.model_copy(update={"a": tmp_path / "more" / "ir", "b": tmp_path / "more" / "vis", "name": "a"})
    second = run(recipe.model_copy(update={"source": (more, block.model_copy(update={"name": "z"}))}))
    before, after = place_of(first), place_of(second)
    assert {name: after[name] for name in before} == before
    assert {copy: after[copy] for copy in copies} == {copy: before[name] for copy, (name, _) in copies.items()}


def test_a_pair_that_comes_back_from_quarantine_has_its_old_group(run: Run, ask: Ask, tmp_path: Path) -> None:
    first = run(ask())
    path = tmp_path / "vis" / "p01.png"
    content = path.read_bytes()
    path.write_bytes(b"\x89PNG\r\n\x1a\n not quite")
    aside = run(ask())
    path.write_bytes(content)
    assert pairs_of(aside)["p01"].status == QUARANTINED
    assert place_of(first) == place_of(aside) == place_of(run(ask()))


def test_a_subject_keeps_a_series_together(run: Run, ask: Ask) -> None:
    recipe = ask(methods=["average"])
    series = recipe.source[0].model_copy(update={"subject": "(p).*[01]$"})
    groups = {pair_id: row.group for pair_id, row in pairs_of(run(recipe.model_copy(update={"source": (series,)}))).items()}
    assert groups["p00"] == groups["p01"] == ":p" != groups["p02"]


def test_pairs_that_a_subject_does_not_fit_are_told(run: Run, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    recipe = ask(methods=["average"])
    series = recipe.source[0].model_copy(update={"subject": "(p).*[01]$"})
    with caplog.at_level("WARNING"):
        run(recipe.model_copy(update={"source": (series,)}))
    assert "does not fit 1 pairs (p02)" in caplog.text


def test_a_store_of_the_first_schema_is_built_upon(run: Run, ask: Ask, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = pa.schema([one for one in PAIRS if one.name not in ("group", "split", "scene_hash")])
    with monkeypatch.context() as patch:
        for module in ("flows.plan", "flows.publish"):
            patch.setattr(f"{module}.PAIRS", old)
            patch.setattr(f"{module}.SCHEMA_VERSION", 1)
        first = run(ask())
    assert Snapshot(store).manifest["schema_version"] == 1 and "split" not in first.snapshot.table("pairs").column_names
    second = run(ask())
    assert second.made and second.snapshot.manifest["schema_version"] == 3
    assert {row.split for row in pairs_of(second).values()} <= set(SPLITS)
    assert [row.seconds for row in rows_of(first)] == [row.seconds for row in rows_of(second)], "nothing was scored again"
    assert not run(ask()).made


# What goes wrong.


def test_a_method_that_fails_is_a_row_with_its_reason(run: Run, ask: Ask) -> None:
    wrong = {"raises": "raised", "returns_nan": "wrong_output", "returns_rows": "wrong_output", "returns_doubles": "wrong_output"}
    outcome = run(ask(methods=["average", *wrong], max_failures=0.9))
    for row in rows_of(outcome):
        assert (row.status, row.reason) == ((FAILED, wrong[row.method]) if row.method in wrong else (OK, ""))
        assert row.status == OK or (row.pair_id in row.message and row.method in row.message)
    assert "no light at all" in next(row.message for row in rows_of(outcome) if row.method == "raises")
    assert {row.method for row in to_selection_rows(outcome.snapshot.table("selections"))} == {"average"}
    again = run(ask(methods=["average", *wrong], max_failures=0.9))
    assert not again.made, "failures are kept, not tried again on every build"


def test_a_method_that_hangs_is_ended_and_left_out(run: Run, ask: Ask) -> None:
    outcome = run(ask(methods=["average", "hangs", "hangs_too"], time_limit=0.5, max_failures=1))
    reasons = Counter((row.method, row.reason) for row in rows_of(outcome))
    assert reasons == {("average", ""): 3, ("hangs", "timeout"): 3, ("hangs_too", "timeout"): 3}
    assert "0.5 s" in next(row.message for row in rows_of(outcome) if row.method == "hangs")


def test_a_method_that_holds_the_interpreter_is_ended_by_the_system(run: Run, ask: Ask, tmp_path: Path) -> None:
    for name in ("p01", "p02"):
        (tmp_path / "ir" / f"{name}.png").unlink()
    outcome = run(ask(methods=["average", "holds_interpreter"], time_limits={"holds_interpreter": 0.5}))
    assert {row.method: row.reason for row in rows_of(outcome)} == {"average": "", "holds_interpreter": "killed"}


def test_a_method_that_kills_its_process_is_left_out_the_third_time(run: Run, ask: Ask) -> None:
    outcome = run(ask(methods=["average", "dies"]))
    assert Counter((row.method, row.reason) for row in rows_of(outcome)) == {("average", ""): 3, ("dies", "killed"): 3}


def test_a_killed_worker_costs_a_retry_and_nothing_else(run: Run, ask: Ask, tmp_path: Path) -> None:
    outcome = run(ask(methods=["average", "dies_once"], parameters={"dies_once": {"mark": str(tmp_path / "mark")}}))
    assert (tmp_path / "mark").exists() and {row.status for row in rows_of(outcome)} == {OK}


def test_a_pair_that_no_process_survives_is_told_and_the_others_are_done(
    client: Client, ask: Ask, make_pairs: Callable[..., dict[str, str]], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from troublesome_methods import DeadlyPairs

    make_pairs(1, first=3)
    published = tmp_path / "published"
    shutil.copytree(tmp_path / "vis", published / "Copy")
    recipe = ask(methods=["average"])
    recipe = recipe.model_copy(update={"source": (recipe.source[0].model_copy(update={"published": published}),)})
    monkeypatch.setattr("flows.build.RESCUES", 1)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), open_client(workers=2) as opened:
        opened.register_plugin(DeadlyPairs())
        outcome = build(recipe, store, opened)
    pairs = {row.pair_id: row for row in to_pair_rows(outcome.snapshot.table("pairs"))}
    assert {name: (row.status, row.reason) for name, row in pairs.items()} == {
        "p00": (QUARANTINED, "killed"),
        "p01": (OK, ""),
        "p02": (QUARANTINED, "killed"),
        "p03": (OK, ""),
    }
    assert pairs["p00"].message.startswith("pair p00: inspecting it ended every process that tried")
    assert pairs["p02"].message.startswith("pair p02: evaluating it ended every process that tried")
    reasons = {(row.pair_id, row.method): row.reason for row in rows_of(outcome)}
    copy = "published:Copy"
    assert reasons == {("p01", copy): "killed", ("p01", "average"): "", ("p03", copy): "", ("p03", "average"): ""}


def test_a_licence_that_is_stated_later_arrives(run: Run, ask: Ask) -> None:
    first, recipe = run(ask()), ask()
    stated = (recipe.source[0].model_copy(update={"licence": "CC-BY-4.0", "published_licence": "MIT"}),)
    second = run(recipe.model_copy(update={"source": stated}))
    assert second.made and second.snapshot.id != first.snapshot.id
    assert first.snapshot.manifest["used"]["pairs"] == {"": 3}
    used = second.snapshot.manifest["used"]
    assert used["pairs"] == {"CC-BY-4.0": 3} and {licence for one in used["methods"].values() for licence in one} == {"MIT"}
    assert run(recipe.model_copy(update={"source": (stated[0].model_copy(update={"published_licence": ""}),)})).made


def test_too_many_failures_commit_nothing_and_lose_nothing(run: Run, ask: Ask, store: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fields: dict[str, Any] = {"methods": ["counted", "raises", "returns_nan"], "parameters": {"counted": {"log": str(log)}}}
    with pytest.raises(BuildFailed, match=r"6 of 9 live candidates failed \(raised 3, wrong_output 3\), more than max_failures = 50%"):
        run(ask(**fields))
    with pytest.raises(SnapshotNotFound):
        Snapshot(store)
    assert run(ask(**fields, max_failures=0.7)).made
    assert len(log.read_text().splitlines()) == 3


def test_failed_candidates_are_tried_again_on_request(run: Run, ask: Ask, tmp_path: Path) -> None:
    recipe = ask(methods=["average", "dies"])
    first = run(recipe)
    seconds = [row.seconds for row in rows_of(first) if row.status == OK]
    again = run(recipe, retry_failed=True)
    assert not again.made and [row.seconds for row in rows_of(again) if row.status == OK] == seconds


def test_a_pair_without_a_candidate_stands_in_the_table(run: Run, ask: Ask) -> None:
    outcome = run(ask(methods=["raises"], max_failures=1))
    assert {(row.status, row.reason) for row in to_pair_rows(outcome.snapshot.table("pairs"))} == {(NO_CANDIDATE, "no_candidate")}
    assert outcome.snapshot.table("selections").num_rows == 0 and outcome.snapshot.table("scores").num_rows == 3


def test_a_build_whose_pairs_are_all_set_aside_still_tells_why(run: Run, ask: Ask, tmp_path: Path) -> None:
    for path in (tmp_path / "vis").iterdir():
        path.write_bytes(b"\x89PNG\r\n\x1a\n not quite")
    outcome = run(ask())
    rows = to_pair_rows(outcome.snapshot.table("pairs"))
    assert {(row.status, row.reason) for row in rows} == {(QUARANTINED, "unreadable")} and outcome.snapshot.table("scores").num_rows == 0
    assert len(summarise(outcome.snapshot).set_aside) == 3


def test_a_tag_that_is_taken_is_refused_before_any_work(run: Run, ask: Ask, tmp_path: Path) -> None:
    first = run(ask(), tag="v1")
    log = tmp_path / "log"
    with pytest.raises(InputError, match=f"'v1' already names snapshot {first.snapshot.id}"):
        run(ask(methods=["counted"], parameters={"counted": {"log": str(log)}}), tag="v1")
    assert not log.exists()


# Published results.


@pytest.fixture
def published(tmp_path: Path, ask: Ask) -> Path:
    """Results of two methods: `good` for all three pairs, `odd` with one missing, one cropped and one that copies a source."""
    for number in range(3):
        a = read_picture(tmp_path / "ir" / f"p{number:02d}.png").pixels
        b = read_picture(tmp_path / "vis" / f"p{number:02d}.png").pixels
        write_png(tmp_path / "fused" / "Knowledge_good" / f"p{number:02d}.png", np.maximum(a, b))
    write_png(tmp_path / "fused" / "odd" / "p01.png", b[:-8])
    write_png(tmp_path / "fused" / "odd" / "p02.png", b)
    return tmp_path / "fused"


def test_published_results_join_as_candidates(run: Run, ask: Ask, published: Path) -> None:
    outcome = run(ask(published=published, methods=["none"], criterion="ssim_b"))
    found = {(row.pair_id, row.method): (row.status, row.reason, row.flags) for row in rows_of(outcome)}
    good = {(f"p0{number}", "published:good"): (OK, "", ()) for number in range(3)}
    assert found == good | {
        ("p00", "published:odd"): (MISSING, "missing", ()),
        ("p01", "published:odd"): (FAILED, "wrong_size", ()),
        ("p02", "published:odd"): (OK, "", (COPY_OF_SOURCE,)),
    }
    assert {row.method for row in to_selection_rows(outcome.snapshot.table("selections"))} == {"published:good"}


def test_a_copy_of_a_source_wins_only_where_the_recipe_says_so(run: Run, ask: Ask, published: Path) -> None:
    outcome = run(ask(published=published, methods=["copies_a"], criterion="ssim_b", allow_copies=True))
    winners = {row.pair_id: (row.method, row.flags) for row in to_selection_rows(outcome.snapshot.table("selections"))}
    assert winners["p02"] == ("published:odd", (COPY_OF_SOURCE,))
    assert all(COPY_OF_SOURCE in row.flags for row in rows_of(outcome) if row.method == "copies_a")


def test_a_replaced_file_is_seen(run: Run, ask: Ask, published: Path) -> None:
    recipe = ask(published=published, methods=["average"])
    first = run(recipe)
    path = published / "Knowledge_good" / "p00.png"
    write_png(path, np.minimum(read_picture(path).pixels, 200))
    second = run(recipe)
    changed = [new.pair_id for old, new in zip(rows_of(first), rows_of(second), strict=True) if old.content_key != new.content_key]
    assert second.made and changed == ["p00"]


def test_a_result_of_another_pair_is_named(run: Run, ask: Ask, published: Path) -> None:
    good = published / "Knowledge_good"
    (good / "p00.png").rename(good / "swap.png")
    (good / "p01.png").rename(good / "p00.png")
    (good / "swap.png").rename(good / "p01.png")
    rows = {row.pair_id: row for row in rows_of(run(ask(published=published))) if row.method == "published:good"}
    assert [(rows[name].reason, other in rows[name].message) for name, other in (("p00", "p01"), ("p01", "p00"))] == [
        ("other_pair", True)
    ] * 2
    assert rows["p02"].status == OK


# What a recipe can say.


def test_excluded_pairs_stand_in_the_table(run: Run, ask: Ask) -> None:
    outcome = run(ask(exclude=["p01", "nobody"]))
    assert [(row.pair_id, row.status) for row in to_pair_rows(outcome.snapshot.table("pairs"))] == [
        ("p00", OK),
        ("p01", "excluded"),
        ("p02", OK),
    ]


def test_a_winner_set_by_hand_wins_with_its_reason(run: Run, ask: Ask) -> None:
    by_hand = {"p00": {"method": "average", "reason": "no halo"}, "p01": {"method": "raises", "reason": "cannot be"}}
    outcome = run(ask(methods=["average", "maximum", "tif", "raises"], winners=by_hand))
    first, second, third = to_selection_rows(outcome.snapshot.table("selections"))
    assert (first.method, first.flags, first.note) == ("average", (BY_HAND,), "no halo") and first.margin < 0
    assert second.method != "raises" and BY_HAND not in second.flags and third.note == ""


def test_winners_under_another_criterion_are_told_without_writing(run: Run, ask: Ask, store: str) -> None:
    snapshot = run(ask()).snapshot
    before = read_all_bytes(store)
    smallest = find_winners(snapshot, "-qabf")
    largest = find_winners(snapshot, "qabf")
    assert [one.method for one in smallest] != [one.method for one in largest]
    assert [one.balanced for one in smallest] == [one.method for one in find_winners(snapshot, "balanced")]
    assert read_all_bytes(store) == before
    with pytest.raises(KeyError, match="psnr"):
        find_winners(snapshot, "psnr")


def test_more_metrics_are_stored_beside_the_standard_ones(run: Run, ask: Ask) -> None:
    pytest.importorskip("pyiqa")
    outcome = run(ask(methods=["average"], metrics=["iqa:psnr"]))
    assert all(math.isfinite(row.scores["iqa:psnr"]) for row in rows_of(outcome))


def test_the_cube_has_a_number_for_every_pair_method_and_metric(run: Run, ask: Ask) -> None:
    snapshot = run(ask()).snapshot
    cube = snapshot.to_xarray()
    row = to_score_rows(snapshot.table("scores"))[4]
    assert dict(cube.sizes) == {"pair": 3, "method": 3, "metric": 8}
    assert float(cube.score.sel({"pair": row.pair_id, "method": row.method, "metric": "vif"})) == row.scores["vif"]


def test_misregistered_pairs_are_set_aside_only_on_request(run: Run, ask: Ask, tmp_path: Path) -> None:
    for path in (tmp_path / "vis").iterdir():
        a = read_picture(tmp_path / "ir" / path.name).pixels
        write_png(path, np.roll(a, 9, axis=1))
    assert summarise(run(ask()).snapshot).misregistered == ("p00", "p01", "p02")
    strict = run(ask(max_shift=6.0)).snapshot
    assert {row.reason for row in to_pair_rows(strict.table("pairs"))} == {"shifted"}
