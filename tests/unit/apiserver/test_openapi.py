"""OpenAPI documents: complete, consistent, and in the forms that clients ask for."""

import json
from collections import Counter
from typing import Any

import pytest

from kybern.api.kinds import KINDS
from kybern.apiserver.openapi import V2_PROTOBUF, Documents
from kybern.apiserver.openapi_v2 import _definition
from kybern.apiserver.openapi_v3 import references
from kybern.apiserver.paths import Asked
from kybern.machinery import wire
from kybern.machinery.schema import Schema

DOCUMENTS = Documents(KINDS, Schema.load().definitions)


def document(name: str) -> dict[str, Any]:
    made = DOCUMENTS.v3(name)
    assert made is not None
    found: dict[str, Any] = json.loads(made.body)
    return found


def ask(path: str, accept: str = "", **headers: str) -> Any:
    return DOCUMENTS.page(
        Asked("GET", path, {}, accept, {key.replace("_", "-"): value for key, value in headers.items()})
    )


def test_the_index_names_every_group_and_version() -> None:
    index = json.loads(ask("/openapi/v3").body)["paths"]
    for kind in KINDS:
        name = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
        assert index[name]["serverRelativeURL"].startswith(f"/openapi/v3/{name}?hash=")
    assert {"api", "apis", "version", "apis/apps", "openid/v1/jwks"} <= index.keys()


@pytest.mark.parametrize("name", sorted(DOCUMENTS.sources))
def test_every_reference_of_a_document_is_in_it(name: str) -> None:
    found = document(name)
    missing = set(references(found)) - found["components"]["schemas"].keys()
    assert not missing


def test_a_kind_that_takes_any_field_says_no_more_in_version_2() -> None:
    named = {"x-kubernetes-group-version-kind": [{"group": "g", "kind": "K", "version": "v1"}]}
    taking = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}}

    assert _definition({**taking, **named}) == {"type": "object", **named}
    assert _definition({**taking, "x-kubernetes-preserve-unknown-fields": False, **named})["properties"]


def test_operations_have_names_of_their_own() -> None:
    every = json.loads(ask("/openapi/v2").body)["paths"]
    names = Counter(
        operation["operationId"]
        for path in every.values()
        for method, operation in path.items()
        if method != "parameters"
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert {
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1Node",
        "createCoreV1NamespacedPodBinding",
        "deleteAppsV1CollectionNamespacedDeployment",
        "patchAppsV1NamespacedDeploymentScale",
        "replaceRbacAuthorizationV1ClusterRole",
        "createAuthorizationV1SubjectAccessReview",
    } <= names.keys()


def test_kubectl_finds_the_kind_of_a_path_and_that_validation_can_be_asked_for() -> None:
    path = document("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert path["patch"]["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert path["patch"]["x-kubernetes-action"] == "patch"
    assert {"dryRun", "fieldValidation"} <= {each["name"] for each in path["patch"]["parameters"]}
    assert [each["name"] for each in path["parameters"]] == ["name", "namespace", "pretty"]


def test_schemas_say_how_lists_are_patched() -> None:
    schemas = document("api/v1")["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"] == [
        {"group": "", "kind": "Pod", "version": "v1"}
    ]
    assert schemas["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}
    ]


def test_the_second_version_is_there_as_protobuf_too() -> None:
    plain = json.loads(ask("/openapi/v2").body)
    answer = ask("/openapi/v2", f"{V2_PROTOBUF},application/json")
    assert answer.content_type == V2_PROTOBUF
    fields = {number: value for number, _, value in wire.fields(answer.body)}
    paths, definitions = fields[8], fields[9]
    assert isinstance(paths, bytes)
    assert isinstance(definitions, bytes)
    names = [
        wire.binary(next(iter(wire.fields(wire.binary(each))))[2]).decode()
        for _, _, each in wire.fields(definitions)
    ]
    assert names == list(plain["definitions"])
    assert len(list(wire.fields(paths))) == len(plain["paths"])


def test_what_is_known_is_not_sent_again() -> None:
    first = ask("/openapi/v3/apis/apps/v1")
    assert first.code == 200
    again = ask("/openapi/v3/apis/apps/v1", If_None_Match=first.headers["Etag"])
    assert (again.code, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "accept", "code"),
    [
        ("/openapi/v3/apis/nosuch/v1", "", 404),
        ("/openapi/nosuch", "", 404),
        ("/openapi/v2", "bogus/type", 406),
    ],
)
def test_what_is_not_there_is_refused(path: str, accept: str, code: int) -> None:
    assert ask(path, accept).code == code


def test_who_asks_for_a_former_document_is_sent_to_the_present_one() -> None:
    present = json.loads(ask("/openapi/v3").body)["paths"]["apis/apps/v1"]["serverRelativeURL"]
    path, _, own = present.partition("?hash=")
    moved = DOCUMENTS.page(Asked("GET", path, {"hash": "FORMER"}, ""))
    kept = DOCUMENTS.page(Asked("GET", path, {"hash": own}, ""))

    assert (moved.code, moved.headers["Location"]) == (301, present)
    assert (kept.code, kept.headers["Cache-Control"]) == (200, "public, immutable")


@pytest.mark.parametrize(
    ("accept", "code"),
    [("", 200), ("text/html", 406), ("text/html, */*;q=0.1", 200), ("application/json", 200)],
)
def test_a_document_has_the_forms_that_it_has(accept: str, code: int) -> None:
    assert ask("/openapi/v3/apis/apps/v1", accept).code == code
