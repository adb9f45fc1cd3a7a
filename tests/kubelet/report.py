"""The table of a run: what was done to each pod, and what was seen."""

from dataclasses import dataclass, field
from pathlib import Path

_BEGIN = "<!-- table of tests/kubelet: begin -->"
_END = "<!-- table of tests/kubelet: end -->"


@dataclass
class Outcome:
    """What became of one case."""

    name: str
    title: str
    seconds: float = 0.0
    seen: list[str] = field(default_factory=list)
    # Why it failed, when it did.
    failure: str | None = None


def as_markdown(outcomes: list[Outcome], surroundings: list[str]) -> str:
    rows = ["| case | what was seen | result |", "|---|---|---|"]
    for outcome in outcomes:
        seen = "<br>".join(outcome.seen)
        if outcome.failure is not None:
            seen += f"<br>**{outcome.failure}**"
        result = "failed" if outcome.failure is not None else "passed"
        rows.append(f"| {outcome.title} | {_cell(seen)} | {result}, {outcome.seconds:.0f} s |")
    return "\n".join([*rows, "", *(f"- {line}" for line in surroundings), ""])


def as_text(outcome: Outcome) -> str:
    """Returns what is printed when a case has ended."""
    head = f"{'FAILED' if outcome.failure else 'passed'}  {outcome.name}: {outcome.title} ({outcome.seconds:.0f} s)"
    lines = [head, *(f"          {sentence}" for sentence in outcome.seen)]
    if outcome.failure:
        lines.append(f"        ! {outcome.failure}")
    return "\n".join(lines)


def write_into(document: Path, table: str) -> None:
    """Replaces the table in a document by this one."""
    text = document.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f"{before}{_BEGIN}\n\n{table}\n{_END}{after}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
