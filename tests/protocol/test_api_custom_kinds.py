"""Custom kinds as upstream's conformance tests use them: definitions, defaults, strictness and what OpenAPI says."""

import itertools
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import client
from tests.protocol.requests_bed import APPLY, Api, Raw
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NUMBERS = itertools.count()
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRON = r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"
PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    "items": {
        "type": "object",
        "required": ["containerPort", "protocol"],
        "properties": {
            "name": {"type": "string"},
            "protocol": {"type": "string"},
            "containerPort": {"type": "integer", "format": "int32"},
        },
    },
}
FIELDS = {"foo": {"type": "string"}, "cronSpec": {"type": "string", "pattern": CRON}, "ports": PORTS}


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


def with_spec(**more: Any) -> Raw:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": FIELDS, **more}}}


class Kind:
    """A cluster-scoped kind of a group of its own, or of one that is named."""

    def __init__(self, api: Api, *schemas: Raw, group: str = "", kind: str = "Noxu") -> None:
        self.api = api
        self.group = group or f"g{next(NUMBERS)}.example.com"
        self.kind, self.plural = kind, f"{kind.lower()}s"
        versions = [
            {
                "name": f"v{number}",
                "served": True,
                "storage": number == 1,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            }
            for number, schema in enumerate(schemas or (ANY,), 1)
        ]
        names_ = {"plural": self.plural, "kind": kind}
        self.body: Raw = {
            "metadata": {"name": f"{self.plural}.{self.group}", "labels": {"kind": kind.lower()}},
            "spec": {"group": self.group, "scope": "Cluster", "names": names_, "versions": versions},
        }

    @property
    def definition(self) -> str:
        return f"{CRDS}/{self.plural}.{self.group}"

    def path(self, version: str = "v1") -> str:
        return f"/apis/{self.group}/{version}/{self.plural}"

    def define(self) -> "Kind":
        self.api.create(CRDS, self.body)
        until(lambda: self.api.code(self.path()) == 200)
        return self

    def named(self, version: str = "v1") -> str:
        """Its name in OpenAPI v2."""
        return f"{'.'.join(reversed(self.group.split('.')))}.{version}.{self.kind}"

    def published(self, version: str = "v1") -> Raw | None:
        found: Raw | None = self.api.get("/openapi/v2")["definitions"].get(self.named(version))
        return found

    def apply(self, text: str, validation: str = "Strict") -> Any:
        metadata = "metadata:\n  name: mytest\n  finalizers:\n  - test-finalizer\n"
        whole = f"apiVersion: {self.group}/v1\nkind: {self.kind}\n{metadata}{text}"
        query = {"fieldManager": "field_validation_mgr", "fieldValidation": validation}
        return self.api.send("PATCH", f"{self.path()}/mytest", whole, APPLY, **query)


def test_a_definition_is_made_listed_and_deleted(api: Api) -> None:
    kinds = [Kind(api, kind=f"Listed{letter}").define() for letter in "abc"]
    api.patch(kinds[0].definition, {"metadata": {"labels": {"group": "one"}}})
    api.patch(kinds[1].definition, {"metadata": {"labels": {"group": "one"}}})

    found = api.get(CRDS, labelSelector="group=one")["items"]
    assert [item["metadata"]["name"] for item in found] == [
        each.body["metadata"]["name"] for each in kinds[:2]
    ]
    assert api.get(kinds[0].definition)["metadata"]["uid"] == found[0]["metadata"]["uid"]
    api.delete(CRDS, labelSelector="group=one")
    until(lambda: api.get(CRDS, labelSelector="group=one")["items"] == [])
    assert api.code(kinds[2].definition) == 200
    api.delete(kinds[2].definition)
    until(lambda: api.code(kinds[2].definition) == 404)


