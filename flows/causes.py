"""Causes: why the winner of a pair is another one in another snapshot, as far as tables and manifests tell.

One cause per changed winner, the first of `CAUSES` that applies. Whose pair was set aside or has other sources need not be asked for its
method, and only where nothing about methods and metrics differs is it the criterion that picked otherwise.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prior.criterion import parse_criterion
from prior.published import PREFIX
from prior.select import Policy
from storage.schema import MISSING, NO_CANDIDATE, OK, ScoreRow, metric_columns
from storage.snapshot import Snapshot
from storage.tables import to_score_rows

QUARANTINE = "quarantine"
SOURCE = "source"
METHOD_REMOVED = "method removed"
METHOD_ADDED = "method added"
METHOD_VERSION = "method version"
METRIC_VERSION = "metric version"
CRITERION = "criterion"
UNEXPLAINED = "unexplained"
CAUSES = (QUARANTINE, SOURCE, METHOD_REMOVED, METHOD_ADDED, METHOD_VERSION, METRIC_VERSION, CRITERION, UNEXPLAINED)

USABLE = (OK, NO_CANDIDATE)
"""The statuses of pairs that are not set aside."""

PAIR_COLUMNS = ("pair_id", "status", "reason", "pair_hash", "a_hash", "b_hash", "split")
SELECTION_COLUMNS = ("pair_id", "method", "value", "image_hash")
SCORE_COLUMNS = ("pair_id", "method", "version", "content_key", "status", "reason", "message", "flags")


@dataclass(frozen=True, slots=True)
class Side:
    """What is read of one snapshot.

    Attributes:
        manifest: what made it.
        policy: how its winners were picked.
        pairs: the rows of `pairs`, by pair_id.
        winners: the rows of `selections`, by pair_id.
        candidates: of the pairs that are looked into, the candidates that can have had a say, by pair_id and method.
        metrics: those whose scores were read.
    """

    manifest: Mapping[str, Any]
    policy: Policy
    pairs: Mapping[str, Mapping[str, Any]]
    winners: Mapping[str, Mapping[str, Any]]
    candidates: Mapping[str, Mapping[str, ScoreRow]]
    metrics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """One pair as one snapshot holds it."""

    side: Side
    pair_id: str

    @property
    def pair(self) -> Mapping[str, Any]:
        """Its row; empty where the snapshot does not know it."""
        return self.side.pairs.get(self.pair_id, {})

    @property
    def winner(self) -> str:
        """The winner's method, or nothing."""
        return str(self.side.winners[self.pair_id]["method"]) if self.pair_id in self.side.winners else ""

    @property
    def value(self) -> float:
        """The winner's value under the snapshot's own criterion, or nan."""
        return float(self.side.winners[self.pair_id]["value"]) if self.pair_id in self.side.winners else math.nan

    @property
    def candidates(self) -> Mapping[str, ScoreRow]:
        """The candidates that were read, failed ones included, by method."""
        return self.side.candidates.get(self.pair_id, {})

    def has_valid(self, method: str) -> bool:
        """Whether a method has a valid candidate."""
        return method in self.candidates and self.candidates[method].status == OK


def read_side(snapshot: Snapshot) -> Side:
    """Everything of a snapshot that a diff needs but the scores, which are many."""
    manifest = snapshot.manifest
    recipe = manifest["recipe"]
    # the name says what was asked for, the rule what it meant then
    criterion = replace(parse_criterion(manifest["criterion"]["rule"]), name=str(manifest["criterion"]["name"]))
    by_hand = {pair_id: (one["method"], one["reason"]) for pair_id, one in recipe["winners"].items()}
    pairs = {row["pair_id"]: row for row in snapshot.table("pairs", PAIR_COLUMNS).to_pylist()}
    winners = {row["pair_id"]: row for row in snapshot.table("selections", SELECTION_COLUMNS).to_pylist()}
    return Side(manifest, Policy(criterion, bool(recipe["allow_copies"]), by_hand), pairs, winners, {})


