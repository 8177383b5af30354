"""What upstream's conformance suite asks of the network, with real packets between pods and nodes of the lab."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.pods import Place, pod, server, service

NAMESPACE = "conformance-network"
TCP: dict[str, Any] = {"name": "tcp", "port": 80, "targetPort": 8080}
UDP: dict[str, Any] = {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"}
SERVERS = {"server-1", "server-2"}


@pytest.fixture(scope="module")
def net(lab: Lab) -> Iterator[Place]:
    """Two servers and an asker, and an asker on a node's own network."""
    lab.kubectl("create", "namespace", NAMESPACE)
    try:
        lab.eventually("the default account", lambda: lab.kubectl("get", "sa", "default", "-n", NAMESPACE))
        place = Place.made(lab, NAMESPACE)
        place.run(
            server("server-1", "worker-1", "8080,8081", labels={"app": "server"}),
            server("server-2", "worker-2", "8080,8081", labels={"app": "server"}),
            pod("asker", "worker-1"),
            pod("node-asker", "worker-2", hostNetwork=True),
        )
        yield place
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s", check=False, seconds=90)


def address_of(net: Place, name: str) -> str:
    found: str = net.get("service", name)["spec"]["clusterIP"]
    return found


def unanswered(net: Place, *words: str) -> None:
    """Refused, or into the void: as it is with an address that is nobody's."""

    def found() -> bool:
        said = net.ask("asker", *words)
        assert all(line.startswith("error") for line in said), said
        return True

    net.lab.eventually(f"nobody answers {words}", found)


def one_answers(net: Place, where: str) -> None:
    """Sixteen questions, and always the same server."""

    def found() -> bool:
        answered = set(net.ask("asker", "http", f"{where}/hostname", 16))
        assert len(answered) == 1, answered
        assert answered < SERVERS, answered
        return True

    net.lab.eventually(f"one server answers at {where}", found)


def machine(net: Place, name: str) -> str:
    return next(str(one.address) for one in net.lab.cluster.machines if one.name == name)


@pytest.mark.parametrize("asker", ["asker", "node-asker"])
@pytest.mark.parametrize("target", sorted(SERVERS))
def test_pods_and_nodes_reach_pods(net: Place, asker: str, target: str) -> None:
    ip = net.get("pod", target)["status"]["podIP"]

    assert net.ask(asker, "http", f"{ip}:8080/hostname") == [target]
    assert net.ask(asker, "udp", f"{ip}:8080", "hostname") == [target]
    if asker == "asker":
        # What a pod sends arrives with its own address.
        own = net.get("pod", asker)["status"]["podIP"]
        assert net.ask(asker, "http", f"{ip}:8080/clientip") == [own]


def test_a_service_of_two_ports_leads_to_both(net: Place) -> None:
    ports = [{"name": f"p{at}", "port": 80 + at, "targetPort": 8080 + at} for at in range(2)]
    net.apply(service("two-ports", *ports, selector={"app": "server"}))
    ip = address_of(net, "two-ports")

    for at in range(2):
        net.answers("asker", {str(8080 + at)}, "http", f"{ip}:{80 + at}/port")
        net.answers("asker", SERVERS, "http", f"{ip}:{80 + at}/hostname", 20)


def test_one_port_serves_two_protocols_until_one_is_taken_away(net: Place) -> None:
    net.apply(service("both", TCP, UDP, selector={"app": "server"}))
    ip = address_of(net, "both")
    net.answers("asker", SERVERS, "http", f"{ip}:80/hostname", 20)
    net.answers("asker", SERVERS, "udp", f"{ip}:80", "hostname", 20)

    def left_with(port: dict[str, Any]) -> None:
        # Not by apply: kubectl cannot tell ports of one number apart.
        patch = json.dumps({"spec": {"ports": [port]}})
        net.kubectl("patch", "service", "both", "--type=merge", f"--patch={patch}")

    left_with(TCP)
    unanswered(net, "udp", f"{ip}:80", "hostname")
    net.answers("asker", SERVERS, "http", f"{ip}:80/hostname", 20)

    left_with(UDP)
    unanswered(net, "http", f"{ip}:80/hostname")
    net.answers("asker", SERVERS, "udp", f"{ip}:80", "hostname", 20)


