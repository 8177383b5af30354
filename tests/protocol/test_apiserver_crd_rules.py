"""Rules of custom kinds over the wire: what upstream's end-to-end tests ask of x-kubernetes-validations, and more.

The first seven are the upstream suite's CustomResourceValidationRules, case by case.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from kybern.machinery.causes import json_of
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.test_apiserver_crd import CRDS, until

pytestmark = pytest.mark.etcd

GROUP = "rules.example.com"


@pytest.fixture(scope="module")
def server(etcd: Any, tmp_path_factory: pytest.TempPathFactory, free_ports: Any) -> Iterator[Server]:
    lab = Lab(tmp_path_factory.mktemp("rules"), etcd)
    yield lab.start(free_ports(), "--endpoint-reconciler-type=none")
    for process in lab.started:
        process.terminate()
        process.wait(10)


def definition(plural: str, schema: Any, **version: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"plural": plural, "kind": plural.title()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}},
                    **version,
                }
            ],
        },
    }


def custom(plural: str, name: str, spec: Any, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1", "kind": plural.title(), "metadata": {"name": name}, "spec": spec, **more,
    }  # fmt: skip


class Served:
    """One custom kind."""

    def __init__(self, server: Server, plural: str, schema: Any, **version: Any) -> None:
        self.server, self.plural = server, plural
        self.at = f"/apis/{GROUP}/v1/{plural}"
        assert server.ask("POST", CRDS, definition(plural, schema, **version))[0] == 201
        until(lambda: server.ask("GET", self.at)[0] == 200)

    def create(self, name: str, spec: Any) -> tuple[int, Any]:
        return self.server.ask("POST", self.at, custom(self.plural, name, spec))

    def update(self, made: Any, at: str = "", **changes: Any) -> tuple[int, Any]:
        return self.server.ask("PUT", f"{self.at}/{made['metadata']['name']}{at}", {**made, **changes})


def causes(answer: tuple[int, Any]) -> list[tuple[str, str]]:
    assert answer[0] == 422, answer
    return [(cause.get("field", ""), cause["message"]) for cause in answer[1]["details"]["causes"]]


BOUNDS: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-validations": [{"rule": "self.x + self.y > 0"}],
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
}


def test_an_object_that_keeps_the_rules_is_created(server: Server) -> None:
    kind = Served(server, "keepers", BOUNDS)
    assert kind.create("good", {"x": 1, "y": 0})[0] == 201


def test_an_object_that_breaks_a_rule_is_not(server: Server) -> None:
    kind = Served(server, "breakers", BOUNDS)
    answer = kind.create("bad", {"x": 0, "y": 0})
    assert causes(answer) == [("spec", "Invalid value: failed rule: self.x + self.y > 0")]
    assert answer[1]["message"] == (
        'Breakers.rules.example.com "bad" is invalid: spec: Invalid value: failed rule: self.x + self.y > 0'
    )


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("self.z + self.y > 0", "undefined field 'z'"),
        ("self = 42", "Syntax error: token recognition error at: '= '"),
        ("self.x", "cel expression must evaluate to a bool"),
        ("self.x == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("oldself.x == 1", "undeclared reference to 'oldself' (in container '')"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_definition(server: Server, rule: str, says: str) -> None:
    schema = {**BOUNDS, "x-kubernetes-validations": [{"rule": rule}]}
    found = causes(server.ask("POST", CRDS, definition("nones", schema)))
    assert [field for field, _ in found] == [
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    ]
    assert found[0][1].startswith(f"Invalid value: {json_of({'Rule': rule})[:-1]},")
    assert says in found[0][1]


def test_a_rule_that_may_cost_too_much_is_refused_with_its_definition(server: Server) -> None:
    item = {
        "type": "string",
        "x-kubernetes-validations": [{"rule": "self.contains('x') && self.matches('.*x.*')"}],
    }
    schema = {"type": "object", "properties": {"l": {"type": "array", "items": item}}}
    found = causes(server.ask("POST", CRDS, definition("dears", schema)))
    at = "spec.validation.openAPIV3Schema.properties[spec].properties[l].items.x-kubernetes-validations[0].rule"
    assert found[0][0] == at
    assert found[0][1].startswith(
        "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try"
    )
    bounded = {
        "type": "object",
        "properties": {"l": {"type": "array", "maxItems": 10, "items": {**item, "maxLength": 9}}},
    }
    Served(server, "cheaps", bounded)


def test_a_rule_that_does_cost_too_much_ends(server: Server) -> None:
    every = "self.all(a, self.all(b, self.all(c, a + b + c < 1000)))"
    listed = {"type": "array", "maxItems": 80, "items": {"type": "integer"}}
    schema = {
        "type": "object",
        "properties": {
            "l": {**listed, "x-kubernetes-validations": [{"rule": every, "message": "small sums"}]}
        },
    }
    kind = Served(server, "spenders", schema)
    assert kind.create("few", {"l": list(range(9))})[0] == 201
    found = causes(kind.create("many", {"l": list(range(80))}))
    assert found == [
        (
            "spec.l",
            (
                "Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules"
                " will be run due to call cost exceeds limit for rule: small sums"
            ),
        )
    ]


def test_a_rule_about_the_past_is_asked_on_updates(server: Server) -> None:
    rule = {"rule": "self == oldSelf", "message": "may not change", "reason": "FieldValueForbidden"}
    schema = {
        "type": "object",
        "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [rule]},
            "free": {"type": "string"},
        },
    }
    kind = Served(server, "fixeds", schema)
    made = kind.create("one", {"fixed": "a", "free": "a"})[1]
    changed = kind.update(made, spec={"fixed": "a", "free": "b"})
    assert changed[0] == 200
    refused = kind.update(changed[1], spec={"fixed": "b", "free": "b"})
    assert causes(refused) == [("spec.fixed", "Forbidden: may not change")]
    assert kind.update(changed[1], spec={"free": "b"})[0] == 200


def test_messages_and_fields_are_computed(server: Server) -> None:
    rule = {
        "rule": "self.least <= self.most",
        "messageExpression": "'least is %d, most is %d'.format([self.least, self.most])",
        "fieldPath": ".least",
        "reason": "FieldValueInvalid",
    }
    schema = {
        "type": "object",
        "x-kubernetes-validations": [rule],
        "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}},
    }
    kind = Served(server, "messages", schema)
    assert causes(kind.create("bad", {"least": 3, "most": 1})) == [
        ("spec.least", "Invalid value: least is 3, most is 1")
    ]
    assert causes(kind.create("none", {"least": 3})) == [
        ("spec", 'Invalid value: "object": no such key: most evaluating rule: self.least <= self.most')
    ]


def test_the_libraries_of_kubernetes_are_there(server: Server) -> None:
    rules = [
        "isQuantity(self.size) && quantity(self.size).isLessThan(quantity('10Gi'))",
        "self.addresses.all(a, isIP(a) && cidr('10.0.0.0/8').containsIP(a))",
        "self.addresses.isSorted()",
        "!format.dns1123Label().validate(self.name).hasValue()",
        "self.link == '' || url(self.link).getScheme() == 'https'",
        "self.name.find('[a-z]+') != ''",
        "semver(self.version).major() > 0",
        "sets.contains(['a', 'b'], self.words)",
        "self.name.lowerAscii() == self.name && self.since < timestamp('2100-01-01T00:00:00Z')",
    ]
    schema = {
        "type": "object",
        "properties": {
            "size": {"type": "string", "maxLength": 20},
            "addresses": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 40}},
            "name": {"type": "string", "maxLength": 63},
            "link": {"type": "string", "maxLength": 100, "default": ""},
            "version": {"type": "string", "maxLength": 20},
            "words": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 9}},
            "since": {"type": "string", "format": "date-time"},
        },
        "x-kubernetes-validations": [{"rule": rule, "message": f"rule {i}"} for i, rule in enumerate(rules)],
    }
    kind = Served(server, "books", schema)
    good = {
        "size": "1Gi", "addresses": ["10.0.0.1", "10.0.0.2"], "name": "a-name", "link": "https://x/", "version": "1.2.3",
        "words": ["a"], "since": "2024-01-01T00:00:00Z",
    }  # fmt: skip
    assert kind.create("good", good)[0] == 201
    bad = {
        "size": "10Gi", "addresses": ["10.0.0.2", "10.0.0.1", "11.0.0.1"], "name": "1.", "link": "http://x/",
        "version": "0.1.0", "words": ["c"], "since": "2200-01-01T00:00:00Z",
    }  # fmt: skip
    found = causes(kind.create("bad", bad))
    assert sorted(message for _, message in found) == [f"Invalid value: rule {i}" for i in range(9)]


def test_what_was_wrong_before_may_stay_and_warns(server: Server) -> None:
    kind = Served(
        server, "olds", {"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "integer"}}}
    )
    made = kind.create("one", {"n": 11, "m": 1})[1]
    at = f"{CRDS}/olds.{GROUP}"
    found = server.ask("GET", at)[1]
    spec = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["n"]["x-kubernetes-validations"] = [{"rule": "self < 10"}]
    assert server.ask("PUT", at, found)[0] == 200
    until(lambda: kind.create("two", {"n": 11})[0] == 422)
    changed = kind.update(made, spec={"n": 11, "m": 2})
    assert changed[0] == 200
    assert causes(kind.update(changed[1], spec={"n": 12, "m": 2})) == [
        ("spec.n", "Invalid value: 12: failed rule: self < 10")
    ]
    assert kind.update(changed[1], spec={"n": 9, "m": 2})[0] == 200


def test_status_has_rules_too(server: Server) -> None:
    kind = Served(server, "states", {"type": "object"}, subresources={"status": {}})
    at = f"{CRDS}/states.{GROUP}"
    found = server.ask("GET", at)[1]
    properties = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties["status"] = {
        "type": "object",
        "properties": {"n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}},
    }
    assert server.ask("PUT", at, found)[0] == 200
    made = kind.create("one", {})[1]
    until(lambda: "n" in kind.update(made, "/status", status={"n": 2}, metadata={"name": "one"} | {
        "resourceVersion": server.ask("GET", f"{kind.at}/one")[1]["metadata"]["resourceVersion"]
    })[1].get("status", {}))  # fmt: skip
    now = server.ask("GET", f"{kind.at}/one")[1]
    assert causes(kind.update(now, "/status", status={"n": 1})) == [
        ("status.n", "Invalid value: 1: failed rule: self >= oldSelf")
    ]
    assert kind.update(now, "/status", status={"n": 3})[0] == 200


def test_a_default_keeps_the_rules(server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "default": 11, "x-kubernetes-validations": [{"rule": "self < 10"}]}
        },
    }
    assert causes(server.ask("POST", CRDS, definition("defaults", schema))) == [
        (
            "spec.validation.openAPIV3Schema.properties[spec].properties[n].default",
            "Invalid value: 11: failed rule: self < 10",
        )
    ]


def test_rules_are_not_asked_about_what_is_wrong_otherwise(server: Server) -> None:
    kind = Served(server, "wrongs", BOUNDS)
    assert causes(kind.create("bad", {"x": "a", "y": 0})) == [
        ("spec.x", 'Invalid value: "string": spec.x in body must be of type integer: "string"'),
        (
            "<nil>",
            (
                "Invalid value: null: some validation rules were not checked because the object was invalid; correct the"
                " existing errors to complete validation"
            ),
        ),
    ]
