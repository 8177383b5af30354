"""What nodes use, as `kubectl top` and autoscalers ask it."""

import json
import time

import pytest
from testinfra.host import Host

from kybern.machines.topology import Cluster
from roles.apiserver import ask
from roles.cluster import node_address

FIRST_FIGURES = 60  # seconds: a rate needs two looks at each kubelet


@pytest.mark.on("masters")
def test_every_node_s_use_is_told(host: Host, cluster: Cluster) -> None:
    path, deadline, told = "/apis/metrics.k8s.io/v1beta1/nodes", time.monotonic() + FIRST_FIGURES, set[str]()
    nodes = {machine.name for machine in cluster.machines if machine.is_node}
    while told != nodes and time.monotonic() < deadline:
        found = host.run(ask(cluster, path))
        told = (
            {one["metadata"]["name"] for one in json.loads(found.stdout)["items"]} if found.rc == 0 else set()
        )
        time.sleep(0.5)

    assert told == nodes


@pytest.mark.on("masters")
def test_the_service_leads_to_all_masters(host: Host, cluster: Cluster) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/metrics-server-machines"
    found = json.loads(host.check_output(ask(cluster, path)))

    addresses = {address for one in found["endpoints"] for address in one["addresses"]}
    assert addresses == {node_address(cluster, master) for master in cluster.masters}
