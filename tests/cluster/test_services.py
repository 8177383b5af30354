"""What upstream's e2e suite asks of services (test/e2e/network/service.go), with real packets.

Which test holds which of upstream's cases is said in ``tests/data/network_cases.json``.
"""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.asking import (
    HTTP,
    REFUSED,
    SILENCE,
    UDP,
    change,
    ip_of,
    is_down,
    is_up,
    leads_to,
    machine,
    node_port,
    one_answers,
    refused,
)
from tests.cluster.conftest import Lab, space
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
NAMESPACE = "services"
WEB = {"web-1", "web-2"}
ASKERS = ("asker-1", "asker-2", "node-asker-1", "node-asker-2")


@pytest.fixture(scope="module")
def net(services_lab: Lab) -> Iterator[Place]:
    """A server and askers on each worker: one in a pod's network, one in the node's own."""
    with space(services_lab, NAMESPACE):
        place = Place.made(services_lab, NAMESPACE)
        place.run(
            server("web-1", "worker-1", "8080,8081", labels={"app": "web"}),
            server("web-2", "worker-2", "8080,8081", labels={"app": "web"}),
            *(pod(f"asker-{at}", f"worker-{at}") for at in (1, 2)),
            *(pod(f"node-asker-{at}", f"worker-{at}", hostNetwork=True) for at in (1, 2)),
        )
        yield place


def test_endpoints_come_and_go_with_their_pods(net: Place) -> None:
    net.apply(service("basic", HTTP, selector={"app": "basic"}))
    leads_to(net, "basic", {})

    net.run(server("basic-1", "worker-1", labels={"app": "basic"}))
    leads_to(net, "basic", {"basic-1": {8080}})
    net.run(server("basic-2", "worker-2", labels={"app": "basic"}))
    leads_to(net, "basic", {"basic-1": {8080}, "basic-2": {8080}})
    is_up(net, f"{ip_of(net, 'basic')}:80", {"basic-1", "basic-2"})

    net.kubectl("delete", "pod", "basic-1")
    leads_to(net, "basic", {"basic-2": {8080}})
    is_up(net, f"{ip_of(net, 'basic')}:80", {"basic-2"})
    net.kubectl("delete", "pod", "basic-2")
    leads_to(net, "basic", {})


def test_ports_are_added_and_taken_away(net: Place) -> None:
    """By the names that pods give them: each pod has one of the two."""
    first, second = ({"name": f"portname{at}", "port": 80 + at, "targetPort": f"svc{at}"} for at in (1, 2))
    net.apply(service("edited", first, selector={"app": "edited"}))
    leads_to(net, "edited", {})

    def named(at: int) -> dict[str, Any]:
        ports = [{"name": f"svc{at}", "containerPort": 8080}]
        return server(f"edited-{at}", f"worker-{at}", labels={"app": "edited"}, ports=ports)

    net.run(named(1))
    leads_to(net, "edited", {"edited-1": {8080}})
    ip = ip_of(net, "edited")
    net.answers("asker-1", {"edited-1"}, "http", f"{ip}:81/hostname", 5)

    change(net, "edited", ports=[first, second])
    net.run(named(2))
    leads_to(net, "edited", {"edited-1": {8080}, "edited-2": {8080}})
    net.answers("asker-1", {"edited-1"}, "http", f"{ip}:81/hostname", 5)
    net.answers("asker-1", {"edited-2"}, "http", f"{ip}:82/hostname", 5)

    change(net, "edited", ports=[first])
    leads_to(net, "edited", {"edited-1": {8080}})
    net.answers("asker-1", {"edited-1"}, "http", f"{ip}:81/hostname", 5)
    is_down(net, f"{ip}:82")


def test_a_service_leads_to_the_named_port_of_a_sidecar(net: Place) -> None:
    """Ports of init containers that go on running count as those of containers do (kubernetes#128850)."""
    made = server("with-sidecar", "worker-1", labels={"app": "sidecar"})
    (main,) = made["spec"]["containers"]
    beside = {
        **main,
        "name": "beside",
        "restartPolicy": "Always",
        "ports": [{"name": "beside", "containerPort": 8080}],
    }
    waiting = {**main, "command": ["sleep", "3600"]}
    del waiting["readinessProbe"]
    made["spec"] |= {"initContainers": [beside], "containers": [waiting]}
    net.run(made)
    net.apply(
        service("sidecar", {"name": "http", "port": 80, "targetPort": "beside"}, selector={"app": "sidecar"})
    )

    leads_to(net, "sidecar", {"with-sidecar": {8080}})
    net.answers("asker-2", {"with-sidecar"}, "http", f"{ip_of(net, 'sidecar')}:80/hostname", 5)


