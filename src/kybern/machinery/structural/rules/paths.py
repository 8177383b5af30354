r"""Which field a rule speaks of: ``.spec.name`` or ``['my.key']``, from the rule's own place on.

Steps name properties, or keys of a map. In quotes a backslash stands before ``'`` and ``\``, and spells control characters.
"""

import re
from collections.abc import Mapping
from typing import Any

_PART = re.compile(r"[.\[\]]|'(?:[^'\\]|\\.)*'|[^.\[\]']+|'", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SIGNS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class PathError(ValueError):
    """Text that leads nowhere in a schema."""


def normal(path: str, schema: Mapping[str, Any]) -> str:
    """The path as causes print it; raises PathError."""
    parts = iter(_PART.findall(path))
    found = ""
    for part in parts:
        if part not in (".", "["):
            raise PathError(f"expected [ or . but got: {part}")
        name = _next(parts)
        if part == "[":
            name = _quoted(name)
            end = _next(parts)
            if end != "]":
                raise PathError(f"expected ] but got {end}")
        step, schema = _below(name, schema)
        found += step
    return found.removeprefix(".")


def _next(parts: Any) -> str:
    found = next(parts, None)
    if found is None:
        raise PathError("unexpected end of JSON path")
    return str(found)


def _quoted(part: str) -> str:
    if len(part) < 2 or part[0] != "'" or part[-1] != "'":
        raise PathError(f"expected single quoted string but got {part}")
    return _ESCAPE.sub(_sign, part[1:-1])


def _sign(found: re.Match[str]) -> str:
    if found[1] not in _SIGNS:
        raise PathError(f"invalid string literal: invalid escape char {found[0]}")
    return _SIGNS[found[1]]


def _below(name: str, schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    properties, further = schema.get("properties"), schema.get("additionalProperties")
    if properties and name in properties:
        return f".{name}", properties[name]
    if not properties and isinstance(further, Mapping):
        return f"[{name}]", further
    raise PathError("does not refer to a valid field")
