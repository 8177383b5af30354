"""Values checked by their rules."""

from typing import Any

import pytest

from kybern.machinery.cel.values import Optional
from kybern.machinery.structural.rules.build import build
from kybern.machinery.structural.rules.validate import Walk, validate
from tests.unit.machinery.structural_rules.python import compile_python


def walked(schema: dict[str, Any], new: Any, old: Any = None, **options: Any) -> Walk:
    validator = build(schema, compile_python)
    assert validator is not None
    return validate(validator, new, old, **options)


def said(schema: dict[str, Any], new: Any, old: Any = None, **options: Any) -> list[str]:
    return [cause.line() for cause in walked(schema, new, old, **options).causes]


def rules(*each: Any, **schema: Any) -> dict[str, Any]:
    found = [{"rule": rule} if isinstance(rule, str) else rule for rule in each]
    return {**schema, "x-kubernetes-validations": found}


COUNT = rules("self < 10", type="integer")
SPEC = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": COUNT}}}}


def test_no_rules_no_validator() -> None:
    assert build({"type": "object", "properties": {"a": {"type": "string"}}}, compile_python) is None


def test_a_rule_holds_or_says_that_it_does_not() -> None:
    assert said(SPEC, {"spec": {"n": 9}}) == []
    assert said(SPEC, {"spec": {"n": 10}}) == ["spec.n: Invalid value: 10: failed rule: self < 10"]
    assert said(SPEC, {"spec": {}}) == []
    assert said(SPEC, {"spec": {"n": None}}) == []


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        ({"rule": "False", "message": " too many "}, ("<nil>", "FieldValueInvalid", "Invalid value: too many")),
        ({"rule": "False", "fieldPath": ".a", "message": "m"}, ("a", "FieldValueInvalid", "Invalid value: m")),
        ({"rule": "False", "reason": "FieldValueForbidden"},
         ("<nil>", "FieldValueForbidden", "Forbidden: failed rule: False")),
        ({"rule": "False", "reason": "FieldValueRequired", "fieldPath": ".a"},
         ("a", "FieldValueRequired", "Required value: failed rule: False")),
        ({"rule": "False", "reason": "FieldValueDuplicate"}, ("<nil>", "FieldValueDuplicate", "Duplicate value")),
        ({"rule": "False", "messageExpression": "text:'a is ' + self['a']", "message": "m"},
         ("<nil>", "FieldValueInvalid", "Invalid value: a is x")),
        ({"rule": "False", "messageExpression": "text:self['b']", "message": "m"},
         ("<nil>", "FieldValueInvalid", "Invalid value: m")),
        ({"rule": "False", "messageExpression": "text:' '", "message": "m"},
         ("<nil>", "FieldValueInvalid", "Invalid value: m")),
        ({"rule": "False", "messageExpression": "text:'a\\nb'", "message": "m"},
         ("<nil>", "FieldValueInvalid", "Invalid value: m")),
        ({"rule": "False", "messageExpression": "text:'a' * 5121"},
         ("<nil>", "FieldValueInvalid", "Invalid value: failed rule: False")),
        ({"rule": "self['b'] == 1"},
         ("<nil>", "FieldValueInvalid", "Invalid value: \"object\": no such key: b evaluating rule: self['b'] == 1")),
        ({"rule": "self['a'] < 1", "message": "m"},
         ("<nil>", "FieldValueInvalid",
          ("Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or"
          " macro signature for rule: m"))),
    ],
)  # fmt: skip
def test_what_a_cause_says(rule: dict[str, Any], cause: tuple[str, str, str]) -> None:
    schema = rules(rule, type="object", properties={"a": {"type": "string"}})
    found = walked(schema, {"a": "x"}).causes
    assert [(each.field, each.reason, each.message) for each in found] == [cause]


def test_rules_in_lists_and_maps() -> None:
    schema = {
        "type": "object",
        "properties": {
            "l": {"type": "array", "items": COUNT},
            "m": {"type": "object", "additionalProperties": COUNT},
        },
    }
    assert said(schema, {"l": [1, 11], "m": {"a": 12, "b": 2}}) == [
        "l[1]: Invalid value: 11: failed rule: self < 10",
        "m[a]: Invalid value: 12: failed rule: self < 10",
    ]


def test_values_are_seen_as_expressions_see_them() -> None:
    schema = rules(
        "self['a__dash__b'] == 1.0",
        type="object",
        properties={"a-b": {"type": "number"}, "t": {"type": "string"}},
    )
    assert said(schema, {"a-b": 1}) == []
    broken = rules("True", type="object", properties={"t": {"type": "string", "format": "date-time"}})
    assert "Invalid date-time formatted string x" in said(broken, {"t": "x"})[0]


GROWS = rules("self >= oldSelf", type="integer")


