"""tritonclient over HTTP: every call, every datatype, in binary (its default) and in JSON."""

import gzip
import json
import zlib

import numpy
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import values


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.http, concurrency=4) as client:
        yield client


def tensor(name: str, array: numpy.ndarray, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array, binary_data=binary)


def pair(rows: int = 2, binary: bool = True) -> list[triton.InferInput]:
    """Returns the inputs of `simple`."""
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    return [tensor("INPUT0", first, binary), tensor("INPUT1", numpy.ones_like(first), binary)]


def check_pair(result: triton.InferResult, rows: int = 2) -> None:
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT0"), first + 1)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT1"), first - 1)


def refused(call, status: str, *words: str) -> str:
    """Checks that a call is refused with this status in words that contain these; returns them."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert caught.value.status() == status, caught.value
    for word in words:
        assert word in caught.value.message(), caught.value
    return caught.value.message()


# --- What the server and its models say of themselves --------------------------------------------


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


# --- What is refused -----------------------------------------------------------------------------


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
