"""kybern-dns against the real API server, asked by a client that others wrote."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dnslib
import pytest

from kybern.auth.x509 import Authority, Leaf
from kybern.machines.load import load
from roles.api_objects import Object
from roles.cluster_dns import objects
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.names_bed import Daemon, Elsewhere

pytestmark = pytest.mark.etcd
CLUSTER = "svc.cluster.local"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    return lab.start(free_ports())


@pytest.fixture(scope="module")
def elsewhere(free_ports: Callable[[], int]) -> Iterator[Elsewhere]:
    many = tuple(f"many.example.com. 60 A 192.0.2.{number}" for number in range(1, 120))
    found = Elsewhere(
        free_ports(), ("www.example.com. 60 A 192.0.2.53", "brief.example.com. 0 A 192.0.2.54", *many)
    )
    stop = found.start()
    yield found
    stop()


@pytest.fixture(scope="module")
def names(lab: Lab, server: Server, elsewhere: Elsewhere, free_ports: Callable[[], int]) -> Iterator[Daemon]:
    daemon = Daemon(lab, free_ports(), free_ports())
    config = lab.directory / "dns.yaml"
    config.write_text(
        "apiVersion: dns.kybern.io/v1alpha1\nkind: DNSConfiguration\n"
        f'upstreams: ["127.0.0.1:{free_ports()}", "127.0.0.1:{elsewhere.port}"]\n'
        f'stubDomains: {{corp.example.com: ["127.0.0.1:{free_ports()}"]}}\n'
    )
    service = {"metadata": {"name": "kube-dns"}, "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 53}]}}
    assert server.ask("POST", "/api/v1/namespaces/kube-system/services", service)[0] == 201
    member = ("--service=kube-system/kube-dns", "--advertise-address=172.16.0.1", "--node-name=m1")
    daemon.serve(server, f"--config={config}", *member)
    daemon.until(lambda: page(daemon, "ready") == "OK")
    yield daemon
    daemon.stop()


def page(daemon: Daemon, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.health}/{path}", timeout=5) as answer:
        return str(answer.read().decode())


def make(server: Server, name: str, spec: dict[str, object]) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    code, found = server.ask("POST", "/api/v1/namespaces/default/services", body)
    assert code == 201, found


def slice_of(server: Server, name: str, *endpoints: dict[str, object]) -> None:
    body = {
        "metadata": {"name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
    }  # fmt: skip
    code, found = server.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body)
    assert code == 201, found


def test_the_api_servers_own_service_has_a_name(names: Daemon) -> None:
    assert names.ask(f"kubernetes.default.{CLUSTER}") == ["10.96.0.1"]
    assert names.ask(f"_https._tcp.kubernetes.default.{CLUSTER}", "SRV") == [
        "0 100 443 kubernetes.default.svc.cluster.local."
    ]
    assert names.ask("1.0.96.10.in-addr.arpa", "PTR") == ["kubernetes.default.svc.cluster.local."]
    assert names.ask("dns-version.cluster.local", "TXT") == ['"1.1.0"']


def test_names_follow_services_and_their_endpoints(names: Daemon, server: Server) -> None:
    make(server, "pets", {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]})
    slice_of(server, "pets", {"addresses": ["10.244.0.5"], "hostname": "rex"}, {"addresses": ["10.244.0.6"]})

    names.until(lambda: names.ask(f"pets.default.{CLUSTER}") == ["10.244.0.5", "10.244.0.6"])
    assert names.ask(f"rex.pets.default.{CLUSTER}") == ["10.244.0.5"]
    assert (
        names.query(f"pets.default.{CLUSTER}").rr != names.query(f"pets.default.{CLUSTER}").rr
    )  # they take turns

    assert server.ask("DELETE", "/api/v1/namespaces/default/services/pets")[0] == 200
    names.until(lambda: names.query(f"pets.default.{CLUSTER}").header.rcode == 3)


def test_a_namespace_exists_for_as_long_as_it_does(names: Daemon, server: Server) -> None:
    assert names.query("10-0-0-1.later.pod.cluster.local").header.rcode == 3
    assert server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "later"}})[0] == 201

    names.until(lambda: names.ask("10-0-0-1.later.pod.cluster.local") == ["10.0.0.1"])


def test_an_external_name_comes_with_its_addresses(names: Daemon, server: Server) -> None:
    make(server, "site", {"type": "ExternalName", "externalName": "www.example.com"})

    names.until(lambda: names.ask(f"site.default.{CLUSTER}") == ["192.0.2.53", "www.example.com."])
    assert names.ask(f"site.default.{CLUSTER}", "CNAME") == ["www.example.com."]


def test_other_names_are_asked_elsewhere_once(names: Daemon, elsewhere: Elsewhere) -> None:
    for _ in range(3):
        assert names.ask("www.example.com") == ["192.0.2.53"]
        assert names.query("nobody.example.com").header.rcode == 3

    assert elsewhere.asked.count("www.example.com.") <= 2  # with EDNS and without are two questions
    assert elsewhere.asked.count("nobody.example.com.") == 1
    assert not [name for name in elsewhere.asked if "cluster.local" in name]


def test_an_answer_too_large_for_udp_comes_by_tcp(names: Daemon) -> None:
    assert names.query("many.example.com").header.tc == 1
    assert len(names.query("many.example.com", tcp=True).rr) == 119


def test_servers_of_a_stub_domain_are_asked_alone(names: Daemon, elsewhere: Elsewhere) -> None:
    assert names.query("a.corp.example.com").header.rcode == 2
    assert "a.corp.example.com." not in elsewhere.asked


def test_a_connection_takes_several_questions_at_once(names: Daemon) -> None:
    asked = [
        bytes(dnslib.DNSRecord.question(name).pack())
        for name in ("brief.example.com", f"kubernetes.default.{CLUSTER}", "www.example.com")
    ]
    found = {
        str(one.q.qname): str(one.rr[0].rdata) for one in map(dnslib.DNSRecord.parse, names.pipelined(asked))
    }

    assert found == {
        "brief.example.com.": "192.0.2.54", f"kubernetes.default.{CLUSTER}.": "10.96.0.1", "www.example.com.": "192.0.2.53",
    }  # fmt: skip


def test_it_keeps_the_endpoints_of_its_service(names: Daemon, server: Server) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-machines"
    names.until(lambda: server.ask("GET", path)[0] == 200)
    found = server.ask("GET", path)[1]

    assert [(one["addresses"], one["nodeName"]) for one in found["endpoints"]] == [(["172.16.0.1"], "m1")]
    assert {(one["name"], one["port"]) for one in found["ports"]} >= {
        ("dns", names.port),
        ("dns-tcp", names.port),
    }


def test_it_tells_how_it_is(names: Daemon) -> None:
    names.ask(f"kubernetes.default.{CLUSTER}")

    assert page(names, "health") == "OK"
    shown = page(names, "metrics")
    assert 'coredns_dns_requests_total{proto="udp",server="dns://:53",type="A",zone="."}' in shown
    assert "coredns_cache_hits_total" in shown
    assert 'coredns_dns_request_duration_seconds_bucket{le="+Inf",server="dns://:53",zone="."}' in shown
    assert "kybern_dns_complete 1.0" in shown


def test_names_are_answered_on_while_the_api_server_is_away(
    lab: Lab, server: Server, free_ports: Callable[[], int]
) -> None:
    other, daemon = lab.start(free_ports()), Daemon(lab, free_ports(), free_ports())
    daemon.serve(other)
    try:
        daemon.until(lambda: daemon.ask(f"kubernetes.default.{CLUSTER}") == ["10.96.0.1"])
        other.process.kill()
        other.process.wait(10)
        assert daemon.ask(f"kubernetes.default.{CLUSTER}") == ["10.96.0.1"]
    finally:
        daemon.stop()


def test_a_machine_that_dies_is_out_of_the_endpoints_and_one_that_stops_at_once(
    lab: Lab, server: Server, free_ports: Callable[[], int]
) -> None:
    service = {"metadata": {"name": "names"}, "spec": {"ports": [{"port": 53, "protocol": "UDP"}]}}
    assert server.ask("POST", "/api/v1/namespaces/kube-system/services", service)[0] == 201
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/names-machines"

    def members() -> set[str]:
        return {one["nodeName"] for one in server.ask("GET", path)[1].get("endpoints") or ()}

    daemons = {name: Daemon(lab, free_ports(), free_ports()) for name in ("a", "b", "c")}
    try:
        for number, (name, daemon) in enumerate(daemons.items()):
            member = (
                "--service=kube-system/names",
                f"--advertise-address=172.16.1.{number}",
                f"--node-name={name}",
            )
            daemon.serve(server, *member)
        daemons["a"].until(lambda: members() == {"a", "b", "c"})

        killed = daemons.pop("c").process
        assert killed is not None
        killed.kill()
        killed.wait(10)
        daemons["a"].until(lambda: members() == {"a", "b"}, seconds=60)

        stopping = daemons["b"].process
        assert stopping is not None
        stopping.terminate()
        daemons["a"].until(lambda: members() == {"a"}, seconds=8)
        try:
            # It goes on to answer until the proxies have heard.
            assert daemons["b"].ask(f"kubernetes.default.{CLUSTER}") == ["10.96.0.1"]
        except TimeoutError:
            assert stopping.poll() is not None, "it may be silent only when this machine was too slow to ask"
        daemons.pop("b")
        assert stopping.wait(10) == 0
    finally:
        for daemon in daemons.values():
            daemon.stop()
    assert members() == {"a"}  # never emptied


def applied(server: Server, one: Object) -> str:
    """Apply an object as the role does; its version."""
    url = f"{server.url}{one.place}?fieldManager=kybern&force=true"
    head = {"Content-Type": "application/apply-patch+yaml"}
    request = urllib.request.Request(url, one.file.content, head, method="PATCH")
    with urllib.request.urlopen(request, timeout=10, context=server.context()) as answer:
        found = json.loads(answer.read())
    assert found["metadata"]["annotations"]["kybern.io/applied"] == one.digest
    return str(found["metadata"]["resourceVersion"])


def test_the_rights_that_the_role_gives_are_enough(
    lab: Lab, server: Server, free_ports: Callable[[], int]
) -> None:
    authority = Authority.load(
        (lab.directory / "ca.crt").read_bytes(), (lab.directory / "ca.key").read_bytes()
    )
    pair = authority.issue_leaf(Leaf("system:kybern-dns"), datetime.now(UTC))
    lab.write("dns.crt", pair.cert_pem)
    lab.write("dns.key", pair.key_pem)
    wanted = objects(load(Path("inventories/topology/lab.yaml")))
    first = [applied(server, one) for one in wanted]
    assert [applied(server, one) for one in wanted] == first  # a second time changes nothing
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-machines"
    server.ask("DELETE", path)
    daemon = Daemon(lab, free_ports(), free_ports())
    more = ("--service=kube-system/kube-dns", "--advertise-address=172.16.0.2", "--node-name=master-1")
    daemon.serve(server, *more, identity="dns")
    try:
        daemon.until(lambda: daemon.ask(f"kubernetes.default.{CLUSTER}") == ["10.96.0.1"])
        daemon.until(lambda: "172.16.0.2" in str(server.ask("GET", path)[1].get("endpoints")))
        assert "cannot" not in daemon.log.read_text()
    finally:
        daemon.stop()
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kybern-dns-master-1"
    assert server.ask("GET", lease)[0] == 404


def test_before_it_knows_the_cluster_it_denies_nothing(
    lab: Lab, server: Server, free_ports: Callable[[], int]
) -> None:
    daemon = Daemon(lab, free_ports(), free_ports())
    daemon.serve(server, identity="nobody")  # who may not list services
    try:
        daemon.until(lambda: daemon.query(f"kubernetes.default.{CLUSTER}").header.rcode == 2)
    finally:
        daemon.stop()
