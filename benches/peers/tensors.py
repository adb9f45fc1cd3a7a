#!/usr/bin/env python3
"""Measures how fast tensors are served: Impetus, a bare server, and what else people use.

    benches/peers/tensors.py [SUITE…] [--only SERVER,…] [--rounds N] [--seconds S] [--impetus BINARY]

    small     a small CNN, 12 KB in, JSON and binary, at 1, 8, 32 and 64 connections; every server
    identity  a model that is only overhead, 12 KB in, binary; against the bare server
    resnet    the layers of ResNet-18, 602 KB in, binary; against the model alone at its best batch size
    tail      a model of some milliseconds: p99 at half of saturation, against the model's own time
    memory    resident memory over many requests of varying shapes (--count, a million by default)

All servers of a suite stand the whole time and are loaded in turn, one at a time; a round begins with
another one each time. The load is one thread of its own program (benches/load). It shares the two cores
with what it measures, and its CPU time per request is in the tables: what a request costs there no
server can win back. Ratios are taken within a round and given as median (lowest to highest). The JSON
goes to target/bench. Needs `make build`, the release binaries of impetus-bench, and pip.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy

import measure
import run
import tree
from contestants import CONTESTANTS, LIBRARY, PYTHON, Bare, Contestant, Impetus
from measure import Rounds, Spread
from servers import ROOT

sys.path.insert(0, str(ROOT / "benches" / "models"))
import make_tensors  # noqa: E402

OUT = ROOT / "target" / "bench"
SCRATCH = OUT / "tensors"
MODELS = OUT / "models"
SETTLE = 0.5
# Different inputs, so that no answer is one that was there already.
SAMPLES = 16
TOLERANCE = 1e-4


class Suite:
    """One suite's servers, requests and report."""

    def __init__(self, given: argparse.Namespace, name: str, servers: list[type[Contestant]], model: Path):
        self.given = given
        self.name = name
        self.place = SCRATCH / name
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.servers = [kind(self.place / kind.name, model) for kind in servers]
        self.report: dict = {
            "suite": name,
            "settings": {kind.name: kind.settings for kind in servers},
            "verdicts": [],
        }

    def __enter__(self) -> "Suite":
        print(f"\n== {self.name}", flush=True)
        measure.start(self.servers)
        return self

    def __exit__(self, *_) -> None:
        for server in self.servers:
            tree.end_tree(server.root)
        file = OUT / f"tensors-{self.name}.json"
        file.write_text(json.dumps(self.report, indent=1, default=asdict))
        print(f"JSON: {file.relative_to(ROOT)}", flush=True)

    def requests(self, server: Contestant, wire: str, arrays: list[numpy.ndarray]) -> Path:
        requests = (server.request(wire, array) for array in arrays)
        return measure.write_requests(self.place / f"{server.name}-{wire}.requests", requests)

    def agree(self, arrays: list[numpy.ndarray]) -> None:
        """Checks that all servers give the same numbers in each of their forms."""
        for array in arrays:
            right = None
            for server in self.servers:
                for wire in server.wires:
                    found = numpy.ravel(asyncio.run(measure.ask(server, wire, array)))
                    right = found if right is None else right
                    if found.shape != right.shape or not numpy.allclose(found, right, TOLERANCE, TOLERANCE):
                        raise RuntimeError(f"{server.name} answers {found[:4]} to {wire}, not {right[:4]}")

    def rounds(self, steps: list, one) -> dict:
        """Takes rounds of `one(step)` for every step, in turn; returns the figures by step."""
        found = {step: Rounds() for step in steps}
        for number in range(self.given.rounds):
            for step in steps[number % len(steps) :] + steps[: number % len(steps)]:
                found[step].all.append(one(step))
            quiet = sum(rounds.all[-1]["quiet"] for rounds in found.values())
            print(f"  round {number + 1} of {self.given.rounds}: {quiet} of {len(steps)} quiet", flush=True)
        return found

    def verdict(self, target: str, ratio: Spread, least: float, quiet: bool) -> None:
        word = (
            ("met" if ratio.median >= least else "missed") if quiet else "not judged: others used the machine"
        )
        self.report["verdicts"].append({"target": target, "found": ratio.text(3), "verdict": word})
        print(f"  {target}: {ratio.text(3)}: {word}", flush=True)


def ratios(of: Rounds, to: Rounds, figure: str = "per_second") -> tuple[Spread, bool]:
    """Returns the ratio of two servers' figures, round by round, and whether it may be judged by."""
    pairs = list(zip(of.all, to.all, strict=True))
    quiet = [pair for pair in pairs if pair[0]["quiet"] and pair[1]["quiet"]]
    return Spread.of(one[figure] / other[figure] for one, other in quiet or pairs), bool(quiet)


def pictures(rows: int, side: int) -> list[numpy.ndarray]:
    source = numpy.random.default_rng(rows * 1000 + side)
    return [source.random((rows, 3, side, side), dtype=numpy.float32).round(3) for _ in range(SAMPLES)]


