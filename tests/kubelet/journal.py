"""What has happened on the node, from its own records.

Without an API server the kubelet's events are in its log alone; that a container was killed for memory,
and how a process ended, containerd tells to whoever listens.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cgroups
from settings import Places

_EVENT = re.compile(
    r"^[IWEF](?P<month>\d\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d\.\d+) .*"
    r'"Event occurred" object="(?P<object>[^"]*)" kind="Pod" .*'
    r'type="(?P<type>\w+)" reason="(?P<reason>\w+)" message=(?P<message>".*")$'
)
# 2026-11-25 16:34:15.9 +0000 UTC k8s.io /tasks/exit {"container_id":…}
_TASK = re.compile(r"^\S+ \S+ \S+ \S+ k8s\.io (?P<topic>/tasks/\w+) (?P<body>\{.*\})$")


@dataclass(frozen=True)
class Event:
    """An event that the kubelet has of a pod."""

    at: datetime
    pod: str
    reason: str
    message: str


class Journal:
    """The records of the kubelet and of containerd."""

    def __init__(self, places: Places, ctr: Path):
        self._kubelet = places.logs / "kubelet.log"
        self._tasks = places.logs / "tasks.log"
        with self._tasks.open("wb") as output:
            self._listener = subprocess.Popen(
                [ctr, "--address", places.containerd_socket, "--namespace", "k8s.io", "events"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )
        cgroups.adopt(self._listener.pid)

    def stop(self) -> None:
        self._listener.terminate()
        self._listener.wait(10)

    def events(self, pod: str, reason: str = "", containing: str = "") -> list[Event]:
        """Returns the kubelet's events of a pod, oldest first."""
        found = []
        for line in self._kubelet.read_text(errors="replace").splitlines():
            if (match := _EVENT.match(line)) and match["object"].endswith(f"/{pod}"):
                event = _event(match)
                if reason in ("", event.reason) and containing in event.message:
                    found.append(event)
        return found

    def exit_code(self, container: str) -> int | None:
        """Returns the code with which a container's first process ended, if it has."""
        for body in self._task_events("/tasks/exit"):
            if body.get("container_id") == container and body.get("id") == container:
                return body.get("exit_status", 0)
        return None

    def killed_for_memory(self, container: str) -> int:
        """Returns how often containerd heard that a container was out of memory."""
        return sum(body.get("container_id") == container for body in self._task_events("/tasks/oom"))

    def _task_events(self, topic: str) -> list[dict]:
        lines = self._tasks.read_text(errors="replace").splitlines()
        matches = (match for line in lines if (match := _TASK.match(line)))
        return [json.loads(match["body"]) for match in matches if match["topic"] == topic]


def _event(match: re.Match[str]) -> Event:
    # The log's times have no year.
    year = datetime.now(timezone.utc).year
    text = f"{year}-{match['month']}-{match['day']}T{match['time']}+00:00"
    return Event(
        at=datetime.fromisoformat(text),
        pod=match["object"],
        reason=match["reason"],
        message=json.loads(match["message"]),
    )
