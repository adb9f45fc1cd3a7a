"""A registry of one image, so that manifests are pulled for as they are.

A tag `latest` is asked for at every start of a pod, so without a registry the documents' commands would
end at the first one. This one answers from the image's archive, and can nothing but that.
"""

import hashlib
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Registry:
    """Serves the image of an archive under every name and tag, on loopback."""

    def __init__(self, archive: Path, port: int):
        with tarfile.open(archive) as tar:
            described = json.load(tar.extractfile("manifest.json"))[0]
            layers = [tar.extractfile(name).read() for name in described["Layers"]]
            config = tar.extractfile(described["Config"]).read()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(_CONFIG, config),
            "layers": [_described(_LAYER, layer) for layer in layers],
        }
        self._manifest = json.dumps(manifest).encode()
        self._blobs = {_digest(blob): blob for blob in (config, *layers)}
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, name="registry", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def content(self, path: str) -> tuple[str, bytes] | None:
        """Returns type and content of what is asked for."""
        kind, _, name = path.rpartition("/")
        if path == "/v2/":
            return "application/json", b"{}"
        if "impetus" in kind and kind.endswith("/manifests"):
            known = not name.startswith("sha256:") or name == _digest(self._manifest)
            return (_MANIFEST, self._manifest) if known else None
        if kind.endswith("/blobs") and name in self._blobs:
            return "application/octet-stream", self._blobs[name]
        return None


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, with_body: bool) -> None:
        found = self.registry.content(self.path.partition("?")[0])
        kind, content = found or ("application/json", b'{"errors": [{"code": "NAME_UNKNOWN"}]}')
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", _digest(content))
        self.end_headers()
        if with_body:
            self.wfile.write(content)


def _described(kind: str, content: bytes) -> dict:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
