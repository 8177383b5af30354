"""What upstream's conformance tests ask of the API server alone, beside what goes through all verbs of a kind.

Each test stands for one or more of upstream's (``tests/data/conformance.json``).
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.custom_bed import ANY, Kind
from tests.protocol.requests_bed import MERGE, STRATEGIC, Api, Raw
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What a client in Go asks for: the new form, its beta, and else the old one.
AS_CLIENTS_DO = f"{AGGREGATED},{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
PODS = "/api/v1/namespaces/here/pods"


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    found = Api(server)
    found.namespace("here")
    return found


def listed(api: Api, path: str, accept: str) -> set[tuple[str, str, str]]:
    """Group, version and plural of all resources in the aggregated form."""
    return {
        (group["metadata"].get("name", ""), version["version"], found["resource"])
        for group in api.send("GET", path, accept=accept).ok()["items"]
        for version in group["versions"]
        for found in version["resources"]
    }


@pytest.mark.parametrize("accept", [AGGREGATED, AS_CLIENTS_DO], ids=["raw", "client"])
def test_kinds_of_its_own_and_of_others_are_in_the_aggregated_form(api: Api, accept: str) -> None:
    kind = Kind(api, ANY).define()
    until(lambda: (kind.group, "v1", kind.plural) in listed(api, "/apis", accept))

    assert ("", "v1", "namespaces") in listed(api, "/api", accept)
    known = listed(api, "/apis", accept)
    for group in api.get("/apis")["groups"]:
        for version in group["versions"]:
            resources = api.get(f"/apis/{version['groupVersion']}")["resources"]
            plurals = {found["name"] for found in resources if "/" not in found["name"]}
            assert plurals == {
                plural for name, v, plural in known if (name, v) == (group["name"], version["version"])
            }


def pod(name: str, **more: Any) -> Raw:
    containers = [{"name": "c", "image": "registry.example.com/app:1"}]
    return {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": containers, **more}}


def ran(api: Api, body: Raw) -> Raw:
    """A pod that a kubelet said is running."""
    made: Raw = api.create(PODS, body)
    api.patch(f"{PODS}/{made['metadata']['name']}/status", {"status": {"phase": "Running"}})
    return made


def set_tolerations(found: Raw) -> None:
    """Only the new one: those that admission gave before are not among them."""
    only = {"key": "foo-1", "operator": "Equal", "value": "bar", "effect": "NoSchedule"}
    found["spec"]["tolerations"] = [only]


UPDATES: tuple[tuple[str, Callable[[Raw], Any], int], ...] = (
    ("nothing", lambda _found: None, 0),
    ("tolerations", set_tolerations, 1),
    ("deadline", lambda found: found["spec"].update(activeDeadlineSeconds=5000), 1),
    ("image", lambda found: found["spec"]["containers"][0].update(image="registry.example.com/b:1"), 1),
    ("init image", lambda found: found["spec"]["initContainers"][0].update(image="registry.example.com/c:1"), 1),
    ("metadata", lambda found: found["metadata"].update(annotations={"key": "value"}), 0),
    ("generation", lambda found: found["metadata"].update(generation=1), 0),
)  # fmt: skip


def test_each_change_of_its_spec_is_a_pods_next_generation(api: Api) -> None:
    init = [{"name": "init-container", "image": "registry.example.com/app:1"}]
    expected = ran(api, pod("counted", initContainers=init))["metadata"]["generation"]
    assert expected == 1

    for what, change, more in UPDATES:

        def changed(found: Raw, change: Callable[[Raw], Any] = change) -> Raw:
            change(found)
            return found

        written = api.changed(f"{PODS}/counted", changed)
        expected += more
        assert (what, written["metadata"]["generation"]) == (what, expected)
        assert api.get(f"{PODS}/counted")["metadata"]["generation"] == expected
    tolerated = {one["key"] for one in api.get(f"{PODS}/counted")["spec"]["tolerations"]}
    assert tolerated == {"foo-1", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


def test_the_status_of_a_pod_is_patched(api: Api) -> None:
    ran(api, pod("told"))
    # As a client in Go writes a status of which two fields are set.
    status = {"message": "Patched by e2e test", "reason": "E2E"}
    patched = api.patch(f"{PODS}/told/status", {"status": status}, STRATEGIC)

    assert status.items() <= patched["status"].items()
    assert status.items() <= api.get(f"{PODS}/told")["status"].items()
    assert patched["status"]["phase"] == "Running"


def test_containers_to_look_into_a_pod_are_added_by_patch_and_by_update(api: Api) -> None:
    assert ran(api, pod("looked-into"))["metadata"]["generation"] == 1
    path = f"{PODS}/looked-into/ephemeralcontainers"
    first = {
        "name": "debugger", "image": "registry.example.com/app:1", "command": ["/bin/sh"], "stdin": True, "tty": True,
        "resources": {},
    }  # fmt: skip
    patched = api.patch(path, {"spec": {"ephemeralContainers": [first]}}, STRATEGIC)
    assert patched["metadata"]["generation"] == 2
    found = api.get(path)
    assert found["kind"] == "Pod"
    assert [one["name"] for one in found["spec"]["ephemeralContainers"]] == ["debugger"]

    second = {
        "name": "debugger2", "image": "registry.example.com/b:1", "resources": {}, "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "File",
    }  # fmt: skip
    found["spec"]["ephemeralContainers"].append(second)
    updated = api.update(path, found)
    assert updated["metadata"]["generation"] == 3
    names = [one["name"] for one in api.get(path)["spec"]["ephemeralContainers"]]
    assert names == ["debugger", "debugger2"]
    # They are there for good: what is left out or changed is refused.
    for wrong in ([first], [{**first, "image": "registry.example.com/d:1"}, second]):
        body = {**updated, "spec": {**updated["spec"], "ephemeralContainers": wrong}}
        assert api.send("PUT", path, body).code == 422


def test_every_account_may_read_who_issues_tokens(api: Api) -> None:
    review = {
        "spec": {
            "user": "system:serviceaccount:here:default",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:here", "system:authenticated"],
        }
    }
    for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
        asked = {"spec": {**review["spec"], "nonResourceAttributes": {"path": path, "verb": "get"}}}
        answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
        assert (path, answer["status"]["allowed"]) == (path, True)


def test_a_template_is_replaced_with_another_annotation(api: Api) -> None:
    path = "/api/v1/namespaces/here/podtemplates"
    containers = [{"name": "e2e-test", "image": "registry.example.com/app:1"}]
    made = api.create(path, {"metadata": {"name": "t"}, "template": {"spec": {"containers": containers}}})
    made["metadata"]["annotations"] = {"updated": "true"}
    assert api.update(f"{path}/t", made)["metadata"]["annotations"] == {"updated": "true"}


def test_a_config_map_is_updated(api: Api) -> None:
    path = "/api/v1/namespaces/here/configmaps"
    made = api.create(path, {"metadata": {"name": "cm"}, "data": {"data-1": "value-1"}})
    updated = api.update(f"{path}/cm", {**made, "data": {"data-1": "value-1", "data": "value"}})
    assert updated["data"] == {"data-1": "value-1", "data": "value"}
    assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    again = api.patch(f"{path}/cm", json.loads('{"data": {"data": null}}'), MERGE)
    assert again["data"] == {"data-1": "value-1"}
