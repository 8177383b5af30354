"""Expressions of policies against the schemas of what they match."""

from typing import Any

import pytest

from kybern.api.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicySpec,
    Validation,
    Variable,
)
from kybern.api.rules.typechecking import GVK, Described, resources, type_of, warnings
from kybern.machinery.cel import types

META = {
    "type": "object",
    "properties": {key: {"type": "string"} for key in ("name", "generateName", "namespace")},
}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


def described(kind: str, **spec: Any) -> Described:
    schema = {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {**META, "properties": {**META["properties"], "labels": LABELS}},  # type: ignore[dict-item]
            "spec": {"type": "object", "properties": spec},
        },
    }
    return Described(GVK("apps", "v1", kind), schema)


INTEGER, ANY = {"type": "integer"}, {"format": "int-or-string"}
DEPLOYMENT = described("Deployment", replicas=INTEGER, paused={"type": "boolean"}, surge=ANY)
DAEMON_SET = described("DaemonSet", paused={"type": "boolean"})


def policy(expression: str, says: str = "", **variables: str) -> ValidatingAdmissionPolicySpec:
    return ValidatingAdmissionPolicySpec(
        validations=(Validation(expression=expression, message_expression=says),),
        variables=tuple(Variable(name=name, expression=text) for name, text in variables.items()),
    )


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas > 1",
        "has(object.spec.paused) && !object.spec.paused",
        "object.spec.surge == 3 || object.spec.surge == '30%'",
        "object.metadata.namespace != '' && object.metadata.labels['a'] == 'b'",
        "oldObject == null || oldObject.spec.replicas <= object.spec.replicas",
        "request.userInfo.username != 'me' && namespaceObject.metadata.name == 'a'",
        "authorizer.group('apps').resource('deployments').check('create').allowed()",
        "authorizer.requestResource.check('create').allowed()",
    ],
)
def test_what_fits_gives_no_warning(expression: str) -> None:
    assert warnings(policy(expression), (DEPLOYMENT,), None) == ()


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (
            "object.replicas > 1",
            "ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^",
        ),
        ("object.spec.replicas > 'a'", "found no matching overload for '_>_' applied to '(int, string)'"),
        ("objects.spec.replicas > 1", "undeclared reference to 'objects' (in container '')"),
        (
            "object.spec.replicas.matches('a')",
            "found no matching overload for 'matches' applied to 'int.(string)'",
        ),
        ("object.spec.paused && object.spec.replicas", "expected type 'bool' but found 'int'"),
        (
            "object.spec == 'a'",
            "found no matching overload for '_==_' applied to '(Deployment.spec, string)'",
        ),
        ("params.limit > 1", "undeclared reference to 'params'"),
        ("variables.none", "undefined field 'none'"),
        ("object.spec.", "Syntax error: "),
    ],
)
def test_what_cannot_fit_gives_one(expression: str, says: str) -> None:
    (found,) = warnings(policy(expression), (DEPLOYMENT,), None)

    assert found.field_ref == "spec.validations[0].expression"
    assert found.warning.startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:")
    assert says in found.warning
    assert found.warning.endswith("\n")


def test_every_kind_is_told_that_an_expression_does_not_fit() -> None:
    (found,) = warnings(policy("object.spec.replicas > 'a'"), (DAEMON_SET, DEPLOYMENT), None)

    first, second = found.warning.split("\n\n")
    assert first.startswith("apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'replicas'")
    assert second.startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload")


def test_messages_are_checked_as_expressions_are() -> None:
    (found,) = warnings(policy("object.spec.paused", "'it has ' + object.spec.replicas"), (DEPLOYMENT,), None)

    assert found.field_ref == "spec.validations[0].messageExpression"
    assert "'_+_' applied to '(string, int)'" in found.warning


def test_variables_have_the_types_of_what_they_give() -> None:
    spec = policy("variables.twice > 'a'", count="object.spec.replicas", twice="variables.count * 2")

    (found,) = warnings(spec, (DEPLOYMENT,), None)

    assert "'_>_' applied to '(int, string)'" in found.warning


def test_a_variable_that_is_wrong_or_an_object_may_be_anything() -> None:
    spec = policy(
        "variables.wrong > 'a' && variables.whole.any == 1", wrong="object.none", whole="object.spec"
    )

    assert warnings(spec, (DEPLOYMENT,), None) == ()


def test_parameters_have_their_schema() -> None:
    limit = described("Limit", most=INTEGER)

    assert warnings(policy("params.spec.most > 1"), (DEPLOYMENT,), limit) == ()
    (found,) = warnings(policy("params.spec.least > 1"), (DEPLOYMENT,), limit)
    assert "undefined field 'least'" in found.warning


def test_a_policy_for_no_known_kind_has_no_warnings() -> None:
    assert warnings(policy("object.none"), (), None) == ()


def test_a_schema_that_says_little_of_metadata_has_what_every_object_has() -> None:
    found = type_of(Described(GVK("a.test", "v1", "Thing"), {"type": "object", "properties": {"x": INTEGER}}))

    assert found is not None
    assert found.fields.keys() == {"apiVersion", "kind", "metadata", "x"}
    assert found.fields["metadata"].fields == {"name": types.STRING, "generateName": types.STRING}


def rule(groups: str, versions: str, plural: str) -> NamedRuleWithOperations:
    return NamedRuleWithOperations(
        api_groups=tuple(groups.split()),
        api_versions=tuple(versions.split()),
        resources=tuple(plural.split()),
    )


def test_only_what_is_named_in_full_is_checked() -> None:
    rules = (
        rule("apps batch", "v2 v1", "pods/status jobs cronjobs"),
        rule("*", "v1", "pods"),
        rule("apps", "*", "pods"),
        rule("apps", "v1", "* */scale"),
    )
    spec = ValidatingAdmissionPolicySpec(match_constraints=MatchResources(resource_rules=rules))

    first, last = resources(spec)

    assert first[:3] == [("apps", "v1", "cronjobs"), ("apps", "v1", "jobs"), ("apps", "v2", "cronjobs")]
    assert len(first) == 8
    assert last == []
    assert list(resources(ValidatingAdmissionPolicySpec())) == []
