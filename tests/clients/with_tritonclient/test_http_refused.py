"""tritonclient over HTTP: what is refused, and that the words say what was wrong and what is right."""

import numpy
import pytest
import tritonclient.http as triton
from http_calls import pair, refused, tensor
from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.http, concurrency=4) as client:
        yield client


def test_an_unknown_model_is_not_found(client):
    refused(lambda: client.infer("nobody", pair()), "404", "nobody")
    refused(lambda: client.get_model_metadata("nobody"), "404", "nobody")
    refused(lambda: client.get_model_config("nobody"), "404", "nobody")
    refused(lambda: client.get_inference_statistics("nobody"), "404", "nobody")


def test_an_unknown_version_is_not_found(client):
    refused(lambda: client.infer("simple", pair(), model_version="77"), "404", "77")
    refused(lambda: client.get_model_metadata("simple", "77"), "404", "77")
    refused(lambda: client.get_model_config("simple", "77"), "404", "77")


def test_a_version_that_is_no_number_is_refused(client):
    with pytest.raises(InferenceServerException) as caught:
        client.infer("simple", pair(), model_version="latest")
    assert caught.value.status() in ("400", "404")


@pytest.mark.parametrize("binary", [True, False])
def test_a_missing_input_is_named(client, binary):
    refused(lambda: client.infer("simple", pair(binary=binary)[:1]), "400", "INPUT1")


@pytest.mark.parametrize("binary", [True, False])
def test_an_unknown_input_is_named(client, binary):
    extra = tensor("INPUT2", numpy.zeros((2, 16), dtype=numpy.int32), binary)
    refused(lambda: client.infer("simple", [*pair(binary=binary), extra]), "400", "INPUT2")


def test_an_input_that_is_there_twice_is_refused(client):
    refused(lambda: client.infer("simple", [*pair(), pair()[0]]), "400", "INPUT0")


def test_an_unknown_output_is_named(client):
    wanted = [triton.InferRequestedOutput("OUTPUT9")]
    refused(lambda: client.infer("simple", pair(), outputs=wanted), "400", "OUTPUT9")


@pytest.mark.parametrize("binary", [True, False])
def test_a_wrong_shape_is_refused_with_the_right_one(client, binary):
    wrong = [tensor("INPUT0", numpy.zeros((2, 15), dtype=numpy.int32), binary), pair(binary=binary)[1]]
    refused(lambda: client.infer("simple", wrong), "400", "INPUT0", "16")
    flat = numpy.zeros(16, dtype=numpy.int32)
    wrong = [tensor("INPUT0", flat, binary), tensor("INPUT1", flat, binary)]
    refused(lambda: client.infer("simple", wrong), "400", "INPUT0")


def test_inputs_of_different_rows_are_refused(client):
    wrong = [pair(rows=2)[0], pair(rows=3)[1]]
    refused(lambda: client.infer("simple", wrong), "400", "INPUT")


@pytest.mark.parametrize("binary", [True, False])
def test_a_wrong_datatype_is_refused_with_the_right_one(client, binary):
    wrong = [tensor("INPUT0", numpy.zeros((2, 16), dtype=numpy.int64), binary), pair(binary=binary)[1]]
    refused(lambda: client.infer("simple", wrong), "400", "INPUT0", "INT32", "INT64")


def test_data_that_is_shorter_than_its_shape_is_refused(client):
    given = pair()
    given[0]._raw_data = given[0]._raw_data[:-1]
    given[0]._parameters["binary_data_size"] -= 1
    refused(lambda: client.infer("simple", given), "400", "INPUT0")
    given = pair(binary=False)
    given[0]._data = given[0]._data[:-1]
    refused(lambda: client.infer("simple", given), "400", "INPUT0")


def test_a_body_that_ends_before_its_tensors_is_refused(client):
    given = pair()
    given[1]._raw_data = given[1]._raw_data[:-4]
    refused(lambda: client.infer("simple", given), "400")


def test_strings_whose_lengths_lie_are_refused(client):
    array = numpy.array([["abc"]], dtype=numpy.object_)
    for lie in (b"\xff\xff\xff\xff" + b"abc", b"\x04\0\0\0abc", b"\x02\0\0\0abc", b"\0\0"):
        given = tensor("x", array)
        given._raw_data = lie
        given._parameters["binary_data_size"] = len(lie)
        refused(lambda: client.infer("identity_bytes", [given]), "400", "x")


@pytest.mark.parametrize("value", [-1, 256, 1.5, "1", None, True])
def test_json_that_does_not_fit_the_datatype_is_refused(client, value):
    given = tensor("x", numpy.zeros((1, 1), dtype=numpy.uint8), binary=False)
    given._data = [value]
    refused(lambda: client.infer("identity_uint8", [given]), "400", "x")


def test_a_run_that_fails_says_so_and_the_next_one_works(client):
    picture = numpy.zeros((1, 3, 32, 32), dtype=numpy.float32)
    picture[0, 0, 0, 0] = 2
    with pytest.raises(InferenceServerException) as caught:
        client.infer("fail", [tensor("image", picture)])
    assert caught.value.status().startswith("5") or caught.value.status() == "400", caught.value
    picture[0, 0, 0, 0] = 0
    assert client.infer("fail", [tensor("image", picture)]).as_numpy("scores").shape == (1, 4)


def test_shared_memory_is_refused_in_words(client):
    given = triton.InferInput("x", [1, 4], "FP32")
    given.set_shared_memory("region", 16)
    refused(lambda: client.infer("identity_fp32", [given]), "400", "shared memory")
