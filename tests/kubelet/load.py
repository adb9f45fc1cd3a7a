"""Ordinary requests while a case strikes, and what became of them."""

import threading
from pathlib import Path

from pod import Pod
from waiting import require, until

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "models" / "surface" / "samples"
_EVERY = 0.2
_ANSWERED_WITHIN = 30.0
# The killer models answer with the brightest quarter of the picture.
_QUARTERS = ("top_left", "top_right", "bottom_left", "bottom_right")


def sample(name: str) -> bytes:
    """Returns a picture for the demo model."""
    return (SAMPLES / name).read_bytes()


def picture(quarter: int, marker: float | None = None) -> tuple[dict, str]:
    """Returns a request for a killer model, and the class that is right.

    A marker is the number that triggers the model's danger (tests/models/README.md).
    """
    data = [
        0.9 if (index // 32 % 32 // 16) * 2 + index % 32 // 16 == quarter else 0.1
        for index in range(3 * 32 * 32)
    ]
    if marker is not None:
        data[0] = marker
    return {"data": data}, _QUARTERS[quarter]


class Load:
    """One client that sends a request five times a second, on a connection each, until it is stopped."""

    def __init__(self, pod: Pod, model: str, body: bytes | dict, right: str):
        self._ask = lambda: pod.ask(f"/predict?model={model}", body=body, within=_ANSWERED_WITHIN)
        self._right = right
        self.sent = 0
        self.answered = 0
        self.wrong: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"load {pod.name}", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def until_more_are_answered(self, count: int = 5) -> None:
        """Waits until so many more requests have been answered, whatever the answers are."""
        goal = self.answered + count
        until(f"{count} answers", 60, lambda: self.answered >= goal)

    def must_be_right(self) -> str:
        """Fails unless every answer was the right one; returns how many there were."""
        require(self.sent, "no request was sent")
        wrong = list(self.wrong)
        require(not wrong, f"{len(wrong)} of {self.sent} answers were wrong, first {wrong[:1]}")
        return f"{self.sent} of {self.sent} requests answered rightly"

    def _loop(self) -> None:
        while not self._stopped.wait(_EVERY):
            self.sent += 1
            try:
                answer = self._ask()
                if answer.status != 200 or answer.json["class"] != self._right:
                    self.wrong.append(f"{answer.status} {answer.body[:200]!r}")
            except OSError as error:
                self.wrong.append(repr(error))
            self.answered += 1
