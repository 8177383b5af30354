"""What upstream's e2e suite asks of the ways to services and pods (networking.go, dual_stack.go, conntrack.go, dns.go, ...).

With real packets, by both families of IP where upstream asks both.
"""

import json
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest

from tests.cluster.asking import (
    HTTP,
    REFUSED,
    SILENCE,
    UDP,
    ip_of,
    is_down,
    is_up,
    leads_to,
    machine,
    node_port,
)
from tests.cluster.conftest import Lab, space
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
NAMESPACE = "services-ways"
WEB = {"web-1", "web-2"}
BOTH: dict[str, Any] = {"ipFamilyPolicy": "RequireDualStack"}
SOURCE = 12345


@pytest.fixture(scope="module")
def net(services_lab: Lab) -> Iterator[Place]:
    """A server and an asker on each worker, and an asker on a node's own network."""
    with space(services_lab, NAMESPACE):
        place = Place.made(services_lab, NAMESPACE)
        place.run(
            server("web-1", "worker-1", labels={"app": "web"}),
            server("web-2", "worker-2", labels={"app": "web"}),
            *(pod(f"asker-{at}", f"worker-{at}") for at in (1, 2)),
            pod("node-asker-1", "worker-1", hostNetwork=True),
            pod("node-asker-2", "worker-2", hostNetwork=True),
        )
        yield place


def literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def ways(net: Place, name: str, node: str) -> list[tuple[str, int, int]]:
    """Where a service of both families and protocols answers: an address, and its ports of TCP and UDP."""
    spec = net.get("service", name)["spec"]
    tcp, udp = (one["nodePort"] for one in spec["ports"])
    own = next(one for one in net.lab.cluster.machines if one.name == node)
    return [
        *((literal(one), 80, 80) for one in spec["clusterIPs"]),
        *((literal(str(one)), tcp, udp) for one in net.lab.cluster.addresses(own)),
    ]


def by_all_ways(net: Place, name: str, askers: tuple[str, ...], wanted: set[str]) -> None:
    for host, tcp, udp in ways(net, name, "worker-1"):
        for asker in askers:
            net.answers(asker, wanted, "http", f"{host}:{tcp}/hostname", 20)
            net.answers(asker, wanted, "udp", f"{host}:{udp}", "hostname", 20)


def two(name: str, app: str = "web", **spec: Any) -> dict[str, Any]:
    return service(name, HTTP, UDP, selector={"app": app}, type="NodePort", **BOTH, **spec)


def test_pods_nodes_and_endpoints_reach_a_service_by_both_families(net: Place) -> None:
    net.apply(two("granular"))
    by_all_ways(net, "granular", ("asker-2", "node-asker-1", "web-1"), WEB)


def test_a_service_of_pods_on_the_nodes_network_is_reached_by_both_families(net: Place) -> None:
    net.run(
        *(
            server(f"host-{at}", f"worker-{at}", "18080", labels={"app": "host"}, hostNetwork=True)
            for at in (1, 2)
        )
    )
    ports = ({**one, "targetPort": 18080} for one in (HTTP, UDP))
    net.apply(service("hosts", *ports, selector={"app": "host"}, type="NodePort", **BOTH))
    for host, tcp, udp in ways(net, "hosts", "worker-1"):
        for asker in ("asker-2", "node-asker-1"):
            net.answers(asker, {"worker-1", "worker-2"}, "http", f"{host}:{tcp}/hostname", 20)
        # Not from pods: a server of UDP on all addresses answers its own node's pods from another one, here as upstream.
        net.answers("node-asker-1", {"worker-1", "worker-2"}, "udp", f"{host}:{udp}", "hostname", 20)


def test_large_requests_are_answered_by_both_families(net: Place) -> None:
    net.apply(two("large"))
    much = "no" * 1000
    for host, tcp, udp in ways(net, "large", "worker-2"):
        net.answers("asker-1", {much}, "http", f"{host}:{tcp}/echo?msg={much}", 5)
        net.answers("asker-1", {much}, "udp", f"{host}:{udp}", f"echo {much}", 5)


def test_affinity_holds_for_both_protocols_and_families(net: Place) -> None:
    net.apply(two("sticky", sessionAffinity="ClientIP"))
    for host, tcp, udp in ways(net, "sticky", "worker-1")[:2]:
        for words in (("http", f"{host}:{tcp}/hostname"), ("udp", f"{host}:{udp}", "hostname")):

            def one(asked: tuple[str, ...]) -> bool:
                said = set(net.ask("asker-1", *asked, 16))
                assert len(said) == 1, said
                return said < WEB

            net.lab.eventually(f"one answers {words}", partial(one, words))


