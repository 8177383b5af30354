"""Which writes webhooks and policies are for."""

from typing import Any

import pytest

from kybern.admission.matching import (
    Facts,
    is_exempt,
    objects_selected,
    of_policy,
    of_rule,
    of_webhook,
    rule_of,
    selector_of,
    shown_as,
)
from kybern.machinery.kind import Kind

type Raw = dict[str, Any]


def kind(plural: str, group: str = "", version: str = "v1") -> Kind:
    return Kind(group, version, plural.capitalize(), plural, namespaced=True, schema="")


PODS, DEPLOYMENTS = kind("pods"), kind("deployments", "apps")
EVENTS, NEW_EVENTS = kind("events"), kind("events", "events.k8s.io")


def rule(**more: Any) -> Raw:
    return {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        **more,
    }


CREATE = Facts("CREATE", namespace="x", name="p")


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE", "CONNECT"])
@pytest.mark.parametrize(
    ("operations", "matching"),
    [
        (["CREATE"], {"CREATE"}),
        (["CREATE", "DELETE"], {"CREATE", "DELETE"}),
        (["*"], {"CREATE", "UPDATE", "DELETE", "CONNECT"}),
        ([], set()),
    ],
)
def test_operations(operation: str, operations: list[str], matching: set[str]) -> None:
    found = of_rule(rule_of(rule(operations=operations)), Facts(operation, namespace="x"), PODS)
    assert found is (operation in matching)


@pytest.mark.parametrize(
    ("groups", "versions", "matches"),
    [
        (["apps"], ["v1"], True),
        (["*"], ["*"], True),
        (["apps", "batch"], ["v1beta1", "v1"], True),
        ([""], ["v1"], False),
        (["apps"], ["v1beta1"], False),
        (["App"], ["v1"], False),
    ],
)
def test_groups_and_versions(groups: list[str], versions: list[str], matches: bool) -> None:
    raw = rule(apiGroups=groups, apiVersions=versions, resources=["deployments"])
    assert of_rule(rule_of(raw), CREATE, DEPLOYMENTS) is matches


@pytest.mark.parametrize(
    ("resources", "whole", "status", "other"),
    [
        (["pods"], True, False, False),
        (["pods/*"], True, True, False),
        (["pods/status"], False, True, False),
        (["*"], True, False, True),
        (["*/status"], False, True, False),
        (["*/*"], True, True, True),
        (["services"], False, False, True),
        (["pods/"], True, False, False),
        (["pods", "pods/status"], True, True, False),
        ([], False, False, False),
    ],
)
def test_resources_and_subresources(resources: list[str], whole: bool, status: bool, other: bool) -> None:
    found = rule_of(rule(resources=resources))
    assert of_rule(found, CREATE, PODS) is whole
    assert of_rule(found, Facts("CREATE", "status", "x"), PODS) is status
    assert of_rule(found, CREATE, kind("services")) is other


@pytest.mark.parametrize(
    ("scope", "namespaced", "cluster", "namespace"),
    [
        ("*", True, True, True),
        (None, True, True, True),
        ("Namespaced", True, False, False),
        ("Cluster", False, True, True),
    ],
)
def test_scopes(scope: str | None, namespaced: bool, cluster: bool, namespace: bool) -> None:
    raw = rule(resources=["*"], scope=scope) if scope else rule(resources=["*"])
    found = rule_of(raw)
    assert of_rule(found, CREATE, PODS) is namespaced
    assert of_rule(found, Facts("CREATE"), kind("nodes")) is cluster
    # A Namespace is said to be in itself, and is of the cluster nevertheless.
    assert of_rule(found, Facts("CREATE", namespace="x", name="x"), kind("namespaces")) is namespace


@pytest.mark.parametrize(("names", "matches"), [([], True), (["p"], True), (["a", "b"], False)])
def test_names_of_a_policys_rule(names: list[str], matches: bool) -> None:
    assert of_rule(rule_of(rule(resourceNames=names)), CREATE, PODS) is matches


def equivalents() -> tuple[Kind, ...]:
    return (NEW_EVENTS,)


