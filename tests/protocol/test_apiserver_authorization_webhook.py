"""Authorization by a file, with webhooks: what they are asked, where they decide, and files that change meanwhile."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.protocol.apiserver_bed import Lab
from tests.protocol.review_bed import kubeconfig, metric, webhooks, with_status
from tests.protocol.webhook_server import Review, Webhooks

pytestmark = pytest.mark.etcd

PATH = "/reviews/rights"
MAPS = "/api/v1/namespaces/{}/configmaps"
RELOADS = "apiserver_authorization_config_controller_automatic_reloads_total{"


def rule(review: Review) -> Any:
    """Nobody may do most, which is left open; what is about the namespaces "mine" and "never" is decided."""
    asked = review["spec"].get("resourceAttributes") or {}
    if asked.get("name") == "broken":
        return 400, b"{}"
    if asked.get("namespace") == "mine" or asked.get("resource") in ("users", "shelves"):
        return with_status(review, allowed=True, reason="it is yours")
    if asked.get("namespace") == "never":
        return with_status(review, allowed=False, denied=True, reason="never ever")
    return with_status(review, allowed=False)


@pytest.fixture(scope="module")
def hooks(lab: Lab) -> Iterator[Webhooks]:
    found = webhooks(lab)
    found.on(PATH, rule)
    yield found
    found.stop()


def authorizer(file: Path, name: str = "others", **changes: Any) -> dict[str, Any]:
    setting = {
        "timeout": "10s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(file)},
        "matchConditions": [
            {"expression": "has(request.resourceAttributes)"},
            {"expression": "!request.groups.exists(g, g == 'system:masters')"},
        ],
    }
    return {"type": "Webhook", "name": name, "webhook": setting | changes}


def content(*authorizers: dict[str, Any]) -> bytes:
    own = [{"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}]
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    return yaml.safe_dump(head | {"authorizers": [*own, *authorizers]}).encode()


class Place:
    """A server whose authorizers are in a file."""

    def __init__(self, lab: Lab, hooks: Webhooks, port: int) -> None:
        self.kubeconfig = kubeconfig(lab, hooks.url + PATH, "rights")
        self.file = lab.directory / "authorization.yaml"
        self.first = content(authorizer(self.kubeconfig))
        self.file.write_bytes(self.first)
        self.hooks = hooks
        flags = [flag for flag in lab.flags(port) if not flag.startswith("--authorization-mode")]
        self.server = lab.start_with(port, *flags, f"--authorization-config={self.file}")

    def write(self, content: bytes) -> None:
        """Exchange the file, and wait until the server has looked at it."""
        before = metric(self.server, RELOADS)
        beside = self.file.with_name("authorization.beside")
        beside.write_bytes(content)
        beside.rename(self.file)
        until = time.monotonic() + 30
        while metric(self.server, RELOADS) == before:
            assert time.monotonic() < until, "the file was not read again"
            time.sleep(0.05)

    def asked(self, **wanted: str) -> list[Any]:
        """Specs of reviews whose resource attributes are so."""
        specs = (one["spec"] for one in self.hooks.seen[PATH])
        return [
            spec
            for spec in specs
            if all((spec.get("resourceAttributes") or {}).get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def place(lab: Lab, hooks: Webhooks, free_ports: Callable[[], int]) -> Place:
    found = Place(lab, hooks, free_ports())
    for name in ("mine", "never", "closed"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        assert found.server.ask("POST", "/api/v1/namespaces", body)[0] == 201
    return found


def as_nobody(place: Place, namespace: str, query: str = "") -> tuple[int, Any]:
    return place.server.ask("GET", MAPS.format(namespace) + query, identity="nobody")


def test_a_webhook_allows_what_rbac_leaves_open(place: Place) -> None:
    assert as_nobody(place, "mine", "?labelSelector=a%3Db&fieldSelector=metadata.name%3Dx")[0] == 200

    spec = place.asked(namespace="mine", name="x")[0]
    assert spec["user"] == "nobody"
    assert spec["groups"] == ["system:authenticated"]
    assert list(spec["extra"]) == ["authentication.kubernetes.io/credential-id"]
    assert spec["resourceAttributes"] == {
        "namespace": "mine", "verb": "list", "version": "v1", "resource": "configmaps", "name": "x",
        "fieldSelector": {"requirements": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]},
        "labelSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]},
    }  # fmt: skip


def test_it_denies_and_leaves_open_with_its_reason(place: Place) -> None:
    code, denied = as_nobody(place, "never")
    assert code == 403
    assert denied["message"].endswith('in the namespace "never": never ever')
    code, _ = as_nobody(place, "closed")
    assert code == 403
    assert (
        metric(place.server, 'apiserver_authorization_decisions_total{decision="denied",name="others"') >= 1
    )


def test_an_answer_is_kept(place: Place) -> None:
    for _ in range(3):
        assert as_nobody(place, "mine", "?labelSelector=kept")[0] == 200
    kept = [spec for spec in place.asked(namespace="mine") if "kept" in str(spec)]
    assert len(kept) == 1


def test_those_who_may_do_everything_and_paths_that_conditions_exclude_are_not_asked_about(
    place: Place,
) -> None:
    before = len(place.hooks.seen[PATH])
    assert place.server.ask("GET", MAPS.format("never"))[0] == 200
    assert place.server.ask("GET", "/somewhere", identity="nobody")[0] == 403
    assert len(place.hooks.seen[PATH]) == before
    assert metric(place.server, "apiserver_authorization_match_condition_exclusions_total") >= 1


def test_a_failure_is_told_when_nobody_else_decides(place: Place) -> None:
    code, failed = place.server.ask("GET", MAPS.format("closed") + "/broken", identity="nobody")

    assert code == 500
    assert failed["reason"] == "InternalError"
    assert metric(place.server, "apiserver_authorization_webhook_evaluations_fail_open_total") >= 1
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "nobody",
            "resourceAttributes": {
                "namespace": "closed",
                "verb": "get",
                "resource": "configmaps",
                "name": "broken",
            },
        },
    }
    code, said = place.server.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert code == 201
    assert said["status"]["allowed"] is False
    assert said["status"]["evaluationError"]


def test_it_decides_of_reviews_impersonation_watches_and_the_rules_of_others(place: Place) -> None:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "mine", "verb": "get", "resource": "pods"}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert place.server.ask("POST", path, body, identity="nobody")[1]["status"] == {
        "allowed": True, "reason": "it is yours",
    }  # fmt: skip
    code, _ = as_nobody(place, "mine", "?watch=1&timeoutSeconds=1")
    assert code == 200
    rules = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "mine"},
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = place.server.ask("POST", path, rules, identity="nobody")[1]["status"]
    assert status["incomplete"] is True
    assert "webhook authorizer does not support user rule resolution" in status["evaluationError"]
    code, found = place.server.ask_as("GET", MAPS.format("mine"), "bob", identity="nobody")
    assert code == 200, found
    assert place.asked(resource="users", name="bob")


def test_expressions_of_policies_ask_it_too(place: Place) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "shelved"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    }
                ]
            },
            "validations": [
                {
                    "expression": (
                        "authorizer.group('library.org').resource(object.metadata.labels.kind).namespace('closed')"
                        ".check('fill').allowed()"
                    )
                }
            ],
        },
    }  # fmt: skip
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "shelved"},
        "spec": {
            "policyName": "shelved",
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mine"}}},
        },
    }
    at = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    assert place.server.ask("POST", f"{at}ies", policy)[0] == 201
    assert place.server.ask("POST", f"{at}ybindings", binding)[0] == 201

    def make(name: str, kind: str) -> int:
        metadata = {"name": name, "labels": {"kind": kind}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return place.server.ask("POST", MAPS.format("mine"), body, identity="nobody")[0]

    until, number = time.monotonic() + 30, 0
    while make(f"tables-{number}", "tables") != 422:
        number += 1
        assert time.monotonic() < until, "the policy does not act"
        time.sleep(0.05)
    assert make("shelves", "shelves") == 201
    assert place.asked(resource="shelves", verb="fill")
    assert place.server.ask("DELETE", f"{at}ybindings/shelved")[0] == 200


def test_giving_rights_away_asks_it(place: Place) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "given"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/mine/roles"
    assert place.server.ask("POST", path, role, identity="nobody")[0] == 201
    assert place.asked(resource="roles", verb="escalate", namespace="mine")


def test_files_are_exchanged_and_bad_ones_change_nothing(place: Place) -> None:
    try:
        place.write(content())
        assert as_nobody(place, "mine")[0] == 403
        place.write(b"kind: Nonsense")
        assert as_nobody(place, "mine")[0] == 403
        place.write(content(authorizer(place.kubeconfig, failurePolicy="Deny", matchConditions=[])))
        assert as_nobody(place, "mine")[0] == 200
        place.write(content().replace(b"Node", b"AlwaysAllow").replace(b"node", b"alwaysallow"))
        assert as_nobody(place, "closed")[0] == 403
        assert "missing required types: [Node]" in place.server.log()
    finally:
        place.write(place.first + b"\n# again\n")
    assert as_nobody(place, "mine")[0] == 200
    assert as_nobody(place, "closed")[0] == 403


def test_flags_do_the_same_in_the_old_version(
    lab: Lab, hooks: Webhooks, place: Place, free_ports: Callable[[], int]
) -> None:
    port = free_ports()
    flags = [
        "--authorization-mode=Node,RBAC,Webhook" if flag.startswith("--authorization-mode") else flag
        for flag in lab.flags(port)
    ]
    server = lab.start_with(port, *flags, f"--authorization-webhook-config-file={place.kubeconfig}")

    assert server.ask("GET", MAPS.format("mine") + "?labelSelector=old", identity="nobody")[0] == 200
    (seen,) = [one for one in hooks.seen[PATH] if "old" in str(one["spec"].get("resourceAttributes"))]
    assert seen["apiVersion"] == "authorization.k8s.io/v1beta1"
    assert seen["spec"]["group"] == ["system:authenticated"]


def test_a_file_beside_flags_is_refused(lab: Lab, place: Place, free_ports: Callable[[], int]) -> None:
    said = lab.refused(free_ports(), f"--authorization-config={place.file}")

    assert "--authorization-config can not be specified when --authorization-mode or" in said
