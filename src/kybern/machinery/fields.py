"""Field selectors: equal or not equal, on fields that each kind names. Backslash escapes commas, equal signs and itself."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kybern.machinery.errors import BadRequest


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """``key`` compared with ``value``; ``op`` is = or !=."""

    key: str
    op: str
    value: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.key, self.op, self.value))


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold; which keys exist is the kind's business."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, value_of: Callable[[str], str]) -> bool:
        return all((value_of(one.key) == one.value) == (one.op == "=") for one in self.requirements)

    def exact(self, key: str) -> str | None:
        """The value that a field must have, None when the selector leaves it open."""
        return next((one.value for one in self.requirements if one.key == key and one.op == "="), None)

    def __str__(self) -> str:
        return ",".join(f"{one.key}{one.op}{_escape(one.value)}" for one in self.requirements)


def _escape(text: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", text)


def parse_fields(text: str) -> FieldSelector:
    r"""Read ``metadata.name=a,spec.nodeName!=b`` (``\,``, ``\=`` and ``\\`` are escapes); raises BadRequest."""
    terms = sorted(re.findall(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL))
    return FieldSelector(tuple(_term(term, text) for term in terms))


def _term(term: str, text: str) -> FieldRequirement:
    found = re.search("!=|==|=", term)
    if found is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    op = "!=" if found[0] == "!=" else "="
    return FieldRequirement(term[: found.start()], op, _unescape(term[found.end() :]))


def _unescape(text: str) -> str:
    found = []
    signs = iter(text)
    for sign in signs:
        if sign == "\\":
            following = next(signs, "")
            if following not in {"\\", ",", "="}:
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{following}")
            found.append(following)
        elif sign in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(sign)}")
        else:
            found.append(sign)
    return "".join(found)
