"""IPv4 and IPv6 side by side: a small cluster of its own, by nftables.

With ``proxy: ipvs`` the same needs a kernel that has virtual servers, which the machines of a lab may lack.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.cluster.conftest import made_apart
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
TOPOLOGY, NAMESPACE = "dual", "default"
WEB = {"web-1", "web-2"}
HTTP: dict[str, Any] = {"name": "http", "port": 80, "targetPort": 8080}
UDP: dict[str, Any] = {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}


@pytest.fixture(scope="module")
def net() -> Iterator[Place]:
    """A server on each worker, an asker, and one on a node's own network."""
    with made_apart(TOPOLOGY) as lab:
        place = Place.made(lab, NAMESPACE)
        place.run(
            server("web-1", "worker-1", labels={"app": "web"}),
            server("web-2", "worker-2", labels={"app": "web"}),
            pod("asker", "worker-1"),
            pod("node-asker", "master-1", hostNetwork=True),
        )
        yield place


def literal(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def ips(net: Place, name: str) -> list[str]:
    """Of a pod: the first of IPv4, the second of IPv6."""
    found = [one["ip"] for one in net.get("pod", name)["status"]["podIPs"]]
    assert [ip_address(one).version for one in found] == [4, 6]
    return found


def cluster_ips(net: Place, name: str) -> list[str]:
    found: list[str] = net.get("service", name)["spec"]["clusterIPs"]
    return found


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("target", sorted(WEB))
def test_pods_reach_pods_by_both_families(net: Place, target: str, at: int) -> None:
    there, here = literal(ips(net, target)[at]), ips(net, "asker")[at]

    assert net.ask("asker", "http", f"{there}:8080/hostname") == [target]
    assert net.ask("asker", "udp", f"{there}:8080", "hostname") == [target]
    assert net.ask("node-asker", "http", f"{there}:8080/hostname") == [target]
    # What a pod sends arrives with its own address.
    assert net.ask("asker", "http", f"{there}:8080/clientip") == [here]


def test_a_service_of_both_families_answers_at_both_addresses(net: Place) -> None:
    net.apply(service("both", HTTP, UDP, selector={"app": "web"}, ipFamilyPolicy="RequireDualStack"))
    found = cluster_ips(net, "both")

    assert [ip_address(one).version for one in found] == [4, 6]
    for ip in map(literal, found):
        for asker in ("asker", "node-asker"):
            net.answers(asker, WEB, "http", f"{ip}:80/hostname", 20)
            net.answers(asker, WEB, "udp", f"{ip}:80", "hostname", 20)


def test_a_service_becomes_one_of_both_families_and_of_one_again(net: Place) -> None:
    def with_policy(policy: str) -> list[str]:
        net.apply(service("grows", HTTP, selector={"app": "web"}, ipFamilyPolicy=policy))
        return cluster_ips(net, "grows")

    (first,) = with_policy("SingleStack")
    net.answers("asker", WEB, "http", f"{first}:80/hostname", 20)

    first_again, second = with_policy("PreferDualStack")
    assert first_again == first
    net.answers("asker", WEB, "http", f"{literal(second)}:80/hostname", 20)

    assert with_policy("SingleStack") == [first]
    net.answers("asker", WEB, "http", f"{first}:80/hostname", 20)


def test_a_service_of_ipv6_alone_answers_at_its_node_port_too(net: Place) -> None:
    net.apply(
        service(
            "six",
            HTTP,
            selector={"app": "web"},
            type="NodePort",
            ipFamilies=["IPv6"],
            ipFamilyPolicy="SingleStack",
        )
    )
    (ip,) = cluster_ips(net, "six")
    assert ip_address(ip).version == 6
    net.answers("asker", WEB, "http", f"{literal(ip)}:80/hostname", 20)

    port = net.get("service", "six")["spec"]["ports"][0]["nodePort"]
    for machine in net.lab.cluster.machines:
        _, six = net.lab.cluster.addresses(machine)
        net.answers("node-asker", WEB, "http", f"[{six}]:{port}/hostname", 20)


def test_session_affinity_holds_by_ipv6(net: Place) -> None:
    net.apply(
        service(
            "sticky",
            HTTP,
            selector={"app": "web"},
            ipFamilyPolicy="RequireDualStack",
            sessionAffinity="ClientIP",
        )
    )
    six = literal(cluster_ips(net, "sticky")[1])

    def one() -> bool:
        found = set(net.ask("asker", "http", f"{six}:80/hostname", 16))
        assert len(found) == 1, found
        return found < WEB

    net.lab.eventually("one server answers", one)


def test_names_have_addresses_of_both_families(net: Place) -> None:
    net.apply(
        service("named", HTTP, selector={"app": "web"}, ipFamilyPolicy="RequireDualStack"),
        service("heads", HTTP, selector={"app": "web"}, ipFamilyPolicy="RequireDualStack", clusterIP="None"),
    )
    zone = f"{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"
    four, six = cluster_ips(net, "named")

    net.answers("asker", {four}, "dns", f"named.{zone}", "A")
    net.answers("asker", {six}, "dns", f"named.{zone}", "AAAA")
    for at, kind in enumerate(("A", "AAAA")):
        net.answers("asker", {ips(net, name)[at] for name in WEB}, "dns", f"heads.{zone}", kind)
    back = ip_address(six).reverse_pointer
    net.answers("asker", {f"named.{zone}."}, "dns", back, "PTR")


def test_policies_hold_for_both_families(net: Place) -> None:
    closed = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }
    there = [literal(one) for one in ips(net, "web-2")]
    net.apply(closed)
    try:
        for ip in there:
            net.answers("asker", {"error TimeoutError: timed out"}, "http", f"{ip}:8080/hostname")
    finally:
        net.kubectl("delete", "networkpolicy", "closed")
    for ip in there:
        net.answers("asker", {"web-2"}, "http", f"{ip}:8080/hostname")


def test_nothing_is_left_of_either_after_a_reset(net: Place) -> None:
    before = {one.name: ours(net.lab.ssh(one.name, LOOK)) for one in net.lab.cluster.machines}
    assert all(any("ip6 kube-proxy" in line for line in lines) for lines in before.values())

    net.lab.pyinfra(net.lab.topology.parents[1] / f"{TOPOLOGY}.py", "deploys/reset.py")

    for machine in net.lab.cluster.machines:
        assert ours(net.lab.ssh(machine.name, LOOK)) == []
