"""Rules: the arithmetic of a criterion, read from text and computed for all candidates of a pair at once.

A rule is metric names, numbers, `+ - * /`, parentheses, `min(x, y, …)`, `max(x, y, …)`, `otherwise(x, y)` (y where x is undefined), and
`rank(x)` and `z(x)`, which set a candidate's x beside that of the others; a condition compares two rules. The text is parsed into a tree
of these, and the tree is turned into functions once; nothing is ever handed to Python to run.
"""

import ast
import itertools
import math
import operator
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from storage.errors import InputError

MAX_DEPTH = 100  # operations inside operations: keeps every walk through a rule far from Python's limit of recursion
LARGEST_NUMBER = 1e12
DIGITS = 12  # of a z-score after the point: two candidates at -1 and 1 stand there exactly, so that what is equal ties as it should
FILE = "<criterion>"  # where the parser says that its warnings come from
EXAMPLE = "balanced where qabf > 0.4 and vif > 0.5"


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates of one pair: the scores of each, and whether it counts in the ranks and z-scores of all."""

    candidates: Sequence[Mapping[str, float]]
    counted: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can be computed.

    Attributes:
        compute: the value of every candidate of a pool, nan where it is undefined.
        metrics: the metrics it reads.
        relative: whether a candidate's value depends on the other candidates.
    """

    compute: Callable[[Pool], list[float]]
    metrics: frozenset[str] = frozenset()
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of two rules."""

    left: Rule
    compare: Callable[[float, float], bool]
    right: Rule

    def holds(self, pool: Pool) -> list[bool]:
        """Whether it is true of each candidate; it is not where one of its sides is undefined."""
        return list(map(self.compare, self.left.compute(pool), self.right.compute(pool)))


def parse_tree(text: str) -> ast.expr | None:
    """The tree of an expression, of which nothing is known yet but that it is no deeper than a walk can go; None where it is none.

    What Python reads for now and warns of, such as `0.6and`, is none either.

    Raises:
        InputError: it is deeper.
    """
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            node = ast.parse(text.replace("iqa:", "iqa."), FILE, "eval").body  # iqa:fsim reads as the attribute iqa.fsim
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if any(one.filename == FILE for one in told):
        return None
    if _measure_depth(node) > MAX_DEPTH:
        raise InputError(f"the criterion nests more than {MAX_DEPTH} operations; write a shorter rule")
    return node


def build_rule(node: ast.expr) -> Rule:
    """The rule that a tree describes.

    Raises:
        InputError: something in it does not stand in a rule.
    """
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool) and abs(number) < LARGEST_NUMBER:
            return _repeat_number(float(number))
        case ast.Name() | ast.Attribute(value=ast.Name(id="iqa")):
            return _read_metric(ast.unparse(node).replace(".", ":"))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _combine(_OPERATORS[type(op)], build_rule(left), build_rule(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            return _combine(_SIGNS[type(op)], build_rule(operand))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _ARITIES:
            return _build_call(node, name, [build_rule(argument) for argument in arguments])
        case ast.Compare():
            raise InputError(f"{quote(node)} compares within a rule of the criterion; a comparison stands after 'where', as in '{EXAMPLE}'")
        case _:
            allowed = "metric names, numbers, + - * /, parentheses, min(), max(), otherwise(), rank() and z()"
            raise InputError(f"{quote(node)} cannot stand in a criterion; use {allowed}")


def build_conditions(node: ast.expr) -> tuple[Condition, ...]:
    """The conditions that a tree describes; `0.2 < x < 0.8` is two.

    Raises:
        InputError: it is something else than comparisons joined by `and`, or one reads no metric.
    """
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return tuple(condition for value in values for condition in build_conditions(value))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            sides = [build_rule(side) for side in (left, *others)]
            if not any(side.metrics for side in sides):
                raise InputError(f"the condition {quote(node)} of the criterion reads no metric; write for example 'qabf > 0.4'")
            pairs = zip(itertools.pairwise(sides), ops, strict=True)
            return tuple(Condition(x, _COMPARISONS[type(op)], y) for (x, y), op in pairs)
        case _:
            raise InputError(
                f"{quote(node)} is no condition of a criterion; use comparisons by >, <, >= or <=, joined by 'and': '{EXAMPLE}'"
            )


def quote(node: ast.AST) -> str:
    """A piece of a rule in quotes, as Python would write it."""
    try:
        return repr(ast.unparse(node))
    except ValueError:  # a text with a line break inside a formatted one, which has no other spelling
        return "a formatted text"


def _measure_depth(root: ast.AST) -> int:
    """How many nodes lie below each other at most; without recursion, which a deep rule would exhaust."""
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _repeat_number(number: float) -> Rule:
    return Rule(lambda pool: [number] * len(pool.candidates))


def _read_metric(name: str) -> Rule:
    return Rule(lambda pool: [scores.get(name, math.nan) for scores in pool.candidates], frozenset({name}))


def _combine(function: Callable[..., float], *rules: Rule) -> Rule:
    """`function` of the rules' values, candidate by candidate."""
    metrics = frozenset[str]().union(*(one.metrics for one in rules))
    columns = [one.compute for one in rules]
    return Rule(lambda pool: list(map(function, *(column(pool) for column in columns))), metrics, any(one.relative for one in rules))


