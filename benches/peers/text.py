#!/usr/bin/env python3
"""Measures how fast text is generated, beside onnxruntime-genai and a bare loop.

    benches/peers/text.py [OPTION…]

Installs what requirements-genai.txt pins and runs `impetus-bench generate` with these options, which
measures all three in the same rounds. Needs `make build`, the release binaries of impetus-bench, the
shapes of models/make_shapes.py, and pip.
"""

import subprocess
import sys

import run
from servers import ROOT

BENCH = ROOT / "target" / "release" / "impetus-bench"


def main() -> int:
    run.prepare("genai")
    return subprocess.run([BENCH, "generate", *sys.argv[1:]]).returncode


if __name__ == "__main__":
    sys.exit(main())
