"""Our scheduler and our binder on a real API server: volumes that are chosen with the node, found or made."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.controllers_bed import CORE, Cluster, Raw, condition, manage

pytestmark = [pytest.mark.etcd]
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
VOLUMES = f"{CORE}/persistentvolumes"
MARK = "volume.kubernetes.io/selected-node"
SIZES = {"cpu": "4", "memory": "8Gi", "pods": "110"}
READY = {"type": "Ready", "status": "True"}
STATUS: Raw = {"capacity": SIZES, "allocatable": SIZES, "conditions": [READY]}
LOOPS = "serviceaccount-controller,persistentvolume-binder-controller,ephemeral-volume-controller"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Cluster:
    """Two ready nodes, the binder, and a scheduler with a scheduler's rights only."""
    server = lab.start(free_ports())
    manage(lab, server, free_ports(), f"--controllers={LOOPS}")
    found = Cluster(lab, server, "stored")
    for name in ("n1", "n2"):
        found.make(f"{CORE}/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        path = f"{CORE}/nodes/{name}"
        found.change(path, lambda node: node.update(status=STATUS), "/status")
        found.change(path, lambda node: node["spec"].pop("taints", None))
    command = [
        sys.executable, "-c", "from kybern.cli.scheduler import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'scheduler')}", "--leader-elect=false", "--bind-address=127.0.0.1",
        f"--secure-port={free_ports()}",
    ]  # fmt: skip
    with (lab.directory / "scheduler.log").open("wb") as log:
        lab.started.append(subprocess.Popen(command, stdout=log, stderr=log))
    for name, provisioner in (("local", "kubernetes.io/no-provisioner"), ("made", "csi.example.test")):
        body = {"metadata": {"name": name}, "provisioner": provisioner}
        found.make(CLASSES, {**body, "volumeBindingMode": "WaitForFirstConsumer"})
    return found


def claim(cluster: Cluster, name: str, of: str, size: str = "1Gi") -> str:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": of,
    }
    cluster.make(cluster.path(CORE, "persistentvolumeclaims"), {"metadata": {"name": name}, "spec": spec})
    return cluster.path(CORE, "persistentvolumeclaims", name)


def pod(cluster: Cluster, name: str, *claims: str, **more: Any) -> str:
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    spec = {"containers": [{"name": "c", "image": "example.test/none"}], "volumes": volumes, **more}
    cluster.make(cluster.path(CORE, "pods"), {"metadata": {"name": name}, "spec": spec})
    return cluster.path(CORE, "pods", name)


def local(cluster: Cluster, name: str, node: str, size: str = "1Gi", of: str = "local", **more: Any) -> None:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "local": {"path": f"/mnt/{name}"},
        "storageClassName": of,
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        **more,
    }
    cluster.make(VOLUMES, {"metadata": {"name": name}, "spec": spec})


def bound(found: Raw) -> bool:
    return bool(found and found["spec"].get("nodeName"))


def told(cluster: Cluster, about: str, *event: str) -> None:
    path = cluster.path(CORE, "events")

    def holds(found: Raw) -> bool:
        return any(
            (one["involvedObject"]["name"], one["type"], one["reason"], one["message"]) == (about, *event)
            for one in found["items"]
        )

    cluster.until(path, holds)


