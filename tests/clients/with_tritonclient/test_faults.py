"""Clients that go away, and workers that are lost: the server goes on for everybody else.

`slow` (tests/models/README.md) computes for as many milliseconds as its first number says, so a
request to it is certainly under way when its client goes. That nobody computes for a client that has
gone shows in the next answer, which comes long before the first one could have.
"""

import os
import queue
import signal
import socket

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import graphs

# What a request that is going to be cancelled would take, and how long the next one is waited for.
LONG_MS = 8000
PATIENCE = 6.0
# Above what anything here takes: no run is to be ended for its length.
SETTINGS = 'models.workers = 1\nmodels.run_timeout = "30s"\n'


def write(folder) -> None:
    graphs.copy_killer(folder, "slow")


def picture(milliseconds: int = 0) -> numpy.ndarray:
    array = numpy.zeros((1, 3, 32, 32), dtype=numpy.float32)
    array[0, 0, 0, 0] = milliseconds + 1 if milliseconds else 0
    return array


def over_http(milliseconds: int = 0) -> list:
    given = tritonclient.http.InferInput("image", [1, 3, 32, 32], "FP32")
    return [given.set_data_from_numpy(picture(milliseconds))]


def over_grpc(milliseconds: int = 0) -> list:
    given = tritonclient.grpc.InferInput("image", [1, 3, 32, 32], "FP32")
    return [given.set_data_from_numpy(picture(milliseconds))]


def until_running(server) -> None:
    """Waits until a request to `slow` has left the queue for its worker."""

    def holds() -> bool:
        (model,) = server.listed()
        return any(worker.get("in_flight", 0) for worker in model["workers"]) or model.get("in_flight", 0) > 0

    server.until("a request that runs", holds)


def check_it_goes_on(server) -> None:
    """Checks that the server answers over both protocols, soon."""
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        assert client.infer("slow", over_grpc(), client_timeout=PATIENCE).as_numpy("scores").shape == (1, 4)
        assert client.is_server_ready()
    with tritonclient.http.InferenceServerClient(server.http, network_timeout=PATIENCE) as client:
        assert client.infer("slow", over_http()).as_numpy("scores").shape == (1, 4)


def test_a_cancelled_call_ends_and_the_server_goes_on(start):
    server = start(write, SETTINGS).until_ready()
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        call = client.async_infer(
            "slow", over_grpc(LONG_MS), lambda result, error: answers.put((result, error))
        )
        until_running(server)
        call.cancel()
        result, error = answers.get(timeout=PATIENCE)
        assert result is None and error.status() == "StatusCode.CANCELLED"
    check_it_goes_on(server)


def test_a_call_whose_client_waits_no_longer_ends_and_the_server_goes_on(start):
    server = start(write, SETTINGS).until_ready()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("slow", over_grpc(LONG_MS), client_timeout=0.3)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    check_it_goes_on(server)


def test_a_stream_that_is_cancelled_ends_and_the_server_goes_on(start):
    server = start(write, SETTINGS).until_ready()
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("slow", over_grpc(LONG_MS))
        client.async_stream_infer("slow", over_grpc(LONG_MS))
        until_running(server)
        client.stop_stream(cancel_requests=True)
        result, error = answers.get(timeout=PATIENCE)
        assert result is None and error.status() == "StatusCode.CANCELLED"
    check_it_goes_on(server)


def test_a_connection_that_is_dropped_ends_its_request_and_the_server_goes_on(start):
    server = start(write, SETTINGS).until_ready()
    with tritonclient.http.InferenceServerClient(server.http) as client:
        body, size = client.generate_request_body(over_http(LONG_MS))
    head = (
        f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {size}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        until_running(server)
    check_it_goes_on(server)


def test_a_connection_that_is_dropped_in_the_middle_of_its_body_harms_nobody(start):
    server = start(write, SETTINGS).until_ready()
    for sent in (b"", b"{", b'{"inputs":[' + bytes(1000)):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n"
            connection.sendall(head + sent)
    check_it_goes_on(server)


def test_many_clients_that_go_away_at_once_leave_nothing_behind(start):
    server = start(write, SETTINGS).until_ready()
    for _ in range(5):
        with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
            calls = [
                client.async_infer("slow", over_grpc(LONG_MS), lambda result, error: None) for _ in range(20)
            ]
            until_running(server)
            for call in calls:
                call.cancel()
    check_it_goes_on(server)


def test_a_request_that_would_wait_longer_than_its_timeout_is_told_so(start):
    server = start(write, SETTINGS).until_ready()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        # One runs, others wait for it with the worker and in the queue.
        calls = [
            client.async_infer("slow", over_grpc(LONG_MS), lambda result, error: None) for _ in range(40)
        ]
        until_running(server)
        try:
            with pytest.raises(InferenceServerException) as caught:
                client.infer("slow", over_grpc(), timeout=200_000, client_timeout=PATIENCE)
            assert caught.value.status() in ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED")
            # The client's own deadline gives other words.
            assert caught.value.message() != "Deadline Exceeded"
            with tritonclient.http.InferenceServerClient(server.http, network_timeout=PATIENCE) as http:
                with pytest.raises(InferenceServerException) as caught:
                    http.infer("slow", over_http(), timeout=200_000)
                assert caught.value.status() in ("503", "504"), caught.value
        finally:
            for call in calls:
                call.cancel()
    check_it_goes_on(server)


def test_a_full_queue_is_told_as_such(start):
    server = start(write, SETTINGS + "models.queue = 4\nmodels.max_batch = 1\n").until_ready()
    errors, calls = queue.Queue(), []
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:

        def is_full() -> bool:
            # The first ones leave the queue for the worker, so one more is sent at each look.
            calls.append(
                client.async_infer("slow", over_grpc(LONG_MS), lambda result, error: errors.put(error))
            )
            (model,) = server.listed()
            return model["queued"] == 4 and model["workers"][0]["in_flight"] > 1

        server.until("a full queue", is_full)
        calls.append(client.async_infer("slow", over_grpc(), lambda result, error: errors.put(error)))
        error = errors.get(timeout=PATIENCE)
        assert error.status() == "StatusCode.RESOURCE_EXHAUSTED" and error.message()
        with tritonclient.http.InferenceServerClient(server.http, network_timeout=PATIENCE) as http:
            with pytest.raises(InferenceServerException) as caught:
                http.infer("slow", over_http())
            assert caught.value.status() == "429", caught.value
        for call in calls:
            call.cancel()
    check_it_goes_on(server)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=lambda how: how.name)
def test_a_worker_that_is_lost_is_noticed_by_no_client(start, how):
    server = start(write, 'models.workers = 2\nmodels.run_timeout = "1s"\n').until_ready()
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        for number in range(100):
            client.async_infer("slow", over_grpc(20), lambda result, error: answers.put((result, error)))
            if number == 50:
                (model,) = server.listed()
                os.kill(model["workers"][0]["pid"], how)
        for _ in range(100):
            result, error = answers.get(timeout=60)
            assert error is None, error
            assert result.as_numpy("scores").shape == (1, 4)
    check_it_goes_on(server)
