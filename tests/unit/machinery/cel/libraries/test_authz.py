"""kubernetes.authz."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.authz import LIBRARY, Authorizer, Decision, Question
from tests.unit.machinery.cel.libraries.calls import call, estimated, fails, overload


def asked(*steps: tuple[Any, ...]) -> Question:
    """The question that the steps ask."""
    found: list[Question] = []

    def decide(question: Question) -> Decision:
        found.append(question)
        return Decision(allowed=True)

    value: Any = Authorizer(decide)
    for name, *arguments in steps:
        value = call(LIBRARY, name, value, *arguments)
    assert value == Decision(allowed=True)
    return found[0]


def test_a_path_is_asked_for() -> None:
    steps = [("authorizer_path", "/healthz"), ("pathcheck_check", "get")]
    assert asked(*steps) == Question("get", path="/healthz")


def test_a_resource_is_asked_for_in_every_respect() -> None:
    found = asked(
        ("authorizer_group", "apps"),
        ("groupcheck_resource", "deployments"),
        ("resourcecheck_subresource", "status"),
        ("resourcecheck_namespace", "default"),
        ("resourcecheck_name", "web"),
        ("authorizer_fieldselector", "metadata.name=web"),
        ("authorizer_labelselector", "app=web"),
        ("resourcecheck_check", "update"),
    )
    assert found == Question(
        "update", "", "apps", "deployments", "status", "default", "web", "metadata.name=web", "app=web"
    )


def test_a_service_account_is_asked_for() -> None:
    found = asked(
        ("authorizer_serviceaccount", "default", "builder"),
        ("authorizer_group", ""),
        ("groupcheck_resource", "pods"),
        ("resourcecheck_check", "create"),
    )
    assert found == Question("create", resource="pods", service_account=("default", "builder"))


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("authorizer_path", (" ",), "path must not be empty"),
        ("authorizer_serviceaccount", ("default", "A B"), "Invalid service account name"),
        ("authorizer_serviceaccount", ("a.b", "builder"), "Invalid service account namespace"),
    ],
)
def test_what_cannot_be_asked(name: str, arguments: tuple[str, ...], says: str) -> None:
    assert fails(LIBRARY, name, Authorizer(lambda _question: Decision(allowed=True)), *arguments) == says


def test_a_resource_has_a_name() -> None:
    group = call(LIBRARY, "authorizer_group", Authorizer(lambda _question: Decision(allowed=True)), "")
    assert fails(LIBRARY, "groupcheck_resource", group, "") == "resource must not be empty"


@pytest.mark.parametrize(
    ("decision", "allowed", "reason", "errored", "error"),
    [
        (Decision(allowed=True, reason="rule"), True, "rule", False, ""),
        (Decision(allowed=False, error="timeout"), False, "", True, "timeout"),
    ],
)
def test_decisions(decision: Decision, *, allowed: bool, reason: str, errored: bool, error: str) -> None:
    assert call(LIBRARY, "decision_allowed", decision) is allowed
    assert call(LIBRARY, "decision_reason", decision) == reason
    assert call(LIBRARY, "decision_errored", decision) is errored
    assert call(LIBRARY, "decision_error", decision) == error


def test_costs() -> None:
    one = Range(1, 1)
    assert estimated(LIBRARY, "resourcecheck_check", one, Range(0, 9)) == (350_000, 350_000)
    assert estimated(LIBRARY, "authorizer_labelselector", one, Range(0, 11)) == (10, 312)
    count = overload(LIBRARY, "authorizer_fieldselector").count
    assert count is not None
    assert count((None, "a=b"), None) == 111
