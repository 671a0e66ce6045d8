"""The command `metrics`: what there is, one metric's passport, its check, the variants. Part of `flows.command_line`, and read like it."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Format, RowFormat
from storage.errors import InputError

if TYPE_CHECKING:
    from flows.passports import Comparison
    from prior.registry import Metric

COLUMNS = ("name", "better", "bounds", "combination", "smallest", "reference")
EVERY_COLUMN = (*COLUMNS, "title", "definition", "version", "term_of", "variant_of", "golden", "needs", "licence")
CHECK_COLUMNS = ("metric", "case", "value", "golden", "error", "tolerance", "outcome", "excluded")
MISFIT = 1
"""Exit status where a metric is not what its golden values say, or has none that is a number."""


def metrics(
    name: Annotated[str | None, typer.Argument(help="One metric, for all that is known of it.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also the terms of one source, and the variants.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compute the metric, or all of them, on six made pictures, and compare with the golden values.")
    ] = False,
    variants: Annotated[
        bool, typer.Option("--variants", help="The public implementations whose numbers can be had, and what they print.")
    ] = False,
    form: RowFormat = Format.table,
) -> None:
    """The metrics: direction, bounds, how the sources enter, the smallest side, reference; or one metric's passport.

    better: the direction that is better; zero, the nearer to zero the better. smallest: px that the shorter side must have.
    iqa:MODEL is a model of pyiqa besides; `fusion-prior metrics iqa:` names those that need no weights.

    csv and json always list the terms of one source (`vif_a`) and the variants, too. --check counts apart what was compared, what is
    undefined on both sides, and what is not asserted, with the reasons; it ends with exit code 1 where an error, relative to the golden
    value, is beyond the metric's tolerance, and where no golden value of a metric is a number.
    """
    if variants:
        _refuse_both(name, check)
        _print_variants(form)
    elif check:
        _print_check(name, form)
    elif name:
        _print_passport(name, form)
    else:
        _print_list(everything or form is not Format.table, form)


def _refuse_both(name: str | None, check: bool) -> None:
    if name or check:
        raise InputError("--variants lists all variants, and takes no metric and no --check; leave them out")


def _print_list(everything: bool, form: Format) -> None:
    from flows.output import print_rows
    from flows.passports import write_bounds
    from prior import registry

    found = [one for one in registry.metrics().values() if everything or not (one.term_of or one.variant_of)]
    rows = [_describe(one) for one in found]
    if form is Format.table:
        print_rows([row | {"bounds": write_bounds(row["bounds"])} for row in rows], COLUMNS, form)
    else:
        print_rows(rows, EVERY_COLUMN, form)


def _describe(metric: "Metric") -> dict[str, Any]:
    """One row of the list; what only a passport tells is empty where there is none."""
    own = {name: getattr(metric, name) for name in EVERY_COLUMN if hasattr(metric, name)}
    return own | {name: getattr(metric.passport, name, None) for name in EVERY_COLUMN if name not in own}


def _print_passport(name: str, form: Format) -> None:
    from flows.output import print_rows, print_sheet
    from flows.passports import list_golden, to_json, to_sheet
    from prior.golden import EXCLUDED
    from prior.registry import find_metric

    metric = find_metric(name)
    if form is Format.json:
        typer.echo(json.dumps(to_json(metric), indent=1, ensure_ascii=False, allow_nan=False))
        return
    if form is Format.csv:
        print_rows([{"field": field, "text": text} for field, text in to_sheet(metric).items()], ("field", "text"), form)
        return
    print_sheet(to_sheet(metric))
    values = [
        {"case": case, "value": f"{value:.12g}", "not asserted, because": EXCLUDED.get((metric.name, case), "")}
        for case, value in list_golden(metric).items()
    ]
    if values:
        columns = list(values[0]) if any(one["not asserted, because"] for one in values) else ["case", "value"]
        print_rows(values, columns, form, "Golden values")
    if metric.passport and metric.passport.differences:
        differences = [{"code": one.code, "what it does": one.how, "by how much": one.size} for one in metric.passport.differences]
        print_rows(differences, list(differences[0]), form, "Where public code differs")


def _print_check(name: str | None, form: Format) -> None:
    from flows.output import print_rows
    from flows.passports import compare
    from prior.registry import find_metric, metrics

    chosen = [find_metric(name)] if name else list(metrics().values())
    compared = {metric.name: tuple(compare(metric)) for metric in chosen}
    found = [one for rows in compared.values() for one in rows]
    if name and not found:
        raise _tell_without_golden(chosen[0])
    print_rows([_to_row(one, form) for one in found], CHECK_COLUMNS, form)
    hollow = [known for known, rows in compared.items() if rows and not any(_is_number(one) for one in rows)]
    _tell_check(found, hollow)
    if not name:
        _tell_uncompared([metric for metric in chosen if not compared[metric.name]])
    if hollow or any(one.outcome == "differs" for one in found):
        raise typer.Exit(MISFIT)


def _is_number(one: "Comparison") -> bool:
    """Whether it compares two numbers."""
    return math.isfinite(one.golden) and not one.excluded


def _tell_without_golden(metric: "Metric") -> InputError:
    if metric.name.startswith("iqa:"):
        return InputError(f"{metric.name} has no golden values: it is a model of pyiqa, whose numbers are not checked here")
    if metric.term_of:
        return InputError(
            f"{metric.name} has no golden values; those of the whole it is part of: fusion-prior metrics {metric.term_of} --check"
        )
    return InputError(f"{metric.name} has no golden values; `fusion-prior metrics --format csv` tells which metrics have some")


def _tell_check(found: "Sequence[Comparison]", hollow: Sequence[str]) -> None:
    """How much was compared, on stderr; the rows go to stdout."""
    from flows.output import say

    counts = Counter(one.outcome for one in found)
    say(f"compared: {counts['equal']} of {counts['equal'] + counts['differs']} values are the golden ones")
    say(f"undefined on both sides: {counts['undefined in both']}")
    say(f"not asserted: {counts['not asserted']}")
    for reason in dict.fromkeys(one.excluded for one in found if one.excluded):
        say(f"  {', '.join(f'{one.metric} on {one.case}' for one in found if one.excluded == reason)}: {reason}")
    if hollow:
        say(f"no number to compare with: {', '.join(hollow)}")


def _tell_uncompared(without: "Sequence[Metric]") -> None:
    """Which metrics have no golden values."""
    from flows.output import say

    names = {metric.name for metric in without}
    others = [metric.name for metric in without if not metric.term_of or metric.term_of in names]
    say(f"without golden values: {len(names) - len(others)} terms, whose wholes have some" + (f"; {', '.join(others)}" if others else ""))
    say("not looked at: iqa:<model>, which are models of pyiqa")


def _to_row(one: "Comparison", form: Format) -> dict[str, Any]:
    row = {name: getattr(one, name) for name in CHECK_COLUMNS}
    # a table's four decimals would all be 0
    return row | {"error": f"{one.error:.1e}", "tolerance": f"{one.tolerance:.0e}"} if form is Format.table else row


def _print_variants(form: Format) -> None:
    from flows.columns import choose_columns
    from flows.output import print_rows, say
    from prior.variants import VARIANTS

    rows_of = {
        name: [
            {"metric": one.name, "printed as": one.printed, "definition": one.metric.name, "formula": one.metric.definition}
            for one in choose_columns([], name)
        ]
        for name in VARIANTS
    }
    if form is Format.json:
        described = [
            {"name": one.name, "title": one.title, "metrics": rows_of[one.name], "left_out": one.left_out} for one in VARIANTS.values()
        ]
        typer.echo(json.dumps(described, indent=1, ensure_ascii=False))
        return
    columns = ("variant", "metric", "printed as", "definition")  # a formula fills a terminal by itself
    rows = [{"variant": name} | row for name, of_variant in rows_of.items() for row in of_variant]
    print_rows(rows, columns if form is Format.table else (*columns, "formula"), form)
    for one in VARIANTS.values():
        say(f"{one.name}: {one.title}" + (f"; left out: {one.left_out}" if one.left_out else ""))
