"""The v2 document as protobuf, in the encoding of gnostic that Go clients ask for.

Only what the document uses is written. A map is a list of (name, value) pairs there, and a value of any shape is text
in YAML, for which JSON does.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from kybern.machinery import wire

type Encode = Callable[[Any], bytes]


def _text(value: Any) -> bytes:
    return str(value).encode()


def _any(value: Any) -> bytes:
    return wire.text(2, json.dumps(value, separators=(",", ":")))


def _message(value: Mapping[str, Any], table: Mapping[str, tuple[int, Encode]], vendor: int) -> bytes:
    """A message by a table of its fields; what starts with x- goes to the field ``vendor``."""
    found = []
    for key, each in value.items():
        if key in table:
            number, encode = table[key]
            several = each if isinstance(each, list) else [each]
            found += [wire.delimited(number, encode(one)) for one in several]
        elif key in _FLAGS and key in value:
            found.append(_flag(key, each, vendor))
        elif key.startswith("x-"):
            found.append(wire.delimited(vendor, wire.text(1, key) + wire.delimited(2, _any(each))))
    return b"".join(found)


# Booleans by the number of the message's vendor field, which tells the messages apart.
_FLAGS: Mapping[str, Mapping[int, int]] = {
    "required": {6: 4, 22: 1, 23: 1},
    "uniqueItems": {22: 19, 23: 20, 31: 16},
}


def _flag(key: str, value: Any, vendor: int) -> bytes:
    number = _FLAGS[key].get(vendor)
    return wire.tag(number, wire.VARINT) + b"\x01" if number and value is True else b""


def _named(value: Mapping[str, Any], number: int, encode: Encode) -> bytes:
    return b"".join(
        wire.delimited(number, wire.text(1, name) + wire.delimited(2, encode(each)))
        for name, each in value.items()
    )


def _type(value: Any) -> bytes:
    return wire.text(1, value)


def schema(value: Mapping[str, Any]) -> bytes:
    """A schema, and those inside it."""
    return _message(value, _SCHEMA, 31)


def _items(value: Any) -> bytes:
    return wire.delimited(1, schema(value))


def _additional(value: Any) -> bytes:
    if isinstance(value, bool):
        return wire.tag(2, wire.VARINT) + (b"\x01" if value else b"\x00")
    return wire.delimited(1, schema(value))


def _properties(value: Any) -> bytes:
    return _named(value, 1, schema)


_SCHEMA: Mapping[str, tuple[int, Encode]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "pattern": (13, _text),
    "required": (19, _text),
    "enum": (20, _any),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
    "allOf": (24, schema),
    "properties": (25, _properties),
}


def _parameter(value: Mapping[str, Any]) -> bytes:
    """A parameter, in the three wrappers that it has as an item of a list."""
    place = value["in"]
    if place == "body":
        table: Mapping[str, tuple[int, Encode]] = {
            "name": (2, _text),
            "in": (3, _text),
            "schema": (5, schema),
        }
        return wire.delimited(1, wire.delimited(1, _message(value, table, 6)))
    shift = 0 if place == "path" else 1
    table = {
        "in": (2, _text),
        "description": (3, _text),
        "name": (4, _text),
        "type": (5 + shift, _text),
        "format": (6 + shift, _text),
    }
    body = _message(value, table, 22 + shift)
    return wire.delimited(1, wire.delimited(2, wire.delimited(4 if place == "path" else 3, body)))


def _response(value: Any) -> bytes:
    body = wire.text(1, value["description"])
    if "schema" in value:
        body += wire.delimited(2, wire.delimited(1, schema(value["schema"])))
    return wire.delimited(1, body)


def _responses(value: Any) -> bytes:
    return _named(value, 1, _response)


_OPERATION: Mapping[str, tuple[int, Encode]] = {
    "tags": (1, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _text),
    "consumes": (7, _text),
    "parameters": (8, _parameter),
    "responses": (9, _responses),
    "schemes": (10, _text),
}


def _operation(value: Any) -> bytes:
    return _message(value, _OPERATION, 13)


_PATH: Mapping[str, tuple[int, Encode]] = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameter),
}


def _path(value: Any) -> bytes:
    return _message(value, _PATH, 10)


def encode(document: Mapping[str, Any]) -> bytes:
    """A whole v2 document."""
    info = wire.text(1, document["info"]["title"]) + wire.text(2, document["info"]["version"])
    return (
        wire.text(1, document["swagger"])
        + wire.delimited(2, info)
        + wire.delimited(8, _named(document["paths"], 2, _path))
        + wire.delimited(9, _named(document["definitions"], 1, schema))
    )
