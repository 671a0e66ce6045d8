"""The passport of a metric: what must be known of it before its numbers can be set beside anybody else's."""

import re
from dataclasses import dataclass, replace
from typing import Literal

Combination = Literal["candidate alone", "sum", "mean", "weighted", "joint", "one source"]
"""How the two sources enter: not at all, as a sum or mean of one term each, weighted within the formula, together, or one of them alone."""
Trend = Literal["rises", "falls", "varies", "unstated"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where public code prints another number under the same name.

    Attributes:
        code: who: the name of a public implementation.
        how: what it does instead.
        size: by how much, on a golden case or in general.
    """

    code: str
    how: str
    size: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """Everything about a metric that its formula leaves open.

    Attributes:
        title: its full name.
        symbol: what tables call it, as LaTeX.
        meaning: what it tells, in one sentence.
        combination: how the two sources enter.
        dynamic_range: of the levels it works on, with what is done to them first.
        window: the neighbourhood it looks at.
        border: what stands beyond the edge of the image.
        smallest: px that the shorter side must have; nan below.
        undefined: when it is nan, in words.
        symmetric: whether swapping the sources leaves the number.
        noise: how the number moves when noise is added to a good candidate; "varies" where it depends on the pair,
            "unstated" where nobody has looked: for judges from elsewhere.
        blur: how it moves when a good candidate is blurred.
        golden: the row of the golden values that it must equal; empty where there is none.
        golden_by: the implementation that printed them.
        tolerance: relative error allowed against them, however small they are; see `prior.golden.measure_error`.
        differences: where public code differs.
    """

    title: str
    symbol: str
    meaning: str
    combination: Combination
    dynamic_range: str
    undefined: str
    noise: Trend
    blur: Trend
    window: str = "the whole image"
    border: str = "none"
    smallest: int = 1
    symmetric: bool = True
    golden: str = ""
    golden_by: str = "refimpl(py)"
    tolerance: float = 1e-6
    differences: tuple[Difference, ...] = ()

    def narrow(self, source: Literal["a", "b"], golden: str, noise: Trend | None = None) -> "Passport":
        """The passport of the metric's term for one source; who computes the whole otherwise says nothing of its terms.

        Args:
            source: whose term it is.
            golden: the row of its golden values; empty where there is none.
            noise: how the term moves with noise, where that is not as the whole does. With blur every term varies: the candidate comes
                nearer to a source that is blurred itself, whatever it loses of the other.
        """
        return replace(
            self,
            title=f"{self.title}, source {source} alone",
            symbol=_add_subscript(self.symbol, source.upper()),
            meaning=f"{self.meaning} Of source {source.upper()} alone.",
            combination="one source",
            symmetric=False,
            noise=noise or self.noise,
            blur="varies",
            golden=golden,
            differences=(),
        )


_SUBSCRIPT = re.compile(r"(.*_)(?:\{((?:[^{}]|\{[^{}]*\})*)\}|([^{}]))")
"""The last subscript of a formula that ends with it: what stands before it, and what stands in it."""


def _add_subscript(symbol: str, index: str) -> str:
    """A LaTeX symbol with one subscript more: within the last where there is one, since none can follow it."""
    if not symbol.endswith("$"):
        return f"{symbol}$_{{{index}}}$"
    formula = symbol[:-1]
    match = _SUBSCRIPT.fullmatch(formula)
    return f"{match[1]}{{{match[2] or match[3]},{index}}}$" if match else f"{formula}_{{{index}}}$"
