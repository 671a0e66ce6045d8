"""Summaries: who won, by how much, and how many winners another criterion would change. Everything is read from a snapshot's tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prior.criterion import check_metrics, parse_criterion
from prior.select import Choice, Policy, select
from storage.schema import BY_HAND, FAILED, MISREGISTERED, OK, UNCONSTRAINED, ScoreRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_score_rows, to_selection_rows

BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Winner:
    """One pair's winner, and who would have won under `balanced`."""

    pair_id: str
    method: str
    value: float
    runner_up: str
    margin: float
    flags: tuple[str, ...]
    balanced: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How one method fared."""

    method: str
    wins: int
    wins_balanced: int
    candidates: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Candidates of one method that failed for one reason: how many, and the first of them in words."""

    method: str
    reason: str
    count: int
    first: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A snapshot in a few numbers.

    Attributes:
        address, snapshot_id: where it lies and its name.
        criterion: what the winners were picked by.
        tallies: per method, most wins first.
        differ: winners that would be others under `balanced`.
        selections: pairs with a winner.
        counts: of the manifest.
        set_aside: pairs without a winner, as (pair_id, reason, sentence).
        misregistered: pairs flagged `misregistered?`.
        failed: what failed, by method and reason, the most frequent first.
    """

    address: str
    snapshot_id: str
    criterion: str
    tallies: tuple[Tally, ...]
    differ: int
    selections: int
    counts: Mapping[str, int]
    set_aside: tuple[tuple[str, str, str], ...]
    misregistered: tuple[str, ...]
    failed: tuple[Failures, ...]


def find_winners(snapshot: Snapshot, criterion: str = "") -> list[Winner]:
    """The winner of every pair, as selected or (with a criterion) as it would be, from the kept scores alone.

    A pair without a winner, such as one where no candidate keeps to the conditions of a criterion with `else none`, has no row.

    Raises:
        InputError: the criterion is no criterion.
        UnknownName: it reads a metric that the snapshot does not hold.
    """
    groups = group_scores(snapshot)
    policy = make_policy(snapshot, BALANCED)
    balanced = {pair_id: _name(select(pair_id, rows, policy)) for pair_id, rows in groups.items()}
    if criterion:
        return _select_again(snapshot, groups, criterion, balanced)
    chosen = to_selection_rows(snapshot.table("selections"))
    return [
        Winner(one.pair_id, one.method, one.value, one.runner_up, one.margin, one.flags, balanced.get(one.pair_id, "")) for one in chosen
    ]


def summarise(snapshot: Snapshot) -> Summary:
    """A snapshot in a few numbers."""
    winners = find_winners(snapshot)
    scores = to_score_rows(snapshot.table("scores"))
    pairs = to_pair_rows(snapshot.table("pairs"))
    return Summary(
        address=snapshot.store.address,
        snapshot_id=snapshot.id,
        criterion=str(snapshot.manifest["criterion"]["name"]),
        tallies=_tally(winners, scores),
        differ=count_different(winners),
        selections=len(winners),
        counts=snapshot.manifest["counts"],
        set_aside=tuple((row.pair_id, row.reason, row.message) for row in pairs if row.status != OK),
        misregistered=tuple(row.pair_id for row in pairs if MISREGISTERED in row.flags),
        failed=count_failures(scores),
    )


def count_failures(rows: Iterable[ScoreRow]) -> tuple[Failures, ...]:
    """What failed of some candidates, by method and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[ScoreRow]] = defaultdict(list)
    for row in rows:
        if row.status == FAILED:
            groups[row.method, row.reason].append(row)
    counted = (Failures(method, reason, len(own), own[0].message) for (method, reason), own in groups.items())
    return tuple(sorted(counted, key=lambda one: (-one.count, one.method, one.reason)))


def name_reasons(failed: Iterable[Failures]) -> str:
    """The reasons of failures and how often, such as "killed 1, timeout 3"."""
    reasons: Counter[str] = Counter()
    for one in failed:
        reasons[one.reason] += one.count
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))


def count_different(winners: Sequence[Winner]) -> int:
    """How many winners would be others under `balanced`; those set by hand would not."""
    return sum(one.balanced != one.method for one in winners if BY_HAND not in one.flags)


def group_scores(snapshot: Snapshot) -> dict[str, list[ScoreRow]]:
    """The score rows of every pair, in the order of the ids."""
    groups: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in to_score_rows(snapshot.table("scores")):
        groups[row.pair_id].append(row)
    return dict(groups)


def make_policy(snapshot: Snapshot, criterion: str) -> Policy:
    """How a snapshot's winners are picked by a criterion; nobody is set by hand."""
    return Policy(parse_criterion(criterion), bool(snapshot.manifest["recipe"]["allow_copies"]))


def _name(choice: Choice | None) -> str:
    return choice.method if choice else ""


def _select_again(snapshot: Snapshot, groups: Mapping[str, list[ScoreRow]], criterion: str, balanced: Mapping[str, str]) -> list[Winner]:
    policy = make_policy(snapshot, criterion)
    check_metrics(policy.criterion, snapshot.manifest["metrics"])
    flags = {row.pair_id: row.flags for row in to_pair_rows(snapshot.table("pairs"))}
    winners = []
    for pair_id, rows in groups.items():
        choice = select(pair_id, rows, policy)
        if choice:
            of_row = next(row.flags for row in rows if row.method == choice.method)
            own = (*of_row, *flags[pair_id], *((UNCONSTRAINED,) if choice.unconstrained else ()))
            winners.append(Winner(pair_id, choice.method, choice.value, choice.runner_up, choice.margin, own, balanced[pair_id]))
    return winners


def _tally(winners: Sequence[Winner], scores: Sequence[ScoreRow]) -> tuple[Tally, ...]:
    wins = Counter(one.method for one in winners)
    balanced = Counter(one.balanced for one in winners)
    rows: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in scores:
        rows[row.method].append(row)
    tallies = (
        Tally(
            method=method,
            wins=wins[method],
            wins_balanced=balanced[method],
            candidates=sum(row.status == OK for row in own),
            failed=sum(row.status == FAILED for row in own),
            seconds=sum(row.seconds for row in own if row.status == OK),
        )
        for method, own in rows.items()
    )
    return tuple(sorted(tallies, key=lambda one: (-one.wins, -one.wins_balanced, one.method)))
