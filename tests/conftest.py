"""What several tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no clock", deadline=None)  # a busy machine is no failure
settings.load_profile("no clock")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pairs and golden values beside the checkout; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the folder `shared` (real pairs and golden values) beside the checkout")
    return SHARED
