"""IPv6 beside IPv4, before it or without it, on the machines of a topology that asks for it."""

import json
from ipaddress import ip_network

import pytest
from testinfra.host import Host

from kybern.machines.topology import Cluster, Machine
from roles.apiserver import ask


@pytest.fixture(autouse=True)
def asked_for(cluster: Cluster) -> None:
    if cluster.ipv6 is None:
        pytest.skip("this topology has one family")


@pytest.mark.on("all")
def test_the_machines_reach_each_other(host: Host, cluster: Cluster, machine: Machine) -> None:
    for peer in cluster.machines:
        address = cluster.address6(peer)
        host.run_expect([0], f"timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/22'")


@pytest.mark.on("nodes")
def test_every_node_has_a_way_to_the_pods_of_every_other(
    host: Host, cluster: Cluster, machine: Machine
) -> None:
    others = [one for one in cluster.machines if one.is_node and one != machine]
    found = host.check_output("ip -6 route show proto 75").splitlines()

    assert {line.split()[2] for line in found} == {str(cluster.address6(one)) for one in others}


@pytest.mark.on("masters")
def test_nodes_have_networks_and_addresses_in_the_order_of_the_families(
    host: Host, cluster: Cluster, machine: Machine
) -> None:
    for node in json.loads(host.check_output(ask(cluster, "/api/v1/nodes")))["items"]:
        (own,) = [one for one in cluster.machines if one.name == node["metadata"]["name"]]
        told = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert told == [str(address) for address in cluster.addresses(own)]
        told = [f"IPv{ip_network(cidr).version}" for cidr in node["spec"]["podCIDRs"]]
        assert told == list(cluster.ip_families)