def add_candidates(sides: tuple[Side, Side], snapshots: tuple[Snapshot, Snapshot], pair_ids: Collection[str]) -> tuple[Side, Side]:
    """The same sides with the candidates of some pairs that can have had a say, and their scores by what the newer criterion reads.

    Those are the winners of both, and all candidates only where a criterion sets them beside each other: a row is dear to make, and
    there are many.
    """
    relative = any(side.policy.criterion.relative for side in sides)
    winners = {_key(pair_id, side.winners[pair_id]["method"]) for side in sides for pair_id in pair_ids if pair_id in side.winners}
    read = []
    for side, snapshot in zip(sides, snapshots, strict=True):
        table = snapshot.table("scores", (*SCORE_COLUMNS, *sides[1].policy.criterion.metrics))
        keys = table["pair_id"] if relative else pc.binary_join_element_wise(table["pair_id"], table["method"], "\n")
        wanted = pa.array(sorted(pair_ids if relative else winners), pa.string())
        candidates: dict[str, dict[str, ScoreRow]] = {}
        for row in to_score_rows(table.filter(pc.is_in(keys, value_set=wanted))):
            candidates.setdefault(row.pair_id, {})[row.method] = row
        read.append(replace(side, candidates=candidates, metrics=frozenset(metric_columns(table.schema))))
    return read[0], read[1]


def _key(pair_id: str, method: str) -> str:
    return f"{pair_id}\n{method}"


def explain(before: Held, after: Held) -> tuple[str, str]:
    """Why a pair's winner changed: the cause, and a line that says more."""
    return next((cause, detail) for cause, detail in _tell_all(before, after) if detail)


def _tell_all(before: Held, after: Held) -> Iterator[tuple[str, str]]:
    """Every cause in the order in which they count, with what there is to say of it; nothing where it does not apply."""
    yield QUARANTINE, _tell_quarantine(before, after)
    yield SOURCE, _tell_source(before, after)
    yield METHOD_REMOVED, _tell_removed(before, after, (before.winner,))
    yield METHOD_ADDED, _tell_added(before, after, (after.winner,))
    yield METHOD_VERSION, tell_version(before, after, (before.winner, after.winner))
    yield METRIC_VERSION, _tell_metrics(before, after)
    yield CRITERION, _tell_criterion(before, after)
    yield from _tell_others(before, after)
    yield UNEXPLAINED, _tell_libraries(before, after)


def has_other_sources(before: Held, after: Held) -> bool:
    """Whether a pair is in one of two snapshots only, or with other content; content that was never read counts as equal."""
    if not before.pair or not after.pair:
        return True
    hashes = {held.pair["pair_hash"] for held in (before, after)} - {""}
    return len(hashes) > 1


def _tell_quarantine(before: Held, after: Held) -> str:
    if not before.pair or not after.pair:
        return ""
    was, now = (held.pair["status"] in USABLE for held in (before, after))
    if was == now:
        return ""
    row, when = (after.pair, "now") if was else (before.pair, "before")
    return f"{row['status']} {when}" + (f": {row['reason']}" if row["reason"] != row["status"] else "")


def _tell_source(before: Held, after: Held) -> str:
    if not before.pair or not after.pair:
        return "the pair is gone" if before.pair else "the pair is new"
    if not has_other_sources(before, after):
        return ""
    others = [name for name in ("a", "b") if before.pair[f"{name}_hash"] != after.pair[f"{name}_hash"]]
    return f"other content of {' and '.join(others)}" if others else "the same files, read in another way"


def _tell_removed(before: Held, after: Held, names: Iterable[str]) -> str:
    lost = [name for name in names if before.has_valid(name) and not after.has_valid(name)]
    return f"{lost[0]} {_tell_absence(after, lost[0], 'was removed', 'now')}" if lost else ""


def _tell_added(before: Held, after: Held, names: Iterable[str]) -> str:
    found = [name for name in names if after.has_valid(name) and not before.has_valid(name)]
    return f"{found[0]} {_tell_absence(before, found[0], 'was added', 'before')}" if found else ""


