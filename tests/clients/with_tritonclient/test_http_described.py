"""tritonclient over HTTP: what the server and its models say of themselves."""

import numpy
import pytest
import tritonclient.http as triton
from http_calls import tensor
from tritonclient.utils import InferenceServerException

import values


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.http, concurrency=4) as client:
        yield client


def test_the_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_the_server_says_what_it_is(client):
    said = client.get_server_metadata()
    assert said["name"] and said["version"]
    assert {"binary_tensor_data", "classification", "model_repository", "statistics"} <= set(
        said["extensions"]
    )


def test_a_model_is_ready_also_by_its_version(client):
    assert client.is_model_ready("simple")
    version = client.get_model_metadata("simple")["versions"][-1]
    assert client.is_model_ready("simple", version)
    assert not client.is_model_ready("simple", "77")
    assert not client.is_model_ready("nobody")


def test_a_model_says_what_it_takes_and_gives(client):
    said = client.get_model_metadata("simple")
    assert said["name"] == "simple" and said["platform"]
    assert [(t["name"], t["datatype"], t["shape"]) for t in said["inputs"]] == [
        ("INPUT0", "INT32", [-1, 16]),
        ("INPUT1", "INT32", [-1, 16]),
    ]
    assert [(t["name"], t["datatype"], t["shape"]) for t in said["outputs"]] == [
        ("OUTPUT0", "INT32", [-1, 16]),
        ("OUTPUT1", "INT32", [-1, 16]),
    ]


@pytest.mark.parametrize("datatype", values.DATATYPES)
def test_a_model_says_its_datatype(client, datatype):
    said = client.get_model_metadata(f"identity_{datatype.lower()}")
    assert said["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, -1]}]


def test_a_model_without_dimensions_says_so(client):
    assert client.get_model_metadata("scalar")["inputs"][0]["shape"] == []


def test_the_config_of_a_model_that_batches_leaves_the_rows_out(client):
    said = client.get_model_config("simple")
    assert said["name"] == "simple"
    assert said["max_batch_size"] > 1
    assert [(t["name"], t["data_type"], [int(dim) for dim in t["dims"]]) for t in said["input"]] == [
        ("INPUT0", "TYPE_INT32", [16]),
        ("INPUT1", "TYPE_INT32", [16]),
    ]
    assert {t["name"] for t in said["output"]} == {"OUTPUT0", "OUTPUT1"}


def test_the_config_of_a_model_that_does_not_batch_has_every_dimension(client):
    said = client.get_model_config("fixed")
    assert said.get("max_batch_size", 0) == 0
    assert [int(dim) for dim in said["input"][0]["dims"]] == [2, 3]


def test_strings_have_their_own_name_in_a_config(client):
    assert client.get_model_config("join")["input"][0]["data_type"] == "TYPE_STRING"


def test_statistics_count_what_was_asked(client):
    def counted():
        (said,) = client.get_inference_statistics("line")["model_stats"]
        return said

    before = counted()
    for rows in (2, 3):
        client.infer("line", [tensor("x", numpy.ones(rows, dtype=numpy.float32))])
    after = counted()
    assert after["name"] == "line" and after["version"]
    assert after["inference_count"] - before["inference_count"] == 5
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["last_inference"] >= before["last_inference"] and after["last_inference"] > 0
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        new, old = after["inference_stats"][part], before["inference_stats"][part]
        assert new["count"] > old["count"], part
        assert new["ns"] >= old["ns"], part
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 2


def test_statistics_of_all_models_name_each(client):
    said = client.get_inference_statistics()["model_stats"]
    assert {"simple", "line", "identity_fp32"} <= {one["name"] for one in said}


def test_what_fails_is_counted_as_failed(client):
    def failed():
        return client.get_inference_statistics("fail")["model_stats"][0]["inference_stats"]["fail"]["count"]

    before = failed()
    picture = numpy.zeros((1, 3, 32, 32), dtype=numpy.float32)
    picture[0, 0, 0, 0] = 2
    with pytest.raises(InferenceServerException):
        client.infer("fail", [tensor("image", picture)])
    assert failed() == before + 1
