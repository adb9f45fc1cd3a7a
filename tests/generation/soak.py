"""Asks a real server for text thousands of times, goes away in the middle of many answers, and looks what is left.

    python tests/generation/soak.py [--impetus BINARY] [--requests 20000] [--seed N]

64 callers at a time ask the bundled model, each request as a seeded generator draws it: whole or as a stream,
greedy or drawn, of a form or free, one answer or several. A third of the callers hang up: before the answer
begins, or after so many of its bytes. Then it must hold that

    every answer that was waited for came, whole;
    nothing runs and nothing waits, and all slots run at once as before;
    the counters add up: every sequence that was taken in has ended, for one reason;
    server and worker are still those that they were, and hold no more memory than after the first third,
    but for what is said at MAY_GROW.

It speaks HTTP by itself, on a connection of its own for each request, so that it decides at which byte it goes.
It ends the server that it started, and nothing else.
"""

import argparse
import asyncio
import json
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))
sys.path.insert(0, str(HERE.parent / "clients" / "with_openai"))

import served  # noqa: E402
import speaking  # noqa: E402

TOGETHER = 64
SLOTS = 16
# What processes may grow by between the first third and the end, in bytes: an allocator keeps more or less of what
# was freed. What leaks for each request by a kilobyte shows in 20,000 of them, a slot of the cache in any number.
MAY_GROW = 24 << 20
# The longest that a request may take, and the longest run for each thousand requests, in seconds. Far more than
# either needs: they end what hangs.
PATIENCE, PATIENCE_PER_THOUSAND = 60, 120
SETTINGS = f"""
models.workers = 1
models.queue = 4096
generation.slots = {SLOTS}
generation.max_len = 512
memory.headroom = "128MiB"
"""
WORDS = "the server restarted a worker and every request was answered at night before Ada looked".split()
FORMS = [{"regex": "[a-z]{3,9}"}, {"guided_choice": ["yes", "no"]}, {"guided_json": {"type": "boolean"}}]


# --- requests ------------------------------------------------------------------------------------


def request(rng: random.Random) -> tuple[str, dict]:
    """Returns a path and what to send there."""
    fields = {"model": speaking.MODEL, "max_tokens": rng.choice([1, 4, 16, 16, 16, 40, 120])}
    fields["temperature"] = rng.choice([0, 0, 0.8, 1.5])
    text = " ".join(rng.choices(WORDS, k=rng.randrange(1, 60)))
    if rng.random() < 0.5:
        path, fields["messages"] = "chat/completions", speaking.user(text)
    else:
        path, fields["prompt"] = "completions", text
    fields["n"] = rng.choice([1, 1, 1, 1, 1, 2, 3])
    fields["stream"] = rng.random() < 0.6
    if rng.random() < 0.15:
        fields |= rng.choice(FORMS)
    elif rng.random() < 0.2:
        fields["stop"] = rng.choice(["e", " the", "xyzzy"])
    elif rng.random() < 0.3:
        fields["ignore_eos"] = True
    return path, fields


async def ask(port: int, path: str, fields: dict, leave_after: int | None) -> Counter:
    """Asks, and returns what came of it: `left`, or `answered` and why each answer ended, or in words what is wrong.

    With a number the caller goes away when it has read so many bytes.
    """
    body = json.dumps(fields).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        if leave_after is None:
            return judged(await reader.read(-1), fields)
        read = 0
        while read < leave_after:
            part = await reader.read(leave_after - read)
            if not part:
                break
            read += len(part)
        return Counter(["left"])
    finally:
        writer.close()


