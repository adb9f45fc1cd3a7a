"""ModelStreamInfer by tritonclient: requests and answers on one call, in the order sent."""

import asyncio
import queue

import numpy
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

# Longest time for any one answer.
PATIENCE = 30.0


def tensor(name: str, array: numpy.ndarray) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array)


def line(number: int) -> numpy.ndarray:
    return numpy.full(1 + number % 3, number, dtype=numpy.float32)


@pytest.fixture
def stream(server):
    """A client with a stream, and the queue that its answers come into."""
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        yield client, answers
        client.stop_stream(cancel_requests=True)


def test_answers_come_in_the_order_of_the_requests(stream):
    client, answers = stream
    for number in range(100):
        client.async_stream_infer("line", [tensor("x", line(number))], request_id=str(number))
    for number in range(100):
        result, error = answers.get(timeout=PATIENCE)
        assert error is None
        assert result.get_response().id == str(number)
        numpy.testing.assert_array_equal(result.as_numpy("y"), -line(number))


def test_an_error_is_an_answer_and_the_stream_goes_on(stream):
    client, answers = stream
    client.async_stream_infer("nobody", [tensor("x", line(1))])
    client.async_stream_infer("line", [tensor("z", line(1))])
    client.async_stream_infer("line", [tensor("x", line(7))])
    for word in ("nobody", "z"):
        result, error = answers.get(timeout=PATIENCE)
        assert result is None and isinstance(error, InferenceServerException)
        assert word in error.message()
    result, error = answers.get(timeout=PATIENCE)
    assert error is None
    numpy.testing.assert_array_equal(result.as_numpy("y"), -line(7))


def test_models_can_be_mixed_on_one_stream(stream):
    client, answers = stream
    text = numpy.array([["a"]], dtype=numpy.object_)
    client.async_stream_infer("join", [tensor("left", text), tensor("right", text)])
    client.async_stream_infer("line", [tensor("x", line(2))])
    assert answers.get(timeout=PATIENCE)[0].as_numpy("joined").tolist() == [[b"aa"]]
    assert answers.get(timeout=PATIENCE)[0].as_numpy("y").shape == (3,)


def test_a_final_response_is_marked_when_that_is_asked_for(stream):
    client, answers = stream
    client.async_stream_infer("line", [tensor("x", line(1))], enable_empty_final_response=True)
    result, error = answers.get(timeout=PATIENCE)
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param is True


def test_a_stream_that_is_stopped_answers_what_was_sent(server):
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(20):
            client.async_stream_infer("line", [tensor("x", line(number))])
        # Says that no more requests come, and waits for the end of the answers.
        client.stop_stream()
    assert answers.qsize() == 20
    assert all(error is None for _, error in answers.queue)


def test_a_stream_by_asyncio(server):
    async def requests():
        for number in range(10):
            yield {"model_name": "line", "inputs": [tensor("x", line(number))], "request_id": str(number)}

    async def drive():
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            seen = 0
            async for result, error in client.stream_infer(requests(), stream_timeout=PATIENCE):
                assert error is None
                assert result.get_response().id == str(seen)
                numpy.testing.assert_array_equal(result.as_numpy("y"), -line(seen))
                seen += 1
            assert seen == 10

    asyncio.run(drive())