def test_a_pod_is_seen_with_its_own_address_behind_a_cluster_address(net: Place) -> None:
    net.apply(service("source", HTTP, selector={"app": "web"}))
    for asker in ("asker-1", "asker-2"):
        own = net.get("pod", asker)["status"]["podIP"]
        net.answers(asker, {own}, "http", f"{ip_of(net, 'source')}:80/clientip", 20)


def test_a_pod_reaches_itself_through_its_service(net: Place) -> None:
    net.run(server("hairpin", "worker-1", labels={"app": "hairpin"}))
    # Of another name: a pod knows its own as its own address.
    net.apply(service("back", HTTP, UDP, selector={"app": "hairpin"}, type="NodePort"))
    ip, at_node = ip_of(net, "back"), f"{machine(net, 'worker-1')}:{node_port(net, 'back')}"

    net.answers("hairpin", {"hairpin"}, "http", f"{ip}:80/hostname", 5)
    net.answers("hairpin", {"hairpin"}, "udp", f"{ip}:80", "hostname", 5)
    net.answers("hairpin", {"hairpin"}, "http", "back:80/hostname")
    net.answers("hairpin", {"hairpin"}, "http", f"{at_node}/hostname", 5)


def test_services_go_up_and_down_each_by_itself(net: Place) -> None:
    for name in ("up-1", "up-2"):
        net.apply(service(name, HTTP, selector={"app": "web"}))
    first, second = (f"{ip_of(net, name)}:80" for name in ("up-1", "up-2"))
    is_up(net, first, WEB)
    is_up(net, second, WEB)

    net.kubectl("delete", "service", "up-1")
    is_down(net, first)
    is_up(net, second, WEB)

    net.apply(service("up-3", HTTP, selector={"app": "web"}))
    third = f"{ip_of(net, 'up-3')}:80"
    assert third != second
    is_up(net, second, WEB)
    is_up(net, third, WEB)


def test_a_service_works_when_it_is_made_again(net: Place) -> None:
    for _ in range(2):
        net.apply(service("again", HTTP, selector={"app": "web"}))
        is_up(net, f"{ip_of(net, 'again')}:80", WEB)
        net.kubectl("delete", "service", "again")


def test_services_work_while_and_after_the_api_server_is_started_anew(net: Place) -> None:
    net.apply(service("before", HTTP, selector={"app": "web"}))
    before = f"{ip_of(net, 'before')}:80"
    is_up(net, before, WEB)

    net.lab.ssh("master-1", "systemctl restart kube-apiserver")
    net.lab.eventually("the API is ready", lambda: net.lab.kubectl("get", "--raw", "/readyz") == "ok")
    is_up(net, before, WEB)
    net.apply(service("after", HTTP, selector={"app": "web"}))
    after = f"{ip_of(net, 'after')}:80"
    assert after != before
    is_up(net, before, WEB)
    is_up(net, after, WEB)


def test_a_node_port_answers_at_every_node_and_by_its_name(net: Place) -> None:
    net.apply(service("by-node", HTTP, selector={"app": "web"}, type="NodePort"))
    net.answers("asker-1", WEB, "http", "by-node:80/hostname", 20)
    is_up(net, f"{ip_of(net, 'by-node')}:80", WEB)
    for one in net.lab.cluster.machines:
        is_up(net, f"{one.address}:{node_port(net, 'by-node')}", WEB)


def test_an_address_that_no_node_has_leads_to_a_service_of_its_own(net: Place) -> None:
    net.apply(service("external", HTTP, selector={"app": "web"}, externalIPs=["203.0.113.250"]))
    is_up(net, f"{ip_of(net, 'external')}:80", WEB)
    is_up(net, "203.0.113.250:80", WEB)