def test_session_affinity_can_be_switched_on_and_off(net: Place) -> None:
    def switched(to: str) -> str:
        net.apply(service("sticky", TCP, selector={"app": "server"}, sessionAffinity=to, type="NodePort"))
        return address_of(net, "sticky")

    ip = switched("ClientIP")
    one_answers(net, f"{ip}:80")

    switched("None")
    net.answers("asker", SERVERS, "http", f"{ip}:80/hostname", 20)

    switched("ClientIP")
    one_answers(net, f"{ip}:80")


def test_session_affinity_holds_at_node_ports(net: Place) -> None:
    net.apply(
        service("node-sticky", TCP, selector={"app": "server"}, sessionAffinity="ClientIP", type="NodePort")
    )
    port = net.get("service", "node-sticky")["spec"]["ports"][0]["nodePort"]

    for name in ("worker-1", "worker-2", "master-1"):
        one_answers(net, f"{machine(net, name)}:{port}")


def test_endpoints_of_several_slices_answer_at_one_address(net: Place) -> None:
    """No selector: the slices are the user's own. Addresses of two, then ports of two."""
    ips = {name: net.get("pod", name)["status"]["podIP"] for name in sorted(SERVERS)}

    def slice_of(of: str, name: str, address: str, *ports: tuple[str, int]) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports],
        }

    net.apply(
        service("by-address", {"name": "a", "port": 80}),
        *(slice_of("by-address", f"by-address-{name}", ip, ("a", 8080)) for name, ip in ips.items()),
    )
    ip = address_of(net, "by-address")
    net.answers("asker", SERVERS, "http", f"{ip}:80/hostname", 20)

    net.apply(
        service("by-port", {"name": "a", "port": 80}, {"name": "b", "port": 81}),
        slice_of("by-port", "by-port-a", ips["server-1"], ("a", 8080)),
        slice_of("by-port", "by-port-b", ips["server-2"], ("b", 8081)),
    )
    ip = address_of(net, "by-port")
    net.answers("asker", {"server-1"}, "http", f"{ip}:80/hostname", 5)
    net.answers("asker", {"server-2"}, "http", f"{ip}:81/hostname", 5)


def test_a_host_port_is_free_for_other_addresses_and_protocols(net: Place) -> None:
    node = machine(net, "worker-2")

    def at(ip: str, protocol: str) -> list[dict[str, Any]]:
        return [{"containerPort": 8080, "hostPort": 54323, "hostIP": ip, "protocol": protocol}]

    net.run(
        server("host-1", "worker-2", ports=at("127.0.0.1", "TCP")),
        server("host-2", "worker-2", ports=at(node, "TCP")),
        server("host-3", "worker-2", ports=at(node, "UDP")),
    )
    local = "curl -fsS --max-time 5 --interface {} http://127.0.0.1:54323/hostname"
    net.lab.eventually("the local one", lambda: net.lab.ssh("worker-2", local.format(node)) == "host-1")
    net.answers("node-asker", {"host-2"}, "http", f"{node}:54323/hostname")
    net.answers("node-asker", {"host-3"}, "udp", f"{node}:54323", "hostname")
    # And from another node.
    net.answers("asker", {"host-2"}, "http", f"{node}:54323/hostname")


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_names_of_the_cluster_and_of_services(net: Place, way: str) -> None:
    net.apply(
        service("headless", {**TCP, "name": "http"}, selector={"app": "server"}, clusterIP="None"),
        service("named", {**TCP, "name": "http"}, selector={"app": "server"}),
    )
    ip, ips = address_of(net, "named"), {net.get("pod", name)["status"]["podIP"] for name in SERVERS}
    first = net.lab.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    zone = f"{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"

    net.answers("asker", {first}, "dns", f"kubernetes.default.svc.{net.lab.cluster.cluster_domain}", "A", way)
    net.answers("asker", {ip}, "dns", f"named.{zone}", "A", way)
    net.answers("asker", ips, "dns", f"headless.{zone}", "A", way)
    net.answers("asker", {f"0 100 80 named.{zone}."}, "dns", f"_http._tcp.named.{zone}", "SRV", way)
    back = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
    net.answers("asker", {f"named.{zone}."}, "dns", back, "PTR", way)
    assert net.ask("asker", "dns", f"nobody.{zone}", "A", way) == ["error NXDOMAIN"]


