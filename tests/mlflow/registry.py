"""A real MLflow server for tests, and somebody who registers models in it.

    python registry.py DIR [SERVER-OPTION...]

starts `mlflow server` on a free port of the loopback interface, with everything that it keeps in DIR,
and says `{"ready": "http://127.0.0.1:PORT"}`. Then it does what each line of its input says and answers
with a line: an object with "do" and what the method of that name takes, of `Registry` or `Server`. It
ends, and the server with all its children, when its input does: so nothing is left behind by a test
that is killed.

The models are registered through MLflow's own client. Only the file `MLmodel` is written here, as
`mlflow.onnx` of the same release does: to have that do it takes numpy, pandas, pyarrow and more, a
gigabyte for each release.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_WITHIN = 120.0
END_WITHIN = 10.0


class Server:
    """`mlflow server` with SQLite and proxied artifacts."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
            *("--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts")),
            *options,
        ]
        self.log = self.folder / "server.log"
        self.begin()

    def begin(self):
        """Starts it, also after it has ended: at the same address, with all that it had."""
        with self.log.open("ab") as log:
            # A session of its own, so that its children can be ended with it.
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **SETTINGS},
                start_new_session=True,
            )

    def again(self):
        """Starts it and waits for it."""
        self.begin()
        self.wait()

    def wait(self):
        """Returns when it answers."""
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.end()
        raise SystemExit(f"mlflow server is not ready: {self.log.read_text()[-3000:]}")

    def freeze(self):
        """Stops it and its children where they are: connections stay open and nobody answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        """Lets them go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def end(self):
        """Ends it and its children."""
        # One that is frozen has to go on to hear of it.
        for what in (signal.SIGTERM, signal.SIGCONT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, what)
                if what != signal.SIGTERM:
                    self.process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                return


# Nothing is sent to anybody, no jobs are run, and webhooks may go to the loopback interface.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    "GIT_PYTHON_REFRESH": "quiet",
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Registry:
    """Somebody who registers models with a server; every method answers with what JSON can hold."""

    def __init__(self, url):
        import mlflow
        from mlflow import MlflowClient

        self.url = url
        mlflow.set_tracking_uri(url)
        self.client = MlflowClient(tracking_uri=url, registry_uri=url)
        self.release = mlflow.__version__

    def register(self, name, mlmodel, files):
        """Registers a version of a model from the text of its `MLmodel` and files beside it, each a
        path below the model's folder and where it is taken from."""
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "MLmodel").write_text(mlmodel)
            for path, source in files:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / path)
            logged = self._log(folder)
        self._ensure(name)
        version = self.client.create_model_version(name, **logged)
        return {"version": int(version.version), "run_id": logged["run_id"]}

    def _log(self, folder):
        """Logs a folder as `log_model` of this release does: 3 knows logged models, 2 only runs."""
        run = self.client.create_run("0").info
        if not self.release.startswith("2."):
            model = self.client.create_logged_model("0", source_run_id=run.run_id)
            self.client.log_model_artifacts(model.model_id, str(folder))
            self.client.finalize_logged_model(model.model_id, "READY")
            source = f"models:/{model.model_id}"
            return {"source": source, "run_id": run.run_id, "model_id": model.model_id}
        self.client.log_artifacts(run.run_id, str(folder), "model")
        return {"source": f"{run.artifact_uri}/model", "run_id": run.run_id}

    def _ensure(self, name):
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def refer(self, name, source):
        """Registers a version that is said to lie at an address, whatever lies there."""
        self._ensure(name)
        return {"version": int(self.client.create_model_version(name, source).version)}

    def alias(self, name, alias, version):
        """Points an alias to a version; to none where that is null."""
        if version is None:
            self.client.delete_registered_model_alias(name, alias)
        else:
            self.client.set_registered_model_alias(name, alias, str(version))

    def stage(self, name, version, stage):
        """Moves a version to a stage."""
        self.client.transition_model_version_stage(name, str(version), stage)

    def names(self, prefix, count):
        """Registers models without any version."""
        for number in range(count):
            self.client.create_registered_model(f"{prefix}{number}")

    def webhook(self, url, secret, events):
        """Has the server tell of what happens; 3 only."""
        hook = self.client.create_webhook(f"hook-{time.monotonic_ns()}", url, events, secret=secret)
        return {"webhook": hook.webhook_id}


def main(folder, *options):
    server = Server(folder, *options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        registry = Registry(server.wait().url)
        print(json.dumps({"ready": server.url, "release": registry.release}), flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            what = order.pop("do")
            do = getattr(registry, what, None) or getattr(server, what)
            print(json.dumps(do(**order) or {}), flush=True)
    finally:
        server.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
