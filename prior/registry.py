"""The registry of methods and metrics: one decorated function each.

The files listed in `prior/methods/__init__.py` and `prior/metrics/__init__.py` register themselves on import; outside packages join through
the entry points `fusion_prior.methods` and `fusion_prior.metrics`. A plug-in that fails to load stops the caller with its own traceback.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from prior.passport import Passport, Trend
from storage.errors import LISTED, InputError, UnknownName, unknown_name

if TYPE_CHECKING:
    from prior.arrays import Image
    from prior.statistics import Fused

Direction = Literal["higher", "lower", "zero"]
Cost = Literal["light", "medium", "heavy", "extreme"]
"""Of one 640x480 pair on one thread: under 1 s, under 5 s, under 20 s, more."""
COSTS: tuple[Cost, ...] = get_args(Cost)
TASKS = ("infrared-visible", "medical", "multi-focus", "multi-exposure")
Fuse = Callable[..., "Image"]
Judge = Callable[["Fused"], float]
Compare = Callable[["Fused"], tuple[float, float]]
FuseT = TypeVar("FuseT", bound=Fuse)
JudgeT = TypeVar("JudgeT", bound=Judge)
CompareT = TypeVar("CompareT", bound=Compare)
FindMethodT = TypeVar("FindMethodT", bound="Callable[[str], Method]")
FindMetricT = TypeVar("FindMetricT", bound="Callable[[str], Metric]")


@dataclass(frozen=True, slots=True)
class Method:
    """A way to fuse two images.

    Attributes:
        name: lower-case id.
        fuse: `(a, b) -> fused`, float32 luma `(H, W)` in [0, 1].
        family: such as "pyramid" or "guided filter".
        reference: authors, year, DOI.
        version: raised whenever the output changes; part of every content key. A method that is a file carries its hash.
        sets: the named sets it belongs to, without those that follow from other fields.
        needs: what it needs beyond the installed packages (weights, a GPU).
        licence: of the code or weights it rests on.
        idempotent: whether F(A, A) = A up to rounding.
        tasks: the tasks it is meant for, each a named set too.
        cost: its class of time.
        reconstructed: what of it is not taken from its reference or its authors' code, in a few words; empty where nothing is.
    """

    name: str
    fuse: Fuse
    family: str
    reference: str
    version: int | str
    sets: tuple[str, ...]
    needs: tuple[str, ...]
    licence: str
    idempotent: bool
    tasks: tuple[str, ...] = TASKS
    cost: Cost = "light"
    reconstructed: str = ""

    @property
    def member_of(self) -> tuple[str, ...]:
        """Every named set it belongs to: its own, its tasks, "standard" unless it is extreme, and "all"."""
        return (*self.sets, *self.tasks, *(("standard",) if self.cost != "extreme" else ()), "all")

    @property
    def parameters(self) -> dict[str, object]:
        """The keyword parameters with their defaults."""
        signature = inspect.signature(self.fuse).parameters.values()
        return {p.name: p.default for p in signature if p.kind is inspect.Parameter.KEYWORD_ONLY}


@dataclass(frozen=True, slots=True)
class Metric:
    """A judge of a candidate.

    Attributes:
        name: lower-case id, the column of the scores table.
        judge: `(fused) -> number`; nan means undefined on this input.
        better: "higher", "lower" or "zero" (the nearer to zero the better).
        bounds: the smallest and the largest value possible.
        version: raised whenever the number changes; part of every content key. A metric of another library carries that one's version.
        reference: authors, year, DOI.
        definition: the formula and every constant in one line.
        needs: what it needs beyond the installed packages.
        licence: of the code or weights it rests on.
        passport: what else must be known to compare its numbers; a plug-in may have none.
        term_of: the metric whose term for one source it is; empty where it stands for itself.
        variant_of: the metric that it defines otherwise, as some public code does; empty where it is the definition.
    """

    name: str
    judge: Judge
    better: Direction
    bounds: tuple[float, float]
    version: int | str
    reference: str
    definition: str
    needs: tuple[str, ...]
    licence: str
    passport: Passport | None = None
    term_of: str = ""
    variant_of: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """The judge of one source's term of a metric: the first or the second number of what compares the candidate with both."""

    compare: Compare
    index: Literal[0, 1]

    def __call__(self, fused: "Fused") -> float:
        """The term; both are computed once per candidate."""
        return fused.once(self.compare)[self.index]


