#!/usr/bin/env python3
"""Runs the documents' kubectl commands against a real cluster of one node.

    tests/kubelet/documents.py [--image FILE] [--docs]

docs/kubelet.md says more. Needs what tests/kubelet/run.py needs, and what
`scripts/kubelet/prepare.sh cluster` makes.
"""

import argparse
import os
import shutil
import signal
import sys
from datetime import date
from pathlib import Path

import report
from cases import commands
from cases.commands import Terminal
from cluster import Cluster
from node import versions
from waiting import Failed

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".test" / "kubelet"
RESULTS = ROOT / "target" / "kubelet-cluster"
DOCS = ROOT / "docs" / "kubelet.md"


def run(archive: Path) -> tuple[list[tuple[str, str]], str | None]:
    """Runs both documents; returns what was typed and seen, and why it failed if it did."""
    with Cluster(TOOLS, RESULTS, archive) as cluster:
        terminal = Terminal(cluster)
        print("the cluster is up", flush=True)
        try:
            commands.first_document(terminal)
            commands.second_document(terminal)
        except Failed as failed:
            return terminal.rows, str(failed)
        return terminal.rows, None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image", type=Path, default=ROOT / "target/image/impetus.tar", help="archive of the image"
    )
    parser.add_argument(
        "--docs", action="store_true", help=f"write the table into {DOCS.relative_to(ROOT)}"
    )
    arguments = parser.parse_args()
    if not arguments.image.exists():
        sys.exit(f"error: there is no image at {arguments.image} (make image)")
    os.environ["PATH"] = f"{ROOT / '.test' / 'bin'}:{os.environ['PATH']}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(RESULTS, ignore_errors=True)
    try:
        rows, failure = run(arguments.image)
    except Failed as failed:
        rows, failure = [], str(failed)
    table = report.of_commands(
        rows, [f"{date.today()}; {versions(TOOLS)}, and the API server of the same source."]
    )
    print(table)
    if failure:
        print(f"error: {failure}\nlogs of everybody: {RESULTS}", file=sys.stderr)
        return 1
    if arguments.docs:
        report.write_into(DOCS, table, "commands")
    return 0


if __name__ == "__main__":
    sys.exit(main())
