#!/usr/bin/env python3
"""Runs Impetus on a real kubelet and strikes it, case by case.

    tests/kubelet/run.py [--only CASE,…] [--image FILE] [--docs]

Every case has a pod of its own, and they run at the same time: what they wait for is mostly the kubelet's
clock. The whole takes about seven minutes. A case that fails makes the exit code 1; what everybody said is
kept below target/kubelet/. docs/kubelet.md says more. Needs root, Python 3.11 and kubectl, and what
scripts/kubelet/prepare.sh makes.
"""

import argparse
import os
import platform
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import archive
import report
from cases import corrupt, ending, heartbeat, memory, starting, workers
from node import Node, versions
from report import Outcome
from stage import Shipped, Stage
from waiting import Failed

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".test" / "kubelet"
RESULTS = ROOT / "target" / "kubelet"
# Far more than the longest case may take.
LONGEST = 900.0
DOCS = ROOT / "docs" / "kubelet.md"


@dataclass(frozen=True)
class Case:
    """One case: a name for pods and the command line, and a title for people."""

    name: str
    title: str
    run: Callable[[Stage], None]


CASES = [
    Case("start", "A pod starts under the documents' probes", starting.comes_up),
    Case("limits", "Two pods with other limits", starting.follows_its_limits),
    Case("killed", "The only worker is killed, then crashes", workers.killed_or_crashed),
    Case("stopped", "The only worker is stopped (SIGSTOP)", workers.stopped),
    Case("spinning", "A request that never ends", workers.spinning),
    Case("memory", "A request that takes all memory", memory.explodes),
    Case("heartbeat", "The heartbeat stops", heartbeat.stops),
    Case("ending", "The pod is deleted, with a request in flight", ending.is_deleted),
    Case("corrupt", "A corrupt model under production's probes", corrupt.under_production),
    Case("documents", "The same under the documents' probes", corrupt.under_the_documents),
]


def run_case(node: Node, case: Case, shipped: Shipped) -> Outcome:
    outcome = Outcome(case.name, case.title)
    stage = Stage(node, case.name, shipped)
    start = time.monotonic()
    try:
        case.run(stage)
    except Failed as failed:
        outcome.failure = str(failed)
    except Exception as error:  # a case that breaks is a case that fails, and the others go on
        outcome.failure = f"{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}"
    outcome.seconds, outcome.seen = time.monotonic() - start, stage.seen
    stage.clear(RESULTS / case.name)
    return outcome


def run_all(cases: list[Case], shipped: Shipped) -> list[Outcome]:
    outcomes = {case.name: Outcome(case.name, case.title, failure="it did not end") for case in cases}
    ended: queue.Queue[Outcome] = queue.Queue()
    with Node(TOOLS, RESULTS, [shipped.archive]) as node:
        print(f"the node is up; {len(cases)} cases begin", flush=True)
        deadline = time.monotonic() + LONGEST
        for case in cases:
            # Daemons: a run that is interrupted waits for none of them.
            work = lambda case=case: ended.put(run_case(node, case, shipped))  # noqa: E731
            threading.Thread(target=work, name=case.name, daemon=True).start()
        for _ in cases:
            try:
                outcome = ended.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            outcomes[outcome.name] = outcome
            print(report.as_text(outcome), flush=True)
    return list(outcomes.values())


def surroundings(shipped: Shipped) -> list[str]:
    """Returns what the run was made of, for those who read the table."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Linux {platform.release()}"
    image = f"Image {shipped.image}, of revision {archive.revision(shipped.archive)[:12]}."
    return [f"{date.today()}; {versions(TOOLS)}; {machine}, cgroup v1.", image]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help=f"some of {', '.join(case.name for case in CASES)}")
    parser.add_argument(
        "--image", type=Path, default=ROOT / "target/image/impetus.tar", help="archive of the image"
    )
    parser.add_argument(
        "--base", type=Path, default=ROOT / "k8s/base", help="kustomization of the first document"
    )
    parser.add_argument(
        "--production", type=Path, default=ROOT / "k8s/overlays/production", help="that of production"
    )
    parser.add_argument(
        "--docs", action="store_true", help=f"write the table into {DOCS.relative_to(ROOT)}"
    )
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    wanted = [name for name in arguments.only.split(",") if name]
    if unknown := set(wanted) - {case.name for case in CASES}:
        sys.exit(f"error: no such case: {', '.join(sorted(unknown))}")
    # What the scripts fetched, kubectl among it.
    os.environ["PATH"] = f"{ROOT / '.test' / 'bin'}:{os.environ['PATH']}"
    # An orderly end also when somebody else ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(RESULTS, ignore_errors=True)
    if not arguments.image.exists():
        sys.exit(f"error: there is no image at {arguments.image} (make image)")
    shipped = Shipped(
        arguments.image, archive.reference(arguments.image), arguments.base, arguments.production
    )
    cases = [case for case in CASES if not wanted or case.name in wanted]
    try:
        outcomes = run_all(cases, shipped)
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    table = report.as_markdown(outcomes, surroundings(shipped))
    (RESULTS / "report.md").write_text(table)
    if arguments.docs:
        report.write_into(DOCS, table, "cases")
    print(f"\n{table}\nthis table: {RESULTS / 'report.md'}; logs of everybody: {RESULTS}")
    return 1 if any(outcome.failure for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
