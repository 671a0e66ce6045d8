"""Judging a student: the held-out pairs of a snapshot, and everything the student is measured against on them.

Every contestant goes the same way: its luma is joined with the pair's colour and rounded to 8 bits as any candidate is, and the luma of
that picture is scored. So the teacher's value is the one in the snapshot, and `average` here is `average` there.
"""

import functools
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flows.candidates import recover
from flows.progress import Report, stay_silent
from flows.summary import group_scores
from prior import evaluate, registry
from prior.arrays import Image, Picture, join, luma
from prior.criterion import Criterion, parse_criterion
from prior.evaluate import Scene
from prior.registry import Metric
from storage.errors import InputError
from storage.schema import OK, ScoreRow
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows
from train.evaluate import TEACHER, Contest, Fuse, Pair, Verdict, judge, stack

logger = logging.getLogger(__name__)

CRITERIA = ("diff-if", "balanced")
TERMS = ("ssim_a", "ssim_b", "vif_a", "vif_b", "qabf")
UNTRAINED = ("mi", "scd")
"""Metrics that no criterion and no loss reads: a student cannot have learned to please them."""

CORRELATIONS = ("corr_a", "corr_b")
"""With each source: a student on its way to a copy of one is seen here."""

BARE = ("source a", "source b")
PLAIN_METHODS = ("average", "maximum")
PREPARING, JUDGING = "scoring the teacher and the others", "judging the student"


@dataclass(frozen=True, slots=True)
class Judges:
    """What every contestant is scored by: the metrics, the criteria, and the columns that come of them."""

    metrics: tuple[Metric, ...]
    criteria: tuple[Criterion, ...]
    columns: tuple[str, ...]


def judge_student(
    snapshot: Snapshot, fuse: Fuse, split: str = "test", *, metrics: Sequence[str] = UNTRAINED, report: Report = stay_silent
) -> Verdict:
    """A student beside its teacher and the plain alternatives on every pair of a split.

    Args:
        snapshot: the prior.
        fuse: the student: two luma images, float32 `(H, W)` in [0, 1], to the fused one.
        split: "train", "val" or "test".
        metrics: columns beside the criteria and their terms.
        report: told of progress.

    Raises:
        InputError: the split has no pair with a winner.
        UnknownName: no such metric.
        CandidateError: the student's answer is no image of its pair.
    """
    contest = prepare_contest(snapshot, find_split(snapshot, split), metrics=metrics, report=report)
    total = len(contest.groups)
    return judge(replace(contest, open_pairs=lambda: _tell(contest.open_pairs(), total, report)), fuse)


