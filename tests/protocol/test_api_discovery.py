"""Discovery as upstream's conformance tests read it: by version, by group, and all in one document."""

from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import Api

pytestmark = pytest.mark.etcd

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


def test_every_group_prefers_a_version_that_it_has(api: Api) -> None:
    groups = api.get("/apis")["groups"]

    assert len(groups) > 15
    for group in groups:
        found = api.get(f"/apis/{group['name']}")
        assert found["versions"]
        assert found["preferredVersion"] in found["versions"]
        assert (found["name"], found["preferredVersion"]) == (group["name"], group["preferredVersion"])


def test_every_version_of_every_group_lists_its_resources(api: Api) -> None:
    for group in api.get("/apis")["groups"]:
        for version in group["versions"]:
            assert version["groupVersion"] == f"{group['name']}/{version['version']}"
            found = api.get(f"/apis/{version['groupVersion']}")
            assert (found["kind"], found["groupVersion"]) == ("APIResourceList", version["groupVersion"])


@pytest.mark.parametrize(
    ("group_version", "resource"),
    [
        ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"),
        ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations"),
        ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
        ("apiregistration.k8s.io/v1", "apiservices"),
        ("apps/v1", "deployments"),
        ("authentication.k8s.io/v1", "tokenreviews"),
        ("authorization.k8s.io/v1", "selfsubjectaccessreviews"),
        ("autoscaling/v1", "horizontalpodautoscalers"),
        ("autoscaling/v2", "horizontalpodautoscalers"),
        ("batch/v1", "jobs"),
        ("certificates.k8s.io/v1", "certificatesigningrequests"),
        ("coordination.k8s.io/v1", "leases"),
        ("discovery.k8s.io/v1", "endpointslices"),
        ("events.k8s.io/v1", "events"),
        ("networking.k8s.io/v1", "ingresses"),
        ("node.k8s.io/v1", "runtimeclasses"),
        ("policy/v1", "poddisruptionbudgets"),
        ("rbac.authorization.k8s.io/v1", "clusterroles"),
        ("scheduling.k8s.io/v1", "priorityclasses"),
        ("storage.k8s.io/v1", "csinodes"),
    ],
)
def test_a_resource_is_found_in_its_version(api: Api, group_version: str, resource: str) -> None:
    assert resource in [found["name"] for found in api.get(f"/apis/{group_version}")["resources"]]


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_all_of_it_comes_in_the_form_that_is_asked_for(api: Api, path: str) -> None:
    answer = api.send("GET", path, accept=AGGREGATED)

    assert answer.media == AGGREGATED
    assert answer.body["kind"] == "APIGroupDiscoveryList"
    assert answer.body["apiVersion"] == "apidiscovery.k8s.io/v2"
    names = [group["metadata"].get("name", "") for group in answer.body["items"]]
    assert names == [""] if path == "/api" else {"apps", "batch", "apiextensions.k8s.io"} <= set(names)
    resources = [
        found["resource"]
        for group in answer.body["items"]
        for found_version in group["versions"]
        for found in found_version["resources"]
    ]
    assert ("pods" if path == "/api" else "deployments") in resources


def test_who_asks_for_nothing_special_gets_the_old_form(api: Api) -> None:
    assert api.send("GET", "/apis").body["kind"] == "APIGroupList"
    assert api.send("GET", "/api").body["kind"] == "APIVersions"


def test_the_server_tells_its_version_in_full(api: Api) -> None:
    found = api.get("/version")

    assert (found["major"], found["minor"]) == ("1", "36")
    assert found["gitVersion"].startswith("v1.36")
    assert {
        "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform",
    } <= found.keys()  # fmt: skip
