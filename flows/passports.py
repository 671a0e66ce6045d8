"""A metric's passport for people and machines, and its numbers beside the golden ones."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flows.output import to_plain
from prior import golden
from prior.passport import Passport
from prior.registry import Metric
from prior.statistics import Fused, Sources

DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "zero": "the nearer to zero the better"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric on one golden case.

    Attributes:
        metric: its name.
        case: the case's.
        value: what it gives; nan where it is undefined.
        golden: what it should give.
        error: relative, absolute below 1; nan where the golden value is no finite number.
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
    def fits(self) -> bool:
        """Whether the error is within the tolerance; undefined fits undefined alone, and infinite the same infinity; all where excluded."""
        if self.excluded:
            return True
        if math.isnan(self.golden):
            return math.isnan(self.value)
        if math.isinf(self.golden):
            return self.value == self.golden
        return self.error <= self.tolerance


def compare(metric: Metric) -> Iterator[Comparison]:
    """A metric on every golden case that tells its value; nothing where it has no golden row."""
    for case, expected in list_golden(metric).items():
        pictures = golden.read_case(case)
        value = float(metric.judge(Fused(pictures.f, Sources(pictures.a, pictures.b))))
        error = abs(value - expected) / max(1.0, abs(expected)) if math.isfinite(expected) else math.nan
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
        "passport": asdict(metric.passport) if metric.passport else None,
        "golden_values": {case: to_plain(value) for case, value in list_golden(metric).items()},
    }


def write_bounds(bounds: tuple[float, float]) -> str:
    """Bounds in words: `0 … 8`; what has none is unbounded."""
    low, high = (f"{bound:g}" if math.isfinite(bound) else "∞" if bound > 0 else "-∞" for bound in bounds)
    return f"{low} … {high}"


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
        "tolerance": f"{passport.tolerance:g}",
    }
