"""tritonclient over HTTP: every datatype, in binary (its default) and in JSON, and what can be asked for."""

import gzip
import json
import zlib

import numpy
import pytest
import tritonclient.http as triton
from http_calls import check_pair, pair, refused, tensor

import values


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.http, concurrency=4) as client:
        yield client


# --- Tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", values.DATATYPES)
def test_every_datatype_comes_back_to_the_bit_in_binary(client, datatype):
    array = values.sample(datatype)
    result = client.infer(f"identity_{datatype.lower()}", [tensor("x", array)])
    assert result.get_output("y")["datatype"] == datatype
    assert values.bits(result.as_numpy("y")) == values.bits(array)


@pytest.mark.parametrize("datatype", values.IN_JSON)
def test_every_datatype_comes_back_in_json(client, datatype):
    array = values.sample(datatype, finite=True)
    wanted = triton.InferRequestedOutput("y", binary_data=False)
    result = client.infer(
        f"identity_{datatype.lower()}", [tensor("x", array, binary=False)], outputs=[wanted]
    )
    assert "data" in result.get_output("y")
    assert values.bits(result.as_numpy("y")) == values.bits(array)


@pytest.mark.parametrize("datatype", values.IN_JSON)
def test_binary_in_and_json_out_can_be_mixed(client, datatype):
    array = values.sample(datatype, finite=True)
    name = f"identity_{datatype.lower()}"
    wanted = triton.InferRequestedOutput("y", binary_data=False)
    from_binary = client.infer(name, [tensor("x", array)], outputs=[wanted])
    assert values.bits(from_binary.as_numpy("y")) == values.bits(array)
    wanted = triton.InferRequestedOutput("y", binary_data=True)
    to_binary = client.infer(name, [tensor("x", array, binary=False)], outputs=[wanted])
    assert values.bits(to_binary.as_numpy("y")) == values.bits(array)


def test_bf16_has_no_words_in_json(client):
    wanted = triton.InferRequestedOutput("y", binary_data=False)
    array = values.sample("BF16", finite=True)
    refused(lambda: client.infer("identity_bf16", [tensor("x", array)], outputs=[wanted]), "400", "BF16")


@pytest.mark.parametrize("datatype", values.DATATYPES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_tensors_without_elements_keep_their_shape(client, datatype, shape):
    array = numpy.empty(shape, dtype=values.NUMPY[datatype])
    result = client.infer(f"identity_{datatype.lower()}", [tensor("x", array)])
    assert result.get_output("y")["shape"] == list(shape)
    assert result.as_numpy("y").shape == shape


@pytest.mark.parametrize("datatype", values.IN_JSON)
def test_tensors_without_elements_go_through_json(client, datatype):
    array = numpy.empty((2, 0), dtype=values.NUMPY[datatype])
    wanted = triton.InferRequestedOutput("y", binary_data=False)
    result = client.infer(
        f"identity_{datatype.lower()}", [tensor("x", array, binary=False)], outputs=[wanted]
    )
    assert result.as_numpy("y").shape == (2, 0)


@pytest.mark.parametrize("binary", [True, False])
def test_a_tensor_without_dimensions_is_one_number(client, binary):
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    result = client.infer(
        "scalar", [tensor("x", numpy.array(41.5, dtype=numpy.float32), binary)], outputs=[wanted]
    )
    assert result.get_output("y")["shape"] == []
    assert result.as_numpy("y").shape == () and result.as_numpy("y") == 42.5


def test_several_inputs_and_outputs_of_several_types(client):
    numbers = numpy.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=numpy.float32)
    flags = numpy.array([[True, False, True, False], [False] * 4])
    words = numpy.array([["one"], ["two"]], dtype=numpy.object_)
    for binary in ((True, True, True), (False, True, False), (False, False, False)):
        inputs = [
            tensor(name, array, one)
            for name, array, one in zip(("numbers", "flags", "words"), (numbers, flags, words), binary)
        ]
        # The order in which inputs are sent is the client's business.
        for given in (inputs, inputs[::-1]):
            result = client.infer("mixed", given)
            numpy.testing.assert_array_equal(result.as_numpy("chosen"), numpy.where(flags, numbers, -numbers))
            assert result.as_numpy("best").tolist() == [[2], [0]]
            assert result.as_numpy("same").tolist() == [[b"one"], [b"two"]]


def test_strings_are_computed_with(client):
    left = numpy.array([["a", "ä"], ["", "x"]], dtype=numpy.object_)
    right = numpy.array([["b", "ö"], ["", "y"]], dtype=numpy.object_)
    result = client.infer("join", [tensor("left", left), tensor("right", right)])
    assert [text.decode() for text in result.as_numpy("joined").flatten()] == ["ab", "äö", "", "xy"]


def test_many_rows_at_once_are_one_answer(client):
    check_pair(client.infer("simple", pair(rows=1000)), rows=1000)


# --- What can be asked for -----------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_only_the_outputs_asked_for_come_back(client, binary):
    wanted = [triton.InferRequestedOutput("OUTPUT1", binary_data=binary)]
    result = client.infer("simple", pair(), outputs=wanted)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["OUTPUT1"]
    assert result.as_numpy("OUTPUT1")[0, 0] == -1


