"""Words of sentences: counted nouns, and the first of many names."""

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """A number of things: `1 picture`, `2 pictures`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe_death(work: str) -> str:
    """Why there is no answer where a worker process died, and its successors too."""
    return f"{work} ended every process that tried (a crash, or too little memory); take the pair out, or use fewer workers"


def name_first(names: Sequence[str], most: int = 3, comma: str = ", ") -> str:
    """The first few names, and a sign that there are more."""
    return comma.join(names[:most]) + (" …" if len(names) > most else "")
