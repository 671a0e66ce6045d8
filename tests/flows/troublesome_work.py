"""Work for the tests of processes, which find it through the path."""

import os
import uuid
from pathlib import Path


def try_task(deaths: str, task: str) -> str:
    """Answers; a deadly task ends its process, with a note of it: always, or once."""
    noted = list(Path(deaths).glob("once-*"))
    if task == "deadly" or (task == "deadly once" and not noted):
        (Path(deaths) / f"{task.split()[-1]}-{uuid.uuid4().hex}").touch()
        os._exit(1)
    return f"{task}!"
