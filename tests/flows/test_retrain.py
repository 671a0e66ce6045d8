"""Retraining: when a challenger is trained, from what, on what it is judged, and who is champion afterwards."""

import json
import logging
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from distributed import Client

from flows import retrain as retraining
from flows.champions import find_champion_folder, keep_champion, roll_back
from flows.judge_student import find_split
from flows.progress import Report, stay_silent
from flows.retrain import LEAST_SCENES, LOCK, Decision, RetrainRequest, find_held_out, name_run, retrain
from flows.train_student import TrainRequest
from storage import locks
from storage.errors import InputError, StoreBusy, TrainingFailed, UnknownName
from storage.files import Files
from storage.locks import hold_lock
from storage.models import append_model, find_champion, read_models
from storage.repository import Draft
from storage.schema import FIRST, KEPT, PROMOTED, TEST, TRAIN, VAL, ModelRow
from storage.snapshot import Snapshot
from storage.tables import write_table
from train import loop
from train.checkpoint import STUDENT, Checkpoint, find_checkpoints, read_checkpoint, read_student, read_tensors, write_checkpoint
from train.config import MIXES, PRESETS
from train.evaluate import CHAMPION, Difference, Interval, Standing, Verdict
from train.report import read_reports

NAN = math.nan
SIZES = {"steps": 2, "batch": 2, "crop": 48}
LOST = "ZZZZWRMMJJMFWVAD9FW0"
BETTER, WORSE = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1)

Row = dict[str, Any]
Change = Callable[[Row], Row]
Judge = Callable[..., Verdict]


@pytest.fixture
def store(split_store: str, tmp_path: Path) -> str:
    """A copy of `split_store`, to be changed."""
    return str(shutil.copytree(split_store, tmp_path / "store"))


@pytest.fixture(autouse=True)
def listen(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Warnings are heard, which Dask mutes where it found somebody listening."""
    caplog.set_level(logging.WARNING, "flows")


@dataclass
class Teacher:
    """In place of training: every call is kept, and leaves a checkpoint whose weights nobody else has."""

    base: Checkpoint
    requests: list[TrainRequest]

    def __call__(self, request: TrainRequest, report: Report = stay_silent) -> Path:
        self.requests.append(request)
        weights = {name: one + 1e-4 * len(self.requests) for name, one in read_tensors(self.base, STUDENT).items()}
        facts = replace(self.base.facts, snapshot_id=str(request.snapshot))
        return write_checkpoint(request.out, facts, weights, {}).folder


@pytest.fixture
def taught(trained: Path, monkeypatch: pytest.MonkeyPatch) -> list[TrainRequest]:
    """Nothing is trained: the requests of all trainings that would have been."""
    teacher = Teacher(read_checkpoint(trained), [])
    monkeypatch.setattr(retraining, "train_student", teacher)
    return teacher.requests


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what all evaluations from now on end with."""

    def set_verdict(difference: Interval | None = None, value: float = 5.0) -> None:
        monkeypatch.setattr(retraining, "judge_both", lambda *_: make_verdict(difference, value))

    set_verdict()
    return set_verdict


def make_verdict(difference: Interval | None, value: float) -> Verdict:
    """A student of this mean, and by how much it is better than the champion where there is one."""
    standings = [Standing(name, {"balanced": Interval(mean, mean, mean)}, {}) for name, mean in (("student", value), (CHAMPION, 4.0))]
    differences = [Difference(CHAMPION, "balanced", difference, 100.0, None)] if difference else []
    return Verdict(2, 2, ("balanced",), ("balanced",), {}, {}, tuple(standings[: 1 + bool(difference)]), tuple(differences))


def ask(store: str, *, least_change: float = 0.0, least_scenes: int = 1, **settings: Any) -> RetrainRequest:
    """A retraining of the fixture's size, or another."""
    training = TrainRequest(store=store, out=Path(store).parent / "runs", device="cpu", **settings)
    return RetrainRequest(training=training, least_change=least_change, least_scenes=least_scenes)


def read_rows(store: str) -> tuple[ModelRow, ...]:
    return read_models(find_files(store))


def find_files(store: str) -> Files:
    return Snapshot(store).store.files


def list_runs(store: str) -> list[str]:
    return sorted(one.name for one in (Path(store).parent / "runs").glob("*"))


def promote(store: str, checkpoint: Checkpoint) -> str:
    """Make a checkpoint's student champion, whatever it is worth."""
    files, before = find_files(store), find_champion(read_rows(store))
    student, snapshot_id = keep_champion(files, checkpoint), checkpoint.facts.snapshot_id
    decision = PROMOTED if before else FIRST
    row = ModelRow(decision=decision, champion=student, previous=before, challenger=student, challenger_snapshot=snapshot_id)
    append_model(files, row, before)
    return student


def change_student(trained: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None], **facts: Any) -> Checkpoint:
    """A checkpoint like the trained one, with other weights."""
    base = read_checkpoint(trained)
    weights = read_tensors(base, STUDENT)
    change(weights)
    return write_checkpoint(folder, replace(base.facts, **facts), weights, {})


