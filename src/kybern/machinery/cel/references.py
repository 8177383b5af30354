"""Schemas of built-in kinds without references, for declaring types: each stands where it is meant.

One that is meant within itself is an object of which nothing is known, as upstream has it.
"""

from collections.abc import Mapping
from typing import Any

from kybern.machinery.walkers import REF

type Schema = Mapping[str, Any]


def whole(definitions: Mapping[str, Schema], name: str) -> Schema | None:
    """The schema of a definition with all that it refers to; None when there is none of that name."""
    found = definitions.get(name)
    return None if found is None else _filled(found, definitions, frozenset((name,)))


def _filled(schema: Schema, definitions: Mapping[str, Schema], above: frozenset[str]) -> Schema:
    target = _target(schema)
    if target:
        if target in above or target not in definitions:
            return {"type": "object"}
        return _filled(definitions[target], definitions, above | {target})
    found = dict(schema)
    if schema.get("properties"):
        found["properties"] = {
            name: _filled(each, definitions, above) for name, each in schema["properties"].items()
        }
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), Mapping):
            found[key] = _filled(schema[key], definitions, above)
    return found


def _target(schema: Schema) -> str:
    """What a schema refers to, if it does; a description may stand beside the reference, which is in an allOf then."""
    for each in (schema, *(schema.get("allOf") or ())):
        if each.get("$ref"):
            return str(each["$ref"]).removeprefix(REF)
    return ""
