"""The image, run as Kubernetes would run it at its strictest.

usage: check.py ARCHIVE FOLDER, where FOLDER/bundle is the image unpacked by umoci; as root, with runc.

Every container here has a root file system that cannot be written, no capability, no privilege to
gain, no network but its own loopback, no /dev/shm, a memory limit, and the server as process 1. What
is asked of it goes through the programs in the image, as `kubectl exec` would ask. Each test starts
from an image on which nobody has ever run anything, and breaks or mounts one thing.
"""

import copy
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

USER = 65532
DEMO = "/usr/local/share/impetus/models"
SAMPLE = f"{DEMO}/surface/samples/scratch-1.png"
MEMORY = 1 << 30
WITHIN = 60


class Container:
    """A container of the image; mounts are pairs of a folder here and one inside."""

    count = 0

    def __init__(self, mounts=(), env=()):
        Container.count += 1
        self.id = f"impetus-check-{os.getpid()}-{Container.count}"
        self.folder = Path(tempfile.mkdtemp(prefix="container.", dir=FOLDER))
        self.data = self.folder / "data"
        # A volume gets the owner and the rights that the image has at its place.
        self.data.mkdir()
        inside = (BUNDLE / "rootfs/data").stat()
        os.chown(self.data, inside.st_uid, inside.st_gid)
        self.data.chmod(inside.st_mode & 0o7777)
        self._write_spec([(self.data, "/data"), *mounts], env)
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            self._runc("run", "--bundle", self.folder, self.id),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def _write_spec(self, mounts, env):
        spec = copy.deepcopy(json.loads((BUNDLE / "config.json").read_text()))
        process = spec["process"]
        process["terminal"] = False
        process["noNewPrivileges"] = True
        process["capabilities"] = {}
        process["rlimits"] = []
        process["env"] += list(env)
        spec["root"] = {"path": str(BUNDLE / "rootfs"), "readonly": True}
        replaced = {"/dev/shm", *(inside for _, inside in mounts)}
        spec["mounts"] = [m for m in spec["mounts"] if m["destination"] not in replaced]
        spec["mounts"] += [
            {"destination": inside, "type": "bind", "source": str(here), "options": ["rbind", "rw"]}
            for here, inside in mounts
        ]
        spec["linux"]["resources"] = {"memory": {"limit": MEMORY}}
        spec["linux"]["cgroupsPath"] = f"/{self.id}"
        kinds = {space["type"] for space in spec["linux"]["namespaces"]}
        assert {"pid", "network", "ipc", "mount"} <= kinds, kinds
        (self.folder / "config.json").write_text(json.dumps(spec))

    def _runc(self, *arguments):
        return ["runc", "--root", str(FOLDER / "runc"), *map(str, arguments)]

    def run(self, *command):
        """Runs a command inside, as `kubectl exec` does."""
        return subprocess.run(
            self._runc("exec", self.id, *command), capture_output=True, text=True, timeout=WITHIN
        )

    def curl(self, path, *arguments, port=8080):
        """Returns status and body of a request made inside."""
        url = f"http://localhost:{port}{path}"
        done = self.run("curl", "-sS", "-w", "\n%{http_code}", *arguments, url)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def predict(self):
        status, body = self.curl("/predict", "-F", f"image=@{SAMPLE}")
        assert status == 200, body
        return json.loads(body)["class"]

    def wait(self, what, holds):
        """Waits for something that has to come true, looking again while the container runs."""
        deadline = time.monotonic() + WITHIN
        while not holds():
            log = (self.folder / "log").read_text(errors="replace")
            assert self.process.poll() is None, f"ended while waiting for {what}:\n{log}"
            assert time.monotonic() < deadline, f"waited too long for {what}:\n{log}"
            time.sleep(0.1)
        return self

    def wait_ready(self):
        return self.wait("readiness", lambda: self.curl("/api/health/ready")[0] == 200)

    def end(self, signal="TERM"):
        """Sends a signal to process 1 and returns the container's exit code."""
        subprocess.run(self._runc("kill", self.id, signal), check=True, capture_output=True)
        return self.process.wait(timeout=WITHIN)

    def remove(self):
        subprocess.run(self._runc("delete", "--force", self.id), capture_output=True, timeout=WITHIN)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=WITHIN)
        self.log.close()
        shutil.rmtree(self.folder)


