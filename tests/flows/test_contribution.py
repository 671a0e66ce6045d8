"""What each method contributes: wins by source, the loss without it, and the live pool beside the published one."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from distributed import Client

from flows.build import build
from flows.contribution import ALL, CRITERIA, UNNAMED, Contribution, Pool, find_contributions, is_live
from flows.method_commands import EVERY_COLUMN, methods, to_matrix_rows, to_pool_rows
from flows.options import Format
from flows.recipe import make_recipe
from flows.summary import group_scores
from prior.criterion import parse_criterion
from prior.pictures import write_png
from prior.registry import methods as registered
from storage.errors import InputError, UnknownName
from storage.schema import COPY_OF_SOURCE, OK, ScoreRow
from storage.snapshot import Snapshot

METHODS = ["average", "laplacian_pyramid", "maximum", "pca", "tif"]


def write_pairs(folder: Path, count: int, seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    for number in range(count):
        clouds = [cv2.GaussianBlur(rng.random((56, 64)), (0, 0), sigma) for sigma in (1, 4)]
        pictures = [np.uint8(255 * (one - one.min()) / np.ptp(one)) for one in clouds]
        for name, picture in zip("ab", pictures, strict=True):
            write_png(folder / name / f"p{number}.png", picture)
        write_png(folder / "fused" / "Blend" / f"p{number}.png", cv2.addWeighted(pictures[0], 0.7, pictures[1], 0.3, 0))
    return {"a": str(folder / "a"), "b": str(folder / "b"), "published": str(folder / "fused"), "name": folder.name}


@pytest.fixture(scope="module")
def snapshot(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """Three pairs of one source and two of another, with one published method."""
    folder = tmp_path_factory.mktemp("contribution")
    for name in ("left", "right"):
        for part in ("a", "b", "fused/Blend"):
            (folder / name / part).mkdir(parents=True)
    sources = [write_pairs(folder / "left", 3, 0), write_pairs(folder / "right", 2, 1)]
    build(make_recipe({"source": sources, "methods": METHODS}), str(folder / "store"), client)
    yield Snapshot(str(folder / "store"))


def value(row: ScoreRow, criterion: str) -> float:
    return parse_criterion(criterion).value(row.scores)


def by_hand(snapshot: Snapshot, criterion: str, without: str = "") -> dict[str, tuple[str, float]]:
    """The best live candidate of every pair, without one method, the long way."""
    best = {}
    for pair_id, rows in group_scores(snapshot).items():
        live = [r for r in rows if is_live(r.method) and r.status == OK and COPY_OF_SOURCE not in r.flags and r.method != without]
        row = max(live, key=lambda r: value(r, criterion))
        best[pair_id] = row.method, value(row, criterion)
    return best


def mean(best: dict[str, tuple[str, float]]) -> float:
    return float(np.mean([one for _, one in best.values()]))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_loss_is_what_the_best_without_the_method_is_worse(snapshot: Snapshot, criterion: str) -> None:
    _, contributions = find_contributions(snapshot)
    own = [one for one in contributions if one.criterion == criterion]
    assert sorted(one.method for one in own) == ["laplacian_pyramid", "pca", "tif"]
    whole = by_hand(snapshot, criterion)
    for one in own:
        assert one.loss == pytest.approx(mean(whole) - mean(by_hand(snapshot, criterion, one.method)), abs=1e-12)
        won = [pair_id for pair_id, (method, _) in whole.items() if method == one.method]
        assert one.wins == {name: count for name in ("left", "right") if (count := sum(p.startswith(name) for p in won))}
        assert one.share == pytest.approx(one.loss / mean(whole)) and one.seconds > 0
    assert [one.loss for one in own] == sorted((one.loss for one in own), reverse=True)
    assert sum(sum(one.wins.values()) for one in own) == 5 and max(one.loss for one in own) > 0


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_pool_stands_beside_the_published_and_the_references(snapshot: Snapshot, criterion: str) -> None:
    pools = {one.source: one for one in find_contributions(snapshot)[0] if one.criterion == criterion}
    assert list(pools) == ["left", "right", ALL]
    assert [pools[name].pairs for name in pools] == [3, 2, 5] == [pools[name].compared for name in pools]
    groups, best = group_scores(snapshot), by_hand(snapshot, criterion)
    published = {pair: value(next(r for r in rows if r.method == "published:Blend"), criterion) for pair, rows in groups.items()}
    whole = pools[ALL]
    assert whole.live == pytest.approx(mean(best)) and whole.published == pytest.approx(np.mean(list(published.values())))
    assert whole.lead == pytest.approx(whole.live / whole.published - 1)
    assert whole.better == sum(best[pair][1] > published[pair] for pair in best)
    averages = [value(next(r for r in rows if r.method == "average"), criterion) for rows in groups.values()]
    assert whole.references["average"] == pytest.approx(np.mean(averages)) and set(whole.references) == {"average", "maximum"}


def test_a_method_that_is_left_out_leaves_the_pool_to_the_others(snapshot: Snapshot) -> None:
    left_out = min(method for method, _ in by_hand(snapshot, "balanced").values())
    pools, contributions = find_contributions(snapshot, [left_out])
    whole = next(one for one in pools if (one.criterion, one.source) == ("balanced", ALL))
    assert whole.live == pytest.approx(mean(by_hand(snapshot, "balanced", left_out)))
    assert whole.live < mean(by_hand(snapshot, "balanced"))
    assert {one.method for one in contributions} == {"laplacian_pyramid", "pca", "tif"} - {left_out}
    with pytest.raises(UnknownName, match="unknown live method of this store 'avrage'"):
        find_contributions(snapshot, ["avrage"])
    with pytest.raises(InputError, match="beside average and maximum and laplacian_pyramid and pca and tif; leave fewer out"):
        find_contributions(snapshot, ["laplacian_pyramid", "pca", "tif"])


def test_published_results_students_and_references_are_not_of_the_pool() -> None:
    assert is_live("tif") and not any(map(is_live, ("published:IFCNN", "student:runs/one", "average", "maximum")))


def test_a_copy_of_a_source_is_passed_over_and_counted(client: Client, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    write_png(tmp_path / "a" / "p.png", rng.integers(0, 255, (56, 64), np.uint8))
    write_png(tmp_path / "b" / "p.png", np.full((56, 64), 3, np.uint8) + rng.integers(0, 2, (56, 64), np.uint8))
    recipe = make_recipe({"source": [{"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}], "methods": ["pca", "tif"]})
    build(recipe, str(tmp_path / "store"), client)
    pools, contributions = find_contributions(Snapshot(str(tmp_path / "store")))
    assert [(one.source, one.copies, one.unwon) for one in pools if one.criterion == "diff-if"] == [(UNNAMED, 1, 0)]
    assert {one.method: sum(one.wins.values()) for one in contributions if one.criterion == "diff-if"} == {"pca": 0, "tif": 1}
    assert pools[0].compared == 0 and math.isnan(pools[0].published) and math.isnan(pools[0].lead)


def test_a_pair_that_only_copies_could_win_is_counted_as_such(client: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "fair.png", rng.integers(0, 255, (56, 64), np.uint8))
    write_png(tmp_path / "a" / "bare.png", rng.integers(0, 255, (56, 64), np.uint8))
    write_png(tmp_path / "b" / "bare.png", np.full((56, 64), 3, np.uint8) + rng.integers(0, 2, (56, 64), np.uint8))
    recipe = make_recipe({"source": [{"a": str(tmp_path / "a"), "b": str(tmp_path / "b"), "name": "wins"}], "methods": ["pca"]})
    build(recipe, str(tmp_path / "store"), client)
    pools, contributions = find_contributions(Snapshot(str(tmp_path / "store")))
    assert [(one.source, one.pairs, one.unwon) for one in pools] == [("wins", 1, 1)] * 2
    assert {row["in wins"] for row in to_matrix_rows(contributions, ["wins"])} == {"1"}, "a source's name hides no column"
    assert "published" not in to_pool_rows(pools)[0]


def test_a_source_named_all_is_not_the_total(client: Client, tmp_path: Path) -> None:
    sources = []
    rng = np.random.default_rng(0)
    for name in ("all", "pairs"):
        for part in ("a", "b", "fused/Blend"):
            (tmp_path / name / part).mkdir(parents=True)
        sources.append({key: text for key, text in write_pairs(tmp_path / name, 1, 0).items() if key != "published"})
        write_png(tmp_path / name / "a" / "bare.png", rng.integers(0, 255, (56, 64), np.uint8))
        write_png(tmp_path / name / "b" / "bare.png", np.full((56, 64), 3, np.uint8) + rng.integers(0, 2, (56, 64), np.uint8))
    build(make_recipe({"source": sources, "methods": ["pca"]}), str(tmp_path / "store"), client)
    pools, _ = find_contributions(Snapshot(str(tmp_path / "store")))
    found = [(one.source, one.pairs, one.unwon) for one in pools if one.criterion == "diff-if"]
    assert found == [("all", 1, 1), ("pairs", 1, 1), (ALL, 2, 2)]


@pytest.mark.parametrize("mark", [ALL, UNNAMED])
def test_what_stands_in_place_of_a_source_can_be_none(mark: str) -> None:
    with pytest.raises(InputError, match=r"source\.0\.name"):
        make_recipe({"source": [{"a": "ir", "b": "vis", "name": mark}]})


def test_a_store_of_references_alone_says_what_to_build(client: Client, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "p.png", np.random.default_rng(ord(name)).integers(0, 255, (56, 64), np.uint8))
    recipe = make_recipe({"source": [{"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}], "methods": ["average", "maximum"]})
    build(recipe, str(tmp_path / "store"), client)
    with pytest.raises(InputError, match="no candidate of a live method beside average and maximum; build with `--methods standard`"):
        find_contributions(Snapshot(str(tmp_path / "store")))


# The command.


def test_the_command_lists_every_method_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    methods(form=Format.json)
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == list(registered())
    assert set(listed[0]) == set(EVERY_COLUMN)
    assert {one["cost"] for one in listed} <= {"light", "medium", "heavy", "extreme"}
    methods()
    assert "laplacian_pyramid" in capsys.readouterr().out


def test_the_command_tells_contributions_in_every_form(snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    address = snapshot.store.address
    methods(contribution=address, form=Format.json)
    found = json.loads(capsys.readouterr().out)
    pools, contributions = find_contributions(snapshot)
    assert [Pool(**one) for one in found["pools"]] == list(pools)
    assert [Contribution(**one) for one in found["contributions"]] == list(contributions)
    methods(contribution=address, form=Format.csv)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 6 and {row["criterion"] for row in rows} == set(CRITERIA)
    assert sum(int(row["wins"]) for row in rows) == 10
    methods(contribution=address)
    shown = capsys.readouterr().out
    assert "Wins by balanced" in shown and "laplacian_pyramid" in shown and "5/5" in shown.replace(" ", "")


def test_the_command_leaves_methods_out_and_says_so(snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    address = snapshot.store.address
    methods(contribution=address, without="pca, tif")
    shown = " ".join(capsys.readouterr().out.split())
    assert "without the references and pca, tif" in shown
    methods(contribution=address, without="pca, tif", form=Format.json)
    found = json.loads(capsys.readouterr().out)
    assert {one["method"] for one in found["contributions"]} == {"laplacian_pyramid"}
    with pytest.raises(InputError, match="--contribution STORE"):
        methods(without="pca")
