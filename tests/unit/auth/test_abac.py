"""Rules of mode ABAC, by the examples of upstream's documentation and the corners of its words."""

import json
from typing import Any

import pytest

from kybern.api.rbac_v1 import PolicyRule
from kybern.auth import abac
from kybern.auth.abac import Authorizer
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.user import User

ALICE = User("alice", ("system:authenticated", "staff"))
BOB = User("bob", ("system:authenticated",))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def line(**spec: Any) -> str:
    return json.dumps(
        {"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec}
    )


def old(**words: Any) -> str:
    return json.dumps(words)


def pods(user: User, verb: str = "create", namespace: str = "x", group: str = "") -> Attributes:
    return Attributes(user, verb, group, "v1", "pods", "", namespace)


def page(user: User, path: str, verb: str = "get") -> Attributes:
    return Attributes(user, verb, path=path)


ALL = {"namespace": "*", "resource": "*", "apiGroup": "*"}


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        (line(user="alice", **ALL), pods(ALICE), True),
        (line(user="alice", **ALL), pods(BOB), False),
        (line(user="alice", **ALL), page(ALICE, "/version"), False),
        (line(user="alice", nonResourcePath="*"), page(ALICE, "/version"), True),
        (line(user="alice", nonResourcePath="/healthz/*"), page(ALICE, "/healthz/etcd"), True),
        (line(user="alice", nonResourcePath="/healthz"), page(ALICE, "/healthz/etcd"), False),
        (line(user="alice", nonResourcePath="/version"), page(ALICE, "/version", "post"), True),
        (
            line(user="alice", nonResourcePath="/version", readonly=True),
            page(ALICE, "/version", "post"),
            False,
        ),
        (line(user="bob", namespace="x", resource="pods", readonly=True), pods(BOB, "list"), True),
        (line(user="bob", namespace="x", resource="pods", readonly=True), pods(BOB, "create"), False),
        (line(user="bob", namespace="x", resource="pods"), pods(BOB, "create", "y"), False),
        (line(user="bob", namespace="x", resource="pods"), pods(BOB, "create", "x", "apps"), False),
        (line(user="bob", namespace="x", resource="pods", apiGroup="*"), pods(BOB, group="apps"), True),
        (line(user="bob", namespace="x", resource="services"), pods(BOB), False),
        (line(group="staff", **ALL), pods(ALICE), True),
        (line(group="staff", **ALL), pods(BOB), False),
        (line(user="bob", group="staff", **ALL), pods(ALICE), False),
        (line(user="*", **ALL), pods(ANONYMOUS), True),
        (line(group="*", **ALL), pods(ANONYMOUS), True),
        (line(user="*", group="staff", **ALL), pods(BOB), False),
        (line(**ALL), pods(ALICE), False),
        (old(user="bob"), pods(BOB), True),
        (old(user="bob"), page(BOB, "/version"), True),
        (old(user="bob", resource="pods"), page(BOB, "/version"), False),
        (old(user="bob", namespace="y"), pods(BOB), False),
        (old(user="bob", readonly=True), pods(BOB), False),
        (old(readonly=True), pods(BOB, "get"), True),
        (old(readonly=True), pods(ANONYMOUS, "get"), False),
        (old(user="*"), pods(ANONYMOUS), False),
        (old(group="*"), pods(BOB), True),
    ],
)
def test_what_a_rule_allows(rule: str, asked: Attributes, allowed: bool) -> None:
    decision = Authorizer(abac.read(rule)).authorize(asked)
    assert decision.verdict is (Verdict.ALLOW if allowed else Verdict.NO_OPINION)
    assert decision.reason == ("" if allowed else "No policy matched.")


def test_comments_and_empty_lines_are_no_rules() -> None:
    assert len(abac.read(f"# who\n\n{line(user='a', **ALL)}\n  # more\n{old(user='b')}\n")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{", "line 2: Input data was truncated"),
        ("[]", "line 1: Expected `object`, got `array`"),
        ('{"user": 1}', "line 1: Expected `str`, got `int` - at `$.user`"),
        (
            '{"apiVersion": "v1", "kind": "Pod"}',
            'line 1: no kind "Pod" is registered for version "v1"',
        ),
    ],
)
def test_a_line_that_is_no_rule_is_named(text: str, said: str) -> None:
    with pytest.raises(abac.Unreadable) as problem:
        abac.read(text)
    assert str(problem.value) == said


def test_what_a_user_holds_is_told_as_rules() -> None:
    rules = Authorizer(
        abac.read(
            "\n".join(
                [
                    line(user="alice", namespace="*", resource="pods", readonly=True),
                    line(group="staff", namespace="y", resource="*", apiGroup="*"),
                    line(user="alice", namespace="*", nonResourcePath="/version"),
                    line(user="bob", **ALL),
                ]
            )
        )
    )
    reading = ("get", "list", "watch")
    pods_ = PolicyRule(verbs=reading, api_groups=("",), resources=("pods",))
    version = PolicyRule(verbs=("*",), non_resource_urls=("/version",))
    assert list(rules.held(ALICE, "x")) == [pods_, version]
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    assert list(rules.held(ALICE, "y")) == [pods_, everything, version]
