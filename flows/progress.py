"""Progress: what a long run tells while it runs, on a terminal as a bar with the time left, elsewhere not at all."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Report = Callable[[str, int, int], None]
"""`(what, done, total)`, called from the thread that waits for the workers."""


def stay_silent(what: str, done: int, total: int) -> None:
    """A report that goes nowhere."""


@contextlib.contextmanager
def show_progress() -> Iterator[Report]:
    """A report that draws bars on stderr while the block runs, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield stay_silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield report