@dataclass(frozen=True, slots=True)
class Total:
    """The judge that adds the terms of both sources; `share` is 1 for their sum and 1/2 for their mean."""

    compare: Compare
    share: float

    def __call__(self, fused: "Fused") -> float:
        """The sum or the mean of the terms."""
        of_a, of_b = fused.once(self.compare)
        return self.share * (of_a + of_b)


_SOURCES: tuple[tuple[Literal["a"], Literal[0]], tuple[Literal["b"], Literal[1]]] = (("a", 0), ("b", 1))

_methods: dict[str, Method] = {}
_metrics: dict[str, Metric] = {}
_method_families: dict[str, Callable[[str], Method]] = {}
_metric_families: dict[str, Callable[[str], Metric]] = {}


def method(
    name: str,
    *,
    family: str,
    reference: str,
    version: int = 1,
    sets: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    licence: str = "MIT",
    idempotent: bool = True,
    tasks: tuple[str, ...] = TASKS,
    cost: Cost = "light",
    reconstructed: str = "",
) -> Callable[[FuseT], FuseT]:
    """Register the decorated function `(a, b, *, parameter=default) -> fused` as a method; fields as in `Method`.

    Raises:
        InputError: another method has this name, or a task or the cost is none that there is.
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"method {name!r} is said to be for {task!r}; the tasks are {', '.join(TASKS)}")
    if cost not in COSTS:
        raise InputError(f"method {name!r} is said to cost {cost!r}; the costs are {', '.join(COSTS)}")

    def register(fuse: FuseT) -> FuseT:
        known = Method(name, fuse, family, reference, version, sets, needs, licence, idempotent, tasks, cost, reconstructed)
        _add(_methods, "method", name, known)
        return fuse

    return register


def metric(
    name: str,
    *,
    better: Direction,
    bounds: tuple[float, float],
    reference: str,
    definition: str,
    version: int = 1,
    needs: tuple[str, ...] = (),
    licence: str = "MIT",
    passport: Passport | None = None,
    variant_of: str = "",
) -> Callable[[JudgeT], JudgeT]:
    """Register the decorated function `(fused) -> number` as a metric; fields as in `Metric`."""

    def register(judge: JudgeT) -> JudgeT:
        one = Metric(name, judge, better, bounds, version, reference, definition, needs, licence, passport, "", variant_of)
        _add(_metrics, "metric", name, one)
        return judge

    return register


def metric_of_sources(
    name: str,
    combine: Literal["sum", "mean"],
    *,
    better: Direction,
    bounds: tuple[float, float],
    reference: str,
    definition: str,
    version: int = 1,
    passport: Passport | None = None,
    golden_terms: tuple[str, str] = ("", ""),
    term_noise: Trend | None = None,
    variant_of: str = "",
) -> Callable[[CompareT], CompareT]:
    """Register the decorated function `(fused) -> (of a, of b)` as three metrics: the sum or mean of its two terms, and each term.

    Args:
        name: of the whole; the terms are `<name>_a` and `<name>_b`.
        combine: whether the whole is the terms' sum or their mean.
        better: as in `Metric`, of the whole and of the terms.
        bounds: of a term.
        reference: as in `Metric`.
        definition: of a term for the source X and the candidate F.
        version: as in `Metric`.
        passport: of the whole; its combination must be `combine`.
        golden_terms: the rows of the golden values for the terms.
        term_noise: how a term moves with noise, where that is not as the whole does.
        variant_of: as in `Metric`.
    """
    factor = 2 if combine == "sum" else 1
    whole = f"M(A,F) + M(B,F), M(X,F) = {definition}" if combine == "sum" else f"(M(A,F) + M(B,F)) / 2, M(X,F) = {definition}"

    def register(compare: CompareT) -> CompareT:
        total = (factor * bounds[0], factor * bounds[1])
        judge = Total(compare, factor / 2)
        _add(_metrics, "metric", name, Metric(name, judge, better, total, version, reference, whole, (), "MIT", passport, "", variant_of))
        for source, index in _SOURCES:
            of_source = passport.narrow(source, golden_terms[index], term_noise) if passport else None
            one = f"{name}_{source}"
            text = f"M({source.upper()},F), M(X,F) = {definition}"
            term = Metric(one, Term(compare, index), better, bounds, version, reference, text, (), "MIT", of_source, name, variant_of)
            _add(_metrics, "metric", one, term)
        return compare

    return register


def method_family(prefix: str) -> Callable[[FindMethodT], FindMethodT]:
    """Register the decorated function `(name) -> Method` for all names with a prefix: methods made on demand, of no set, not listed."""

    def register(find: FindMethodT) -> FindMethodT:
        _method_families[prefix] = find
        return find

    return register


def metric_family(prefix: str) -> Callable[[FindMetricT], FindMetricT]:
    """Register the decorated function `(name) -> Metric` for all names with a prefix: metrics that are made on demand, not listed."""

    def register(find: FindMetricT) -> FindMetricT:
        _metric_families[prefix] = find
        return find

    return register


def methods() -> Mapping[str, Method]:
    """Every registered method by name, in alphabetical order."""
    _load("methods")
    return MappingProxyType(dict(sorted(_methods.items())))


def metrics() -> Mapping[str, Metric]:
    """Every registered metric by name, in alphabetical order."""
    _load("metrics")
    return MappingProxyType(dict(sorted(_metrics.items())))


def find_method(name: str) -> Method:
    """The method of this name, or of the family whose prefix it has; raises UnknownName, which says so where the name is that of a set."""
    known = methods()
    members = [one.name for one in known.values() if name in one.member_of]
    if name not in known and (members or name == "none"):
        few = members if len(members) <= LISTED else [*members[: LISTED // 2], f"… and {len(members) - LISTED // 2} more"]
        choice = f"name one of them: {', '.join(few)}" if members else "name one; `fusion-prior methods` lists them"
        raise UnknownName(f"{name!r} is a set of {len(members) or 'no'} methods, and one method is expected here; {choice}")
    return _find("method", known, _method_families, name)


def find_metric(name: str) -> Metric:
    """The metric of this name, or of the family whose prefix it has; raises UnknownName."""
    _load("metrics")
    return _find("metric", _metrics, _metric_families, name)


def resolve_methods(names: Iterable[str]) -> tuple[str, ...]:
    """Method names with sets ("fast", "standard", "medical", "all", "none") replaced by their members: sorted, without repetition.

    Raises:
        UnknownName: a name is neither a method nor a set; a member of a family raises what its family does.
    """
    known = methods()
    sets = {name for one in known.values() for name in one.member_of} | {"all", "none"}
    found: set[str] = set()
    for name in names:
        if name.startswith(tuple(_method_families)):
            found.add(find_method(name).name)
        elif name not in sets and name not in known:
            raise unknown_name("method", name, [*known, *sets])
        found |= {one.name for one in known.values() if name in (one.name, *one.member_of)}
    return tuple(sorted(found))


def resolve_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Metric names in their order, each once, with "all" replaced by every metric and its terms, without variants and families.

    Raises:
        UnknownName: a name is no metric; a member of a family raises what its family does.
    """
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys(one.name for one in metrics().values() if not one.variant_of)
        else:
            found[find_metric(name).name] = None
    return tuple(found)


T = TypeVar("T")


def _add(table: dict[str, T], kind: str, name: str, record: T) -> None:
    if name in table:
        raise InputError(f"two {kind}s are registered as {name!r}; rename one of them")
    table[name] = record


def _find(kind: str, table: Mapping[str, T], families: Mapping[str, Callable[[str], T]], name: str) -> T:
    for prefix, find in families.items():
        if name.startswith(prefix):
            return find(name)
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


@functools.cache
def _load(group: Literal["methods", "metrics"]) -> None:
    importlib.import_module(f"prior.{group}")
    for plug_in in sorted(entry_points(group=f"fusion_prior.{group}"), key=lambda entry: entry.name):
        plug_in.load()
