"""The command `evaluate`: folders of fused pictures as one table. Part of `flows.command_line`, and read like it."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Format, MetricNames, RowFormat, VariantName, split_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.evaluation import Evaluation
    from flows.standings import Standing

NOT_WHOLE = 1
"""Exit status where a picture could not be scored, or a pair has no score at all."""

TOLD = 5
"""Failures that are told on a terminal."""


def evaluate(
    a: Annotated[Path, typer.Option(help="Folder of the first modality.")],
    b: Annotated[Path, typer.Option(help="Folder of the second modality.")],
    fused: Annotated[Path, typer.Option(metavar="DIR", help="Folder with one folder of fused pictures per method.")],
    pattern: Annotated[str, typer.Option(help='How the files of a pair are named: "IR{key} VIS{key}". Else by equal stems.')] = "",
    metrics: MetricNames = "",
    variant: VariantName = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 is one per core.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A .parquet, .csv or .xlsx file for the score of every picture.")] = None,
    latex: Annotated[Path | None, typer.Option(help="A file for the table as LaTeX (booktabs).")] = None,
    form: RowFormat = Format.table,
) -> None:
    """Score every fused picture of every method by the metrics named, and compare the methods.

    A mean ± standard deviation (n - 1) is over the pairs on which the metric is defined; (n) says how many where not all. Mean rank: on
    each pair and by each metric, the methods that have a score there are ranked, 1 the best in the metric's direction, equals sharing the
    mean of their ranks; ranks are averaged over the pairs, then over the metrics. Terms of one source, and variants, do not count beside
    their metric.

    Pictures are found by the names of their pair and judged as 8-bit luma, in their own size. What cannot be scored is a row with its
    reason, in --out and --format json. Exit code 1: a picture failed, or a pair has no score at all; a picture that is not there is
    `missing`, which is no failure.
    """
    from flows.columns import choose_columns
    from flows.evaluation import EvaluationRequest, evaluate_folders
    from flows.evaluation_files import check_kind, check_place, write_evaluation, write_whole
    from flows.evaluation_table import make_table, to_latex
    from flows.output import say
    from flows.progress import show_progress
    from flows.standings import find_standings

    columns = choose_columns(split_names(metrics), variant)
    if out is not None:
        check_kind(out)
    for file in filter(None, (out, latex)):
        check_place(file)
    with show_progress() as report:
        request = EvaluationRequest(a=a, b=b, fused=fused, columns=columns, pattern=pattern, workers=workers)
        evaluation = evaluate_folders(request, report)
    standings = find_standings(evaluation.rows, columns)
    _print(evaluation, standings, form)
    for sentence in describe(evaluation):
        say(sentence)
    if out is not None:
        write_evaluation(out, evaluation, standings)
    if latex is not None:
        write_whole(latex, to_latex(make_table(evaluation, standings)).encode())
    if not evaluation.is_whole:
        raise typer.Exit(NOT_WHOLE)


def describe(evaluation: "Evaluation") -> "Iterator[str]":
    """What a table leaves out, in sentences: the notes, what could not be scored, and the first failures, missing files last."""
    yield from evaluation.notes[:TOLD]
    if len(evaluation.notes) > TOLD:
        yield f"… and {len(evaluation.notes) - TOLD} more notes; --format json has all"
    rows = evaluation.rows
    reasons = Counter(row.reason for row in rows if row.reason)
    named = f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""
    yield f"{len(rows) - reasons.total()} of {len(rows)} pictures are scored{named}"
    problems = sorted(evaluation.problems, key=lambda row: row.reason == "missing")
    sentences = list(dict.fromkeys(row.message for row in problems))
    yield from sentences[:TOLD]
    if len(sentences) > TOLD:
        yield f"… and {len(sentences) - TOLD} more; --out FILE or --format json has all"


def _print(evaluation: "Evaluation", standings: "tuple[Standing, ...]", form: Format) -> None:
    from flows.evaluation_table import make_table, to_cells, to_json, to_summary_records
    from flows.output import print_cells, print_rows

    if form is Format.json:
        typer.echo(json.dumps(to_json(evaluation, standings), indent=1, ensure_ascii=False, allow_nan=False))
    elif form is Format.csv:
        records = to_summary_records(standings, evaluation.columns)
        print_rows(records, list(records[0]) if records else ("method",), form)
    else:
        print_cells(*to_cells(make_table(evaluation, standings)))
