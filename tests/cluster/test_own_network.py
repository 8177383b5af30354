"""A pod network of the user's own, as docs/how-to/own-network.md has it: the plugins of the CNI project, and routes by hand.

The cluster is a small one of its own, with a cache of names on each node; services are served by nftables.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kybern.machines.node_names import ADDRESS, is_asked
from tests.cluster.conftest import Lab, made_apart
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
TOPOLOGY, NAMESPACE = "bridge", "default"
NODES = ("node-1", "node-2")
WEB = {"web-1", "web-2"}
LEFT = re.compile(r"node-dns|kybern-dns(:| inet)")  # of the cache: its units and files, its link, its address
PORT: dict[str, Any] = {"name": "http", "port": 80, "targetPort": 8080}


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    """Deployed, and nobody brought a network yet."""
    with made_apart(TOPOLOGY) as found:
        yield found


@pytest.fixture(scope="module")
def place(bare: Lab) -> Place:
    """With the network, and a server and an asker on each node."""
    networks = {name: bare.get("node", name)["spec"]["podCIDR"] for name in NODES}
    for machine in bare.cluster.machines:
        own = networks[machine.name]
        bare.ssh(machine.name, brought(own))
        outside = f"POSTROUTING -s {own} ! -d {bare.cluster.pod_cidr} ! -o stock0 -j MASQUERADE"
        bare.ssh(machine.name, f"iptables -t nat -C {outside} 2>/dev/null || iptables -t nat -A {outside}")
        for other in bare.cluster.machines:
            if other != machine:
                bare.ssh(machine.name, f"ip route replace {networks[other.name]} via {other.address}")
    bare.eventually("the nodes are ready", lambda: bare.nodes_ready() == set(NODES))
    made = Place.made(bare, NAMESPACE)
    made.run(
        server("web-1", "node-1", labels={"app": "web"}, ports=[{"containerPort": 8080, "hostPort": 54321}]),
        server("web-2", "node-2", labels={"app": "web"}),
        pod("asker", "node-1"),
    )
    made.apply(service("web", PORT, type="NodePort", selector={"app": "web"}))
    return made


def brought(network: str) -> str:
    """Puts the conflist that the how-to shows where it belongs; in one step, since the runtime looks all the time."""
    plugins: list[dict[str, Any]] = [
        {
            "type": "bridge",
            "bridge": "stock0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": network}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    text = json.dumps({"cniVersion": "1.0.0", "name": "stock", "plugins": plugins})
    there = "/etc/cni/net.d/20-stock.conflist"
    return f"echo '{text}' >{there}.new && mv {there}.new {there}"


def test_a_cluster_is_deployed_before_its_network_is_there_and_has_none_of_ours(bare: Lab) -> None:
    """The fixture's deploy has ended well: what brings the network may need the API first."""
    assert bare.get("nodes")["items"]
    for name in NODES:
        units = bare.ssh(name, "systemctl list-unit-files 'kybern-*' --no-legend")
        assert "kybern-pod-network" not in units
        assert bare.ssh(name, "ls /etc/cni/net.d").split() in ([], ["20-stock.conflist"])
        seen = bare.ssh(name, LOOK)
        assert not [line for line in ours(seen) if "cni0" in line or "vxlan" in line or "proto 75" in line]


def test_pods_services_and_ports_of_nodes_work_over_it(place: Place) -> None:
    for name in sorted(WEB):
        ip = place.get("pod", name)["status"]["podIP"]
        assert place.ask("asker", "http", f"{ip}:8080/hostname") == [name]
        # What a pod sends arrives with its own address.
        assert place.ask("asker", "http", f"{ip}:8080/clientip") == [
            place.get("pod", "asker")["status"]["podIP"]
        ]
    spec = place.get("service", "web")["spec"]
    place.answers("asker", WEB, "http", f"{spec['clusterIP']}:80/hostname", 16)
    for machine in place.lab.cluster.machines:
        place.answers("asker", WEB, "http", f"{machine.address}:{spec['ports'][0]['nodePort']}/hostname", 16)
    first, _ = place.lab.cluster.machines
    ask = f"curl -fsS --max-time 3 http://{first.address}:54321/hostname"
    assert place.lab.ssh("node-2", ask) == "web-1"


def test_the_world_sees_the_node_of_a_pod(place: Place) -> None:
    """The test's own host stands for the world, at its end of the machines' network."""

    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.client_address[0].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((str(place.lab.cluster.gateway), 0), Says) as world:
        Thread(target=world.serve_forever, daemon=True).start()
        said = place.ask("asker", "http", f"{place.lab.cluster.gateway}:{world.server_port}/")
        world.shutdown()

    assert said == [str(place.lab.cluster.machines[0].address)]


def test_a_pod_reaches_itself_by_its_service(place: Place) -> None:
    place.apply(service("own", PORT, selector={"app": "alone"}))
    place.run(server("alone", "node-2", labels={"app": "alone"}))
    ip = place.get("service", "own")["spec"]["clusterIP"]

    place.answers("alone", {"alone"}, "http", f"{ip}:80/hostname", 4)


def test_policies_hold_over_it(place: Place) -> None:
    ip = place.get("pod", "web-2")["status"]["podIP"]
    closed = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }
    place.apply(closed)
    try:
        place.answers("asker", {"error TimeoutError: timed out"}, "http", f"{ip}:8080/hostname")
    finally:
        place.kubectl("delete", "networkpolicy", "closed")
    place.answers("asker", {"web-2"}, "http", f"{ip}:8080/hostname")