def test_short_names_lead_through_the_search_path(net: Place) -> None:
    for short in ("short", "1short"):
        net.apply(service(short, TCP, selector={"app": "server"}))
        ip = address_of(net, short)
        for name in (short, f"{short}.{NAMESPACE}", f"{short}.{NAMESPACE}.svc"):
            net.answers("asker", {ip}, "resolve", name)
            net.answers("asker", SERVERS, "http", f"{name}:80/hostname", 20)
    first = net.lab.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    net.answers("asker", {first}, "resolve", "kubernetes.default")


def test_pods_with_a_hostname_and_subdomain_have_names(net: Place) -> None:
    net.apply(service("subdomain", TCP, selector={"app": "named-pod"}, clusterIP="None"))
    net.run(
        server("querier", "worker-2", labels={"app": "named-pod"}, hostname="host", subdomain="subdomain")
    )
    ip = net.get("pod", "querier")["status"]["podIP"]

    full = f"host.subdomain.{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"
    net.answers("asker", {ip}, "dns", full, "A")
    net.answers("querier", {ip}, "resolve", full)
    assert net.kubectl("exec", "querier", "--", "hostname", "-f").strip() == full
    hosts = net.kubectl("exec", "querier", "--", "cat", "/etc/hosts")
    assert [ip, full, "host"] in [line.split() for line in hosts.splitlines()]


def test_an_external_name_is_an_alias_and_can_become_a_service(net: Place) -> None:
    def alias(name: str) -> dict[str, Any]:
        made = service("elsewhere", type="ExternalName", externalName=name)
        del made["spec"]["ports"]
        return made

    full = f"elsewhere.{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"
    net.apply(alias("foo.example.com"))
    net.answers("asker", {"foo.example.com."}, "dns", full, "CNAME")
    net.apply(alias("bar.example.com"))
    net.answers("asker", {"bar.example.com."}, "dns", full, "CNAME")

    def patched(**spec: Any) -> None:
        text = json.dumps({"spec": spec})
        net.kubectl("patch", "service", "elsewhere", f"--patch={text}", "--type=merge")

    patched(type="NodePort", externalName=None, selector={"app": "server"}, ports=[TCP])
    spec = net.get("service", "elsewhere")["spec"]
    net.answers("asker", {spec["clusterIP"]}, "dns", full, "A")
    net.answers("asker", SERVERS, "http", "elsewhere:80/hostname", 20)
    at_node = f"{machine(net, 'worker-1')}:{spec['ports'][0]['nodePort']}"
    net.answers("asker", SERVERS, "http", f"{at_node}/hostname", 20)

    gone = dict.fromkeys(("clusterIP", "clusterIPs", "ports", "selector"))
    patched(type="ExternalName", externalName="baz.example.com", **gone)
    net.answers("asker", {"baz.example.com."}, "dns", full, "CNAME")
    unanswered(net, "http", f"{spec['clusterIP']}:80/hostname")


