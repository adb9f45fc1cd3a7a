"""The servers: how each is started, asked, and looked into.

A server is given a folder of models and a scratch folder, and listens on ports it is told. What a
user would not set is left at its default; what is set stands in `SETTINGS` and in the report.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import tree
import wire
from pictures import LABELS, Picture

ROOT = Path(__file__).resolve().parents[2]
SERVED = Path(__file__).resolve().parent / "served"
VENVS = ROOT / ".test" / "peers"
MODELS = ROOT / "tests" / "models"

# Stands behind tree.MemoryLimit, for each process.
ADDRESS_SPACE = 6 << 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def python_of(name: str) -> Path:
    return VENVS / name / "bin" / "python"


@dataclass
class Server:
    """A server that has been started. Subclasses say what differs."""

    models: list[str]
    scratch: Path
    name = ""
    settings = ""
    live_path = ""
    ready_path = ""
    # What the command line of every worker process has in it.
    worker_mark = "multiprocessing.spawn"

    port: int = field(default_factory=free_port)
    root: int = 0

    @property
    def health_port(self) -> int:
        return self.port

    def start(self) -> None:
        folder = self.scratch / "models"
        for model in self.models:
            shutil.copytree(MODELS / model, folder / model)
        argv, environment = self.command(folder)
        log = (self.scratch / "log").open("wb")
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        process = subprocess.Popen(
            argv,
            cwd=self.scratch,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=limit,
        )
        log.close()
        self.root = process.pid
        # tree.reap() collects it.
        process.returncode = 0

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def body(self, model: str, picture: Picture) -> tuple[str, bytes]:
        """Returns path and body of a request."""
        raise NotImplementedError

    def scores(self, answer: bytes) -> list[float]:
        """Reads the scores out of an answer with status 200."""
        raise NotImplementedError

    def workers(self) -> list[int]:
        """Returns the worker processes of all models."""
        return [pid for pid in tree.descendants(self.root) if self.worker_mark in tree.command(pid)]

    async def victim(self) -> int | None:
        """Returns a worker that runs `plain`, if there is one."""
        return next(iter(self.workers()), None)

    @classmethod
    def version(cls) -> str:
        code = f"from importlib.metadata import version as v; print(v({cls.name!r}), v('onnxruntime'))"
        ours, runtime = subprocess.check_output([python_of(cls.name), "-c", code], text=True).split()
        return f"{ours}, onnxruntime {runtime}"


class Impetus(Server):
    name = "impetus"
    settings = "its defaults: two worker processes for each model (one per core)"
    live_path = "/api/health/live"
    worker_mark = " worker --parent="
    ready_path = "/api/health/ready"
    binary = Path()

    @property
    def health_port(self) -> int:
        return self._health

    def command(self, folder):
        self._health = free_port()
        config = self.scratch / "impetus.toml"
        config.write_text(
            f'host = "127.0.0.1"\nport = {self.port}\n'
            f"[health]\nport = {self._health}\n[grpc]\nport = {free_port()}\n"
            f'[models]\ndir = "{folder}"\n[data]\ndir = "{self.scratch / "data"}"\n'
            f'[runtime]\nlibrary = "{ROOT / ".onnxruntime" / "libonnxruntime.so"}"\n'
        )
        return [str(self.binary), "serve", "--config", str(config)], {}

    def body(self, model, picture):
        return f"/predict?model={model}", json.dumps({"data": picture.data}).encode()

    def scores(self, answer):
        probabilities = json.loads(answer)["probabilities"]
        return [probabilities[label] for label in LABELS]

    async def victim(self):
        _, answer = await wire.once(self.port, wire.get("/api/models/list"))
        plain = next(model for model in json.loads(answer)["models"] if model["name"] == "plain")
        return next((pid for worker in plain["workers"] if (pid := worker.get("pid"))), None)

    @classmethod
    def version(cls):
        ours = subprocess.check_output([cls.binary, "--version"], text=True).split()[-1]
        runtime = next((ROOT / ".onnxruntime").glob("libonnxruntime.so.*")).name.split(".so.")[1]
        if cls.binary.is_relative_to(ROOT):
            commit = ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"]
            ours += f" ({subprocess.check_output(commit, text=True).strip()})"
        return f"{ours}, onnxruntime {runtime}"


class MlServer(Server):
    name = "mlserver"
    settings = (
        "a custom runtime; `parallel_workers` 2, which share all models; no request timeout exists"
    )
    live_path = "/v2/health/live"
    ready_path = "/v2/health/ready"

    def command(self, folder):
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": self.port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": 2,
        }
        (self.scratch / "settings.json").write_text(json.dumps(settings))
        for model in self.models:
            described = {
                "name": model,
                "implementation": "mlserver_runtime.OnnxModel",
                "parameters": {"uri": "./model.onnx"},
            }
            (folder / model / "model-settings.json").write_text(json.dumps(described))
        environment = {"PYTHONPATH": str(SERVED)}
        return [str(VENVS / "mlserver" / "bin" / "mlserver"), "start", "."], environment

    def body(self, model, picture):
        tensor = {"name": "image", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": picture.data}
        return f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode()

    def scores(self, answer):
        return json.loads(answer)["outputs"][0]["data"]


class LitServe(Server):
    name = "litserve"
    settings = (
        "one endpoint for each model, `workers_per_device` 2 (so two worker processes for each model), "
        "`timeout` 30 s (its default), `restart_workers` on (off by default: the server then ends with "
        "its first dead worker)"
    )
    live_path = ready_path = "/health"

    def command(self, folder):
        app = str(SERVED / "litserve_app.py")
        return [str(python_of("litserve")), app, str(self.port), str(folder)], {}

    def body(self, model, picture):
        return f"/{model}/predict", json.dumps({"data": picture.data}).encode()

    def scores(self, answer):
        return json.loads(answer)["scores"]

    async def victim(self):
        # Endpoints are launched in the order of the folders' names, `plain` last of two; whoever
        # was killed already has been replaced by a younger process at the end.
        return next(iter(self.workers()[::-1]), None)


class BentoMl(Server):
    name = "bentoml"
    settings = (
        "`workers` 2, which share all models; `traffic.timeout` 30 s (60 s by default); `threads` 1 "
        "(its default)"
    )
    live_path = "/livez"
    worker_mark = "_bentoml_impl.worker.service"
    ready_path = "/readyz"

    def command(self, folder):
        bento = str(VENVS / "bentoml" / "bin" / "bentoml")
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--working-dir", str(SERVED)]
        environment = {
            "PEERS_MODELS": str(folder),
            "BENTOML_HOME": str(self.scratch / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        return [bento, "serve", "bentoml_service:Onnx", *where], environment

    def body(self, model, picture):
        rows = [picture.data[start : start + 32] for start in range(0, 3072, 32)]
        image = [rows[start : start + 32] for start in range(0, 96, 32)]
        return "/predict", json.dumps({"model": model, "image": image}).encode()

    def scores(self, answer):
        return json.loads(answer)


SERVERS = {server.name: server for server in (Impetus, MlServer, LitServe, BentoMl)}
