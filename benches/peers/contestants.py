"""The servers whose throughput is compared: how each is started, asked, and read.

Each gets the best set-up for two cores that it offers: two workers, each with a session of one
thread. A server is asked as its own documentation says, in JSON and in the binary form it has; not
every one has one. What a user would not set is left at its default.
"""

import json
import os
import shutil
import struct
import subprocess
import sysconfig
from pathlib import Path

import numpy

import servers
import tree
from servers import ROOT, SERVED, free_port, python_of

LIBRARY = ROOT / ".onnxruntime" / "libonnxruntime.so"
SHAPE = (1, 3, 32, 32)


def post(path: str, body: bytes, kind: str, more: str = "") -> bytes:
    """Returns the bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Contestant:
    """A server that has been started. Subclasses say what differs."""

    name = ""
    settings = ""
    ready_path = "/v2/health/ready"
    wires: tuple[str, ...] = ("json", "binary")

    def __init__(self, scratch: Path, model: Path):
        """`model` is a folder with model.onnx and model.toml."""
        self.scratch = scratch
        self.model = model
        self.port = free_port()
        self.root = 0

    def start(self) -> None:
        self.scratch.mkdir(parents=True)
        argv, environment = self.command()
        with (self.scratch / "log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                cwd=self.scratch,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.root = process.pid
        # tree.reap() collects it.
        process.returncode = 0

    def command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def request(self, wire: str, array: numpy.ndarray) -> bytes:
        """Returns a whole request for these numbers."""
        raise NotImplementedError

    def scores(self, wire: str, head: dict[str, str], body: bytes) -> list[float]:
        """Reads the numbers of an answer with status 200."""
        raise NotImplementedError

    def log(self) -> str:
        lines = (self.scratch / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-8:])

    def cpu(self) -> float:
        """Returns the CPU seconds that it and its processes have used so far."""
        return sum(tree.cpu_seconds(pid) for pid in [self.root, *tree.descendants(self.root)])


class V2(Contestant):
    """What speaks the Open Inference Protocol with its binary tensors."""

    model_name = "surface"
    input_name = "image"

    def request(self, wire, array):
        given = {"name": self.input_name, "shape": list(array.shape), "datatype": "FP32"}
        path = f"/v2/models/{self.model_name}/infer"
        if wire == "json":
            body = {"inputs": [given | {"data": shortest(array)}]}
            return post(path, json.dumps(body, separators=(",", ":")).encode(), "application/json")
        given["parameters"] = {"binary_data_size": array.nbytes}
        body = {"inputs": [given], "parameters": {"binary_data_output": True}}
        head = json.dumps(body, separators=(",", ":")).encode()
        more = f"Inference-Header-Content-Length: {len(head)}\r\n"
        return post(path, head + array.tobytes(), "application/octet-stream", more)

    def scores(self, wire, head, body):
        if wire == "json":
            return json.loads(body)["outputs"][0]["data"]
        return floats(body[int(head["inference-header-content-length"]) :])


class Impetus(V2):
    name = "impetus"
    settings = "its defaults: two worker processes (one per core), each with one thread"
    binary = ROOT / "target" / "release" / "impetus"

    def command(self):
        folder = self.scratch / "models"
        shutil.copytree(self.model, folder / self.model_name)
        config = self.scratch / "impetus.toml"
        config.write_text(
            f'host = "127.0.0.1"\nport = {self.port}\nlog_level = "warn"\n'
            f"[health]\nport = 0\n[grpc]\nport = 0\n"
            f'[models]\ndir = "{folder}"\n[data]\ndir = "{self.scratch / "data"}"\n'
            f'[runtime]\nlibrary = "{LIBRARY}"\n'
        )
        return [str(self.binary), "serve", "--config", str(config)], {}


class Bare(V2):
    name = "bare"
    settings = "an actix-web handler with one session per HTTP worker, two workers, serde_json"
    ready_path = "/ready"
    binary = ROOT / "target" / "release" / "impetus-bare"

    def command(self):
        options = ["--port", str(self.port), "--workers", "2", "--library", str(LIBRARY)]
        return [str(self.binary), "serve", *options, "--model", str(self.model)], {
            "ORT_DISABLE_TELEMETRY": "1"
        }


class MlServer(V2):
    name = "mlserver"
    settings = "a custom runtime; `parallel_workers` 2; no binary tensors over REST"
    wires = ("json",)

    def command(self):
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": self.port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": 2,
        }
        (self.scratch / "settings.json").write_text(json.dumps(settings))
        described = {
            "name": "surface",
            "implementation": "tensors_mlserver.OnnxModel",
            "parameters": {"uri": str(self.model / "model.onnx")},
        }
        (self.scratch / "model-settings.json").write_text(json.dumps(described))
        program = servers.VENVS / "mlserver" / "bin" / "mlserver"
        return [str(program), "start", "."], {"PYTHONPATH": str(SERVED)}


class Triton(V2):
    name = "triton"
    settings = (
        "by nvidia-pytriton, without a GPU: Triton's own HTTP server and batcher (`max_batch_size` 8), "
        "two Python processes that run ONNX Runtime"
    )

    def command(self):
        # Its backend loads the library of the interpreter, which need not be the system's.
        environment = {
            "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
            "PYTRITON_HOME": str(self.scratch),
        }
        app = str(SERVED / "tensors_triton.py")
        return [str(python_of("triton")), app, str(self.port), str(self.model / "model.onnx")], environment


class Flat(Contestant):
    """What has a wire of its own: numbers in, `scores` out."""

    def request(self, wire, array):
        body = json.dumps({"data": shortest(array)}, separators=(",", ":")).encode()
        return post("/predict", body, "application/json")

    def scores(self, wire, head, body):
        return json.loads(body)["scores"]


class FastApi(Flat):
    name = "fastapi"
    settings = "uvicorn with `workers` 2, uvloop and httptools; orjson, no pydantic model"
    ready_path = "/ready"

    def command(self):
        program = servers.VENVS / "fastapi" / "bin" / "uvicorn"
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--app-dir", str(SERVED)]
        options = ["--workers", "2", "--log-level", "warning", "--no-access-log"]
        environment = {"PEERS_MODEL": str(self.model / "model.onnx")}
        return [str(program), "tensors_fastapi:app", *where, *options], environment

    def request(self, wire, array):
        if wire == "binary":
            return post("/binary", array.tobytes(), "application/octet-stream")
        return super().request(wire, array).replace(b"/predict", b"/json", 1)

    def scores(self, wire, head, body):
        return floats(body) if wire == "binary" else super().scores(wire, head, body)


class LitServe(Flat):
    name = "litserve"
    settings = "`workers_per_device` 2, `num_api_servers` 2, `fast_queue`; binary as a file in a form"
    ready_path = "/health"

    def command(self):
        app = str(SERVED / "tensors_litserve.py")
        return [str(python_of("litserve")), app, str(self.port), str(self.model / "model.onnx")], {}

    def request(self, wire, array):
        if wire == "json":
            return super().request(wire, array)
        head = 'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: text/plain'
        body = b"--border\r\n" + head.encode() + b"\r\n\r\n" + array.tobytes() + b"\r\n--border--\r\n"
        return post("/predict", body, "multipart/form-data; boundary=border")


class BentoMl(Contestant):
    name = "bentoml"
    settings = "`workers` 2; no binary form for arrays"
    wires = ("json",)
    ready_path = "/readyz"

    def command(self):
        program = servers.VENVS / "bentoml" / "bin" / "bentoml"
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--working-dir", str(SERVED)]
        environment = {
            "PEERS_MODEL": str(self.model / "model.onnx"),
            "BENTOML_HOME": str(self.scratch / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        return [str(program), "serve", "tensors_bentoml:Onnx", *where], environment

    def request(self, wire, array):
        body = json.dumps({"image": nested(array[0])}, separators=(",", ":")).encode()
        return post("/predict", body, "application/json")

    def scores(self, wire, head, body):
        return json.loads(body)


def shortest(array: numpy.ndarray) -> list:
    """Returns the numbers so that JSON has them as short as a float32 can be written."""
    return [float(str(number)) for number in array.ravel()]


def nested(array: numpy.ndarray) -> list:
    return [nested(part) for part in array] if array.ndim > 1 else shortest(array)


def floats(raw: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


CONTESTANTS = {one.name: one for one in (Impetus, Bare, FastApi, LitServe, MlServer, BentoMl, Triton)}
PYTHON = ("fastapi", "litserve", "mlserver", "bentoml", "triton")
