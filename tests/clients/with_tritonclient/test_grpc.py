"""tritonclient over gRPC: every call, every datatype, futures, and asyncio."""

import asyncio
import queue

import grpc
import numpy
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import values

# Longest time for any one call.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def tensor(name: str, array: numpy.ndarray) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array)


def pair(rows: int = 2) -> list[triton.InferInput]:
    """Returns the inputs of `simple`."""
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    return [tensor("INPUT0", first), tensor("INPUT1", numpy.ones_like(first))]


def check_pair(result: triton.InferResult, rows: int = 2) -> None:
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT0"), first + 1)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT1"), first - 1)


def infer(client, model: str, inputs: list, **more) -> triton.InferResult:
    return client.infer(model, inputs, client_timeout=PATIENCE, **more)


def refused(call, status: str, *words: str) -> None:
    """Checks that a call is refused with this status in words that contain these."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert caught.value.status() == f"StatusCode.{status}", caught.value
    for word in words:
        assert word in caught.value.message(), caught.value


# --- What the server and its models say of themselves --------------------------------------------


def test_the_server_is_live_and_ready(client):
    assert client.is_server_live(client_timeout=PATIENCE)
    assert client.is_server_ready(client_timeout=PATIENCE)


def test_the_server_says_the_same_as_over_http(server, client):
    said = client.get_server_metadata(as_json=True, client_timeout=PATIENCE)
    http = server.get("/v2")
    assert said["name"] == http["name"] and said["version"] == http["version"]
    assert {"classification", "model_repository", "statistics"} <= set(said["extensions"])


def test_a_model_is_ready_also_by_its_version(client):
    assert client.is_model_ready("simple", client_timeout=PATIENCE)
    version = client.get_model_metadata("simple", client_timeout=PATIENCE).versions[-1]
    assert client.is_model_ready("simple", version, client_timeout=PATIENCE)


@pytest.mark.parametrize("model, version", [("nobody", ""), ("simple", "77")])
def test_a_model_that_is_not_there_is_not_ready(client, model, version):
    # Triton answers false; other servers answer NOT_FOUND. A client takes either for no.
    try:
        assert not client.is_model_ready(model, version, client_timeout=PATIENCE)
    except InferenceServerException as error:
        assert error.status() == "StatusCode.NOT_FOUND"


def test_a_model_says_what_it_takes_and_gives(client):
    said = client.get_model_metadata("simple", client_timeout=PATIENCE)
    assert said.name == "simple" and said.platform
    assert [(t.name, t.datatype, list(t.shape)) for t in said.inputs] == [
        ("INPUT0", "INT32", [-1, 16]),
        ("INPUT1", "INT32", [-1, 16]),
    ]
    assert [t.name for t in said.outputs] == ["OUTPUT0", "OUTPUT1"]


def test_the_config_of_a_model(client):
    said = client.get_model_config("simple", client_timeout=PATIENCE).config
    assert said.name == "simple" and said.max_batch_size > 1
    assert [(t.name, list(t.dims)) for t in said.input] == [("INPUT0", [16]), ("INPUT1", [16])]
    assert triton.model_config_pb2.DataType.Name(said.input[0].data_type) == "TYPE_INT32"
    fixed = client.get_model_config("fixed", client_timeout=PATIENCE).config
    assert fixed.max_batch_size == 0 and list(fixed.input[0].dims) == [2, 3]


def test_statistics_count_what_was_asked(client):
    def counted():
        (said,) = client.get_inference_statistics("join", client_timeout=PATIENCE).model_stats
        return said

    before = counted()
    text = numpy.array([["a"]] * 3, dtype=numpy.object_)
    infer(client, "join", [tensor("left", text), tensor("right", text)])
    after = counted()
    assert after.inference_count - before.inference_count == 3
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert {one.name for one in client.get_inference_statistics(client_timeout=PATIENCE).model_stats} >= {
        "join",
        "line",
    }


def test_the_repository_lists_what_is_served(client):
    listed = client.get_model_repository_index(client_timeout=PATIENCE).models
    assert {model.name: model.state for model in listed}["simple"] == "READY"


# --- Tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", values.DATATYPES)
def test_every_datatype_comes_back_to_the_bit(client, datatype):
    array = values.sample(datatype)
    result = infer(client, f"identity_{datatype.lower()}", [tensor("x", array)])
    assert result.get_output("y").datatype == datatype
    assert values.bits(result.as_numpy("y")) == values.bits(array)


@pytest.mark.parametrize("datatype", values.DATATYPES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_tensors_without_elements_keep_their_shape(client, datatype, shape):
    array = numpy.empty(shape, dtype=values.NUMPY[datatype])
    result = infer(client, f"identity_{datatype.lower()}", [tensor("x", array)])
    assert list(result.get_output("y").shape) == list(shape)
    assert result.as_numpy("y").shape == shape


def test_a_tensor_without_dimensions_is_one_number(client):
    result = infer(client, "scalar", [tensor("x", numpy.array(41.5, dtype=numpy.float32))])
    assert list(result.get_output("y").shape) == []
    assert result.as_numpy("y") == 42.5


def test_several_inputs_and_outputs_of_several_types(client):
    numbers = numpy.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=numpy.float32)
    flags = numpy.array([[True, False, True, False], [False] * 4])
    words = numpy.array([["one"], ["two"]], dtype=numpy.object_)
    inputs = [tensor("numbers", numbers), tensor("flags", flags), tensor("words", words)]
    for given in (inputs, inputs[::-1]):
        result = infer(client, "mixed", given)
        numpy.testing.assert_array_equal(result.as_numpy("chosen"), numpy.where(flags, numbers, -numbers))
        assert result.as_numpy("best").tolist() == [[2], [0]]
        assert result.as_numpy("same").tolist() == [[b"one"], [b"two"]]


CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def typed(datatype: str, array: numpy.ndarray, contents: list) -> service_pb2.ModelInferRequest:
    """Returns a request whose tensor is in typed fields and not in bytes."""
    request = service_pb2.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    given = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    getattr(given.contents, CONTENTS[datatype]).extend(contents)
    return request


def answered(response) -> numpy.ndarray:
    """Reads the output of an answer, wherever it stands in it."""
    output = response.outputs[0]
    kind = values.NUMPY[output.datatype]
    if response.raw_output_contents:
        return triton.InferResult(response).as_numpy(output.name)
    contents = getattr(output.contents, CONTENTS[output.datatype])
    return numpy.array(list(contents), dtype=kind).reshape(list(output.shape))


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents_are_taken(server, datatype):
    array = values.sample(datatype)
    contents = (
        [text.encode() for text in array.flatten()] if datatype == "BYTES" else array.flatten().tolist()
    )
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(typed(datatype, array, contents), timeout=PATIENCE)
        same = values.sample(datatype, finite=True)
        if datatype in values.FLOATS:
            # A NaN loses its payload on its way through Python's float; everything else stays.
            numpy.testing.assert_array_equal(answered(response), array)
            contents = same.flatten().tolist()
            response = stub.ModelInfer(typed(datatype, same, contents), timeout=PATIENCE)
        assert values.bits(answered(response)) == values.bits(same)


@pytest.mark.parametrize("datatype, contents", [("UINT8", [256]), ("INT8", [-129]), ("INT16", [40000])])
def test_typed_contents_that_do_not_fit_the_datatype_are_refused(server, datatype, contents):
    request = typed(datatype, numpy.zeros((1, 1)), contents)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# --- What can be asked for -----------------------------------------------------------------------


def test_only_the_outputs_asked_for_come_back_in_the_order_asked_for(client):
    wanted = [triton.InferRequestedOutput("OUTPUT1")]
    result = infer(client, "simple", pair(), outputs=wanted)
    assert [output.name for output in result.get_response().outputs] == ["OUTPUT1"]
    assert result.as_numpy("OUTPUT1")[0, 0] == -1
    check_pair(infer(client, "simple", pair(), outputs=[*wanted, triton.InferRequestedOutput("OUTPUT0")]))


def test_answers_name_model_version_and_the_id_of_the_request(client):
    response = infer(client, "simple", pair(), request_id="an id of mine").get_response()
    assert response.id == "an id of mine"
    assert response.model_name == "simple" and response.model_version
    check_pair(infer(client, "simple", pair(), model_version=response.model_version))


def test_classification_gives_the_best_with_their_labels(client):
    scores = numpy.array([[0.1, 0.7, 0.15, 0.05], [0.4, 0.1, 0.2, 0.3]], dtype=numpy.float32)
    wanted = [triton.InferRequestedOutput("scores", class_count=2)]
    result = infer(client, "classes", [tensor("x", scores)], outputs=wanted)
    assert result.as_numpy("scores").tolist() == [
        [b"0.700000:1:dog", b"0.150000:2:fox"],
        [b"0.400000:0:cat", b"0.300000:3:hen"],
    ]


def test_parameters_priority_and_timeout_are_taken(client):
    parameters = {"text": "a", "number": 3, "flag": True, "fraction": 0.5}
    check_pair(infer(client, "simple", pair(), priority=1, timeout=10_000_000, parameters=parameters))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_and_answers_can_be_compressed(client, algorithm):
    check_pair(infer(client, "simple", pair(rows=200), compression_algorithm=algorithm), rows=200)


def test_futures_get_their_own_answers(client):
    answers = queue.Queue()
    for number in range(64):
        array = numpy.full((1 + number % 3, 4), number, dtype=numpy.float32)
        client.async_infer(
            "identity_fp32",
            [tensor("x", array)],
            lambda result, error, array=array: answers.put((array, result, error)),
            client_timeout=PATIENCE,
        )
    for _ in range(64):
        array, result, error = answers.get(timeout=PATIENCE)
        assert error is None
        numpy.testing.assert_array_equal(result.as_numpy("y"), array)


# --- What is refused -----------------------------------------------------------------------------


def test_an_unknown_model_is_not_found(client):
    refused(lambda: infer(client, "nobody", pair()), "NOT_FOUND", "nobody")
    refused(lambda: client.get_model_metadata("nobody", client_timeout=PATIENCE), "NOT_FOUND", "nobody")
    refused(lambda: client.get_model_config("nobody", client_timeout=PATIENCE), "NOT_FOUND", "nobody")
    refused(lambda: client.get_inference_statistics("nobody", client_timeout=PATIENCE), "NOT_FOUND", "nobody")


def test_an_unknown_version_is_not_found(client):
    refused(lambda: infer(client, "simple", pair(), model_version="77"), "NOT_FOUND", "77")
    refused(lambda: client.get_model_metadata("simple", "77", client_timeout=PATIENCE), "NOT_FOUND", "77")


def test_missing_and_unknown_inputs_and_outputs_are_named(client):
    refused(lambda: infer(client, "simple", pair()[:1]), "INVALID_ARGUMENT", "INPUT1")
    extra = tensor("INPUT2", numpy.zeros((2, 16), dtype=numpy.int32))
    refused(lambda: infer(client, "simple", [*pair(), extra]), "INVALID_ARGUMENT", "INPUT2")
    wanted = [triton.InferRequestedOutput("OUTPUT9")]
    refused(lambda: infer(client, "simple", pair(), outputs=wanted), "INVALID_ARGUMENT", "OUTPUT9")


def test_a_wrong_shape_or_datatype_is_refused_with_the_right_one(client):
    wrong = [tensor("INPUT0", numpy.zeros((2, 15), dtype=numpy.int32)), pair()[1]]
    refused(lambda: infer(client, "simple", wrong), "INVALID_ARGUMENT", "INPUT0", "16")
    wrong = [tensor("INPUT0", numpy.zeros((2, 16), dtype=numpy.int64)), pair()[1]]
    refused(lambda: infer(client, "simple", wrong), "INVALID_ARGUMENT", "INPUT0", "INT32", "INT64")
    refused(lambda: infer(client, "simple", [pair(rows=2)[0], pair(rows=3)[1]]), "INVALID_ARGUMENT", "INPUT")


def test_data_that_is_shorter_than_its_shape_is_refused(client):
    given = pair()
    given[0]._raw_content = given[0]._raw_content[:-1]
    refused(lambda: infer(client, "simple", given), "INVALID_ARGUMENT", "INPUT0")


def test_data_for_fewer_inputs_than_there_are_is_refused(server):
    request = service_pb2.ModelInferRequest(model_name="simple")
    for name in ("INPUT0", "INPUT1"):
        request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
    request.raw_input_contents.append(bytes(64))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_strings_whose_lengths_lie_are_refused(client):
    array = numpy.array([["abc"]], dtype=numpy.object_)
    for lie in (b"\xff\xff\xff\xff" + b"abc", b"\x04\0\0\0abc", b"\x02\0\0\0abc", b"\0\0"):
        given = tensor("x", array)
        given._raw_content = lie
        refused(lambda: infer(client, "identity_bytes", [given]), "INVALID_ARGUMENT", "x")


def test_a_run_that_fails_says_so_and_the_next_one_works(client):
    picture = numpy.zeros((1, 3, 32, 32), dtype=numpy.float32)
    picture[0, 0, 0, 0] = 2
    with pytest.raises(InferenceServerException) as caught:
        infer(client, "fail", [tensor("image", picture)])
    assert caught.value.message()
    picture[0, 0, 0, 0] = 0
    assert infer(client, "fail", [tensor("image", picture)]).as_numpy("scores").shape == (1, 4)


def test_shared_memory_is_refused_in_words(client):
    given = triton.InferInput("x", [1, 4], "FP32")
    given.set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException) as caught:
        infer(client, "identity_fp32", [given])
    assert "shared memory" in caught.value.message()


# --- asyncio -------------------------------------------------------------------------------------


def test_the_client_for_asyncio_drives_every_call(server):
    async def drive():
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_live(client_timeout=PATIENCE)
            assert await client.is_server_ready(client_timeout=PATIENCE)
            assert await client.is_model_ready("simple", client_timeout=PATIENCE)
            assert (await client.get_model_metadata("simple", client_timeout=PATIENCE)).name == "simple"
            assert (await client.get_model_config("simple", client_timeout=PATIENCE)).config.name == "simple"
            calls = [client.infer("simple", pair(rows), client_timeout=PATIENCE) for rows in range(1, 9)]
            for rows, result in enumerate(await asyncio.gather(*calls), 1):
                check_pair(result, rows)
            with pytest.raises(InferenceServerException) as caught:
                await client.infer("nobody", pair(), client_timeout=PATIENCE)
            assert caught.value.status() == "StatusCode.NOT_FOUND"

    asyncio.run(drive())
