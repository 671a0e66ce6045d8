"""Runs commands of the command line one after the other in one process, each as if typed.

Every line that comes in is the JSON list of a command's words; every line that goes out is [exit code, what went to stdout, to stderr].
"""

import contextlib
import io
import json
import sys

from flows.command_line import main


def run(words: list[str]) -> tuple[int, str, str]:
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["fusion-prior", *words]
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
