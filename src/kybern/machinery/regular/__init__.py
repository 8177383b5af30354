"""Regular expressions as Go writes them (RE2), and as fast.

Go and Python differ in what they allow, in what a dollar sign, a blank and a word's boundary mean, and in what they say of
a pattern that is wrong. ``compiled`` reads the pattern and refuses what Go refuses, in Go's words. Python's engine runs it
as long as going back and trying again cannot take long; a machine that never goes back runs it otherwise.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from kybern.machinery.regular.machine import Machine
from kybern.machinery.regular.problem import PatternError
from kybern.machinery.regular.scan import Scan
from kybern.machinery.regular.tree import Node, endless, written

__all__ = ["Pattern", "PatternError", "compiled"]

# How many steps Python's engine may need.
_ENOUGH = 1_000_000


@dataclass
class Pattern:
    """One pattern."""

    tree: Node
    _python: re.Pattern[str] = field(init=False, repr=False)
    _power: int = field(init=False)

    def __post_init__(self) -> None:
        self._python = re.compile(written(self.tree))
        self._power = endless(self.tree)

    @cached_property
    def _machine(self) -> Machine:
        return Machine.of(self.tree)

    def _quick(self, text: str) -> bool:
        """Whether Python's engine is done soon. Each repetition may be tried at each place, and so may the whole."""
        return self._power == 0 or (self._power < 8 and (len(text) + 1) ** (self._power + 1) <= _ENOUGH)

    def within(self, text: str) -> bool:
        """Whether it is somewhere in a text."""
        if self._quick(text):
            return self._python.search(text) is not None
        return self._machine.matches(text)

    def _find(self, text: str, at: int) -> tuple[int, int] | None:
        if self._quick(text):
            found = self._python.search(text, at)
            return None if found is None else found.span()
        return self._machine.find(text, at)

    def first(self, text: str) -> str:
        """The first match, or nothing."""
        found = self._find(text, 0)
        return "" if found is None else text[slice(*found)]

    def every(self, text: str, limit: int = -1) -> list[str]:
        """All matches that do not overlap; an empty one right behind another does not count."""
        found: list[str] = []
        at, end = 0, -1
        while at <= len(text) and not 0 <= limit <= len(found):
            span = self._find(text, at)
            if span is None:
                break
            if span[1] > span[0] or span[0] != end:
                found.append(text[slice(*span)])
            end = span[1]
            at = end if end > span[0] else end + 1
        return found


@lru_cache(maxsize=1024)
def compiled(text: str) -> Pattern:
    """The pattern; raises PatternError."""
    try:
        return Pattern(Scan(text).tree())
    except (re.error, RecursionError, OverflowError):
        raise PatternError("expression nests too deeply", text) from None
