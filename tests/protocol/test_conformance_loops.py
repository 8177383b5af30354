"""What upstream's conformance tests ask of garbage collection, namespaces, endpoints, claims and budgets."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import APPS, CORE, POLICY, Cluster, condition, manage, template
from tests.protocol.custom_bed import Kind
from tests.protocol.requests_bed import MERGE, STRATEGIC, Api, Raw, names

pytestmark = pytest.mark.etcd

DISCOVERY = "/apis/discovery.k8s.io/v1"
CA = "kube-root-ca.crt"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    server = lab.start(free_ports())
    manage(lab, server, free_ports())
    return lambda name: Cluster(lab, server, name)


def delete(bed: Cluster, path: str, uid: str, policy: str) -> None:
    """As clients do that mean one object and no other of its name."""
    code, answer = bed.ask("DELETE", path, {"propagationPolicy": policy, "preconditions": {"uid": uid}})
    assert code == 200, answer


def controller(bed: Cluster, name: str, replicas: int) -> Raw:
    """A replication controller that has all its pods."""
    spec = {"replicas": replicas, "selector": {"gc": name}, "template": template(gc=name)}
    bed.make(bed.path(CORE, "replicationcontrollers"), {"metadata": {"name": name}, "spec": spec})
    return bed.until(
        bed.path(CORE, "replicationcontrollers", name), lambda one: one["status"]["replicas"] == replicas
    )


@pytest.mark.parametrize(("policy", "left"), [("Background", 0), ("Foreground", 0), ("Orphan", 3)])
def test_pods_go_with_their_controller_or_stay(
    cluster: Callable[[str], Cluster], policy: str, left: int
) -> None:
    bed = cluster(f"gc-{policy.lower()}")
    owner = controller(bed, "simpletest.rc", 3)
    path = bed.path(CORE, "replicationcontrollers", "simpletest.rc")
    wrong = {"preconditions": {"uid": "of-another"}}
    assert bed.ask("DELETE", path, wrong)[0] == 409

    delete(bed, path, owner["metadata"]["uid"], policy)
    bed.until(path, lambda one: not one)
    bed.until(bed.path(CORE, "pods"), lambda found: len(found["items"]) == left)
    assert all(not one["metadata"].get("ownerReferences") for one in bed.items(bed.path(CORE, "pods")))


@pytest.mark.parametrize(("policy", "left"), [("Background", 0), ("Orphan", 1)])
def test_replica_sets_go_with_their_deployment_or_stay(
    cluster: Callable[[str], Cluster], policy: str, left: int
) -> None:
    bed = cluster(f"gc-deployment-{policy.lower()}")
    spec = {"replicas": 2, "selector": {"matchLabels": {"gc": "d"}}, "template": template(gc="d")}
    made = bed.make(bed.path(APPS, "deployments"), {"metadata": {"name": "simple"}, "spec": spec})
    bed.until(bed.path(CORE, "pods"), lambda found: len(found["items"]) == 2)

    delete(bed, bed.path(APPS, "deployments", "simple"), made["metadata"]["uid"], policy)
    bed.until(bed.path(APPS, "deployments", "simple"), lambda one: not one)
    bed.until(bed.path(CORE, "pods"), lambda found: len(found["items"]) == 2 * left)
    sets = bed.items(bed.path(APPS, "replicasets"))
    assert len(sets) == left
    assert all(not one["metadata"].get("ownerReferences") for one in sets)


def test_who_has_another_owner_stays_and_forgets_the_one_that_goes(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("gc-two-owners")
    first, second = controller(bed, "to-be-deleted", 4), controller(bed, "to-stay", 0)
    api = Api(bed.server)
    reference = {
        "apiVersion": "v1", "kind": "ReplicationController", "name": "to-stay", "uid": second["metadata"]["uid"],
    }  # fmt: skip
    kept = names(api.get(bed.path(CORE, "pods")))[:2]
    for name in kept:
        change = {"metadata": {"ownerReferences": [reference]}}
        assert (
            len(api.patch(bed.path(CORE, "pods", name), change, STRATEGIC)["metadata"]["ownerReferences"])
            == 2
        )

    path = bed.path(CORE, "replicationcontrollers", "to-be-deleted")
    delete(bed, path, first["metadata"]["uid"], "Foreground")
    bed.until(path, lambda one: not one)
    left = [one["metadata"] for one in bed.items(bed.path(CORE, "pods"))]
    assert [one["name"] for one in left] == kept
    assert all("deletionTimestamp" not in one and one["ownerReferences"] == [reference] for one in left)


def test_owners_in_a_circle_all_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("gc-circle")
    api, path = Api(bed.server), bed.path(CORE, "pods")
    pods = [
        bed.make(path, {**template(), "metadata": {"name": f"pod{number}"}})["metadata"]
        for number in (1, 2, 3)
    ]
    for pod, owner in zip(pods, (pods[2], pods[0], pods[1]), strict=True):
        reference = {
            "apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        api.patch(f"{path}/{pod['name']}", {"metadata": {"ownerReferences": [reference]}}, STRATEGIC)

    delete(bed, f"{path}/pod1", pods[0]["uid"], "Foreground")
    bed.until(path, lambda found: not found["items"])


def test_custom_objects_go_with_their_owner_of_a_custom_kind_or_stay(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("gc-custom")
    kind = Kind(Api(bed.server)).define()
    for policy, stays in (("Background", False), ("Foreground", False), ("Orphan", True)):
        owner = bed.make(kind.path(), kind_body(kind, f"owner-{policy.lower()}"))
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
        dependent = f"dependent-{policy.lower()}"
        bed.make(kind.path(), kind_body(kind, dependent, ownerReferences=[reference]))
        path = f"{kind.path()}/{owner['metadata']['name']}"

        delete(bed, path, owner["metadata"]["uid"], policy)

        # The collector looks for new kinds every 30 seconds, as upstream's.
        bed.until(path, lambda one: not one, 120)
        left = bed.until(
            f"{kind.path()}/{dependent}",
            lambda one: not one or not one["metadata"].get("ownerReferences"),
            120,
        )
        assert bool(left) == stays, policy


def kind_body(kind: Kind, name: str, **metadata: Any) -> Raw:
    return {"apiVersion": f"{kind.group}/v1", "kind": kind.kind, "metadata": {"name": name, **metadata}}


def test_a_namespace_goes_with_all_that_is_in_it_and_comes_back_empty(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("nsdeletetest")
    port = [{"port": 80, "targetPort": 80}]
    bed.make(
        bed.path(CORE, "services"),
        {"metadata": {"name": "s"}, "spec": {"selector": {"foo": "bar"}, "ports": port}},
    )
    bed.make(
        bed.path(CORE, "pods"), {**template(), "metadata": {"name": "p", "finalizers": ["example.com/hold"]}}
    )
    bed.make(bed.path(CORE, "configmaps"), {"metadata": {"name": "used-by-the-pod"}})
    path = f"{CORE}/namespaces/nsdeletetest"
    code, answer = bed.ask("DELETE", path)
    assert (code, answer["status"]["phase"]) == (200, "Terminating")

    # Pods go first: what they may still need stays while one is there.
    found = bed.until(path, lambda one: condition(one, "NamespaceContentRemaining").get("status") == "True")
    assert condition(found, "NamespaceFinalizersRemaining")["status"] == "True"
    assert bed.get(bed.path(CORE, "configmaps", "used-by-the-pod"))
    refused = bed.ask("POST", bed.path(CORE, "configmaps"), {"metadata": {"name": "late"}})
    assert refused[0] == 403
    assert refused[1]["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    Api(bed.server).patch(bed.path(CORE, "pods", "p"), {"metadata": {"finalizers": None}}, MERGE)
    bed.until(path, lambda one: not one)

    again = Cluster(bed.lab, bed.server, "nsdeletetest")
    assert [again.items(again.path(CORE, plural)) for plural in ("services", "pods")] == [[], []]


def test_a_namespace_is_held_by_a_finalizer_of_its_spec(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("held")
    path = f"{CORE}/namespaces/held"
    mine = "e2e.example.com/fakeFinalizer"
    bed.change(path, lambda one: one["spec"]["finalizers"].append(mine), "/finalize")
    assert bed.ask("DELETE", path)[0] == 200
    bed.until(path, lambda one: one["spec"]["finalizers"] == [mine])

    bed.change(path, lambda one: one["spec"].update(finalizers=[]), "/finalize")
    bed.until(path, lambda one: not one)


def test_the_authority_of_the_cluster_is_in_every_namespace_and_stays_itself(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("root-ca")
    path, here = bed.path(CORE, "configmaps", CA), (bed.lab.directory / "ca.crt").read_text()
    found = bed.until(path, bool)
    assert found["data"] == {"ca.crt": here}

    assert bed.ask("DELETE", path)[0] == 200
    again = bed.until(path, lambda one: one and one["metadata"]["uid"] != found["metadata"]["uid"])
    assert again["data"] == {"ca.crt": here}
    again["data"] = {"ca.crt": ""}
    assert bed.ask("PUT", path, again)[0] == 200
    bed.until(path, lambda one: one["data"] == {"ca.crt": here})


def test_a_controllers_scale_is_read_and_set(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("rc-scale")
    found = controller(bed, "e2e", 1)
    path = bed.path(CORE, "replicationcontrollers", "e2e")
    scale = bed.get(f"{path}/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 1, "selector": "gc=e2e"}
    assert scale["metadata"]["uid"] == found["metadata"]["uid"]

    scale["spec"]["replicas"] = 2
    scale["metadata"]["resourceVersion"] = ""
    code, written = bed.ask("PUT", f"{path}/scale", scale)
    assert (code, written["spec"]) == (200, {"replicas": 2})
    bed.until(path, lambda one: one["status"]["replicas"] == one["spec"]["replicas"] == 2)


def test_written_endpoints_are_mirrored_as_they_change(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("mirrored")
    name = "example-custom-endpoints"
    ports = [{"name": "example", "port": 80, "protocol": "TCP"}]
    bed.make(bed.path(CORE, "services"), {"metadata": {"name": name}, "spec": {"ports": ports}})
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    bed.make(bed.path(CORE, "endpoints"), {"metadata": {"name": name}, "subsets": [subset]})
    path = bed.path(DISCOVERY, "endpointslices")

    def says(address: str, port: int) -> Callable[[Raw], bool]:
        def seen(found: Raw) -> bool:
            listed = found["items"]
            return (
                [[listed[0]["endpoints"][0]["addresses"], listed[0]["ports"][0]["port"], len(listed)]]
                == [[[address], port, 1]]
                if listed
                else False
            )

        return seen

    (one,) = bed.until(path, says("10.1.2.3", 80))["items"]
    labels = one["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == name
    assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    subset = {"addresses": [{"ip": "10.2.3.4"}], "ports": [{"port": 9090, "protocol": "TCP"}]}
    bed.change(bed.path(CORE, "endpoints", name), lambda found: found.update(subsets=[subset]))
    bed.until(path, says("10.2.3.4", 9090))
    assert bed.ask("DELETE", bed.path(CORE, "endpoints", name))[0] == 200
    bed.until(path, lambda found: not found["items"])


def test_a_service_whose_pods_are_missing_has_empty_endpoints_that_go_with_it(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("no-pods")
    name = "example-empty-selector"
    ports = [{"name": "example", "port": 80, "protocol": "TCP"}]
    spec = {"selector": {"does-not-match-anything": "endpoints-should-still-be-created"}, "ports": ports}
    bed.make(bed.path(CORE, "services"), {"metadata": {"name": name}, "spec": spec})

    found = bed.until(bed.path(CORE, "endpoints", name), bool)
    assert not found.get("subsets")
    (one,) = bed.until(bed.path(DISCOVERY, "endpointslices"), lambda found: found["items"])["items"]
    assert one["metadata"]["labels"]["kubernetes.io/service-name"] == name
    assert (
        one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
        == "endpointslice-controller.k8s.io"
    )
    assert not one.get("endpoints")
    assert one["metadata"]["ownerReferences"][0]["name"] == name
    assert bed.ask("DELETE", bed.path(CORE, "services", name))[0] == 200
    bed.until(bed.path(CORE, "endpoints", name), lambda one: not one)
    bed.until(bed.path(DISCOVERY, "endpointslices"), lambda found: not found["items"])


def test_addresses_of_ready_pods_are_endpoints_and_no_others(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("pods-matching")
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "n1"}, "status": ready})
    ports = [{"name": "http", "port": 80, "targetPort": 3000}]
    bed.make(
        bed.path(CORE, "services"),
        {"metadata": {"name": "s"}, "spec": {"selector": {"foo": "bar"}, "ports": ports}},
    )
    pod = bed.make(
        bed.path(CORE, "pods"),
        {
            "metadata": {"name": "p", "labels": {"foo": "bar"}},
            "spec": {**template()["spec"], "nodeName": "n1"},
        },
    )
    bed.run(pod)
    path = bed.path(CORE, "pods", "p")
    bed.change(
        path, lambda one: one["status"].update(podIP="10.9.8.7", podIPs=[{"ip": "10.9.8.7"}]), "/status"
    )

    found = bed.until(bed.path(CORE, "endpoints", "s"), lambda one: one.get("subsets"))
    (subset,) = found["subsets"]
    assert [one["ip"] for one in subset["addresses"]] == ["10.9.8.7"]
    assert subset["addresses"][0]["targetRef"]["uid"] == pod["metadata"]["uid"]
    assert [one["port"] for one in subset["ports"]] == [3000]
    slices = bed.until(
        bed.path(DISCOVERY, "endpointslices"),
        lambda found: found["items"] and found["items"][0].get("endpoints"),
    )
    (endpoint,) = slices["items"][0]["endpoints"]
    assert (endpoint["addresses"], endpoint["nodeName"]) == (["10.9.8.7"], "n1")
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}


def test_every_port_of_a_service_is_that_of_the_pod_that_has_it(cluster: Callable[[str], Cluster]) -> None:
    """Ports by number and by name: each service names the one of its pods that has them."""
    bed = cluster("pods-by-port")
    bed.make(f"{CORE}/nodes", {"metadata": {"name": "n2"}, "status": {}})
    for number, numbered in ((1, 3000), (2, 3001)):
        ports = [{"name": "example-name", "containerPort": numbered}]
        container = {**template()["spec"]["containers"][0], "ports": ports}
        labels = {"foo": "bar", f"pod{number}": "yes"}
        body = {
            "metadata": {"name": f"pod{number}", "labels": labels},
            "spec": {"containers": [container], "nodeName": "n2"},
        }
        bed.run(bed.make(bed.path(CORE, "pods"), body))
        ip = f"10.9.8.{number}"
        addresses = {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}}
        bed.patch(f"{bed.path(CORE, 'pods', f'pod{number}')}/status", addresses, "merge")
    by_number = {"name": "example-no-match", "port": 80, "targetPort": 3000, "protocol": "TCP"}
    by_name = {"name": "http", "port": 80, "targetPort": "example-name", "protocol": "TCP"}
    for name, selector, port in (
        ("example-int-port", {"pod1": "yes"}, by_number),
        ("example-named-port", {"foo": "bar"}, by_name),
    ):
        spec = {"selector": selector, "ports": [port], "publishNotReadyAddresses": True}
        bed.make(bed.path(CORE, "services"), {"metadata": {"name": name}, "spec": spec})

    def pairs(name: str) -> set[tuple[str, int, str]]:
        """Address, port and name of the pod, as slices and endpoints both have them."""
        path = f"{bed.path(DISCOVERY, 'endpointslices')}?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        sliced = {
            (endpoint["addresses"][0], port["port"], endpoint["targetRef"]["name"])
            for one in bed.items(path)
            for endpoint in one.get("endpoints") or ()
            for port in one["ports"]
        }
        whole = {
            (address["ip"], port["port"], address["targetRef"]["name"])
            for subset in bed.get(bed.path(CORE, "endpoints", name)).get("subsets") or ()
            for address in subset["addresses"]
            for port in subset["ports"]
        }
        return sliced if sliced == whole else set()

    one, two = ("10.9.8.1", 3000, "pod1"), ("10.9.8.2", 3001, "pod2")
    everything = bed.path(DISCOVERY, "endpointslices")
    bed.until(everything, lambda _found: pairs("example-int-port") == {one})
    bed.until(everything, lambda _found: pairs("example-named-port") == {one, two})
    assert bed.ask("DELETE", bed.path(CORE, "services", "example-named-port"))[0] == 200
    bed.until(everything, lambda found: len(found["items"]) == 1)
    bed.until(bed.path(CORE, "endpoints", "example-named-port"), lambda found: not found)


def test_budgets_are_listed_everywhere_and_deleted_together(cluster: Callable[[str], Cluster]) -> None:
    beds = [cluster("budgets"), cluster("budgets-2")]
    label = {"labelSelector": "pdb=listed"}
    for bed, many in zip(beds, (2, 1), strict=True):
        for number in range(many):
            spec = {"minAvailable": 1, "selector": {"matchLabels": {"foo": "bar"}}}
            metadata = {"name": f"foo{number}", "labels": {"pdb": "listed"}}
            bed.make(bed.path(POLICY, "poddisruptionbudgets"), {"metadata": metadata, "spec": spec})
    for bed, many in zip(beds, (2, 1), strict=True):
        for number in range(many):
            bed.until(
                bed.path(POLICY, "poddisruptionbudgets", f"foo{number}"),
                lambda one: one["status"].get("observedGeneration") == one["metadata"]["generation"],
            )
    api = Api(beds[0].server)
    assert len(api.get(f"{POLICY}/poddisruptionbudgets", **label)["items"]) == 3
    api.delete(beds[0].path(POLICY, "poddisruptionbudgets"), **label)
    assert len(api.get(f"{POLICY}/poddisruptionbudgets", **label)["items"]) == 1


def test_a_budget_is_changed_in_every_way(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("budget-change")
    path = bed.path(POLICY, "poddisruptionbudgets", "foo")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"foo": "bar"}}}
    metadata = {"name": "foo", "labels": {"foo": "bar"}}
    bed.make(bed.path(POLICY, "poddisruptionbudgets"), {"metadata": metadata, "spec": spec})
    bed.until(path, lambda one: one["status"].get("observedGeneration") == 1)

    bed.change(path, lambda one: one["spec"].update(minAvailable=2))
    changed = bed.until(path, lambda one: one["status"].get("observedGeneration") == 2)
    assert changed["spec"]["minAvailable"] == 2
    patched = Api(bed.server).patch(path, {"spec": {"minAvailable": "3%"}}, MERGE)
    assert patched["spec"]["minAvailable"] == "3%"
    time = "2026-01-02T03:04:05Z"
    bed.change(path, lambda one: one["status"].update(disruptedPods={"pod": time}), "/status")
    body: Any = {"status": {"disruptedPods": {"pod": None, "pod2": "2026-01-02T03:04:06Z"}}}
    assert "pod" not in Api(bed.server).patch(f"{path}/status", body, MERGE)["status"]["disruptedPods"]
    assert bed.ask("DELETE", path)[0] == 200
    assert not bed.get(path)


def test_revisions_that_others_write_stay_and_the_next_one_follows_them(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("revisions")
    api, path = Api(bed.server), bed.path(APPS, "controllerrevisions")
    label = {"daemonset-name": "d"}
    spec = {"selector": {"matchLabels": label}, "template": template(**label)}
    bed.make(bed.path(APPS, "daemonsets"), {"metadata": {"name": "d", "labels": label}, "spec": spec})
    first = bed.until(path, lambda found: found["items"])["items"][0]
    assert names(api.get(f"{APPS}/controllerrevisions", labelSelector="daemonset-name=d")) == [
        first["metadata"]["name"]
    ]

    metadata = {
        "name": "d-written", "labels": {**label, "controller-revision-hash": "written"},
        "ownerReferences": first["metadata"]["ownerReferences"],
    }  # fmt: skip
    api.create(path, {"metadata": metadata, "data": first["data"], "revision": first["revision"] + 1})
    assert len(api.get(path)["items"]) == 2
    api.delete(f"{path}/{first['metadata']['name']}")
    api.patch(f"{path}/d-written", {"metadata": {"labels": {"d-written": "updated"}}}, STRATEGIC)
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    api.patch(bed.path(APPS, "daemonsets", "d"), change, STRATEGIC)
    bed.until(path, lambda found: len(found["items"]) == 2)

    api.delete(path, labelSelector="d-written=updated")
    bed.until(path, lambda found: [one["revision"] for one in found["items"]] == [3])
