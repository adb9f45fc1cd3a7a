"""A run that takes all memory ends inside its worker; the container's limit is never met.

The kubelet's container dies as a whole when the kernel kills its first process, so what counts is that the
kernel never has to.
"""

from load import Load, picture
from manifests import Changes
from stage import KILLERS, Stage
from waiting import require, until

# A hundred gigabytes.
_ALL_OF_IT = 100_000.0
_TIMES = 5
_LIMIT = 1 << 30
_CHANGES = {
    "IMPETUS_MODELS__REQUIRED": "plain,explode",
    # On a busy machine a run can meet its budget of time before the one of memory.
    "IMPETUS_MODELS__RUN_TIMEOUT": "30s",
}


def explodes(stage: Stage) -> None:
    pod = stage.base_pod(changes=Changes(_CHANGES, {"memory": "1Gi"}))
    for model in ("plain", "explode"):
        pod.put_model(KILLERS / model)
    pod.start()
    pod.until_ready()
    require(int(pod.memory("memory.limit_in_bytes")) == _LIMIT, "the container has another limit")
    ordinary, right = picture(3)
    with Load(pod, "plain", ordinary, right) as load:
        for number in range(_TIMES):
            deadly, _ = picture(number % 4, marker=_ALL_OF_IT + number)
            answer = pod.ask("/predict?model=explode", body=deadly, within=60)
            require(
                answer.status == 500 and answer.json["code"] == "out_of_memory",
                f"the request for 100 GB was answered with {answer}",
            )
        harmless, class_ = picture(0)
        answer = until(
            "the struck model to serve",
            60,
            lambda: _served(pod.ask("/predict?model=explode", body=harmless, within=30)),
        )
        require(answer.json["class"] == class_, f"{answer}")
        load.until_more_are_answered()
    stage.note(f"{_TIMES} requests for 100 GB: each 500 `out_of_memory`; the model serves on")
    stage.note(f"the other model: {load.must_be_right()}")
    killed, heard = pod.oom_kills(), pod.node.journal.killed_for_memory(pod.container_id)
    require(
        (killed, heard) == (0, 0),
        f"out-of-memory kills: {killed} by the kernel, {heard} heard by containerd",
    )
    highest = int(pod.memory("memory.max_usage_in_bytes")) / _LIMIT
    met = pod.memory("memory.failcnt")
    stage.note(f"container: limit 1 GiB, highest {highest:.0%}, `oom_kill` 0, limit met {met} times")
    pod.must_not_have_been_touched()
    stage.note("ready throughout, 0 restarts of the container")


def _served(answer):
    return answer if answer.status == 200 else None
