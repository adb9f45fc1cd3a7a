"""One pod of a case: put on the node, asked, struck and taken away again."""

import http.client
import json
import os
import shutil
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cgroups
import kubelet
import manifests
import settings
from journal import Event
from kubelet import Seen
from manifests import Changes, Rendered
from node import Node
from waiting import require, until

CONTAINER = "impetus-llm-server"
HTTP, HEALTH = 8080, 8081
ANSWERS_WITHIN = 10.0


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Pod:
    """A static pod made from a shipped manifest."""

    def __init__(self, node: Node, name: str, rendered: Rendered, changes: Changes):
        self.node = node
        self.name = f"{name}-{settings.NODE_NAME}"
        self.volumes = node.places.volumes / name
        self._manifest = node.places.manifests / f"{name}.json"
        self._content = manifests.static_pod(rendered, name, self.volumes, changes)
        self._logs: list[ContainerLog] = []
        self._address: str | None = None

    # --- its life

    @property
    def spec(self) -> dict:
        """The container as the kubelet is told to run it."""
        return self._content["spec"]["containers"][0]

    @property
    def grace(self) -> float:
        return self._content["spec"].get("terminationGracePeriodSeconds", 30)

    def put_model(self, source: Path) -> Path:
        """Copies a model's folder to where the pod will see its models; returns the copy."""
        mounts = {mount["mountPath"]: mount["name"] for mount in self.spec["volumeMounts"]}
        return Path(shutil.copytree(source, self.volumes / mounts["/models"] / source.name))

    def start(self) -> None:
        """Gives the manifest to the kubelet and waits until the container runs."""
        # The folder is watched: a file must appear in it whole.
        draft = self.node.places.run / self._manifest.name
        draft.write_text(json.dumps(self._content, indent=1))
        draft.rename(self._manifest)
        until(f"{self.name} to run", 60, lambda: self._state("running") and self.address)
        self._follow()

    def until_ready(self, within: float = 120) -> Seen:
        """Waits until the kubelet calls the container ready; returns since when."""
        until(f"{self.name} to be ready", within, lambda: self.ready)
        return [seen for seen in self.history() if seen.ready][-1]

    def until_restarted(self, within: float) -> None:
        """Waits for the next container of this pod to run."""
        before = self.restarts
        until(
            f"{self.name} to be restarted",
            within,
            lambda: self.restarts > before and self._state("running"),
        )
        self._follow()

    def remove(self) -> datetime:
        """Takes the manifest away, which deletes the pod; returns when."""
        self._manifest.unlink(missing_ok=True)
        return kubelet.now()

    # --- what the kubelet says

    def _status(self) -> dict:
        pod = self.node.watch.latest(self.name) or {}
        return next(iter(pod.get("status", {}).get("containerStatuses", [])), {})

    def _state(self, state: str) -> dict | None:
        return self._status().get("state", {}).get(state)

    @property
    def ready(self) -> bool:
        return self._status().get("ready", False)

    @property
    def restarts(self) -> int:
        return self._status().get("restartCount", 0)

    @property
    def address(self) -> str | None:
        """The pod's address, also while it ends and the kubelet no longer tells."""
        pod = self.node.watch.latest(self.name) or {}
        self._address = pod.get("status", {}).get("podIP") or self._address
        return self._address

    @property
    def container_id(self) -> str:
        return self._status()["containerID"].removeprefix("containerd://")

    @property
    def running_since(self) -> datetime:
        return _time(self._state("running")["startedAt"])

    def last_end(self) -> dict:
        """Returns how the container before this one ended."""
        return self._status().get("lastState", {}).get("terminated", {})

    def history(self) -> list[Seen]:
        return self.node.watch.history(self.name)

    def events(self, reason: str = "", containing: str = "") -> list[Event]:
        return self.node.journal.events(self.name, reason, containing)

    def must_not_have_been_touched(self) -> None:
        """Fails if the container was restarted or lost its readiness once it had it."""
        require(self.restarts == 0, f"{self.name} was restarted: {self.last_end()}")
        seen = [change.ready for change in self.history()]
        require(
            seen.count(True) <= 1 and (not any(seen) or seen[-1]),
            f"{self.name} was unready in between: {self.history()}",
        )

    # --- what the server says

    def ask(
        self, path: str, port: int = HTTP, body: bytes | dict | None = None, within: float = ANSWERS_WITHIN
    ) -> Answer:
        """Asks the server on the pod's address, as a service in the cluster would."""
        content, headers = body, {}
        if isinstance(body, dict):
            content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        elif body is not None:
            headers = {"Content-Type": "image/png"}
        connection = http.client.HTTPConnection(self.address, port, timeout=within)
        try:
            connection.request("GET" if body is None else "POST", path, content, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def status(self) -> dict:
        return self.ask("/api/health/status", HEALTH).json

    def models(self) -> dict[str, dict]:
        """Returns the server's models by name."""
        return {model["name"]: model for model in self.ask("/api/models/list").json["models"]}

    def execute(self, command: str) -> str:
        """Runs a command in the container, as `kubectl exec` does."""
        return kubelet.run(self.name, CONTAINER, command)

    def order(self, path: str, order: dict) -> dict:
        """Gives the server an order that it takes from its own machine alone."""
        body = json.dumps(order, separators=(",", ":"))
        said = self.execute(
            f"curl -s -d {body} -H content-type:application/json http://localhost:{HTTP}{path}"
        )
        return json.loads(said)

    def log(self, container: int = -1) -> "ContainerLog":
        """Returns the log of one of its containers, the latest by default."""
        return self._logs[container]

    # --- what the machine says

    def group(self, hierarchy: str = "memory") -> Path:
        """Returns the control group of the container."""
        pod = self.node.watch.latest(self.name)
        return cgroups.container(pod["metadata"]["uid"], self.container_id, hierarchy)

    def workers(self) -> list[int]:
        """Returns the worker processes, by their number on the machine."""
        return [pid for pid in cgroups.processes(self.group()) if "worker" in _words(pid)]

    def server(self) -> int:
        """Returns the server's process, by its number on the machine."""
        return next(pid for pid in cgroups.processes(self.group()) if "serve" in _words(pid))

    def strike(self, kind: signal.Signals) -> int:
        """Sends a signal to one worker from outside the container; returns the worker."""
        victim = self.workers()[0]
        os.kill(victim, kind)
        return victim

    def memory(self, counter: str) -> str:
        return (self.group() / counter).read_text().strip()

    def oom_kills(self) -> int:
        """Returns how often the kernel killed a process of the container for its memory limit."""
        words = self.memory("memory.oom_control").split()
        return int(words[words.index("oom_kill") + 1])

    def keep_logs(self, into: Path) -> None:
        """Copies what the containers said to where it outlives them."""
        into.mkdir(parents=True, exist_ok=True)
        for number, log in enumerate(self._logs):
            (into / f"{self.name}-{number}.log").write_text(log.text())

    def _follow(self) -> None:
        pod = self.node.watch.latest(self.name)
        folder = f"{settings.POD_NAMESPACE}_{self.name}_{pod['metadata']['uid']}"
        path = Path("/var/log/pods") / folder / CONTAINER / f"{self.restarts}.log"
        self._logs.append(ContainerLog(path))


class ContainerLog:
    """What one container says. It stays readable after the kubelet has removed the file."""

    def __init__(self, path: Path):
        self._file = until(f"{path}", 20, lambda: path.open() if path.exists() else None)

    def text(self) -> str:
        self._file.seek(0)
        return self._file.read()

    def records(self, message: str) -> list[dict]:
        """Returns the records with this message, oldest first, their time as `at`."""
        found = []
        for line in self.text().splitlines():
            # 2026-11-25T16:34:16.02Z stderr F {"timestamp":…}
            _, _, said = line.partition(" F ")
            if said.startswith("{") and (record := json.loads(said)).get("message") == message:
                found.append(record | {"at": _time(record["timestamp"])})
        return found

    def until_said(self, message: str, within: float) -> dict:
        return until(f"the log to say {message!r}", within, lambda: self.records(message) or None)[-1]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