def table(found: dict, label) -> list[str]:
    """Returns Markdown rows of the figures of each step."""
    rows = [
        "| what | requests/s | p50 ms | p99 ms | server CPU µs | client CPU µs | quiet |",
        "|---|---|---|---|---|---|---|",
    ]
    for step, rounds in found.items():
        cells = [
            Spread.of(one[figure] for one in rounds.taken()).text(digits)
            for figure, digits in (
                ("per_second", 0),
                ("p50_ms", 2),
                ("p99_ms", 2),
                ("server_cpu_us", 0),
                ("client_cpu_us", 0),
            )
        ]
        rows.append(f"| {label(step)} | {' | '.join(cells)} | {rounds.quiet} of {len(rounds.all)} |")
    return rows


def tell(suite: Suite, found: dict, label) -> None:
    suite.report["table"] = table(found, label)
    suite.report["figures"] = {label(step): rounds.all for step, rounds in found.items()}
    print("\n".join(suite.report["table"]), flush=True)


# === The suites ===


def small(given: argparse.Namespace) -> None:
    chosen = [CONTESTANTS[name] for name in given.only]
    arrays = pictures(1, 32)
    with Suite(given, "small", chosen, ROOT / "models" / "surface") as suite:
        suite.agree(arrays[:2])
        steps = [
            (server, wire, connections)
            for wire in given.wires
            for connections in given.connections
            for server in suite.servers
            if wire in server.wires
        ]
        files = {(s, w): suite.requests(s, w, arrays) for s in suite.servers for w in s.wires}
        options = {"seconds": given.seconds, "settle": SETTLE}
        found = suite.rounds(steps, lambda step: measure.load(step[0], files[step[:2]], step[2], **options))
        tell(suite, found, lambda step: f"{step[0].name}, {step[1]}, {step[2]}")
        judge_small(suite, found)


def judge_small(suite: Suite, found: dict) -> None:
    by_name = {
        (server.name, wire, connections): rounds for (server, wire, connections), rounds in found.items()
    }
    for wire, least in (("binary", 0.95), ("json", 1.1)):
        for connections in suite.given.connections:
            ours = by_name.get(("impetus", wire, connections))
            if not ours:
                continue
            if bare := by_name.get(("bare", wire, connections)):
                ratio, quiet = ratios(ours, bare)
                suite.verdict(
                    f"{wire}, {connections} connections: {least} of the bare server", ratio, least, quiet
                )
            peers = {
                name: by_name[name, wire, connections]
                for name in PYTHON
                if (name, wire, connections) in by_name
            }
            if peers:
                speed = lambda name: Spread.of(one["per_second"] for one in peers[name].taken()).median  # noqa: E731
                best = max(peers, key=speed)
                ratio, quiet = ratios(ours, peers[best])
                target = f"{wire}, {connections} connections: 1.7 times the best other server ({best})"
                suite.verdict(target, ratio, 1.7, quiet)


def identity(given: argparse.Namespace) -> None:
    arrays = pictures(1, 32)
    with Suite(
        given, "identity", [of_model(Impetus, "identity"), of_model(Bare, "identity")], MODELS / "identity"
    ) as suite:
        suite.agree(arrays[:2])
        files = {server: suite.requests(server, "binary", arrays) for server in suite.servers}
        steps = [(server, connections) for connections in given.connections for server in suite.servers]
        options = {"seconds": given.seconds, "settle": SETTLE}
        found = suite.rounds(steps, lambda step: measure.load(step[0], files[step[0]], step[1], **options))
        tell(suite, found, lambda step: f"{step[0].name}, {step[1]}")
        ours, bare = suite.servers
        for connections in given.connections:
            ratio, quiet = ratios(found[ours, connections], found[bare, connections])
            suite.verdict(f"identity, {connections} connections: 0.7 of the bare server", ratio, 0.7, quiet)


def resnet(given: argparse.Namespace) -> None:
    arrays = pictures(1, 224)[:4]
    model = MODELS / "resnet18"
    with Suite(given, "resnet", [of_model(Impetus, "resnet18")], model) as suite:
        (server,) = suite.servers
        file = suite.requests(server, "binary", arrays)
        first = measure.repeat(Bare, LIBRARY, model, [1, 2, 4, 8], 2, given.seconds)["rates"]
        best = max(first, key=first.__getitem__)
        suite.report["model_alone_rows_per_second"] = first
        print(f"  the model alone, two sessions: {first} rows a second; best at {best}", flush=True)
        steps = ["alone", *(connections for connections in given.connections if connections > 1)]

        def one(step) -> dict:
            if step == "alone":
                found = measure.repeat(Bare, LIBRARY, model, [best], 2, 2 * given.seconds)
                return {"per_second": found["rates"][best], "quiet": found["quiet"]}
            return measure.load(server, file, step, seconds=2 * given.seconds, settle=2 * SETTLE)

        found = suite.rounds(steps, one)
        alone = found.pop("alone")
        tell(suite, found, lambda step: f"impetus, {step}")
        speed = Spread.of(figures["per_second"] for figures in alone.taken()).text(1)
        print(f"  the model alone, in the same rounds: {speed} rows a second", flush=True)
        for connections, rounds in found.items():
            ratio, quiet = ratios(rounds, alone)
            suite.verdict(
                f"ResNet-18, {connections} connections: 0.97 of the model alone", ratio, 0.97, quiet
            )