def _build_call(node: ast.Call, name: str, arguments: Sequence[Rule]) -> Rule:
    if len(arguments) not in _ARITIES[name]:
        raise InputError(f"{name}() in a criterion was given {len(arguments)} values: {quote(node)}")
    if name in _FUNCTIONS:
        return _combine(_FUNCTIONS[name], *arguments)
    x, place = arguments[0], _PLACES[name]
    if x.relative:
        raise InputError(f"{quote(node)} in a criterion has a rank() or z() inside another; give {name}() a rule without them")
    return Rule(lambda pool: place(x.compute(pool), pool.counted), x.metrics, relative=True)


# What candidates are compared by.


def count_points(values: Sequence[float], counted: Sequence[bool]) -> list[float]:
    """Borda points: how many of those that count have a smaller value, half a point for each that has the same.

    Args:
        values: one per candidate; what is not finite has no points, and counts for nobody.
        counted: whether a candidate counts.

    J.-C. de Borda, Mémoire sur les élections au scrutin, Histoire de l'Académie Royale des Sciences for 1781, printed 1784.
    """
    field = sorted(value for value, counts in zip(values, counted, strict=True) if counts and math.isfinite(value))

    def place(value: float, counts: bool) -> float:
        if not math.isfinite(value):
            return math.nan
        smaller = bisect_left(field, value)
        return smaller + (bisect_right(field, value) - smaller - counts) / 2  # nobody ties with himself

    return list(map(place, values, counted))


def standardise(values: Sequence[float], counted: Sequence[bool]) -> list[float]:
    """Each value less the mean of those that count, in their standard deviations (of the whole, not estimated); 0 where these are equal.

    Args:
        values: one per candidate; what is not finite stays undefined, and counts for nobody.
        counted: whether a candidate counts.
    """
    field = [value for value, counts in zip(values, counted, strict=True) if counts and math.isfinite(value)]
    if not field:
        return [math.nan] * len(values)
    if min(field) == max(field):
        return [0.0 if math.isfinite(value) else math.nan for value in values]
    unit = max(map(abs, field))  # so that no square and no sum is too large for a float
    mean = math.fsum(value / unit for value in field) / len(field)
    deviation = math.sqrt(math.fsum((value / unit - mean) * (value / unit - mean) for value in field) / len(field))
    return [round((value / unit - mean) / deviation, DIGITS) if math.isfinite(value) else math.nan for value in values]


# What a rule is made of.


def _divide(x: float, y: float) -> float:
    return x / y if y != 0 else math.nan


def _smallest(*values: float) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)


def _largest(*values: float) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


def _otherwise(value: float, default: float) -> float:
    return default if math.isnan(value) else value


_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: _divide}
)
_SIGNS: Mapping[type[ast.unaryop], Callable[[float], float]] = MappingProxyType({ast.UAdd: operator.pos, ast.USub: operator.neg})
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = MappingProxyType(
    {ast.Gt: operator.gt, ast.Lt: operator.lt, ast.GtE: operator.ge, ast.LtE: operator.le}
)
_FUNCTIONS: Mapping[str, Callable[..., float]] = MappingProxyType({"min": _smallest, "max": _largest, "otherwise": _otherwise})
_PLACES: Mapping[str, Callable[[Sequence[float], Sequence[bool]], list[float]]] = MappingProxyType({"rank": count_points, "z": standardise})
_ARITIES: Mapping[str, range] = MappingProxyType(
    {"min": range(1, 20), "max": range(1, 20), "otherwise": range(2, 3), "rank": range(1, 2), "z": range(1, 2)}
)
