"""Schemas as types of expressions."""

from typing import Any

import pytest

from kybern.machinery.cel import types
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.schemas import LARGEST_REQUEST, Declared, declare
from kybern.machinery.cel.types import Type


def made(schema: dict[str, Any], *, root: bool = False) -> Declared:
    found = declare(schema, "self", root=root)
    assert found is not None
    return found


WHOLE = LARGEST_REQUEST - 2


@pytest.mark.parametrize(
    ("schema", "kind", "most", "least"),
    [
        ({"type": "boolean"}, types.BOOL, 0, 4),
        ({"type": "integer"}, types.INT, 0, 1),
        ({"type": "number"}, types.DOUBLE, 0, 1),
        ({"type": "string"}, types.STRING, WHOLE, 2),
        ({"type": "string", "maxLength": 10}, types.STRING, 40, 2),
        ({"type": "string", "enum": ["a", "bcé"]}, types.STRING, 4, 2),
        ({"type": "string", "format": "byte"}, types.BYTES, WHOLE, 2),
        ({"type": "string", "format": "byte", "maxLength": 10}, types.BYTES, 10, 2),
        ({"type": "string", "format": "duration"}, types.DURATION, 32, 3),
        ({"type": "string", "format": "date"}, types.TIMESTAMP, 12, 12),
        ({"type": "string", "format": "date-time"}, types.TIMESTAMP, 32, 21),
        ({"type": "string", "format": "uuid"}, types.STRING, WHOLE, 2),
        ({"x-kubernetes-int-or-string": True}, types.DYN, WHOLE, 1),
        ({"x-kubernetes-int-or-string": True, "maxLength": 5}, types.DYN, 20, 1),
        ({"type": "array", "items": {"type": "integer"}}, types.list_of(types.INT), WHOLE // 2, 2),
        ({"type": "array", "maxItems": 3, "items": {"type": "integer"}}, types.list_of(types.INT), 3, 2),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            types.map_of(types.STRING, types.STRING),
            WHOLE // 8,
            2,
        ),
        (
            {"type": "object", "maxProperties": 7, "additionalProperties": {"type": "string"}},
            types.map_of(types.STRING, types.STRING),
            7,
            2,
        ),
    ],
)
def test_types_and_sizes(schema: dict[str, Any], kind: Type, most: int, least: int) -> None:
    found = made(schema)
    assert (found.type, found.most, found.least) == (kind, most, least)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "array"},
        {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
        {"type": "object", "additionalProperties": {}},
    ],
)
def test_what_is_open_has_no_type(schema: dict[str, Any]) -> None:
    assert declare(schema, "self") is None


def test_objects_have_fields_by_their_identifiers() -> None:
    found = made(
        {
            "type": "object",
            "required": ["my-field", "filled"],
            "properties": {
                "my-field": {"type": "string"},
                "filled": {"type": "string", "default": "x"},
                "in": {"type": "object", "properties": {"a": {"type": "integer"}}},
                "1st": {"type": "integer"},
                "open": {},
            },
        }
    )
    assert sorted(found.fields) == ["__in__", "filled", "in", "my__dash__field"]
    assert {name: str(kind) for name, kind in found.type.fields.items()} == {
        "my__dash__field": "string", "filled": "string", "__in__": "self.__in__",
        "in": "self.__in__",
    }  # fmt: skip
    assert found.least == 2 + len("my-field") + 2 + 4


def test_an_object_at_the_root_has_names() -> None:
    found = made({"type": "object", "properties": {"metadata": {"type": "object"}}}, root=True)
    assert sorted(found.fields) == ["apiVersion", "kind", "metadata"]
    assert sorted(found.fields["metadata"].fields) == ["generateName", "name"]
    assert found.fields["metadata"].fields["name"].most == 4 * 253
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}}
    assert sorted(made({"type": "object", "properties": {"t": inner}}).fields["t"].fields) == [
        "apiVersion", "kind", "metadata",
    ]  # fmt: skip


def test_sizes_by_paths() -> None:
    found = made(
        {
            "type": "object",
            "properties": {
                "l": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 5}},
                "m": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 6}},
            },
        }
    )
    assert found.size(("l",)) == Range(0, 3)
    assert found.size(("l", "@items")) == Range(0, 20)
    assert found.size(("m", "@values")) == Range(0, 24)
    assert found.size(("m", "@keys")) == Range(0, 0)
    assert found.size(("nothing",)) is None
    assert found.size(("l", "@items", "x")) is None


def test_built_in_kinds_say_int_or_string_by_a_format() -> None:
    assert made({"type": "string", "format": "int-or-string"}).type == types.DYN
