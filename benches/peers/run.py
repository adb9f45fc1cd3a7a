#!/usr/bin/env python3
"""Strikes servers with the same faults, one at a time, and writes down what their users saw.

    benches/peers/run.py [--only SERVER,…] [--faults FAULT,…] [--impetus BINARY] [--keep]

Each pair of server and fault gets a fresh server on 127.0.0.1, steady ordinary load, probes of its
health, one strike, and an end. Everything is bounded in time; the whole takes about half an hour.
docs/self-healing.md explains the tables. Needs Python 3.11 or newer on Linux, and pip for the peers.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
import servers
import tree
from faults import FAULTS, Fault
from load import Killer, Load, Probes, probe
from servers import ROOT, SERVERS, Server

MEMORY_LIMIT = 3 << 30
START_TIMEOUT = 90.0
CALM = 4.0
# From one signal to the next: at least, and at most if the victim is not replaced.
APART = 12.0
REPLACED_WITHIN = 25.0
# The last seconds, over which it is measured what the server still uses.
BURN_OVER = 3.0
RESULTS = ROOT / "target" / "bench" / "peers"


def prepare(name: str) -> None:
    """Makes the virtual environment of a peer unless its requirements are installed already."""
    venv, wanted = servers.VENVS / name, Path(__file__).parent / f"requirements-{name}.txt"
    stamp = venv / "stamp"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return
    print(f"installing {name} into {venv.relative_to(ROOT)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
    subprocess.run(pip, check=True, timeout=900)
    stamp.write_text(wanted.read_text())


async def until_ready(server: Server) -> float:
    """Waits until the server says it is ready; returns how long that took."""
    start = time.monotonic()
    while time.monotonic() - start < START_TIMEOUT:
        if server.root in tree.ENDED:
            raise RuntimeError(f"{server.name} ended as it started ({tree.ENDED[server.root]})")
        if await probe(server, server.ready_path) == "200":
            return time.monotonic() - start
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{server.name} was not ready within {START_TIMEOUT:.0f} s")


async def send_signals(server: Server, fault: Fault) -> list[float | None]:
    """Sends the signals of a fault; returns how long each victim's replacement took to be there.

    None: it was not there in time, or not waited for, since the signal was the last one.
    """
    before, replaced = len(server.workers()), []
    for number in range(fault.times):
        at = time.monotonic()
        victim = await server.victim()
        os.kill(victim, fault.by_signal)
        replaced.append(None)
        while number + 1 < fault.times and time.monotonic() - at < REPLACED_WITHIN:
            await asyncio.sleep(0.05)
            there = server.workers()
            if replaced[-1] is None and victim not in there and len(there) >= before:
                replaced[-1] = round(time.monotonic() - at, 2)
            if replaced[-1] is not None and time.monotonic() - at >= APART:
                break
    return replaced


async def strike(server: Server, fault: Fault, load: Load, probes: Probes) -> dict:
    """Loads, strikes and watches; returns what was seen."""
    load.start()
    probes.start()
    await asyncio.sleep(CALM)
    at = time.monotonic()
    machine = tree.Machine()
    seen = {"at": at, "workers": len(server.workers()), "killer": []}
    killer = Killer(server, fault.model, fault.marker, fault.times, fault.patience)
    killing = None
    if fault.by_signal:
        seen["replaced_seconds"] = await send_signals(server, fault)
    else:
        killing = asyncio.create_task(killer.run())
    seen["last_strike"] = time.monotonic() - at
    await asyncio.sleep(fault.watched - BURN_OVER)
    family = tree.descendants(os.getpid())
    before, since = tree.cpu_seconds(family), time.monotonic()
    await asyncio.sleep(BURN_OVER)
    seen["burnt_cores"] = (tree.cpu_seconds(family) - before) / (time.monotonic() - since)
    seen["workers_left"] = len([pid for pid in server.workers() if not tree.stopped(pid)])
    seen["foreign_cores"], seen["stolen_cores"] = machine.others()
    seen["end"] = time.monotonic()
    await load.stop()
    await probes.stop()
    if killing:
        await killing
        seen["killer"] = killer.records()
    return seen


def one(name: str, fault: Fault) -> dict:
    """Runs one pair from start to end."""
    scratch = RESULTS / "runs" / f"{name}-{fault.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    server = SERVERS[name](sorted({"plain", fault.model}), scratch)
    with tree.MemoryLimit(MEMORY_LIMIT) as memory:
        try:
            server.start()
            return asyncio.run(_one(server, fault, memory))
        finally:
            tree.end_all(os.getpid())
            shutil.rmtree(scratch / "models", ignore_errors=True)


async def _one(server: Server, fault: Fault, memory: tree.MemoryLimit) -> dict:
    started = await until_ready(server)
    # Workers may come up after the server has said that it is ready.
    await asyncio.sleep(2)
    load, probes = Load(server, fault.model), Probes(server)
    seen = await strike(server, fault, load, probes)
    seen |= {
        "server": server.name,
        "fault": fault.name,
        "said": fault.said,
        "watched": fault.watched,
        "started_seconds": started,
        "exit": tree.ENDED.get(server.root),
        "peak_bytes": memory.highest,
        "killed_for_memory": [[at - seen["at"], size] for at, _, size in memory.killed],
    }
    return report.judge(seen, load.asked, probes.said)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(SERVERS), help="servers, divided by commas")
    parser.add_argument("--faults", default=",".join(FAULTS), help="faults, divided by commas")
    parser.add_argument("--impetus", type=Path, help="the binary (default: target/release/impetus)")
    chosen = parser.parse_args()
    chosen.only, chosen.faults = chosen.only.split(","), chosen.faults.split(",")
    for given, known in ((chosen.only, SERVERS), (chosen.faults, FAULTS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return chosen


def main() -> int:
    chosen = arguments()
    tree.become_subreaper()
    # So that what was started is ended also when the runner is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    SERVERS["impetus"].binary = (chosen.impetus or ROOT / "target" / "release" / "impetus").resolve()
    for name in chosen.only:
        if name != "impetus":
            prepare(name)
        elif not SERVERS[name].binary.exists():
            print(f"{SERVERS[name].binary} does not exist; `make build` makes it", file=sys.stderr)
            return 1
    failed = 0
    for fault in chosen.faults:
        for name in chosen.only:
            print(f"{name}: {FAULTS[fault].said}", flush=True)
            try:
                found = one(name, FAULTS[fault])
                report.keep(RESULTS / f"{name}.json", name, found)
                print("   ", report.line(found), flush=True)
            except (RuntimeError, OSError) as error:
                failed += 1
                print(f"    not judged: {error}", file=sys.stderr, flush=True)
    written = RESULTS / "tables.md"
    written.write_text(report.tables(RESULTS))
    print(f"tables: {written.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