def test_a_cluster_address_becomes_a_node_port_of_two_protocols(net: Place) -> None:
    net.apply(service("becomes", {"port": 80, "targetPort": 8080}, selector={"app": "web"}))
    change(net, "becomes", type="NodePort", ports=[HTTP])
    at = machine(net, "worker-2")
    is_up(net, f"{at}:{node_port(net, 'becomes')}", WEB)

    change(net, "becomes", ports=[HTTP, UDP])
    ports = net.get("service", "becomes")["spec"]["ports"]
    assert len(ports) == 2
    assert all(one["nodePort"] for one in ports)
    is_up(net, f"{ip_of(net, 'becomes')}:80", WEB)
    net.answers("asker-1", WEB, "udp", f"{ip_of(net, 'becomes')}:80", "hostname", 20)
    net.answers("asker-1", WEB, "http", f"{at}:{ports[0]['nodePort']}/hostname", 20)
    net.answers("asker-1", WEB, "udp", f"{at}:{ports[1]['nodePort']}", "hostname", 20)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_a_service_becomes_an_alias_of_another_and_comes_back(net: Place, kind: str) -> None:
    """It loses its address and its ports' numbers on the nodes, and a client of its name gets to the other one."""
    name = f"alias-{kind.lower()}"
    net.apply(
        service("aliased", HTTP, selector={"app": "web"}),
        service(name, HTTP, selector={"app": "web"}, type=kind),
    )
    before = net.get("service", name)["spec"]
    full = f"aliased.{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"

    change(net, name, type="ExternalName", externalName=full)
    spec = net.get("service", name)["spec"]
    assert not spec.get("clusterIP")
    assert not any("nodePort" in one for one in spec.get("ports", []))
    net.answers("asker-1", {ip_of(net, "aliased")}, "resolve", name)
    net.answers("asker-1", WEB, "http", f"{name}:80/hostname", 20)
    is_down(net, f"{before['clusterIP']}:80")
    if kind == "NodePort":
        is_down(net, f"{machine(net, 'worker-1')}:{before['ports'][0]['nodePort']}")

    change(net, name, type=kind, externalName=None, ports=[HTTP])
    net.answers("asker-1", {ip_of(net, name)}, "resolve", name)
    is_up(net, f"{ip_of(net, name)}:80", WEB)


def test_a_node_port_is_given_once_and_free_when_its_service_is_gone(net: Place) -> None:
    net.apply(service("port-1", HTTP, selector={"app": "web"}, type="NodePort"))
    taken = node_port(net, "port-1")
    same = service("port-2", {**HTTP, "nodePort": taken}, selector={"app": "web"}, type="NodePort")
    refused(net, f"{taken}.*port is already allocated", same)

    net.kubectl("delete", "service", "port-1")
    is_down(net, f"{machine(net, 'worker-1')}:{taken}", why=REFUSED)
    assert not net.lab.ssh("worker-1", f"ss -Hant46l 'sport = :{taken}'")
    net.apply(same)
    is_up(net, f"{machine(net, 'worker-1')}:{taken}", WEB)


def test_a_node_port_out_of_range_is_refused(net: Place) -> None:
    wanted = "80.*port is not in the valid range"
    net.apply(service("in-range", HTTP, selector={"app": "web"}, type="NodePort"))
    assert 30000 <= node_port(net, "in-range") <= 32767
    with pytest.raises(subprocess.CalledProcessError, match=wanted):
        change(net, "in-range", ports=[{**HTTP, "nodePort": 80}])

    net.kubectl("delete", "service", "in-range")
    refused(
        net, wanted, service("in-range", {**HTTP, "nodePort": 80}, selector={"app": "web"}, type="NodePort")
    )


def test_session_affinity_of_a_node_port_is_switched_off_and_on(net: Place) -> None:
    net.apply(service("sticky", HTTP, selector={"app": "web"}, type="NodePort", sessionAffinity="ClientIP"))
    here, there = (f"{machine(net, f'worker-{at}')}:{node_port(net, 'sticky')}" for at in (1, 2))
    one_answers(net, here)
    one_answers(net, there)

    change(net, "sticky", sessionAffinity="None")
    for where in (here, there):
        net.answers("asker-1", WEB, "http", f"{where}/hostname", 20)

    change(net, "sticky", sessionAffinity="ClientIP")
    one_answers(net, here)
    one_answers(net, there)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_session_affinity_ends_when_its_time_is_up(net: Place, kind: str) -> None:
    """A client that is silent for as long as that may get to another server; each answer begins the time anew."""
    name = f"sticky-{kind.lower()}"
    config = {"clientIP": {"timeoutSeconds": 4}}
    net.apply(
        service(
            name,
            HTTP,
            selector={"app": "web"},
            type=kind,
            sessionAffinity="ClientIP",
            sessionAffinityConfig=config,
        )
    )
    at_node = kind == "NodePort"
    where = f"{machine(net, 'worker-2')}:{node_port(net, name)}" if at_node else f"{ip_of(net, name)}:80"
    one_answers(net, where)
    seen: set[str] = set()

    def found() -> bool:
        seen.update(net.ask("asker-1", "pause", 5, "http", f"{where}/hostname"))
        return seen == WEB

    net.lab.eventually(f"both answered at {where}", found, seconds=120)


