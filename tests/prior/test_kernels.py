"""Compiled kernels are kept while what they share is unchanged, and forgotten when it is newer."""

import os
from pathlib import Path

import pytest

from prior.kernels import forget_stale


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a shared file, and kernels that were compiled before and after it was changed."""
    for name in ("statistics/windows.py", "metrics/vif.py", "metrics/__pycache__/vif.old.nbi", "metrics/__pycache__/vif.new.nbi"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, second in (("statistics/windows.py", 200), ("metrics/vif.py", 400), ("metrics/__pycache__/vif.old.nbi", 100)):
        os.utime(tmp_path / name, (second, second))
    return tmp_path


def test_kernels_older_than_a_shared_file_are_forgotten(package: Path) -> None:
    assert forget_stale(package) == 1
    assert [path.name for path in package.rglob("*.nbi")] == ["vif.new.nbi"]
    assert forget_stale(package) == 0


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert forget_stale(tmp_path / "nowhere") == 0