def judged(answer: bytes, fields: dict) -> Counter:
    """Says whether an answer is whole, and why it ended."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return Counter([f"refused: {answer[:600]!r}"])
    reasons = Counter(re.findall(rb'"finish_reason":"([a-z_]+)"', body))
    whole = body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") if fields["stream"] else body.endswith(b"}")
    if not whole or reasons.total() != fields["n"] or b'"error"' in body:
        return Counter([f"not whole: {answer[-600:]!r}"])
    return Counter({"answered": 1} | {reason.decode(): times for reason, times in reasons.items()})


async def callers(port: int, seed: str, count: int) -> Counter:
    """Asks `count` times with so many callers at once; returns what came of it, and of how many `sequences`."""
    ends: Counter = Counter()
    rng = random.Random(seed)
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            path, fields = request(rng)
            leave_after = rng.choice([0, rng.randrange(1, 400), rng.randrange(400, 6000)])
            leaves = rng.random() < 1 / 3
            end = await asyncio.wait_for(ask(port, path, fields, leave_after if leaves else None), PATIENCE)
            ends.update(end)
            ends["sequences, perhaps" if leaves else "sequences"] += fields["n"]

    async with asyncio.timeout(60 + PATIENCE_PER_THOUSAND * count / 1000):
        await asyncio.gather(*(caller() for _ in range(TOGETHER)))
    return ends


# --- what is left --------------------------------------------------------------------------------


def worker(server: served.Server) -> int:
    """Returns the process of the only worker."""
    [model] = server.listed()
    [only] = model["workers"]
    return only["pid"]


def resident(pid: int) -> int:
    """Returns the bytes that a process holds."""
    return psutil.Process(pid).memory_info().rss


def ended(server: served.Server) -> Counter:
    """Returns how many sequences have ended, by the reason."""
    now = speaking.figures(server)
    return Counter({name[1]: int(value) for name, value in now.items() if name[0] == "finished_total"})


async def full_batch(server: served.Server) -> None:
    """Runs as many sequences as there are slots, and insists that they run at once."""
    long = {"model": speaking.MODEL, "prompt": "The server", "max_tokens": 480, "ignore_eos": True, "stream": False}
    asked = asyncio.gather(*(ask(server.port, "completions", long | {"n": 1}, None) for _ in range(SLOTS)))
    await asyncio.to_thread(speaking.until_running, server, SLOTS)
    ends = sum(await asked, Counter())
    assert ends == Counter(answered=SLOTS, length=SLOTS), ends


def stage(server: served.Server, seed: str, count: int) -> Counter:
    """Asks `count` times and waits until nothing is left to do; returns what came of it."""
    ends = asyncio.run(callers(server.port, seed, count))
    speaking.until_idle(server)
    wrong = [end for end in ends if end.startswith(("refused", "not whole"))]
    assert not wrong, f"{sum(ends[end] for end in wrong)} requests: {wrong[:5]}"
    assert ends["answered"] + ends["left"] == count, ends
    asyncio.run(full_batch(server))
    speaking.until_idle(server)
    return ends + Counter(sequences=SLOTS, length=SLOTS)


def soak(server: served.Server, seed: str, count: int) -> None:
    """Asks so many times, and holds what is left against what there was after a third of them."""
    pids = {"server": server.pid, "worker": worker(server)}
    third = count // 3
    first = stage(server, f"{seed}, warming up", third)
    before = {name: resident(pid) for name, pid in pids.items()}
    known = ended(server)
    second = stage(server, seed, count - third)
    after = {name: resident(pid) for name, pid in pids.items()}
    assert worker(server) == pids["worker"], f"the worker was replaced; {server.log()}"
    new = ended(server) - known
    both = first + second
    print(f"{count:,} requests: {both['answered']:,} answered, {both['left']:,} left")
    print("sequences that ended:", ", ".join(f"{times:,} {reason}" for reason, times in sorted(new.items())))
    check_counters(second, new)
    for name in pids:
        grown = after[name] - before[name]
        print(f"{name}: {before[name] >> 20} MiB after a third, {after[name] >> 20} MiB at the end")
        assert grown <= MAY_GROW, f"the {name} has grown by {grown >> 20} MiB"


def check_counters(seen: Counter, counted: Counter) -> None:
    """Holds what callers have seen against what the server has counted."""
    # Who leaves before a request has been read leaves no sequence behind.
    most = seen["sequences"] + seen["sequences, perhaps"]
    assert seen["sequences"] <= counted.total() <= most, (seen, counted)
    assert counted["failed"] == 0 and counted["cancelled"] > 0, counted
    # An answer that ends at a stop string is cancelled, and one whose caller has left may have ended by itself.
    assert seen["length"] <= counted["length"], (seen, counted)
    assert seen["stop"] <= counted["stop"] + counted["cancelled"], (seen, counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--impetus", type=Path, default=served.binary(), help="the server")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--seed", default="soak")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        server = served.Server(given.impetus.resolve(), Path(scratch), SETTINGS)
        shutil.copytree(speaking.CHAT, server.models / speaking.MODEL)
        with server as running:
            soak(running.until_ready(), given.seed, given.requests)


if __name__ == "__main__":
    main()
