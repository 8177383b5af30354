"""What upstream's e2e suite asks of load balancers (test/e2e/network/loadbalancer.go), by our pools, with real packets.

The test's own host asks from outside: it is on the machines' network and no part of the cluster.
"""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster.asking import HTTP, UDP, change, ip_of, is_down, is_up, leads_to, machine, node_port
from tests.cluster.conftest import Lab, space
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
NAMESPACE = "services-balancers"
WEB = {"web-1", "web-2"}
# The machines are here: whatever proxy this host uses for the world knows nothing of them.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def net(services_lab: Lab) -> Iterator[Place]:
    """A server and an asker on each worker."""
    with space(services_lab, NAMESPACE):
        place = Place.made(services_lab, NAMESPACE)
        place.run(
            server("web-1", "worker-1", labels={"app": "web"}),
            server("web-2", "worker-2", labels={"app": "web"}),
            *(pod(f"asker-{at}", f"worker-{at}") for at in (1, 2)),
            pod("node-asker-2", "worker-2", hostNetwork=True),
        )
        yield place


def balancer(name: str, *ports: dict[str, Any], app: str = "web", **spec: Any) -> dict[str, Any]:
    return service(name, *(ports or (HTTP,)), selector={"app": app}, type="LoadBalancer", **spec)


def address(net: Place, name: str) -> str:
    def found() -> str:
        ingress = net.get("service", name)["status"]["loadBalancer"].get("ingress", [])
        return str(ingress[0]["ip"]) if ingress else ""

    return str(net.lab.eventually(f"{name} has an address", found))


def fetch(where: str, path: str = "hostname") -> str:
    """What is answered to this host; "" when nothing is."""
    try:
        with DIRECT.open(f"http://{where}/{path}", timeout=2) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return ""


def reached(net: Place, where: str, wanted: set[str]) -> None:
    """From outside: each of those servers in time, and no other."""
    seen: set[str] = set()

    def found() -> bool:
        seen.update(filter(None, (fetch(where) for _ in range(10))))
        assert seen <= wanted, seen
        return seen == wanted

    net.lab.eventually(f"{wanted} answer at {where}", found)


def unreached(net: Place, where: str) -> None:
    net.lab.eventually(f"nobody answers at {where}", lambda: not fetch(where))


def test_the_type_of_a_service_changes_and_what_stays_stays(net: Place) -> None:
    name, at = "types", machine(net, "worker-1")
    net.apply(service(name, HTTP, selector={"app": "web"}))
    is_up(net, f"{ip_of(net, name)}:80", WEB)
    change(net, name, type="NodePort")
    port = node_port(net, name)
    is_up(net, f"{at}:{port}", WEB)

    change(net, name, type="LoadBalancer")
    ip = address(net, name)
    assert node_port(net, name) == port
    for where in (f"{ip_of(net, name)}:80", f"{at}:{port}", f"{ip}:80"):
        is_up(net, where, WEB)
    reached(net, ip, WEB)

    change(net, name, type="ClusterIP")
    assert "nodePort" not in net.get("service", name)["spec"]["ports"][0]
    net.lab.eventually("no address", lambda: not net.get("service", name)["status"]["loadBalancer"])
    unreached(net, ip)


def test_ports_of_a_balancer_change_and_its_address_stays(net: Place) -> None:
    name, at = "ports", machine(net, "worker-1")
    net.run(server(name, "worker-1", labels={"app": name}))
    net.apply(balancer(name, app=name))
    ip, port = address(net, name), node_port(net, name)
    reached(net, ip, {name})

    another = port + 1 if port < 32767 else port - 1
    change(net, name, ports=[{**HTTP, "nodePort": another}])
    assert address(net, name) == ip
    reached(net, f"{at}:{another}", {name})
    reached(net, ip, {name})

    change(net, name, ports=[{**HTTP, "port": 81, "nodePort": another}])
    assert (address(net, name), node_port(net, name)) == (ip, another)
    reached(net, f"{ip}:81", {name})
    unreached(net, ip)

    net.kubectl("delete", "pod", name)
    unreached(net, f"{ip}:81")
    net.run(server(name, "worker-2", labels={"app": name}))
    reached(net, f"{ip}:81", {name})


