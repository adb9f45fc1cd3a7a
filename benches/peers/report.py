"""From what was seen to figures, JSON and Markdown tables."""

import datetime
import json
import os
import platform
from collections import Counter
from pathlib import Path

from faults import FAULTS
from load import REFUSED, RIGHT, TIMED_OUT, WRONG
from servers import SERVERS

OUTCOMES = (RIGHT, WRONG, REFUSED, TIMED_OUT)
# A run of right answers at the end counts as recovery if it lasted at least this long.
STEADY = 5.0


def judge(seen: dict, asked: list, probed: dict) -> dict:
    """Adds the figures to what was seen of one pair of server and fault."""
    at, end = seen["at"], seen["end"]
    during = sorted((one for one in asked if one.sent >= at), key=lambda one: one.sent)
    calm = [one for one in asked if one.sent + one.took < at]
    seen["before"] = counts(calm)
    seen["ordinary"] = counts(during)
    seen["plain"] = counts([one for one in during if one.model == "plain"])
    seen["struck"] = counts([one for one in during if one.model != "plain"])
    seen["details"] = dict(Counter(one.detail for one in during if one.detail).most_common(6))
    seen["back_seconds"] = back(during, at + seen["last_strike"], end)
    for kind, said in probed.items():
        seen[kind] = health([one for one in said if one.at >= at - 1], at)
    for one in seen["killer"]:
        one["sent"] -= at
    del seen["at"], seen["end"]
    return seen


