"""How strong the live methods are together: the best of them per pair beside the best published candidate, on six public sets.

Usage: python benchmarks/bench_strength.py [--pairs 2] [--methods standard|task] [--without NAMES] [--store DIR] [--sheets DIR]
    [--shared DIR] [--workers 2]
The store is kept: a second run evaluates only what has changed. `--pairs 0` takes all 105 pairs. With `--sheets` two sets more are built,
of which there are no published results: they are there to be looked at.
"""

import argparse
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from flows.build import build
from flows.cluster import open_client
from flows.contribution import CRITERIA, find_contributions
from flows.method_commands import title_pools, to_matrix_rows, to_pool_rows
from flows.options import split_names
from flows.output import print_rows
from flows.progress import show_progress
from flows.recipe import Recipe, make_recipe
from flows.sheet import draw_sheet
from prior.criterion import parse_criterion
from prior.evaluate import STANDARD_METRICS, find_metrics, prepare, score
from prior.pictures import write_png
from storage.snapshot import Snapshot

SHARED = Path(__file__).resolve().parents[2] / "shared"
SETS = {
    "vifb": ("infrared-visible", "ir", "vis"),
    "tno": ("infrared-visible", "ir", "vis"),
    "roadscene": ("infrared-visible", "ir", "vis"),
    "lytro": ("multi-focus", "a", "b"),
    "harvard_mri_ct": ("medical", "mri", "ct"),
    "harvard_mri_pet": ("medical", "mri", "pet"),
    "msrs": ("infrared-visible", "ir", "vis"),
    "mefb": ("multi-exposure", "a", "b"),
}
EVERYTHING = 100  # candidates on a sheet


def main() -> None:
    """Build, print the tables, draw the sheets."""
    parser = argparse.ArgumentParser(description="The best live candidate of each pair beside the best published one.")
    parser.add_argument("--pairs", type=int, default=2, help="pairs of each set, 0 for all that have published results")
    parser.add_argument("--methods", default="standard", help="methods and sets, with commas; task: for each set those of its task")
    parser.add_argument("--without", default="", help="methods that are left out of the pool, with commas")
    parser.add_argument("--store", default="bench-store", help="kept, so that a second run is short")
    parser.add_argument("--sheets", type=Path, help="folder for one sheet per set: the sources and every candidate of its first pair")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds data/vifb and the others")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    names = choose_sets(arguments.shared / "data", arguments.sheets)
    without = split_names(arguments.without)
    recipe = ask(arguments.shared / "data", names, arguments.pairs, arguments.methods.split(","))
    with open_client(arguments.workers) as client, show_progress() as report:
        build(recipe, arguments.store, client, report=report)
    snapshot = Snapshot(arguments.store)
    pools, contributions = find_contributions(snapshot, without)
    rows = to_pool_rows(pools)
    print_rows(rows, list(rows[0]), "table", title_pools(without))
    show_sources(snapshot)
    for criterion in CRITERIA:
        matrix = to_matrix_rows([one for one in contributions if one.criterion == criterion], names)
        print_rows(matrix, list(matrix[0])[1:], "table", f"Wins by {criterion}, and what the mean of the best loses without the method")
    if arguments.sheets:
        draw_sheets(snapshot, arguments.sheets)


def choose_sets(data: Path, sheets: Path | None) -> list[str]:
    """The sets that are there; those that nobody published results of where sheets are asked for."""
    names = [name for name in SETS if (data / name).is_dir() and (sheets or has_published(data / name))]
    if not names:
        raise SystemExit(f"{data} holds none of {', '.join(SETS)}; --shared names the folder above data/")
    return names


def has_published(folder: Path) -> bool:
    """Whether there are published results of a set."""
    return (folder / "fused").is_dir()


def ask(data: Path, names: list[str], pairs: int, methods: list[str]) -> Recipe:
    """A recipe for these sets; of those that have published results, without the pairs that nobody published results of."""
    sources: list[dict[str, Any]] = [ask_set(data / name) for name in names]
    exclude = [one for name in names for one in leave_out(data / name, pairs)]
    if methods == ["task"]:
        sources = [block | {"methods": [block["task"]]} for block in sources]
        methods = []
    return make_recipe({"source": sources, "methods": methods, "exclude": exclude, "criterion": "balanced"})


def ask_set(folder: Path) -> dict[str, str]:
    """A recipe's block for one set."""
    task, a, b = SETS[folder.name]
    published = {"published": str(folder / "fused")} if has_published(folder) else {}
    return {"name": folder.name, "task": task, "a": str(folder / a), "b": str(folder / b), **published}


def leave_out(folder: Path, pairs: int) -> Iterator[str]:
    """The ids of a set's pairs that are not among the first `pairs`, 0 for all, with published results.

    Of a set without any published results one complete pair is enough, unless more are asked for.
    """
    _, a, b = SETS[folder.name]
    first, second = ({path.stem for path in (folder / side).iterdir()} for side in (a, b))
    complete = first & second
    published = {path.stem for path in (folder / "fused").glob("*/*")}
    chosen = sorted(complete & published)[: pairs or None] if has_published(folder) else sorted(complete)[: pairs or 1]
    yield from (f"{folder.name}/{stem}" for stem in sorted(complete.difference(chosen)))


def show_sources(snapshot: Snapshot) -> None:
    """The mean values of the bare sources, which a criterion should not prefer to a fused image."""
    metrics = find_metrics(STANDARD_METRICS)
    values: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in snapshot.table("pairs", ["pair_id", "source", "status"]).to_pylist():
        if row["status"] != "ok":
            continue
        pictures = snapshot.pictures(row["pair_id"])
        scene = prepare(row["pair_id"], pictures["a"], pictures["b"])
        for criterion in CRITERIA:
            rule = parse_criterion(criterion)
            both = (rule.value(score(luma, scene, metrics)[0]) for luma in (scene.sources.a, scene.sources.b))
            values[criterion, row["source"]].append((next(both), next(both)))
    table = Table(title="The bare sources: mean values of a and b, and of the better one", title_justify="left")
    for column in ("criterion", "source", "a", "b", "better"):
        table.add_column(column, justify="left" if column in ("criterion", "source") else "right")
    for (criterion, source), pairs in values.items():
        means = (*map(statistics.fmean, zip(*pairs, strict=True)), statistics.fmean(map(max, pairs)))
        table.add_row(criterion, source, *(f"{mean:.4f}" for mean in means))
    Console().print(table)


def draw_sheets(snapshot: Snapshot, folder: Path) -> None:
    """One sheet per set: the sources and every candidate of its first pair."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        own = [pair_id for pair_id in snapshot.table("selections", ["pair_id"])["pair_id"].to_pylist() if pair_id.startswith(f"{name}/")]
        if own:
            write_png(folder / f"{name}.png", draw_sheet(snapshot, min(own), EVERYTHING))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