def tail(given: argparse.Namespace) -> None:
    arrays = pictures(1, 96)
    model = MODELS / "medium"
    with Suite(given, "tail", [of_model(Impetus, "medium")], model) as suite:
        (server,) = suite.servers
        file = suite.requests(server, "binary", arrays)

        def one(_) -> dict:
            own = 1000 / measure.repeat(Bare, LIBRARY, model, [1], 1, given.seconds)["rates"][1]
            full = measure.load(server, file, 16, seconds=given.seconds, settle=SETTLE)
            half = measure.load(
                server,
                file,
                64,
                seconds=4 * given.seconds,
                settle=SETTLE,
                rate=round(full["per_second"] / 2, 2),
            )
            return half | {
                "own_ms": own,
                "saturated_per_second": full["per_second"],
                "times": half["p99_ms"] / own,
            }

        found = suite.rounds(["half of saturation"], one)
        tell(suite, found, str)
        rounds = found["half of saturation"]
        for figure, unit in (
            ("own_ms", "ms for one row alone"),
            ("saturated_per_second", "requests/s saturated"),
        ):
            print(f"  {Spread.of(one[figure] for one in rounds.taken()).text(1)} {unit}", flush=True)
        times = Spread.of(one["times"] for one in rounds.taken())
        # A bound from above, so it is turned round.
        below = Spread(3 / times.median, 3 / times.highest, 3 / times.lowest)
        print(f"  p99 is {times.text(2)} times the model's own time", flush=True)
        suite.verdict(
            "p99 at half of saturation below three times the model's own time (3 ÷ found)",
            below,
            1.0,
            rounds.quiet > 0,
        )


def memory(given: argparse.Namespace) -> None:
    """Sends requests of 2,000 shapes in twenty equal parts and reads the resident memory after each."""
    source = numpy.random.default_rng(7)
    shapes = [
        (int(rows), int(width))
        for rows, width in zip(source.integers(1, 9, 2000), source.integers(1, 4096, 2000))
    ]
    arrays = [numpy.full(shape, 0.5, dtype=numpy.float32) for shape in shapes]
    with Suite(given, "memory", [of_model(Impetus, "free")], MODELS / "free") as suite:
        (server,) = suite.servers
        file = suite.requests(server, "binary", arrays)
        parts, sizes = 20, []
        for part in range(parts):
            found = measure.load(server, file, 16, count=given.count // parts)
            workers = [tree.resident_bytes(pid) for pid in tree.descendants(server.root)]
            sizes.append({"server": tree.resident_bytes(server.root), "workers": sum(workers)})
            mib = {name: round(size / 2**20, 1) for name, size in sizes[-1].items()}
            print(
                f"  {(part + 1) * (given.count // parts)} requests, {found['per_second']:.0f}/s: {mib} MiB",
                flush=True,
            )
        suite.report["resident_bytes"] = sizes
        for who in ("server", "workers"):
            early = max(size[who] for size in sizes[: parts // 4])
            late = Spread.of(early / size[who] for size in sizes[-parts // 4 :])
            suite.verdict(
                f"memory of the {who} flat (highest of the first quarter ÷ last quarter)", late, 0.95, True
            )


def of_model(kind: type[Contestant], name: str) -> type[Contestant]:
    """Returns that kind of server for another model than the small CNN."""
    return type(kind.__name__, (kind,), {"model_name": name})


SUITES = {suite.__name__: suite for suite in (small, identity, resnet, tail, memory)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "suites", nargs="*", default=["small", "identity", "resnet", "tail"], help=", ".join(SUITES)
    )
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="servers of the suite small")
    parser.add_argument("--impetus", type=Path, default=Impetus.binary)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.5, help="of load, for each server in each round")
    parser.add_argument("--connections", default="1,8,32,64")
    parser.add_argument("--wires", default="json,binary")
    parser.add_argument("--count", type=int, default=1_000_000, help="requests of the suite memory")
    given = parser.parse_args()
    given.only = [name for name in given.only.split(",") if name]
    given.wires = given.wires.split(",")
    given.connections = [int(count) for count in given.connections.split(",")]
    Impetus.binary = given.impetus.resolve()
    tree.become_subreaper()
    make_tensors.write(MODELS)
    if "small" in given.suites:
        for name in set(given.only) & set(PYTHON):
            run.prepare(name)
    began, failed = time.monotonic(), 0
    for name in given.suites:
        try:
            SUITES[name](given)
        except RuntimeError as error:
            failed += 1
            print(f"{name}: not measured: {error}", file=sys.stderr, flush=True)
    print(f"\nin {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
