"""Criteria: the rule that turns a candidate's scores into one value, the larger the better.

A criterion is text such as `2*ssim + vif + 3*qabf`: metric names, numbers, `+ - * /`, parentheses, `min(x, y, …)`, `max(x, y, …)` and
`otherwise(x, y)` (y where x is undefined). It is parsed into a tree of these and walked; nothing is ever handed to Python to run.
Named profiles fix every detail of the published rules and of ours:

- `diff-if`: the criterion of Yi et al. (Information Fusion 110:102450, 2024, doi 10.1016/j.inffus.2024.102450) as its text intends it.
- `diff-if-released`: what their released code computes: SSIM with a dynamic range of 2, an undefined VIF counted as 1.
- `balanced`: ours, not the paper's: the weaker source counts, twice, so that a bare copy of one source does not win.
"""

import ast
import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from storage.errors import InputError

PROFILES: Mapping[str, str] = MappingProxyType(
    {
        "diff-if": "2*ssim + vif + 3*qabf",
        "diff-if-released": "2*ssim_l2 + otherwise(vif_a, 1) + otherwise(vif_b, 1) + 3*qabf",
        "balanced": "4*min(ssim_a, ssim_b) + 2*min(vif_a, vif_b) + 3*qabf",
    }
)
MAX_LENGTH = 1000  # characters
MAX_DEPTH = 100  # operations inside operations: keeps every walk through a rule far from Python's limit of recursion
LARGEST_NUMBER = 1e12


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
_FUNCTIONS: Mapping[str, tuple[Callable[..., float], range]] = MappingProxyType(
    {"min": (_smallest, range(1, 20)), "max": (_largest, range(1, 20)), "otherwise": (_otherwise, range(2, 3))}
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A rule that picks from a pair's scores.

    Attributes:
        name: a profile's name, or the rule's text.
        rule: the rule's text.
        metrics: the metrics it reads, in alphabetical order.
    """

    name: str
    rule: str
    metrics: tuple[str, ...]

    def value(self, scores: Mapping[str, float]) -> float:
        """The value of one candidate; nan where a metric it needs is undefined or absent."""
        return _walk(_parse(self.rule), scores)


def parse_criterion(text: str) -> Criterion:
    """A criterion from a profile's name or a rule.

    Raises:
        InputError: the text is neither, or uses something that a rule does not have.
    """
    name = text.strip()
    rule = PROFILES.get(name, name)
    names: set[str] = set()
    _collect(_parse(rule), names)
    if not names:
        raise InputError(f"criterion {name!r} reads no metric; write for example '2*ssim + vif + 3*qabf'")
    return Criterion(name=name, rule=rule, metrics=tuple(sorted(names)))


@functools.cache
def _parse(rule: str) -> ast.expr:
    if len(rule) > MAX_LENGTH:
        raise InputError(f"the criterion is {len(rule)} characters long; at most {MAX_LENGTH} are read")
    try:
        node = ast.parse(rule.replace("iqa:", "iqa."), mode="eval").body  # iqa:fsim reads as the attribute iqa.fsim
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        known = ", ".join(PROFILES)
        raise InputError(f"criterion {rule!r} is neither a profile ({known}) nor a rule such as '2*ssim + vif + 3*qabf'") from None
    if _measure_depth(node) > MAX_DEPTH:
        raise InputError(f"the criterion nests more than {MAX_DEPTH} operations; write a shorter rule")
    return node


def _measure_depth(root: ast.AST) -> int:
    """How many nodes lie below each other at most; without recursion, which a deep rule would exhaust."""
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _collect(node: ast.expr, names: set[str]) -> None:
    """Check one node of a rule and everything below it, and gather the metrics it names."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool) and abs(number) < LARGEST_NUMBER:
            return
        case ast.Name() | ast.Attribute(value=ast.Name(id="iqa")):
            names.add(_metric_name(node))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _collect(left, names)
            _collect(right, names)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            _collect(operand, names)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            if len(arguments) not in _FUNCTIONS[name][1]:
                raise InputError(f"{name}() in a criterion was given {len(arguments)} values: {ast.unparse(node)!r}")
            for argument in arguments:
                _collect(argument, names)
        case _:
            allowed = "metric names, numbers, + - * /, parentheses, min(), max() and otherwise()"
            raise InputError(f"{ast.unparse(node)!r} cannot stand in a criterion; use {allowed}")


def _walk(node: ast.expr, scores: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]  # _collect let only numbers through
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_walk(left, scores), _walk(right, scores))
        case ast.UnaryOp(op=op, operand=operand):
            return _SIGNS[type(op)](_walk(operand, scores))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name][0](*(_walk(argument, scores) for argument in arguments))
        case _:
            return scores.get(_metric_name(node), math.nan)


def _metric_name(node: ast.expr) -> str:
    return ast.unparse(node).replace(".", ":")