class Case(unittest.TestCase):
    def start(self, **options):
        container = Container(**options)
        self.addCleanup(container.remove)
        return container


class AsItIs(unittest.TestCase):
    """Without any mount but the volume that the image asks for, and without any setting."""

    @classmethod
    def setUpClass(cls):
        cls.container = Container()
        cls.addClassCleanup(cls.container.remove)
        cls.container.wait_ready()

    def test_the_demo_model_answers(self):
        self.assertEqual(self.container.predict(), "scratch")

    def test_the_debug_commands_of_the_documents_work_inside(self):
        for path in ("ready", "live", "status", "metrics"):
            done = self.container.run("curl", f"http://localhost:8080/api/health/{path}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("impetus_health_status" if path == "metrics" else '"timestamp"', done.stdout)

    def test_the_health_port_answers_and_the_status_is_shown_as_a_tree(self):
        self.assertEqual(self.container.curl("/api/health/live", port=8081)[0], 200)
        done = self.container.run("/usr/local/bin/impetus", "status")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("worker:surface/0", done.stdout)

    def test_the_server_is_process_1_as_a_user_without_any_privilege(self):
        command = self.container.run("cat", "/proc/1/cmdline").stdout
        self.assertEqual(command, "/usr/local/bin/impetus\0serve\0")
        status = dict(
            line.split(":\t", 1) for line in self.container.run("cat", "/proc/1/status").stdout.splitlines()
        )
        self.assertEqual(status["Uid"].split(), [str(USER)] * 4)
        self.assertEqual(status["Gid"].split(), [str(USER)] * 4)
        self.assertEqual(status["CapEff"], "0" * 16)
        self.assertEqual(status["CapBnd"], "0" * 16)
        self.assertEqual(status["NoNewPrivs"], "1")

    def test_nothing_can_be_written_but_the_data_which_belongs_to_the_server(self):
        for place in ("/", "/usr/local/bin", "/models", "/tmp", "/etc"):
            done = self.container.run("touch", f"{place}/written")
            self.assertNotEqual(done.returncode, 0, place)
        self.assertNotEqual(self.container.run("ls", "/dev/shm").returncode, 0)
        database = self.container.data / "predictions.db"
        self.assertEqual((database.stat().st_uid, database.stat().st_gid), (USER, USER))

    def test_it_counts_with_the_memory_of_its_container(self):
        metrics = self.container.curl("/api/health/status")[1]
        self.assertEqual(json.loads(metrics)["components"]["memory"]["detail"]["limit_bytes"], MEMORY)


class Ending(Case):
    def test_a_sigterm_ends_it_in_order(self):
        container = self.start(env=["IMPETUS_LIFECYCLE__LAME_DUCK=100ms"]).wait_ready()
        self.assertEqual(container.end(), 0)
        self.assertTrue((container.data / "last-run.json").is_file())


class FreshClaim(Case):
    """A volume of the user's hides the models of the image."""

    def claim(self):
        folder = Path(tempfile.mkdtemp(prefix="claim.", dir=FOLDER))
        self.addCleanup(shutil.rmtree, folder)
        # As the kubelet leaves it for `fsGroup: 65532`.
        os.chown(folder, 0, USER)
        folder.chmod(0o2775)
        return folder

    def test_an_empty_one_is_explained_and_filled_by_the_command_in_the_reason(self):
        container = self.start(mounts=[(self.claim(), "/models")])
        container.wait("the reason", lambda: "no model in" in container.curl("/api/health/ready")[1])
        status, body = container.curl("/api/health/ready")
        self.assertEqual((status, json.loads(body)["checks"]["models_loaded"]), (503, False))
        (reason,) = (r for r in json.loads(body)["reasons"] if r.startswith("models_loaded"))
        self.assertIn("no model in /models: put one there as <name>/model.onnx", reason)
        self.assertEqual(container.curl("/api/health/live")[0], 200)

        command = reason.partition(" by ")[2]
        self.assertEqual(command, f"cp -r {DEMO}/. /models/")
        done = container.run(*command.split())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(container.wait_ready().predict(), "scratch")


class Contents(unittest.TestCase):
    """What the archive says of itself, and what lies in its layers."""

    def test_the_settings_are_those_that_a_cluster_relies_on(self):
        config = CONFIG["config"]
        self.assertEqual(config["User"], f"{USER}:{USER}")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/impetus"])
        self.assertEqual(config["Cmd"], ["serve"])
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(set(config["ExposedPorts"]), {"8080/tcp", "8081/tcp", "9000/tcp"})
        self.assertEqual(set(config["Volumes"]), {"/data"})
        for label in ("version", "revision", "licenses", "title"):
            self.assertTrue(config["Labels"].get(f"org.opencontainers.image.{label}"), label)
        version = config["Labels"]["org.opencontainers.image.version"]
        name = "docker.io/gerdsenai/impetus-llm-server"
        self.assertEqual(set(MANIFEST["RepoTags"]), {f"{name}:latest", f"{name}:{version}"})

    def test_no_layer_has_anything_left_over_from_building_it(self):
        leftovers = ("src/", "parts/", "out/", "mnt/", "tmp/", "run/secrets", "root/.c", "usr/local/cargo",
                     "var/lib/apt/lists/", "var/cache/apt/", "var/log/", "usr/bin/python", "usr/bin/gcc")
        # The first layer is Debian's. Its old copies and logs may go; what one of ours has added must
        # not be in the image twice, as a file and as its absence.
        debian, *ours = layers()
        in_debian = {member.name for member in debian.files}
        for layer in ours:
            for member in layer.files:
                # Apt opens its locks, which Debian has as well; they are empty.
                if member.name.endswith("/lock") and member.size == 0:
                    continue
                if "/.wh." in f"/{member.name}":
                    gone = member.name.replace(".wh.", "", 1)
                    self.assertIn(gone, in_debian, "a layer deletes what another one has added")
                    continue
                found = [start for start in leftovers if member.name.startswith(start)]
                self.assertEqual(found if not member.isdir() else [], [], member.name)

    def test_all_files_of_the_server_can_be_read_by_everybody_and_written_by_root_alone(self):
        own = [m for layer in layers() for m in layer.files if m.name.startswith("usr/local/")]
        self.assertTrue(any(m.name == "usr/local/lib/impetus/libonnxruntime.so" for m in own))
        for member in own:
            self.assertEqual((member.uid, member.gid), (0, 0), member.name)
            if not member.issym():
                self.assertEqual(member.mode & 0o7022, 0, member.name)
                self.assertEqual(member.mode & 0o444, 0o444, member.name)


class Layer:
    def __init__(self, archive, name):
        file = archive.extractfile(name)
        octets = file.read()
        self.size = len(octets)
        self.compressed = len(gzip.compress(octets, 6))
        file.seek(0)
        with tarfile.open(fileobj=file) as contents:
            self.files = contents.getmembers()


def layers():
    if not LAYERS:
        LAYERS.extend(Layer(ARCHIVE, name) for name in MANIFEST["Layers"])
    return LAYERS


def print_sizes():
    made = [step["created_by"] for step in CONFIG["history"] if not step.get("empty_layer")]
    print("\nMB (10^6 octets) in all and compressed by gzip, layer by layer")
    for layer, by in zip(layers(), made):
        print(f"  {layer.size / 1e6:6.1f} {layer.compressed / 1e6:6.1f}  {by.removeprefix('/bin/sh -c ')[:70]}")
    print(f"  {sum(l.size for l in layers()) / 1e6:6.1f} {sum(l.compressed for l in layers()) / 1e6:6.1f}  together")


ARCHIVE = tarfile.open(sys.argv.pop(1))
FOLDER = Path(sys.argv.pop(1)).absolute()
BUNDLE = FOLDER / "bundle"
MANIFEST = json.load(ARCHIVE.extractfile("manifest.json"))[0]
CONFIG = json.load(ARCHIVE.extractfile(MANIFEST["Config"]))
LAYERS = []

if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False)
    print_sizes()
    sys.exit(not outcome.result.wasSuccessful())
