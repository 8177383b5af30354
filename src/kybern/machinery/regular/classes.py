r"""Sets of signs in patterns: brackets, ``\d``, ``[:alpha:]``, ``\p{L}``; each becomes the inside of one of Python's."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from kybern.machinery.regular.problem import PatternError

_PERL = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Za-z_"}
_NAMED = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CONTROLS = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}", re.ASCII)
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]+)\})", re.ASCII)
_PROPERTY = re.compile(r"[pP](?:([A-Z])|\{(\^?)([A-Za-z_]+)\})", re.ASCII)
_SETS = re.compile(r"\[:(\^?)([a-z]+):\]", re.ASCII)
_CATEGORY = re.compile(r"[CLMNPSZ][a-z]?", re.ASCII)
# The first words of the names of what a script has, where they are not the script's own name.
_SCRIPTS = {"Han": ("CJK UNIFIED", "CJK COMPAT"), "Hangul": ("HANGUL",)}
_LAST = sys.maxunicode


def escape(text: str, at: int) -> tuple[str, int]:
    """What the backslash at a place stands for, as the inside of a set, and where it ends."""
    sign = text[at + 1 : at + 2]
    if sign.lower() in _PERL:
        inside = _PERL[sign.lower()]
        return (inside if sign.islower() else _without(inside)), at + 2
    if sign in "pP":
        return _property(text, at)
    char, end = _char(text, at)
    return re.escape(char), end


def _char(text: str, at: int) -> tuple[str, int]:
    """One sign, written out or escaped."""
    sign = text[at + 1 : at + 2]
    if not sign:
        raise PatternError("trailing backslash at end of expression", "")
    octal, hexadecimal = _OCTAL.match(text, at + 1), _HEX.match(text, at + 1)
    if octal:
        return chr(int(octal[0], 8)), octal.end()
    if hexadecimal and (code := int(hexadecimal[1] or hexadecimal[2], 16)) <= _LAST:
        return chr(code), hexadecimal.end()
    if sign in _CONTROLS:
        return _CONTROLS[sign], at + 2
    if sign.isascii() and not sign.isalnum():
        return sign, at + 2
    raise PatternError("invalid escape sequence", text[at : at + 2])


def _property(text: str, at: int) -> tuple[str, int]:
    found = _PROPERTY.match(text, at + 1)
    if found is None:
        raise PatternError("invalid character class range", text[at : at + 2])
    inside = _known(found[1] or found[3])
    if not inside:
        raise PatternError("invalid character class range", text[at : found.end()])
    other = (found[0][0] == "P") != bool(found[2])
    return (_without(inside) if other else inside), found.end()


@lru_cache(maxsize=64)
def _known(name: str) -> str:
    if name == "Any":
        return rf"\x00-{re.escape(chr(_LAST))}"
    every = map(chr, range(_LAST + 1))
    if _CATEGORY.fullmatch(name):
        return _ranges(ord(sign) for sign in every if unicodedata.category(sign).startswith(name))
    begins = _SCRIPTS.get(name, (f"{name.upper().replace('_', ' ')} ",))
    return _ranges(ord(sign) for sign in every if unicodedata.name(sign, "").startswith(begins))


def _ranges(codes: Iterator[int]) -> str:
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in found)


@lru_cache(maxsize=64)
def _without(inside: str) -> str:
    """All signs but these."""
    outside = re.compile(f"[^{inside}]", re.DOTALL)
    return _ranges(code for code in range(_LAST + 1) if outside.match(chr(code)))


def bracket(text: str, start: int) -> tuple[str, int]:
    """A set in brackets for Python, and where it ends."""
    at = start + 1
    negated = text.startswith("^", at)
    at += negated
    parts: list[str] = []
    while not text.startswith("]", at) or not parts:
        if at >= len(text):
            raise PatternError("missing closing ]", text[start:])
        part, at = _part(text, at, start)
        parts.append(part)
    return f"[{'^' if negated else ''}{''.join(parts)}]", at + 1


def _part(text: str, at: int, start: int) -> tuple[str, int]:
    named = _SETS.match(text, at)
    if named:
        if named[2] not in _NAMED:
            raise PatternError("invalid character class range", named[0])
        return (_without(_NAMED[named[2]]) if named[1] else _NAMED[named[2]]), named.end()
    if text[at] == "\\" and text[at + 1 : at + 2].lower() in ("d", "s", "w", "p"):
        return escape(text, at)
    low, end = _one(text, at, start)
    if not text.startswith("-", end) or text.startswith("]", end + 1):
        return re.escape(low), end
    high, end = _one(text, end + 1, start)
    if high < low:
        raise PatternError("invalid character class range", text[at:end])
    return f"{re.escape(low)}-{re.escape(high)}", end


def _one(text: str, at: int, start: int) -> tuple[str, int]:
    if at >= len(text):
        raise PatternError("missing closing ]", text[start:])
    return _char(text, at) if text[at] == "\\" else (text[at], at + 1)
