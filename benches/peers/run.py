#!/usr/bin/env python3
"""Strikes servers with the same faults, one at a time, and writes down what their users saw.

    benches/peers/run.py [--only SERVER,…] [--faults FAULT,…] [--impetus BINARY]

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
from load import REFUSED, TIMED_OUT, WRONG, Killer, Load, Probes, probe
from servers import ROOT, SERVERS, Server

MEMORY_LIMIT = 3 << 30
START_TIMEOUT = 90.0
# Before the strike: seconds of load, and how slow they may have been for the rest to count.
CALM = 5.0
CALM_P99_MS = 1000.0
TRIES = 3
# How long a new worker process has to load before the next signal strikes another one, and how long
# it is waited for that there is a new one.
APART = 20.0
REPLACED_WITHIN = 25.0
# The last seconds, over which it is measured what still runs, and how often it is looked.
BUSY_OVER = 3.0
BUSY_LOOKS = 30
# What was found, kept with the code so that one server can be run again without the others.
RESULTS = Path(__file__).resolve().parent / "results"
LOGS = ROOT / "target" / "bench" / "peers"
DOCS = ROOT / "docs" / "self-healing.md"


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


async def replacement(server: Server, victim: int, workers: int) -> float | None:
    """Waits until a victim is gone and there are as many workers as before; returns how long."""
    at = time.monotonic()
    while time.monotonic() - at < REPLACED_WITHIN:
        await asyncio.sleep(0.1)
        there = server.workers()
        if victim not in there and len(there) >= workers:
            return round(time.monotonic() - at, 2)
    return None


async def send_signals(server: Server, fault: Fault) -> list[float | None]:
    """Sends the signals of a fault; returns how long each victim's replacement took to be there.

    None: it was not there in time, or not waited for, since the signal was the last one.
    """
    before, replaced = len(server.workers()), []
    for number in range(fault.times):
        victim = await server.victim()
        if victim is None:
            break
        os.kill(victim, fault.by_signal)
        replaced.append(None)
        if number + 1 < fault.times:
            replaced[-1] = await replacement(server, victim, before)
            await asyncio.sleep(APART)
    return replaced


async def busy_threads() -> float:
    """Returns how many threads of the server ran or waited for a core, on average.

    Not the CPU time they got: on a busy machine that says more about the others.
    """
    family, seen = tree.descendants(os.getpid()), 0
    for _ in range(BUSY_LOOKS):
        await asyncio.sleep(BUSY_OVER / BUSY_LOOKS)
        seen += tree.running_threads(family)
    return round(seen / BUSY_LOOKS, 2)


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
    await asyncio.sleep(fault.watched - BUSY_OVER)
    seen["busy_threads"] = await busy_threads()
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
    """Runs one pair; again if the machine was too busy for the load even before the strike."""
    for _ in range(TRIES):
        found = attempt(name, fault)
        before = found["before"]
        if before[WRONG] + before[REFUSED] + before[TIMED_OUT] == 0 and before["p99_ms"] < CALM_P99_MS:
            return found
        print(f"    again: {before} before the strike", flush=True)
    raise RuntimeError(f"no calm {CALM:.0f} s before the strike in {TRIES} tries")


def attempt(name: str, fault: Fault) -> dict:
    """Runs one pair from start to end."""
    scratch = LOGS / f"{name}-{fault.name}"
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
    report.publish(RESULTS, DOCS)
    print(f"tables: {DOCS.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
