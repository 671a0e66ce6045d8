"""A build in a process of its own, with two workers: build_again.py STORE A B TAG.

It waits for a line before it begins, so that who kills it knows when that was.
"""

import sys

from flows.build import build
from flows.cluster import open_client
from flows.recipe import make_recipe

METHODS = ("average", "maximum", "tif", "laplacian_pyramid")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(store: str, a: str, b: str, tag: str) -> None:
    """Build by another criterion and with one method more than the snapshot that is there already."""
    recipe = make_recipe({"source": [{"a": a, "b": b}], "methods": METHODS, "criterion": "balanced", "keep": "all"})
    with open_client(workers=2) as client:
        say("ready")
        sys.stdin.readline()
        say(build(recipe, store, client, tag=tag).snapshot.id)


if __name__ == "__main__":
    main(*sys.argv[1:])