def counts(asked: list) -> dict:
    """Counts outcomes, and says how long right answers took."""
    found = {outcome: 0 for outcome in OUTCOMES}
    found |= Counter(one.outcome for one in asked)
    took = sorted(one.took for one in asked if one.outcome == RIGHT)
    if took:
        found["p50_ms"] = round(1000 * took[len(took) // 2], 1)
        found["p99_ms"] = round(1000 * took[len(took) * 99 // 100], 1)
        found["slowest_ms"] = round(1000 * took[-1], 1)
    return found


def back(during: list, at: float, end: float) -> float | None:
    """Returns when the unbroken run of right answers began that lasted to the end.

    Counted from the last strike. 0: it was never broken. None: it did not begin, or less than
    `STEADY` before the end.
    """
    bad = [index for index, one in enumerate(during) if one.outcome != RIGHT]
    if not bad:
        return 0.0
    after = during[bad[-1] + 1 :]
    if not after or end - after[0].sent < STEADY:
        return None
    return max(0.01, round(after[0].sent - at, 2))


def health(probed: list, at: float) -> list:
    """Returns what an endpoint said as spans: from, to and answer; seconds since the strike."""
    spans: list[list] = []
    for one in probed:
        said = one.said.split(" ", 1)[0] if one.said[:1].isdigit() else one.said
        if spans and spans[-1][2] == said:
            spans[-1][1] = round(one.at - at, 1)
        else:
            moment = round(one.at - at, 1)
            spans.append([moment, moment, said] + ([one.said[:300]] if said != one.said else []))
    return spans


# --- Words ---------------------------------------------------------------------------------------


def recovery(found: dict) -> str:
    if found["exit"] is not None:
        return f"no: the server ended ({found['exit']})"
    seconds = found["back_seconds"]
    if seconds == 0:
        return "never away"
    return f"no, in {found['watched']:.0f} s" if seconds is None else f"after {seconds:.1f} s"


def noticed(spans: list) -> str:
    """Says in a few words when an endpoint gave anything but 200."""
    bad = [span for span in spans if span[2] != "200"]
    if not bad:
        return "200 throughout"
    words = Counter(span[2] for span in bad)
    last = spans[-1][2] != "200"
    until = "to the end" if last else f"to {bad[-1][1]:.1f} s"
    return f"{', '.join(words)} from {max(bad[0][0], 0):.1f} s {until}" + (
        f", {len(bad)} times" if len(bad) > 1 else ""
    )


def killer(found: dict) -> str:
    """Says what the killer's own client saw."""
    if not found["killer"]:
        return "–"
    said = []
    for one in found["killer"]:
        if one["outcome"] == REFUSED:
            status = one["detail"].split(" ", 1)[0].rstrip(":")
            said.append(f"{status} after {one['took']:.1f} s")
        elif one["outcome"] == TIMED_OUT:
            said.append(f"no answer in {one['took']:.0f} s")
        else:
            said.append(f"200, {one['outcome']}, after {one['took']:.1f} s")
    alike = Counter(text.split(" after ")[0] for text in said)
    if len(said) == 1:
        return said[0]
    return ", ".join(f"{times} × {text}" for text, times in alike.items())


def line(found: dict) -> str:
    """Returns everything in one line, for whoever watches."""
    ordinary = found["ordinary"]
    parts = [
        ", ".join(f"{outcome} {ordinary[outcome]}" for outcome in OUTCOMES),
        f"back: {recovery(found)}",
        f"live: {noticed(found['live'])}",
        f"ready: {noticed(found['ready'])}",
        f"killer: {killer(found)}",
        f"workers {found['workers_left']} of {found['workers']}",
        f"replaced after {found.get('replaced_seconds', '–')}",
        f"busy threads at the end {found['busy_threads']}",
        f"memory {found['peak_bytes'] >> 20} MiB, {len(found['killed_for_memory'])} killed for it",
        f"cores of others {found['foreign_cores']}",
    ]
    return "; ".join(parts)


# --- Files ---------------------------------------------------------------------------------------


def keep(path: Path, name: str, found: dict) -> None:
    """Puts one result into a server's file, beside or instead of those that are there."""
    kept = json.loads(path.read_text()) if path.exists() else {"results": {}}
    kept |= {
        "server": name,
        "version": SERVERS[name].version(),
        "settings": SERVERS[name].settings,
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release().split('-')[0]}",
    }
    kept["results"][found["fault"]] = found
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


BEGIN, END = "<!-- tables of benches/peers: begin -->\n", "<!-- tables of benches/peers: end -->\n"


def publish(folder: Path, page: Path) -> None:
    """Puts the tables between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(folder)}\n{END}{after}")


COLUMNS = [
    "server",
    "right: plain / struck",
    "wrong",
    "refused",
    "timed out",
    "slowest right one",
    "back",
    "health said",
    "the killer's client saw",
    "workers left",
    "busy threads at the end",
]


def tables(folder: Path) -> str:
    """Returns a table for each fault of everything in a folder, and one line for each server."""
    files = [folder / f"{name}.json" for name in SERVERS]
    kept = [json.loads(path.read_text()) for path in files if path.exists()]
    lines = []
    for fault in FAULTS.values():
        lines += [f"### {fault.said[0].upper()}{fault.said[1:]}", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for server in kept:
            if found := server["results"].get(fault.name):
                lines.append(row(server["server"], found))
        lines.append("")
    for one in kept:
        others = [found["foreign_cores"] for found in one["results"].values()]
        lines.append(
            f"- **{one['server']}** {one['version']}: {one['settings']}. {one['date']}, {one['machine']}, "
            f"of which other programs used {min(others):.1f} to {max(others):.1f} cores meanwhile."
        )
    return "\n".join(lines) + "\n"


def row(server: str, found: dict) -> str:
    ordinary = found["ordinary"]
    live, ready = noticed(found["live"]), noticed(found["ready"])
    cells = [
        server,
        f"{share(found['plain'])} / {share(found['struck'])}",
        ordinary[WRONG],
        ordinary[REFUSED],
        ordinary[TIMED_OUT],
        f"{ordinary['slowest_ms'] / 1000:.1f} s" if ordinary[RIGHT] else "–",
        recovery(found),
        live if live == ready else f"live: {live}; ready: {ready}",
        killer(found),
        f"{found['workers_left']} of {found['workers']}",
        f"{found['busy_threads']:.1f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def share(found: dict) -> str:
    total = sum(found[outcome] for outcome in OUTCOMES)
    if found[RIGHT] == total:
        return "100%"
    # 100 only when it was all of them.
    return f"{min(100 * found[RIGHT] / total, 99.9):.1f}%"
