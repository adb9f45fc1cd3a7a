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

_EARLIEST, _LATEST = 35.0, 45.0
# From the third refusal to the kubelet's decision, and to the first instruction of a signal handler.
_SLACK = 1.0
_STALE_AFTER = 15.0


def stops(stage: Stage) -> None:
    pod = stage.base_pod(changes=Changes({"IMPETUS_FAULTS__ENABLED": "true"}))
    pod.put_model(DEMO)
    pod.start()
    pod.until_ready()
    # The kubelet's liveness probe begins 30 s after the start of the container.
    until("the liveness probe to have begun", 60, lambda: seconds_since_start(pod) > 32)
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


def seconds_since_start(pod: Pod) -> float:
    return pod.status()["uptime_seconds"]


def _last_beat(pod: Pod) -> datetime:
    text = pod.ask("/api/health/live").json["last_heartbeat"]
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _check_times(stage: Stage, pod: Pod, last_beat: datetime, told: datetime) -> None:
    refusals = [event.at for event in pod.events("Unhealthy", "Liveness")]
    require(len(refusals) == 3, f"{len(refusals)} liveness probes failed before the kill")
    killing = pod.events("Killing", "failed liveness probe")
    require(len(killing) == 1, f"the kubelet's reasons to kill: {pod.events('Killing')}")
    found = seconds_between(last_beat, refusals[0])
    latest = _STALE_AFTER + 10 + _SLACK
    require(_STALE_AFTER <= found <= latest, f"first refusal {found:.1f} s after the last beat")
    after = seconds_between(last_beat, told)
    require(_EARLIEST <= after <= _LATEST + _SLACK, f"SIGTERM came {after:.1f} s after the last beat")
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
