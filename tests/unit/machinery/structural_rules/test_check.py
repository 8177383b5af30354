"""Rules of a definition: texts, compilation and costs."""

from typing import Any

import pytest

from kybern.machinery.structural.rules import texts
from kybern.machinery.structural.rules.check import check
from tests.unit.machinery.structural_rules.python import compile_python


def ruled(rule: dict[str, Any], **schema: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "x-kubernetes-validations": [rule],
        **schema,
    }


def said(schema: dict[str, Any], **options: Any) -> list[str]:
    return [cause.line() for cause in check(schema, "s", compile_python, **options)]


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ({"rule": "True"}, []),
        ({"rule": " "}, ["s.x-kubernetes-validations[0].rule: Required value: rule is not specified"]),
        ({"rule": "True", "message": " "},
         ['s.x-kubernetes-validations[0].message: Invalid value: " ": must be non-empty if specified']),
        ({"rule": "True", "message": "a\nb"},
         ['s.x-kubernetes-validations[0].message: Invalid value: "a\\nb": must not contain line breaks']),
        ({"rule": "True and\nTrue"},
         [("s.x-kubernetes-validations[0].message: Required value: message must be specified if rule contains line"
           " breaks")]),
        ({"rule": "True and\nTrue", "message": "m"}, []),
        ({"rule": "True", "messageExpression": " "},
         [("s.x-kubernetes-validations[0].messageExpression: Required value: messageExpression must be non-empty if"
           " specified")]),
        ({"rule": "True", "reason": "Other"},
         [('s.x-kubernetes-validations[0].reason: Unsupported value: "Other": supported values: "FieldValueDuplicate",'
           ' "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"')]),
        ({"rule": "True", "reason": "FieldValueRequired"}, []),
        ({"rule": "True", "fieldPath": ".a"}, []),
        ({"rule": "True", "fieldPath": "a"},
         ['s.x-kubernetes-validations[0].fieldPath: Invalid value: "a": must be a valid path']),
        ({"rule": "True", "fieldPath": " "},
         ['s.x-kubernetes-validations[0].fieldPath: Invalid value: " ": must be non-empty if specified',
          's.x-kubernetes-validations[0].fieldPath: Invalid value: " ": must be a valid path']),
        ({"rule": "True", "fieldPath": ".a\n"},
         ['s.x-kubernetes-validations[0].fieldPath: Invalid value: ".a\\n": must not contain line breaks',
          's.x-kubernetes-validations[0].fieldPath: Invalid value: ".a\\n": must be a valid path']),
    ],
)  # fmt: skip
def test_texts(rule: dict[str, Any], lines: list[str]) -> None:
    assert [cause.line() for cause in texts.check(ruled(rule), "s")] == lines


SHOWN = (
    '{{"Rule":"{rule}","Message":"","MessageExpression":"{message}","Reason":null,'
    '"FieldPath":"","OptionalOldSelf":null}}'
)


@pytest.mark.parametrize(
    ("rule", "at", "shown", "says"),
    [
        ({"rule": "1 +"}, "rule", {"rule": "1 +", "message": ""}, "compilation failed: ERROR: <input>:1:0"),
        ({"rule": "int:1"}, "rule", {"rule": "int:1", "message": ""}, "cel expression must evaluate to a bool"),
        ({"rule": "True", "messageExpression": "1 +"}, "messageExpression", {"rule": "True", "message": "1 +"},
         "messageExpression compilation failed: ERROR: <input>:1:0"),
        ({"rule": "True", "messageExpression": "int:1"}, "messageExpression", {"rule": "True", "message": "int:1"},
         "messageExpression must evaluate to a string"),
    ],
)  # fmt: skip
def test_expressions_compile(rule: dict[str, Any], at: str, shown: dict[str, str], says: str) -> None:
    expected = f"s.x-kubernetes-validations[0].{at}: Invalid value: {SHOWN.format(**shown)}: {says}"
    assert said(ruled(rule)) == [expected]


