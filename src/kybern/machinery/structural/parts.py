"""The schemas inside a schema, each with its path."""

from collections.abc import Iterator, Mapping
from typing import Any

_ALTERNATIVES = ("allOf", "anyOf", "oneOf")


def parts(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schemas of the parts of a value, each with its path."""
    for name, each in sorted((schema.get("properties") or {}).items()):
        yield f"{path}.properties[{name}]", each
    further, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(further, Mapping):
        yield f"{path}.additionalProperties", further
    if isinstance(items, Mapping):
        yield f"{path}.items", items


def alternatives(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in _ALTERNATIVES:
        for i, each in enumerate(schema.get(name) or ()):
            yield f"{path}.{name}[{i}]", each
    if isinstance(schema.get("not"), Mapping):
        yield f"{path}.not", schema["not"]
