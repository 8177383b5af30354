"""Rules as people write them for Kubernetes: from its documentation, from Gateway API, from policies."""

from typing import Any

import pytest

from kybern.machinery.cel.types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, object_of
from tests.unit.machinery.cel.expressions import environment, messages

LISTENER = object_of(
    "Listener", {"name": STRING, "port": INT, "protocol": STRING, "hostname": STRING, "tls": DYN}
)
SPEC = object_of(
    "Spec",
    {
        "minReplicas": INT, "replicas": INT, "maxReplicas": INT, "host": STRING, "schedule": STRING, "enabled": BOOL,
        "labels": map_of(STRING, STRING), "listeners": list_of(LISTENER), "names": list_of(STRING), "storage": STRING,
        "from": TIMESTAMP, "type": STRING, "a": STRING, "b": STRING,
    },
)  # fmt: skip
NORMAL: dict[str, Any] = {
    "minReplicas": 1,
    "replicas": 3,
    "maxReplicas": 5,
    "host": "www.example.com",
    "schedule": "0 * * * *",
    "enabled": True,
    "labels": {"app": "web"},
    "listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP"},
        {"name": "tls", "port": 443, "protocol": "TLS"},
    ],
    "names": ["a", "b"],
    "storage": "10Gi",
    "type": "A",
    "a": "x",
}


@pytest.mark.parametrize(
    ("rule", "changed", "expected"),
    [
        ("self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas", {}, True),
        ("self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas", {"replicas": 6}, False),
        ("'app' in self.labels", {}, True),
        ("'app' in self.labels", {"labels": {}}, False),
        ("self.labels.all(key, key.matches('^[a-z]*$'))", {}, True),
        ("self.labels.all(key, key.matches('^[a-z]*$'))", {"labels": {"App": "x"}}, False),
        ("self.host.endsWith('.example.com')", {}, True),
        ("size(self.names) == size(self.names.filter(x, self.names.exists_one(y, x == y)))", {}, True),
        (
            "size(self.names) == size(self.names.filter(x, self.names.exists_one(y, x == y)))",
            {"names": ["a", "a"]},
            False,
        ),
        ("self.listeners.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)", {}, True),
        (
            "self.listeners.all(l, l.protocol == 'TCP' ? !has(l.hostname) || l.hostname == '' : true)",
            {},
            True,
        ),
        (
            "self.listeners.all(l1, self.listeners.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol))",
            {},
            True,
        ),
        ("self.type == 'A' ? has(self.a) : !has(self.a)", {}, True),
        ("self.type == 'A' ? has(self.a) : !has(self.a)", {"type": "B"}, False),
        ("[has(self.a), has(self.b)].exists_one(x, x)", {}, True),
        ("(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) == 1", {"b": "y"}, False),
        ("quantity(self.storage).isGreaterThan(quantity('1Gi'))", {}, True),
        ("self.?b.orValue('none') == 'none'", {}, True),
        ("!has(self.from) || self.from > timestamp('2020-01-01T00:00:00Z')", {}, True),
        ("self.names.map(n, n.upperAscii()).join(',') == 'A,B'", {}, True),
        ("self.listeners.filter(l, l.port < 1024).map(l, l.name).size() == 2", {}, True),
        ("self.schedule.split(' ').size() == 5", {}, True),
        ("!self.enabled || self.replicas > 0", {"enabled": False, "replicas": 0}, True),
        ("self.host.matches(r'^([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)+[a-z]{2,}$')", {}, True),
        ("isQuantity(self.storage) && !isQuantity(self.host)", {}, True),
        ("self.listeners.exists(i, l, i == 1 && l.name == 'tls')", {}, True),
        ("self.labels.transformList(k, v, k + '=' + v) == ['app=web']", {}, True),
    ],
)
def test_rules_of_custom_kinds(rule: str, changed: dict[str, Any], expected: bool) -> None:
    program = environment({"self": SPEC}).compile(rule)

    assert program.result == BOOL
    assert program.evaluate({"self": {**NORMAL, **changed}})[0] is expected


@pytest.mark.parametrize(
    ("rule", "old", "expected"),
    [
        ("self == oldSelf", {"replicas": 4}, False),
        ("self.replicas >= oldSelf.replicas", {"replicas": 2}, True),
        ("!has(oldSelf.a) || has(self.a) && self.a == oldSelf.a", {"a": "y"}, False),
        ("oldSelf.names.all(n, n in self.names)", {"names": ["a"]}, True),
    ],
)
def test_transition_rules(rule: str, old: dict[str, Any], expected: bool) -> None:
    program = environment({"self": SPEC, "oldSelf": SPEC}).compile(rule)

    assert program.uses("oldSelf")
    assert program.evaluate({"self": NORMAL, "oldSelf": {**NORMAL, **old}})[0] is expected


POLICY: dict[str, Type] = {"object": DYN, "oldObject": DYN, "request": DYN, "params": DYN, "variables": DYN}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"env": "prod"}},
    "spec": {
        "replicas": 4,
        "template": {"spec": {"containers": [{"name": "c", "image": "docker.io/nginx:1.2"}]}},
    },
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("object.spec.replicas <= 5", True),
        ("object.spec.replicas <= params.maxReplicas", False),
        ("object.spec.template.spec.containers.all(c, c.image.startsWith('docker.io/'))", True),
        ("has(object.metadata.labels) && 'env' in object.metadata.labels", True),
        ("!('exempt' in object.metadata.labels) || object.metadata.labels['exempt'] != 'true'", True),
        ("object.?metadata.?annotations[?'x'].orValue('none') == 'none'", True),
        ("oldObject == null || object.spec.replicas >= oldObject.spec.replicas", True),
        ("request.userInfo.groups.exists(g, g == 'system:masters')", False),
        ("'replicas: ' + string(object.spec.replicas)", "replicas: 4"),
        ("variables.containers.map(c, c.name)", ["c"]),
        ("object.spec.template.spec.containers[0].?resources.hasValue()", False),
        ("type(object.spec.replicas) == int", True),
        ("object.metadata.name.matches('^[a-z]+$') ? 'fine' : 'wrong'", "fine"),
    ],
)
def test_policies_see_objects_without_types(expression: str, expected: object) -> None:
    variables = {
        "object": DEPLOYMENT,
        "oldObject": None,
        "request": {"userInfo": {"groups": ["system:authenticated"]}},
        "params": {"maxReplicas": 3},
        "variables": {"containers": DEPLOYMENT["spec"]["template"]["spec"]["containers"]},
    }

    assert environment(POLICY).compile(expression).evaluate(variables)[0] == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("self.replica > 1", ["undefined field 'replica'"]),
        ("self.replicas == '1'", ["found no matching overload for '_==_' applied to '(int, string)'"]),
        (
            "self.names.contains('a')",
            ["found no matching overload for 'contains' applied to 'list(string).(string)'"],
        ),
        ("oldSelf.replicas > 1", ["undeclared reference to 'oldSelf' (in container '')"]),
        ("self.host.matches('[')", ["invalid matches argument"]),
    ],
)
def test_mistakes_in_rules_are_found_before_they_are_used(rule: str, expected: list[str]) -> None:
    assert messages(rule, {"self": SPEC}) == expected
