"""Definitions and objects of custom kinds as upstream's conformance tests use them."""

from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.custom_bed import CRDS, Kind
from tests.protocol.requests_bed import JSON_PATCH, Api, Raw
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


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
    # Conditions that say next to nothing are taken as well.
    bare = [{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]
    patched = api.patch(f"{kind.definition}/status", bare, JSON_PATCH)
    assert "patched" in [each.get("message") for each in patched["status"]["conditions"]]


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
    api.patch(kind.definition, change, JSON_PATCH)
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
    api.patch(kind.definition, gone, JSON_PATCH)
    until(lambda: api.get(f"{kind.path()}/one")["b"] == "C")
    assert api.get(f"{kind.path()}/two")["b"] == "B"  # it was stored with it
    assert api.get(f"{kind.path()}/one")["a"] == "A"  # and so was this
