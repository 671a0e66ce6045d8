"""Tasks on a few processes: every answer comes back, an error is raised here, and a death costs its task alone."""

import math
import os
import time
from pathlib import Path

import psutil
import pytest

from flows.processes import open_crew


def test_every_task_has_its_answer_and_processes_are_used_again() -> None:
    with open_crew(2) as crew:
        assert dict(crew.run(math.sqrt, [1, 4, 9, 16])) == {1: 1, 4: 2, 9: 3, 16: 4}
        started = {child.pid for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())}
        assert dict(crew.run(math.pow, [1, 2, 3], 2)) == {1: 2, 2: 4, 3: 8}
        assert {child.pid for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())} == started
    assert not [pid for pid in started if psutil.pid_exists(pid)]


def test_no_task_starts_no_process() -> None:
    with open_crew(2) as crew:
        assert list(crew.run(math.sqrt, [])) == []
        assert crew._members == []


def test_an_error_in_a_process_is_raised_here() -> None:
    with open_crew(1) as crew, pytest.raises(ValueError, match="math domain"):
        list(crew.run(math.sqrt, [-1]))


def test_a_task_that_ends_its_process_twice_has_no_answer_and_the_others_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # the processes find the module there, too
    from troublesome_work import try_task

    with open_crew(2) as crew:
        answers = dict(crew.run(try_task, ["fine", "deadly", "deadly once", "fine too"], str(tmp_path)))
    assert answers == {"fine": "fine!", "deadly": None, "deadly once": "deadly once!", "fine too": "fine too!"}
    assert len(list(tmp_path.iterdir())) == 2 + 1  # deaths


def test_leaving_the_block_ends_what_runs() -> None:
    with pytest.raises(KeyboardInterrupt), open_crew(2) as crew:
        for _ in crew.run(time.sleep, [0.0, 600.0]):
            raise KeyboardInterrupt
    assert crew._members and not any(member.process.is_alive() for member in crew._members)


def test_processes_leave_the_environment_alone() -> None:
    before = dict(os.environ)
    with open_crew(1) as crew:
        assert dict(crew.run(os.getenv, ["OMP_NUM_THREADS"])) == {"OMP_NUM_THREADS": "1"}
    assert dict(os.environ) == before
