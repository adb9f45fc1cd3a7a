"""Tensors of 64 MB, and what is larger than the server takes."""

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import graphs

# 64 MB of float32.
NUMBERS = 16_000_000


def write(folder) -> None:
    graphs.put(folder, "identity_fp32", graphs.identity("FP32"))
    graphs.put(folder, "identity_bytes", graphs.identity("BYTES"))


@pytest.fixture(scope="module")
def array() -> numpy.ndarray:
    return numpy.random.default_rng(5).random((4, NUMBERS // 4), dtype=numpy.float32)


def test_64_megabytes_go_there_and_back_over_http_and_grpc(start, array):
    server = start(write).until_ready()
    for module, address in ((tritonclient.http, server.http), (tritonclient.grpc, server.grpc)):
        given = module.InferInput("x", list(array.shape), "FP32").set_data_from_numpy(array)
        with module.InferenceServerClient(address) as client:
            for _ in range(2):
                answer = client.infer("identity_fp32", [given]).as_numpy("y")
                assert answer.shape == array.shape and answer.tobytes() == array.tobytes()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_megabytes_of_zeros_survive_compression(start, algorithm):
    server = start(write).until_ready()
    array = numpy.zeros((2, NUMBERS // 4), dtype=numpy.float32)
    given = tritonclient.http.InferInput("x", list(array.shape), "FP32").set_data_from_numpy(array)
    with tritonclient.http.InferenceServerClient(server.http) as client:
        answer = client.infer(
            "identity_fp32",
            [given],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        assert answer.as_numpy("y").tobytes() == array.tobytes()


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(start):
    server = start(write, 'models.workers = 1\nhttp.max_body = "8MiB"\n').until_ready()
    array = numpy.zeros((2, NUMBERS // 4), dtype=numpy.float32)
    given = tritonclient.http.InferInput("x", list(array.shape), "FP32").set_data_from_numpy(array)
    with tritonclient.http.InferenceServerClient(server.http) as client:
        for compression in (None, "gzip", "deflate"):
            with pytest.raises(InferenceServerException) as caught:
                client.infer("identity_fp32", [given], request_compression_algorithm=compression)
            assert caught.value.status() == "413", caught.value
        small = numpy.zeros((1, 1), dtype=numpy.float32)
        given = tritonclient.http.InferInput("x", [1, 1], "FP32").set_data_from_numpy(small)
        assert client.infer("identity_fp32", [given]).as_numpy("y") == 0


def test_a_long_string_and_many_short_ones_come_back(start):
    server = start(write).until_ready()
    for array in (
        numpy.array([["ä" * 4_000_000]], dtype=numpy.object_),
        numpy.array([[str(number) for number in range(100_000)]], dtype=numpy.object_),
    ):
        for module, address in ((tritonclient.http, server.http), (tritonclient.grpc, server.grpc)):
            given = module.InferInput("x", list(array.shape), "BYTES").set_data_from_numpy(array)
            with module.InferenceServerClient(address) as client:
                answer = client.infer("identity_bytes", [given]).as_numpy("y")
                assert [text.decode() for text in answer.flatten()] == array.flatten().tolist()