def publish_again(store: str, **changes: Change) -> str:
    """Commit the newest snapshot once more with other rows in its tables; the new one's id."""
    newest = Snapshot(store)
    tables: dict[str, Any] = dict(newest.manifest["tables"])
    for name, change in changes.items():
        table = newest.table(name)
        rows = [change(row) for row in table.to_pylist()]
        tables[name] = write_table(newest.store.files, name, pa.Table.from_pylist(rows, schema=table.schema)).to_json()
    with Draft(newest.store, newest.id) as draft:
        snapshot_id = draft.commit("for tests", {**newest.manifest, "tables": tables}, {})
        draft.publish()
    return snapshot_id


def replace_winners(*pair_ids: str) -> Change:
    """Another image for the winners of these pairs."""
    return lambda row: row | ({"image_hash": f"another than {row['image_hash']}"} if row["pair_id"] in pair_ids else {})


def move(splits: Mapping[str, str]) -> Change:
    """Another split for these pairs."""
    return lambda row: row | {"split": splits.get(row["pair_id"], row["split"])}


def list_pairs(store: str, split: str) -> list[str]:
    return list(find_split(Snapshot(store), split))


# The whole way.


def test_the_first_student_is_champion_and_the_next_is_trained_on_from_it(store: str) -> None:
    told: list[tuple[str, int, int]] = []
    first = retrain(ask(store, **SIZES, mix="prior-only"), lambda *progress: told.append(progress))
    assert first.promoted and first.row is not None and first.verdict is not None
    snapshot, row = Snapshot(store), first.row
    assert (row.number, row.decision, row.champion, row.previous) == (1, FIRST, row.challenger, "")
    assert (row.challenger_snapshot, row.champion_snapshot, row.judged_snapshot) == (snapshot.id, "", snapshot.id)
    assert (row.split, row.pairs, row.groups, row.criterion) == (TEST, 2, 2, "balanced")
    assert row.reason == first.reason and row.reason.startswith(f"the first student: balanced {row.challenger_value:.3f} [")
    assert math.isfinite(row.challenger_value) and math.isnan(row.champion_value) and math.isnan(row.low)
    standings = json.loads(row.verdict)["standings"]
    assert standings[0]["contestant"] == "student" and standings[0]["scores"]["balanced"]["mean"] == row.challenger_value
    assert first.changes.added == first.changes.winners == 6
    assert str(read_rows(store)) == str((row,))  # nan is not itself
    assert Path(row.run).parent.name == list_runs(store)[0]
    assert ("training", 2, 2) in told and ("scoring the teacher and the others", 2, 2) in told

    champion = read_checkpoint(find_champion_folder(store))
    assert champion.facts == read_checkpoint(Path(row.run)).facts
    assert (champion.facts.training.seed, champion.facts.training.mix) == (1, MIXES["prior-only"])

    # a challenger that cannot learn shows what it began with: the champion's own weights, and so the champion's own marks
    second = retrain(ask(store, **SIZES, rate=0.0))
    assert second.row is not None and not second.promoted
    begun = read_checkpoint(Path(second.row.run))
    weights, taught = read_student(champion).state_dict(), read_student(begun).state_dict()
    assert all(torch.equal(taught[name], one) for name, one in weights.items())
    assert begun.facts.training == replace(champion.facts.training, rate=0.0, seed=2)
    assert (second.row.number, second.row.decision, second.row.champion, second.row.previous) == (2, KEPT, row.champion, row.champion)
    assert (second.row.difference, second.row.low, second.row.high) == (0, 0, 0)
    assert second.row.champion_value == second.row.challenger_value == row.challenger_value
    assert second.row.champion_snapshot == snapshot.id and second.row.reason.endswith("not proven better, the champion stays")
    assert {"student", CHAMPION, "teacher"} <= {one["contestant"] for one in json.loads(second.row.verdict)["standings"]}


