"""Images as archives that `ctr images import` reads: one made from a single program, others read."""

import hashlib
import io
import json
import tarfile
from pathlib import Path


def of_program(program: Path, reference: str, into: Path) -> None:
    """Writes an image that contains nothing but one static program and runs it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, program.name, program.read_bytes(), 0o755)
    content = layer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    description = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [
        {"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]},
    ]
    with tarfile.open(into, mode="w") as tar:
        _add(tar, "config.json", json.dumps(description).encode())
        _add(tar, "layer.tar", content)
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def reference(archive: Path) -> str:
    """Returns the name of the image in an archive, as pods have to call it."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    return manifest[0]["RepoTags"][0]


def revision(archive: Path) -> str:
    """Returns the revision of the sources that the image says it was made from."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
        description = json.load(tar.extractfile(manifest[0]["Config"]))
    labels = description["config"].get("Labels") or {}
    return labels.get("org.opencontainers.image.revision", "unknown")


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
