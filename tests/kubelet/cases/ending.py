"""A pod is deleted: out of its service at once, every request answered, exit code 0."""

import threading
import time

from kubelet import now, seconds_between
from load import Load, picture, sample
from manifests import Changes
from pod import HEALTH, Answer, Pod
from stage import DEMO, KILLERS, Stage
from waiting import require, until

# Longer than the lame duck of 10 s, and shorter than that and the drain together. The model's clock is
# the machine's speed, so it is taken first.
_LONG_RUN = 16.0
_TRIAL_MS = 2_000.0
_CHANGES = {
    "IMPETUS_MODELS__REQUIRED": "surface,slow",
    "IMPETUS_MODELS__RUN_TIMEOUT": "60s",
    "IMPETUS_HTTP__REQUEST_TIMEOUT": "60s",
}


def is_deleted(stage: Stage) -> None:
    pod = stage.base_pod(changes=Changes(_CHANGES))
    pod.put_model(DEMO)
    pod.put_model(KILLERS / "slow")
    pod.start()
    pod.until_ready()
    # The kubelet forgets the pod with its manifest.
    container, grace, log = pod.container_id, pod.grace, pod.log()
    long_run = _InFlight(pod, _marker(pod))
    until("the long run to be in flight", 20, lambda: _in_flight(pod) >= 1)
    with Load(pod, "surface", sample("crack-1.png"), "crack") as load:
        removed = pod.remove()
        told = log.until_said("told to end", 30)["at"]
        require(pod.ask("/api/health/ready", HEALTH).status == 503, "it says that it is ready")
        require(pod.ask("/api/health/live", HEALTH).status == 200, "it says that it is not alive")
        lame = log.until_said("not ready any more, serving on", 10)
        # The load ends with the lame duck: from then on nobody sends any more.
        until("most of the lame duck", 30, lambda: seconds_between(told, now()) >= lame["seconds"] - 1)
    stage.note(f"SIGTERM {seconds_between(removed, told):.1f} s after the manifest was gone; not ready and alive at once")
    stage.note(f"lame duck of {lame['seconds']:.0f} s: {load.must_be_right()}")
    draining = log.until_said("draining", 30)
    require(draining["in_flight"] >= 1, f"{draining}: the long run was over too early to show anything")
    answer = long_run.answer()
    require(answer is not None and answer.status == 200, f"the request in flight got {answer}")
    stage.note(f"drain: {draining['in_flight']} in flight, answered with 200")
    ended = log.until_said("server ends", 60)
    code = until("the exit code", 30, lambda: pod.node.journal.exit_code(container))
    require(code == 0 and ended["code"] == 0, f"exit code {code}, the log says {ended}")
    took = seconds_between(told, ended["at"])
    require(took < grace, f"{took:.0f} s, of {grace} s of grace")
    stage.note(f"exit code 0, {took:.1f} s after SIGTERM, grace period {grace:.0f} s")


class _InFlight:
    """A long request on a thread of its own."""

    def __init__(self, pod: Pod, marker: float):
        self._answer: Answer | None = None
        body, _ = picture(0, marker)
        self._thread = threading.Thread(target=self._send, args=(pod, body), daemon=True)
        self._thread.start()

    def answer(self) -> Answer | None:
        self._thread.join(90)
        return self._answer

    def _send(self, pod: Pod, body: dict) -> None:
        try:
            self._answer = pod.ask("/predict?model=slow", body=body, within=90)
        except OSError:
            self._answer = None


def _marker(pod: Pod) -> float:
    """Returns the marker of a run that takes as long as `_LONG_RUN`, as fast as the machine is now."""
    start = time.monotonic()
    body, _ = picture(0, marker=_TRIAL_MS)
    answer = pod.ask("/predict?model=slow", body=body, within=60)
    require(answer.status == 200, f"the trial got {answer}")
    return _TRIAL_MS * _LONG_RUN / (time.monotonic() - start)


def _in_flight(pod: Pod) -> float:
    lines = pod.ask("/api/health/metrics", HEALTH).body.decode().splitlines()
    value = next(line for line in lines if line.startswith("impetus_http_requests_in_flight "))
    return float(value.split()[1])
