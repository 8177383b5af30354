"""Unknown and duplicate fields, of built-in and of custom kinds, as upstream's conformance tests send them."""

from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.custom_bed import ANY, FIELDS, Kind, with_spec
from tests.protocol.requests_bed import Api

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


VALID = '  cronSpec: "* * * * */5"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP'


def test_a_valid_object_is_applied_strictly(api: Api) -> None:
    made = Kind(api, with_spec(), with_spec()).define().apply(f"spec:\n  foo: foo1\n{VALID}").ok()

    assert made["spec"]["foo"] == "foo1"


def test_without_a_schema_any_field_is_applied_strictly(api: Api) -> None:
    made = Kind(api, ANY, ANY).define().apply(f"spec:\n  unknown: uk1\n{VALID}").ok()

    assert made["spec"]["unknown"] == "uk1"


def test_fields_that_the_schema_does_not_have_are_refused(api: Api) -> None:
    kind = Kind(api, with_spec(), with_spec()).define()
    answer = kind.apply(f"unknownField: unknown\nspec:\n  foo: foo1\n{VALID}")

    assert answer.code >= 400
    assert ".unknownField: field not declared in schema" in answer.body["message"]


def test_unknown_metadata_is_refused(api: Api) -> None:
    template = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object"},
        },
    }
    properties = {**FIELDS, "template": template}
    schema = with_spec(**{"x-kubernetes-preserve-unknown-fields": True, "properties": properties})
    answer = (
        Kind(api, schema, schema)
        .define()
        .apply(
            "spec:\n  template:\n    apiversion: foo/v1\n    kind: Sub\n    metadata:\n"
            f"      unknownSubMeta: unknown\n      name: subobject\n{VALID}"
        )
    )

    assert answer.code >= 400
    assert ".spec.template.metadata.unknownSubMeta: field not declared in schema" in answer.body["message"]


def test_fields_that_come_twice_are_refused_even_where_any_field_may_come(api: Api) -> None:
    schema = with_spec(**{"x-kubernetes-preserve-unknown-fields": True})
    answer = (
        Kind(api, schema, schema).define().apply(f"spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n{VALID}")
    )

    assert answer.code >= 400
    assert 'line 10: key "foo" already set in map' in answer.body["message"]


DEPLOYMENT = """{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"%s}, "spec": {%s
  "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
  "spec": {"containers": [{"name": "c", "image": "registry.example.com/app:1"}]}}}}"""


@pytest.mark.parametrize(
    ("metadata", "spec", "says"),
    [
        (
            "",
            '"unknownField": "foo", "replicas": 2, "replicas": 3,',
            'unknown field "spec.unknownField", duplicate field "spec.replicas"',
        ),
        (', "unknownMeta": "foo"', "", 'unknown field "metadata.unknownMeta"'),
    ],
)
def test_unknown_and_double_fields_of_built_in_kinds_are_refused(
    api: Api, metadata: str, spec: str, says: str
) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    refused = api.send("POST", path, DEPLOYMENT % (metadata, spec), fieldValidation="Strict", dryRun="All")

    assert refused.code == 400
    assert f"strict decoding error: {says}" in refused.body["message"]
