"""The control groups of the test's node, cgroup version 1.

Everything that the test starts lives below one group of its own in every hierarchy: pods below `pods`,
which is the kubelet's root, and the daemons with containerd's shims below `daemons` (in the pids
hierarchy alone, which says who they are and limits nothing). So whatever an earlier run left behind is
found, and nothing else ever is.
"""

import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NAME = "impetus-kubelet"
PODS = f"/{NAME}/pods"
_DAEMONS = ROOT / "pids" / NAME / "daemons"
# What the kubelet of 1.20 wants; others are used where they exist.
_NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "pids")
_KILLED_WITHIN = 10.0


def problem() -> str | None:
    """Returns why no kubelet can be run with the control groups of this machine."""
    missing = [name for name in _NEEDED if not (ROOT / name).is_dir()]
    if missing:
        return f"it needs cgroup version 1; there is no {ROOT}/{missing[0]}"
    return None


def create() -> None:
    """Makes the groups that have to exist before the kubelet starts."""
    # The kubelet insists that its root exists in every hierarchy it knows.
    for hierarchy in ROOT.iterdir():
        if hierarchy.name != "unified":
            (hierarchy / NAME / "pods").mkdir(parents=True, exist_ok=True)
    _DAEMONS.mkdir(exist_ok=True)
    # A cpuset without processors and memory nodes takes no process, and none are inherited.
    cpuset = ROOT / "cpuset"
    for group in (cpuset / NAME, cpuset / NAME / "pods"):
        for file in ("cpuset.cpus", "cpuset.mems"):
            (group / file).write_text((cpuset / file).read_text())


def adopt(pid: int) -> None:
    """Puts a daemon, and so all that it will start, among those that `end_all` finds."""
    (_DAEMONS / "cgroup.procs").write_text(str(pid))


def container(pod_uid: str, container_id: str, hierarchy: str = "memory") -> Path:
    """Returns the group of one container."""
    found = list((ROOT / hierarchy / NAME).glob(f"pods/kubepods/**/pod{pod_uid}/{container_id}"))
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} {hierarchy} groups of container {container_id}")
    return found[0]


def processes(group: Path) -> list[int]:
    """Returns the processes of a group and of those below it."""
    found = set()
    for file in group.rglob("cgroup.procs"):
        try:
            found.update(int(pid) for pid in file.read_text().split())
        except OSError:
            continue  # the group went away meanwhile
    return sorted(found)


def end_all() -> None:
    """Kills what is left of the test's processes, by number."""
    deadline = time.monotonic() + _KILLED_WITHIN
    while pids := processes(ROOT / "pids" / NAME):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} do not end")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def remove() -> None:
    """Removes the groups, which no longer have processes."""
    for hierarchy in ROOT.iterdir():
        group = hierarchy / NAME
        if not hierarchy.is_symlink() and group.is_dir():
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)