def test_a_champion_that_is_beaten_is_replaced_even_by_other_networks(
    store: str, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["refiner.out.bias"] += 1.0  # everything comes out far too bright

    old = promote(store, change_student(trained, tmp_path / "old", spoil))
    decision = retrain(ask(store, preset="small", **SIZES))
    assert decision.promoted and decision.row is not None and decision.row.low > 0
    row = decision.row
    assert (row.decision, row.champion, row.previous) == (PROMOTED, row.challenger, old) and row.champion != old
    assert row.challenger_value - row.champion_value == pytest.approx(row.difference) and row.reason.endswith("scenes: better")
    assert read_checkpoint(find_champion_folder(store)).facts.network == PRESETS["small"].network
    assert "has other networks than preset small: its challenger is trained from nothing" in caplog.text


def test_one_scene_proves_nothing(store: str, trained: Path, tmp_path: Path) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["refiner.out.bias"] += 1.0

    publish_again(store, pairs=move({list_pairs(store, TEST)[0]: VAL}))
    old = promote(store, change_student(trained, tmp_path / "old", spoil, snapshot_id=Snapshot(store).id))
    row = retrain(ask(store, preset="small", **SIZES)).row
    assert row is not None and (row.decision, row.champion, row.pairs) == (KEPT, old, 1)
    assert row.difference > 0 and math.isnan(row.low) and math.isnan(row.high)


# What a challenger is trained from.


def test_a_challenger_begins_with_the_champion_and_draws_other_crops(
    store: str, taught: list[TrainRequest], judged: Callable[..., None]
) -> None:
    retrain(ask(store, **SIZES))
    judged(WORSE)
    retrain(ask(store))
    retrain(ask(store, seed=7, preset="tiny"))
    folder = find_champion_folder(store)
    assert [one.first for one in taught] == [None, folder, folder]
    assert [one.seed for one in taught] == [1, 2, 7]
    assert [one.steps for one in taught] == [2, None, None] and [one.preset for one in taught] == [None, None, "tiny"]
    assert all(one.resume and one.snapshot == Snapshot(store).id for one in taught)
    assert len({one.out for one in taught}) == 3 and {one.out.parent for one in taught} == {Path(store).parent / "runs"}


def test_after_a_rollback_the_champion_in_force_is_trained_on_from(
    store: str, taught: list[TrainRequest], judged: Callable[..., None]
) -> None:
    older = Snapshot(store).id
    retrain(ask(store))
    first = find_champion(read_rows(store))
    publish_again(store, selections=replace_winners(*list_pairs(store, TRAIN)))
    judged(BETTER)
    retrain(ask(store))
    assert find_champion(read_rows(store)) != first
    roll_back(store, None, "")
    judged(WORSE)
    last = retrain(ask(store, least_change=0.3))  # since the snapshot of the champion in force, not of the one gone back from
    assert taught[-1].first == find_champion_folder(store) and str(taught[-1].first).endswith(first)
    assert last.row is not None and last.changes.replaced == 3
    assert (last.row.champion, last.row.previous, last.row.champion_snapshot) == (first, first, older)


# Who is champion afterwards.


@pytest.mark.parametrize(
    ("difference", "decision"),
    [
        (Interval(0.2, 1e-9, 0.4), PROMOTED),
        (Interval(0.2, 0.0, 0.4), KEPT),
        (Interval(0.2, -0.1, 0.4), KEPT),
        (Interval(-0.2, -0.4, -0.1), KEPT),
        (Interval(0.2, NAN, NAN), KEPT),
        (Interval(NAN, NAN, NAN), KEPT),
    ],
)
def test_only_an_interval_above_zero_promotes(
    store: str, taught: list[TrainRequest], judged: Callable[..., None], difference: Interval, decision: str
) -> None:
    retrain(ask(store))
    champion = find_champion(read_rows(store))
    kept = {one.name: one.read_bytes() for one in find_champion_folder(store).iterdir()}
    judged(difference, value=NAN if math.isnan(difference.mean) else 4.2)
    ended = retrain(ask(store))
    row = read_rows(store)[-1]
    assert ended.row is not None and ended.row.number == row.number == 2 and row.decision == decision
    assert ended.promoted == (decision == PROMOTED) and row.previous == champion and row.challenger != champion
    assert row.champion == (row.challenger if ended.promoted else champion)
    for found, expected in zip((row.difference, row.low, row.high), (difference.mean, difference.low, difference.high), strict=True):
        assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert {one.name for one in (Path(store) / "models").iterdir() if one.is_dir()} == {champion, row.champion}
    assert {one.name: one.read_bytes() for one in (Path(store) / "models" / champion).iterdir()} == kept


def test_few_scenes_promote_nobody(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    retrain(ask(store))
    judged(BETTER)
    row = retrain(ask(store, least_scenes=3)).row
    assert row is not None and row.decision == KEPT and row.low > 0
    assert "better, but fewer than 3 scenes prove nothing" in row.reason
    assert RetrainRequest.__dataclass_fields__["least_scenes"].default == LEAST_SCENES == 10


def test_who_is_undefined_on_more_pairs_is_not_better(
    store: str, taught: list[TrainRequest], judged: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(ask(store))
    verdict = make_verdict(BETTER, 5.0)
    student, champion = verdict.standings
    verdict = replace(verdict, standings=(replace(student, undefined={"balanced": 2}), replace(champion, undefined={"balanced": 1})))
    monkeypatch.setattr(retraining, "judge_both", lambda *_: verdict)
    row = retrain(ask(store)).row
    assert row is not None and row.decision == KEPT and "fewer pairs than the champion" in row.reason


def test_the_child_of_a_champion_that_was_taken_back_is_not_promoted(
    store: str, trained: Path, taught: list[TrainRequest], judged: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    retrain(ask(store))
    first = find_champion(read_rows(store))
    promote(store, change_student(trained, tmp_path / "other", lambda weights: weights["refiner.out.bias"].add_(0.1)))
    train = retraining.train_challenger

    def train_meanwhile(*arguments: Any) -> Path:
        run = train(*arguments)
        roll_back(store, None, "halos")
        return run

    monkeypatch.setattr(retraining, "train_challenger", train_meanwhile)
    judged(BETTER)
    row = retrain(ask(store)).row
    assert row is not None and row.decision == KEPT and row.champion == first
    assert "the champion it was trained from was taken back meanwhile" in row.reason


def test_who_waited_trains_on_the_snapshot_that_is_newest_then(
    store: str, taught: list[TrainRequest], judged: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer: list[str] = []

    @contextmanager
    def wait(*_: object, **named: object) -> Iterator[None]:
        newer.append(publish_again(store, selections=replace_winners(*list_pairs(store, TRAIN))))
        yield

    monkeypatch.setattr(retraining, "hold_lock", wait)
    row = retrain(ask(store)).row
    assert row is not None and [row.judged_snapshot] == newer == [taught[-1].snapshot]


def test_a_first_student_without_a_value_is_no_champion(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    judged(value=NAN)
    with pytest.raises(TrainingFailed, match=r"the first student's balanced is undefined on 2 pairs of 2 scenes: it is no champion; train"):
        retrain(ask(store))
    assert read_rows(store) == () and not (Path(store) / "models").exists()


def test_a_row_tells_on_which_snapshots(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    older = Snapshot(store).id
    retrain(ask(store))
    newer = publish_again(store, selections=replace_winners(*list_pairs(store, TRAIN)))
    judged(BETTER)
    row = retrain(ask(store, least_change=0.5)).row
    assert row is not None and row.decision == PROMOTED
    assert (row.champion_snapshot, row.challenger_snapshot, row.judged_snapshot) == (older, newer, newer)
    judged(WORSE)
    row = retrain(ask(store, snapshot="v1")).row
    assert row is not None and (row.champion_snapshot, row.challenger_snapshot, row.judged_snapshot) == (newer, older, older)


def test_a_champion_made_meanwhile_is_the_one_to_be_better_than(
    store: str, trained: Path, taught: list[TrainRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rivals: list[str] = []
    verdicts = [make_verdict(None, 5.0), make_verdict(BETTER, 5.0), make_verdict(WORSE, 5.0)]

    def judge(snapshot: Snapshot, rows: Sequence[ModelRow], *_: object) -> Verdict:
        rivals.append(find_champion(rows))
        if len(rivals) == 2:
            promote(store, change_student(trained, tmp_path / "other", lambda weights: weights["refiner.out.bias"].add_(0.1)))
        return verdicts[len(rivals) - 1]

    monkeypatch.setattr(retraining, "judge_both", judge)
    retrain(ask(store))
    ended = retrain(ask(store))
    first, other, last = read_rows(store)
    assert rivals == ["", first.champion, other.champion] and len(taught) == 2
    assert str(ended.row) == str(last) and last.decision == KEPT and last.champion == last.previous == other.champion
    assert "somebody else decided in between" in caplog.text and "judged again" in caplog.text


# When nothing is trained.


def test_too_few_changes_train_nothing(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    retrain(ask(store, least_change=1.0))  # the first of all is trained whatever has changed
    publish_again(store, selections=replace_winners(list_pairs(store, TRAIN)[0]))
    ended = retrain(ask(store, least_change=0.2))
    assert ended == Decision(None, ended.changes, ended.reason) and not ended.promoted
    assert (ended.changes.changed, ended.changes.share) == (1, 1 / 6)
    champion = find_champion(read_rows(store))
    told = f"1 of 6 winners changed (0 new, 0 gone, 1 replaced) since the champion {champion} was trained, fewer than 20%"
    assert ended.reason == f"{told}: nothing is trained"
    assert len(taught) == len(read_rows(store)) == 1
    judged(WORSE)
    assert retrain(ask(store, least_change=1 / 6)).row is not None and len(taught) == 2


def test_a_challenger_can_be_asked_for_without_any_change(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    retrain(ask(store))
    judged(WORSE)
    ended = retrain(ask(store, least_change=0.0))
    assert ended.row is not None and ended.changes.changed == 0 and len(taught) == 2


def test_if_the_snapshot_of_the_champion_is_gone_everything_has_changed(
    store: str, trained: Path, tmp_path: Path, taught: list[TrainRequest], judged: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    promote(store, change_student(trained, tmp_path / "old", lambda weights: None, snapshot_id=LOST))
    judged(WORSE)
    ended = retrain(ask(store, least_change=1.0))
    assert ended.row is not None and ended.changes.added == ended.changes.winners == 6 and len(taught) == 1
    assert f"no snapshot '{LOST}'" in caplog.text and "all winners count as changed" in caplog.text
    assert "whether a test pair was trained on there cannot be told" in caplog.text
    assert ended.row.champion_snapshot == LOST


def test_what_cannot_be_judged_is_not_trained(store: str, taught: list[TrainRequest]) -> None:
    with pytest.raises(UnknownName, match="unknown criterion of an evaluation 'balance'; did you mean balanced"):
        retrain(replace(ask(store), criterion="balance"))
    with pytest.raises(UnknownName, match="unknown criterion of an evaluation 'ssim_a'; known: balanced, diff-if"):
        retrain(replace(ask(store), criterion="ssim_a"))
    publish_again(store, pairs=move(dict.fromkeys(list_pairs(store, TEST), TRAIN)))
    with pytest.raises(InputError, match="no pair with a winner in the split 'test'"):
        retrain(ask(store))
    assert taught == [] and read_rows(store) == () and list_runs(store) == []


@pytest.mark.parametrize("share", [-0.1, 5, NAN])
def test_a_share_that_is_none_is_refused(store: str, taught: list[TrainRequest], share: float) -> None:
    with pytest.raises(InputError, match=r"the least share of changed winners is .*; it must lie between 0 and 1"):
        retrain(ask(store, least_change=share))
    assert taught == []


# What both are judged on.


def test_pairs_that_any_student_was_trained_on_are_left_out(
    store: str, taught: list[TrainRequest], judged: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    (seen, *_), (picked_on,), (seen_by_a_loser, unseen) = (list_pairs(store, split) for split in (TRAIN, VAL, TEST))
    retrain(ask(store))
    publish_again(store, pairs=move({seen_by_a_loser: TRAIN}))
    judged(WORSE)
    assert list(find_held_out(Snapshot(store), read_rows(store))) == [unseen]
    retrain(ask(store))
    publish_again(store, pairs=move(dict.fromkeys((seen, picked_on, seen_by_a_loser), TEST)))
    newest = Snapshot(store)
    assert list_pairs(store, TEST) == sorted([seen, picked_on, seen_by_a_loser, unseen])
    assert "are left out" not in caplog.text
    assert list(find_held_out(newest, read_rows(store))) == [unseen]
    assert "3 of 4 test pairs were trained on earlier and are left out" in caplog.text
    assert list(find_held_out(newest, ())) == list_pairs(store, TEST)


@pytest.mark.parametrize("column", ["pair_hash", "group"])
def test_a_seen_picture_or_scene_under_another_name_is_left_out(
    store: str, taught: list[TrainRequest], judged: Callable[..., None], column: str
) -> None:
    retrain(ask(store))
    seen, (alike, unseen) = list_pairs(store, TRAIN)[0], list_pairs(store, TEST)
    known = {row["pair_id"]: row[column] for row in Snapshot(store).table("pairs").to_pylist()}
    publish_again(store, pairs=lambda row: row | ({column: known[seen]} if row["pair_id"] == alike else {}))
    assert list(find_held_out(Snapshot(store), read_rows(store))) == [unseen]


def test_both_are_judged_on_what_neither_has_seen(store: str, trained: Path) -> None:
    promote(store, read_checkpoint(trained))
    unseen = list_pairs(store, TEST)
    publish_again(store, pairs=move({list_pairs(store, TRAIN)[0]: TEST}))
    row = retrain(ask(store, **SIZES, rate=0.0)).row
    assert row is not None and (row.pairs, row.groups) == (len(unseen), len(unseen)) == (2, 2)


def test_where_every_test_pair_is_known_nothing_is_trained(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    retrain(ask(store))
    tested, known = list_pairs(store, TEST), list_pairs(store, TRAIN)[0]
    publish_again(store, pairs=move(dict.fromkeys(tested, TRAIN) | {known: TEST}))
    with pytest.raises(InputError, match=r"every test pair of snapshot .* was trained on earlier; add scenes that no student has seen"):
        retrain(ask(store))
    assert len(taught) == len(read_rows(store)) == 1


# Killed, and at once.


def test_a_killed_retraining_goes_on_where_it_was(store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    request = ask(store, **SIZES | {"steps": 3}, save_every=1)
    save = loop.save

    def save_and_die(*state: Any) -> None:
        save(*state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            retrain(request)
    (run,) = (Path(store).parent / "runs").iterdir()
    assert read_rows(store) == () and [one.name for one in find_checkpoints(run)] == ["step-00000001"]
    with caplog.at_level(logging.INFO, "train"):
        ended = retrain(replace(request, training=replace(request.training, max_minutes=600.0)))
    assert "going on from step 1 of 3" in caplog.text and list_runs(store) == [run.name]
    assert ended.row is not None and Path(ended.row.run).parent == run
    assert [one["step"] for one in read_reports(run) if one["kind"] == "losses"] == [3]


def test_who_asks_the_same_again_goes_on_and_who_asks_otherwise_begins_anew(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []

    def die(request: TrainRequest, report: Report) -> Path:
        folders.append(request.out.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "train_student", die)
    for settings in ({}, {"workers": 2, "max_minutes": 9.0, "snapshot": "v1"}, {"steps": 9}, {"seed": 1}):
        with pytest.raises(KeyboardInterrupt):
            retrain(ask(store, **settings))
    assert folders[0] == folders[1] and len(set(folders)) == 3


def test_a_run_is_named_after_what_is_trained_and_not_after_where() -> None:
    asked = TrainRequest(store="s", out=Path("runs"))
    name = name_run(asked, "SNAPSHOT1", "champion1", 3)
    assert name.startswith("0003-SNAPSHOT-champion-") and name_run(asked, "SNAPSHOT1", "", 3).startswith("0003-SNAPSHOT-nobody-")
    where = {"store", "out", "snapshot", "first", "resume", "device", "workers", "max_minutes", "compiled"}
    others: dict[str, Any] = {
        "store": "t", "out": Path("x"), "snapshot": "v1", "first": Path("f"), "resume": True, "device": "cpu", "workers": 2,
        "max_minutes": 1.0, "compiled": True, "preset": "small", "mix": "criteria", "weighting": "margin",
    }  # fmt: skip
    for one in fields(TrainRequest):
        other = name_run(replace(asked, **{one.name: others.get(one.name, 5)}), "SNAPSHOT1", "champion1", 3)
        assert (other == name) == (one.name in where), one.name
    assert (
        len({name, *(name_run(asked, *place) for place in (("T", "champion1", 3), ("SNAPSHOT1", "d", 3), ("SNAPSHOT1", "champion1", 4)))})
        == 4
    )


def test_a_second_retraining_of_a_store_waits_or_is_refused(
    store: str, trained: Path, judged: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "FOLDER_PAUSE", 0.01)
    teacher, inside, go_on = Teacher(read_checkpoint(trained), []), threading.Event(), threading.Event()

    def teach_slowly(request: TrainRequest, report: Report) -> Path:
        inside.set()
        assert go_on.wait(60)
        return teacher(request, report)

    monkeypatch.setattr(retraining, "train_student", teach_slowly)
    ended: list[Decision] = []
    with run_beside(lambda: ended.append(retrain(replace(ask(store), who="the first")))):
        assert inside.wait(60)
        with pytest.raises(StoreBusy, match="the first"):
            retrain(replace(ask(store), if_held="refuse"))
        judged(WORSE)
        with run_beside(lambda: ended.append(retrain(ask(store)))):
            go_on.set()
    assert len(teacher.requests) == 2 and [one.row.number for one in ended if one.row] == [1, 2]
    assert teacher.requests[1].first == find_champion_folder(store)  # it saw what the first had decided


@contextmanager
def run_beside(function: Callable[[], object]) -> Iterator[None]:
    """Run something in a thread of its own, which has ended after the block."""
    thread = threading.Thread(target=function)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


def test_a_retraining_does_not_wait_for_a_build(store: str, taught: list[TrainRequest], judged: Callable[..., None]) -> None:
    assert LOCK != "build"
    with hold_lock(find_files(store), "build", "a build"):
        assert retrain(replace(ask(store), if_held="refuse")).promoted
