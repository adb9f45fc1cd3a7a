"""A node of one kubelet: started from nothing, watched, and taken away without a trace.

It is a context manager. Entering it first clears what an earlier run left, then starts containerd,
imports the images and starts the kubelet; leaving it ends pods, daemons, mounts and control groups,
whatever has happened inside. Only one can exist on a machine.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

import archive
import cgroups
import settings
from daemons import Daemon
from journal import Journal
from kubelet import Watch, healthy
from settings import Places
from waiting import Failed, until

_RUN = Path("/run/impetus-kubelet")
_LOCK = Path("/run/impetus-kubelet.lock")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_STARTS_WITHIN = 60.0
_IMPORTS_WITHIN = 180.0
_PODS_END_WITHIN = 45.0


class Node:
    """A running kubelet with its containerd."""

    def __init__(self, tools: Path, logs: Path, images: list[Path]):
        self.places = Places(tools=tools, run=_RUN, state=tools / "state", logs=logs)
        self.name = settings.NODE_NAME
        self._images = images
        self._daemons: list[Daemon] = []
        self._lock: IO[str] | None = None
        self._forwarding = ""
        self.journal: Journal | None = None
        self.watch: Watch | None = None

    def __enter__(self) -> "Node":
        if problem := _problem():
            raise Failed(problem)
        self._lock = _LOCK.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failed("another run of this test has not ended") from error
        self._take_away()
        # The lock remembers it for the run after one that was cut off.
        self._lock.seek(0)
        self._forwarding = self._lock.read() or _FORWARDING.read_text()
        self._lock.truncate(0)
        self._lock.write(self._forwarding)
        self._lock.flush()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.watch:
            self._end_pods()
            self.watch.stop()
        if self.journal:
            self.journal.stop()
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._take_away()
        _FORWARDING.write_text(self._forwarding)
        self._lock.truncate(0)
        self._lock.close()

    def ctr(self, *arguments: str | Path, within: float = 30.0) -> str:
        """Asks containerd; returns what it says."""
        command = [
            self.places.tools / "containerd/usr/bin/ctr",
            *("--address", self.places.containerd_socket, "--namespace", "k8s.io"),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=within)
        if done.returncode != 0:
            raise Failed(f"ctr {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def _start(self) -> None:
        places = self.places
        for folder in (places.run, places.manifests, places.volumes, places.logs):
            folder.mkdir(parents=True, exist_ok=True)
        cgroups.create()
        containerd, kubelet = settings.write(places, cgroups.PODS)
        programs = places.tools / "containerd/usr/bin"
        self.daemon([programs / "containerd", "--config", containerd])
        until("containerd", _STARTS_WITHIN, lambda: self.well() and self._answers())
        self._import()
        self.journal = Journal(places, programs / "ctr")
        self._before_kubelet()
        self.daemon(_kubelet_command(places, kubelet) + self._kubelet_options())
        until("the kubelet", _STARTS_WITHIN, lambda: self.well() and healthy())
        self.watch = Watch()

    def _before_kubelet(self) -> None:
        """Starts what else there has to be."""

    def _kubelet_options(self) -> list[str | Path]:
        return ["--hostname-override", self.name]

    def daemon(self, command: list[str | Path]) -> None:
        """Starts a program that runs as long as the node, with a log of its own name."""
        log = self.places.logs / f"{Path(command[0]).name}.log"
        self._daemons.append(Daemon(command, log, self.places.programs))

    def well(self) -> bool:
        for daemon in self._daemons:
            daemon.must_run()
        return True

    def _answers(self) -> bool:
        # A client that finds no socket waits ten seconds for one.
        return self.places.containerd_socket.exists() and bool(self.ctr("version"))

    def _import(self) -> None:
        pause = self.places.run / "pause.tar"
        archive.of_program(self.places.tools / "bin/pause", settings.PAUSE_IMAGE, pause)
        for image in (pause, *self._images):
            self.ctr("images", "import", image, within=_IMPORTS_WITHIN)

    def _end_pods(self) -> None:
        for manifest in self.places.manifests.iterdir():
            manifest.unlink()
        self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """Gives the pods, which have been told to end, time for it."""
        try:
            until("the pods' end", _PODS_END_WITHIN, lambda: not self.ctr("tasks", "ls", "--quiet"))
        except (Failed, OSError) as error:
            print(f"the node: {error}; they are killed", flush=True)

    def _take_away(self) -> None:
        """Removes processes, mounts, groups and files, of this run or of one that was cut off."""
        cgroups.end_all()
        _unmount_below(self.places.run, self.places.state)
        cgroups.remove()
        for folder in (self.places.run, self.places.state):
            shutil.rmtree(folder, ignore_errors=False) if folder.exists() else None
        for log in Path("/var/log/pods").glob(f"{settings.POD_NAMESPACE}_*"):
            shutil.rmtree(log)
        for link in Path("/var/log/containers").glob(f"*_{settings.POD_NAMESPACE}_*"):
            link.unlink()


def versions(tools: Path) -> str:
    """Returns what the node is made of, for the report."""
    unpacked = tools / "containerd" / "usr"
    programs = (tools / "bin/kubelet", unpacked / "bin/containerd", unpacked / "sbin/runc")
    outputs = [
        subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()
        for program in programs
    ]
    # "Kubernetes v1.20.2", "containerd github.com/containerd/containerd 1.6.20…", "runc version 1.1.5…"
    kubelet, containerd, runc = outputs
    return f"kubelet {kubelet[1]}, containerd {containerd[2]}, runc {runc[2]}"


def _problem() -> str | None:
    if os.geteuid() != 0:
        return "a kubelet needs root"
    return cgroups.problem()


def _kubelet_command(places: Places, configuration: Path) -> list[str | Path]:
    state = places.state / "kubelet"
    return [
        places.tools / "bin/kubelet",
        *("--config", configuration, "--root-dir", state, "--cert-dir", state / "pki"),
        *("--container-runtime", "remote"),
        *("--container-runtime-endpoint", f"unix://{places.containerd_socket}"),
        # From 3 on the events are in the log, of which there is no other record without an API server.
        *("--v", "3"),
    ]


def _unmount_below(*folders: Path) -> None:
    """Unmounts everything below some folders, the last mounted first."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(mounted):
        if any(Path(point).is_relative_to(folder) for folder in folders):
            subprocess.run(["umount", "--lazy", point], check=True)