def test_endpoints_follow_their_pods_by_both_families(net: Place) -> None:
    net.run(*(server(f"moves-{at}", f"worker-{at}", labels={"app": "moves"}) for at in (1, 2)))
    net.apply(two("moves", "moves"))
    by_all_ways(net, "moves", ("asker-1",), {"moves-1", "moves-2"})
    net.kubectl("delete", "pod", "moves-1")
    by_all_ways(net, "moves", ("asker-1",), {"moves-2"})
    net.run(server("moves-3", "worker-1", labels={"app": "moves"}))
    by_all_ways(net, "moves", ("asker-1",), {"moves-2", "moves-3"})


def test_of_two_services_of_the_same_pods_one_goes_and_the_other_stays(net: Place) -> None:
    net.apply(two("first"), two("second"))
    for name in ("first", "second"):
        by_all_ways(net, name, ("web-1",), WEB)
    gone = ways(net, "first", "worker-1")
    net.kubectl("delete", "service", "first")
    by_all_ways(net, "second", ("web-1",), WEB)
    for host, tcp, udp in gone[2:]:
        is_down(net, f"{host}:{tcp}", "node-asker-1", REFUSED)
        net.answers("node-asker-1", {REFUSED}, "udp", f"{host}:{udp}", "hostname")


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({}, ["IPv4"]),
        ({"ipFamilies": ["IPv4"]}, ["IPv4"]),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"]),
        ({**BOTH, "ipFamilies": ["IPv4", "IPv6"]}, ["IPv4", "IPv6"]),
        ({**BOTH, "ipFamilies": ["IPv6", "IPv4"]}, ["IPv6", "IPv4"]),
    ],
)
def test_a_service_has_the_families_that_it_asks_for(
    net: Place, asked: dict[str, Any], families: list[str]
) -> None:
    name = f"of-{'-'.join(families).lower()}" + ("" if asked else "-unasked")
    net.apply(service(name, HTTP, UDP, selector={"app": "web"}, **asked))
    spec = net.get("service", name)["spec"]
    assert spec["ipFamilies"] == families
    assert spec["ipFamilyPolicy"] == asked.get("ipFamilyPolicy", "SingleStack")
    assert [f"IPv{ip_address(one).version}" for one in spec["clusterIPs"]] == families

    def told() -> bool:
        (subset,) = net.get("endpoints", name)["subsets"]
        return {f"IPv{ip_address(one['ip']).version}" for one in subset["addresses"]} == {families[0]}

    net.lab.eventually("endpoints are of its first family", told)
    for one in spec["clusterIPs"]:
        net.answers("asker-1", WEB, "http", f"{literal(one)}:80/hostname", 20)


def test_nodes_and_pods_have_an_address_of_each_family(net: Place) -> None:
    for node in net.lab.get("nodes")["items"]:
        own = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert sorted(ip_address(one).version for one in own) == [4, 6]
    status = net.get("pod", "asker-1")["status"]
    assert status["podIP"] == status["podIPs"][0]["ip"]
    assert sorted(ip_address(one["ip"]).version for one in status["podIPs"]) == [4, 6]


def udp_answers(net: Place, asker: str, where: str, wanted: str) -> None:
    """One client, from one port all the time: one flow, for the kernel."""
    net.answers(asker, {wanted}, "from", SOURCE, "udp", where, "hostname", seconds=60)


@pytest.mark.parametrize(
    ("asker", "kind"), [("asker-1", "NodePort"), ("asker-1", "ClusterIP"), ("node-asker-1", "ClusterIP")]
)
def test_a_client_of_udp_gets_to_the_pod_that_is_there(net: Place, asker: str, kind: str) -> None:
    name = f"udp-{asker}-{kind.lower()}"
    net.apply(service(name, UDP, selector={"app": name}, type=kind))
    node = f"{machine(net, 'worker-2')}:{node_port(net, name)}" if kind == "NodePort" else ""
    where = node or f"{ip_of(net, name)}:80"
    assert net.ask(asker, "from", SOURCE, "udp", where, "hostname")[0].startswith("error")

    net.run(server(f"{name}-a", "worker-2", labels={"app": name}))
    udp_answers(net, asker, where, f"{name}-a")
    net.run(server(f"{name}-b", "worker-2", labels={"app": name}))
    net.kubectl("delete", "pod", f"{name}-a")
    leads_to(net, name, {f"{name}-b": {8080}})
    udp_answers(net, asker, where, f"{name}-b")


