"""What all tests of clients share: one server with all small models, and servers of their own."""

import itertools
from pathlib import Path

import pytest

import graphs
import served

# A worker for each of some 25 models is enough to keep two cores busy, and each needs little memory.
SETTINGS = """
models.workers = 1
memory.headroom = "128MiB"
"""


def pytest_addoption(parser):
    parser.addoption("--impetus", type=Path, default=served.binary(), help="the server under test")


@pytest.fixture(scope="session")
def impetus(request) -> Path:
    binary = request.config.getoption("--impetus").resolve()
    assert binary.exists(), f"{binary} is not there: cargo build --profile ci, or name one with --impetus"
    return binary


@pytest.fixture(scope="session")
def server(impetus, tmp_path_factory):
    """The server that most tests ask; none of them changes it."""
    scratch = tmp_path_factory.mktemp("shared")
    graphs.write_all(scratch / "models")
    with served.Server(impetus, scratch, SETTINGS) as running:
        yield running.until_ready()


@pytest.fixture
def start(impetus, tmp_path):
    """Starts servers that belong to one test: `start(write, settings)` has `write` fill the folder."""
    running, numbers = [], itertools.count()

    def begin(write, settings: str = "models.workers = 1\n") -> served.Server:
        scratch = tmp_path / str(next(numbers))
        own = served.Server(impetus, scratch, settings)
        write(own.models)
        running.append(own.__enter__())
        return own

    yield begin
    for own in running:
        own.__exit__()