def find_split(snapshot: Snapshot, split: str, most: int | None = None) -> dict[str, str]:
    """The pairs of a split that have a winner, pair_id to group, in the order of the ids; a pair without a group is its own.

    Args:
        snapshot: the prior.
        split: "train", "val" or "test".
        most: how many pairs at most, taken evenly over the ids; None is all.

    Raises:
        InputError: there is none, or the snapshot is of schema 1 and knows no splits.
    """
    won = set(snapshot.table("selections", ["pair_id"])["pair_id"].to_pylist())
    pairs = snapshot.table("pairs")
    if "split" not in pairs.column_names:
        raise InputError(f"snapshot {snapshot.id} was built before pairs were split; run its build again, finished work is used")
    rows = [row for row in pairs.select(["pair_id", "group", "split"]).to_pylist() if row["pair_id"] in won]
    found = {row["pair_id"]: row["group"] or row["pair_id"] for row in rows if row["split"] == split}
    if not found:
        counts = Counter(row["split"] for row in rows)
        known = ", ".join(f"{name or 'none'} {count}" for name, count in sorted(counts.items())) or "no pair at all"
        raise InputError(
            f"snapshot {snapshot.id} has no pair with a winner in the split {split!r} (it has: {known}); "
            "evaluate another split, or build a prior with more scenes"
        )
    step = max(1, -(-len(found) // most)) if most else 1
    return dict(list(found.items())[::step])


def prepare_contest(
    snapshot: Snapshot, groups: Mapping[str, str], *, metrics: Sequence[str] = UNTRAINED, report: Report = stay_silent
) -> Contest:
    """Everything that does not depend on the student, to be judged any number of times with `train.evaluate.judge`.

    Args:
        snapshot: the prior.
        groups: pair_id to group of the pairs to judge on, as from `find_split` or some of them.
        metrics: columns beside the criteria and their terms.
        report: told of progress.

    Raises:
        InputError: there is no pair, or the snapshot holds no image of one.
        UnknownName: no such metric.
    """
    if not groups:
        raise InputError(f"there is no pair of snapshot {snapshot.id} to judge a student on; name at least one")
    judges = find_judges(snapshot, metrics)
    scores = group_scores(snapshot)
    best = find_best_singles(snapshot, {pair_id: scores.get(pair_id, []) for pair_id in groups}, judges.criteria)
    rows: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for done, pair_id in enumerate(groups, 1):
        pictures = snapshot.pictures(pair_id)
        scene = evaluate.prepare(pair_id, pictures["a"], pictures["b"])
        rows[TEACHER].append(score_luma(luma(pictures["winner"]), scene, judges))
        for method in dict.fromkeys(best.values()):
            row = next(one for one in scores[pair_id] if one.method == method)
            rows[_name_single(method)].append(_score_again(snapshot, row, scene, judges))
        for name, image in _fuse_plainly(scene):
            marks = score_image(image, scene, judges, name)
            # what says nothing of a bare source (SCD subtracts it from itself) must not cost all others the pair
            rows[name].append({k: v for k, v in marks.items() if math.isfinite(v)} if name in BARE else marks)
        report(PREPARING, done, len(groups))
    return Contest(
        groups=dict(groups),
        criteria=tuple(one.name for one in judges.criteria),
        columns=judges.columns,
        open_pairs=functools.partial(_open_pairs, snapshot, tuple(groups), judges),
        marks={name: stack(own) for name, own in rows.items()},
        best={criterion: _name_single(method) for criterion, method in best.items()},
    )


def find_judges(snapshot: Snapshot, metrics: Sequence[str]) -> Judges:
    """The judges of a contest: our two criteria, the snapshot's own where it is a third, their terms and the metrics named.

    A snapshot's own criterion that ranks candidates beside each other is left out, with a sentence in the log: the ranks would change
    with whom a student happens to stand beside, and its value would not be the teacher's of the snapshot.
    """
    criteria = [parse_criterion(name) for name in CRITERIA]
    own = replace(parse_criterion(snapshot.manifest["criterion"]["rule"]), name=str(snapshot.manifest["criterion"]["name"]))
    if own.relative:
        sentence = "snapshot %s was selected by %s, which values candidates only beside each other; students are judged by %s instead"
        logger.warning(sentence, snapshot.id, own.name, " and ".join(CRITERIA))
    elif own.name not in CRITERIA:
        criteria.append(own)
    names = [one.name for one in criteria]
    read = [metric for one in criteria for metric in one.metrics]
    columns = tuple(dict.fromkeys((*names, *TERMS, *metrics, *CORRELATIONS)))
    return Judges(evaluate.find_metrics((*read, *metrics)), tuple(criteria), columns)


def find_best_singles(snapshot: Snapshot, scores: Mapping[str, Sequence[ScoreRow]], criteria: Sequence[Criterion]) -> dict[str, str]:
    """For each criterion the method with the largest mean of those with a valid candidate on every pair; no entry where there is none.

    Pairs on which the winner's own value is undefined do not count, and on all others a method's has to be defined. A candidate that is
    a copy of a source counts: it is what one who uses this method everywhere gets. As it cannot be a winner, a method can stand above
    the teacher.
    """
    winners = {row.pair_id: row.method for row in to_selection_rows(snapshot.table("selections"))}
    valid = {pair_id: {row.method: row.scores for row in rows if row.status == OK} for pair_id, rows in scores.items()}
    methods = sorted(set.intersection(*(set(own) for own in valid.values())))
    best = {}
    for criterion in criteria:
        counted = [own for pair_id, own in valid.items() if math.isfinite(criterion.value(own.get(winners.get(pair_id, ""), {})))]
        means = {method: float(np.mean([criterion.value(own[method]) for own in counted])) for method in methods if counted}
        defined = {method: mean for method, mean in means.items() if math.isfinite(mean)}
        if defined:
            best[criterion.name] = max(defined, key=lambda method: defined[method])  # the first by name, where two are equal
    return best


def score_image(image: Image, scene: Scene, judges: Judges, who: str) -> dict[str, float]:
    """The scores of a fused luma by column, joined with the pair's colour and rounded as a candidate is.

    Raises:
        CandidateError: it is no finite float32 image of the pair's size.
    """
    checked = evaluate.check_image(image, scene.a.shape, f"{who} on {scene.pair_id}")
    return score_luma(luma(join(np.clip(checked, 0, 1), scene.colour)), scene, judges)


def score_luma(judged: Picture, scene: Scene, judges: Judges) -> dict[str, float]:
    """The scores of an 8-bit luma by column."""
    scores, problems = evaluate.score(judged, scene, judges.metrics)
    for sentence in problems:
        logger.warning("%s", sentence)
    scores |= zip(CORRELATIONS, (correlate(judged, scene.sources.a), correlate(judged, scene.sources.b)), strict=True)
    return _pick_columns(scores, judges)


def correlate(x: Picture, y: Picture) -> float:
    """Pearson's correlation of two 8-bit pictures, in [-1, 1]; nan where one has one value only."""
    first, second = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    first -= first.mean()
    second -= second.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale > 0 else math.nan


def _pick_columns(scores: Mapping[str, float], judges: Judges) -> dict[str, float]:
    known = dict(scores) | {one.name: one.value(scores) for one in judges.criteria}
    return {name: known[name] for name in judges.columns if name in known}


def _score_again(snapshot: Snapshot, row: ScoreRow, scene: Scene, judges: Judges) -> dict[str, float]:
    """A candidate of the snapshot by every column, or by those its kept scores give where its picture cannot be had any more."""
    picture = recover(snapshot, row)
    return _pick_columns(row.scores, judges) if picture is None else score_luma(luma(picture), scene, judges)


def _fuse_plainly(scene: Scene) -> Iterator[tuple[str, Image]]:
    yield from zip(BARE, (scene.a, scene.b), strict=True)
    for name in PLAIN_METHODS:
        yield name, registry.find_method(name).fuse(scene.a, scene.b)


def _name_single(method: str) -> str:
    return f"best single: {method}"


def _open_pairs(snapshot: Snapshot, pair_ids: Sequence[str], judges: Judges) -> Iterator[Pair]:
    # reading and preparing a pair again takes some 50 ms, keeping it some 25 MB
    for pair_id in pair_ids:
        pictures = snapshot.pictures(pair_id)
        scene = evaluate.prepare(pair_id, pictures["a"], pictures["b"])
        yield Pair(pair_id, scene.a, scene.b, functools.partial(score_image, scene=scene, judges=judges, who="the student"))


def _tell(pairs: Iterable[Pair], total: int, report: Report) -> Iterator[Pair]:
    for done, pair in enumerate(pairs, 1):
        yield pair
        report(JUDGING, done, total)