def test_a_client_of_udp_gets_to_the_pod_on_its_node_that_comes_back(net: Place) -> None:
    """With an internal policy of Local, while another node has an endpoint all the time (kubernetes#126934)."""
    name = "udp-local"
    net.apply(service(name, UDP, selector={"app": name}, internalTrafficPolicy="Local"))
    where = f"{ip_of(net, name)}:80"
    net.run(server("local-a", "worker-1", labels={"app": name}))
    udp_answers(net, "asker-1", where, "local-a")
    net.run(server("local-b", "worker-2", labels={"app": name}))
    net.kubectl("delete", "pod", "local-a")
    leads_to(net, name, {"local-b": {8080}})
    # It goes on asking meanwhile, and nobody answers.
    udp_answers(net, "asker-1", where, SILENCE)
    net.run(server("local-c", "worker-1", labels={"app": name}))
    udp_answers(net, "asker-1", where, "local-c")


def test_a_client_of_udp_gets_to_a_pod_that_was_there_before_it_was_ready(net: Place) -> None:
    name = "udp-slow"
    net.apply(service(name, UDP, selector={"app": name}))
    slow = server(name, "worker-2", labels={"app": name})
    wait = ["sh", "-c", "until test -e /shared/go; do sleep 0.2; done"]
    slow["spec"]["volumes"].append({"name": "shared", "emptyDir": {}})
    slow["spec"]["initContainers"] = [
        {
            "name": "wait",
            "image": "busybox:1.36",
            "command": wait,
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        }
    ]
    net.apply(slow)
    where = f"{ip_of(net, name)}:80"
    net.lab.eventually("it waits", lambda: net.kubectl("exec", name, "-c", "wait", "--", "true") == "")
    udp_answers(net, "asker-1", where, REFUSED)
    net.kubectl("exec", name, "-c", "wait", "--", "touch", "/shared/go")
    udp_answers(net, "asker-1", where, name)


def test_endpoints_of_one_address_in_two_subsets_are_mirrored_and_lead_to_both_ports(net: Place) -> None:
    net.run(server("mirrored", "worker-2", "8090,9090"))
    ip = net.get("pod", "mirrored")["status"]["podIP"]
    net.apply(service("custom", {"name": "port80", "port": 80}, {"name": "port81", "port": 81}))
    subsets = [
        {"ports": [{"name": name, "port": port}], "addresses": [{"ip": ip}]}
        for name, port in (("port80", 8090), ("port81", 9090))
    ]
    net.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "custom"}, "subsets": subsets})
    for port, answer in ((80, "8090"), (81, "9090")):
        net.answers("asker-1", {answer}, "http", f"{ip_of(net, 'custom')}:{port}/port", 5)

    net.kubectl("delete", "endpoints", "custom")
    chosen = ("endpointslices", "-l", "kubernetes.io/service-name=custom")
    net.lab.eventually("the slices are gone", lambda: not net.get(*chosen)["items"])


def searching(name: str, *searches: str) -> dict[str, Any]:
    return pod(name, "worker-1", dnsConfig={"searches": list(searches)})


def test_a_pod_may_have_many_and_long_search_paths(net: Place) -> None:
    many = [f"{at:02}.{'search' * 3}.example.com" for at in range(12)]
    assert len(" ".join(many)) > 256
    net.apply(service("searched", HTTP, selector={"app": "web"}))
    net.run(searching("many", *many))
    (line,) = (
        one.split()
        for one in net.kubectl("exec", "many", "--", "cat", "/etc/resolv.conf").splitlines()
        if one.startswith("search ")
    )
    assert line[-len(many) :] == many
    net.answers("many", {ip_of(net, "searched")}, "resolve", "searched")


