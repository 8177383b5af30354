"""What upstream's conformance tests ask of namespaces, configuration, events, endpoints and pods that are refused."""

from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.requests_bed import JSON_PATCH, STRATEGIC, Api, Raw, names
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd

IMAGE = "registry.example.com/app:1"
NODE = "/apis/node.k8s.io/v1/runtimeclasses"


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    server: Server = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    return Api(server)


@pytest.fixture(scope="module")
def home(api: Api) -> str:
    return api.namespace("objects")


def pod(name: str, **spec: Any) -> Raw:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": IMAGE}], **spec}}


def test_a_namespace_takes_labels_by_patch_and_by_update(api: Api) -> None:
    path = api.namespace("labelled")

    patched = api.patch(path, {"metadata": {"labels": {"testLabel": "testValue"}}}, STRATEGIC)
    assert api.get(path)["metadata"]["labels"]["testLabel"] == "testValue"
    patched["metadata"]["labels"]["labelled"] = "updated"
    assert api.update(path, patched)["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": "labelled",
        "testLabel": "testValue",
        "labelled": "updated",
    }


def test_a_namespace_status_is_read_patched_and_updated(api: Api) -> None:
    path = api.namespace("conditioned")
    assert api.get(f"{path}/status")["status"]["phase"] == "Active"

    one = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched"}
    change = {"metadata": {"annotations": {"patched": "true"}}, "status": {"conditions": [one]}}
    patched = api.patch(f"{path}/status", change)
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    assert [found["type"] for found in patched["status"]["conditions"]] == ["StatusPatch"]
    patched["status"]["conditions"].append({**one, "type": "StatusUpdate"})
    updated = api.update(f"{path}/status", patched)
    assert [found["type"] for found in updated["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]


def test_a_finalizer_is_given_to_a_namespace_and_taken(api: Api) -> None:
    path = api.namespace("finalized")
    found = api.get(path)
    assert found["spec"]["finalizers"] == ["kubernetes"]

    found["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
    finalized = api.update(f"{path}/finalize", found)
    assert finalized["spec"]["finalizers"] == ["kubernetes", "e2e.example.com/fakeFinalizer"]
    # An ordinary update has no say in them.
    assert api.update(path, {**api.get(path), "spec": {}})["spec"] == finalized["spec"]
    removed = api.update(f"{path}/finalize", {**api.get(path), "spec": {"finalizers": ["kubernetes"]}})
    assert api.get(path)["spec"] == removed["spec"] == {"finalizers": ["kubernetes"]}


@pytest.mark.parametrize(("plural", "value"), [("configmaps", "value-1"), ("secrets", "dmFsdWUtMQ==")])
def test_a_key_that_is_empty_is_refused(api: Api, home: str, plural: str, value: str) -> None:
    refused = api.send("POST", f"{home}/{plural}", {"metadata": {"name": "empty"}, "data": {"": value}})

    assert refused.code == 422
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == ["data[]"]


@pytest.mark.parametrize(("plural", "one", "two"), [("configmaps", "v1", "v2"), ("secrets", "djE=", "djI=")])
def test_what_is_immutable_changes_no_more_but_goes(
    api: Api, home: str, plural: str, one: str, two: str
) -> None:
    path = f"{home}/{plural}/fixed"
    made = api.create(f"{home}/{plural}", {"metadata": {"name": "fixed"}, "data": {"k1": one, "k2": one}})
    changed = api.update(path, {**made, "data": {"k1": two, "k2": one}})
    fixed = api.update(path, {**changed, "immutable": True})

    for wrong in (
        {**fixed, "immutable": False},
        {**fixed, "data": {"k1": one, "k2": one}},
        {**fixed, "data": {"k1": two}},
    ):
        refused = api.send("PUT", path, wrong)
        assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert api.get(path)["data"] == {"k1": two, "k2": one}
    assert api.update(path, {**fixed, "metadata": {**fixed["metadata"], "labels": {"a": "b"}}})
    api.delete(path)
    assert api.code(path) == 404


@pytest.mark.parametrize(("plural", "one", "two"), [("configmaps", "v1", "v2"), ("secrets", "djE=", "djI=")])
def test_it_is_found_in_all_namespaces_patched_and_deleted_by_its_label(
    api: Api, home: str, plural: str, one: str, two: str
) -> None:
    labels = {"testconstant": "true"}
    api.create(f"{home}/{plural}", {"metadata": {"name": "test", "labels": labels}, "data": {"key": one}})
    everywhere, selected = f"/api/v1/{plural}", {"labelSelector": "testconstant=true"}
    assert names(api.get(everywhere, **selected)) == ["test"]

    change = {"metadata": {"labels": {"patched": "true"}}, "data": {"key": two}}
    api.patch(f"{home}/{plural}/test", change, STRATEGIC)
    found = api.get(everywhere, labelSelector="testconstant=true,patched=true")["items"][0]
    assert found["data"] == {"key": two}
    api.delete(f"{home}/{plural}", **selected)
    assert names(api.get(everywhere, labelSelector="patched=true")) == []


def test_services_of_all_namespaces_are_one_list(api: Api) -> None:
    found = [item["metadata"] for item in api.get("/api/v1/services")["items"]]

    assert ("default", "kubernetes") in [(item["namespace"], item["name"]) for item in found]


def test_the_masters_service_is_secure(api: Api) -> None:
    assert [
        port["name"] for port in api.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["ports"]
    ] == ["https"]


def test_a_service_and_its_status_live_from_create_to_delete(api: Api, home: str) -> None:
    one, label = f"{home}/services/status", "test-service-static=true"
    spec = {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "targetPort": 80}]}
    with api.watch(f"{home}/services", labelSelector=label) as events:
        metadata = {"name": "status", "labels": {"test-service-static": "true"}}
        api.create(f"{home}/services", {"metadata": metadata, "spec": spec})
        ingress = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
        body = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": ingress}
        patched = api.patch(f"{one}/status", body, STRATEGIC)
        assert patched["metadata"]["annotations"] == {"patchedstatus": "true"}
        assert patched["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
        said = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
        found = api.get(f"{one}/status")
        found["status"]["conditions"] = [said]
        # As Go says that no time is given.
        assert api.update(f"{one}/status", found)["status"]["conditions"] == [
            {**said, "lastTransitionTime": None}
        ]
        api.patch(one, {"metadata": {"labels": {"test-service": "patched"}}}, STRATEGIC)
        api.delete(f"{home}/services", labelSelector=label)
        assert [next(events)[0] for _ in range(5)] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]


def test_services_are_deleted_as_a_collection(api: Api, home: str) -> None:
    for number in range(3):
        metadata = {"name": f"set-{number}", "labels": {"set": "services"}}
        api.create(f"{home}/services", {"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    assert len(api.get(f"{home}/services", labelSelector="set=services")["items"]) == 3

    api.delete(f"{home}/services", labelSelector="set=services")
    assert api.get(f"{home}/services", labelSelector="set=services")["items"] == []


def endpoints(address: str, port: int) -> list[Raw]:
    return [{"addresses": [{"ip": address}], "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}]


def test_endpoints_live_from_create_to_delete(api: Api, home: str) -> None:
    selected = {"labelSelector": "test-endpoint-static=true"}
    with api.watch("/api/v1/endpoints", **selected) as events:
        body = {"metadata": {"name": "e", "labels": {"test-endpoint-static": "true"}}}
        made = api.create(f"{home}/endpoints", {**body, "subsets": endpoints("10.0.0.24", 80)})
        assert next(events)[0] == "ADDED"
        assert names(api.get("/api/v1/endpoints", **selected)) == ["e"]

        made["metadata"]["labels"]["test-service"] = "updated"
        api.update(f"{home}/endpoints/e", made)
        kind, seen = next(events)
        assert (kind, seen["metadata"]["labels"]["test-service"]) == ("MODIFIED", "updated")
        assert api.get(f"{home}/endpoints/e")["metadata"]["labels"]["test-service"] == "updated"

        change = {
            "metadata": {"labels": {"test-service": "patched"}},
            "subsets": endpoints("10.0.0.25", 8080),
        }
        api.patch(f"{home}/endpoints/e", change, STRATEGIC)
        kind, seen = next(events)
        assert (kind, seen["subsets"]) == ("MODIFIED", endpoints("10.0.0.25", 8080))

        api.delete(f"{home}/endpoints", **selected)
        assert next(events)[0] == "DELETED"
    assert api.code(f"{home}/endpoints/e") == 404


def core_event(name: str, home: str) -> Raw:
    involved = {"kind": "Pod", "name": "p", "namespace": home.rpartition("/")[2]}
    return {
        "metadata": {"name": name, "labels": {"testevent-constant": "true"}},
        "message": "This is a test event",
        "reason": "Test",
        "type": "Normal",
        "count": 1,
        "involvedObject": involved,
    }


def new_event(name: str, home: str) -> Raw:
    return {
        "metadata": {"name": name, "labels": {"testevent-constant": "true"}},
        "regarding": {"kind": "Pod", "name": "p", "namespace": home.rpartition("/")[2]},
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "note": f"This is {name}",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
    }


def test_an_event_is_patched_updated_and_deleted(api: Api) -> None:
    home = api.namespace("event-core")
    one, selected = f"{home}/events/core", {"labelSelector": "testevent-constant=true"}
    made = api.create(f"{home}/events", core_event("core", home))
    assert "core" in names(api.get("/api/v1/events", **selected))

    api.patch(one, {"message": "This is a test event - patched"}, STRATEGIC)
    patched = api.get(one)
    assert patched["message"] == "This is a test event - patched"
    patched["series"] = {"count": 100, "lastObservedTime": "2026-01-02T03:04:05.123456Z"}
    assert api.update(one, patched)["series"] == patched["series"]
    assert api.get(one)["metadata"]["uid"] == made["metadata"]["uid"]
    api.delete(one)
    assert "core" not in names(api.get("/api/v1/events", **selected))


def test_an_event_of_the_new_group_is_the_same_in_both(api: Api) -> None:
    home = api.namespace("event-new")
    path = home.replace("/api/v1", "/apis/events.k8s.io/v1") + "/events"
    one = f"{path}/new"
    made = api.create(path, new_event("new", home))

    assert "new" in names(api.get("/apis/events.k8s.io/v1/events", labelSelector="testevent-constant=true"))
    assert names(api.get(f"{home}/events", fieldSelector="source=test-controller")) == ["new"]
    for selector in ("reportingController=test-controller", "regarding.name=p", "reason!=Other"):
        assert names(api.get(path, fieldSelector=selector)) == ["new"]
    assert names(api.get(path, fieldSelector="reportingController=another")) == []
    assert api.get(f"{home}/events/new")["message"] == "This is new"

    note = {"note": "This is a test event - patched"}
    patched = api.patch(one, note, STRATEGIC)
    assert api.get(one) == patched
    same = {key: value for key, value in patched.items() if key != "metadata"}
    assert same == {key: value for key, value in made.items() if key != "metadata"} | note
    patched["series"] = {"count": 100, "lastObservedTime": "2026-01-02T03:04:06.000006Z"}
    assert api.update(one, patched)["series"] == api.get(one)["series"] == patched["series"]
    api.delete(one)
    assert names(api.get(path)) == []


@pytest.mark.parametrize(("group", "event"), [("/apis/events.k8s.io/v1", new_event), ("/api/v1", core_event)])
def test_an_event_is_replaced_by_who_names_no_version(api: Api, group: str, event: Any) -> None:
    home = api.namespace(f"replaced-{event.__name__.replace('_', '-')}")
    path = home.replace("/api/v1", group) + "/events"
    body = event("plain", home)
    about = "regarding" if "regarding" in body else "involvedObject"
    body[about] = {"namespace": home.rpartition("/")[2]}
    found = api.create(path, body)
    for key in ("resourceVersion", "managedFields"):
        found["metadata"].pop(key)
    found["series"] = {"count": 100, "lastObservedTime": "2017-09-19T13:49:16.000000Z"}

    api.update(f"{path}/plain", found)
    again = api.get(f"{path}/plain")
    for key in ("resourceVersion", "managedFields"):
        again["metadata"].pop(key)
    assert again == found


@pytest.mark.parametrize(("group", "event"), [("/apis/events.k8s.io/v1", new_event), ("/api/v1", core_event)])
def test_events_are_deleted_as_a_collection(api: Api, group: str, event: Any) -> None:
    home = api.namespace(f"set-of-{event.__name__.replace('_', '-')}s")
    path = home.replace("/api/v1", group) + "/events"
    for number in range(3):
        api.create(path, event(f"set-{number}", home))
    assert len(api.get(path, labelSelector="testevent-constant=true")["items"]) == 3

    api.delete(path, labelSelector="testevent-constant=true")
    assert api.get(path, labelSelector="testevent-constant=true")["items"] == []


def test_a_pod_of_a_runtime_class_that_is_not_there_is_refused(api: Api, home: str) -> None:
    refused = api.send("POST", f"{home}/pods", pod("rc", runtimeClassName="nonexistent"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert 'RuntimeClass "nonexistent" not found' in refused.body["message"]

    api.create(NODE, {"metadata": {"name": "passing"}, "handler": "some"})
    assert api.create(f"{home}/pods", pod("rc", runtimeClassName="passing"))["spec"]["runtimeClassName"]
    api.delete(f"{NODE}/passing")
    refused = api.send("POST", f"{home}/pods", pod("rc-late", runtimeClassName="passing"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")


def test_a_runtime_class_gives_its_overhead_and_refuses_another(api: Api, home: str) -> None:
    body = {"metadata": {"name": "heavy"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}}}
    api.create(NODE, body)

    assert api.create(f"{home}/pods", pod("heavy", runtimeClassName="heavy"))["spec"]["overhead"] == {
        "cpu": "10m"
    }
    wrong = pod("wrong", runtimeClassName="heavy", overhead={"cpu": "1"})
    assert api.send("POST", f"{home}/pods", wrong).code == 403


def test_sysctls_that_are_none_are_refused_and_only_they(api: Api, home: str) -> None:
    wanted = {"foo-": "bar", "kernel.shmmax": "100000000", "safe-and-unsafe": "100000000", "bar..": "42"}
    sysctls = [{"name": name, "value": value} for name, value in wanted.items()]
    refused = api.send("POST", f"{home}/pods", pod("sysctls", securityContext={"sysctls": sysctls}))

    assert refused.code == 422
    assert 'Invalid value: "foo-"' in refused.body["message"]
    assert 'Invalid value: "bar.."' in refused.body["message"]
    assert "safe-and-unsafe" not in refused.body["message"]
    assert "kernel.shmmax" not in refused.body["message"]


def test_a_pod_may_bring_its_own_csi_volume(api: Api, home: str) -> None:
    volume = {"name": "v", "csi": {"driver": "e2e.example.com", "readOnly": True}}
    body = pod("inline", volumes=[volume])
    body["metadata"]["labels"] = {"inline": "csi"}
    assert api.create(f"{home}/pods", body)["spec"]["volumes"][0]["csi"] == volume["csi"]
    assert api.get(f"{home}/pods/inline")["spec"]["volumes"][0] == volume

    change = [{"op": "add", "path": "/metadata/labels/patched", "value": "true"}]
    api.patch(f"{home}/pods/inline", change, JSON_PATCH)
    assert names(api.get("/api/v1/pods", labelSelector="inline=csi,patched=true")) == ["inline"]
    api.delete(f"{home}/pods", labelSelector="inline=csi")
    assert names(api.get(f"{home}/pods", labelSelector="inline=csi")) == []


def test_what_is_not_stored_has_no_table(api: Api) -> None:
    spec = {"nonResourceAttributes": {"path": "/", "verb": "get"}}
    refused = api.send(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": spec},
        accept="application/json;as=Table;v=v1;g=meta.k8s.io",
    )

    assert (refused.code, refused.body["code"], refused.body["reason"]) == (406, 406, "NotAcceptable")


@pytest.mark.parametrize("address", ["255.255.255.255", "fe80::42:1dff:fe84:f9e2"])
def test_an_address_lives_from_create_to_delete(api: Api, address: str) -> None:
    path = "/apis/networking.k8s.io/v1/ipaddresses"
    parent = {"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}
    label = f"a{address.count(':')}"
    api.create(
        path, {"metadata": {"name": address, "labels": {"type": label}}, "spec": {"parentRef": parent}}
    )
    patched = api.patch(f"{path}/{address}", {"metadata": {"annotations": {"patched": "true"}}})
    patched["metadata"]["annotations"]["updated"] = "true"
    assert api.update(f"{path}/{address}", patched)["spec"] == {"parentRef": parent}
    assert names(api.get(path, labelSelector=f"type={label}")) == [address]

    api.delete(path, labelSelector=f"type={label}")
    assert api.code(f"{path}/{address}") == 404


def test_the_clusters_own_range_of_addresses_is_there(api: Api) -> None:
    found = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes/status")

    assert (found["kind"], found["spec"]["cidrs"]) == ("ServiceCIDR", ["10.96.0.0/16"])


LIMIT = {
    "type": "Container",
    "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
    "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
    "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
    "defaultRequest": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"},
}


def limited(name: str, requests: Raw | None = None, limits: Raw | None = None) -> Raw:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": IMAGE, "resources": resources}]},
    }


def test_pods_get_what_a_range_gives_and_no_more_nor_less_than_it_allows(api: Api) -> None:
    home = api.namespace("limited")
    path, pods = f"{home}/limitranges/limit-range", f"{home}/pods"
    with api.watch(f"{home}/limitranges") as events:
        made = api.create(
            f"{home}/limitranges", {"metadata": {"name": "limit-range"}, "spec": {"limits": [LIMIT]}}
        )
        assert next(events) == ("ADDED", {**made, "kind": "LimitRange", "apiVersion": "v1"})
    assert made["spec"]["limits"] == [LIMIT]

    found = api.create(pods, limited("defaults"))["spec"]["containers"][0]["resources"]
    assert found == {"requests": LIMIT["defaultRequest"], "limits": LIMIT["default"]}
    found = api.create(pods, limited("partly", {"memory": "150Mi"}, {"cpu": "300m"}))
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "300m", "memory": "150Mi", "ephemeral-storage": "200Gi"},
        "limits": {"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
    }
    small = {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}
    assert api.send("POST", pods, limited("small", small)).code == 403
    assert api.send("POST", pods, limited("large", {}, {"cpu": "600m"})).code == 403

    least = {"cpu": "9m", "memory": "49Mi", "ephemeral-storage": "49Gi"}
    api.update(path, {**made, "spec": {"limits": [{**LIMIT, "min": least}]}})
    until(lambda: api.send("POST", pods, limited("small", small)).code == 201)
    api.delete(path)
    until(lambda: api.send("POST", pods, limited("large", {}, {"cpu": "600m"})).code == 201)


def test_the_state_of_components_is_a_table_for_who_asks_for_one(api: Api) -> None:
    answer = api.send(
        "GET", "/api/v1/componentstatuses", accept="application/json;as=Table;v=v1;g=meta.k8s.io"
    )

    assert (answer.code, answer.body["kind"]) == (200, "Table")
    assert [one["name"] for one in answer.body["columnDefinitions"]] == ["Name", "Status", "Message", "Error"]
    assert ["etcd-0", "Healthy", "ok", ""] in [row["cells"] for row in answer.body["rows"]]
