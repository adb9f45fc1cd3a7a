"""The table of a run: what was done to each pod, and what was seen."""

from dataclasses import dataclass, field
from pathlib import Path

# Around a table in a document, by what it is of.
_BEGIN = "<!-- table of {}: begin -->"
_END = "<!-- table of {}: end -->"


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
    result = "FAILED" if outcome.failure else "passed"
    head = f"{result}  {outcome.name}: {outcome.title} ({outcome.seconds:.0f} s)"
    lines = [head, *(f"          {sentence}" for sentence in outcome.seen)]
    if outcome.failure:
        lines.append(f"        ! {outcome.failure}")
    return "\n".join(lines)


def of_commands(rows: list[tuple[str, str]], surroundings: list[str]) -> str:
    lines = ["| command | what was seen |", "|---|---|"]
    lines += [f"| `{_cell(command)}` | {_cell(seen)} |" for command, seen in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in surroundings), ""])


def write_into(document: Path, table: str, of: str) -> None:
    """Replaces a table in a document."""
    begin, end = _BEGIN.format(of), _END.format(of)
    before, begins, rest = document.read_text().partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"{document} has no place for the table of {of}")
    document.write_text(f"{before}{begin}\n\n{table}\n{end}{after}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
