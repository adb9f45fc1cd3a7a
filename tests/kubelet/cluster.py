"""A cluster of one node: the node of `node.py`, registered with a control plane beside it."""

from pathlib import Path

import control_plane
from control_plane import ControlPlane
from node import Node
from registry import Registry
from settings import REGISTRY_PORT
from waiting import until

_STARTS_WITHIN = 90.0


class Cluster(Node):
    """A node with a control plane and a registry. A context manager, as a node is."""

    def __init__(self, tools: Path, logs: Path, archive: Path):
        super().__init__(tools, logs, [])
        self.name = control_plane.NODE_NAME
        self.control = ControlPlane(self.places)
        self._archive = archive
        self._registry: Registry | None = None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._registry:
            self._registry.stop()

    def _before_kubelet(self) -> None:
        self._registry = Registry(self._archive, REGISTRY_PORT)
        self.control.write()
        for command in self.control.stores():
            self.daemon(command)
        until("the API server", _STARTS_WITHIN, lambda: self.well() and self.control.answers())
        for command in self.control.managers():
            self.daemon(command)

    def _kubelet_options(self) -> list[str | Path]:
        return [*super()._kubelet_options(), "--kubeconfig", self.control.kubeconfig]

    def _end_pods(self) -> None:
        workloads = "deployments,statefulsets"
        for namespace in ("default", "mlops"):
            self.control.kubectl("delete", workloads, "--all", "--wait=false", "--namespace", namespace)
        self._wait_for_the_end()
