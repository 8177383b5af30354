"""JSON values as expressions see them."""

from typing import Any

import pytest

from kybern.machinery.cel.binding import binder, time
from kybern.machinery.cel.values import Duration, EvaluationError, ListMap, ListSet, Timestamp


def bound(schema: dict[str, Any], value: Any) -> Any:
    bind = binder(schema)
    assert bind is not None
    return bind(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "integer"},
        {"x-kubernetes-int-or-string": True, "type": "number"},
        {"type": "object", "properties": {"a": {"type": "string"}, "1-b": {"type": "string"}}},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
        {},
    ],
)
def test_most_things_are_seen_as_they_are(schema: dict[str, Any]) -> None:
    assert binder(schema) is None


@pytest.mark.parametrize(
    ("schema", "value", "seen"),
    [
        ({"type": "number"}, 1, 1.0),
        ({"type": "string", "format": "duration"}, "1m30s", Duration(90 * 10**9)),
        ({"type": "string", "format": "date"}, "1970-01-02", Timestamp(86400 * 10**9)),
        ({"type": "string", "format": "date-time"}, "1970-01-01T00:00:01.000000005Z", Timestamp(10**9 + 5)),
        ({"type": "string", "format": "byte"}, "aGVsbG8=", b"hello"),
    ],
)
def test_scalars(schema: dict[str, Any], value: Any, seen: Any) -> None:
    found = bound(schema, value)
    assert (found, type(found)) == (seen, type(seen))
    inside = {"type": "object", "properties": {"a-b": schema, "c": {"type": "string"}}}
    assert bound(inside, {"a-b": value, "c": "x", "d": 1}) == {"a__dash__b": seen, "c": "x", "d": 1}
    assert bound({"type": "array", "items": schema}, [value, None]) == [seen, None]
    assert bound({"type": "object", "additionalProperties": schema}, {"a-b": value}) == {"a-b": seen}


def test_lists_know_their_kind() -> None:
    found = bound({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, ["a"])
    assert isinstance(found, ListSet)
    keyed = {
        "type": "array",
        "items": {"type": "object", "properties": {"a-b": {"type": "string"}}},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["a-b"],
    }
    found = bound(keyed, [{"a-b": "x"}])
    assert isinstance(found, ListMap)
    assert (found.keys, found) == (("a__dash__b",), [{"a__dash__b": "x"}])


def test_values_of_another_type_stay() -> None:
    assert bound({"type": "number"}, "x") == "x"
    assert bound({"type": "number"}, True) is True
    assert bound({"type": "array", "items": {"type": "number"}}, {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("form", "value"), [("duration", "x"), ("date", "1970-13-01"), ("date-time", "x"), ("byte", "a")]
)
def test_what_has_not_the_format_says_so(form: str, value: str) -> None:
    with pytest.raises(EvaluationError, match=f"Invalid {form} formatted string {value}: "):
        bound({"type": "string", "format": form}, value)


def test_fields_that_are_null_are_not_there() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "nullable": True}, "in": {"type": "integer"}},
    }
    assert bound(schema, {"a": None, "in": 1}) == {"__in__": 1, "in": 1}
    nullable = {"type": "object", "properties": {"a": {"type": "string", "nullable": True}}}
    assert bound(nullable, {"a": None}) == {}


def test_nothing_is_changed_in_place() -> None:
    value = {"a": [{"n": 1}]}
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "number"}}}}
        },
    }
    assert bound(schema, value)["a"][0]["n"] == 1.0
    assert isinstance(value["a"][0]["n"], int)


def test_times_before_1970() -> None:
    assert time("1969-12-31T23:59:59.5Z") == Timestamp(-500_000_000)
