"""OpenAPI schemas as types of expressions, with how large their values may be.

What a schema leaves open (no type, no items) has no type here, and no expression sees it. Sizes serve the estimate of costs:
no value is larger than a request, and none is smaller than what its JSON takes at the least.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.cel import types
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.names import escaped, reserved
from kybern.machinery.cel.types import Type
from kybern.machinery.structural.node import EMBEDDED, INT_OR_STRING

type Schema = Mapping[str, Any]

LARGEST_REQUEST = 3 * 1024 * 1024
_LONGEST_NAME = 253
_TIME = 32
_DATE = 12


@dataclass(frozen=True, slots=True)
class Declared:
    """``most``: how many signs, items or entries; ``least``: how many bytes of JSON at the least.

    ``fields`` are an object's, by their identifiers; ``item`` is of lists and maps.
    """

    type: Type
    most: int = 0
    least: int = 1
    fields: Mapping[str, "Declared"] = field(default_factory=dict)
    item: "Declared | None" = None

    def at(self, path: tuple[str, ...]) -> "Declared | None":
        """What lies at a path of identifiers, ``@items`` and ``@values``; keys of maps are strings."""
        found: Declared | None = self
        for step in path:
            if found is None:
                return None
            if step == "@keys":
                found = _KEY if found.type.kind == "map" else None
            else:
                found = found.item if step in ("@items", "@values") else found.fields.get(step)
        return found

    def size(self, path: tuple[str, ...]) -> Range | None:
        found = self.at(path)
        return None if found is None else Range(0, found.most)


_KEY = Declared(types.STRING, 0, 2)
_SIMPLE = {
    "boolean": Declared(types.BOOL, 0, 4),
    "number": Declared(types.DOUBLE, 0, 1),
    "integer": Declared(types.INT, 0, 1),
}


def either(schema: Schema) -> bool:
    """Whether a place has an integer or a string; custom kinds and built-in ones have different words for it."""
    return bool(schema.get(INT_OR_STRING)) or schema.get("format") == "int-or-string"


def declare(schema: Schema, name: str, *, root: bool = False) -> Declared | None:
    """The type of what a schema without references describes, or None.

    The root of an object has its kind, its version and its name, whether the schema says so or not.
    """
    if either(schema):
        return Declared(types.DYN, _length(schema, LARGEST_REQUEST - 2), 1)
    kind = schema.get("type")
    if root:
        schema = with_meta(schema)
    if kind == "array":
        return _list(schema, name)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return _map(schema, name)
    if kind == "object":
        return _object(schema, name)
    if kind == "string":
        return _string(schema)
    return _SIMPLE.get(str(kind))


def with_meta(schema: Schema) -> Schema:
    """A schema with what every object has."""
    properties = schema.get("properties") or {}
    named = ((properties.get("metadata") or {}).get("properties")) or {}
    metadata = {
        "type": "object",
        "properties": {
            "name": _name(named.get("name") or {}, _LONGEST_NAME),
            "generateName": _name(named.get("generateName") or {}, _LONGEST_NAME - 1),
        },
    }
    text = {"type": "string"}
    return {**schema, "properties": {**properties, "kind": text, "apiVersion": text, "metadata": metadata}}


def _name(schema: Schema, longest: int) -> Schema:
    said = schema.get("maxLength")
    return {"type": "string", "maxLength": longest if said is None else min(said, longest)}


def _inner(schema: Schema, name: str) -> Declared | None:
    return declare(schema, name, root=bool(schema.get(EMBEDDED)))


def _said(schema: Schema, key: str, otherwise: int) -> int:
    said = schema.get(key)
    return otherwise if said is None else max(int(said), 0)


def _list(schema: Schema, name: str) -> Declared | None:
    items = schema.get("items")
    item = _inner(items, f"{name}.@idx") if isinstance(items, Mapping) else None
    if item is None:
        return None
    most = _said(schema, "maxItems", (LARGEST_REQUEST - 2) // (item.least + 1))
    return Declared(types.list_of(item.type), most, 2, item=item)


def _map(schema: Schema, name: str) -> Declared | None:
    item = _inner(schema["additionalProperties"], f"{name}.@elem")
    if item is None:
        return None
    most = _said(schema, "maxProperties", (LARGEST_REQUEST - 2) // (item.least + 6))
    return Declared(types.map_of(types.STRING, item.type), most, 2, item=item)


def _object(schema: Schema, name: str) -> Declared:
    fields: dict[str, Declared] = {}
    wanted = set(schema.get("required") or ())
    least = 2
    for key, each in (schema.get("properties") or {}).items():
        identifier = escaped(key)
        found = _inner(each, f"{name}.{identifier or key}")
        if found is None:
            continue
        if identifier is not None:
            fields[identifier] = found
        if reserved(key):
            fields[key] = found
        if key in wanted and each.get("default") is None:
            least += len(key.encode()) + found.least + 4
    made = types.object_of(name, {key: each.type for key, each in fields.items()})
    return Declared(made, 0, least, fields)


def _string(schema: Schema) -> Declared:
    form = schema.get("format")
    if form == "byte":
        return Declared(types.BYTES, _said(schema, "maxLength", LARGEST_REQUEST - 2), 2)
    if form == "duration":
        return Declared(types.DURATION, _TIME, 3)
    if form == "date":
        return Declared(types.TIMESTAMP, _DATE, _DATE)
    if form == "date-time":
        return Declared(types.TIMESTAMP, _TIME, 21)
    return Declared(types.STRING, _length(schema, _longest(schema)), 2)


def _length(schema: Schema, otherwise: int) -> int:
    """Lengths are said in characters, and one may take four bytes."""
    return _said(schema, "maxLength", -1) * 4 if schema.get("maxLength") is not None else otherwise


def _longest(schema: Schema) -> int:
    choices = schema.get("enum")
    if not choices:
        return LARGEST_REQUEST - 2
    return max((len(each.encode()) for each in choices if isinstance(each, str)), default=0)