def names_are_known(place: Place) -> None:
    ip = place.get("service", "web")["spec"]["clusterIP"]
    for name in ("web", f"web.{NAMESPACE}", f"web.{NAMESPACE}.svc.{place.lab.cluster.cluster_domain}"):
        place.answers("asker", {ip}, "resolve", name)


def test_a_pod_asks_the_cache_of_its_node(place: Place) -> None:
    lines = place.kubectl("exec", "asker", "--", "cat", "/etc/resolv.conf").splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    assert servers == [str(ADDRESS), str(place.lab.cluster.dns_address)]
    names_are_known(place)
    for way in ("udp", "tcp"):
        full = f"nobody.{NAMESPACE}.svc.{place.lab.cluster.cluster_domain}"
        assert place.ask("asker", "dns", full, "A", way) == ["error NXDOMAIN"]


def test_the_cache_answers_while_the_cluster_s_dns_is_away(place: Place) -> None:
    names_are_known(place)
    place.lab.ssh("node-1", "systemctl stop kybern-dns")
    try:
        names_are_known(place)
        unknown = f"unknown.{NAMESPACE}.svc.{place.lab.cluster.cluster_domain}"
        assert place.ask("asker", "dns", unknown, "A") == ["error SERVFAIL"]
    finally:
        place.lab.ssh("node-1", "systemctl start kybern-dns")
    names_are_known(place)


def test_while_the_cache_is_away_pods_ask_the_cluster_s_dns(place: Place) -> None:
    place.lab.ssh("node-1", "systemctl stop kybern-node-dns")
    try:
        assert place.ask("asker", "dns", "web", "A") == [
            "error ConnectionRefusedError: [Errno 111] Connection refused"
        ]
        names_are_known(place)
    finally:
        place.lab.ssh("node-1", "systemctl start kybern-node-dns")


@pytest.mark.parametrize("proxy", ["iptables", "nftables"])
def test_the_cache_works_with_each_backend_of_kube_proxy(place: Place, tmp_path: Path, proxy: str) -> None:
    """What ipvs does is left to the virtual machine: it needs a kernel of its own."""
    place.lab.deploy_with(tmp_path, proxy=proxy)
    place.kubectl("delete", "pod", "fresh", "--ignore-not-found")
    place.run(pod("fresh", "node-2"))

    ip = place.get("service", "web")["spec"]["clusterIP"]
    place.answers("fresh", {ip}, "resolve", "web")
    place.answers("fresh", WEB, "http", "web:80/hostname", 16)


def test_a_cache_that_is_switched_off_stays_for_the_pods_that_were_told_of_it(
    place: Place, tmp_path: Path
) -> None:
    place.lab.deploy_with(tmp_path, node_local_dns=False)
    place.run(pod("later", "node-2"))

    ip = place.get("service", "web")["spec"]["clusterIP"]
    full = f"web.{NAMESPACE}.svc.{place.lab.cluster.cluster_domain}"
    assert place.ask("asker", "dns", full, "A") == [ip], "the cache itself, which is the pod's first server"
    servers = place.kubectl("exec", "later", "--", "grep", "nameserver", "/etc/resolv.conf").split()[1::2]
    assert servers == [str(place.lab.cluster.dns_address)]
    said = place.lab.kybern("status", str(tmp_path / "topology.yaml"), check=False).stdout
    for name in NODES:
        assert f"{name} keeps its cache of names for" in said, said
    assert "0 changes on 2 machines" in place.lab.kybern("deploy", str(tmp_path / "topology.yaml")).stdout


def test_once_those_pods_are_gone_nothing_of_the_cache_is_left(place: Place, tmp_path: Path) -> None:
    """What the test before has left: a cache on each node that new pods know nothing of."""
    told = [one["metadata"]["name"] for one in place.get("pods")["items"]]
    place.kubectl("delete", "pod", *(name for name in told if name != "later"), seconds=90)
    for name in NODES:
        gone = partial(place.lab.ssh, name, f"! {{ {is_asked()}; }} && echo gone")
        place.lab.eventually(f"the runtime of {name} has forgotten them", gone, seconds=120)

    place.lab.deploy_with(tmp_path, node_local_dns=False)

    for name in NODES:
        seen = place.lab.ssh(name, LOOK + "systemctl list-unit-files --no-legend; ls /etc/kybern")
        assert not [line for line in seen.splitlines() if LEFT.search(line)], seen
        assert str(ADDRESS) not in seen
    ip = place.get("service", "web")["spec"]["clusterIP"]
    place.answers("later", {ip}, "resolve", "web")


def test_a_reset_leaves_the_user_s_bridge_and_nothing_of_ours(place: Place, tmp_path: Path) -> None:
    place.lab.deploy_with(tmp_path)  # the cache is there again
    place.lab.eventually(
        "its link is there",
        partial(place.lab.ssh, "node-2", f"ip address show to {ADDRESS} | grep kybern"),
    )

    place.lab.pyinfra(tmp_path / "inventory.py", "deploys/reset.py")

    for name in NODES:
        seen = place.lab.ssh(name, LOOK)
        assert ours(seen) == []
        assert "stock0" in seen
