"""Waiting for something to come true, never longer than said."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_EVERY = 0.1


class Failed(Exception):
    """A case saw something other than it must see."""


def until(what: str, within: float, look: Callable[[], T | None]) -> T:
    """Looks until there is an answer, and returns it; fails after `within` seconds.

    None, False and what is empty is no answer; the number 0 is one.
    """
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found or (found == 0 and found is not False):
            return found
        if time.monotonic() >= deadline:
            raise Failed(f"waited {within:.0f} s for {what}")
        time.sleep(LOOK_EVERY)


def require(holds: object, otherwise: str) -> None:
    """Fails with what was seen unless it is what must be seen."""
    if not holds:
        raise Failed(otherwise)
