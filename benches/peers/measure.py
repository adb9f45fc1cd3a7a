"""Load on servers, in interleaved rounds, and what others did to the machine meanwhile."""

import asyncio
import json
import statistics
import struct
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy

import tree
import wire
from contestants import Contestant
from servers import ROOT

CLIENT = ROOT / "target" / "release" / "impetus-load"
START_TIMEOUT = 120.0
# What a round may lose to others, in cores, and still count as quiet.
MOST_STOLEN = 0.08
MOST_FOREIGN = 0.1


@dataclass
class Spread:
    """A median and the range around it."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread":
        figures = list(figures)
        return cls(statistics.median(figures), min(figures), max(figures))

    def text(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}–{self.highest:.{digits}f})"


@dataclass
class Rounds:
    """Figures of several rounds; the quiet ones count, or all of them if none was quiet."""

    all: list[dict] = field(default_factory=list)

    def taken(self) -> list[dict]:
        return [one for one in self.all if one["quiet"]] or self.all

    @property
    def quiet(self) -> int:
        return sum(one["quiet"] for one in self.all)


async def until_ready(server: Contestant) -> None:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        tree.reap()
        if server.root in tree.ENDED:
            raise RuntimeError(f"{server.name} ended as it started:\n{server.log()}")
        try:
            async with asyncio.timeout(2.0):
                status, _ = await wire.once(server.port, wire.get(server.ready_path))
            if status == 200:
                return
        except (OSError, EOFError, ValueError, IndexError, TimeoutError):
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{server.name} was not ready within {START_TIMEOUT:.0f} s:\n{server.log()}")


def start(servers: list[Contestant]) -> None:
    for server in servers:
        server.start()
    for server in servers:
        asyncio.run(until_ready(server))


async def ask(server: Contestant, kind: str, array: numpy.ndarray) -> list[float]:
    """Asks once and returns the numbers of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(server.request(kind, array))
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 60)
    finally:
        writer.close()
    status = int(first.split(" ")[1])
    if status != 200:
        raise RuntimeError(f"{server.name} answers {status} to {kind}: {body[:300]!r}\n{server.log()}")
    return server.scores(kind, headers, body)


def write_requests(place: Path, requests: Iterable[bytes]) -> Path:
    with place.open("wb") as file:
        for request in requests:
            file.write(struct.pack("<I", len(request)) + request)
    return place


def load(server: Contestant, requests: Path, connections: int, **options) -> dict:
    """Loads a server and returns the figures, with the server's CPU time and what others did."""
    command = [CLIENT, "--port", str(server.port), "--connections", str(connections), "--requests", requests]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    machine, cpu = tree.Machine(), server.cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    if done.returncode != 0:
        raise RuntimeError(f"{server.name}: {done.stderr.strip()}\n{server.log()}")
    figures = json.loads(done.stdout)
    if set(figures["statuses"]) != {"200"}:
        raise RuntimeError(f"{server.name} answered {figures['statuses']}")
    foreign, stolen = machine.others()
    # The settling before is in the server's time and not in the answers, so its share is taken out.
    share = figures["seconds"] / (figures["seconds"] + float(options.get("settle", 0)))
    answers = figures["answers"]
    return figures | {
        "per_second": answers / figures["seconds"],
        "server_cpu_us": (server.cpu() - cpu) * share / answers * 1e6,
        "client_cpu_us": figures["client_cpu_seconds"] / answers * 1e6,
        "foreign_cores": foreign,
        "stolen_cores": stolen,
        "quiet": foreign <= MOST_FOREIGN and stolen <= MOST_STOLEN,
    }


def repeat(
    bare: type[Contestant], library: Path, model: Path, batches: list[int], sessions: int, seconds: float
) -> dict:
    """Returns the rows a second that the model alone allows, by the size of the batch."""
    command = [bare.binary, "repeat", "--library", library, "--model", model, "--sessions", str(sessions)]
    command += ["--seconds", str(seconds), "--batches", ",".join(map(str, batches))]
    machine = tree.Machine()
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=True)
    foreign, stolen = machine.others()
    rates = {int(rows): rate for rows, rate in json.loads(done.stdout).items()}
    return {"rates": rates, "quiet": foreign <= MOST_FOREIGN and stolen <= MOST_STOLEN}
