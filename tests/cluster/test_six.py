"""Pods and services with IPv6 addresses alone: a small cluster of its own, by iptables."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.cluster.conftest import made_apart
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
TOPOLOGY, NAMESPACE = "six", "default"
WEB = {"web-1", "web-2"}
HTTP: dict[str, Any] = {"name": "http", "port": 80, "targetPort": 8080}
UDP: dict[str, Any] = {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}
# Asks the API as a pod's own library does: by the environment, with the account's token.
ASK_API = """
import os, ssl, urllib.request
at = "/var/run/secrets/kubernetes.io/serviceaccount/"
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
asked = urllib.request.Request(f"https://[{host}]:{port}/version")
asked.add_header("Authorization", "Bearer " + open(at + "token").read())
trusted = ssl.create_default_context(cafile=at + "ca.crt")
print(urllib.request.urlopen(asked, timeout=10, context=trusted).status)
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Place]:
    """A server on each node, an asker, and one on a node's own network; and a service of the servers."""
    with made_apart(TOPOLOGY) as lab:
        place = Place.made(lab, NAMESPACE)
        taint: dict[str, Any] = {"tolerations": [{"operator": "Exists"}]}
        place.run(
            server("web-1", "worker-1", labels={"app": "web"}),
            server("web-2", "master-1", labels={"app": "web"}, **taint),
            pod("asker", "worker-1"),
            pod("node-asker", "master-1", hostNetwork=True, **taint),
        )
        place.apply(service("web", HTTP, UDP, selector={"app": "web"}, type="NodePort"))
        yield place


def ip_of(net: Place, name: str) -> str:
    """A pod's only address, as it stands before a port."""
    (found,) = net.get("pod", name)["status"]["podIPs"]
    assert ip_address(found["ip"]).version == 6
    return f"[{found['ip']}]"


def cluster_ip(net: Place, name: str) -> str:
    spec = net.get("service", name)["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")
    (found,) = spec["clusterIPs"]
    assert ip_address(found).version == 6
    return str(found)


def test_nodes_and_the_cluster_s_own_services_are_of_ipv6(net: Place) -> None:
    for machine in net.lab.cluster.machines:
        node = net.lab.get("node", machine.name)
        told = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert told == [str(net.lab.cluster.address6(machine))]
        assert [ip_address(one.split("/")[0]).version for one in node["spec"]["podCIDRs"]] == [6]
    slices = net.lab.get("endpointslices", "-A")["items"]
    assert {one["addressType"] for one in slices} == {"IPv6"}
    assert net.get("service", "kubernetes")["spec"]["clusterIP"] == "fd00:96::1"


@pytest.mark.parametrize("target", sorted(WEB))
def test_pods_reach_pods_with_their_own_addresses(net: Place, target: str) -> None:
    there = ip_of(net, target)

    for asker in ("asker", "node-asker"):
        assert net.ask(asker, "http", f"{there}:8080/hostname") == [target]
        assert net.ask(asker, "udp", f"{there}:8080", "hostname") == [target]
    assert net.ask("asker", "http", f"{there}:8080/clientip") == [ip_of(net, "asker").strip("[]")]


def test_a_service_answers_at_its_address_and_at_every_node_s_port(net: Place) -> None:
    ip = cluster_ip(net, "web")
    port = net.get("service", "web")["spec"]["ports"][0]["nodePort"]

    for asker in ("asker", "node-asker"):
        net.answers(asker, WEB, "http", f"[{ip}]:80/hostname", 20)
        net.answers(asker, WEB, "udp", f"[{ip}]:80", "hostname", 20)
        for machine in net.lab.cluster.machines:
            six = net.lab.cluster.address6(machine)
            net.answers(asker, WEB, "http", f"[{six}]:{port}/hostname", 20)


def test_names_have_addresses_of_ipv6_alone(net: Place) -> None:
    net.apply(service("heads", HTTP, selector={"app": "web"}, clusterIP="None"))
    zone = f"{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"
    ip = cluster_ip(net, "web")

    net.answers("asker", {ip}, "dns", f"web.{zone}", "AAAA")
    assert net.ask("asker", "dns", f"web.{zone}", "A") == [""]
    net.answers("asker", {ip_of(net, one).strip("[]") for one in WEB}, "dns", f"heads.{zone}", "AAAA")
    net.answers("asker", {f"web.{zone}."}, "dns", ip_address(ip).reverse_pointer, "PTR")
    net.answers("asker", WEB, "http", "web:80/hostname", 20)


def test_the_api_is_reached_from_pods_and_reaches_them(net: Place) -> None:
    assert net.kubectl("exec", "asker", "--", "python3", "-c", ASK_API).strip() == "200"
    assert net.kubectl("exec", "web-1", "--", "echo", "by the kubelet").strip() == "by the kubelet"
    path = f"/api/v1/namespaces/{NAMESPACE}"
    assert net.kubectl("get", "--raw", f"{path}/pods/web-1:8080/proxy/hostname").strip() == "web-1"
    assert net.kubectl("get", "--raw", f"{path}/services/web:http/proxy/hostname").strip() in WEB
    assert "ok" in net.kubectl("get", "--raw", "/api/v1/nodes/worker-1/proxy/healthz")
    net.lab.eventually("nodes are measured", lambda: "worker-1" in net.kubectl("top", "nodes"), seconds=90)


def test_a_service_of_the_family_that_is_not_there_is_refused(net: Place) -> None:
    wanted = json.dumps(service("four", HTTP, ipFamilies=["IPv4"]))

    said = net.kubectl("create", "-f", "-", stdin=wanted, check=False)

    assert "spec.ipFamilies[0]" in said
    assert "not configured on this cluster" in said


def test_policies_hold(net: Place) -> None:
    there = ip_of(net, "web-2")
    closed: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }
    net.apply(closed)
    try:
        net.answers("asker", {"error TimeoutError: timed out"}, "http", f"{there}:8080/hostname")
        closed["spec"]["ingress"] = [{"from": [{"ipBlock": {"cidr": "fd00:244::/56"}}]}]
        net.apply(closed)
        net.answers("asker", {"web-2"}, "http", f"{there}:8080/hostname")
    finally:
        net.kubectl("delete", "networkpolicy", "closed")


def test_who_reaches_whom_is_told_of_ipv6(net: Place) -> None:
    said = net.lab.kybern("net", "check", net.lab.cluster.name, seconds=180).stdout

    assert "IPv6" in said
    assert "IPv4" not in said
    assert "fails" not in said


def test_every_machine_is_as_it_should_be(net: Place) -> None:
    net.lab.kybern("verify", net.lab.cluster.name, seconds=180)


def test_nothing_is_left_after_a_reset(net: Place) -> None:
    net.lab.pyinfra(net.lab.topology.parents[1] / f"{TOPOLOGY}.py", "deploys/reset.py")

    for machine in net.lab.cluster.machines:
        assert ours(net.lab.ssh(machine.name, LOOK)) == []
