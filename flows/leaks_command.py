"""The command `leaks`: which pairs of a snapshot also stand in a folder. Part of `flows.command_line`, and read like it."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from flows.options import Format, RowFormat, Store
from flows.progress import Report, stay_silent
from storage.errors import InputError

if TYPE_CHECKING:
    from prior.leaks import KnownPair, Leak, Sight
    from storage.schema import PairRow
    from storage.snapshot import Snapshot

T = TypeVar("T")
R = TypeVar("R")

LEAKS_FOUND = 1
"""Exit status where a pair of the snapshot stands in the folder."""

TOLD = 5
"""Pictures that are named where some could not be compared."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found.

    Attributes:
        leaks: the worst first.
        pairs: how many were asked about, by split.
        pictures: how many of the folder were compared.
        passed: sentences about those that were not.
    """

    leaks: tuple["Leak", ...]
    pairs: Counter[str]
    pictures: int
    passed: tuple[str, ...]


def leaks(
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A tag, a branch or a snapshot id.")],
    against: Annotated[Path, typer.Option(metavar="DIR", help="The folder, such as a public test set; all below it counts.")],
    store: Store = "store",
    split: Annotated[str | None, typer.Option(help="Pairs of these splits alone, with commas: train, val, test.")] = None,
    form: RowFormat = Format.table,
) -> None:
    """Find pairs that also stand in another folder, in whatever size, format or quality; exit code 1 where there are any."""
    from flows.output import print_rows, say
    from flows.progress import show_progress
    from prior.leaks import Leak
    from storage.snapshot import Snapshot

    splits = _parse_splits(split)
    with show_progress() as report:
        search = find_leaks(Snapshot(store, snapshot), against, splits, report)
    columns = [one.name for one in fields(Leak)]
    print_rows([{name: getattr(leak, name) for name in columns} for leak in search.leaks], columns, form)
    for sentence in (*search.passed[:TOLD], *_tell_rest(search), summarise(search, against)):
        say(sentence)
    if search.leaks:
        raise typer.Exit(LEAKS_FOUND)


def find_leaks(snapshot: "Snapshot", folder: Path, splits: Sequence[str] = (), report: Report = stay_silent) -> Search:
    """Compare the pairs of a snapshot that have a winner with every picture in a folder and below it.

    Args:
        snapshot: whose pairs.
        folder: what they are looked for in.
        splits: whose pairs alone; of all where empty.
        report: told of progress.

    Raises:
        InputError: no such folder, no picture in it that can be compared, or no pair in these splits.
        StoreError: an image of the snapshot is lost.
    """
    from prior.leaks import find_pictures, find_suspects, judge, rank
    from prior.pictures import show_path

    found = find_pictures(folder)
    rows = _list_pairs(snapshot, splits)
    known = list(_do_all(functools.partial(_know, snapshot), rows, "reading pairs", report))
    unreadable: list[str] = []
    seen = _do_all(functools.partial(_try_look, folder=folder), found.pictures, "comparing pictures", report)
    suspects = find_suspects(known, _keep_sights(seen, unreadable))
    compared = len(found.pictures) - len(unreadable)
    if not compared:
        raise InputError(f"no picture in {show_path(folder)} can be compared; the first: {unreadable[0]}")

    def confirm(row: "PairRow") -> "list[Leak]":
        return judge(row, snapshot.pictures(row.pair_id), suspects[row.pair_id])

    suspected = [row for row in rows if row.pair_id in suspects]
    confirmed = _do_all(confirm, suspected, "comparing what is near", report)
    leaks = sorted((leak for one in confirmed for leak in one), key=rank)
    return Search(tuple(leaks), Counter(row.split for row in rows), compared, (*found.passed, *unreadable))


def summarise(search: Search, folder: Path) -> str:
    """How many pairs of which split leak, of how many, in one sentence."""
    from prior.pictures import show_path

    among = f"among the {search.pictures} pictures in {show_path(folder)}"
    total = search.pairs.total()
    if not search.leaks:
        return f"none of {total} pairs ({_count(search.pairs)}) stands {among}"
    splits = {leak.pair_id: leak.split for leak in search.leaks}
    exact = len({leak.pair_id for leak in search.leaks if leak.exact})
    found = Counter(splits.values())
    by_split = ", ".join(f"{name or 'no split'} {found[name]} of {search.pairs[name]}" for name in sorted(search.pairs))
    return f"{len(splits)} of {total} pairs also stand {among}: {by_split}; {exact} of them with the very same file"


def _parse_splits(text: str | None) -> tuple[str, ...]:
    from storage.schema import SPLITS

    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise InputError(f"split {unknown[0]!r} is none of {', '.join(SPLITS)}; give some of these, with commas")
    return names


def _list_pairs(snapshot: "Snapshot", splits: Sequence[str]) -> "list[PairRow]":
    """The pairs that somebody who reads the snapshot is given: those that have a winner."""
    from storage.tables import to_pair_rows

    held = set(snapshot.table("selections", ["pair_id"])["pair_id"].to_pylist())
    rows = [row for row in to_pair_rows(snapshot.table("pairs")) if row.pair_id in held and (not splits or row.split in splits)]
    if not rows:
        named = f" of split {' or '.join(splits)}" if splits else ""
        raise InputError(f"snapshot {snapshot.id} has no pair{named} with a winner; `fusion-prior pairs` lists every pair and its split")
    return rows


def _know(snapshot: "Snapshot", row: "PairRow") -> "KnownPair":
    from prior.leaks import know

    return know(row, snapshot.pictures(row.pair_id))


def _try_look(path: Path, folder: Path) -> "Sight | str":
    """A picture of the folder, or why it cannot be compared."""
    from prior.leaks import look

    try:
        return look(path, folder)
    except InputError as error:
        return str(error)


def _keep_sights(seen: "Iterator[Sight | str]", unreadable: list[str]) -> "Iterator[Sight]":
    """What was seen; the sentences about the others are added to `unreadable`."""
    for one in seen:
        if isinstance(one, str):
            unreadable.append(one)
        else:
            yield one


def _do_all(function: Callable[[T], R], tasks: Sequence[T], what: str, report: Report) -> Iterator[R]:
    """`function` of every task, in their order, some at once: reading and decoding leave the interpreter free."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for number, outcome in enumerate(pool.map(function, tasks), 1):
            report(what, number, len(tasks))
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)  # else an interrupt would wait for all of them


def _tell_rest(search: Search) -> tuple[str, ...]:
    rest = len(search.passed) - TOLD
    return (f"… and {rest} more that could not be compared",) if rest > 0 else ()


def _count(pairs: Counter[str]) -> str:
    return ", ".join(f"{name or 'no split'} {number}" for name, number in sorted(pairs.items()))
