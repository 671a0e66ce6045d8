"""The columns of a table of scores: which metrics, and under which names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prior.evaluate import STANDARD_METRICS
from prior.registry import Metric, find_metric, resolve_metrics
from prior.variants import find_variant
from storage.errors import unknown_name

ARROWS = {"higher": "↑", "lower": "↓", "zero": "→ 0"}


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a table.

    Attributes:
        name: what the table calls it: its id, or what a public implementation prints.
        metric: what it is.
    """

    name: str
    metric: Metric

    @property
    def heading(self) -> str:
        """The name, with the direction in which it is better."""
        return f"{self.name} {ARROWS[self.metric.better]}"


def choose_columns(names: Sequence[str], variant: str = "") -> tuple[Column, ...]:
    """The metrics that are asked for.

    Args:
        names: their ids, or "all"; with a variant, names that it prints, or what the project calls these.
        variant: a public implementation, whose metrics take the place of the project's own; all of them where no names are given.

    Raises:
        UnknownName: there is no such metric, or no such variant, or the variant prints no such name.
    """
    if not variant:
        return tuple(Column(name, find_metric(name)) for name in resolve_metrics(names or STANDARD_METRICS))
    chosen = find_variant(variant)
    printed = Counter(chosen.find_printed(name) for name in chosen.metrics)
    columns = {name: Column(_name_apart(chosen.find_printed(name), name, printed), metric) for name, metric in chosen.find_metrics()}
    by_name = columns | {column.name: column for column in columns.values()}
    for name in names:
        if name not in by_name and name != "all":
            raise unknown_name(f"metric of the variant {variant}", name, [column.name for column in columns.values()])
    wanted = columns if not names or "all" in names else names
    return tuple(dict.fromkeys(by_name[name] for name in wanted))


def _name_apart(name: str, own: str, printed: Mapping[str, int]) -> str:
    """What a variant prints, with the project's own name where it prints two numbers under one."""
    return f"{name} ({own})" if printed[name] > 1 else name


def find_mains(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns without those that tell again what another tells: terms of one source and variants, where their metric is there, too."""
    there = {column.metric.name for column in columns}
    return tuple(column for column in columns if not there & {column.metric.term_of, column.metric.variant_of})
