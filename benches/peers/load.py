"""Steady ordinary load, probes of health, and the client that sends the dangerous request.

The load is open: each client sends on its own schedule whether or not earlier requests have been
answered, as independent users do. A server that stands still is not given fewer requests for it.
"""

import asyncio
import random
import time
from dataclasses import asdict, dataclass, field

import pictures
import wire
from servers import Server

CLIENTS = 8
# Seconds from one request of a client to its next, on average. Far below what one worker of any of the
# servers can do, on a busy machine too, so that what is seen is the fault and no overload.
EVERY = 1.0
TIMEOUT = 10.0
PICTURES = 32
# Idle connections are dropped well before any server would close them.
IDLE_FOR = 1.0

PROBE_EVERY = 0.25
PROBE_TIMEOUT = 1.0

RIGHT, WRONG, REFUSED, TIMED_OUT = "right", "wrong", "refused", "timed out"


@dataclass
class Asked:
    """One request and what came of it. Times are of time.monotonic()."""

    model: str
    sent: float
    took: float = 0.0
    outcome: str = ""
    detail: str = ""


@dataclass
class Prepared:
    """A request, made ahead so that the load costs little."""

    model: str
    picture: pictures.Picture
    head: bytes
    body: bytes

    @classmethod
    def make(cls, server: Server, model: str, picture: pictures.Picture) -> "Prepared":
        path, body = server.body(model, picture)
        return cls(model, picture, wire.post(path, body), body)


async def send(
    server: Server, request: Prepared, connection: wire.Connection | None, timeout: float
) -> tuple[Asked, wire.Connection | None]:
    """Sends a request on a connection or a new one; returns what came of it and the connection."""
    asked = Asked(request.model, time.monotonic())
    try:
        async with asyncio.timeout(timeout):
            connection = connection or await wire.Connection.open(server.port)
            status, answer = await connection.ask(request.head, request.body)
        if status != 200:
            asked.outcome = REFUSED
            asked.detail = f"{status} {answer[:200].decode(errors='replace')}"
        else:
            asked.outcome = RIGHT if request.picture.fits(server.scores(answer)) else WRONG
    except TimeoutError:
        asked.outcome = TIMED_OUT
    except (OSError, EOFError) as error:
        asked.outcome = REFUSED
        asked.detail = f"{type(error).__name__}: {error}"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        asked.outcome = WRONG
        asked.detail = f"not understood: {error!r}"
    asked.took = time.monotonic() - asked.sent
    return asked, connection


class Load:
    """The ordinary clients. Half of them ask `plain`, half the model that is struck."""

    def __init__(self, server: Server, struck: str):
        self._server = server
        self._models = ["plain", struck]
        drawn = [pictures.make(seed) for seed in range(PICTURES)]
        self._prepared = {
            model: [Prepared.make(server, model, picture) for picture in drawn] for model in self._models
        }
        self.asked: list[Asked] = []
        self._running: set[asyncio.Task] = set()
        self._stopped = asyncio.Event()
        self._clients: list[asyncio.Task] = []

    def start(self) -> None:
        self._clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]

    async def stop(self) -> None:
        """Sends no more, and waits for what was sent."""
        self._stopped.set()
        await asyncio.gather(*self._clients)
        await asyncio.gather(*self._running)

    async def _client(self, number: int) -> None:
        model = self._models[number % 2]
        idle: list[tuple[float, wire.Connection]] = []
        # Irregular, or a server that deals requests out in turn would give each client its own worker.
        waits = random.Random(number)
        due = time.monotonic() + EVERY * number / CLIENTS
        turn = number
        while not self._stopped.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += EVERY * waits.uniform(0.5, 1.5)
            turn += 1
            request = self._prepared[model][turn % PICTURES]
            task = asyncio.create_task(self._one(request, idle))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await asyncio.gather(*list(self._running))
        for _, connection in idle:
            connection.close()

    async def _one(self, request: Prepared, idle: list[tuple[float, wire.Connection]]) -> None:
        connection = None
        while idle and connection is None:
            since, connection = idle.pop()
            if time.monotonic() - since > IDLE_FOR:
                connection.close()
                connection = None
        asked, connection = await send(self._server, request, connection, TIMEOUT)
        if connection and connection.usable:
            idle.append((time.monotonic(), connection))
        elif connection:
            connection.close()
        self.asked.append(asked)


@dataclass
class Probed:
    at: float
    said: str


class Probes:
    """Asks liveness and readiness on connections of their own, as the kubelet does."""

    def __init__(self, server: Server):
        self._server = server
        self.said: dict[str, list[Probed]] = {"live": [], "ready": []}
        self._tasks: list[asyncio.Task] = []

    def start(self) -> None:
        paths = {"live": self._server.live_path, "ready": self._server.ready_path}
        self._tasks = [asyncio.create_task(self._ask(kind, path)) for kind, path in paths.items()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, kind: str, path: str) -> None:
        while True:
            at = time.monotonic()
            self.said[kind].append(Probed(at, await probe(self._server, path)))
            await asyncio.sleep(max(0.0, at + PROBE_EVERY - time.monotonic()))


async def probe(server: Server, path: str) -> str:
    """Returns the status, with the body unless it is 200, or why there was no answer."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            status, answer = await wire.once(server.health_port, wire.get(path))
        return "200" if status == 200 else f"{status} {answer[:300].decode(errors='replace')}"
    except TimeoutError:
        return f"no answer in {PROBE_TIMEOUT:.0f} s"
    except (OSError, EOFError, ValueError, IndexError) as error:
        return type(error).__name__


@dataclass
class Killer:
    """The client with the dangerous request: sends it, and again if it was told to."""

    server: Server
    model: str
    marker: float
    times: int = 1
    timeout: float = TIMEOUT
    asked: list[Asked] = field(default_factory=list)

    async def run(self) -> None:
        request = Prepared.make(self.server, self.model, pictures.make(1000, self.marker))
        for _ in range(self.times):
            asked, connection = await send(self.server, request, None, self.timeout)
            if connection:
                connection.close()
            self.asked.append(asked)
            await asyncio.sleep(0.2)

    def records(self) -> list[dict]:
        return [asdict(asked) for asked in self.asked]
