"""A pod is deleted: out of its service at once, every request answered, exit code 0."""

import http.client
import socket
import threading

from kubelet import now, seconds_between
from load import Load, sample
from pod import HEALTH, HTTP, Pod
from stage import DEMO, Stage
from waiting import require, until

# The server's default.
_LAME_DUCK = 10.0
# Before then it must not have ended, since a request is in flight.
_INTO_THE_DRAIN = 3.0
_BYTE_EVERY = 1.0
_ANSWERED_WITHIN = 60.0


def is_deleted(stage: Stage) -> None:
    pod = stage.base_pod()
    pod.put_model(DEMO)
    pod.start()
    pod.until_ready()
    # The kubelet forgets the pod with its manifest.
    container, grace, log = pod.container_id, pod.grace, pod.log()
    held = HeldRequest(pod)
    until("the held request to be in flight", 20, lambda: _in_flight(pod) >= 1)
    with Load(pod, "surface", sample("crack-1.png"), "crack") as load:
        removed = pod.remove()
        told = log.until_said("told to end", 30)["at"]
        require(pod.ask("/api/health/ready", HEALTH).status == 503, "it says that it is ready")
        require(pod.ask("/api/health/live", HEALTH).status == 200, "it says that it is not alive")
        # The load ends with the lame duck: from then on nobody sends any more.
        until("most of the lame duck", 30, lambda: seconds_between(told, now()) >= _LAME_DUCK - 1)
    after = seconds_between(removed, told)
    stage.note(f"SIGTERM {after:.1f} s after the manifest was gone; not ready and alive at once")
    stage.note(f"lame duck of {_LAME_DUCK:.0f} s: {load.must_be_right()}")
    until("the drain", 30, lambda: seconds_between(told, now()) >= _LAME_DUCK + _INTO_THE_DRAIN)
    status = held.finish()
    require(status == 200, f"the request in flight got {status}")
    stage.note(f"a request in flight until {_INTO_THE_DRAIN:.0f} s into the drain: 200")
    ended = log.until_said("server ends", 60)
    code = until("the exit code", 30, lambda: pod.node.journal.exit_code(container))
    require(code == 0 and ended["code"] == 0, f"exit code {code}, the log says {ended}")
    took = seconds_between(told, ended["at"])
    require(
        took >= _LAME_DUCK + _INTO_THE_DRAIN,
        f"it ended {took:.1f} s after SIGTERM, with a request in flight",
    )
    require(took < grace, f"{took:.0f} s, of {grace} s of grace")
    stage.note(f"exit code 0, {took:.1f} s after SIGTERM, grace period {grace:.0f} s")


class HeldRequest:
    """A request that stays in flight until it is finished: its body comes byte by byte."""

    def __init__(self, pod: Pod):
        self._body = sample("crack-1.png")
        self._finish = threading.Event()
        self._status: int | str = "no answer"
        self._connection = socket.create_connection((pod.address, HTTP), timeout=_ANSWERED_WITHIN)
        head = (
            f"POST /predict?model=surface HTTP/1.1\r\nHost: {pod.address}\r\nContent-Type: image/png\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        self._connection.sendall(head.encode())
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def finish(self) -> int | str:
        """Sends the rest; returns the status of the answer, or what came instead."""
        self._finish.set()
        self._thread.join(_ANSWERED_WITHIN)
        return self._status

    def _send(self) -> None:
        sent = 0
        try:
            while not self._finish.wait(_BYTE_EVERY):
                self._connection.sendall(self._body[sent : sent + 1])
                sent += 1
            self._connection.sendall(self._body[sent:])
            answer = http.client.HTTPResponse(self._connection)
            answer.begin()
            self._status = answer.status
        except OSError as error:
            self._status = repr(error)
        finally:
            self._connection.close()


def _in_flight(pod: Pod) -> float:
    lines = pod.ask("/api/health/metrics", HEALTH).body.decode().splitlines()
    value = next(line for line in lines if line.startswith("impetus_http_requests_in_flight "))
    return float(value.split()[1])
