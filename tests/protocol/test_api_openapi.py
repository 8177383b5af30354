"""What OpenAPI says of custom kinds, as upstream's conformance tests read it, and what kubectl makes of it."""

import re
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import client
from tests.protocol.custom_bed import ANY, FIELDS, Kind, published, with_spec
from tests.protocol.requests_bed import Api, Raw
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd

GVK = "x-kubernetes-group-version-kind"
BAR = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"description": "Name of Bar.", "type": "string"},
        "feeling": {"description": "How Bar feels.", "type": "string", "enum": ["Great", "Down"]},
        "bazs": {"description": "List of Bazs.", "type": "array", "items": {"type": "string"}},
    },
}
BARS = {"description": "List of Bars.", "type": "array", "items": BAR}
FOO: Raw = {
    "description": "Foo for Testing",
    "type": "object",
    "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": BARS}}
    },
}


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


def test_a_schema_is_published(api: Api) -> None:
    found = published(kind := Kind(api, with_spec(description="Specification of Foo")).define())

    assert found["properties"]["spec"]["description"] == "Specification of Foo"
    assert found["properties"]["spec"]["properties"].keys() == FIELDS.keys()
    assert found["x-kubernetes-group-version-kind"] == [
        {"group": kind.group, "version": "v1", "kind": "Noxu"}
    ]
    document = api.get(f"/openapi/v3/apis/{kind.group}/v1")
    assert kind.named() in document["components"]["schemas"]
    api.delete(kind.definition)
    until(lambda: kind.published() is None)


def bare(found: Raw) -> Raw:
    """A definition without what the server adds to every one."""
    properties = {
        key: value
        for key, value in found.get("properties", {}).items()
        if key not in ("metadata", "apiVersion", "kind")
    }
    rest = {key: value for key, value in found.items() if key not in (GVK, "properties")}
    return {**rest, **({"properties": properties} if properties else {})}


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (FOO, FOO),
        (ANY, {"type": "object"}),
        ({**FOO, "x-kubernetes-preserve-unknown-fields": True}, {"type": "object"}),
    ],
    ids=["schema", "any", "any-beside-a-schema"],
)
def test_a_definition_is_what_was_given_and_no_more(api: Api, schema: Raw, shown: Raw) -> None:
    assert bare(published(Kind(api, schema).define())) == shown


@pytest.mark.parametrize("schema", [ANY, {**ANY, "properties": {"spec": ANY}}], ids=["root", "below"])
def test_a_kind_of_any_fields_is_published_as_such(api: Api, schema: Raw) -> None:
    found = published(Kind(api, schema).define())

    assert found["type"] == "object"
    assert "spec" not in found.get("properties", {}) or found["properties"]["spec"]["type"] == "object"


def test_kinds_of_several_groups_are_published(api: Api) -> None:
    kinds = [Kind(api, with_spec(description=text)).define() for text in ("one", "two")]

    assert [published(each)["properties"]["spec"]["description"] for each in kinds] == ["one", "two"]


def test_kinds_of_one_version_are_published(api: Api) -> None:
    group = "several.example.com"
    kinds = [
        Kind(api, with_spec(description=name), group=group, kind=name).define() for name in ("Foo", "Bar")
    ]

    assert [published(each)["properties"]["spec"]["description"] for each in kinds] == ["Foo", "Bar"]


def test_versions_of_one_kind_are_published_and_go_one_by_one(api: Api) -> None:
    kind = Kind(api, with_spec(description="old"), with_spec(description="new")).define()
    assert published(kind, "v1")["properties"]["spec"]["description"] == "old"
    assert published(kind, "v2")["properties"]["spec"]["description"] == "new"

    versions = kind.body["spec"]["versions"]
    renamed = [versions[0], {**versions[1], "name": "v4"}]
    api.patch(kind.definition, {"spec": {"versions": renamed}})
    until(lambda: kind.published("v4") is not None and kind.published("v2") is None)
    assert published(kind, "v1")["properties"]["spec"]["description"] == "old"
    renamed[1]["served"] = False
    api.patch(kind.definition, {"spec": {"versions": renamed}})
    until(lambda: kind.published("v4") is None)
    assert kind.published("v1") is not None


@pytest.mark.kubectl
def test_kubectl_checks_and_explains_by_what_is_published(api: Api, lab: Lab, tmp_path: Any) -> None:
    kubectl = Program((client("kubectl-1.36"),), lab.kubeconfig(api.server), tmp_path)
    strict = Kind(api, with_spec(description="Specification of Foo", required=["foo"]), kind="Foo").define()
    loose = Kind(api, ANY, kind="Loose").define()
    for kind in (strict, loose):
        published(kind)
    text = "apiVersion: {0.group}/v1\nkind: {0.kind}\nmetadata: {{name: {1}}}\nspec: {2}\n"

    assert "created" in kubectl("create", "-f", "-", stdin=text.format(strict, "good", "{foo: a}"))
    assert "configured" in kubectl("apply", "-f", "-", stdin=text.format(strict, "good", "{foo: b}"))
    unknown = kubectl("create", "-f", "-", stdin=text.format(strict, "bad", "{foo: a, bar: b}"), code=1)
    assert 'unknown field "spec.bar"' in unknown
    missing = kubectl(
        "create", "-f", "-", stdin=text.format(strict, "bad", "{cronSpec: '1 1 1 1 1'}"), code=1
    )
    assert "spec.foo: Required value" in missing
    assert "created" in kubectl("create", "-f", "-", stdin=text.format(loose, "any", "{a: {b: c}}"))
    assert "Specification of Foo" in kubectl("explain", f"foos.{strict.group}")
    assert "FIELD: foo <string>" in kubectl("explain", f"foos.{strict.group}.spec.foo")
    assert "does not exist" in kubectl("explain", f"foos.{strict.group}.spec.nothing", code=1)


@pytest.mark.kubectl
def test_kubectl_explains_what_every_object_has_in_upstreams_words(api: Api, lab: Lab, tmp_path: Any) -> None:
    kubectl = Program((client("kubectl-1.36"),), lab.kubeconfig(api.server), tmp_path)
    foo, loose = Kind(api, FOO, kind="Foo").define(), Kind(api, ANY, kind="Loose").define()
    for kind in (foo, loose):
        published(kind)
    says = {
        "": r"(?s)DESCRIPTION:.*Foo for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines.*"
        r"spec.*<Object>.*Specification of Foo",
        ".metadata": r"(?s)DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>.*"
        r"CreationTimestamp is a timestamp",
        ".spec": r"(?s)DESCRIPTION:.*Specification of Foo.*FIELDS:.*bars.*<\[\]Object>.*List of Bars",
        ".spec.bars": r"(?s)bars.*<\[\]Object>.*DESCRIPTION:.*List of Bars.*FIELDS:.*bazs.*<\[\]string>.*"
        r"List of Bazs.*name.*<string>.*Name of Bar",
    }

    for below, expected in says.items():
        assert re.search(expected, kubectl("explain", f"foos.{foo.group}{below}"))
    assert 'field "bars2" does not exist' in kubectl("explain", f"foos.{foo.group}.spec.bars2", code=1)
    assert re.search(r"(?s)DESCRIPTION:.*<empty>", kubectl("explain", f"looses.{loose.group}"))
    body = "{{apiVersion: {0.group}/v1, kind: Foo, metadata: {{name: f}}, spec: {{bars: [{{name: a, feeling: {1}}}]}}}}"
    wrong = kubectl("create", "-f", "-", stdin=body.format(foo, "Nothing"), code=1)
    assert 'Unsupported value: "Nothing"' in wrong
