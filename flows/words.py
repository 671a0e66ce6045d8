"""Words of sentences: counted nouns, and the first of many names."""

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """A number of things: `1 picture`, `2 pictures`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_first(names: Sequence[str], most: int = 3, comma: str = ", ") -> str:
    """The first few names, and a sign that there are more."""
    return comma.join(names[:most]) + (" …" if len(names) > most else "")
