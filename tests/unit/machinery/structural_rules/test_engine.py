"""Rules as they are: with CEL."""

from typing import Any

import pytest

from kybern.machinery.cel import types
from kybern.machinery.cel.schemas import Declared, declare
from kybern.machinery.structural.rules.build import build
from kybern.machinery.structural.rules.check import check
from kybern.machinery.structural.rules.compiled import CompilationError
from kybern.machinery.structural.rules.engine import compile_rule
from kybern.machinery.structural.rules.validate import validate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "my-name": {"type": "string", "maxLength": 10},
        "in": {"type": "string", "maxLength": 10},
        "namespace": {"type": "string"},
        "ratio": {"type": "number"},
        "since": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": True},
        "maybe": {"type": "string", "nullable": True},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}},
        },
        "open": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
VALUE: dict[str, Any] = {
    "n": 1, "my-name": "a", "in": "b", "namespace": "c", "ratio": 1, "since": "2020-01-01T00:00:00Z", "port": 80,
    "maybe": None,
    "set": ["x", "y"], "keyed": [{"k": "a", "v": 1}, {"k": "b", "v": 2}], "open": {"a": 1},
}  # fmt: skip


def said(rule: str, new: Any, old: Any = None) -> list[str]:
    validator = build({**SCHEMA, "x-kubernetes-validations": [{"rule": rule}]}, compile_rule)
    assert validator is not None
    return [cause.message for cause in validate(validator, new, old).causes]


@pytest.mark.parametrize(
    "rule",
    [
        "self.n == 1",
        "self.my__dash__name == 'a'",
        "self.__in__ == 'b'",
        "self.__namespace__ == 'c' && self.namespace == 'c'",
        "self.ratio == 1.0 && type(self.ratio) == double",
        "self.since.getFullYear() == 2020",
        "type(self.port) == int && self.port == 80",
        "!has(self.maybe)",
        "self.set == ['y', 'x']",
        "self.set + ['y', 'z'] == ['x', 'y', 'z']",
        "(self.keyed + self.keyed).size() == 2",
        "self.keyed.exists(e, e.k == 'a' && e.v == 1)",
        "self == self",
        "dyn([1.0, 2.0]).sum() == 3.0",
        "dyn([1, 2]).flatten() == [1, 2]",
        "self.set.map(s, s.upperAscii()).join('-') == 'X-Y'",
    ],
)
def test_rules_that_hold(rule: str) -> None:
    root = {**SCHEMA, "x-kubernetes-validations": [{"rule": rule}]}
    validator = build(root, compile_rule)
    assert validator is not None
    assert validate(validator, VALUE).causes == []


def test_the_past_is_seen_alike() -> None:
    new = {**VALUE, "set": ["y", "x"], "keyed": VALUE["keyed"][::-1]}
    assert said("self.set == oldSelf.set && self.keyed == oldSelf.keyed", new, VALUE) == []
    assert said("self.keyed == oldSelf.keyed", {**VALUE, "keyed": []}, VALUE) != []
    assert said("self == oldSelf", {**VALUE, "open": {"a": 2}}, VALUE) != []


def declared(schema: dict[str, Any]) -> Declared:
    found = declare(schema, "selfType")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("self.x", "ERROR: <input>:1:5: undefined field 'x'\n | self.x\n | ....^"),
        ("self.open == 1", "undefined field 'open'"),
        ("self.n ==", "Syntax error"),
        ("authorizer.group('')", "undeclared reference to 'authorizer'"),
        ("JSONPatch{op: 'add'}", "undeclared reference to 'JSONPatch'"),
    ],
)
def test_expressions_that_are_none(rule: str, says: str) -> None:
    kind = declared(SCHEMA)
    with pytest.raises(CompilationError) as found:
        compile_rule(rule, {"self": kind.type}, kind)
    assert says in str(found.value)


def test_costs_follow_sizes() -> None:
    short, long = (declared({"type": "string", "maxLength": size}) for size in (10, 1000))
    costs = [compile_rule("self.contains('abc')", {"self": each.type}, each).most for each in (short, long)]
    assert costs == [1 + 4, 1 + 400]
    assert compile_rule("self == 'a'", {"self": short.type}, short).result == types.BOOL


def test_definitions_are_checked_with_it() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n"}],
    }
    (cause,) = check(schema, "s", compile_rule)
    assert cause.message.endswith(": cel expression must evaluate to a bool")
