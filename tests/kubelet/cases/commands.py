"""The documents' own commands, to the letter, against a cluster of one node.

`<pod-name>` stands for a pod's name, as in the documents. What each command says is checked, and cut down to
what is worth a line of the table.
"""

import json
import shutil
import time
from collections.abc import Callable

from cluster import Cluster
from stage import DEMO
from waiting import Failed, require, until

_LABEL = "app=impetus-llm-server"
# What the server advises where the claim is empty.
_ADVICE = "cp -r /usr/local/share/impetus/models/. /models/"
# As `kubectl describe` writes the first document's numbers.
_PROBES = (
    "Liveness: http-get http://:8080/api/health/live delay=30s timeout=5s period=10s #success=1 #failure=3",
    "Readiness: http-get http://:8080/api/health/ready delay=15s timeout=3s period=5s #success=1 #failure=3",
    "Startup: http-get http://:8080/api/health/ready delay=10s timeout=5s period=10s #success=1 #failure=30",
)


class Terminal:
    """Somebody who types commands, and the record of it."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.control = cluster.control
        # Commands with what they said.
        self.rows: list[tuple[str, str]] = []

    def type(self, command: str, pod: str = "", within: float = 60.0) -> str:
        """Runs a command, `<pod-name>` in it replaced; returns what it said."""
        said = self.control.shell(command.replace("<pod-name>", pod), within)
        self.rows.append((command, ""))
        return said

    def note(self, sentence: str) -> None:
        """Notes what the last command has shown."""
        command, before = self.rows[-1]
        self.rows[-1] = (command, "; ".join(part for part in (before, sentence) if part))

    def pod(self, label: str, namespace: str = "default") -> dict | None:
        """Returns the one pod with a label that does not end."""
        items = self.control.get("pods", "--selector", label, "--namespace", namespace)["items"]
        staying = [item for item in items if "deletionTimestamp" not in item["metadata"]]
        return staying[0] if len(staying) == 1 else None

    def running(self, label: str, namespace: str = "default") -> str:
        """Waits until a pod's container runs; returns the pod's name."""

        def look() -> str | None:
            pod = self.pod(label, namespace)
            states = [each["state"] for each in (pod or {}).get("status", {}).get("containerStatuses", [])]
            return (
                pod["metadata"]["name"] if states and all("running" in state for state in states) else None
            )

        return until(f"the pod of {label} to run", 120, look)

    def addresses(self, service: str, namespace: str = "default") -> list[str]:
        """Returns where a service sends its traffic."""
        endpoints = self.control.get("endpoints", service, "--namespace", namespace)
        return [
            entry["ip"] for subset in endpoints.get("subsets", []) for entry in subset.get("addresses", [])
        ]


def first_document(terminal: Terminal) -> None:
    terminal.type("kubectl apply -k k8s/base")
    terminal.control.provision()
    pod = terminal.running(_LABEL)
    terminal.note("the pod runs")
    _first_run(terminal, pod)
    terminal.type("kubectl rollout status deployment/impetus-llm-server --timeout=120s", within=130)
    terminal.note("rolled out")
    require(len(terminal.addresses("impetus-llm-service")) == 1, "the service has no address")
    _debug_commands(terminal, pod)
    said = " ".join(terminal.type("kubectl describe pod <pod-name>", pod).split())
    for probe in _PROBES:
        require(probe in said, f"describe does not say {probe}: {said}")
    terminal.note("the document's three probes, number by number")
    said = terminal.type("kubectl logs <pod-name>", pod)
    require("worker serves" in said, f"the log is {said[-500:]}")
    terminal.note(f"{len(said.splitlines())} lines")
    _restart(terminal)
    terminal.type("kubectl delete -k k8s/base", within=150)
    terminal.note("gone, its pod within the grace period")


def second_document(terminal: Terminal) -> None:
    # What the component's README has people do first.
    terminal.type("kubectl create namespace mlops")
    terminal.note("made")
    secret = "secret generic impetus-postgresql -n mlops --from-literal=password=of-this-test"
    terminal.type(f"kubectl create {secret}")
    terminal.note("made")
    said = terminal.type("kubectl apply -f k8s/deployment-production.yaml")
    terminal.note(f"{len(said.splitlines())} objects")
    folders = until("the claims", 60, lambda: _provisioned(terminal, "mlops/impetus-models-pvc"))
    pod = terminal.running("app=inference-service", "mlops")
    terminal.running("app=logging-service", "mlops")
    # Nobody has put a model into the claim yet, so the probe has something to say.
    command = "kubectl get events -n mlops | grep -i probe"
    until("an event of a probe", 120, lambda: _attempt(lambda: terminal.control.shell(command)))
    said = terminal.type(command)
    require("Readiness probe failed" in said, f"the events are {said}")
    terminal.note("no model yet: " + " ".join(said.splitlines()[-1].split()[1:])[:160])
    shutil.copytree(DEMO, folders["mlops/impetus-models-pvc"] / DEMO.name)
    until("the inference service", 120, lambda: terminal.addresses("inference-service", "mlops"))
    said = terminal.type("kubectl get pods -n mlops")
    terminal.note("with one: " + ", ".join(" ".join(line.split()[:3]) for line in said.splitlines()[1:]))
    said = terminal.type("kubectl describe pod <pod-name> -n mlops", pod)
    require("/ready" in said and "/health" in said, f"describe says {said}")
    terminal.note("probes on /health and /ready")
    said = terminal.type("kubectl logs <pod-name> -n mlops | grep -i health", pod)
    refusals = [json.loads(line) for line in said.splitlines() if "said no" in line]
    require(refusals, f"no refusal is in the log: {said}")
    terminal.note(f"{refusals[0]['message']}: {refusals[0]['reason']}")


def _first_run(terminal: Terminal, pod: str) -> None:
    """A claim is empty at first: the server says what to do, and then that is done."""
    command = "kubectl exec <pod-name> -- curl -s http://localhost:8081/api/health/ready"
    said = until(
        "an answer", 30, lambda: _attempt(lambda: terminal.control.shell(command.replace("<pod-name>", pod)))
    )
    require(_ADVICE in said, f"with an empty claim: {said}")
    terminal.note("the claim is empty: not ready, and the reason says what to copy")
    terminal.type(f"kubectl exec <pod-name> -- {_ADVICE}", pod)
    terminal.note("the demo model is in the claim")


def _debug_commands(terminal: Terminal, pod: str) -> None:
    for path, key, value in (
        ("ready", "ready", True),
        ("live", "alive", True),
        ("status", "status", "healthy"),
    ):
        said = terminal.type(f"kubectl exec -it <pod-name> -- curl http://localhost:8080/api/health/{path}", pod)
        answer = json.loads(said[said.index("{") :])
        require(answer[key] == value, f"{path}: {said}")
        terminal.note(f"`{key}` is {json.dumps(value)}")
    said = terminal.type("kubectl exec -it <pod-name> -- curl http://localhost:8080/api/health/metrics", pod)
    require("impetus_health_status 1" in said, f"the metrics are {said[:500]}")
    terminal.note("`impetus_health_status 1`")


def _restart(terminal: Terminal) -> None:
    start = time.monotonic()
    terminal.type("kubectl rollout restart deployment/impetus-llm-server")
    until("the service to let go of it", 30, lambda: not terminal.addresses("impetus-llm-service"))
    terminal.note(f"out of the service's addresses {time.monotonic() - start:.1f} s later")
    until("a new pod to be ready", 180, lambda: terminal.addresses("impetus-llm-service"))
    terminal.note(f"its successor, started after its end, in them after {time.monotonic() - start:.0f} s")


def _provisioned(terminal: Terminal, claim: str) -> dict | None:
    folders = terminal.control.provision()
    return folders if claim in folders else None


def _attempt(action: Callable[[], str]) -> str | None:
    try:
        return action()
    except Failed:
        return None