def _tell_absence(held: Held, name: str, unknown: str, when: str) -> str:
    """Why a method has no valid candidate: it was not asked for, there is no file of it, or it failed."""
    row = held.candidates.get(name)
    if row is None:
        return unknown
    if row.status == MISSING:
        return f"has no file {when}"
    return f"failed {when}, {row.reason}: {row.message.partition(chr(10))[0]}"


def tell_version(before: Held, after: Held, names: Iterable[str]) -> str:
    """What differs in the version or the parameters of the first of some methods that has changed; empty where none has."""
    for name in names:
        versions = [held.candidates[name].version for held in (before, after) if held.has_valid(name)]
        if len(set(versions)) > 1:
            return f"another file of {name}" if name.startswith(PREFIX) else f"{name} {' -> '.join(versions)}"
        changes = _tell_changes(*_find_parameters(before.side.manifest, after.side.manifest, name)) if len(versions) > 1 else ""
        if changes:
            return f"{name}: {changes}"
    return ""


def _find_parameters(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The parameters of a method in two manifests: all of them where both tell all, else those that the recipes gave."""
    full = [manifest["methods"].get(name, {}).get("parameters") for manifest in (before, after)]
    if full[0] is not None and full[1] is not None:
        return full[0], full[1]
    return before["recipe"]["parameters"].get(name, {}), after["recipe"]["parameters"].get(name, {})


def _tell_metrics(before: Held, after: Held) -> str:
    """What changed about the judges; a metric that one criterion alone reads had no say in the other's winner."""
    evaluations = [held.side.manifest.get("evaluation", 1) for held in (before, after)]
    if evaluations[0] != evaluations[1]:
        return f"evaluation {evaluations[0]} -> {evaluations[1]}"
    both = set(before.side.policy.criterion.metrics) & set(after.side.policy.criterion.metrics)
    versions = [{name: one for name, one in held.side.manifest["metrics"].items() if name in both} for held in (before, after)]
    return _tell_changes(versions[0], versions[1])


def _tell_criterion(before: Held, after: Held) -> str:
    was, now = before.side.policy, after.side.policy
    changes = []
    if was.criterion.rule != now.criterion.rule:
        same_name = was.criterion.name == now.criterion.name
        texts = [one.criterion.rule if same_name else one.criterion.name for one in (was, now)]
        changes.append(" -> ".join(texts))
    if was.allow_copies != now.allow_copies:
        changes.append(f"copies of a source may {'win now' if now.allow_copies else 'not win any more'}")
    hands = [(policy.by_hand or {}).get(before.pair_id, ("nobody", ""))[0] for policy in (was, now)]
    if hands[0] != hands[1]:
        changes.append(f"set by hand: {' -> '.join(hands)}")
    return "; ".join(changes)


def _tell_others(before: Held, after: Held) -> Iterator[tuple[str, str]]:
    """Changes of candidates that did not win, where a rule compares all candidates of a pair, so that any of them can turn it."""
    if not (before.side.policy.criterion.relative or after.side.policy.criterion.relative):
        return
    names = sorted(before.candidates.keys() | after.candidates.keys())
    for cause, tell in ((METHOD_REMOVED, _tell_removed), (METHOD_ADDED, _tell_added), (METHOD_VERSION, tell_version)):
        detail = tell(before, after, names)
        yield cause, detail and f"{detail} (values are relative to all candidates)"


def _tell_libraries(before: Held, after: Held) -> str:
    versions = [held.side.manifest.get("versions", {}) for held in (before, after)]
    both = versions[0].keys() & versions[1].keys()  # an older release named fewer
    changes = _tell_changes(*({name: one[name] for name in both} for one in versions))
    return f"nothing recorded differs but libraries: {changes}" if changes else "nothing recorded differs"


def _tell_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two mappings, as `name old -> new`."""
    names = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {before.get(name, 'unset')} -> {after.get(name, 'unset')}" for name in names)
