"""Priorities by tritonclient: who asks as the first to be served does not wait for all that waits."""

import queue

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http

import graphs

PATIENCE = 60.0
# Long enough that all requests are there before the second one runs.
MILLISECONDS = 300
WAITING = 12
HIGH, LOW = 1, 2


def write(folder) -> None:
    graphs.copy_killer(folder, "slow")


def picture(module, milliseconds: int = MILLISECONDS) -> list:
    array = numpy.zeros((1, 3, 32, 32), dtype=numpy.float32)
    array[0, 0, 0, 0] = milliseconds + 1
    return [module.InferInput("image", list(array.shape), "FP32").set_data_from_numpy(array)]


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_request_of_high_priority_goes_before_those_that_wait(start, wire):
    server = start(write, "models.workers = 1\nmodels.max_batch = 1\nmodels.in_flight = 1\n").until_ready()
    done = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        for number in range(WAITING):
            client.async_infer(
                "slow",
                picture(tritonclient.grpc),
                lambda result, error, number=number: done.put((number, error)),
                priority=LOW,
                client_timeout=PATIENCE,
            )
        server.until("requests that wait", lambda: server.listed()[0]["queued"] >= WAITING - 2)
        if wire == "grpc":
            client.infer("slow", picture(tritonclient.grpc), priority=HIGH, client_timeout=PATIENCE)
        else:
            with tritonclient.http.InferenceServerClient(server.http, network_timeout=PATIENCE) as http:
                http.infer("slow", picture(tritonclient.http), priority=HIGH)
        answered = done.qsize()
        rest = [done.get(timeout=PATIENCE) for _ in range(WAITING)]
    assert answered <= WAITING // 2, f"{answered} of {WAITING} went before it"
    # Nobody is lost for it. Calls of their own may arrive in any order, so none is looked for here.
    assert sorted(rest) == [(number, None) for number in range(WAITING)]
