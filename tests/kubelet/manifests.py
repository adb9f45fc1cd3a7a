"""Static pods from the manifests that are shipped.

A kubelet without an API server takes pods from files. Each is the pod template of a rendered
kustomization, with its probes, security and grace period to the letter. What is changed is only what such
a kubelet cannot have or the machine has not got:

- claims become folders of this machine, and values of ConfigMaps and Secrets stand in their place;
- there are no service accounts, and no scheduler, so its rules are left out;
- resources are scaled down;
- the image is the one that was imported, and never fetched.
"""

import base64
import copy
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import settings
from waiting import Failed

# The user of the image.
USER = 65532
SCALED_DOWN = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}
_WORKLOADS = ("Deployment", "StatefulSet")
_NEEDS_A_CLUSTER = (
    "affinity",
    "automountServiceAccountToken",
    "nodeSelector",
    "priorityClassName",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
)


@dataclass(frozen=True)
class Changes:
    """What a case changes about the shipped pod."""

    environment: dict[str, str] = field(default_factory=dict)
    # Of those in `SCALED_DOWN`.
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """The objects of a kustomization that pods are made from."""

    workload: dict
    # ConfigMaps and Secrets.
    others: list[dict]
    # What the image is called on this node.
    image: str


def render(kustomization: Path, image: str) -> Rendered:
    """Renders a kustomization, and returns what pods are made from."""
    text = _output(["kubectl", "kustomize", kustomization])
    documents = [document for document in text.split("\n---\n") if _kind(document) is not None]
    objects = [
        _as_json(document)
        for document in documents
        if _kind(document) in (*_WORKLOADS, "ConfigMap", "Secret")
    ]
    workloads = [item for item in objects if item["kind"] in _WORKLOADS and _serves(item)]
    if not workloads:
        raise Failed(f"{kustomization} has no workload that runs the server")
    others = [item for item in objects if item["kind"] not in _WORKLOADS]
    return Rendered(workloads[0], others, image)


def static_pod(rendered: Rendered, name: str, volumes: Path, changes: Changes) -> dict:
    """Returns the manifest of a static pod of this name; its volumes are folders below `volumes`."""
    template = copy.deepcopy(rendered.workload["spec"]["template"])
    spec = template["spec"]
    for key in _NEEDS_A_CLUSTER:
        spec.pop(key, None)
    claims = rendered.workload["spec"].get("volumeClaimTemplates", [])
    for claim in claims:
        spec.setdefault("volumes", []).append({"name": claim["metadata"]["name"], "claim": True})
    spec["volumes"] = [_volume(volume, volumes, rendered.others) for volume in spec.get("volumes", [])]
    for container in spec["containers"] + spec.get("initContainers", []):
        _adapt(container, rendered, changes)
    metadata = {
        "name": name,
        "namespace": settings.POD_NAMESPACE,
        "labels": template["metadata"].get("labels", {}),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _adapt(container: dict, rendered: Rendered, changes: Changes) -> None:
    others = rendered.others
    container |= {"image": rendered.image, "imagePullPolicy": "Never"}
    container["resources"] = copy.deepcopy(SCALED_DOWN)
    container["resources"]["limits"].update(changes.limits)
    variables = {}
    for source in container.pop("envFrom", []):
        reference = source.get("configMapRef") or source["secretRef"]
        for key, value in _values(others, reference["name"]).items():
            variables[source.get("prefix", "") + key] = {"value": value}
    for variable in container.get("env", []):
        variables[variable["name"]] = _resolved(variable, others)
    variables |= {key: {"value": value} for key, value in changes.environment.items()}
    container["env"] = [{"name": key, **content} for key, content in variables.items()]


def _resolved(variable: dict, others: list[dict]) -> dict:
    source = variable.get("valueFrom", {})
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef")
    if reference is None:
        return {key: value for key, value in variable.items() if key != "name"}
    return {"value": _values(others, reference["name"])[reference["key"]]}


def _volume(volume: dict, volumes: Path, others: list[dict]) -> dict:
    reference = volume.get("configMap") or volume.get("secret")
    if not reference and "persistentVolumeClaim" not in volume and "claim" not in volume:
        return volume
    folder = volumes / volume["name"]
    folder.mkdir(parents=True, exist_ok=True)
    if reference:
        name = reference.get("name") or reference["secretName"]
        for key, value in _values(others, name).items():
            (folder / key).write_text(value)
    else:
        os.chown(folder, USER, USER)
    return {"name": volume["name"], "hostPath": {"path": str(folder), "type": "Directory"}}


def _values(others: list[dict], name: str) -> dict[str, str]:
    for item in others:
        if item["metadata"]["name"] == name:
            decoded = {
                key: base64.b64decode(value).decode()
                for key, value in (item.get("data") or {}).items()
                if item["kind"] == "Secret"
            }
            plain = {} if item["kind"] == "Secret" else item.get("data") or {}
            return {**plain, **decoded, **(item.get("stringData") or {})}
    raise Failed(f"the manifests name {name!r} and do not have it")


def _serves(workload: dict) -> bool:
    containers = workload["spec"]["template"]["spec"]["containers"]
    return any("impetus" in container["image"] for container in containers)


def _kind(document: str) -> str | None:
    kinds = [line[6:].strip() for line in document.splitlines() if line.startswith("kind: ")]
    return kinds[0] if kinds else None


def _as_json(document: str) -> dict:
    # A patch that changes nothing: kubectl's way to turn one notation into the other by itself.
    command = ["kubectl", "patch", "--local", "--filename", "-", "--type", "merge"]
    return json.loads(_output([*command, "--patch", "{}", "--output", "json"], document))


def _output(command: list[str | Path], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise Failed("kubectl is missing: it renders the manifests (1.21 or newer)") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
