"""Admission policies over the wire: what they refuse, warn about and change, and what an author is told."""

import itertools
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.test_apiserver import config_map
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd

GROUP = "/apis/admissionregistration.k8s.io/v1"
VALIDATING, MUTATING = "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"
_NUMBERS = itertools.count()

type Raw = dict[str, Any]


@pytest.fixture(scope="module")
def server(etcd: Any, tmp_path_factory: pytest.TempPathFactory, free_ports: Any) -> Iterator[Server]:
    lab = Lab(tmp_path_factory.mktemp("policies"), etcd)
    yield lab.start(free_ports(), "--endpoint-reconciler-type=none")
    for process in lab.started:
        process.terminate()
    for process in lab.started:
        process.wait(10)


class Place:
    """A namespace, and policies for it alone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"governed-{next(_NUMBERS)}"
        self.made: list[str] = []
        server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})

    def path(self, plural: str, prefix: str = "/api/v1") -> str:
        return f"{prefix}/namespaces/{self.name}/{plural}"

    def policy(self, kind: str, spec: Raw, binding: Raw | None = None) -> str:
        """A policy that is bound and in force: it marks what bears its name."""
        name = f"{self.name}-{len(self.made)}"
        found = {"matchConstraints": {"resourceRules": [rule("configmaps", "CREATE", "UPDATE")]}, **spec}
        made = self.server.ask("POST", _plural(kind), {"metadata": {"name": name}, "spec": found})
        assert made[0] == 201, made
        only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.name}}}
        bound = {"policyName": name, "matchResources": only, **(binding or {})}
        if kind == VALIDATING:
            bound.setdefault("validationActions", ["Deny"])
        where = f"{_plural(kind).removesuffix('ies')}ybindings"
        made = self.server.ask("POST", where, {"metadata": {"name": name}, "spec": bound})
        assert made[0] == 201, made
        self.made += [f"{_plural(kind)}/{name}", f"{where}/{name}"]
        return name

    def create(self, map_: Raw, query: str = "") -> tuple[int, Any]:
        return self.server.ask("POST", f"{self.path('configmaps')}{query}", map_)


def _plural(kind: str) -> str:
    return f"{GROUP}/{kind.lower().removesuffix('y')}ies"


def rule(plural: str, *operations: str, group: str = "") -> Raw:
    return {
        "operations": list(operations),
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [plural],
    }


@pytest.fixture
def place(server: Server) -> Iterator[Place]:
    found = Place(server)
    yield found
    for path in found.made:
        server.ask("DELETE", path)


def test_a_policy_denies_with_its_message_and_reason(place: Place) -> None:
    checks = [
        {
            "expression": "object.data.a != 'no'",
            "messageExpression": "'not ' + object.data.a",
            "reason": "Forbidden",
        }
    ]
    name = place.policy(VALIDATING, {"validations": checks})
    until(lambda: place.create(config_map("c", a="no"), "?dryRun=All")[0] == 403)

    code, answer = place.create(config_map("c", a="no"))

    assert (code, answer["reason"]) == (403, "Forbidden")
    text = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: not no"
    assert answer["message"] == f'configmaps "c" is forbidden: {text}'
    assert answer["details"]["causes"] == [{"message": text}]
    assert place.create(config_map("c", a="yes"))[0] == 201


def test_a_policy_for_deployments_denies_them_alone_though_its_message_fails(place: Place) -> None:
    """A number cannot be put to a text: then the expression itself is the message."""
    wants = "'wants replicas > 1, got ' + object.spec.replicas"
    here = f"namespaceObject.metadata.name == '{place.name}'"
    checks = [
        {"expression": "object.spec.replicas > 1", "messageExpression": wants},
        {"expression": here, "message": "Other namespaces should not be matched."},
    ]
    rules = [rule("deployments", "CREATE", "UPDATE", group="apps")]
    place.policy(VALIDATING, {"matchConstraints": {"resourceRules": rules}, "validations": checks})

    def make(plural: str, replicas: int) -> tuple[int, Any]:
        template = {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        path = f"{place.path(plural, '/apis/apps/v1')}?dryRun=All"
        return place.server.ask("POST", path, {"metadata": {"name": "made"}, "spec": spec})

    until(lambda: make("deployments", 1)[0] == 422)
    refused = make("deployments", 1)[1]
    assert refused["reason"] == "Invalid"
    assert "failed expression: object.spec.replicas > 1" in refused["message"]
    assert make("deployments", 2)[0] == 201
    assert make("replicasets", 1)[0] == 201


def test_expressions_may_refer_to_variables(place: Place) -> None:
    spec = {
        "matchConstraints": {"resourceRules": [rule("deployments", "CREATE", group="apps")]},
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas"},
        ],
    }
    place.policy(VALIDATING, spec)

    def deploy(name: str, replicas: int) -> tuple[int, Any]:
        template = {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]},
        }
        body = {
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template},
        }
        return place.server.ask("POST", f"{place.path('deployments', '/apis/apps/v1')}?dryRun=All", body)

    until(lambda: deploy("one", 1)[0] == 422)
    assert "failed expression: variables.replicas > 1" in deploy("one", 1)[1]["message"]
    assert "failed expression: variables.oddReplicas" in deploy("four", 4)[1]["message"]
    assert deploy("three", 3)[0] == 201


def test_warnings_and_notes_let_a_write_pass(place: Place) -> None:
    name = place.policy(
        VALIDATING,
        {"validations": [{"expression": "false", "message": "hm"}]},
        {"validationActions": ["Warn", "Audit"]},
    )

    def warned() -> str:
        request = urllib.request.Request(
            f"{place.server.url}{place.path('configmaps')}?dryRun=All",
            b'{"metadata":{"name":"c"}}',
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10, context=place.server.context()) as answer:
            return answer.headers.get("Warning") or ""

    until(lambda: warned() != "")
    assert warned() == (
        f"299 - \"Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}': hm\""
    )


@pytest.mark.parametrize(("missing", "code"), [("Deny", 422), ("Allow", 201)])
def test_parameters_are_looked_up_by_name(place: Place, missing: str, code: int) -> None:
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule("secrets", "CREATE")]},
        "validations": [{"expression": "object.metadata.name != params.data.forbidden"}],
    }
    place.policy(VALIDATING, spec, {"paramRef": {"name": "settings", "parameterNotFoundAction": missing}})
    place.policy(VALIDATING, {"validations": [{"expression": "object.metadata.name != 'marker'"}]})
    until(lambda: place.create(config_map("marker"), "?dryRun=All")[0] == 422)

    def secret(name: str) -> int:
        return place.server.ask("POST", f"{place.path('secrets')}?dryRun=All", {"metadata": {"name": name}})[
            0
        ]

    assert secret("bad") == code
    place.create(config_map("settings", forbidden="bad"))
    until(lambda: secret("bad") == 422)
    until(lambda: secret("good") == 201)


def test_parameters_are_selected_by_their_labels(place: Place) -> None:
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule("secrets", "CREATE")]},
        "validations": [{"expression": "object.metadata.name != params.data.forbidden"}],
    }
    for name in ("one", "two"):
        map_ = config_map(name, forbidden=name)
        map_["metadata"]["labels"] = {"use": "yes"}
        place.create(map_)
    selector = {"matchLabels": {"use": "yes"}}
    place.policy(VALIDATING, spec, {"paramRef": {"selector": selector, "parameterNotFoundAction": "Deny"}})

    def secret(name: str) -> int:
        return place.server.ask("POST", f"{place.path('secrets')}?dryRun=All", {"metadata": {"name": name}})[
            0
        ]

    until(lambda: secret("two") == 422)
    assert (secret("one"), secret("three")) == (422, 201)


def test_match_conditions_leave_writes_out(place: Place) -> None:
    conditions = [{"name": "not-free", "expression": "!object.metadata.name.startsWith('free-')"}]
    place.policy(VALIDATING, {"matchConditions": conditions, "validations": [{"expression": "false"}]})
    until(lambda: place.create(config_map("bound"), "?dryRun=All")[0] == 422)

    assert place.create(config_map("free-one"))[0] == 201


def test_a_mutating_policy_applies_what_its_expression_makes(place: Place) -> None:
    text = (
        "Object{metadata: Object.metadata{labels: {'by': 'policy'}}, data: {'added': object.metadata.name}}"
    )
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
    place.policy(MUTATING, {"reinvocationPolicy": "Never", "mutations": [mutation]})
    until(lambda: "added" in (place.create(config_map("c", a="1"), "?dryRun=All")[1].get("data") or {}))

    made = place.create(config_map("c", a="1"))[1]

    assert made["data"] == {"a": "1", "added": "c"}
    assert made["metadata"]["labels"] == {"by": "policy"}
    assert place.server.ask("GET", place.path("configmaps/c"))[1] == made


def test_a_mutating_policy_marks_a_deployment(place: Place) -> None:
    text = "Object{metadata: Object.metadata{annotations: {'mutated-by': 'admission-policy'}}}"
    spec = {
        "matchConstraints": {"resourceRules": [rule("deployments", "CREATE", "UPDATE", group="apps")]},
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}],
    }
    place.policy(MUTATING, spec)
    template = {
        "metadata": {"labels": {"app": "test"}},
        "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]},
    }
    body = {
        "metadata": {"name": "marked", "annotations": {"own": "kept"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "test"}}, "template": template},
    }
    path = place.path("deployments", "/apis/apps/v1")

    def marked(query: str) -> bool:
        found = place.server.ask("POST", f"{path}{query}", body)[1]["metadata"]["annotations"]
        return bool(found == {"own": "kept", "mutated-by": "admission-policy"})

    until(lambda: marked("?dryRun=All"))
    assert marked("")


def test_a_mutating_policy_patches(place: Place) -> None:
    text = """has(object.data) ? [
        JSONPatch{op: 'test', path: '/data/a', value: 'one'},
        JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('b'), value: 'two'}] : []"""
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}
    place.policy(MUTATING, {"reinvocationPolicy": "IfNeeded", "mutations": [mutation]})
    until(lambda: place.create(config_map("c", a="one"), "?dryRun=All")[1].get("data", {}).get("b") == "two")

    assert place.create(config_map("other", a="another"))[1]["data"] == {"a": "another"}


def test_a_policy_that_cannot_be_evaluated_refuses_unless_failures_are_ignored(place: Place) -> None:
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'a': object.data.nothing}}"},
    }
    name = place.policy(MUTATING, {"reinvocationPolicy": "Never", "mutations": [mutation]})
    place.policy(
        MUTATING, {"reinvocationPolicy": "Never", "mutations": [mutation], "failurePolicy": "Ignore"}
    )
    until(lambda: place.create(config_map("c", z="1"), "?dryRun=All")[0] == 403)

    answer = place.create(config_map("c", z="1"))[1]

    assert answer["reason"] == "Invalid"
    assert answer["message"].startswith(f"policy '{name}' with binding '{name}' denied request: expression ")
    for path in place.made[:2]:
        place.server.ask("DELETE", path)
    until(lambda: place.create(config_map("c", z="1"), "?dryRun=All")[0] == 201)


def test_metrics_count_what_policies_did(place: Place) -> None:
    checks = [{"expression": "object.data.a != 'no'"}]
    denying = place.policy(VALIDATING, {"validations": checks}, {"validationActions": ["Deny", "Audit"]})
    passing = place.policy(VALIDATING, {"validations": checks, "failurePolicy": "Ignore"})
    expression = "Object{metadata: Object.metadata{labels: {'by': 'policy'}}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    mutating = place.policy(MUTATING, {"reinvocationPolicy": "Never", "mutations": [mutation]})
    until(lambda: place.create(config_map("c", a="no"), "?dryRun=All")[0] == 422)
    until(lambda: place.create({"metadata": {"name": "d"}}, "?dryRun=All")[0] == 422)

    def counted() -> bool:
        text = place.server.ask("GET", "/metrics")[1]
        validated = [
            (denying, "no_error", "deny"),
            (denying, "no_error", "audit"),
            (denying, "invalid_error", "deny"),
            (passing, "invalid_error", "allow"),
        ]
        lines = [
            f'apiserver_validating_admission_policy_check_total{{enforcement_action="{action}",error_type="{error}",'
            f'policy="{name}",policy_binding="{name}"}} '
            for name, error, action in validated
        ]
        lines.append(
            'apiserver_mutating_admission_policy_check_total{error_type="no_error",'
            f'policy="{mutating}",policy_binding="{mutating}"}} '
        )
        return all(line in text for line in lines)

    until(counted)


def test_validating_policies_see_what_mutating_ones_made(place: Place) -> None:
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'made': 'yes'}}"},
    }
    place.policy(MUTATING, {"reinvocationPolicy": "Never", "mutations": [mutation]})
    place.policy(
        VALIDATING, {"validations": [{"expression": "object.data.made != 'yes'", "message": "seen"}]}
    )
    until(lambda: "seen" in place.create(config_map("c"), "?dryRun=All")[1].get("message", ""))


def _check(expression: str, **more: Any) -> Raw:
    return {"validations": [{"expression": expression, **more}]}


_BOOL = "must evaluate to bool but got"
_FIRST = "spec.validations[0].expression"


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        (_check("object.x"), _FIRST, f"{_BOOL} dyn"),
        (_check("1 +"), _FIRST, "compilation failed: ERROR: <input>:1:4: Syntax error"),
        (_check("params.x == 1"), _FIRST, "undeclared reference to 'params'"),
        (
            _check("true", messageExpression="1"),
            "spec.validations[0].messageExpression",
            "must evaluate to string but got int",
        ),
        (
            {**_check("true"), "variables": [{"name": "v", "expression": "nothing"}]},
            "spec.variables[0].expression",
            "undeclared reference to 'nothing'",
        ),
        (
            {**_check("true"), "matchConditions": [{"name": "c", "expression": "1"}]},
            "spec.matchConditions[0].expression",
            f"{_BOOL} int",
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "1"}]},
            "spec.auditAnnotations[0].valueExpression",
            "must evaluate to one of [string null_type] but got int",
        ),
        (
            {
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[1]"}}],
            },
            "spec.mutations[0].jsonPatch.expression",
            "must evaluate to list(JSONPatch)",
        ),
    ],
)
def test_what_does_not_compile_is_refused_when_it_is_written(
    server: Server, spec: Raw, field: str, says: str
) -> None:
    kind = MUTATING if "mutations" in spec else VALIDATING
    whole = {"matchConstraints": {"resourceRules": [rule("configmaps", "CREATE")]}, **spec}
    code, answer = server.ask("POST", _plural(kind), {"metadata": {"name": "wrong"}, "spec": whole})

    assert (code, answer["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in answer["details"]["causes"]] == [field]
    assert says in answer["message"]


@pytest.mark.parametrize("kind", ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
def test_webhooks_with_conditions_that_do_not_compile_are_refused(server: Server, kind: str) -> None:
    hook = {
        "name": "h.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule("configmaps", "CREATE")],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchConditions": [{"name": "c", "expression": "... [] bad expression"}],
    }
    body = {"metadata": {"name": "bad"}, "webhooks": [hook]}
    code, answer = server.ask("POST", f"{GROUP}/{kind.lower()}s", body)

    assert code == 422
    assert "compilation failed" in answer["message"]