def test_only_those_of_the_source_ranges_are_let_in(net: Place) -> None:
    net.apply(balancer("ranges"))
    ip = address(net, "ranges")
    accepted = net.get("pod", "asker-1")["status"]

    def let_in(outside: bool, first: bool, second: bool) -> None:
        net.lab.eventually(f"from outside: {outside}", lambda: bool(fetch(ip)) == outside)
        for asker, allowed in (("asker-1", first), ("asker-2", second)):
            if allowed:
                net.answers(asker, WEB, "http", f"{ip}:80/hostname", 20)
            else:
                is_down(net, f"{ip}:80", asker)

    let_in(True, True, True)
    change(net, "ranges", loadBalancerSourceRanges=[f"{accepted['podIP']}/32", f"{accepted['hostIP']}/32"])
    let_in(False, True, False)
    change(net, "ranges", loadBalancerSourceRanges=["0.0.0.0/1", "128.0.0.0/1"])
    let_in(True, True, True)
    change(net, "ranges", loadBalancerSourceRanges=["255.0.0.0/32"])
    let_in(False, False, False)
    change(net, "ranges", loadBalancerSourceRanges=None)
    let_in(True, True, True)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_session_affinity_holds_and_is_switched_off_and_on(net: Place, policy: str) -> None:
    """With Local, those behind the address are on one node: where it is announced."""
    name = f"sticky-{policy.lower()}"
    net.run(*(server(f"{name}-{at}", "worker-1", labels={"app": name}) for at in (1, 2)))
    net.apply(balancer(name, app=name, sessionAffinity="ClientIP", externalTrafficPolicy=policy))
    both, ip = {f"{name}-1", f"{name}-2"}, address(net, name)

    def one() -> bool:
        said = {fetch(ip) for _ in range(16)}
        assert len(said) == 1, said
        return said < both

    net.lab.eventually("one answers", one)
    change(net, name, sessionAffinity="None")
    reached(net, ip, both)
    change(net, name, sessionAffinity="ClientIP")
    net.lab.eventually("one answers again", one)


