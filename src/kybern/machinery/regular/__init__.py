"""Regular expressions as Go writes them (RE2), run by Python's engine.

The two differ in what they allow, in what a dollar sign, a blank and a word's boundary mean, and in what they say of a
pattern that is wrong. ``compiled`` reads the pattern, refuses what Go refuses in Go's words, and hands Python an equal one.
Python's engine goes back and tries again where RE2 does not: a pattern with repetitions inside repetitions may take long.
"""

import re
from functools import lru_cache

from kybern.machinery.regular.problem import PatternError
from kybern.machinery.regular.scan import Scan

__all__ = ["PatternError", "compiled", "every", "first"]


@lru_cache(maxsize=1024)
def compiled(text: str) -> re.Pattern[str]:
    """The pattern; raises PatternError."""
    translated = Scan(text).translate()
    try:
        return re.compile(translated)
    except (re.error, RecursionError, OverflowError):
        raise PatternError("expression nests too deeply", text) from None


def first(pattern: re.Pattern[str], text: str) -> str:
    """The first match, or nothing."""
    found = pattern.search(text)
    return found[0] if found else ""


def every(pattern: re.Pattern[str], text: str, limit: int = -1) -> list[str]:
    """All matches that do not overlap; an empty one right behind another does not count."""
    found: list[str] = []
    at, end = 0, -1
    while at <= len(text) and not 0 <= limit <= len(found):
        each = pattern.search(text, at)
        if each is None:
            break
        if each.end() > each.start() or each.start() != end:
            found.append(each[0])
        end = each.end()
        at = end if end > each.start() else end + 1
    return found
