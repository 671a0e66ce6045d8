"""The page docs/metrics.md, written from the passports: `python -m flows.metric_page` prints it."""

import re
import sys
from collections.abc import Iterator, Sequence

from flows.columns import ARROWS, choose_columns
from flows.passports import list_excluded, list_golden, to_sheet, write_bounds
from prior.metrics.iqa import list_weightless
from prior.registry import Metric, metrics
from prior.variants import VARIANTS, Variant

IN_TABLE = ("name", "title")
"""What of a passport the heading of its section says."""

INTRODUCTION = """# The metrics

Written from the metrics' passports by `make docs`; what a metric is stands beside its code in `prior/metrics`.
`fusion-prior metrics NAME` prints one of them with its golden values, `fusion-prior metrics --check` compares all of them with these:
the difference is taken relative to the golden value, however small that is; a golden value below 1.4e-11, which is what double precision
may leave of the difference of two equal squares of levels, counts as 0, and so does every number below it.

Scores are of 8-bit luma. A metric is undefined (`nan`, empty, `null`) where its definition gives no number. *Noise* and *blur* tell how the
number moves when a good candidate (`laplacian_pyramid` on eight of the example pairs, two per task, with levels moved to 40..215 so that
noise does not clip) gets noise of σ = 10 levels, or is blurred with σ = 2 px: a metric that rises with noise takes it for detail. The
tests look at real pairs, too, where they are at hand.

`c01` to `c16` are golden cases, two sources and a candidate each; those of them that are drawn travel with the package in `prior/golden`
(`c07`, `c08`, `c09`, `c11`, `c13`, `c16`), and their values stand below. Values that are not asserted are no values of the definition.
`refimpl(py)` is a float64 implementation of the definitions, written independently of this one; other names are of public code that was run
on the cases.
"""

VARIANTS_INTRODUCTION = """## Variants: the numbers that public code prints

`fusion-prior score … --variant NAME` and `fusion-prior evaluate … --variant NAME` give a public implementation's numbers under the names
that it prints.
"""

MODELS = """## Models of pyiqa

`iqa:MODEL` in `--metrics` and in recipes is a model of pyiqa (Chen and Mo, 2022); one that compares with a reference is the mean over both
sources. Without any weights work {weightless}. Learned models work where pyiqa finds their weights on the machine; nothing is downloaded.
"""

_KEPT = re.compile(r"(`[^`]*`|\]\(#[^)]*\))")
_SPECIAL = re.compile(r"[\\*_|<>]")


def write_page() -> str:
    """The whole page."""
    known = metrics().values()
    mains = [one for one in known if not (one.term_of or one.variant_of)]
    parts = [
        INTRODUCTION,
        _write_overview(mains),
        *(_write_section(one, [term for term in known if term.term_of == one.name]) for one in mains),
        MODELS.format(weightless=", ".join(f"`{name}`" for name in list_weightless())),
        VARIANTS_INTRODUCTION,
        *(_write_variant(one) for one in VARIANTS.values()),
        "## Their definitions that are not ours\n",
        _write_table(
            ("Metric", "Other definition of", "Definition", "Source"),
            [
                (f"`{one.name}`", f"[`{one.variant_of}`](#{one.variant_of})", one.definition, one.reference)
                for one in known
                if one.variant_of and not one.term_of
            ],
        ),
        "## Their golden values, and those of terms\n",
        _write_table(
            ("Metric", "Row", "Values", "Not asserted"),
            [
                (f"`{one.name}`", f"{one.passport.golden} of {one.passport.golden_by}", _write_golden(one), _write_excluded(one))
                for one in known
                if (one.variant_of or one.term_of) and one.passport and one.passport.golden
            ],
        ),
    ]
    return "\n".join(parts)


def main() -> None:
    """Print the page."""
    sys.stdout.write(write_page())


def _write_overview(mains: Sequence[Metric]) -> str:
    head = ("Metric", "", "Better", "Bounds", "Sources", "Smallest side", "Noise", "Blur")
    return _write_table(head, [_describe(one) for one in mains])


def _describe(metric: Metric) -> tuple[str, ...]:
    passport = metric.passport
    own = (passport.combination, f"{passport.smallest} px", passport.noise, passport.blur) if passport else ("", "", "", "")
    title = passport.title if passport else ""
    return f"[`{metric.name}`](#{metric.name})", title, ARROWS[metric.better], write_bounds(metric.bounds), *own


def _write_section(metric: Metric, terms: Sequence[Metric]) -> str:
    """One metric: its sheet as a list, its terms, and where public code differs."""
    sheet = to_sheet(metric)
    lines = [f"## {metric.name}\n", f"{sheet.get('title', metric.name)}: {sheet.get('meaning', metric.definition)}\n"]
    lines += [f"- {name}: {_escape(text)}" for name, text in sheet.items() if name not in (*IN_TABLE, "meaning")]
    if list_golden(metric):
        lines.append(f"- golden values: {_write_golden(metric)}")
    if list_excluded(metric):
        lines.append(f"- golden values not asserted: {_escape(_write_excluded(metric))}")
    if terms:
        lines.append(f"- terms of one source: {', '.join(f'`{term.name}`' for term in terms)}")
    lines.append("")
    if metric.passport and metric.passport.differences:
        rows = [(one.code, one.how, one.size) for one in metric.passport.differences]
        lines.append(_write_table(("Public code", "What it does", "By how much"), rows))
    return "\n".join(lines)


def _write_golden(metric: Metric) -> str:
    """Its golden values in one line, by the numbers of the cases."""
    return ", ".join(f"{_shorten(case)} {value:.12g}" for case, value in list_golden(metric).items())


def _write_excluded(metric: Metric) -> str:
    """The cases whose golden values are not asserted, each reason once."""
    reasons = list_excluded(metric)
    cases = {reason: [_shorten(case) for case in reasons if reasons[case] == reason] for reason in reasons.values()}
    return "; ".join(f"{', '.join(of_reason)}: {reason}" for reason, of_reason in cases.items())


def _shorten(case: str) -> str:
    """The number of a case."""
    return case.partition("_")[0]


def _write_variant(variant: Variant) -> str:
    rows = [(f"`{column.name}`", column.printed, f"`{column.metric.name}`") for column in choose_columns([], variant.name)]
    left_out = f"Left out: {_escape(variant.left_out)}.\n" if variant.left_out else ""
    return "\n".join(
        (f"### {variant.name}\n", f"{_escape(variant.title)}.\n", _write_table(("Name", "Printed as", "Definition"), rows), left_out)
    )


def _write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_write_lines(head, rows)) + "\n"


def _write_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(_escape(cell) for cell in row)} |" for row in rows)


def _escape(text: str) -> str:
    """A text as Markdown shows it, character by character; what stands in backticks, and where a link leads, stays."""
    pieces = _KEPT.split(text)
    return "".join(piece if number % 2 else _SPECIAL.sub(r"\\\g<0>", piece) for number, piece in enumerate(pieces))


if __name__ == "__main__":
    main()
