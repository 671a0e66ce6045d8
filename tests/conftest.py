"""What several tests share: the folder of real pairs, and an S3 server on loopback; and the options of the survival tests."""

import importlib.util
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("no clock", deadline=None)  # a busy machine is no failure
settings.load_profile("no clock")

SHARED = Path(__file__).resolve().parents[2] / "shared"
BUCKET = "prior"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much `make test-survival` asks for, and how one of its failures is repeated."""
    group = parser.getgroup("survival")
    group.addoption("--kills", type=int, default=3, help="Builds that are killed at some moment.")
    group.addoption("--commit-rounds", type=int, default=5, help="Commits of each of the processes that commit at once.")
    group.addoption("--moments", type=int, default=None, help="Seed of the moments, as a failed test has told it.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what waits longest, then what compiles the kernels that all others find ready."""
    first = ("tests/flows/test_operations.py", "tests/prior/", "")
    items.sort(key=lambda item: next(rank for rank, start in enumerate(first) if item.nodeid.startswith(start)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pairs and golden values beside the checkout; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the folder `shared` (real pairs and golden values) beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def textbook() -> Mapping[str, Callable[[Any, Any, Any], float]]:
    """The metrics once more by their names, plain and slow: what the modules of `tests/textbook` say."""
    found: dict[str, Callable[[Any, Any, Any], float]] = {}
    for path in sorted((Path(__file__).parent / "textbook").glob("*.py")):
        # by its path: the name `tests` belongs to a package that pyiqa installs
        spec = importlib.util.spec_from_file_location(f"textbook_{path.stem}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.METRICS
    return found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The host and port of an S3 server with one bucket."""
    import pyarrow.fs as pafs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    remote = pafs.S3FileSystem(
        access_key="test",
        secret_key="test",
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    remote.create_dir(BUCKET)
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def s3_address(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store that nobody else uses on an S3 server, with the credentials in the environment."""
    return _prepare_s3(s3_server, monkeypatch)


@pytest.fixture(scope="module")
def s3_address_of_module(s3_server: str) -> Iterator[str]:
    """The same for all tests of a module, and for the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        yield _prepare_s3(s3_server, patch)


def _prepare_s3(server: str, patch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "test")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/store?endpoint_override={server}&scheme=http&region=us-east-1"
