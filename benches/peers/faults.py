"""The faults, one at a time, and how long each is watched."""

import signal
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    name: str
    said: str
    # Seconds of load after the strike, the last one if there are several signals. Longer than every
    # server's own timeout where that matters.
    watched: float
    model: str = "endless"
    by_signal: signal.Signals | None = None
    marker: float = 0.0
    # How often a signal is sent, each when the worker before has been replaced, or a request, each
    # after the answer to the one before.
    times: int = 1
    # How long the killer's client waits for each answer.
    patience: float = 10.0


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", "SIGKILL to a worker, 3 times", 25, by_signal=signal.SIGKILL, times=3),
        Fault("segv", "SIGSEGV to a worker", 25, by_signal=signal.SIGSEGV),
        Fault("stop", "SIGSTOP to a worker", 45, by_signal=signal.SIGSTOP),
        Fault("endless", "a request that never ends", 45, marker=2.0),
        Fault("endless-again", "the same, sent 10 times", 70, marker=2.0, times=10, patience=5.0),
        Fault("explode", "a request that takes all memory", 40, model="explode", marker=100000.0),
        Fault("fail", "a request that fails as it runs", 15, model="fail", marker=2.0),
    )
}
