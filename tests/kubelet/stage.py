"""What a case is given: the node, the shipped manifests, and a place to note what it sees."""

from dataclasses import dataclass
from pathlib import Path

import manifests
from manifests import Changes
from node import Node
from pod import Pod

ROOT = Path(__file__).resolve().parents[2]
KILLERS = ROOT / "tests" / "models"
DEMO = ROOT / "models" / "surface"
UNCHANGED = Changes()


@dataclass(frozen=True)
class Shipped:
    """What is under test."""

    # An archive, and what the image in it is called.
    archive: Path
    image: str
    # Folders of kustomizations.
    base: Path
    production: Path


class Stage:
    """The surroundings of one case."""

    def __init__(self, node: Node, case: str, shipped: Shipped):
        self._node = node
        self._case = case
        self._shipped = shipped
        self._pods: list[Pod] = []
        # What the case has seen, one sentence each.
        self.seen: list[str] = []

    def base_pod(self, suffix: str = "", changes: Changes = UNCHANGED) -> Pod:
        """Returns a pod of the first document: every probe on the main port, startup asks for readiness."""
        return self._pod(self._shipped.base, suffix, changes)

    def production_pod(self, suffix: str = "", changes: Changes = UNCHANGED) -> Pod:
        """Returns a pod of the production overlay: probes on the health port, startup asks for the tree."""
        return self._pod(self._shipped.production, suffix, changes)

    def note(self, sentence: str) -> None:
        self.seen.append(sentence)

    def clear(self, logs: Path) -> None:
        """Keeps what the pods said, and takes them away."""
        for pod in self._pods:
            pod.keep_logs(logs)
            pod.remove()

    def _pod(self, kustomization: Path, suffix: str, changes: Changes) -> Pod:
        name = "-".join(part for part in (self._case, suffix) if part)
        pod = Pod(self._node, name, manifests.render(kustomization, self._shipped.image), changes)
        self._pods.append(pod)
        return pod