def test_a_balancer_without_node_ports_gets_them_when_it_asks(net: Place) -> None:
    net.apply(service("portless", HTTP, selector={"app": "web"}))
    change(net, "portless", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    ip = address(net, "portless")
    assert "nodePort" not in net.get("service", "portless")["spec"]["ports"][0]
    reached(net, ip, WEB)

    change(net, "portless", allocateLoadBalancerNodePorts=True)
    assert node_port(net, "portless")
    assert address(net, "portless") == ip
    reached(net, ip, WEB)
    net.lab.eventually(
        "and by node port", lambda: fetch(f"{machine(net, 'worker-1')}:{node_port(net, 'portless')}")
    )


def test_one_port_of_a_balancer_serves_two_protocols(net: Place) -> None:
    net.apply(balancer("two-protocols", HTTP, UDP))
    ip = address(net, "two-protocols")
    for where in (ip, ip_of(net, "two-protocols")):
        net.answers("asker-1", WEB, "http", f"{where}:80/hostname", 20)
        net.answers("asker-1", WEB, "udp", f"{where}:80", "hostname", 20)


@pytest.mark.parametrize("second", ["worker-1", "worker-2"])
def test_a_client_of_udp_outside_gets_to_the_pod_that_is_there(net: Place, second: str) -> None:
    """It asks from one port all the time, so that it is one flow for every kernel on the way."""
    name = f"udp-{second}"
    net.apply(balancer(name, UDP, app=name))
    ip = address(net, name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(1)
        line.connect((ip, 80))

        def said(wanted: str) -> bool:
            try:
                line.send(b"hostname")
                return line.recv(100).decode() == wanted
            except (TimeoutError, ConnectionRefusedError):
                return False

        assert not said("anything")
        net.run(server(f"{name}-a", "worker-1", labels={"app": name}))
        net.lab.eventually("the first answers", partial(said, f"{name}-a"))
        net.run(server(f"{name}-b", second, labels={"app": name}))
        net.kubectl("delete", "pod", f"{name}-a")
        leads_to(net, name, {f"{name}-b": {8080}})
        net.lab.eventually("the second answers", partial(said, f"{name}-b"))


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_a_daemon_set_is_rolled_without_a_gap(net: Place, policy: str) -> None:
    """Upstream bears one request in twenty that fails."""
    name = f"rolled-{policy.lower()}"
    one = server(name, "", labels={"app": name}, terminationGracePeriodSeconds=20)
    del one["spec"]["nodeName"]
    made = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": one["spec"]},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        },
    }
    net.apply(made, balancer(name, app=name, externalTrafficPolicy=policy))
    net.kubectl("rollout", "status", "daemonset", name, "--timeout=60s", seconds=90)
    ip = address(net, name)
    net.lab.eventually("it answers", lambda: fetch(ip))

    answered: list[bool] = []

    def rolled() -> bool:
        answered.append(fetch(ip, "echo?msg=hello") == "hello")
        status = net.get("daemonset", name)
        return bool(
            status["status"].get("observedGeneration") == status["metadata"]["generation"]
            and status["status"].get("updatedNumberScheduled") == status["status"]["desiredNumberScheduled"]
            and not status["status"].get("numberUnavailable")
        )

    for version in range(2):
        env = [{"name": "c", "env": [{"name": "VERSION", "value": str(version)}]}]
        net.kubectl(
            "patch",
            "daemonset",
            name,
            "-p",
            json.dumps({"spec": {"template": {"spec": {"containers": env}}}}),
        )
        net.lab.eventually("it is rolled", rolled, seconds=120)
    assert sum(answered) >= 0.95 * len(answered), f"{answered.count(False)} of {len(answered)} failed"
    net.lab.eventually("it answers", lambda: fetch(ip))


def health(net: Place, node: str, port: int) -> str:
    """The status that a node's health port answers; "000" when nobody does."""
    url = f"http://{machine(net, node)}:{port}/healthz"
    return net.lab.ssh("master-1", f"curl -so /dev/null -w '%{{http_code}}' -m 5 {url}", check=False)


def test_an_external_policy_of_local_shows_who_asks_and_gives_its_health_port_back(net: Place) -> None:
    net.apply(balancer("local", externalTrafficPolicy="Local"))
    ip, port = address(net, "local"), net.get("service", "local")["spec"]["healthCheckNodePort"]
    assert port
    own = next(iter(net.lab.cluster.network.hosts()))
    net.lab.eventually("this host is seen as itself", lambda: fetch(ip, "clientip") == str(own))
    for asker in ("asker-1", "asker-2"):
        # A pod that asks is seen as itself, too: it need not go by the node that announces the address.
        net.answers(asker, {net.get("pod", asker)["status"]["podIP"]}, "http", f"{ip}:80/clientip")

    change(net, "local", type="ClusterIP")
    for node in ("worker-1", "worker-2"):
        net.lab.eventually("the health port is closed", lambda: health(net, node, port) == "000")  # noqa: B023  # at once


def test_only_nodes_with_endpoints_say_that_they_are_well(net: Place) -> None:
    net.apply(balancer("targets", {**HTTP, "port": 8081}, app="targets", externalTrafficPolicy="Local"))
    ip, port = address(net, "targets"), net.get("service", "targets")["spec"]["healthCheckNodePort"]
    for node, other in (("worker-1", "worker-2"), ("worker-2", "worker-1")):
        net.run(server("target", node, labels={"app": "targets"}))
        net.lab.eventually("it answers", lambda: fetch(f"{ip}:8081") == "target")
        net.lab.eventually(f"{node} is well", lambda: health(net, node, port) == "200")  # noqa: B023  # at once
        net.lab.eventually(f"{other} is not", lambda: health(net, other, port) == "503")  # noqa: B023  # at once
        net.kubectl("delete", "pod", "target")


def test_the_class_of_a_balancer_stays_as_it_was_made(net: Place) -> None:
    """Another's is left alone, whoever writes its status."""
    net.apply(balancer("classy", loadBalancerClass="example.com/internal-vip"))
    with pytest.raises(subprocess.CalledProcessError, match=r"loadBalancerClass.*may not change once set"):
        change(net, "classy", loadBalancerClass="example.com/other")
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}})
    net.kubectl("patch", "service", "classy", "--subresource=status", "--type=merge", "-p", status)
    net.apply(balancer("ours"))
    address(net, "ours")
    assert address(net, "classy") == "203.0.113.1"
