"""etcd, API server, controller manager and scheduler, for a cluster of one node.

Everything listens on loopback and trusts one token. There is no proxy for services and no DNS: nothing
in the cluster calls anything else. Claims get folders of the machine, by `provision`.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import manifests
from settings import Places
from waiting import Failed

ROOT = Path(__file__).resolve().parents[2]
# The API server reaches the kubelet under the node's name.
NODE_NAME = "localhost"
_ETCD, _PEER, _API = 21379, 21380, 21443
_TOKEN = "impetus-kubelet-test"


class ControlPlane:
    """Where its files are, and how its programs are started and asked."""

    def __init__(self, places: Places):
        self._places = places
        self._folder = places.run / "control-plane"
        self.kubeconfig = self._folder / "kubeconfig"

    def write(self) -> None:
        """Writes what the programs share: a key for service accounts, a token, a kubeconfig."""
        self._folder.mkdir()
        key = ["openssl", "genpkey", "-algorithm", "RSA", "-out", self._folder / "accounts.key"]
        subprocess.run(key, check=True, capture_output=True, timeout=60)
        (self._folder / "tokens.csv").write_text(f"{_TOKEN},operator,operator,system:masters\n")
        cluster = {"server": f"https://127.0.0.1:{_API}", "insecure-skip-tls-verify": True}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "operator"}}],
            "current-context": "here",
        }
        self.kubeconfig.write_text(json.dumps(content))

    def stores(self) -> list[list[str | Path]]:
        """Returns the commands that have to run first."""
        here = f"http://127.0.0.1:{_ETCD}"
        peer = f"http://127.0.0.1:{_PEER}"
        etcd = [
            self._places.tools / "etcd/usr/bin/etcd",
            *("--data-dir", self._folder / "etcd", "--initial-cluster", f"default={peer}"),
            *("--listen-client-urls", here, "--advertise-client-urls", here),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        ]
        key = self._folder / "accounts.key"
        server = [
            self._places.tools / "bin/kube-apiserver",
            *("--etcd-servers", here, "--bind-address", "127.0.0.1", "--secure-port", str(_API)),
            *("--insecure-port", "0", "--cert-dir", self._folder / "pki"),
            *("--authorization-mode", "AlwaysAllow", "--token-auth-file", self._folder / "tokens.csv"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", key, "--service-account-signing-key-file", key),
            *("--service-cluster-ip-range", "10.96.77.0/24", "--endpoint-reconciler-type", "none"),
            *("--kubelet-preferred-address-types", "Hostname"),
        ]
        return [etcd, server]

    def managers(self) -> list[list[str | Path]]:
        """Returns the commands that run once the API server answers."""
        shared = [
            "--kubeconfig",
            self.kubeconfig,
            "--leader-elect=false",
            "--port",
            "0",
            "--secure-port",
            "0",
        ]
        tools = self._places.tools / "bin"
        return [
            [
                tools / "kube-controller-manager",
                *shared,
                *("--service-account-private-key-file", self._folder / "accounts.key"),
            ],
            [tools / "kube-scheduler", *shared],
        ]

    def answers(self) -> bool:
        try:
            return self.kubectl("get", "--raw", "/readyz").strip() == "ok"
        except Failed:
            return False

    def kubectl(self, *arguments: str | Path, within: float = 60.0) -> str:
        """Runs kubectl against the cluster; returns what it says on standard output."""
        return self.shell(shlex.join(["kubectl", *map(str, arguments)]), within)

    def shell(self, command: str, within: float = 60.0) -> str:
        """Runs a command as somebody at a terminal would who has the cluster's kubeconfig."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self._folder)}
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=within,
            env=environment,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )
        if done.returncode != 0:
            raise Failed(f"{command}: {done.stderr.strip() or 'nothing was found'}")
        return done.stdout

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def provision(self) -> dict[str, Path]:
        """Gives every claim without a volume a folder of this machine; returns all folders by claim."""
        folders = {}
        for claim in self.get("persistentvolumeclaims", "--all-namespaces")["items"]:
            name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
            folder = self._places.volumes / namespace / name
            folders[f"{namespace}/{name}"] = folder
            if folder.exists():
                continue
            folder.mkdir(parents=True)
            os.chown(folder, manifests.USER, manifests.USER)
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{namespace}-{name}"},
                "spec": {
                    "capacity": claim["spec"]["resources"]["requests"],
                    "accessModes": claim["spec"]["accessModes"],
                    "claimRef": {"namespace": namespace, "name": name},
                    "hostPath": {"path": str(folder)},
                    "storageClassName": claim["spec"].get("storageClassName", ""),
                },
            }
            file = self._folder / f"{namespace}-{name}.json"
            file.write_text(json.dumps(volume))
            self.kubectl("apply", "--filename", file)
        return folders
