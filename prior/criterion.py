"""Criteria: the rule that turns candidates' scores into values, the larger the better, and what a winner must keep to.

A criterion is text such as `2*ssim + vif + 3*qabf`: a rule (see `prior.rule`), or the name of a profile, which stands for one. A rule may
set a candidate's scores beside those of the pair's others that may win:

- `rank(x)`: Borda's points, how many of them have a smaller x, half a point for each with the same (J.-C. de Borda, Mémoire sur les
  élections au scrutin, Histoire de l'Académie Royale des Sciences for 1781, printed 1784);
- `z(x)`: x less their mean, in their standard deviations; 0 where all are equal.

Where less is better, write `rank(-x)`. A criterion may go on with `where` and conditions, as in `balanced where qabf > 0.4 and vif > 0.5`:
what fails one of them, or has it undefined, cannot win, though it counts in the ranks of the others. Where none of a pair's candidates
passes, the rule picks as if there were no conditions (`else best`, which need not be written), or nobody wins (`else none`).

Profiles fix every detail of the published rules and of ours:

- `diff-if`: the criterion of Yi et al. (Information Fusion 110:102450, 2024, doi 10.1016/j.inffus.2024.102450) as its text intends it.
- `diff-if-released`: what their released code computes: SSIM with a dynamic range of 2, an undefined VIF counted as 1.
- `balanced`: ours, not the paper's: the weaker source counts, twice, so that a bare copy of one source does not win.
- `rank-sum`: Borda's points by the three metrics of `diff-if`, which then need no weights.
- `z-score`: the weights of `diff-if` on its metrics in standard deviations, so that they say what a metric counts.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from prior.rule import EXAMPLE, Condition, Pool, Rule, build_conditions, build_rule, parse_tree
from storage.errors import InputError, unknown_name

PROFILES: Mapping[str, str] = MappingProxyType(
    {
        "diff-if": "2*ssim + vif + 3*qabf",
        "diff-if-released": "2*ssim_l2 + otherwise(vif_a, 1) + otherwise(vif_b, 1) + 3*qabf",
        "balanced": "4*min(ssim_a, ssim_b) + 2*min(vif_a, vif_b) + 3*qabf",
        "rank-sum": "rank(ssim) + rank(vif) + rank(qabf)",
        "z-score": "2*z(ssim) + z(vif) + 3*z(qabf)",
    }
)
MAX_LENGTH = 1000  # characters
BEST, NONE = "best", "none"
_WHERE, _ELSE = re.compile(r"\bwhere\b"), re.compile(r"\belse\b")
_NAME = re.compile(r"[^\W\d][\w-]*")

Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Criterion:
    """What picks from a pair's scores.

    Attributes:
        name: a profile's name, or the text as it was given.
        rule: the whole text with its profile written out; it reads as this criterion again.
        metrics: the metrics it reads, those of its conditions too, in alphabetical order.
    """

    name: str
    rule: str
    metrics: tuple[str, ...]

    @property
    def relative(self) -> bool:
        """Whether it sets candidates beside each other, so that it says nothing of one without the others of its pair."""
        return any(rule.relative for rule in _read(self.rule).list_rules())

    @property
    def constrained(self) -> bool:
        """Whether a candidate must keep to conditions to win."""
        return bool(_read(self.rule).conditions)

    @property
    def falls_back(self) -> bool:
        """Whether the best by value wins where no candidate keeps to the conditions; nobody does otherwise."""
        return _read(self.rule).falls_back

    def values(self, candidates: Sequence[Scores], counted: Sequence[bool] | None = None) -> list[float]:
        """The values of candidates of one pair, whatever the conditions say.

        Args:
            candidates: the scores of each.
            counted: which of them the ranks and z-scores are among, the ones that may win; all unless given.

        Returns:
            One value each, nan where a metric it needs is undefined or absent.
        """
        return _read(self.rule).value.compute(_make_pool(candidates, counted))

    def passes(self, candidates: Sequence[Scores], counted: Sequence[bool] | None = None) -> list[bool]:
        """Whether each of a pair's candidates keeps to every condition; the arguments are those of `values`."""
        pool = _make_pool(candidates, counted)
        verdicts = [condition.holds(pool) for condition in _read(self.rule).conditions]
        return [all(own) for own in zip(*verdicts, strict=True)] if verdicts else [True] * len(candidates)

    def value(self, scores: Scores) -> float:
        """The value of a picture alone; nan where a metric it needs is undefined or absent.

        Raises:
            InputError: the criterion values candidates only beside each other.
        """
        if self.relative:
            raise InputError(
                f"criterion {self.name!r} has no value for a picture alone, only for candidates beside each other; "
                "use one without rank() and z()"
            )
        return self.values((scores,))[0]


