"""The command `evaluate`: folders of fused pictures as one table. Part of `flows.command_line`, and read like it."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import ExactMetrics, Format, RowFormat, VariantName, check_worker_count, split_names
from flows.words import count
from storage.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.evaluation import Evaluation
    from flows.evaluation_table import Table
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
    metrics: ExactMetrics = "",
    variant: VariantName = "",
    workers: Annotated[int, typer.Option(min=0, callback=check_worker_count, help="Processes; 0 is one per core.")] = 0,
    common: Annotated[bool, typer.Option("--common", help="Compare on the pairs alone on which every method has a score.")] = False,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="A .parquet, .csv or .xlsx file for the score of every picture.")] = None,
    latex: Annotated[str | None, typer.Option(metavar="FILE", help="A .tex file for the table as LaTeX (booktabs).")] = None,
    form: RowFormat = Format.table,
) -> None:
    """Score every fused picture of every method by the metrics named, and compare the methods.

    A mean ± standard deviation (n - 1) is over the pairs on which the metric is defined and finite; (n) says how many where not all. Best
    and second best are by the mean; where 0 is the best, by the mean of |score|, since plus and minus cancel in a mean. Mean rank: on
    each pair and by each metric, the methods that have a score there are ranked, 1 the best in the metric's direction, equals sharing the
    mean of their ranks; ranks are averaged over the pairs, then over the metrics. Terms of one source, and variants, do not count beside
    their metric.

    Pictures are found by the names of their pair and judged as 8-bit luma, in their own size, which may be any; on small ones some
    metrics are undefined, and below 41 px nobody looks whether a picture shows another pair. What cannot be scored is a row with its
    reason, in --out and --format json. An infinite score is inf in --out, null in JSON. Exit code 1: a picture failed, or a pair has no
    score at all; a picture that is not there is `missing`, which is no failure.
    """
    from flows.columns import choose_columns
    from flows.evaluation import EvaluationRequest, evaluate_folders
    from flows.evaluation_files import parse_targets
    from flows.evaluation_table import make_table
    from flows.output import say
    from flows.progress import show_progress
    from flows.standings import describe_pairs, find_standings, keep_common

    columns = choose_columns(split_names(metrics), variant)
    targets = parse_targets(out, latex, (a, b, fused))
    with show_progress() as report:
        request = EvaluationRequest(a=a, b=b, fused=fused, columns=columns, variant=variant, pattern=pattern, workers=workers)
        evaluation = evaluate_folders(request, report)
    rows = keep_common(evaluation.rows) if common else evaluation.rows
    standings = find_standings(rows, columns)
    table = make_table(columns, standings, len({row.pair_id for row in rows}), describe_pairs(evaluation.rows, rows))
    failure = _write(targets, evaluation, standings, table)
    try:
        _print(evaluation, standings, table, form)
        for sentence in (*table.remarks, *describe(evaluation)):
            say(sentence)
    finally:  # whether or not somebody reads the table
        if failure:
            raise failure
    if not evaluation.is_whole:
        raise typer.Exit(NOT_WHOLE)


def _write(
    targets: "tuple[Path | None, Path | None]", evaluation: "Evaluation", standings: "tuple[Standing, ...]", table: "Table"
) -> InputError | None:
    """Write the files that are asked for; what cannot be written is told later, since it must not cost the table."""
    from flows.evaluation_files import write_evaluation, write_whole
    from flows.latex import to_latex

    out, latex = targets
    failures = []
    try:
        if out is not None:
            write_evaluation(out, evaluation, standings)
    except InputError as error:
        failures.append(str(error))
    try:
        if latex is not None:
            write_whole(latex, to_latex(table, evaluation.variant).encode())
    except InputError as error:
        failures.append(str(error))
    return InputError("; ".join(failures)) if failures else None


def describe(evaluation: "Evaluation") -> "Iterator[str]":
    """What a table leaves out, in sentences: the notes, what was converted, and the first failures, missing files last."""
    from flows.evaluation import CONVERTED

    yield from _tell_first(evaluation.notes, "--format json has all")
    if evaluation.converted:
        yield f"{count(len(evaluation.converted), 'picture')} converted before judging, with the flag {CONVERTED!r}:"
        yield from _tell_first([row.message for row in evaluation.converted])
    yield "; ".join(_count_rows(evaluation))
    problems = sorted(evaluation.problems, key=lambda row: row.reason == "missing")
    yield from _tell_first(list(dict.fromkeys(row.message for row in problems)))


def _count_rows(evaluation: "Evaluation") -> "Iterator[str]":
    """How many pictures were scored, of those that were looked at; how many are missing; and which pairs could not be used at all."""
    unusable = {pair.pair_id for pair in evaluation.unusable}
    reasons = Counter(row.reason for row in evaluation.rows if row.pair_id not in unusable)
    missing = reasons.pop("missing", 0)
    scored = reasons.pop("", 0)
    yield f"{scored} of {count(scored + reasons.total(), 'picture')} scored{_name(reasons)}"
    if missing:
        yield f"{missing} missing"
    if unusable:
        whole = len({row.pair_id for row in evaluation.rows} | unusable)
        of_pairs = _name(Counter(pair.reason for pair in evaluation.unusable))
        yield f"{len(unusable)} of {count(whole, 'pair')} cannot be used for any method{of_pairs}"


def _name(reasons: "Counter[str]") -> str:
    return f" ({', '.join(f'{number} {reason}' for reason, number in sorted(reasons.items()))})" if reasons else ""


def _tell_first(sentences: "Sequence[str]", where: str = "--out FILE or --format json has all") -> "Iterator[str]":
    yield from sentences[:TOLD]
    if len(sentences) > TOLD:
        yield f"… and {len(sentences) - TOLD} more; {where}"


def _print(evaluation: "Evaluation", standings: "tuple[Standing, ...]", table: "Table", form: Format) -> None:
    from flows.evaluation_table import lay_out, to_json, to_summary_records
    from flows.output import find_width, print_cells, print_rows, say

    if form is Format.json:
        typer.echo(json.dumps(to_json(evaluation, standings, table.remarks), indent=1, ensure_ascii=False, allow_nan=False))
    elif form is Format.csv:
        records = to_summary_records(standings, evaluation.columns)
        print_rows(records, list(records[0]) if records else ("method",), form)
    else:
        parts, sentence = lay_out(table, find_width())
        for cells in parts:
            print_cells(*cells)
        if sentence:
            say(sentence)
