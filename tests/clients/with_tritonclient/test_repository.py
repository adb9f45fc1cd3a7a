"""The model repository by tritonclient, over HTTP and gRPC: what lies there, loading, unloading.

Everything is done with both clients, in turn, against one server each time.
"""

import json
import queue
import shutil
import threading

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import graphs

EXPLICIT = 'models.workers = 1\nmodels.mode = "explicit"\nmodels.load = ["first"]\n'
# The folder is looked at often, so that what is changed in it is soon seen.
WATCH = 'models.workers = 1\nmodels.poll_every = "50ms"\n'


def two_models(folder) -> None:
    graphs.put_version(folder, "first", 1, graphs.times(1))
    graphs.put_version(folder, "second", 1, graphs.times(2))


class Http:
    """tritonclient's calls over HTTP, with the answers that tests compare as plain values."""

    missing = "404"

    def __init__(self, server):
        self.client = tritonclient.http.InferenceServerClient(server.http, network_timeout=90.0)

    def states(self) -> dict[str, str]:
        return {model["name"]: model.get("state", "") for model in self.client.get_model_repository_index()}

    def index(self) -> list[dict]:
        return self.client.get_model_repository_index()

    def versions(self, name: str) -> list[str]:
        return self.client.get_model_metadata(name)["versions"]

    def most(self, name: str) -> int:
        return self.client.get_model_config(name)["max_batch_size"]

    def ask(self, name: str, version: str = "") -> float:
        """Returns what a model of `graphs.times` multiplies by."""
        array = numpy.ones((1, 2), dtype=numpy.float32)
        given = tritonclient.http.InferInput("x", [1, 2], "FP32").set_data_from_numpy(array)
        return float(self.client.infer(name, [given], model_version=version).as_numpy("y")[0, 0])


class Grpc:
    """The same over gRPC."""

    missing = "StatusCode.NOT_FOUND"

    def __init__(self, server):
        self.client = tritonclient.grpc.InferenceServerClient(server.grpc)

    def states(self) -> dict[str, str]:
        return {model.name: model.state for model in self.client.get_model_repository_index().models}

    def index(self) -> list[dict]:
        return self.client.get_model_repository_index(as_json=True)["models"]

    def versions(self, name: str) -> list[str]:
        return list(self.client.get_model_metadata(name).versions)

    def most(self, name: str) -> int:
        return self.client.get_model_config(name).config.max_batch_size

    def ask(self, name: str, version: str = "") -> float:
        array = numpy.ones((1, 2), dtype=numpy.float32)
        given = tritonclient.grpc.InferInput("x", [1, 2], "FP32").set_data_from_numpy(array)
        result = self.client.infer(name, [given], model_version=version, client_timeout=60)
        return float(result.as_numpy("y")[0, 0])


@pytest.fixture(params=[Http, Grpc], ids=["http", "grpc"])
def kind(request):
    return request.param


def test_models_are_loaded_and_unloaded_when_that_is_asked_for(start, kind):
    server = start(two_models, EXPLICIT).until_ready("first")
    one = kind(server)
    states = one.states()
    assert states["first"] == "READY" and states["second"] != "READY"
    with pytest.raises(InferenceServerException):
        one.ask("second")
    one.client.load_model("second")
    assert one.states()["second"] == "READY"
    assert one.client.is_model_ready("second")
    assert one.ask("second") == 2
    one.client.unload_model("second")
    assert one.states()["second"] != "READY"
    with pytest.raises(InferenceServerException):
        one.ask("second")
    one.client.load_model("second")
    assert (one.ask("first"), one.ask("second")) == (1, 2)


def test_the_index_says_version_state_and_reason(start, kind):
    server = start(two_models, EXPLICIT).until_ready("first")
    entries = {entry["name"]: entry for entry in kind(server).index()}
    assert entries["first"]["version"] == "1" and entries["first"]["state"] == "READY"
    assert not entries["first"].get("reason")
    assert entries["second"].get("reason")


def test_a_model_that_does_not_lie_there_cannot_be_loaded(start, kind):
    one = kind(start(two_models, EXPLICIT).until_ready("first"))
    with pytest.raises(InferenceServerException) as caught:
        one.client.load_model("nobody")
    assert caught.value.status() == kind.missing
    assert "nobody" in caught.value.message()


