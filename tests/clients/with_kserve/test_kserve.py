"""The kserve SDK: the protocol's version 2 over REST and gRPC, and version 1.

In a process of its own: it describes the messages of gRPC under the same names as tritonclient.
"""

import asyncio
from contextlib import asynccontextmanager

import grpc
import httpx
import numpy
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import from_np_dtype

import values

# It knows no BF16.
DATATYPES = [datatype for datatype in values.DATATYPES if datatype != "BF16"]
# Longest time for any one call.
PATIENCE = 30.0


class Rest:
    """The REST client, with the server's address said once."""

    def __init__(self, server, protocol: str = "v2"):
        self.client = InferenceRESTClient(RESTConfig(protocol=protocol, timeout=PATIENCE, retries=0))
        self.url = f"http://{server.http}"

    async def infer(self, request: InferRequest, **more):
        return await self.client.infer(self.url, request, model_name=request.model_name, **more)


@asynccontextmanager
async def rest(server, protocol: str = "v2"):
    one = Rest(server, protocol)
    try:
        yield one
    finally:
        await one.client.close()


@asynccontextmanager
async def over_grpc(server):
    async with InferenceGRPCClient(server.grpc, timeout=PATIENCE, retries=0) as client:
        yield client


def run(scene) -> None:
    """Runs a test that is a coroutine."""
    asyncio.run(asyncio.wait_for(scene, 2 * PATIENCE))


def tensor(name: str, array: numpy.ndarray, binary: bool = True) -> InferInput:
    given = InferInput(name, list(array.shape), from_np_dtype(array.dtype))
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def pair(rows: int = 2, binary: bool = True) -> list[InferInput]:
    """Returns the inputs of `simple`."""
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    return [tensor("INPUT0", first, binary), tensor("INPUT1", numpy.ones_like(first), binary)]


def check_pair(response, rows: int = 2) -> None:
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    numpy.testing.assert_array_equal(response.get_output_by_name("OUTPUT0").as_numpy(), first + 1)
    numpy.testing.assert_array_equal(response.get_output_by_name("OUTPUT1").as_numpy(), first - 1)


# --- Version 2 over REST -------------------------------------------------------------------------


def test_rest_says_whether_server_and_models_are_ready(server):
    async def scene():
        async with rest(server) as one:
            assert await one.client.is_server_live(one.url) is True
            assert await one.client.is_server_ready(one.url) is True
            assert await one.client.is_model_ready(one.url, "simple")
            assert not await one.client.is_model_ready(one.url, "nobody")

    run(scene())


@pytest.mark.parametrize("datatype", DATATYPES)
def test_rest_brings_every_datatype_back_in_binary(server, datatype):
    async def scene():
        # What comes back in binary goes through Python's numbers in this client, where NaNs have one form.
        array = values.sample(datatype, finite=True)
        name = f"identity_{datatype.lower()}"
        request = InferRequest(name, [tensor("x", array)], parameters={"binary_data_output": True})
        async with rest(server) as one:
            answer = (await one.infer(request)).outputs[0]
        assert answer.datatype == datatype
        assert values.bits(answer.as_numpy()) == values.bits(array)

    run(scene())


@pytest.mark.parametrize("datatype", [datatype for datatype in DATATYPES if datatype != "FP16"])
def test_rest_brings_every_datatype_back_in_json(server, datatype):
    async def scene():
        array = values.sample(datatype, finite=True)
        request = InferRequest(f"identity_{datatype.lower()}", [tensor("x", array, binary=False)])
        async with rest(server) as one:
            answer = (await one.infer(request)).outputs[0]
        assert values.bits(answer.as_numpy()) == values.bits(array)

    run(scene())


@pytest.mark.parametrize("binary", [True, False])
def test_rest_takes_tensors_without_elements_and_without_dimensions(server, binary):
    async def scene():
        async with rest(server) as one:
            empty = numpy.empty((2, 0), dtype=numpy.float32)
            answer = await one.infer(InferRequest("identity_fp32", [tensor("x", empty, binary)]))
            assert answer.outputs[0].shape == [2, 0]
            number = numpy.array(41.5, dtype=numpy.float32)
            answer = await one.infer(InferRequest("scalar", [tensor("x", number, binary)]))
            assert answer.outputs[0].shape == [] and answer.outputs[0].as_numpy() == 42.5

    run(scene())


@pytest.mark.parametrize("binary", [True, False])
def test_rest_gets_the_outputs_it_asks_for(server, binary):
    async def scene():
        wanted = [
            RequestedOutput("OUTPUT1", {"binary_data": binary}),
            RequestedOutput("OUTPUT0", {"binary_data": binary}),
        ]
        request = InferRequest(
            "simple", pair(binary=binary), request_id="an id of mine", request_outputs=wanted
        )
        async with rest(server) as one:
            answer = await one.infer(request)
            check_pair(answer)
            assert answer.id == "an id of mine" and answer.model_name == "simple"
            assert {output.name for output in answer.outputs} == {"OUTPUT0", "OUTPUT1"}
            request = InferRequest("simple", pair(), request_outputs=wanted[:1], parameters={"priority": 1})
            assert [output.name for output in (await one.infer(request)).outputs] == ["OUTPUT1"]

    run(scene())