def test_a_pod_says_itself_which_name_servers_it_has(net: Place) -> None:
    config = {
        "nameservers": ["192.0.2.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    net.run(pod("own-dns", "worker-1", dnsPolicy="None", dnsConfig=config))

    lines = net.kubectl("exec", "own-dns", "--", "cat", "/etc/resolv.conf").split("\n")
    assert [line.split() for line in lines if line] == [
        ["search", "resolv.conf.local"],
        ["nameserver", "192.0.2.1"],
        ["options", "ndots:2"],
    ]


@pytest.mark.parametrize(
    "through", ["pods/server-1:8080", "services/proxied:80", "services/http:proxied:tcp"]
)
def test_the_api_server_leads_to_pods_and_services(net: Place, through: str) -> None:
    net.apply(service("proxied", TCP, selector={"app": "server"}))
    at = f"/api/v1/namespaces/{NAMESPACE}/{through}/proxy"

    def got(path: str) -> str:
        return net.lab.kubectl("get", "--raw", at + path)

    net.lab.eventually("it answers", partial(got, "/hostname"))
    assert {got("/hostname")} <= SERVERS
    assert got("/echo?msg=said") == "said"
    assert got("/some/path/with/GET").partition("?")[0] == "GET /some/path/with/GET"


def test_many_services_have_their_endpoints_soon(net: Place) -> None:
    """Upstream's test makes two hundred, and bears twenty seconds for half of them."""
    many = [service(f"many-{at}", TCP, selector={"app": "server"}) for at in range(100)]
    net.apply(*many)

    def without() -> bool:
        found = net.get("endpoints")["items"]
        ready = {one["metadata"]["name"] for one in found if one.get("subsets")}
        missing = {one["metadata"]["name"] for one in many} - ready
        assert not missing, f"{len(missing)} services without endpoints"
        return True

    net.lab.eventually("all have endpoints", without, seconds=20)
    ip = address_of(net, "many-99")
    net.answers("asker", SERVERS, "http", f"{ip}:80/hostname", 20)


def test_a_pod_has_the_token_of_its_account_and_others_that_it_asks_for(net: Place) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "vault"}}
    own = pod("tokens", "worker-1")
    own["spec"]["volumes"].append({"name": "own", "projected": {"sources": [source]}})
    own["spec"]["containers"][0]["volumeMounts"].append({"name": "own", "mountPath": "/own"})
    net.run(own)
    at = "/var/run/secrets/kubernetes.io/serviceaccount"

    def read(path: str) -> str:
        return net.kubectl("exec", "tokens", "--", "cat", path)

    def reviewed(token: str, *audiences: str) -> dict[str, Any]:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        }
        said = net.lab.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
        status: dict[str, Any] = json.loads(said)["status"]
        return status

    assert read(f"{at}/namespace") == NAMESPACE
    assert read(f"{at}/ca.crt") == net.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"]
    status = reviewed(read(f"{at}/token"))
    assert status["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["tokens"]
    assert reviewed(read("/own/token"), "vault")["audiences"] == ["vault"]
    assert not reviewed(read("/own/token")).get("authenticated")


def test_a_pod_is_as_fast_as_its_annotations_say(net: Place) -> None:
    """What the bandwidth plugin of CNI makes of them: a token bucket for each way."""
    slow = pod("slow", "worker-1")
    slow["metadata"]["annotations"] = {
        "kubernetes.io/ingress-bandwidth": "10M",
        "kubernetes.io/egress-bandwidth": "20M",
    }
    net.run(slow)

    rates = net.lab.ssh("worker-1", "tc qdisc show")
    assert "tbf" in rates
    assert "rate 10Mbit" in rates, rates
    assert "rate 20Mbit" in rates, rates


@pytest.mark.parametrize("shown", ["1", "0"])
def test_a_service_answers_on_the_node_of_its_only_endpoint(net: Place, shown: str) -> None:
    """Whether the node's kernel shows what passes within the bridge (br_netfilter) or not."""
    net.apply(service("here", TCP))
    ip, server_ip = address_of(net, "here"), net.get("pod", "server-1")["status"]["podIP"]
    net.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "here-own", "labels": {"kubernetes.io/service-name": "here"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [server_ip]}],
            "ports": [{"name": "tcp", "port": 8080, "protocol": "TCP"}],
        }
    )
    keys = [f"net.bridge.bridge-nf-call-{name}" for name in ("iptables", "ip6tables")]
    try:
        for key in keys:
            net.lab.ssh("worker-1", f"sysctl -qw {key}={shown}")
        # It looks at the kernel when it starts, and once a minute.
        net.lab.ssh("worker-1", "systemctl restart kybern-pod-network")
        net.answers("asker", {"server-1"}, "http", f"{ip}:80/hostname", 5)
    finally:
        for key in keys:
            net.lab.ssh("worker-1", f"sysctl -qw {key}=1")
        net.lab.ssh("worker-1", "systemctl restart kybern-pod-network")
