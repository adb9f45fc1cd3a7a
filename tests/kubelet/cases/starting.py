"""A pod comes up under the documents' probes, and is given the limits it was promised."""

import json

from kubelet import first, seconds_between
from load import sample
from manifests import Changes
from pod import HEALTH, Pod
from stage import DEMO, Stage
from waiting import require, until

# The first document's numbers.
_DOCUMENTED = {
    "startupProbe": ("/api/health/ready", 8080, 10, 10, 5, 30),
    "readinessProbe": ("/api/health/ready", 8080, 15, 5, 3, 3),
    "livenessProbe": ("/api/health/live", 8080, 30, 10, 5, 3),
}
_GIB = 1 << 30


def comes_up(stage: Stage) -> None:
    pod = stage.base_pod()
    for name, documented in _DOCUMENTED.items():
        require(_numbers(pod, name) == documented, f"the {name} is {pod.spec.get(name)}")
    pod.put_model(DEMO)
    pod.start()
    ready = pod.until_ready()
    since = pod.running_since
    started = first(pod.history(), lambda seen: seen.started)
    stage.note(
        f"startup probe passed {seconds_between(since, started.at):.0f} s after the container's start"
    )
    stage.note(f"ready after {seconds_between(since, ready.at):.0f} s")
    said = json.loads(pod.execute("curl -s http://localhost:8080/api/health/ready"))
    require(said["ready"] is True, f"curl in the container: {said}")
    answer = pod.ask("/predict", body=sample("crack-1.png"))
    require(answer.status == 200 and answer.json["class"] == "crack", f"{answer}")
    stage.note(f"predicts: {answer.json['class']}, {answer.json['confidence']:.3f}")
    require(pod.events("Unhealthy") == [], f"a probe failed: {pod.events('Unhealthy')}")
    pod.must_not_have_been_touched()
    stage.note("no probe ever failed")


def follows_its_limits(stage: Stage) -> None:
    for name, cores in (("one", 1), ("two", 2)):
        pod = stage.base_pod(name, Changes(limits={"cpu": str(cores), "memory": f"{cores}Gi"}))
        pod.put_model(DEMO)
        pod.start()
        stage.note(_keeps_to(pod, cores, cores * _GIB))


def _keeps_to(pod: Pod, cores: int, memory: int) -> str:
    quota = int((pod.group("cpu") / "cpu.cfs_quota_us").read_text())
    require(quota == cores * 100_000, f"the kubelet set a quota of {quota} µs")
    require(int(pod.memory("memory.limit_in_bytes")) == memory, "the kubelet set another memory limit")
    until("the model", 60, lambda: _usable(pod))
    workers = len(pod.models()["surface"]["workers"])
    require(workers == cores, f"{workers} workers with {cores} cores")
    detail = pod.status()["components"]["memory"]["detail"]
    require(detail["limit_bytes"] == memory, f"the status says {detail}")
    _must_export(pod, cores, memory)
    return (
        f"limits of {cores} and {memory // _GIB}Gi: {workers} worker process(es), "
        f"{_threads(pod)} request threads; status and metrics say the same limits"
    )


def _must_export(pod: Pod, cores: int, memory: int) -> None:
    lines = pod.ask("/api/health/metrics", HEALTH).body.decode().splitlines()
    metrics = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for name, right in (("impetus_cpu_limit_cores", cores), ("impetus_memory_limit_bytes", memory)):
        require(float(metrics[name]) == right, f"{name} is {metrics[name]}")


def _threads(pod: Pod) -> int:
    return len(pod.status()["components"]["edge"]["detail"]["ages_seconds"])


def _usable(pod: Pod) -> bool:
    try:
        return pod.models()["surface"]["state"] == "ready"
    except OSError:
        return False


def _numbers(pod: Pod, probe: str) -> tuple:
    content = pod.spec[probe]
    asked = content["httpGet"]
    numbers = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold")
    return (asked["path"], _port(pod, asked["port"]), *(content[number] for number in numbers))


def _port(pod: Pod, port: int | str) -> int:
    named = {entry.get("name"): entry["containerPort"] for entry in pod.spec["ports"]}
    return port if isinstance(port, int) else named[port]