@pytest.mark.parametrize(
    "name, inputs, status, word",
    [
        ("nobody", pair(), 404, "nobody"),
        ("simple", pair()[:1], 400, "INPUT1"),
        ("simple", [pair()[0], tensor("INPUT9", numpy.zeros((2, 16), dtype=numpy.int32))], 400, "INPUT9"),
        ("simple", [pair()[0], tensor("INPUT1", numpy.zeros((2, 15), dtype=numpy.int32))], 400, "INPUT1"),
        ("simple", [pair()[0], tensor("INPUT1", numpy.zeros((2, 16), dtype=numpy.int64))], 400, "INPUT1"),
    ],
)
def test_rest_raises_what_was_wrong(server, name, inputs, status, word):
    async def scene():
        async with rest(server) as one:
            with pytest.raises(httpx.HTTPStatusError) as caught:
                await one.infer(InferRequest(name, inputs))
        assert caught.value.response.status_code == status
        # The client puts our words into its exception, not only the status.
        assert word in str(caught.value).split(" for url ")[0]

    run(scene())


# --- Version 2 over gRPC -------------------------------------------------------------------------


def test_grpc_says_whether_server_and_models_are_ready(server):
    async def scene():
        async with over_grpc(server) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("simple")

    run(scene())


@pytest.mark.parametrize("datatype", DATATYPES)
def test_grpc_brings_every_datatype_back_to_the_bit(server, datatype):
    async def scene():
        array = values.sample(datatype)
        async with over_grpc(server) as client:
            answer = await client.infer(InferRequest(f"identity_{datatype.lower()}", [tensor("x", array)]))
        assert answer.outputs[0].datatype == datatype
        assert values.bits(answer.outputs[0].as_numpy()) == values.bits(array)

    run(scene())


@pytest.mark.parametrize("datatype", [datatype for datatype in DATATYPES if datatype != "FP16"])
def test_grpc_takes_typed_contents(server, datatype):
    async def scene():
        array = values.sample(datatype, finite=True)
        given = InferInput("x", list(array.shape), datatype, data=array.flatten().tolist())
        async with over_grpc(server) as client:
            answer = await client.infer(InferRequest(f"identity_{datatype.lower()}", [given]))
        assert values.bits(answer.outputs[0].as_numpy()) == values.bits(array)

    run(scene())


def test_grpc_gets_the_outputs_it_asks_for(server):
    async def scene():
        wanted = [RequestedOutput("OUTPUT1"), RequestedOutput("OUTPUT0")]
        request = InferRequest("simple", pair(), request_id="an id of mine", request_outputs=wanted)
        async with over_grpc(server) as client:
            answer = await client.infer(request)
            check_pair(answer)
            assert answer.id == "an id of mine" and answer.model_name == "simple" and answer.model_version
            request = InferRequest("simple", pair(), model_version=answer.model_version)
            check_pair(await client.infer(request))

    run(scene())


@pytest.mark.parametrize(
    "name, inputs, status, word",
    [
        ("nobody", pair(), grpc.StatusCode.NOT_FOUND, "nobody"),
        ("simple", pair()[:1], grpc.StatusCode.INVALID_ARGUMENT, "INPUT1"),
        (
            "simple",
            [pair()[0], tensor("INPUT1", numpy.zeros((2, 15), dtype=numpy.int32))],
            grpc.StatusCode.INVALID_ARGUMENT,
            "INPUT1",
        ),
    ],
)
def test_grpc_raises_what_was_wrong(server, name, inputs, status, word):
    async def scene():
        async with over_grpc(server) as client:
            with pytest.raises(grpc.RpcError) as caught:
                await client.infer(InferRequest(name, inputs))
        assert caught.value.code() == status and word in caught.value.details()

    run(scene())


# --- Version 1 -----------------------------------------------------------------------------------


def test_v1_says_whether_server_and_models_are_ready(server):
    async def scene():
        async with rest(server, "v1") as one:
            assert await one.client.is_model_ready(one.url, "simple") is True
            with pytest.raises(httpx.HTTPStatusError) as caught:
                await one.client.is_model_ready(one.url, "nobody")
            assert caught.value.response.status_code == 404

    run(scene())


def test_v1_predicts_one_answer_for_each_instance(server):
    async def scene():
        async with rest(server, "v1") as one:
            instances = [[1.5, 2.0, 3.0], [4.0, 5.0, 6.25]]
            answer = await one.client.infer(one.url, {"instances": instances}, model_name="identity_fp32")
            assert answer == {"predictions": instances}
            answer = await one.client.infer(one.url, {"instances": [["a", "ä"]]}, model_name="identity_bytes")
            assert answer == {"predictions": [["a", "ä"]]}

    run(scene())


def test_v1_takes_named_inputs_and_gives_named_outputs(server):
    async def scene():
        async with rest(server, "v1") as one:
            instances = [{"INPUT0": list(range(16)), "INPUT1": [1] * 16}]
            answer = await one.client.infer(one.url, {"instances": instances}, model_name="simple")
        (prediction,) = answer["predictions"]
        assert prediction["OUTPUT0"] == list(range(1, 17))
        assert prediction["OUTPUT1"] == list(range(-1, 15))

    run(scene())


@pytest.mark.parametrize(
    "name, body, status",
    [
        ("nobody", {"instances": [[1.0]]}, 404),
        ("identity_fp32", {"instance": [[1.0]]}, 400),
        ("identity_fp32", {"instances": [["no number"]]}, 400),
        ("identity_fp32", {"instances": [[1.0], [1.0, 2.0]]}, 400),
        ("simple", {"instances": [{"INPUT0": [1] * 16}]}, 400),
    ],
)
def test_v1_raises_what_was_wrong(server, name, body, status):
    async def scene():
        async with rest(server, "v1") as one:
            with pytest.raises(httpx.HTTPStatusError) as caught:
                await one.client.infer(one.url, body, model_name=name)
        assert caught.value.response.status_code == status
        assert caught.value.response.json()["error"]

    run(scene())
