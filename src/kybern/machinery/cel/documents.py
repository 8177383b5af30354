"""The schema of a kind out of an OpenAPI v3 document, with every reference replaced by what it refers to.

A definition that refers to itself on the way down (such as JSONSchemaProps) ends there as an object of which nothing is
known: upstream's rule, without which the schema would have no end.
"""

from collections.abc import Mapping
from typing import Any

type Schema = Mapping[str, Any]

_PREFIX = "#/components/schemas/"
_KINDS = "x-kubernetes-group-version-kind"
_ENDLESS: Schema = {"type": "object"}


def schema_of(document: Mapping[str, Any], group: str, version: str, kind: str) -> Schema | None:
    """None when the document describes no such kind, or refers to something that it does not describe."""
    described: Mapping[str, Any] = (document.get("components") or {}).get("schemas") or {}
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in described.items():
        if wanted in (schema.get(_KINDS) or ()):
            try:
                return _resolved({"$ref": _PREFIX + name}, described, frozenset())
            except KeyError:
                return None
    return None


def _resolved(schema: Schema, described: Mapping[str, Any], passed: frozenset[str]) -> Schema:
    """Raises KeyError for a definition that is not there."""
    name = _referred(schema)
    if name:
        if name in passed:
            return _ENDLESS
        schema, passed = described[name], passed | {name}
    found = dict(schema)
    if "properties" in found:
        inner: Mapping[str, Any] = found["properties"]
        found["properties"] = {key: _resolved(each, described, passed) for key, each in inner.items()}
    for place in ("items", "additionalProperties"):
        if isinstance(found.get(place), Mapping):
            found[place] = _resolved(found[place], described, passed)
    return found


def _referred(schema: Schema) -> str:
    """The definition that a schema stands for: its own reference, or one in ``allOf``, which lets it be described."""
    for each in (schema, *(schema.get("allOf") or ())):
        target = each.get("$ref")
        if isinstance(target, str):
            return target.removeprefix(_PREFIX)
    return ""
