"""What aggregated servers say that they serve, as part of one API."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver import discovery
from kybern.apiserver.aggregation import lessons
from kybern.apiserver.aggregation.lessons import Foreign, Lesson
from kybern.apiserver.aggregation.remote import Remote, Trust
from kybern.apiserver.route import Table

REMOTE = Remote("g.example", "v1", "a", "b", 443, Trust("b.a.svc"), True, 2000, 20)


def test_a_list_of_resources_becomes_the_newer_form() -> None:
    thing = {
        "name": "things",
        "singularName": "thing",
        "kind": "Thing",
        "verbs": ["get"],
        "categories": ["all"],
    }
    scale = {
        "name": "things/scale",
        "kind": "Scale",
        "group": "autoscaling",
        "version": "v1",
        "verbs": ["get"],
    }
    (found,) = lessons.of_legacy(json.dumps({"resources": [scale, thing]}).encode(), REMOTE)
    assert (found["resource"], found["scope"], found["categories"]) == ("things", "Cluster", ["all"])
    assert found["subresources"][0]["responseKind"] == {
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_resource_is_whole_wherever_its_subresources_stand(order: int) -> None:
    resources = [
        {"name": "things", "namespaced": True, "kind": "Thing", "verbs": ["get"]},
        {"name": "things/status", "namespaced": True, "kind": "Thing", "verbs": ["get"]},
    ][::order]
    (found,) = lessons.of_legacy(json.dumps({"resources": resources}).encode(), REMOTE)
    assert found["responseKind"] == {"group": "g.example", "version": "v1", "kind": "Thing"}
    assert (found["scope"], found["subresources"][0]["subresource"]) == ("Namespaced", "status")


def test_only_the_group_version_is_taken_of_an_aggregated_list() -> None:
    versions = [{"version": "v2"}, {"version": "v1", "resources": [{"resource": "things"}]}]
    body = {
        "items": [{"metadata": {"name": "other"}}, {"metadata": {"name": "g.example"}, "versions": versions}]
    }
    assert lessons.of_aggregated(json.dumps(body).encode(), REMOTE) == ({"resource": "things"},)
    assert lessons.of_aggregated(b'{"items":[]}', REMOTE) is None
    assert lessons.of_aggregated(b"no json", REMOTE) is None


def reference(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/definitions/{name}"}}


def test_openapi_takes_the_paths_of_the_group_and_what_they_reach() -> None:
    document = {
        "paths": {
            "/apis/g.example/v1/": reference("A"),
            "/apis/g.example/v11/": {},
            "/apis/g.example/v1": {},
        },
        "definitions": {"A": reference("B"), "B": {"type": "string"}, "C": {}},
    }
    paths, definitions = lessons.of_v2(json.dumps(document).encode(), REMOTE)
    assert paths.keys() == {"/apis/g.example/v1/", "/apis/g.example/v1"}
    assert definitions.keys() == {"A", "B"}


def test_shared_parameters_stand_in_each_place() -> None:
    document = {
        "paths": {"/apis/g.example/v1/": {"parameters": [{"$ref": "#/parameters/a"}, {"in": "path"}]}},
        "parameters": {"a": {"in": "query", "name": "a"}},
    }
    paths, _ = lessons.of_v2(json.dumps(document).encode(), REMOTE)
    assert paths == {"/apis/g.example/v1/": {"parameters": [{"in": "query", "name": "a"}, {"in": "path"}]}}


def test_only_what_has_the_right_shape_is_told_on() -> None:
    good = {"resource": "a", "responseKind": {"group": "", "version": "v1", "kind": "A"}, "verbs": ["get"]}
    assert lessons.told([good | {"more": 1}]) == (good,)
    for bad in ("a", {"resource": 1}, {"resource": "a", "verbs": "get"}, {}):
        with pytest.raises(msgspec.ValidationError):
            lessons.told([bad])


def test_another_definition_of_a_name_gets_a_name_of_its_own() -> None:
    own = {
        "swagger": "2.0",
        "paths": {"/x": {}},
        "definitions": {"A": {"type": "string"}, "B": {"type": "string"}},
    }
    theirs = Lesson(
        paths={"/y": [reference("A"), reference("B")], "/x": {"get": {}}},
        definitions={"A": {"type": "object", "properties": {"b": reference("B")}}, "B": {"type": "string"}},
    )
    found = lessons.joined(own, [theirs])
    assert found["paths"] == {"/x": {}, "/y": [reference("A_v2"), reference("B")]}
    assert found["definitions"].keys() == {"A", "A_v2", "B"}
    assert found["swagger"] == "2.0"
    assert own["paths"] == {"/x": {}}, "our own document is as it was"


def test_the_index_names_documents_by_what_is_in_them() -> None:
    one = lessons.index({"apis/g/v1": Lesson(v3=b"a"), "apis/g/v2": Lesson()})
    other = lessons.index({"apis/g/v1": Lesson(v3=b"b")})
    assert one.keys() == other.keys() == {"apis/g/v1"}
    assert one != other


def test_what_is_not_available_is_stale() -> None:
    lesson = Lesson(({"resource": "things"},), fresh=True)
    assert lessons.foreign(REMOTE, lesson).fresh
    gone = lessons.foreign(replace(REMOTE, available=False), lesson)
    assert (gone.fresh, gone.resources) == (False, ({"resource": "things"},))
    assert not lessons.foreign(REMOTE, None).fresh


ORDER = [
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
    "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
]  # fmt: skip


def test_groups_stand_in_upstreams_order_and_others_by_their_numbers() -> None:
    table = Table.of(KINDS)
    assert list(discovery.groups(table)) == ORDER
    others = [
        Foreign(f"{n}.example", "v1", number, 1, (), True) for n, number in {"low": 10, "high": 17790}.items()
    ]
    assert list(discovery.groups(table, others)) == [*ORDER[:2], "high.example", *ORDER[2:], "low.example"]


def test_a_groups_preferred_version_has_the_highest_number() -> None:
    versions = [Foreign("g", f"v{n}", 1, number, (), True) for n, number in ((1, 10), (2, 5), (3, 10))]
    found = discovery.group(Table(), "g", versions)
    assert found is not None
    assert [one["version"] for one in found["versions"]] == ["v3", "v1", "v2"]
    assert found["preferredVersion"]["version"] == "v3"
    (item,) = discovery.aggregated(True, Table(), versions[:1])["items"]
    assert item["versions"] == [{"version": "v1", "resources": [], "freshness": "Current"}]
