"""The configuration files of the node: containerd, the pods' network, the kubelet.

What differs from a cluster's node, and why:

- `cgroupfs` and not systemd, on both sides: machines of continuous integration often run without systemd.
- `restrict_oom_score_adj`: a container of the machine itself may not lower its scores.
- A point-to-point network of the pods' own, without routes to the outside: every pod has its own address,
  so that the probes of the documents are used with their own port numbers, however many pods run.
- Images of Docker's registry come from one on loopback (registry.py), or from nowhere.
- The kubelet has no API server, unless a control plane stands beside it. Its pods
  are files in a folder; its answers come from the read-only port, and commands run in containers through
  the port that also serves `kubectl exec`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

PAUSE_IMAGE = "impetus.test/pause:1"
KUBELET_PORT = 21250
READ_ONLY_PORT = 21255
REGISTRY_PORT = 21500
HEALTHZ_PORT = 21248
NODE_NAME = "node"
# Names its logs, which the kubelet keeps in a folder that it shares with others.
POD_NAMESPACE = "impetus-kubelet"


@dataclass(frozen=True)
class Places:
    """Where everything of the node is."""

    # What scripts/kubelet/prepare.sh made.
    tools: Path
    # Sockets, mounts and small state; a short path, since sockets' names are limited.
    run: Path
    # Images, containers' file systems, the pods' volumes.
    state: Path
    # What the daemons say.
    logs: Path

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def manifests(self) -> Path:
        return self.run / "manifests"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def programs(self) -> str:
        """The PATH of the daemons."""
        unpacked = self.tools / "containerd" / "usr"
        return f"{unpacked}/bin:{unpacked}/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(places: Places, cgroup_root: str) -> tuple[Path, Path]:
    """Writes all files; returns those of containerd and of the kubelet."""
    network = places.run / "network"
    network.mkdir()
    (network / "10-pods.conflist").write_text(json.dumps(_network(places), indent=1))
    containerd = places.run / "containerd.toml"
    containerd.write_text(_containerd(places, network))
    kubelet = places.run / "kubelet.json"
    kubelet.write_text(json.dumps(_kubelet(places, cgroup_root), indent=1))
    return containerd, kubelet


def _network(places: Places) -> dict:
    ipam = {"type": "host-local", "subnet": "10.244.77.0/24", "dataDir": str(places.run / "addresses")}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}


def _containerd(places: Places, network: Path) -> str:
    unused = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    return f"""\
version = 2
root = "{places.state / "containerd"}"
state = "{places.run / "containerd"}"
disabled_plugins = {json.dumps(["io.containerd.internal.v1.opt", *unused])}

[grpc]
address = "{places.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
disable_hugetlb_controller = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{places.tools / "containerd/usr/lib/cni"}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
endpoint = ["http://127.0.0.1:{REGISTRY_PORT}"]

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _kubelet(places: Places, cgroup_root: str) -> dict:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": str(places.manifests),
        "fileCheckFrequency": "1s",
        # This kubelet acts on a failed startup probe at its next look at the pod, 60 to 90 s later by
        # default; today's act at once.
        "syncFrequency": "5s",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "enforceNodeAllocatable": [],
        # A disk that is nearly full must not end the test's pods.
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "hairpinMode": "none",
        # Nobody is there; without an address the kubelet complains of every pod.
        "clusterDNS": ["10.96.77.10"],
        "address": "127.0.0.1",
        "port": KUBELET_PORT,
        "readOnlyPort": READ_ONLY_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": HEALTHZ_PORT,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        # Both would write outside the test's own folders.
        "featureGates": {"DevicePlugins": False},
        "volumePluginDir": str(places.run / "volume-plugins"),
    }
