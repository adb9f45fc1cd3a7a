"""The processes of a server: which they are, what they use, and how they end.

The runner is the subreaper of everything it starts, so a process whose parent has died is still its
descendant and is found. Processes are only ever ended by number.
"""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# How children ended, by process number: an exit code, or a signal as a negative number.
ENDED: dict[int, int] = {}


def become_subreaper() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _stat(pid: int) -> list[str] | None:
    """Returns the fields of /proc/PID/stat from the third, the state, on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def descendants(root: int) -> list[int]:
    """Returns the living descendants of a process, itself not among them, in order of number."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))) and stat[0] != "Z":
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, next_ones = [], [root]
    while next_ones:
        next_ones = [child for pid in next_ones for child in children.get(pid, [])]
        found += next_ones
    return sorted(found)


def command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace")
    except OSError:
        return ""


def stopped(pid: int) -> bool:
    return (_stat(pid) or ["X"])[0] in "TX"


def running_threads(pids: list[int]) -> int:
    """Counts threads that run or wait for a core."""
    count = 0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                stat = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
                count += stat.rsplit(")", 1)[1].split()[0] == "R"
        except OSError:
            continue
    return count


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process so far, in seconds, and of those of its children that have ended."""
    stat = _stat(pid)
    return sum(map(int, stat[11:15])) / TICKS if stat else 0.0


def private_bytes(pid: int) -> int:
    """Returns the memory that would go if the process went: resident and not of a file."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * PAGE


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def end_tree(root: int, seconds: float = 10.0) -> None:
    """Kills a child of the runner and what it has started, and waits until they are gone."""
    own = [root, *descendants(root)]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in own:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        own = [pid for pid in own if (stat := _stat(pid)) and stat[0] != "Z"]
        if not own:
            return
        time.sleep(0.02)
    raise RuntimeError(f"processes outlived SIGKILL: {own}")


def end_all(root: int, seconds: float = 10.0) -> None:
    """Kills every descendant, and reaps those that came to be the runner's own children."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        living = descendants(root)
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        if not living:
            return
        time.sleep(0.02)
    raise RuntimeError(f"processes outlived SIGKILL: {descendants(root)}")


def reap() -> None:
    """Collects children that have ended. Nothing else in the runner waits for them."""
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            ENDED[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        pass


class Machine:
    """Tells how much of the machine others used since it was made."""

    def __init__(self):
        self._since = self._read()

    def others(self) -> tuple[float, float]:
        """Returns cores used by processes that are not the runner's, and cores stolen."""
        passed, busy, ours, stolen = (now - then for now, then in zip(self._read(), self._since))
        return round(max(0.0, busy - ours) / passed, 2), round(stolen / passed, 2)

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        user, nice, system, _, _, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        # With what their own children used that have ended.
        stats = [stat for pid in descendants(os.getpid()) if (stat := _stat(pid))]
        family = sum(int(ticks) for stat in stats for ticks in stat[11:15]) / TICKS
        own = sum(os.times()[:4])
        busy = (user + nice + system + irq + softirq) / TICKS
        return time.monotonic(), busy, family + own, steal / TICKS


class MemoryLimit:
    """Does what a container's memory limit does: over it, the largest process is killed.

    A thread looks every 10 ms, and is no cgroup because that needs rights which not every machine
    gives. The kernel's own limit on the address space of each process stands behind it.
    """

    EVERY = 0.01
    LOOK_FOR_PROCESSES_EVERY = 0.25

    def __init__(self, limit: int):
        self.limit = limit
        self.highest = 0
        self.killed: list[tuple[float, int, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryLimit":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        pids, looked = [], 0.0
        while not self._stop.wait(self.EVERY):
            now = time.monotonic()
            if now - looked >= self.LOOK_FOR_PROCESSES_EVERY:
                pids, looked = descendants(os.getpid()), now
                reap()
            sizes = {pid: private_bytes(pid) for pid in pids}
            total = sum(sizes.values())
            self.highest = max(self.highest, total)
            if total > self.limit:
                largest = max(sizes, key=sizes.__getitem__)
                try:
                    os.kill(largest, signal.SIGKILL)
                    self.killed.append((now, largest, sizes[largest]))
                except ProcessLookupError:
                    pass
                pids, looked = [], 0.0
