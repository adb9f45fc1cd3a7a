"""The heart stops: the one case in which the kubelet has to restart the container.

The last beat is stale after 15 s, and the kubelet asks every 10 s and wants three refusals. So the first
refusal comes 15 to 25 s after the last beat, and SIGTERM 35 to 45 s after it.
"""

from datetime import datetime

from kubelet import first, seconds_between
from manifests import Changes
from pod import Pod
from stage import DEMO, Stage
from waiting import require, until

_STALE_AFTER, _PERIOD, _REFUSALS = 15.0, 10.0, 3
# How exact the times of a busy machine are.
_SLACK = 1.0
# From the last refusal to the kubelet's decision, and to the server's handler of the signal.
_TOLD_WITHIN = 5.0


def stops(stage: Stage) -> None:
    pod = stage.base_pod(changes=Changes({"IMPETUS_FAULTS__ENABLED": "true"}))
    pod.put_model(DEMO)
    pod.start()
    pod.until_ready()
    # The kubelet's liveness probe begins 30 s after the start of the container.
    until("the liveness probe to have begun", 60, lambda: _age(pod) > 32)
    # Nobody may replace the heart, or it would beat again within a millisecond.
    pod.order("/api/admin/healing", {"paused": True})
    pod.order("/api/faults", {"target": "heartbeat", "fault": "panic"})
    first_log = pod.log()
    fell = first_log.until_said("panic: injected panic", 20)["at"]
    last_beat = _last_beat(pod)
    require(
        0 <= seconds_between(last_beat, fell) < 2, f"the last beat was at {last_beat}, the fall at {fell}"
    )
    pod.until_restarted(within=90)
    told = first_log.until_said("told to end", 20)
    require(told["signal"] == "SIGTERM", f"{told}")
    _check_times(stage, pod, last_beat, told["at"])
    _check_reasons(stage, pod)
    back = pod.until_ready()
    stage.note(f"ready again {seconds_between(told['at'], back.at):.0f} s after SIGTERM, restarts 1")
    require(pod.restarts == 1, f"{pod.restarts} restarts")


def _age(pod: Pod) -> float:
    return pod.status()["uptime_seconds"]


def _last_beat(pod: Pod) -> datetime:
    text = pod.ask("/api/health/live").json["last_heartbeat"]
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _check_times(stage: Stage, pod: Pod, last_beat: datetime, told: datetime) -> None:
    refusals = [event.at for event in pod.events("Unhealthy", "Liveness")]
    require(len(refusals) == _REFUSALS, f"{len(refusals)} liveness probes failed before the kill")
    killing = pod.events("Killing", "failed liveness probe")
    require(len(killing) == 1, f"the kubelet's reasons to kill: {pod.events('Killing')}")
    for number, at in enumerate(refusals):
        earliest = _STALE_AFTER + number * _PERIOD - _SLACK
        found = seconds_between(last_beat, at)
        in_time = earliest <= found <= earliest + _PERIOD + 2 * _SLACK
        require(in_time, f"refusal {number + 1} came {found:.1f} s after the last beat")
    after, late = seconds_between(last_beat, told), seconds_between(refusals[-1], told)
    require(0 <= late <= _TOLD_WITHIN, f"SIGTERM came {late:.1f} s after the last refusal")
    unready = first(pod.history(), lambda seen: seen.at > last_beat and not seen.ready)
    stage.note(
        f"unready for the kubelet {seconds_between(last_beat, unready.at):.1f} s after the last beat"
    )
    times = ", ".join(f"{seconds_between(last_beat, at):.1f} s" for at in refusals)
    stage.note(f"liveness refused {times} after it")
    stage.note(
        f"kubelet kills {seconds_between(last_beat, killing[0].at):.1f} s, "
        f"server has SIGTERM **{after:.1f} s** after the last beat"
    )


def _check_reasons(stage: Stage, pod: Pod) -> None:
    end = pod.last_end()
    message = end.get("message", "")
    require(
        message.startswith("not alive since ") and "heartbeat_stale" in message.split("\n")[0], f"{end}"
    )
    require("panic: injected panic" in message, f"the cause is not in the message: {message}")
    require(end["exitCode"] == 70, f"exit code {end['exitCode']}")
    stage.note(f"exit code 70, termination message: `{message.splitlines()[0]}`")
    reason = until("the status", 30, lambda: _previous_reason(pod))
    require("heartbeat_stale" in reason, f"previous_run says {reason}")
    stage.note(f"`previous_run.reason` of the next: `{reason}`")


def _previous_reason(pod: Pod) -> str | None:
    try:
        return pod.status()["previous_run"]["reason"]
    except OSError:
        return None
