"""A model that cannot be loaded: under production's probes never a restart, under the documents' one.

The first document lets the startup probe ask for readiness, 30 times, so a pod that is not ready within
about 300 s is restarted, whatever the reason. Production asks whether the server has started.
"""

import time

from kubelet import pause, seconds_between
from pod import HEALTH, Pod
from stage import DEMO, Stage
from waiting import Failed, require, until

_SIX_MINUTES = 360.0
_LOOK_EVERY = 5.0


def under_production(stage: Stage) -> None:
    pod = stage.production_pod()
    _put_corrupt_model(pod)
    pod.start()
    asked = pod.spec["startupProbe"]["httpGet"]["path"]
    require(asked == "/api/health/startup", f"the startup probe asks for {asked}")
    until("the startup probe", 60, lambda: any(seen.started for seen in pod.history()))
    end = time.monotonic() + _SIX_MINUTES
    while time.monotonic() < end:
        pause(_LOOK_EVERY)
        require(pod.restarts == 0, f"restarted: {pod.last_end()}")
        require(not pod.ready, "the kubelet calls it ready")
        require(pod.ask("/api/health/live", HEALTH).status == 200, "it is not alive")
    require(not any(seen.ready for seen in pod.history()), f"it was ready: {pod.history()}")
    require(pod.events("Killing") == [], f"the kubelet killed it: {pod.events('Killing')}")
    stage.note("6 minutes: alive, never ready, 0 restarts")
    stage.note(f"{len(pod.events('Unhealthy', 'Readiness'))} readiness probes refused, no other probe")
    others = [event for event in pod.events("Unhealthy") if "Readiness" not in event.message]
    require(others == [], f"other probes failed: {others}")
    reason = _reason(pod)
    stage.note(f"the status says why: `{reason}`")


def under_the_documents(stage: Stage) -> None:
    pod = stage.base_pod()
    _put_corrupt_model(pod)
    pod.start()
    since = pod.running_since
    stage.note(f"the status says why: `{_reason(pod)}`")
    pod.until_restarted(within=_SIX_MINUTES)
    killing = pod.events("Killing", "failed startup probe")
    require(killing, f"the kubelet's reasons to kill: {pod.events('Killing')}")
    after = seconds_between(since, killing[0].at)
    require(295 <= after <= 325, f"killed {after:.0f} s after its start")
    stage.note(f"restarted by its startup probe {after:.0f} s after the container's start")


def _put_corrupt_model(pod: Pod) -> None:
    model = pod.put_model(DEMO) / "model.onnx"
    content = bytearray(model.read_bytes())
    content[: len(content) // 2] = b"\xff" * (len(content) // 2)
    model.write_bytes(content)


def _reason(pod: Pod) -> str:
    def look() -> str | None:
        try:
            models = {model["name"]: model for model in pod.status()["models"]}
        except OSError:
            return None
        model = models.get("surface", {})
        return model.get("reason") if model.get("state") == "failed" else None

    reason = until("the reason", 60, look)
    if "corrupt" not in reason and "model" not in reason and "Protobuf" not in reason:
        raise Failed(f"the reason says nothing of the file: {reason}")
    return reason