def test_what_is_wrong_otherwise_is_not_compiled() -> None:
    inner = ruled({"rule": "1 +"})
    schema = {"type": "object", "properties": {"a": inner, "b": inner}}
    assert len(said(schema)) == 2
    assert len(said(schema, wrong=("s.properties[a].properties[a].type",))) == 1
    assert said(schema, wrong=("s.type",)) == said(schema)


def test_what_has_no_type_has_no_rules() -> None:
    schema = {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-validations": [{"rule": "True"}]}
    found = list(check({"type": "object", "properties": {"a": schema}}, "s", compile_python))
    assert [(cause.field, cause.reason) for cause in found] == [
        ("s.properties[a].x-kubernetes-validations", "InternalError")
    ]


HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)


@pytest.mark.parametrize(
    ("most", "factor"),
    [(10_000_000, None), (10_000_001, "1.000000x"), (14_000_000, "1.400000x"), (50_000_000, "5.0x"),
     (10**9 + 1, "more than 100x")],
)  # fmt: skip
def test_a_rule_may_cost_so_much(most: int, factor: str | None) -> None:
    lines = said(ruled({"rule": f"most:{most}:True"}))
    text = f"Forbidden: estimated rule cost exceeds budget by factor of {factor} {HINT}"
    wanted = [] if factor is None else [f"s.x-kubernetes-validations[0].rule: {text}"]
    assert lines[: len(wanted)] == wanted
    assert bool(lines) is (factor is not None)


def test_messages_may_cost_so_much() -> None:
    found = said(ruled({"rule": "True", "messageExpression": "text:most:20000000:'a'"}))
    text = f"Forbidden: estimated messageExpression cost exceeds budget by factor of 2.0x {HINT}"
    assert found == [f"s.x-kubernetes-validations[0].messageExpression: {text}"]


def test_a_rule_costs_as_often_as_it_may_be_there() -> None:
    inner = ruled({"rule": "most:100000:True"})
    bounded = {"type": "array", "maxItems": 100, "items": inner}
    assert said({"type": "object", "properties": {"l": bounded}}) == []
    twice = {"type": "object", "maxProperties": 2, "additionalProperties": bounded}
    assert "by factor of 2.0x" in said({"type": "object", "properties": {"m": twice}})[0]
    endless = {"type": "array", "items": inner}
    assert "more than 100x" in said({"type": "object", "properties": {"l": endless}})[0]


def test_all_rules_together_may_cost_so_much() -> None:
    rules = [{"rule": f"most:{9_000_000 + i}:True"} for i in range(12)]
    schema = {"type": "object", "x-kubernetes-validations": rules}
    lines = said(schema)
    part = (
        "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
    )
    assert lines[:4] == [f"s.x-kubernetes-validations[{i}].rule: {part}" for i in (11, 10, 9, 8)]
    name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
    assert lines[4:] == [f"s: Forbidden: {name} exceeds budget by factor of 1.080001x {HINT}"]


@pytest.mark.parametrize(
    ("schema", "apart"),
    [
        ({"type": "array", "items": None}, "s.properties[l]"),
        ({"type": "array", "items": None, "x-kubernetes-list-type": "set"}, "s.properties[l]"),
        ({"type": "array", "items": None, "x-kubernetes-list-type": "map"}, ""),
        ({"type": "object", "additionalProperties": None}, ""),
        ({"type": "object", "properties": {"x": None}}, ""),
    ],
)
def test_the_past_is_known_only_where_items_can_be_told_apart(schema: dict[str, Any], apart: str) -> None:
    inner = ruled({"rule": "self == oldSelf"}, maxProperties=1)
    filled = {key: inner if value is None else value for key, value in schema.items()}
    if "properties" in schema:
        filled["properties"] = {"x": inner}
    lines = said({"type": "object", "properties": {"l": filled}})
    text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}"
    assert [line.rpartition(": ")[2] for line in lines] == ([text] if apart else [])


def test_an_optional_past_must_be_used() -> None:
    assert said(ruled({"rule": "self == oldSelf", "optionalOldSelf": True})) == []
    assert said(ruled({"rule": "True", "optionalOldSelf": False})) == [
        "s.x-kubernetes-validations[0].optionalOldSelf: Invalid value: false: may not be set if oldSelf is not used in rule"
    ]
