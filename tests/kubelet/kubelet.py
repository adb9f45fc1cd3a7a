"""What the kubelet says of its pods, and the commands it runs in them."""

import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from settings import HEALTHZ_PORT, KUBELET_PORT, POD_NAMESPACE, READ_ONLY_PORT
from waiting import Failed

_ANSWERS_WITHIN = 10.0
_LOOK_EVERY = 0.2


def now() -> datetime:
    return datetime.now(timezone.utc)


def healthy() -> bool:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{HEALTHZ_PORT}/healthz", timeout=_ANSWERS_WITHIN
        ) as answer:
            return answer.status == 200
    except OSError:
        return False


def pods() -> list[dict]:
    """Returns the pods that the kubelet has, with their status as it sees them."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{READ_ONLY_PORT}/pods", timeout=_ANSWERS_WITHIN
    ) as answer:
        return json.load(answer)["items"] or []


def run(pod: str, container: str, command: str) -> str:
    """Runs a command in a container as `kubectl exec` does; returns its output.

    The kubelet splits the command at spaces, so no argument can have any.
    """
    query = urllib.parse.urlencode({"cmd": command})
    request = urllib.request.Request(
        f"https://127.0.0.1:{KUBELET_PORT}/run/{POD_NAMESPACE}/{pod}/{container}?{query}", method="POST"
    )
    # Its certificate is one that it made for itself.
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=60, context=unverified) as answer:
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        raise Failed(f"{command} in {pod}: {error.read().decode(errors='replace')}") from error


@dataclass(frozen=True)
class Seen:
    """What the kubelet said of a pod's container from some time on."""

    at: datetime
    ready: bool
    started: bool
    restarts: int
    state: str


class Watch:
    """Asks five times a second and keeps what has changed, so that no short change is missed."""

    def __init__(self) -> None:
        self._changes: dict[str, list[Seen]] = {}
        self._latest: dict[str, dict] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)
        self._thread.start()

    def history(self, pod: str) -> list[Seen]:
        """Returns what was seen of a pod, oldest first; one entry for each change."""
        return list(self._changes.get(pod, []))

    def latest(self, pod: str) -> dict | None:
        """Returns the pod as the kubelet showed it last, or None when it has no such pod."""
        return self._latest.get(pod)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            try:
                self._take(pods())
            except (OSError, ValueError):
                continue  # the kubelet is busy, or ending

    def _take(self, items: list[dict]) -> None:
        self._latest = {item["metadata"]["name"]: item for item in items}
        for name, item in self._latest.items():
            for container in item["status"].get("containerStatuses", []):
                seen = Seen(
                    at=now(),
                    ready=container["ready"],
                    started=bool(container.get("started")),
                    restarts=container["restartCount"],
                    state=next(iter(container["state"]), "unknown"),
                )
                changes = self._changes.setdefault(name, [])
                if not changes or _without_time(changes[-1]) != _without_time(seen):
                    changes.append(seen)


def _without_time(seen: Seen) -> tuple:
    return (seen.ready, seen.started, seen.restarts, seen.state)


def first(changes: list[Seen], holds: Callable[[Seen], bool]) -> Seen | None:
    """Returns the first change for which something holds."""
    return next((seen for seen in changes if holds(seen)), None)


def seconds_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds()


def pause(seconds: float) -> None:
    """Lets time pass in which something must not happen."""
    time.sleep(seconds)