def test_the_status_of_a_definition_is_read_patched_and_updated(api: Api) -> None:
    kind = Kind(api).define()
    found = api.get(f"{kind.definition}/status")
    assert {"Established", "NamesAccepted"} <= {each["type"] for each in found["status"]["conditions"]}

    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
    found["status"]["conditions"].append(condition)
    updated = api.update(f"{kind.definition}/status", found)
    assert "StatusUpdate" in [each["type"] for each in updated["status"]["conditions"]]
    whole = [{**condition, "type": "StatusPatched"}]
    patched = api.patch(f"{kind.definition}/status", {"status": {"conditions": whole}})
    assert "StatusPatched" in [each["type"] for each in patched["status"]["conditions"]]


def test_definitions_are_in_discovery_and_so_are_their_kinds(api: Api) -> None:
    kind = Kind(api).define()
    group = next(each for each in api.get("/apis")["groups"] if each["name"] == "apiextensions.k8s.io")
    assert [each["groupVersion"] for each in group["versions"]] == ["apiextensions.k8s.io/v1"]
    assert api.get("/apis/apiextensions.k8s.io")["versions"] == group["versions"]
    resources = [each["name"] for each in api.get("/apis/apiextensions.k8s.io/v1")["resources"]]
    assert {"customresourcedefinitions", "customresourcedefinitions/status"} <= set(resources)
    found = api.get(f"/apis/{kind.group}/v1")["resources"]
    assert [(each["name"], each["kind"]) for each in found] == [("noxus", "Noxu"), ("noxus/status", "Noxu")]


def test_custom_objects_are_watched(api: Api) -> None:
    kind = Kind(api).define()
    with api.watch(kind.path(), fieldSelector="metadata.name=a") as events:
        for name in ("a", "b"):
            body = {"apiVersion": f"{kind.group}/v1", "kind": "Noxu", "metadata": {"name": name}}
            api.create(kind.path(), body)
        api.patch(f"{kind.path()}/a", {"content": "x"})
        api.delete(f"{kind.path()}/b")
        api.delete(f"{kind.path()}/a")
        seen = [next(events) for _ in range(3)]
    assert [(type_, each["metadata"]["name"]) for type_, each in seen] == [
        ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"),
    ]  # fmt: skip


def test_defaults_are_given_to_requests_and_to_what_is_stored(api: Api) -> None:
    schema: Raw = {
        "type": "object",
        "properties": {"a": {"type": "string", "default": "A"}, "b": {"type": "string"}},
    }
    kind = Kind(api, schema).define()
    head = {"apiVersion": f"{kind.group}/v1", "kind": "Noxu"}
    assert api.create(kind.path(), {**head, "metadata": {"name": "one"}})["a"] == "A"

    change = [
        {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/b/default", "value": "B"}
    ]
    api.patch(kind.definition, change, "application/json-patch+json")
    until(lambda: "b" in api.get(f"{kind.path()}/one"))
    assert (api.get(f"{kind.path()}/one")["a"], api.get(f"{kind.path()}/one")["b"]) == ("A", "B")
    made = api.create(kind.path(), {**head, "metadata": {"name": "two"}, "a": "own"})
    assert (made["a"], made["b"]) == ("own", "B")
    gone = [
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/a/default"},
        {
            "op": "replace",
            "path": "/spec/versions/0/schema/openAPIV3Schema/properties/b/default",
            "value": "C",
        },
    ]
    api.patch(kind.definition, gone, "application/json-patch+json")
    until(lambda: api.get(f"{kind.path()}/one")["b"] == "C")
    assert api.get(f"{kind.path()}/two")["b"] == "B"  # it was stored with it
    assert api.get(f"{kind.path()}/one")["a"] == "A"  # and so was this


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


def published(kind: Kind, version: str = "v1") -> Raw:
    """What OpenAPI v2 says of a kind; it is there within a second, or soon on a busy machine."""
    until(lambda: kind.published(version) is not None)
    found = kind.published(version)
    assert found is not None
    return found


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
