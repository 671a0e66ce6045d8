"""What a metric is given: a candidate beside its two sources, with room to remember what several metrics need.

What depends on the sources alone is computed once per pair, what depends on the candidate once per candidate:
`sources.once(f)` calls `f(sources)` the first time and remembers its answer, `fused.once(f)` likewise.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from prior.arrays import Picture

T = TypeVar("T")


class Sources:
    """The 8-bit luma of a pair's two sources, uint8 `(H, W)` each, and the statistics that depend on nothing else."""

    __slots__ = ("_memory", "a", "b")

    def __init__(self, a: Picture, b: Picture) -> None:
        self.a = a
        self.b = b
        self._memory: dict[Callable[..., Any], Any] = {}

    def once(self, compute: "Callable[[Sources], T]") -> T:
        """`compute(self)`, computed the first time and remembered."""
        if compute not in self._memory:
            self._memory[compute] = compute(self)
        answer: T = self._memory[compute]
        return answer


class Fused:
    """The 8-bit luma of one candidate, uint8 `(H, W)`, its pair's sources, and what several metrics share."""

    __slots__ = ("_memory", "image", "sources")

    def __init__(self, image: Picture, sources: Sources) -> None:
        self.image = image
        self.sources = sources
        self._memory: dict[Callable[..., Any], Any] = {}

    def once(self, compute: "Callable[[Fused], T]") -> T:
        """`compute(self)`, computed the first time and remembered."""
        if compute not in self._memory:
            self._memory[compute] = compute(self)
        answer: T = self._memory[compute]
        return answer