@dataclass(frozen=True, slots=True)
class _Reading:
    value: Rule
    conditions: tuple[Condition, ...]
    falls_back: bool

    def list_rules(self) -> tuple[Rule, ...]:
        """Every rule in it: that of the value, then both sides of every condition."""
        return self.value, *(side for condition in self.conditions for side in (condition.left, condition.right))


def parse_criterion(text: str) -> Criterion:
    """A criterion from a profile's name or a rule, with or without conditions.

    Raises:
        InputError: the text is neither, or uses something that a criterion does not have.
    """
    name = text.strip()
    value, conditions, otherwise = _split(name)
    rule = PROFILES.get(value, value)
    if conditions:
        rule = f"{rule} where {conditions}" + (f" else {NONE}" if otherwise == NONE else "")
    reading = _read(rule)
    if not reading.value.metrics:
        raise InputError(f"criterion {name!r} reads no metric; write for example '2*ssim + vif + 3*qabf'")
    return Criterion(name, rule, tuple(sorted(frozenset[str]().union(*(one.metrics for one in reading.list_rules())))))


def check_metrics(criterion: Criterion, held: Collection[str], where: str = " in this snapshot") -> None:
    """Refuse a criterion that reads a metric which is not there, such as one that a snapshot does not hold.

    Args:
        criterion: it may be a misspelt profile, which reads as one metric, or as the difference of two.
        held: the metrics that are there.
        where: they are looked for, for the message.

    Raises:
        UnknownName: with the nearest metrics, and the nearest profiles where it may be one.
    """
    missing = sorted(set(criterion.metrics) - set(held))
    if not missing:
        return
    value, _, _ = _split(criterion.name)
    if _NAME.fullmatch(value) and value not in PROFILES and not set(_read_rule(value).metrics) & set(held):
        raise unknown_name(f"profile or metric{where}", value, {*PROFILES, *held})
    raise unknown_name(f"metric{where}", missing[0], held)


def _split(text: str) -> tuple[str, str, str]:
    """The three parts of a criterion: rule, conditions (empty where there are none), and what is done where nothing passes."""
    value, *conditions = (part.strip() for part in _WHERE.split(text))
    if len(conditions) > 1:
        raise InputError(f"criterion {text!r} has more than one 'where'; join its conditions by 'and'")
    if _ELSE.search(value):
        raise InputError(f"criterion {text!r} has an 'else' that follows no condition; write 'RULE where CONDITION else {NONE}'")
    if not conditions:
        return value, "", BEST
    asked, *otherwise = (part.strip() for part in _ELSE.split(conditions[0]))
    if not value or not asked:
        missing = "rule before" if asked else "condition after"
        raise InputError(f"criterion {text!r} has no {missing} 'where'; write for example '{EXAMPLE}'")
    if otherwise not in ([], [BEST], [NONE]):
        said = " else ".join(otherwise)
        raise InputError(f"criterion {text!r} says 'else {said}'; after the conditions stands 'else {BEST}', 'else {NONE}' or nothing")
    return value, asked, otherwise[0] if otherwise else BEST


@functools.cache
def _read(rule: str) -> _Reading:
    if len(rule) > MAX_LENGTH:
        raise InputError(f"the criterion is {len(rule)} characters long; at most {MAX_LENGTH} are read")
    value, conditions, otherwise = _split(rule)
    return _Reading(_read_rule(value), _read_conditions(conditions) if conditions else (), otherwise == BEST)


def _read_rule(text: str) -> Rule:
    node = parse_tree(text)
    if node is None:
        known = ", ".join(PROFILES)
        raise InputError(f"criterion {text!r} is neither a profile ({known}) nor a rule such as '2*ssim + vif + 3*qabf'")
    return build_rule(node)


def _read_conditions(text: str) -> tuple[Condition, ...]:
    node = parse_tree(text)
    if node is None:
        raise InputError(f"{text!r} after the 'where' of a criterion is no condition; write for example '{EXAMPLE}'")
    return build_conditions(node)


def _make_pool(candidates: Sequence[Scores], counted: Sequence[bool] | None) -> Pool:
    return Pool(candidates, [True] * len(candidates) if counted is None else counted)