def test_a_pod_asks_the_servers_and_paths_of_its_own(net: Place) -> None:
    net.apply(service("own-path", HTTP, selector={"app": "web"}))
    dns = net.lab.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"]
    config = {
        "nameservers": [dns],
        "searches": [f"{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    net.run(pod("own-asker", "worker-1", dnsPolicy="None", dnsConfig=config))
    net.answers("own-asker", {ip_of(net, "own-path")}, "resolve", "own-path")


def test_kube_proxy_and_the_api_tell_of_themselves_where_they_always_do(net: Place) -> None:
    for path in ("/healthz", "/api", "/apis", "/metrics", "/openapi/v2", "/version"):
        assert net.lab.kubectl("get", "--raw", path)
    health = json.loads(net.lab.ssh("worker-1", "curl -sf localhost:10256/healthz"))
    assert health["lastUpdated"]
    assert net.lab.ssh("worker-1", "curl -sf localhost:10249/proxyMode") == "iptables"


def test_rules_that_somebody_takes_away_come_back(net: Place) -> None:
    """All of kube-proxy's chains of IPv4, and the jumps to them."""
    net.apply(service("flushed", HTTP, selector={"app": "web"}))
    where = f"{ip_of(net, 'flushed')}:80"
    is_up(net, where, WEB)
    net.lab.ssh("worker-2", "iptables-save | grep -v KUBE- | iptables-restore -w 10")
    assert "KUBE-SERVICES" not in net.lab.ssh("worker-2", "iptables-save")
    # It looks every half minute, as upstream's.
    net.answers("node-asker-2", WEB, "http", f"{where}/hostname", 20, seconds=120)
    net.answers("asker-2", WEB, "http", f"{where}/hostname", 20)


def test_a_pod_that_ends_is_reached_and_reaches_others(net: Place) -> None:
    made = server("leaving", "worker-1", terminationGracePeriodSeconds=300)
    net.run(made)
    ip, other = (net.get("pod", name)["status"]["podIP"] for name in ("leaving", "web-2"))
    net.kubectl("delete", "pod", "leaving", "--wait=false")
    try:
        for _ in range(5):
            assert net.ask("asker-2", "pause", 1, "http", f"{ip}:8080/hostname") == ["leaving"]
            assert net.ask("leaving", "http", f"{other}:8080/hostname") == ["web-2"]
    finally:
        net.kubectl("delete", "pod", "leaving", "--grace-period=0", "--force", "--ignore-not-found")


def test_traffic_goes_from_blue_to_green_by_readiness_gates_without_a_gap(net: Place) -> None:
    gate = "k8s.io/blue-green"
    colours = ("blue", "green")
    net.apply(
        service("colours", HTTP, selector={"app": "colour"}),
        *(
            server(name, f"worker-{at}", labels={"app": "colour"}, readinessGates=[{"conditionType": gate}])
            for at, name in enumerate(colours, 1)
        ),
    )
    where = f"{ip_of(net, 'colours')}:80/hostname"
    for name in colours:
        net.kubectl("wait", f"pod/{name}", "--for=condition=ContainersReady", "--timeout=60s", seconds=90)
    leads_to(net, "colours", {})

    def gated(name: str, status: str) -> None:
        conditions = {"status": {"conditions": [{"type": gate, "status": status}]}}
        net.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(conditions))

    gated("blue", "True")
    leads_to(net, "colours", {"blue": {8080}})
    net.answers("asker-1", {"blue"}, "http", where, 20)
    gated("green", "True")
    leads_to(net, "colours", {name: {8080} for name in colours})
    assert set(net.ask("asker-1", "http", where, 20)) <= set(colours)
    gated("blue", "False")
    leads_to(net, "colours", {"green": {8080}})
    assert set(net.ask("asker-1", "http", where, 20)) <= set(colours)
    net.answers("asker-1", {"green"}, "http", where, 20)


def test_a_pod_has_a_host_port_of_sctp_and_no_module_is_loaded(net: Place) -> None:
    loaded = "grep -c ^sctp /proc/modules || true"
    before = net.lab.ssh("worker-1", loaded)
    net.run(
        pod("host-sctp", "worker-1", ports=[{"containerPort": 5060, "hostPort": 5060, "protocol": "SCTP"}])
    )
    assert net.lab.ssh("worker-1", loaded) == before
    net.kubectl("delete", "pod", "host-sctp")


def test_logs_of_a_node_are_read_through_the_api_with_its_port_and_without(net: Place) -> None:
    for node in ("worker-1", "worker-1:10250"):
        listing = net.lab.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/logs/")
        assert "journal/" in listing, listing


def test_a_class_of_ingress_may_have_parameters_of_a_namespace(net: Place) -> None:
    parameters = {
        "scope": "Namespace",
        "namespace": "foo-ns",
        "kind": "fookind",
        "name": "fooname",
        "apiGroup": "example.com",
    }
    made = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "scoped"},
        "spec": {"controller": "example.com/controller", "parameters": parameters},
    }
    net.lab.kubectl("create", "-f", "-", stdin=json.dumps(made))
    try:
        assert net.lab.get("ingressclass", "scoped")["spec"]["parameters"] == parameters
    finally:
        net.lab.kubectl("delete", "ingressclass", "scoped")
