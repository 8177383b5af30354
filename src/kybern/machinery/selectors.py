"""Label selectors: read as text or from an object, then asked whether they match. Field selectors are in ``fields``.

The parser follows upstream's grammar and says what it found and expected in its words, because kubectl shows that.
The selector's text is split into tokens first; ``in`` and ``notin`` are words only where an operator may stand.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kybern.machinery import names
from kybern.machinery.causes import invalid
from kybern.machinery.errors import BadRequest, Cause
from kybern.machinery.fields import FieldRequirement, FieldSelector, parse_fields

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "FieldRequirement",
    "FieldSelector",
    "LabelSelector",
    "Requirement",
    "of_labels",
    "of_selector",
    "parse_fields",
    "parse_labels",
]

INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
TOKEN = re.compile(r"[ \t\r\n]*(?:([=!(),><]+)|([^=!(),><\s]+))|[ \t\r\n]+$")
SYMBOLS = ("!=", "==", "=", "!", "(", ")", ",", ">", "<")
OPERATORS = {"in": "in", "notin": "notin", "=": "=", "==": "=", "!=": "!=", ">": "gt", "<": "lt"}
EXPECTED = "in, notin, =, ==, !=, gt, lt"
END = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. Operators: in, notin, =, !=, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return _MATCHES[self.operator](labels.get(self.key), self.values)

    def __str__(self) -> str:
        if self.operator in {"exists", "!"}:
            return self.key if self.operator == "exists" else f"!{self.key}"
        if self.operator in {"in", "notin"}:
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


def _number(text: str) -> int | None:
    if len(text) > 64 or not INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _greater(value: str | None, values: tuple[str, ...]) -> bool:
    left, right = _number(value or ""), _number(values[0])
    return left is not None and right is not None and left > right


def _less(value: str | None, values: tuple[str, ...]) -> bool:
    left, right = _number(value or ""), _number(values[0])
    return left is not None and right is not None and left < right


_MATCHES: Mapping[str, Callable[[str | None, tuple[str, ...]], bool]] = {
    "in": lambda value, values: value is not None and value in values,
    "=": lambda value, values: value is not None and value in values,
    "notin": lambda value, values: value is None or value not in values,
    "!=": lambda value, values: value is None or value not in values,
    "exists": lambda value, _: value is not None,
    "!": lambda value, _: value is None,
    "gt": _greater,
    "lt": _less,
}


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none means everything matches, unless ``nothing`` says that nothing does."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        given = labels or {}
        return all(requirement.matches(given) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(one) for one in sorted(self.requirements, key=lambda one: one.key))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


class _Parser:
    """A cursor over the tokens of one label selector. A token is (what it is, its text)."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[min(self.at, len(self.tokens) - 1)]

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def selector(self) -> Iterable[Requirement]:
        while True:
            what, text = self.peek()
            if what == END:
                return
            if what not in {"word", "!"}:
                raise BadRequest(f"found '{text}', expected: !, identifier, or 'end of string'")
            yield self.requirement()
            what, text = self.take()
            if what == END:
                return
            if what != ",":
                raise BadRequest(f"found '{text}', expected: ',' or 'end of string'")
            what, text = self.peek()
            if what not in {"word", "!"}:
                raise BadRequest(f"found '{text}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        what, key = self.take()
        absent = what == "!"
        if absent:
            what, key = self.take()
        if what != "word":
            raise _unable(f"found '{key}', expected: identifier")
        wrong = "; ".join(names.label_key(key))
        if wrong:
            raise _unable(_line(invalid("<nil>", key, wrong)))
        if absent or self.peek()[0] in {END, ","}:
            if absent and self.peek()[0] not in {END, ","}:
                self.operator()
            return Requirement(key, "!" if absent else "exists")
        operator = self.operator()
        values = self.several() if operator in {"in", "notin"} else (self.single(),)
        problems = list(_problems(key, operator, values))
        if problems:
            raise _unable(_joined(problems))
        return Requirement(key, operator, values)

    def operator(self) -> str:
        what, text = self.take()
        if text not in OPERATORS or what in {END, ","}:
            raise _unable(f"found '{text}', expected: {EXPECTED}")
        return OPERATORS[text]

    def single(self) -> str:
        if self.peek()[0] in {END, ","}:
            return ""
        what, text = self.take()
        if what != "word":
            raise _unable(f"found '{text}', expected: identifier")
        return text

    def several(self) -> tuple[str, ...]:
        what, text = self.take()
        if what != "(":
            raise _unable(f"found '{text}' expected: '('")
        found: list[str] = []
        what, text = self.peek()
        if what == ")":
            self.take()
            return ("",)
        if what not in {"word", ","}:
            raise _unable(f"found '{text}', expected: ',', ')' or identifier")
        while True:
            found.append(self.take()[1] if self.peek()[0] == "word" else "")
            what, text = self.take()
            if what == ")":
                return tuple(sorted(set(found)))
            if what != ",":
                raise _unable(f"found '{text}', expected: ',' or ')'")
            if self.peek()[0] not in {"word", ",", ")"}:
                raise _unable(f"found '{self.peek()[1]}', expected: ',', or identifier")


def _unable(says: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {says}")


def _line(cause: Cause) -> str:
    return f"{cause.field}: {cause.message}"


def _joined(causes: list[Cause]) -> str:
    lines = list(dict.fromkeys(_line(cause) for cause in causes))
    return lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    for found in TOKEN.finditer(text):
        symbols, word = found.groups()
        if word:
            yield "word", word
        while symbols:
            symbol = next(one for one in SYMBOLS if symbols.startswith(one))
            yield symbol, symbol
            symbols = symbols[len(symbol) :]
    yield END, ""


def _problems(key: str, operator: str, values: tuple[str, ...]) -> Iterable[Cause]:
    if operator in {"gt", "lt"} and _number(values[0]) is None:
        yield invalid("values[0]", values[0], "for 'Gt', 'Lt' operators, the value must be an integer")
    for at, value in enumerate(values):
        wrong = "; ".join(names.label_value(value))
        if wrong:
            yield invalid(f"values[{at}][{key}]", value, wrong)


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """Read ``a=b,c in (d,e),!f``; raises BadRequest."""
    return LabelSelector(tuple(_Parser(text).selector()))


_OF_OBJECT = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


def of_selector(raw: Mapping[str, Any] | None) -> LabelSelector:
    """A metav1.LabelSelector: absent matches nothing, empty matches everything."""
    if raw is None:
        return NOTHING
    found = [Requirement(key, "=", (value,)) for key, value in (raw.get("matchLabels") or {}).items()]
    for one in raw.get("matchExpressions") or ():
        operator = _OF_OBJECT.get(one.get("operator", ""))
        if operator is None:
            raise BadRequest(f'"{one.get("operator", "")}" is not a valid label selector operator')
        found.append(Requirement(one.get("key", ""), operator, tuple(one.get("values") or ())))
    return LabelSelector(tuple(found))


def of_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """A plain map of labels, as Services and ReplicationControllers select by: empty matches nothing."""
    if not labels:
        return NOTHING
    return LabelSelector(tuple(Requirement(key, "=", (value,)) for key, value in labels.items()))
