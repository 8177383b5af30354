"""Which rule of an audit policy meets which request, and what is refused of a policy."""

import re
from typing import Any

import pytest
import yaml

from kybern.apiserver.audit.policy import NOTHING, Level, Policy, read
from kybern.auth.attributes import Attributes
from kybern.auth.user import User

JANE = User("jane", ("devs", "system:authenticated"))


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return read(
        yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})
    )


def resource(**changes: Any) -> Attributes:
    fields = {"group": "", "version": "v1", "resource": "pods", "namespace": "ns", "name": "p", **changes}
    return Attributes(fields.pop("user", JANE), fields.pop("verb", "get"), **fields)


LOG = resource(subresource="log")
SCALE = resource(group="apps", resource="deployments", subresource="scale", name="d")
NODE = resource(resource="nodes", namespace="", name="n")
PATH = Attributes(JANE, "get", path="/healthz/etcd")


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        ({}, resource(), True),
        ({}, PATH, True),
        ({"users": ["jane"]}, resource(), True),
        ({"users": ["joe"]}, resource(), False),
        ({"userGroups": ["ops", "devs"]}, resource(), True),
        ({"userGroups": ["ops"]}, PATH, False),
        ({"verbs": ["list", "get"]}, resource(), True),
        ({"verbs": ["list"]}, resource(), False),
        ({"namespaces": ["ns"]}, resource(), True),
        ({"namespaces": ["other"]}, resource(), False),
        ({"namespaces": [""]}, NODE, True),
        ({"namespaces": ["ns"]}, PATH, False),
        ({"resources": [{"group": ""}]}, resource(), True),
        ({"resources": [{"group": "apps"}]}, resource(), False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, resource(), True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, LOG, False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, LOG, True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, LOG, True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, resource(), True),
        ({"resources": [{"group": "", "resources": ["services/*"]}]}, LOG, False),
        ({"resources": [{"group": "", "resources": ["*"]}]}, LOG, True),
        ({"resources": [{"group": "apps", "resources": ["*/scale"]}]}, SCALE, True),
        ({"resources": [{"group": "apps", "resources": ["*/status"]}]}, SCALE, False),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]}, resource(), True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["q"]}]}, resource(), False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, PATH, False),
        ({"nonResourceURLs": ["/healthz*"]}, PATH, True),
        ({"nonResourceURLs": ["/healthz"]}, PATH, False),
        ({"nonResourceURLs": ["*"]}, PATH, True),
        ({"nonResourceURLs": ["*"]}, resource(), False),
        ({"users": ["jane"], "verbs": ["delete"]}, resource(), False),
    ],
)
def test_a_rule_matches_by_everything_that_it_names(
    rule: dict[str, Any], asked: Attributes, matches: bool
) -> None:
    found = policy({"level": "Metadata", **rule}).tell(asked)

    assert found.level is (Level.Metadata if matches else Level.None_)


def test_the_first_rule_that_matches_decides() -> None:
    found = policy({"level": "None", "users": ["jane"]}, {"level": "RequestResponse"})

    assert found.tell(resource()).level is Level.None_
    assert found.tell(resource(user=User("joe"))).level is Level.RequestResponse


def test_what_no_rule_matches_is_not_told() -> None:
    assert policy({"level": "Request", "users": ["joe"]}).tell(PATH) is NOTHING


def test_a_rule_omits_stages_beside_those_of_the_policy_and_decides_on_managed_fields() -> None:
    found = policy(
        {"level": "Request", "omitStages": ["Panic"], "users": ["jane"]},
        {"level": "Request", "omitManagedFields": False},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    )

    assert found.tell(PATH).omitted == {"RequestReceived", "Panic"}
    assert found.tell(PATH).managed_fields is False
    assert found.tell(resource(user=User("joe"))).managed_fields is True


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"level": ""}, "rules[0].level: Required value"),
        (
            {"level": "All"},
            'rules[0].level: Unsupported value: "All": supported values: "Metadata", "None", "Request", "RequestResponse"',
        ),
        ({"level": "None", "user": ["x"]}, "unknown field `user` - at `$.rules[0]`"),
        ({"level": "None", "nonResourceURLs": ["healthz"]}, "must begin with a '/' character"),
        ({"level": "None", "nonResourceURLs": ["/a*/b"]}, "must be the final character of the rule"),
        ({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["x"]}, "both regular resources and"),
        ({"level": "None", "resources": [{"group": "apps/v1"}]}, 'rules[0].resources[0].group: Invalid value: "apps/v1"'),
        ({"level": "None", "resources": [{"resourceNames": ["x"]}]}, "requires at least one resource"),
        ({"level": "None", "omitStages": ["Begin"]}, "allowed stages are RequestReceived,ResponseStarted,"),
    ],
)  # fmt: skip
def test_a_rule_that_is_not_understood_is_refused(rule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        policy(rule)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "it is not YAML"),
        ("[]", "Expected `object`"),
        ("{apiVersion: audit.k8s.io/v1beta1, kind: Policy, rules: [{level: None}]}", 'must be "Policy" of'),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy}", "it has no rules"),
        (
            "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [X], rules: [{level: None}]}",
            "omitStages[0]",
        ),
    ],
)
def test_what_is_no_policy_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        read(text)
