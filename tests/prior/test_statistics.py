"""What a metric is given: each statistic is computed once, for its own pair or its own candidate."""

from collections.abc import Callable

import numpy as np
import pytest

from prior.statistics import Fused, Sources

A, B, F = (np.full((2, 3), level, np.uint8) for level in (10, 20, 30))


class Counted:
    """A statistic that counts how often it is computed."""

    def __init__(self, compute: Callable[[Sources | Fused], object]) -> None:
        self.calls = 0
        self._compute = compute

    def __call__(self, of: Sources | Fused) -> object:
        self.calls += 1
        return self._compute(of)


def add_sources(sources: Sources | Fused) -> int:
    assert isinstance(sources, Sources)
    return int(sources.a.sum()) + int(sources.b.sum())


def test_a_statistic_of_the_sources_is_computed_once_for_all_candidates() -> None:
    sources, total = Sources(A, B), Counted(add_sources)
    candidates = [Fused(F, sources), Fused(A, sources)]
    assert [one.sources.once(total) for one in candidates] == [180, 180]
    assert total.calls == 1


def test_a_statistic_of_a_candidate_is_computed_once_for_each() -> None:
    sources, total = Sources(A, B), Counted(lambda fused: int(fused.image.sum()) if isinstance(fused, Fused) else None)
    first, second = Fused(F, sources), Fused(A, sources)
    assert [first.once(total), first.once(total), second.once(total), second.once(total)] == [180, 180, 60, 60]
    assert total.calls == 2


def test_pairs_do_not_share_statistics() -> None:
    total = Counted(add_sources)
    assert [Sources(A, B).once(total), Sources(A, A).once(total)] == [180, 120]
    assert total.calls == 2


def test_statistics_are_kept_apart_and_returned_as_they_are() -> None:
    sources, array = Sources(A, B), np.zeros(3)
    assert sources.once(lambda one: one.a.max()) == 10
    assert sources.once(lambda one: one.b.max()) == 20

    def keep(_: Sources) -> object:
        return array

    assert sources.once(keep) is array and sources.once(keep) is array


@pytest.mark.parametrize("nothing", [None, 0, False, ""])
def test_an_empty_answer_is_remembered_too(nothing: object) -> None:
    statistic = Counted(lambda _: nothing)
    sources = Sources(A, B)
    assert sources.once(statistic) is nothing and sources.once(statistic) is nothing
    assert statistic.calls == 1


def test_a_statistic_that_fails_is_not_remembered() -> None:
    answers: list[object] = [5]

    def fail_first(_: Sources | Fused) -> object:
        if statistic.calls == 1:
            raise ArithmeticError("not yet")
        return answers[0]

    statistic, fused = Counted(fail_first), Fused(F, Sources(A, B))
    with pytest.raises(ArithmeticError, match="not yet"):
        fused.once(statistic)
    assert fused.once(statistic) == 5


def test_images_are_kept_as_given() -> None:
    fused = Fused(F, Sources(A, B))
    assert fused.image is F and fused.sources.a is A and fused.sources.b is B
