"""Machines without any address of IPv4: a small cluster whose own network is of IPv6, with all that services may have."""

import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from kybern.machines.node_names import ADDRESS6
from tests.cluster.conftest import made_apart
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
TOPOLOGY, NAMESPACE = "six-only", "default"
WEB = {"web-1", "web-2"}
HTTP: dict[str, Any] = {"name": "http", "port": 80, "targetPort": 8080}
UDP: dict[str, Any] = {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}


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
        place.apply(service("web", HTTP, UDP, selector={"app": "web"}, type="LoadBalancer"))
        yield place


def fetched(address: str, path: str = "/hostname", host: str = "") -> str:
    """By this host, which is the machines' neighbour; empty where nobody answers."""
    header = ("-H", f"Host: {host}") if host else ()
    words = ["curl", "-fsS", "--max-time", "3", *header, f"http://{address}{path}"]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=10).stdout.strip()


def test_no_machine_has_an_address_of_ipv4(net: Place) -> None:
    for machine in net.lab.cluster.machines:
        shown = net.lab.ssh(machine.name, "ip -o -4 address show scope global")
        assert shown == ""
        node = net.lab.get("node", machine.name)
        told = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert told == [str(machine.address)]
    slices = net.lab.get("endpointslices", "-A")["items"]
    assert {one["addressType"] for one in slices} == {"IPv6"}
    assert "https://[fd00:51::10]:6443" in net.lab.kubeconfig.read_text()


def test_the_virtual_address_leads_to_the_api_and_is_nobody_s_own(net: Place) -> None:
    assert "ok" in net.kubectl("get", "--raw", "/readyz")
    held = net.lab.ssh("master-1", f"ip -o address show to {net.lab.cluster.vip}")
    assert f"{net.lab.cluster.vip}/128" in held
    # What the machine sends itself leaves from its own address: the virtual one may be elsewhere in a moment.
    assert "src fd00:51::11" in net.lab.ssh("master-1", "ip -o route get fd00:51::21")


@pytest.mark.parametrize("asker", ["asker", "node-asker"])
def test_services_answer_at_their_address_their_name_and_every_node_s_port(net: Place, asker: str) -> None:
    found = net.get("service", "web")["spec"]
    assert ip_address(found["clusterIP"]).version == 6

    net.answers(asker, WEB, "http", f"[{found['clusterIP']}]:80/hostname", 20)
    net.answers(asker, WEB, "udp", f"[{found['clusterIP']}]:80", "hostname", 20)
    for machine in net.lab.cluster.machines:
        net.answers(asker, WEB, "http", f"{machine.host}:{found['ports'][0]['nodePort']}/hostname", 20)


def test_pods_ask_for_names_at_their_node_s_cache_and_the_service_stands_behind(net: Place) -> None:
    told = net.kubectl("exec", "asker", "--", "cat", "/etc/resolv.conf").splitlines()
    servers = [line.split()[1] for line in told if line.startswith("nameserver")]
    assert servers == [str(ADDRESS6), str(net.lab.cluster.dns_address)]

    net.answers("asker", WEB, "http", "web:80/hostname", 20)
    ip = net.get("service", "web")["spec"]["clusterIP"]
    net.answers("asker", {ip}, "dns", f"web.{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}", "AAAA")


def test_a_neighbour_finds_an_address_of_a_pool_by_asking_for_it(net: Place) -> None:
    def given() -> str:
        status = net.get("service", "web")["status"]["loadBalancer"]
        return next((one["ip"] for one in status.get("ingress", ())), "")

    address = net.lab.eventually("the service has an address", given)
    assert ip_address(address) in {ip_address("fd00:51::100") + at for at in range(17)}
    net.lab.eventually("it answers", lambda: fetched(f"[{address}]") in WEB)
    # Neighbour discovery led here, and no machine bears the address itself.
    shown = subprocess.run(
        ["ip", "neighbour", "show", address], check=True, capture_output=True, text=True, timeout=10
    )
    assert "lladdr" in shown.stdout
    for machine in net.lab.cluster.machines:
        assert address not in net.lab.ssh(machine.name, "ip -o address show")


def test_an_ingress_is_served_on_the_workers(net: Place) -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    net.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {
                "ingressClassName": "kybern",
                "rules": [{"host": "web.test", "http": {"paths": [path]}}],
            },
        }
    )

    worker = net.lab.cluster.workers[0]
    net.lab.eventually("it is served", lambda: fetched(worker.host, host="web.test") in WEB)
    net.lab.eventually(
        "its status says where",
        lambda: (
            [one["ip"] for one in net.get("ingress", "web")["status"]["loadBalancer"].get("ingress", ())]
            == [str(worker.address)]
        ),
    )


def test_pods_reach_what_is_outside_by_their_machine_s_address(net: Place) -> None:
    """The gateway is this host: whoever asks is seen as the machine, since nobody outside knows pods."""
    with socket.create_server((str(net.lab.cluster.gateway), 0), family=socket.AF_INET6) as listening:
        listening.settimeout(60)
        port = listening.getsockname()[1]
        asks = (
            f"import socket; socket.create_connection(({str(net.lab.cluster.gateway)!r}, {port}), 20).close()"
        )
        net.kubectl("exec", "asker", "--", "python3", "-c", asks)
        connection, seen = listening.accept()
        connection.close()
    assert seen[0] == "fd00:51::21"


def test_who_reaches_whom_is_told_and_every_machine_is_as_it_should_be(net: Place) -> None:
    name = net.lab.cluster.name

    said = net.lab.kybern("net", "check", name, seconds=180).stdout
    assert "fails" not in said
    assert f"{name} is whole" in net.lab.kybern("status", name).stdout
    net.lab.kybern("verify", name, seconds=300)


def test_a_second_deploy_changes_nothing_and_a_machine_comes_back_from_its_end(net: Place) -> None:
    assert "0 changes on 2 machines" in net.lab.kybern("deploy", TOPOLOGY).stdout

    net.lab.kybern("machines", "kill", TOPOLOGY, "worker-1")
    net.lab.start("worker-1")
    ip = net.get("service", "web")["spec"]["clusterIP"]
    net.answers("node-asker", WEB, "http", f"[{ip}]:80/hostname", 20, seconds=120)


def test_nothing_is_left_after_a_reset(net: Place) -> None:
    net.lab.pyinfra(net.lab.topology.parents[1] / f"{TOPOLOGY}.py", "deploys/reset.py")

    for machine in net.lab.cluster.machines:
        assert ours(net.lab.ssh(machine.name, LOOK)) == []
