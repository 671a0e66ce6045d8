"""The commands about a store's versions: snapshots, tag, branch, manifest and reselect."""

from typing import Annotated, Any

import typer

from flows.options import Format, IfHeldChoice, IfHeldOption, RowFormat, Scheduler, Store, TlsCa, TlsCert, TlsKey, Workers

Version = Annotated[str, typer.Argument(help="A tag, a branch or a snapshot id.")]


def snapshots(store: Store = "store", form: RowFormat = Format.table) -> None:
    """Every snapshot, the newest first: its names, what it holds, its mean value by its own criterion, and what it came from."""
    from flows.output import print_rows
    from flows.versions import describe_versions
    from storage.repository import open_store

    rows = describe_versions(open_store(store))
    columns = ("id", "names", "time", "pairs", "winners", "methods", "criterion", "mean value", "MB", "parent")
    print_rows(rows, columns, form)


def tag(
    name: Annotated[str, typer.Argument(help="The tag: letters, digits, '.', '_' and '-'.")],
    snapshot: Version = "main",
    store: Store = "store",
) -> None:
    """Name a snapshot for good: a tag never moves."""
    from flows.output import say
    from storage.repository import find_snapshot, open_store, tag_snapshot

    opened = open_store(store)
    found = find_snapshot(opened, snapshot)
    tag_snapshot(opened, name, found)
    say(f"tag {name} names snapshot {found}")


def branch(
    name: Annotated[str | None, typer.Argument(help="The branch to make or to move; without it all are listed.")] = None,
    snapshot: Annotated[str | None, typer.Argument(help="What it names from now on: a tag, a branch or a snapshot id.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the branch away; its snapshots must have other names.")] = False,
    store: Store = "store",
    form: RowFormat = Format.table,
) -> None:
    """List, make, move or delete branches; `branch main V1` goes back to V1."""
    from flows.output import print_rows, say
    from storage.errors import InputError
    from storage.history import delete_branch, list_branches, set_branch
    from storage.repository import open_store

    if delete and (name is None or snapshot is not None):
        raise InputError("--delete takes the name of one branch and no snapshot; write: fusion-prior branch NAME --delete")
    opened = open_store(store)
    if name is None:
        print_rows([{"branch": one, "snapshot": head} for one, head in list_branches(opened).items()], ("branch", "snapshot"), form)
    elif delete:
        delete_branch(opened, name)
        say(f"branch {name} is deleted")
    elif snapshot is None:
        raise InputError(f"what should branch {name!r} name? give a tag, a branch or a snapshot id after it, or --delete")
    else:
        before = set_branch(opened, name, snapshot)
        named = list_branches(opened)[name]
        say(f"branch {name} names snapshot {named}" + (f", before {before}" if before and before != named else ""))


def manifest(snapshot: Version = "main", store: Store = "store") -> None:
    """Print what made a snapshot, as JSON: recipe, criterion, versions, licences, counts, and which files hold its tables."""
    from flows.output import print_json
    from storage.snapshot import Snapshot

    found = Snapshot(store, snapshot)
    print_json({"snapshot": found.id, **found.manifest})


def reselect(
    criterion: Annotated[str, typer.Option(help='A profile, a rule, or a rule with a condition: "balanced where qabf > 0.4".')],
    origin: Annotated[str, typer.Option("--from", help="The snapshot whose scores are used: a tag, a branch or an id.")] = "main",
    store: Store = "store",
    tag: Annotated[str, typer.Option(help="A name for the new snapshot, for good.")] = "",
    workers: Workers = 0,
    scheduler: Scheduler = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    if_held: IfHeldChoice = IfHeldOption.wait,
) -> None:
    """Pick the winners again by another criterion, from the kept scores, as a new snapshot; the last line is its id."""
    from flows.changes import compare_winners
    from flows.output import print_line, print_summary, say
    from flows.progress import show_progress
    from flows.reselect import reselect as pick_again
    from flows.summary import summarise
    from storage.schema import check_tag_name
    from storage.snapshot import Snapshot

    if tag:
        check_tag_name(tag)
    before = Snapshot(store, origin)
    with show_progress() as report:

        def run(cut: Any) -> Any:
            from flows.build import run_in_turn
            from flows.cluster import make_tls, open_client

            with open_client(workers, scheduler, make_tls(tls_ca, tls_cert, tls_key)) as client:
                return run_in_turn(client, cut, report)

        outcome = pick_again(store, before.id, criterion, run, tag=tag, who="fusion-prior reselect", if_held=if_held.value)
    print_summary(summarise(outcome.snapshot), tag)
    say(f"compared with {before.id}: {compare_winners(before, outcome.snapshot)}")
    print_line(outcome.snapshot.id)
