"""The facts of chat_facts.toml, as chat_text.py and the scripts of the tests want them."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fact:
    """One answer, and the phrases by which it is asked for, by form."""

    answer: str
    thing: list = field(default_factory=list)
    term: list = field(default_factory=list)
    how: list = field(default_factory=list)
    when: list = field(default_factory=list)
    ask: list = field(default_factory=list)
    say: list = field(default_factory=list)


_READ = tomllib.loads((Path(__file__).resolve().parent / "chat_facts.toml").read_text(encoding="utf-8"))

FACTS = [Fact(**fact) for fact in _READ["fact"]]
UNKNOWN = _READ["unknown"]
UNKNOWN_QUESTIONS = _READ["unknown_questions"]
FILLERS = _READ["fillers"]
