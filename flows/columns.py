"""The columns of a table of scores: which metrics, and under which names."""

from collections.abc import Sequence
from dataclasses import dataclass

from prior.evaluate import STANDARD_METRICS
from prior.registry import Metric, find_metric, metrics, resolve_metrics
from prior.variants import find_variant
from storage.errors import unknown_name

ARROWS = {"higher": "↑", "lower": "↓", "zero": "→ 0"}


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a table.

    Attributes:
        name: what files and machines call it: its id; of a variant, the id of what it is there. No two columns share it.
        metric: what it is.
        printed: what a public implementation calls it, which may call two so; empty without a variant.
    """

    name: str
    metric: Metric
    printed: str = ""

    @property
    def label(self) -> str:
        """What people read: the printed name where there is one."""
        return self.printed or self.name

    @property
    def heading(self) -> str:
        """The label, with the direction in which it is better."""
        return f"{self.label} {ARROWS[self.metric.better]}"


def choose_columns(names: Sequence[str], variant: str = "") -> tuple[Column, ...]:
    """The metrics that are asked for.

    Args:
        names: their ids, or "all", in either case; with a variant, names that it prints (all that it prints so), or what the project
            calls these.
        variant: a public implementation, whose metrics take the place of the project's own; all of them where no names are given.

    Raises:
        UnknownName: there is no such metric, or no such variant, or the variant prints no such name.
    """
    if not variant:
        return tuple(Column(name, find_metric(name)) for name in resolve_metrics(map(_spell, names or STANDARD_METRICS)))
    chosen = find_variant(variant)
    columns = [Column(name, metric, chosen.printed[name]) for name, metric in chosen.find_metrics()]
    found: dict[str, Column] = {}
    for name in names or ["all"]:
        named = _find_named(columns, name)
        if not named:
            raise unknown_name(
                f"metric of the variant {variant}", name, {one for column in columns for one in (column.name, column.printed)}
            )
        found |= {column.name: column for column in named}
    return tuple(found.values())


def _find_named(columns: Sequence[Column], name: str) -> list[Column]:
    """The columns of a variant that a name means: as it is written, and only where that is none, in either case."""
    folded = name.casefold()
    if folded == "all":
        return list(columns)
    return (
        [column for column in columns if name == column.name]
        or [column for column in columns if name == column.printed]
        or [column for column in columns if folded in (column.name.casefold(), column.printed.casefold())]
    )


def _spell(name: str) -> str:
    """A metric's name in the case in which it is registered; of one that is made on demand, the prefix."""
    spelt = {one.casefold(): one for one in ("all", *metrics())}
    prefix, colon, rest = name.partition(":")
    return spelt.get(name.casefold(), prefix.casefold() + colon + rest if colon else name)


def list_undefined(columns: Sequence[Column], side: int) -> str:
    """The metrics that are undefined on pictures whose shorter side is so short, with what they need; empty where none is.

    Args:
        columns: the metrics.
        side: px.
    """
    needs: dict[int, list[str]] = {}
    for column in columns:
        smallest = column.metric.passport.smallest if column.metric.passport else 1
        if smallest > side:
            needs.setdefault(smallest, []).append(column.label)
    return "; ".join(f"{', '.join(dict.fromkeys(labels))} (from {smallest} px)" for smallest, labels in sorted(needs.items()))


def find_mains(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns without those that tell again what another tells: terms of one source and variants, where their metric is there, too."""
    there = {column.metric.name for column in columns}
    return tuple(column for column in columns if not there & {column.metric.term_of, column.metric.variant_of})
