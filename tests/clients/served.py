"""Real servers with a folder of models each, and what a test asks of them directly.

A server listens on free ports of 127.0.0.1, keeps everything it writes in a folder of its own, and
is ended by its process number. It is waited for by asking it, never by time: what does not come
within a deadline fails with the last lines of the server's log.

Nothing here imports a client. tritonclient and kserve describe the same messages under the same
names and cannot be loaded into one process.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = (
    ROOT
    / ".onnxruntime"
    / ("libonnxruntime.dylib" if os.uname().sysname == "Darwin" else "libonnxruntime.so")
)
# How long a server may take to start, to load or to end before something is wrong.
PATIENCE = 60.0
LOOK_EVERY = 0.02
SETTLED = {"ready", "failed", "degraded"}


def binary() -> Path:
    """Returns the server that `cargo build --profile ci` makes."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "ci" / "impetus"


def free_ports(count: int) -> list[int]:
    """Returns ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Server:
    """A server that runs as long as the `with` block."""

    def __init__(self, impetus: Path, scratch: Path, settings: str = ""):
        """`scratch` holds or will hold `models`; `settings` are more lines of TOML, with full keys."""
        self.impetus = impetus
        self.scratch = scratch
        self.models = scratch / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        self.port, self.grpc_port, self.health_port = free_ports(3)
        self._config = scratch / "impetus.toml"
        own = {
            "host": "127.0.0.1",
            "port": self.port,
            "grpc.port": self.grpc_port,
            "health.port": self.health_port,
            "health.require_model": False,
            "models.dir": str(self.models),
            "data.dir": str(scratch / "data"),
            "runtime.library": str(LIBRARY),
            # Nobody has to be told before it ends.
            "lifecycle.lame_duck": "0s",
            "lifecycle.termination_log": "",
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in own.items()]
        self._config.write_text("\n".join([*lines, settings, ""]))
        self._process: subprocess.Popen | None = None

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> "Server":
        with (self.scratch / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self.impetus), "serve", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server did not end; {self.log()}") from None
        assert self._process.returncode == 0, f"exit code {self._process.returncode}; {self.log()}"

    def until_ended(self) -> None:
        """Waits until the server has ended, which somebody has told it to."""
        self._process.wait(PATIENCE)

    def log(self) -> str:
        lines = (self.scratch / "log").read_text(errors="replace").splitlines()
        return "\n".join(["its log ends with:", *lines[-12:]])

    def get(self, path: str) -> dict:
        """Returns the JSON that a GET is answered with."""
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=PATIENCE) as answer:
            return json.load(answer)

    def listed(self) -> list[dict]:
        """Returns what is known of each version of each model that stands."""
        return self.get("/api/models/list")["models"]

    def names(self) -> set[str]:
        return {model["name"] for model in self.listed()}

    def until(self, what: str, holds, patience: float = PATIENCE) -> None:
        """Waits until something holds that the server can be asked for."""
        end = time.monotonic() + patience
        while True:
            try:
                if holds():
                    return
            except OSError:
                # Not up yet.
                pass
            assert self._process.poll() is None, f"the server has ended; {self.log()}"
            assert time.monotonic() < end, f"waited in vain for {what}; {self.log()}"
            time.sleep(LOOK_EVERY)

    def until_ready(self, *names: str) -> "Server":
        """Waits until these models are ready, all of the folder when none is named."""
        wanted = set(names) or {entry.name for entry in self.models.iterdir() if entry.is_dir()}

        def holds() -> bool:
            listed = [model for model in self.listed() if model["name"] in wanted]
            all_ready = all(model["state"] == "ready" for model in listed)
            return all_ready and {model["name"] for model in listed} == wanted

        self.until(f"ready models: {sorted(wanted)}", holds)
        return self

    def until_settled(self, count: int) -> dict[str, dict]:
        """Waits until that many models are ready or have failed; returns what is known of each."""
        self.until(
            f"{count} models, ready or failed",
            lambda: sum(model["state"] in SETTLED for model in self.listed()) >= count,
        )
        return {model["name"]: model for model in self.listed()}