def test_a_model_that_is_broken_cannot_be_loaded_and_says_why(start, kind):
    def write(folder):
        two_models(folder)
        graphs.put_version(folder, "broken", 1, b"no model at all")

    one = kind(start(write, EXPLICIT).until_ready("first"))
    with pytest.raises(InferenceServerException) as caught:
        one.client.load_model("broken")
    assert "broken" in caught.value.message()
    assert one.states()["broken"] != "READY"
    assert one.ask("first") == 1


def test_loading_again_takes_up_what_has_changed(start, kind):
    server = start(two_models, EXPLICIT).until_ready("first")
    one = kind(server)
    graphs.put_version(server.models, "first", 2, graphs.times(20))
    assert one.ask("first") == 1
    one.client.load_model("first")
    assert one.ask("first") == 20
    assert one.versions("first") == ["2"]


def test_a_config_given_with_the_order_wins(start, kind):
    one = kind(start(two_models, EXPLICIT).until_ready("first"))
    assert one.most("first") != 3
    one.client.load_model("first", config=json.dumps({"max_batch_size": 3}))
    assert one.most("first") == 3
    one.client.load_model("first")
    assert one.most("first") != 3


def test_files_given_with_the_order_are_refused(start, kind):
    one = kind(start(two_models, EXPLICIT).until_ready("first"))
    with pytest.raises(InferenceServerException) as caught:
        one.client.load_model("first", config="{}", files={"file:1/model.onnx": graphs.times(5)})
    assert caught.value.message()
    assert one.ask("first") == 1


def test_several_versions_serve_beside_each_other(start, kind):
    def write(folder):
        for version in (1, 2, 3):
            graphs.put_version(folder, "first", version, graphs.times(version))
        (folder / "first" / "config.pbtxt").write_text("version_policy: { specific: { versions: [1, 3] } }\n")

    one = kind(start(write).until_ready())
    assert sorted(one.versions("first")) == ["1", "3"]
    assert one.ask("first") == one.ask("first", "3") == 3
    assert one.ask("first", "1") == 1
    with pytest.raises(InferenceServerException) as caught:
        one.ask("first", "2")
    assert caught.value.status() == kind.missing


def test_a_new_version_takes_over_and_no_request_is_lost(start, kind):
    server = start(two_models, WATCH).until_ready()
    newest, seen, stop = queue.Queue(), [[], [], [], []], threading.Event()

    def load(answers: list) -> None:
        one = kind(server)
        while not stop.is_set():
            try:
                answers.append(one.ask("first"))
            except InferenceServerException as error:
                answers.append(error)
                return
            if [answers[-1]] != answers[-2:-1]:
                newest.put(answers[-1])

    clients = [threading.Thread(target=load, args=(answers,)) for answers in seen]
    for client in clients:
        client.start()
    try:
        for version in (2, 3, 4):
            graphs.put_version(server.models, "first", version, graphs.times(version))
            while newest.get(timeout=60) != version:
                assert all(client.is_alive() for client in clients), seen
    finally:
        stop.set()
        for client in clients:
            client.join(timeout=60)
    for answers in seen:
        # Nobody was refused, and nobody was answered by an older version after a newer one.
        assert not [answer for answer in answers if isinstance(answer, InferenceServerException)]
        assert answers == sorted(answers) and set(answers) <= {1, 2, 3, 4}


def test_a_new_version_that_fails_leaves_the_old_one_serving(start, kind):
    server = start(two_models, WATCH).until_ready()
    one = kind(server)
    graphs.put_version(server.models, "first", 2, b"no model at all")
    server.until(
        "the new version to have failed",
        lambda: any(e["version"] == "2" and e.get("reason") for e in one.index()),
    )
    assert one.ask("first") == 1
    assert one.versions("first") == ["1"] or one.client.is_model_ready("first", "1")


def test_a_model_that_is_taken_away_is_gone(start, kind):
    server = start(two_models, WATCH).until_ready()
    one = kind(server)
    shutil.rmtree(server.models / "second")
    server.until("the model to be gone", lambda: "second" not in server.names())
    with pytest.raises(InferenceServerException) as caught:
        one.ask("second")
    assert caught.value.status() == kind.missing
    assert one.ask("first") == 1