@pytest.mark.parametrize(
    ("schema", "new", "old", "refused"),
    [
        (GROWS, 1, None, 0),
        (GROWS, 1, 2, 1),
        (GROWS, 2, 2, 0),
        ({"type": "object", "properties": {"a": GROWS}}, {"a": 1}, {"a": 2}, 1),
        ({"type": "object", "properties": {"a": GROWS}}, {"a": 1}, {}, 0),
        ({"type": "object", "additionalProperties": GROWS}, {"a": 1}, {"a": 2}, 1),
        (
            {"type": "object", "x-kubernetes-map-type": "other", "additionalProperties": GROWS},
            {"a": 1},
            {"a": 2},
            0,
        ),
        ({"type": "array", "items": GROWS}, [1], [2], 0),
        ({"type": "array", "items": GROWS, "x-kubernetes-list-type": "set"}, [1], [2], 0),
    ],
)
def test_the_past_is_compared_where_it_is_known(
    schema: dict[str, Any], new: Any, old: Any, refused: int
) -> None:
    inside = {"type": "object", "properties": {"x": schema}}
    assert len(said(inside, {"x": new}, None if old is None else {"x": old})) == refused


def test_items_are_told_apart_by_keys() -> None:
    item = rules(
        "self['n'] >= oldSelf['n']",
        type="object",
        properties={"k": {"type": "string"}, "n": {"type": "integer"}},
    )
    listed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    }
    schema = {"type": "object", "properties": {"l": listed}}
    old = {"l": [{"k": "a", "n": 1}, {"k": "b", "n": 5}]}
    assert said(schema, {"l": [{"k": "b", "n": 5}, {"k": "a", "n": 1}, {"k": "c", "n": 0}]}, old) == []
    assert said(schema, {"l": [{"k": "b", "n": 4}]}, old) == [
        "l[0]: Invalid value: failed rule: self['n'] >= oldSelf['n']"
    ]


def test_an_optional_past_is_asked_for_at_once() -> None:
    schema = rules({"rule": "oldSelf.present or self == 1", "optionalOldSelf": True}, type="integer")
    inside = {"type": "object", "properties": {"n": schema}}
    assert said(inside, {"n": 1}) == []
    assert len(said(inside, {"n": 2})) == 1
    assert said(inside, {"n": 2}, {"n": 1}) == []
    assert Optional(present=True, value=1) == Optional(present=True, value=1)


class TestRatcheting:
    """What was wrong and is as it was warns."""

    def test_a_value_that_has_not_changed(self) -> None:
        found = walked(SPEC, {"spec": {"n": 11}}, {"spec": {"n": 11}})
        assert found.causes == []
        assert found.warnings == ["spec.n: Invalid value: 11: failed rule: self < 10"]

    def test_only_where_it_is_asked_for(self) -> None:
        assert len(said(SPEC, {"spec": {"n": 11}}, {"spec": {"n": 11}}, keep=False)) == 1

    def test_a_value_that_has(self) -> None:
        assert len(said(SPEC, {"spec": {"n": 12}}, {"spec": {"n": 11}})) == 1

    def test_a_whole_that_has(self) -> None:
        schema = rules(
            "self['n'] < 10", type="object", properties={"n": {"type": "integer"}, "m": {"type": "integer"}}
        )
        assert len(said(schema, {"n": 11, "m": 1}, {"n": 11, "m": 2})) == 1

    def test_a_rule_about_the_past_does_not_warn(self) -> None:
        schema = {"type": "object", "properties": {"n": rules("self > oldSelf", type="integer")}}
        assert len(said(schema, {"n": 1}, {"n": 1})) == 1

    def test_items_of_a_list_that_has_not_changed(self) -> None:
        schema = {"type": "object", "properties": {"l": {"type": "array", "items": COUNT}}}
        assert said(schema, {"l": [11]}, {"l": [11]}) == []
        assert len(said(schema, {"l": [11, 1]}, {"l": [11]})) == 1

    def test_errors_are_never_let_be(self) -> None:
        schema = {"type": "object", "properties": {"o": rules("self['x'] == 1", type="object")}}
        assert len(said(schema, {"o": {"a": 1}}, {"o": {"a": 1}})) == 1


class TestBudget:
    """Evaluation ends when it has cost too much."""

    def test_of_the_object(self) -> None:
        schema = rules("cost:6:True", "cost:6:False", "False", type="object")
        assert said(schema, {}, budget=10) == [
            (
                '<nil>: Invalid value: "object": validation failed due to running out of cost budget, no further validation'
                " rules will be run"
            )
        ]

    def test_that_is_used_up(self) -> None:
        schema = rules("cost:6:True", type="object", properties={"n": COUNT})
        assert said(schema, {"n": 11}, budget=6) == [
            (
                'n: Invalid value: "integer": validation failed due to running out of cost budget, no further validation'
                " rules will be run"
            )
        ]

    def test_of_one_call(self) -> None:
        schema = rules("cost:1000001:True", "False", type="object")
        assert said(schema, {}) == [
            (
                "<nil>: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation"
                " rules will be run due to call cost exceeds limit for rule: cost:1000001:True"
            )
        ]

    def test_of_a_message(self) -> None:
        schema = rules({"rule": "False", "messageExpression": "text:cost:9:'a'"}, "False", type="object")
        assert said(schema, {}, budget=9) == [
            (
                '<nil>: Invalid value: "object": messageExpression evaluation failed due to running out of cost budget, no'
                " further validation rules will be run"
            )
        ]

    def test_of_a_message_in_one_call(self) -> None:
        schema = rules({"rule": "False", "messageExpression": "text:cost:1000001:'a'"}, type="object")
        assert said(schema, {}) == [
            (
                '<nil>: Invalid value: "object": no further validation rules will be run due to call cost exceeds limit for'
                " messageExpression: \"text:cost:1000001:'a'\""
            )
        ]