def test_each_output_comes_as_it_was_asked_for(client):
    wanted = [
        triton.InferRequestedOutput("OUTPUT1", binary_data=False),
        triton.InferRequestedOutput("OUTPUT0"),
    ]
    result = client.infer("simple", pair(), outputs=wanted)
    check_pair(result)
    assert "data" in result.get_output("OUTPUT1") and "data" not in result.get_output("OUTPUT0")
    assert result.get_output("OUTPUT0")["parameters"]["binary_data_size"] == 2 * 16 * 4


def test_answers_name_model_version_and_the_id_of_the_request(client):
    response = client.infer("simple", pair(), request_id="an id of mine").get_response()
    assert response["id"] == "an id of mine"
    assert response["model_name"] == "simple" and response["model_version"]
    assert "id" not in client.infer("simple", pair()).get_response()


def test_a_version_can_be_asked_for(client):
    version = client.get_model_metadata("simple")["versions"][-1]
    check_pair(client.infer("simple", pair(), model_version=version))


@pytest.mark.parametrize("binary", [True, False])
def test_classification_gives_the_best_with_their_labels(client, binary):
    scores = numpy.array([[0.1, 0.7, 0.15, 0.05], [0.4, 0.1, 0.2, 0.3]], dtype=numpy.float32)
    wanted = triton.InferRequestedOutput("scores", binary_data=binary, class_count=2)
    result = client.infer("classes", [tensor("x", scores)], outputs=[wanted])
    assert result.get_output("scores")["datatype"] == "BYTES"
    best = [
        [text.decode() if isinstance(text, bytes) else text for text in row]
        for row in result.as_numpy("scores")
    ]
    assert best == [["0.700000:1:dog", "0.150000:2:fox"], ["0.400000:0:cat", "0.300000:3:hen"]]


def test_classification_without_labels_and_of_more_than_there_is(client):
    numbers = numpy.array([[3, 1, 2]], dtype=numpy.float32)
    wanted = triton.InferRequestedOutput("y", class_count=10)
    result = client.infer("identity_fp32", [tensor("x", numbers)], outputs=[wanted])
    assert result.as_numpy("y").tolist() == [[b"3.000000:0", b"2.000000:2", b"1.000000:1"]]


def test_parameters_priority_and_timeout_are_taken(client):
    result = client.infer(
        "simple",
        pair(),
        priority=1,
        timeout=10_000_000,
        parameters={"text": "a", "number": 3, "flag": True, "fraction": 0.5},
    )
    check_pair(result)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_requests_and_answers_can_be_compressed(client, algorithm, binary):
    for request, response in ((algorithm, None), (None, algorithm), (algorithm, algorithm)):
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("OUTPUT0", "OUTPUT1")]
        result = client.infer(
            "simple",
            pair(rows=200, binary=binary),
            outputs=wanted,
            request_compression_algorithm=request,
            response_compression_algorithm=response,
        )
        check_pair(result, rows=200)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_answer_really_is(server, client, algorithm):
    body, size = client.generate_request_body(pair(rows=200))
    headers = {"Accept-Encoding": algorithm, "Inference-Header-Content-Length": str(size)}
    answer = client._client_stub.post("/v2/models/simple/infer", body=body, headers=headers)
    assert answer.get("Content-Encoding") == algorithm
    raw = bytes(answer.read())
    whole = gzip.decompress(raw) if algorithm == "gzip" else zlib.decompress(raw)
    length = int(answer.get("Inference-Header-Content-Length"))
    assert json.loads(whole[:length])["model_name"] == "simple"
    assert len(whole) == length + 2 * 200 * 16 * 4 > len(raw)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_damaged_compressed_body_is_refused(client, algorithm):
    headers = {"Content-Encoding": algorithm}
    answer = client._client_stub.post("/v2/models/simple/infer", body=b"no such thing", headers=headers)
    assert answer.status_code == 400
    assert json.loads(bytes(answer.read()))["error"]


def test_many_requests_at_once_get_their_own_answers(client):
    asked = []
    for number in range(64):
        array = numpy.full((1 + number % 3, 4), number, dtype=numpy.float32)
        asked.append((array, client.async_infer("identity_fp32", [tensor("x", array)])))
    for array, answer in asked:
        numpy.testing.assert_array_equal(answer.get_result(timeout=30).as_numpy("y"), array)


@pytest.mark.parametrize("datatype", values.DATATYPES)
def test_requests_that_are_stacked_get_their_own_rows_back(client, datatype):
    # The same width, so that they may share a run; different rows of different values.
    whole = values.sample(datatype, rows=5)
    asked = []
    for number in range(40):
        array = whole[number % 5 : number % 5 + 1 + number % 3]
        asked.append((array, client.async_infer(f"identity_{datatype.lower()}", [tensor("x", array)])))
    for array, answer in asked:
        assert values.bits(answer.get_result(timeout=30).as_numpy("y")) == values.bits(array)
