"""A server with the bundled language model and a model for embeddings, and OpenAI's client for it."""

import shutil

import openai
import pytest

import served
import speaking

@pytest.fixture(scope="session")
def speaker(impetus, tmp_path_factory):
    """The server that most tests here ask; none of them changes it, and each leaves it idle."""
    scratch = tmp_path_factory.mktemp("speaker")
    own = served.Server(impetus, scratch, speaking.SETTINGS)
    speaking.write_chat(own.models)
    shutil.copytree(speaking.EMBEDDER, own.models / "embedder")
    with own as running:
        yield running.until_ready()


@pytest.fixture
def connect():
    """Makes clients of a server: `connect(server, **options)`. They never ask twice unless told to."""
    opened = []

    def begin(server: served.Server, **options) -> openai.OpenAI:
        client = openai.OpenAI(**speaking.options(server) | options)
        opened.append(client)
        return client

    yield begin
    for client in opened:
        client.close()


@pytest.fixture
def client(speaker, connect):
    return connect(speaker)


@pytest.fixture
def start_chat(start):
    """Starts servers with the bundled model that belong to one test."""
    return lambda settings="": start(speaking.write_chat, "models.workers = 1\n" + settings)


def pytest_terminal_summary(terminalreporter):
    """Says in how many of the goldens' places the server and the reference parted, and why."""
    for line in speaking.REMARKS:
        terminalreporter.write_line(line)
