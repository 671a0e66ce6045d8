"""The table of an evaluation as LaTeX."""

from collections.abc import Sequence

from flows.columns import Column
from flows.evaluation_table import RANK, Entry, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {one: f"\\{one}" for one in "&%$#_{}"}


def to_latex(table: Table, variant: str = "") -> str:
    """A table for a paper: booktabs, the best in bold, the second best underlined, an arrow for each metric's direction.

    Comments say what was judged: the variant, and every metric's definition.
    """
    names = [*(column.name for column in table.columns), RANK]
    heads = [*(_write_head(column) for column in table.columns), rf"{RANK} $\downarrow$"]
    methods = [escape_latex(method) for method in table.methods]
    if table.upright:
        head = ["Metric", *methods]
        body = [[text, *(_mark(table.entries[one, name]) for one in table.methods)] for text, name in zip(heads, names, strict=True)]
    else:
        head = ["Method", *heads]
        body = [[text, *(_mark(table.entries[one, name]) for name in names)] for text, one in zip(methods, table.methods, strict=True)]
    lines = [
        *_write_comments(table, variant),
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        _write_row(head),
        r"\midrule",
        *map(_write_row, body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """A text as LaTeX sets it, character by character; what cannot be seen is a space."""
    return "".join(_SPECIAL.get(one, one if one.isprintable() else " ") for one in text)


def _write_comments(table: Table, variant: str) -> list[str]:
    sentences = [
        r"needs \usepackage{booktabs}; mean $\pm$ standard deviation over the pairs on which a metric is defined and finite, "
        "in parentheses over how many where not over all",
        *table.remarks,
        *([f"variant {variant}"] if variant else []),
        *(f"{one.label}: {one.metric.name}, version {one.metric.version}: {one.metric.definition}" for one in table.columns),
    ]
    return [f"% {' '.join(sentence.split())}" for sentence in sentences]


def _write_row(cells: Sequence[str]) -> str:
    # what begins with one of these would be an argument of the command before it: of \\, or of a rule
    first = "{}" if cells[0].lstrip().startswith(("[", "*")) else ""
    return first + " & ".join(cells) + r" \\"


def _mark(entry: Entry) -> str:
    number = entry.mean.replace("–", "--") if entry.mean == "–" else entry.mean.replace("-", "$-$")
    marked = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}.get(entry.place, number)
    spread = rf" $\pm$ {entry.deviation}" if entry.deviation else ""
    return marked + spread + (f" ({entry.count})" if entry.count else "")


def _write_head(column: Column) -> str:
    arrow = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "zero": r"$\to 0$"}[column.metric.better]
    passport = column.metric.passport
    return f"{escape_latex(column.label) if column.printed or not passport else passport.symbol} {arrow}"