@pytest.mark.parametrize(
    ("rules", "policy", "shown"),
    [
        ([rule(resources=["events"])], "Equivalent", EVENTS),
        ([rule(resources=["events"])], "Exact", EVENTS),
        ([rule(resources=["events"], apiGroups=["events.k8s.io"])], "Equivalent", NEW_EVENTS),
        ([rule(resources=["events"], apiGroups=["events.k8s.io"])], "Exact", None),
        ([rule(resources=["events"], apiGroups=["events.k8s.io"])], None, NEW_EVENTS),
        (
            [rule(resources=["events"], apiGroups=["events.k8s.io"], operations=["DELETE"])],
            "Equivalent",
            None,
        ),
        ([rule(resources=["events"], apiGroups=["events.k8s.io"]), rule(resources=["events"])], None, EVENTS),
        ([], "Equivalent", None),
    ],
)
def test_a_webhook_sees_a_write_as_its_rule_names_it(
    rules: list[Raw], policy: str | None, shown: Kind | None
) -> None:
    found = of_webhook({"rules": rules, **({"matchPolicy": policy} if policy else {})})
    assert shown_as(found, CREATE, EVENTS, equivalents) is shown


def test_equivalents_are_not_asked_for_what_matches_anyway() -> None:
    def asked() -> tuple[Kind, ...]:
        raise AssertionError

    assert shown_as(of_webhook({"rules": [rule()]}), CREATE, PODS, asked) is PODS


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (None, PODS),
        ({}, PODS),
        ({"resourceRules": [rule()]}, PODS),
        ({"resourceRules": [rule(resources=["services"])]}, None),
        ({"excludeResourceRules": [rule()]}, None),
        ({"resourceRules": [rule(resources=["*"])], "excludeResourceRules": [rule()]}, None),
        ({"resourceRules": [rule()], "excludeResourceRules": [rule(resourceNames=["other"])]}, PODS),
        ({"resourceRules": [rule()], "excludeResourceRules": [rule(operations=["UPDATE"])]}, PODS),
    ],
)
def test_a_policy_without_rules_is_for_everything_but_what_it_excludes(
    policy: Raw | None, shown: Kind | None
) -> None:
    assert shown_as(of_policy(policy), CREATE, PODS, tuple) is shown


@pytest.mark.parametrize(
    ("selector", "new", "old", "selected"),
    [
        (None, None, None, True),
        ({}, None, None, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1"}, None, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, {"a": "1"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1"}, {"a": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, {}, False),
        ({"matchLabels": {"a": "1"}}, None, {"a": "1"}, True),
        ({"matchLabels": {"a": "1"}}, None, None, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"b": "1"}, None, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "1"}, None, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, {}, True),
    ],
)
def test_objects_are_selected_as_they_were_or_shall_be(
    selector: Raw | None, new: Any, old: Any, selected: bool
) -> None:
    def made(labels: Any) -> Raw | None:
        return None if labels is None else {"metadata": {"labels": labels}}

    assert objects_selected(selector_of(selector), made(new), made(old)) is selected


def test_what_has_no_metadata_has_no_labels_to_select() -> None:
    options = {"kind": "PodExecOptions", "apiVersion": "v1"}
    assert not objects_selected(selector_of({"matchLabels": {"a": "1"}}), options, None)
    assert objects_selected(None, options, None)


@pytest.mark.parametrize(
    ("plural", "group", "exempt"),
    [
        ("validatingwebhookconfigurations", "admissionregistration.k8s.io", True),
        ("mutatingwebhookconfigurations", "admissionregistration.k8s.io", True),
        ("validatingadmissionpolicies", "admissionregistration.k8s.io", True),
        ("validatingadmissionpolicybindings", "admissionregistration.k8s.io", True),
        ("mutatingadmissionpolicies", "admissionregistration.k8s.io", True),
        ("mutatingadmissionpolicybindings", "admissionregistration.k8s.io", True),
        ("validatingwebhookconfigurations", "example.com", False),
        ("pods", "", False),
    ],
)
def test_what_says_who_is_asked_is_exempt(plural: str, group: str, exempt: bool) -> None:
    assert is_exempt(kind(plural, group)) is exempt
