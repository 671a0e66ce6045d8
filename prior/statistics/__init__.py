"""What a metric is given: a candidate beside its two sources, with room to remember what several metrics need.

What depends on the sources alone is computed once per pair, what depends on the candidate once per candidate:
`sources.once(f)` calls `f(sources)` the first time and remembers its answer, `fused.once(f)` likewise. The modules of this package hold
what several metrics share: histograms, windows, gradients, scales. Nothing in it depends on which metrics are asked for, or in what order.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from prior.arrays import Picture
from storage.errors import InputError

T = TypeVar("T")


class Sources:
    """The 8-bit luma of a pair's two sources, uint8 `(H, W)` each, and the statistics that depend on nothing else.

    Raises:
        InputError: they are not 8-bit luma of one size: no metric is defined on anything else.
    """

    __slots__ = ("_memory", "a", "b")

    def __init__(self, a: Picture, b: Picture) -> None:
        self.a = _check(a, np.shape(a), "source a")
        self.b = _check(b, np.shape(a), "source b")
        self._memory: dict[Callable[..., Any], Any] = {}

    def once(self, compute: "Callable[[Sources], T]") -> T:
        """`compute(self)`, computed the first time and remembered."""
        if compute not in self._memory:
            self._memory[compute] = compute(self)
        answer: T = self._memory[compute]
        return answer


class Fused:
    """The 8-bit luma of one candidate, uint8 `(H, W)`, its pair's sources, and what several metrics share.

    Raises:
        InputError: it is not 8-bit luma of its sources' size.
    """

    __slots__ = ("_memory", "image", "sources")

    def __init__(self, image: Picture, sources: Sources) -> None:
        self.image = _check(image, sources.a.shape, "the candidate")
        self.sources = sources
        self._memory: dict[Callable[..., Any], Any] = {}

    def once(self, compute: "Callable[[Fused], T]") -> T:
        """`compute(self)`, computed the first time and remembered."""
        if compute not in self._memory:
            self._memory[compute] = compute(self)
        answer: T = self._memory[compute]
        return answer


def _check(image: Picture, shape: tuple[int, ...], who: str) -> Picture:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 2 or image.shape != shape or image.size == 0:
        came = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        wanted = "(H, W)" if len(shape) != 2 else str(shape)
        raise InputError(f"{who}: expected 8-bit luma, uint8 of shape {wanted}, got {came}; convert and resize it first")
    return image
