"""Volumes of the nodes' own disks: known to every kubelet, and the default of claims."""

import json

import pytest
from testinfra.host import Host

from kybern.machines.topology import Cluster
from roles.apiserver import ask

STORAGE = "/apis/storage.k8s.io/v1"


@pytest.fixture(autouse=True)
def wanted(cluster: Cluster) -> None:
    if cluster.storage != "local":
        pytest.skip("this cluster has no local volumes")


@pytest.mark.on("masters")
def test_every_kubelet_knows_the_driver(host: Host, cluster: Cluster) -> None:
    found = json.loads(host.check_output(ask(cluster, f"{STORAGE}/csinodes")))["items"]

    known = {
        one["metadata"]["name"]
        for one in found
        for driver in one["spec"]["drivers"] or ()
        if driver["name"] == "local.kybern.io"
    }
    assert known == {machine.name for machine in cluster.machines if machine.is_node}


@pytest.mark.on("masters")
def test_every_node_tells_its_room(host: Host, cluster: Cluster) -> None:
    path = f"{STORAGE}/namespaces/kube-system/csistoragecapacities"
    found = json.loads(host.check_output(ask(cluster, path)))["items"]

    told = {one["nodeTopology"]["matchLabels"]["local.kybern.io/node"] for one in found}
    assert told == {machine.name for machine in cluster.machines if machine.is_node}


@pytest.mark.on("masters")
def test_one_class_is_the_default(host: Host, cluster: Cluster) -> None:
    found = json.loads(host.check_output(ask(cluster, f"{STORAGE}/storageclasses")))["items"]

    key = "storageclass.kubernetes.io/is-default-class"
    marked = [
        one["metadata"]["name"] for one in found if one["metadata"].get("annotations", {}).get(key) == "true"
    ]
    assert marked == ["local"]


@pytest.mark.on("nodes")
def test_volumes_are_closed_to_everybody_but_root(host: Host) -> None:
    found = host.file("/var/lib/kybern-volumes")

    assert (found.user, found.mode) == ("root", 0o700)
