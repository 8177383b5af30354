"""What objects of a custom kind must be like."""

from typing import Any

import pytest

from kybern.apiserver.crd import judge as module
from kybern.apiserver.crd.judge import Judge
from kybern.machinery.structural.node import build

RULED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 10"}]},
                "s": {"type": "string", "maxLength": 3},
            },
        }
    },
}


def judge(schema: dict[str, Any]) -> Judge:
    return Judge(build(schema), "Toy", "toys.example.com/v1", None)


def toy(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "toys.example.com/v1", "kind": "Toy", "metadata": {"name": "x"}, "spec": spec}


def said(found: Judge, new: Any, old: Any = None) -> list[str]:
    return [cause.line() for cause in found.causes(new, old)]


def test_rules_are_asked_after_the_schema() -> None:
    found = judge(RULED)
    assert said(found, toy(n=9, s="abc")) == []
    assert said(found, toy(n=10)) == ["spec.n: Invalid value: 10: failed rule: self < 10"]


def test_rules_are_not_asked_about_what_cannot_be_trusted() -> None:
    assert said(judge(RULED), toy(n=10, s="abcd")) == [
        "spec.s: Too long: may not be more than 3 bytes",
        ("<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the"
        " existing errors to complete validation"),
    ]  # fmt: skip


def test_what_was_so_before_is_a_warning_once() -> None:
    found = judge(RULED)
    assert said(found, toy(n=11, s="b"), toy(n=11, s="a")) == []
    assert found.warnings({}, None) == ["spec.n: Invalid value: 11: failed rule: self < 10"]
    assert said(found, toy(n=1), toy(n=11)) == []
    assert found.warnings({}, None) == []


def test_a_kind_without_rules_compiles_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiles(*_arguments: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(module, "build", compiles)
    assert said(judge({"type": "object", "properties": {}}), toy()) == []


def test_the_kind_of_an_object_is_that_of_the_path() -> None:
    found = judge(RULED)
    assert said(found, {**toy(), "kind": "Ball"}) == ['kind: Invalid value: "Ball": must be Toy']
    assert said(found, {**toy(), "apiVersion": "v1"}) == [
        'apiVersion: Invalid value: "v1": must be toys.example.com/v1'
    ]
