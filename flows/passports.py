"""A metric's passport for people and machines, and its numbers beside the golden ones."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flows.output import to_plain
from prior import golden
from prior.passport import Passport
from prior.registry import Metric
from prior.statistics import Fused, Sources

Outcome = Literal["equal", "differs", "undefined in both", "not asserted"]
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "zero": "the nearer to zero the better"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric on one golden case.

    Attributes:
        metric: its name.
        case: the case's.
        value: what it gives; nan where it is undefined.
        golden: what it should give.
        error: relative to the golden value; nan where either is no finite number.
        tolerance: of the metric.
        excluded: why the golden value is no value of the metric; empty where it is one.
    """

    metric: str
    case: str
    value: float
    golden: float
    error: float
    tolerance: float
    excluded: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether the error is within the tolerance; undefined fits undefined alone, and infinite the same infinity."""
        if self.excluded:
            return "not asserted"
        if math.isnan(self.golden) and math.isnan(self.value):
            return "undefined in both"
        return "equal" if self.value == self.golden or self.error <= self.tolerance else "differs"


def compare(metric: Metric) -> Iterator[Comparison]:
    """A metric on every golden case that tells its value; nothing where it has no golden row."""
    for case, expected in list_golden(metric).items():
        pictures = golden.read_case(case)
        value = float(metric.judge(Fused(pictures.f, Sources(pictures.a, pictures.b))))
        error = golden.measure_error(value, expected)
        tolerance = metric.passport.tolerance if metric.passport else math.nan
        yield Comparison(metric.name, case, value, expected, error, tolerance, golden.EXCLUDED.get((metric.name, case), ""))


def list_golden(metric: Metric) -> Mapping[str, float]:
    """A metric's golden values by case; empty where it has none."""
    passport = metric.passport
    return golden.list_values(passport.golden, passport.golden_by) if passport and passport.golden else {}


def to_sheet(metric: Metric) -> dict[str, str]:
    """A metric's passport, field by field, as a person reads it; a metric without one has what it was registered with."""
    passport = metric.passport
    known = _describe_passport(passport) if passport else {"passport": "none: it comes from elsewhere"}
    sheet = {
        "name": metric.name,
        "title": known.pop("title", ""),
        "meaning": known.pop("meaning", ""),
        "definition": metric.definition,
        "source": metric.reference,
        "direction": DIRECTIONS[metric.better],
        "bounds": write_bounds(metric.bounds),
        "part of": f"{metric.term_of}: its term for one source" if metric.term_of else "",
        "variant of": metric.variant_of,
        **known,
        "version": str(metric.version),
        "needs": ", ".join(metric.needs),
        "licence": metric.licence,
    }
    return {name: text for name, text in sheet.items() if text}


def to_json(metric: Metric) -> dict[str, Any]:
    """A metric with its passport and golden values, as JSON knows them; without a bound or a value there is None."""
    names = ("name", "better", "bounds", "version", "reference", "definition", "needs", "licence", "term_of", "variant_of")
    return {
        **{name: to_plain(getattr(metric, name)) for name in names},
        "passport": _plain_passport(metric.passport) if metric.passport else None,
        "golden_values": {case: to_plain(value) for case, value in list_golden(metric).items()},
    }


def list_excluded(metric: Metric) -> Mapping[str, str]:
    """Why golden values are not asserted of a metric, by case, those of cases that do not travel with the package too."""
    return {case: reason for (name, case), reason in golden.EXCLUDED.items() if name == metric.name}


def write_bounds(bounds: tuple[float, float]) -> str:
    """Bounds in words: `0 … 8`; what has none is unbounded."""
    low, high = (f"{bound:g}" if math.isfinite(bound) else "∞" if bound > 0 else "-∞" for bound in bounds)
    return f"{low} … {high}"


def _plain_passport(passport: Passport) -> dict[str, Any]:
    return asdict(passport) | {"tolerance": passport.tolerance if passport.golden else None}


def _describe_passport(passport: Passport) -> dict[str, str]:
    return {
        "title": passport.title,
        "symbol": passport.symbol,
        "meaning": passport.meaning,
        "combination": passport.combination,
        "dynamic range": passport.dynamic_range,
        "window": passport.window,
        "border": passport.border,
        "smallest side": f"{passport.smallest} px",
        "undefined": passport.undefined,
        "order of sources": "does not matter" if passport.symmetric else "matters",
        "with noise": passport.noise,
        "with blur": passport.blur,
        "golden row": f"{passport.golden} of {passport.golden_by}" if passport.golden else "",
        "tolerance": f"{passport.tolerance:g} of the golden value; {golden.NOTHING:.1e} where that is 0" if passport.golden else "",
    }
