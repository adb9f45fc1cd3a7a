"""Workers that are killed, crash or hang: healed inside the container, which the kubelet never touches.

Readiness as the contract has it: while a worker recovers within its load budget the model counts as
loaded, so the pod stays in its service.
"""

import signal

from load import Load, picture, sample
from manifests import Changes
from pod import Pod
from stage import DEMO, KILLERS, Stage
from waiting import require, until

_HEALED_WITHIN = 60.0


def killed_or_crashed(stage: Stage) -> None:
    pod = stage.base_pod()
    pod.put_model(DEMO)
    pod.start()
    pod.until_ready()
    with Load(pod, "surface", sample("crack-1.png"), "crack") as load:
        for kind, cause in ((signal.SIGKILL, "outside"), (signal.SIGSEGV, "crash")):
            _strike(pod, load, kind, cause)
            stage.note(f"{kind.name} to the only worker: replaced, counted as {cause}")
    stage.note(load.must_be_right())
    pod.must_not_have_been_touched()
    stage.note("ready throughout, 0 restarts of the container")


def stopped(stage: Stage) -> None:
    pod = stage.base_pod()
    pod.put_model(DEMO)
    pod.start()
    pod.until_ready()
    with Load(pod, "surface", sample("crack-1.png"), "crack") as load:
        _strike(pod, load, signal.SIGSTOP, "outside")
    stage.note("SIGSTOP to the only worker: found by its budget, replaced")
    stage.note(load.must_be_right())
    pod.must_not_have_been_touched()
    stage.note("ready throughout, 0 restarts of the container")


def spinning(stage: Stage) -> None:
    pod = stage.base_pod(changes=Changes({"IMPETUS_MODELS__REQUIRED": "plain,endless"}))
    for model in ("plain", "endless"):
        pod.put_model(KILLERS / model)
    pod.start()
    pod.until_ready()
    ordinary, right = picture(2)
    deadly, _ = picture(1, marker=2.0)
    with Load(pod, "plain", ordinary, right) as load:
        answer = pod.ask("/predict?model=endless", body=deadly, within=60)
        require(answer.status == 422, f"the deadly request was answered with {answer}")
        until("the model to be back", _HEALED_WITHIN, lambda: pod.models()["endless"]["state"] == "ready")
        load.until_more_are_answered()
    hangs = pod.models()["endless"]["losses"]["hang"]
    require(hangs == 2, f"{hangs} workers were lost to it")
    stage.note(f"a request that never ends: 422 after {hangs} workers, refused from then on")
    stage.note(f"the other model: {load.must_be_right()}")
    pod.must_not_have_been_touched()
    stage.note("ready throughout, 0 restarts of the container")


def _strike(pod: Pod, load: Load, kind: signal.Signals, cause: str) -> None:
    before = pod.models()["surface"]["losses"][cause]
    load.until_more_are_answered()
    victim = pod.strike(kind)
    until(
        f"the loss by {kind.name}",
        _HEALED_WITHIN,
        lambda: pod.models()["surface"]["losses"][cause] > before,
    )
    until("a new worker", _HEALED_WITHIN, lambda: pod.workers() and victim not in pod.workers())
    until("the model", _HEALED_WITHIN, lambda: pod.models()["surface"]["state"] == "ready")
    load.until_more_are_answered()