@pytest.mark.parametrize(
    "label", [{"service.kubernetes.io/service-proxy-name": "foo-bar"}, {"service.kubernetes.io/headless": ""}]
)
def test_a_service_that_is_labelled_for_others_is_not_served(net: Place, label: dict[str, str]) -> None:
    (key,) = label
    kind = key.rpartition("/")[2]
    disabled = service(f"disabled-{kind}", HTTP, selector={"app": "web"})
    disabled["metadata"]["labels"] = label
    net.apply(disabled, service(f"toggled-{kind}", HTTP, selector={"app": "web"}))
    never, toggled = (f"{ip_of(net, f'{name}-{kind}')}:80" for name in ("disabled", "toggled"))
    is_up(net, toggled, WEB)
    is_down(net, never)

    change(net, f"toggled-{kind}", labels=label)
    is_down(net, toggled)
    change(net, f"toggled-{kind}", labels={key: None})
    is_up(net, toggled, WEB)
    is_down(net, never)


def test_who_asks_a_service_without_endpoints_is_refused(net: Place) -> None:
    """Refused, and not left waiting: at its address, its name, and at a node's port."""
    net.apply(service("nobody", HTTP, selector={"app": "nobody"}, type="NodePort"))
    for asker in ASKERS:
        is_down(net, f"{ip_of(net, 'nobody')}:80", asker, REFUSED)
        is_down(net, f"{machine(net, 'worker-1')}:{node_port(net, 'nobody')}", asker, REFUSED)
    is_down(net, "nobody:80", "asker-1", REFUSED)


def test_an_evicted_pod_is_no_endpoint_even_where_those_that_are_not_ready_count(net: Place) -> None:
    net.apply(service("evicted", HTTP, selector={"app": "evicted"}, publishNotReadyAddresses=True))
    made = pod("evicted", "worker-1", labels={"app": "evicted"})
    (container,) = made["spec"]["containers"]
    container["command"] = ["sh", "-c", "dd if=/dev/zero of=/filled bs=1M count=10; sleep 3600"]
    container["resources"] = {"limits": {"ephemeral-storage": "5Mi"}}
    net.apply(made)

    net.lab.eventually(
        "it is evicted", lambda: net.get("pod", "evicted")["status"].get("reason") == "Evicted", seconds=120
    )
    net.lab.eventually("no endpoints", lambda: not net.get("endpoints", "evicted").get("subsets"))
    (part,) = net.get("endpointslices", "-l", "kubernetes.io/service-name=evicted")["items"]
    assert not part["endpoints"]
    is_down(net, "evicted:80", "asker-1", REFUSED)


def test_an_internal_policy_of_local_leads_to_the_asker_s_own_node(net: Place) -> None:
    """For pods and nodes, to pods and to those on a node's network."""
    net.run(
        server("local", "worker-1", labels={"app": "local"}),
        server("local-node", "worker-1", "10180", labels={"app": "local-node"}, hostNetwork=True),
    )
    node = {**HTTP, "targetPort": 10180}
    net.apply(
        service("local", HTTP, selector={"app": "local"}, internalTrafficPolicy="Local"),
        service("local-node", node, selector={"app": "local-node"}, internalTrafficPolicy="Local"),
    )
    for name, answer in (("local", "local"), ("local-node", "worker-1")):
        for asker in ("asker-1", "node-asker-1"):
            net.answers(asker, {answer}, "http", f"{ip_of(net, name)}:80/hostname", 5)
        for asker in ("asker-2", "node-asker-2"):
            is_down(net, f"{ip_of(net, name)}:80", asker, SILENCE)


def test_a_service_of_sctp_has_endpoints_and_loads_no_module(net: Place) -> None:
    port = {"port": 5060, "targetPort": 5060, "protocol": "SCTP"}
    loaded = "grep -c ^sctp /proc/modules || true"
    before = net.lab.ssh("worker-1", loaded)
    net.apply(service("sctp", port, selector={"app": "sctp"}))
    leads_to(net, "sctp", {})
    net.run(
        pod("sctp", "worker-1", labels={"app": "sctp"}, ports=[{"containerPort": 5060, "protocol": "SCTP"}])
    )
    leads_to(net, "sctp", {"sctp": {5060}})
    net.kubectl("delete", "pod", "sctp")
    leads_to(net, "sctp", {})
    assert net.lab.ssh("worker-1", loaded) == before
