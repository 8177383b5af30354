"""Owners, namespaces, quotas, endpoints and budgets as upstream's conformance tests drive them; no kubelet runs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, CORE, POLICY, Cluster, Raw, condition, manage, template

DISCOVERY = "/apis/discovery.k8s.io/v1"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    """Makes a namespace for a test."""
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def pod(bed: Cluster, name: str, ip: str = "", **more: Any) -> Raw:
    """A pod, which runs when it has an address."""
    body = template(app="web")
    body["metadata"]["name"] = name
    body["spec"]["containers"][0].update(more)
    made = bed.make(bed.path(CORE, "pods"), body)
    if ip:
        bed.run(made)
        status = {"podIP": ip, "podIPs": [{"ip": ip}]}
        bed.change(bed.path(CORE, "pods", name), lambda found: found["status"].update(status), "/status")
    return made


def test_pods_that_own_each_other_in_a_circle_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("circle")
    made = {name: pod(bed, name) for name in ("one", "two", "three")}
    for name, owner in (("one", "three"), ("two", "one"), ("three", "two")):
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": made[owner]["metadata"]["uid"]}
        references = [{**reference, "controller": True, "blockOwnerDeletion": True}]
        bed.patch(bed.path(CORE, "pods", name), {"metadata": {"ownerReferences": references}})

    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    assert bed.ask("DELETE", bed.path(CORE, "pods", "one"), options)[0] == 200

    bed.until(bed.path(CORE, "pods"), lambda found: not found["items"])


def test_services_go_with_their_namespace_and_do_not_come_back(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("swept")
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    bed.make(bed.path(CORE, "services"), service)

    assert bed.ask("DELETE", f"{CORE}/namespaces/swept")[0] == 200
    bed.until(f"{CORE}/namespaces/swept", lambda found: not found)
    again = Cluster(bed.lab, bed.server, "swept")

    assert again.items(again.path(CORE, "services")) == []


def test_the_authority_is_published_again_when_it_was_deleted_or_changed(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("authority")
    path = bed.path(CORE, "configmaps", "kube-root-ca.crt")
    first = bed.until(path, lambda found: found and found["data"]["ca.crt"])

    assert bed.ask("DELETE", path)[0] == 200
    bed.until(path, lambda found: found and found["metadata"]["uid"] != first["metadata"]["uid"])
    bed.change(path, lambda found: found.update(data={"ca.crt": ""}))

    bed.until(path, lambda found: found["data"] == first["data"])


def quota(bed: Cluster, hard: Raw, name: str = "quota", **more: Any) -> str:
    """A quota that was counted."""
    path = bed.path(CORE, "resourcequotas", name)
    bed.make(bed.path(CORE, "resourcequotas"), {"metadata": {"name": name}, "spec": {"hard": hard, **more}})
    bed.until(path, lambda found: (found["status"].get("used") or {}).keys() == hard.keys())
    return path


def used(bed: Cluster, path: str, **amounts: str) -> None:
    bed.until(path, lambda found: amounts.items() <= found["status"]["used"].items())


SPEC = {"replicas": 0, "template": template(app="none")}


@pytest.mark.parametrize(
    ("root", "plural", "resource", "body"),
    [
        (CORE, "configmaps", "configmaps", {}),
        (CORE, "secrets", "secrets", {}),
        (CORE, "replicationcontrollers", "replicationcontrollers", {"spec": SPEC}),
        (
            APPS,
            "replicasets",
            "count/replicasets.apps",
            {"spec": {**SPEC, "selector": {"matchLabels": {"app": "none"}}}},
        ),
    ],
)
def test_a_quota_follows_what_comes_and_goes(
    cluster: Callable[[str], Cluster], root: str, plural: str, resource: str, body: Raw
) -> None:
    bed = cluster(f"quota-{plural}")
    bed.until(bed.path(CORE, "configmaps"), lambda found: found["items"])
    before = len(bed.items(bed.path(root, plural)))
    path = quota(bed, {"resourcequotas": "1", resource: "10"})
    used(bed, path, **{"resourcequotas": "1", resource: str(before)})

    bed.make(bed.path(root, plural), {"metadata": {"name": "one"}, **body})
    used(bed, path, **{resource: str(before + 1)})
    assert bed.ask("DELETE", bed.path(root, plural, "one"))[0] == 200
    used(bed, path, **{resource: str(before)})


def test_a_quota_follows_a_pod_and_refuses_what_is_too_much(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("quota-pod")
    path = quota(bed, {"pods": "5", "cpu": "1", "memory": "500Mi", "requests.example.com/dongle": "3"})
    dongles = {"example.com/dongle": "2"}
    asked = {"requests": {"cpu": "500m", "memory": "252Mi", **dongles}, "limits": dongles}
    pod(bed, "one", resources=asked)
    used(bed, path, pods="1", cpu="500m", memory="252Mi", **{"requests.example.com/dongle": "2"})

    for more in ({"cpu": "600m", "memory": "100Mi"}, {"cpu": "100m", "memory": "100Mi", **dongles}):
        body = template(app="web")
        body["metadata"]["name"] = "two"
        limits = {name: value for name, value in more.items() if "/" in name}
        body["spec"]["containers"][0]["resources"] = {"requests": more, "limits": limits}
        code, refused = bed.ask("POST", bed.path(CORE, "pods"), body)
        assert code == 403
        assert "exceeded quota: quota" in refused["message"]
    used(bed, path, pods="1", cpu="500m")
    assert bed.ask("DELETE", bed.path(CORE, "pods", "one") + "?gracePeriodSeconds=0")[0] == 200
    used(bed, path, pods="0", cpu="0", memory="0", **{"requests.example.com/dongle": "0"})


@pytest.mark.parametrize(
    ("inside", "outside", "fields"),
    [
        ("BestEffort", "NotBestEffort", ({}, {"requests": {"cpu": "100m"}})),
        ("NotTerminating", "Terminating", ({}, {"activeDeadlineSeconds": 3600})),
    ],
)
def test_a_scope_counts_its_pods_only(
    cluster: Callable[[str], Cluster], inside: str, outside: str, fields: tuple[Raw, Raw]
) -> None:
    bed = cluster(f"scope-{inside.lower()}")
    first = quota(bed, {"pods": "5"}, "first", scopes=[inside])
    second = quota(bed, {"pods": "5"}, "second", scopes=[outside])
    for name, more, counts in (("one", fields[0], ("1", "0")), ("two", fields[1], ("0", "1"))):
        body = template(app="web")
        body["metadata"]["name"] = name
        if "requests" in more:
            body["spec"]["containers"][0]["resources"] = more
        else:
            body["spec"].update(more)
        bed.make(bed.path(CORE, "pods"), body)
        used(bed, first, pods=counts[0])
        used(bed, second, pods=counts[1])
        assert bed.ask("DELETE", bed.path(CORE, "pods", name) + "?gracePeriodSeconds=0")[0] == 200
        used(bed, first, pods="0")
        used(bed, second, pods="0")


def test_a_quota_is_changed_and_deleted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("quota-changed")
    path = quota(bed, {"cpu": "1", "memory": "500Mi"})
    hard = {"cpu": "2", "memory": "1Gi"}

    changed = bed.change(path, lambda found: found["spec"].update(hard=hard))
    assert changed["spec"]["hard"] == hard
    bed.until(path, lambda found: found["status"]["hard"] == hard)
    assert bed.ask("DELETE", path)[0] == 200
    assert bed.ask("GET", path)[0] == 404


def endpoints_of(slices: list[Raw]) -> set[tuple[str, int]]:
    return {
        (address, port["port"])
        for one in slices
        for endpoint in one.get("endpoints") or ()
        for address in endpoint["addresses"]
        for port in one.get("ports") or ()
    }


def subsets_of(endpoints: Raw) -> set[tuple[str, int]]:
    return {
        (address["ip"], port["port"])
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset["ports"]
    }


def have(wanted: set[tuple[str, int]], shown: Callable[[Raw], set[tuple[str, int]]]) -> Callable[[Raw], bool]:
    return lambda found: shown(found) == wanted


def test_a_service_without_pods_has_endpoints_and_slices_that_go_with_it(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("no-pods")
    spec = {"selector": {"does-not-match-anything": "ever"}, "ports": [{"name": "web", "port": 80}]}
    made = bed.make(bed.path(CORE, "services"), {"metadata": {"name": "web"}, "spec": spec})
    slices = bed.path(DISCOVERY, "endpointslices") + "?labelSelector=kubernetes.io%2Fservice-name%3Dweb"
    endpoints = bed.path(CORE, "endpoints", "web")

    bed.until(endpoints, bool)
    (one,) = bed.until(slices, lambda found: len(found["items"]) == 1)["items"]
    assert one["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (
        "endpointslice-controller.k8s.io"
    )
    assert bed.ask("DELETE", bed.path(CORE, "services", "web"))[0] == 200
    bed.until(endpoints, lambda found: not found)
    bed.until(slices, lambda found: not found["items"])


def test_endpoints_have_the_port_that_each_pod_names(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("pods-match")
    ports = [{"name": "example", "port": 80, "targetPort": "example"}]
    for name, more in (("number", {"ports": [{"name": "example", "port": 80, "targetPort": 3000}]}),
                       ("named", {"ports": ports, "publishNotReadyAddresses": True})):  # fmt: skip
        spec = {"selector": {"app": "web"}, **more}
        bed.make(bed.path(CORE, "services"), {"metadata": {"name": name}, "spec": spec})
    for name, ip, port in (("one", "10.0.0.1", 3000), ("two", "10.0.0.2", 3001)):
        pod(bed, name, ip, ports=[{"name": "example", "containerPort": port}])

    wanted = {
        "number": {("10.0.0.1", 3000), ("10.0.0.2", 3000)},
        "named": {("10.0.0.1", 3000), ("10.0.0.2", 3001)},
    }
    for name, expected in wanted.items():
        query = f"?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        bed.until(
            bed.path(DISCOVERY, "endpointslices") + query,
            have(expected, lambda one: endpoints_of(one["items"])),
        )
        bed.until(bed.path(CORE, "endpoints", name), have(expected, subsets_of))


def test_what_is_mirrored_follows_a_change(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("mirrored")
    ports = [{"name": "example", "port": 9090, "protocol": "TCP"}]
    bed.make(bed.path(CORE, "services"), {"metadata": {"name": "own"}, "spec": {"ports": ports}})
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": ports}
    bed.make(bed.path(CORE, "endpoints"), {"metadata": {"name": "own"}, "subsets": [subset]})
    path = bed.path(DISCOVERY, "endpointslices") + "?labelSelector=kubernetes.io%2Fservice-name%3Down"

    bed.until(path, lambda found: endpoints_of(found["items"]) == {("10.1.2.3", 9090)})
    changed = {**subset, "addresses": [{"ip": "10.2.3.4"}]}
    bed.change(bed.path(CORE, "endpoints", "own"), lambda found: found.update(subsets=[changed]))
    bed.until(path, lambda found: endpoints_of(found["items"]) == {("10.2.3.4", 9090)})
    assert bed.ask("DELETE", bed.path(CORE, "endpoints", "own"))[0] == 200
    bed.until(path, lambda found: not found["items"])


def budget(bed: Cluster, name: str, **spec: Any) -> str:
    """A budget that was looked at."""
    path = bed.path(POLICY, "poddisruptionbudgets", name)
    body = {"metadata": {"name": name, "labels": {"of": bed.namespace.partition("-")[0]}}, "spec": spec}
    body["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    bed.make(bed.path(POLICY, "poddisruptionbudgets"), body)
    bed.until(path, lambda found: found.get("status", {}).get("observedGeneration") == 1)
    return path


def test_a_budget_is_made_changed_and_deleted(cluster: Callable[[str], Cluster]) -> None:
    bed, other = cluster("budgets"), cluster("budgets-too")
    path = budget(bed, "one", minAvailable="1%")
    changed = bed.change(path, lambda found: found["spec"].update(minAvailable="2%"))
    assert changed["spec"]["minAvailable"] == "2%"
    patched = bed.patch(path, {"spec": {"minAvailable": "3%"}}, "merge")
    assert patched["spec"]["minAvailable"] == "3%"
    assert bed.ask("DELETE", path)[0] == 200
    bed.until(path, lambda found: not found)

    budget(bed, "two", minAvailable="1%")
    budget(bed, "three", minAvailable=1)
    budget(other, "four", minAvailable=1)
    everywhere = f"{POLICY}/poddisruptionbudgets?labelSelector=of%3Dbudgets"
    assert sorted(one["metadata"]["name"] for one in bed.items(everywhere)) == ["four", "three", "two"]
    assert (
        bed.ask("DELETE", bed.path(POLICY, "poddisruptionbudgets") + "?labelSelector=of%3Dbudgets")[0] == 200
    )
    bed.until(everywhere, lambda found: [one["metadata"]["name"] for one in found["items"]] == ["four"])


def test_a_budgets_status_allows_and_names_who_is_disrupted(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("disrupted")
    path = budget(bed, "web", minAvailable=1)
    for name in ("one", "two", "three"):
        bed.run(pod(bed, name))
    found = bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 2)
    assert condition(found, "DisruptionAllowed")["status"] == "True"

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    disrupted = {"disruptedPods": {"one": now}}
    updated = bed.change(path, lambda found: found["status"].update(disrupted), "/status")
    assert updated["status"]["disruptedPods"] == {"one": now}
    # The pod is there still, and so the controller keeps it, and counts it out.
    bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 1)
    assert bed.get(path)["status"]["disruptedPods"] == {"one": now}
    patched = bed.patch(f"{path}/status", {"status": {"disruptedPods": None}}, "merge")
    assert not patched["status"].get("disruptedPods")
    bed.until(path, lambda found: found["status"]["disruptionsAllowed"] == 2)


def test_half_of_the_pods_of_an_owner_that_waits_stay_with_the_other(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("two-owners")
    rcs, pods = bed.path(CORE, "replicationcontrollers"), bed.path(CORE, "pods")
    spec = {"replicas": 4, "selector": {"app": "web"}, "template": template(app="web")}
    bed.make(rcs, {"metadata": {"name": "goes"}, "spec": spec})
    other = {"replicas": 0, "selector": {"app": "other"}, "template": template(app="other")}
    stays = bed.make(rcs, {"metadata": {"name": "stays"}, "spec": other})["metadata"]["uid"]
    listed = bed.until(pods, lambda found: len(found["items"]) == 4)["items"]
    half = {one["metadata"]["name"] for one in listed[:2]}
    for name in half:
        # Strategic: by uid, beside the one that is there.
        reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "stays", "uid": stays}
        patched = bed.patch(f"{pods}/{name}", {"metadata": {"ownerReferences": [reference]}})
        assert len(patched["metadata"]["ownerReferences"]) == 2

    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    assert bed.ask("DELETE", f"{rcs}/goes", options)[0] == 200
    bed.until(f"{rcs}/goes", lambda found: not found)
    time.sleep(1)

    left = bed.items(pods)
    assert {one["metadata"]["name"] for one in left} == half
    assert {owner["uid"] for one in left for owner in one["metadata"]["ownerReferences"]} == {stays}