def test_a_volume_that_is_there_takes_its_pod_along(cluster: Cluster) -> None:
    data = claim(cluster, "data", "local")
    waits = "waiting for first consumer to be created before binding"
    told(cluster, "data", "Normal", "WaitForFirstConsumer", waits)
    path = pod(cluster, "first", "data")
    refused = (
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    cluster.until(path, lambda found: condition(found, "PodScheduled").get("message") == refused)

    local(cluster, "large-on-n1", "n1", "9Gi")
    # The volume wakes the pod.
    assert cluster.until(path, bound)["spec"]["nodeName"] == "n1"
    found = cluster.get(data)
    assert (found["spec"]["volumeName"], found["status"]["phase"]) == ("large-on-n1", "Bound")
    volume = cluster.get(f"{VOLUMES}/large-on-n1")
    assert volume["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert volume["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    cluster.until(f"{VOLUMES}/large-on-n1", lambda one: one["status"]["phase"] == "Bound")


def test_pods_that_come_together_do_not_get_the_same_volume(cluster: Cluster) -> None:
    for number in range(6):
        local(cluster, f"many-{number}", f"n{number % 2 + 1}", "2Gi")
        claim(cluster, f"many-{number}", "local", "2Gi")
    paths = [pod(cluster, f"many-{number}", f"many-{number}") for number in range(6)]

    for path in paths:
        cluster.until(path, bound)

    names = set()
    for number, path in enumerate(paths):
        found = cluster.get(cluster.path(CORE, "persistentvolumeclaims", f"many-{number}"))
        names.add(found["spec"]["volumeName"])
        volume = cluster.get(f"{VOLUMES}/{found['spec']['volumeName']}")
        hosts = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
        assert hosts["values"] == [cluster.get(path)["spec"]["nodeName"]]
    assert len(names) == 6


def test_a_driver_makes_a_volume_for_the_node_or_sends_the_pod_away(cluster: Cluster) -> None:
    fresh = claim(cluster, "fresh", "made")
    path = pod(cluster, "second", "fresh")
    told(cluster, "fresh", "Normal", "WaitForPodScheduled", "waiting for pod second to be scheduled")

    def asked(found: Raw) -> bool:
        marks = found["metadata"].get("annotations", {})
        return MARK in marks and marks.get("volume.kubernetes.io/storage-provisioner") == "csi.example.test"

    first = cluster.until(fresh, asked)["metadata"]["annotations"][MARK]
    assert first in ("n1", "n2")
    cluster.until(path, lambda found: found["status"].get("nominatedNodeName") == first)
    assert not bound(cluster.get(path))

    # The driver cannot make one there; nor can the node be had any more.
    cluster.change(f"{CORE}/nodes/{first}", lambda node: node["spec"].update(unschedulable=True))
    cluster.change(fresh, lambda found: found["metadata"]["annotations"].pop(MARK))
    failed = 'running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "fresh"'
    told(cluster, "second", "Warning", "FailedScheduling", failed)
    other = ({"n1", "n2"} - {first}).pop()
    again = cluster.until(fresh, asked)
    assert again["metadata"]["annotations"][MARK] == other

    meta = again["metadata"]
    ref = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta["namespace"]}
    ref |= {"name": meta["name"], "uid": meta["uid"]}
    local(cluster, "pvc-fresh", other, of="made", claimRef=ref)
    assert cluster.until(path, bound)["spec"]["nodeName"] == other
    assert cluster.get(fresh)["status"]["phase"] == "Bound"
    cluster.change(f"{CORE}/nodes/{first}", lambda node: node["spec"].pop("unschedulable"))


def test_a_driver_that_counts_its_room_is_asked_only_where_it_has_some(cluster: Cluster) -> None:
    drivers = "/apis/storage.k8s.io/v1/csidrivers"
    cluster.make(drivers, {"metadata": {"name": "full.example.test"}, "spec": {"storageCapacity": True}})
    body = {"metadata": {"name": "counted"}, "provisioner": "full.example.test"}
    cluster.make(CLASSES, {**body, "volumeBindingMode": "WaitForFirstConsumer"})
    wide = claim(cluster, "wide", "counted", "5Gi")
    path = pod(cluster, "third", "wide")
    refused = (
        "0/2 nodes are available: 2 node(s) did not have enough free storage. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    cluster.until(path, lambda found: condition(found, "PodScheduled").get("message") == refused)

    store = {
        "metadata": {"name": "on-n2"},
        "storageClassName": "counted",
        "capacity": "6Gi",
        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "n2"}},
    }
    stores = f"/apis/storage.k8s.io/v1/namespaces/{cluster.namespace}/csistoragecapacities"
    cluster.make(stores, store)

    found = cluster.until(wide, lambda one: MARK in one["metadata"].get("annotations", {}))
    assert found["metadata"]["annotations"][MARK] == "n2"
    cluster.ask("DELETE", path)
