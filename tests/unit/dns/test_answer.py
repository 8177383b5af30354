"""What the Kubernetes DNS specification 1.1.0 asks for, question by question."""

import pytest

from kybern.dns.answer import NOERROR, NXDOMAIN, SERVFAIL, Answer, Settings, answer, undashed
from kybern.dns.records import AAAA, ANY, CNAME, NS, PTR, SOA, SRV, TXT, A, dashed
from kybern.dns.zone import Zone
from tests.unit.dns.objects import endpoint, external, service, slice_of, zone

SETTINGS = Settings(own=("10.96.0.10",))
CLUSTER = zone(
    (
        service("kubernetes", "10.96.0.1", ports=("https:443",)),
        service("kube-dns", "10.96.0.10", namespace="kube-system", ports=("dns:53/UDP", "dns-tcp:53/TCP", "metrics:9153")),
        service("both", "10.96.0.20", "fd00::20"),
        service("plain", "10.96.0.30", ports=(":80",)),
        service("Upper", "10.96.0.40"),
        service("1-digit", "10.96.0.41"),
        service("pets"),
        service("six"),
        service("empty"),
        service("unready"),
        external("site", "www.example.com"),
        external("dotted", "WWW.Example.com."),
        external("number", "192.0.2.1"),
        external("inside", "kubernetes.default.svc.cluster.local"),
        external("twice", "inside.default.svc.cluster.local"),
        external("circle", "circle.default.svc.cluster.local"),
        external("lost", "nobody.default.svc.cluster.local"),
    ),
    (
        slice_of(
            "pets", endpoint("10.244.0.5", "my-pet"), endpoint("10.244.0.6"), endpoint("10.244.0.7", "late", ready=False)
        ),
        slice_of("pets", endpoint("10.244.1.5", "my-pet"), endpoint("10.244.1.6", ready=None), suffix="b"),
        slice_of("six", endpoint("fd00::5", "first"), endpoint("fd00::6"), ports=("http:8080", "q:9/SCTP")),
        slice_of("unready", endpoint("10.244.0.9", ready=False)),
        slice_of("empty"),
        slice_of("kubernetes", endpoint("172.16.0.1"), ports=("https:6443",)),
    ),
)  # fmt: skip
FOUND = [
    ("dns-version", TXT, {"1.1.0"}),
    ("kubernetes.default.svc", A, {"10.96.0.1"}),
    ("kube-dns.kube-system.svc", A, {"10.96.0.10"}),
    ("both.default.svc", A, {"10.96.0.20"}),
    ("both.default.svc", AAAA, {"fd00::20"}),
    ("both.default.svc", ANY, {"10.96.0.20", "fd00::20", "0 100 80 both.default.svc.cluster.local"}),
    ("upper.default.svc", A, {"10.96.0.40"}),
    ("1-digit.default.svc", A, {"10.96.0.41"}),
    ("_http._tcp.1-digit.default.svc", SRV, {"0 100 80 1-digit.default.svc.cluster.local"}),
    ("_https._tcp.kubernetes.default.svc", SRV, {"0 100 443 kubernetes.default.svc.cluster.local"}),
    ("_dns._udp.kube-dns.kube-system.svc", SRV, {"0 100 53 kube-dns.kube-system.svc.cluster.local"}),
    ("_dns-tcp._tcp.kube-dns.kube-system.svc", SRV, {"0 100 53 kube-dns.kube-system.svc.cluster.local"}),
    ("plain.default.svc", SRV, {"0 100 80 plain.default.svc.cluster.local"}),
    ("pets.default.svc", A, {"10.244.0.5", "10.244.0.6", "10.244.1.5", "10.244.1.6"}),
    ("my-pet.pets.default.svc", A, {"10.244.0.5", "10.244.1.5"}),
    ("10-244-0-6.pets.default.svc", A, {"10.244.0.6"}),
    ("six.default.svc", AAAA, {"fd00::5", "fd00::6"}),
    ("first.six.default.svc", AAAA, {"fd00::5"}),
    ("fd00--6.six.default.svc", AAAA, {"fd00::6"}),
    ("_q._sctp.six.default.svc", SRV, {
        "0 50 9 first.six.default.svc.cluster.local", "0 50 9 fd00--6.six.default.svc.cluster.local",
    }),
    ("_http._tcp.pets.default.svc", SRV, {
        "0 25 8080 my-pet.pets.default.svc.cluster.local", "0 25 8080 10-244-0-6.pets.default.svc.cluster.local",
        "0 25 8080 10-244-1-6.pets.default.svc.cluster.local",
    }),
    ("site.default.svc", CNAME, {"www.example.com"}),
    ("10-244-3-9.default.pod", A, {"10.244.3.9"}),
    ("172-12-0-1.kube-system.pod", A, {"172.12.0.1"}),
    ("fd00--9.default.pod", AAAA, {"fd00::9"}),
    ("ns.dns", A, {"10.96.0.10"}),
]  # fmt: skip
NODATA = [
    ("kubernetes.default.svc", AAAA), ("kubernetes.default.svc", TXT), ("kubernetes.default.svc", CNAME),
    ("pets.default.svc", AAAA), ("six.default.svc", A), ("my-pet.pets.default.svc", SRV),
    ("_tcp.kubernetes.default.svc", A), ("_tcp.kubernetes.default.svc", SRV), ("_udp.kube-dns.kube-system.svc", A),
    ("_https._tcp.kubernetes.default.svc", A), ("default.svc", A), ("other.svc", A), ("default.pod", A), ("svc", A),
    ("pod", AAAA), ("dns", A), ("dns-version", A), ("10-244-3-9.default.pod", AAAA), ("fd00--9.default.pod", A),
    ("ns.dns", AAAA), ("_sctp.six.default.svc", SRV),
]  # fmt: skip
UNKNOWN = [
    "nobody.default.svc", "kubernetes.nowhere.svc", "nowhere.svc", "nowhere.pod", "10-0-0-1.nowhere.pod",
    "not-an-address.default.pod", "1-2-3.default.pod", "1-2-3-400.default.pod", "x.10-0-0-1.default.pod", "default",
    "kubernetes.default", "empty.default.svc", "unready.default.svc", "10-244-0-9.unready.default.svc",
    "late.pets.default.svc", "10-244-0-5.pets.default.svc", "_http._tcp.plain.default.svc", "_tcp.plain.default.svc",
    "_https._udp.kubernetes.default.svc", "_nothing._tcp.kubernetes.default.svc", "a.kubernetes.default.svc",
    "172-16-0-1.kubernetes.default.svc", "www.example.com", "www.example.com.default.svc", "a.b.c.d.e.f",
    "x.dns-version", "ns.ns.dns", "number.default.svc", "_http._tcp.empty.default.svc",
    "a._https._tcp.kubernetes.default.svc",
]  # fmt: skip
REVERSE = [
    ("1.0.96.10.in-addr.arpa", "kubernetes.default.svc.cluster.local"),
    ("10.0.96.10.in-addr.arpa", "kube-dns.kube-system.svc.cluster.local"),
    ("5.0.244.10.in-addr.arpa", "my-pet.pets.default.svc.cluster.local"),
    ("6.0.244.10.in-addr.arpa", "10-244-0-6.pets.default.svc.cluster.local"),
    (f"0.2.{'0.' * 28}d.f.ip6.arpa", "both.default.svc.cluster.local"),
]
ABROAD = [
    ("www.example.com", A), ("local", A), ("notcluster.local", A), ("7.0.244.10.in-addr.arpa", PTR), ("cluster.loca", A),
    ("1.0.16.172.in-addr.arpa", PTR), ("1.0.96.10.in-addr.arpa", A), ("96.10.in-addr.arpa", PTR), ("", NS), ("", SOA),
    ("kubernetes.default.svc", A), ("kubernetes", A), ("xcluster.local", A), ("com", NS),
]  # fmt: skip


def ask(name: str, kind: int, within: Zone = CLUSTER) -> Answer:
    found = answer(within, SETTINGS, f"{name}.{within.domain}".lstrip("."), kind)
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "kind", "values"), FOUND)
def test_a_name_of_the_specification_is_answered(name: str, kind: int, values: set[str]) -> None:
    found = ask(name, kind)

    assert (found.rcode, {record.value for record in found.records}) == (NOERROR, values)
    assert {record.name for record in found.records} == {f"{name}.cluster.local"}
    assert found.authority == ()


@pytest.mark.parametrize(("name", "kind"), NODATA)
def test_a_name_without_such_records_exists_all_the_same(name: str, kind: int) -> None:
    found = ask(name, kind)

    assert (found.rcode, found.records) == (NOERROR, ())
    assert [record.type for record in found.authority] == [SOA]


@pytest.mark.parametrize("kind", [A, AAAA, SRV, TXT, CNAME, ANY, PTR])
@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_is_not_there_is_denied_for_every_type(name: str, kind: int) -> None:
    found = ask(name, kind)

    assert (found.rcode, found.records) == (NXDOMAIN, ())
    assert [(record.type, record.name) for record in found.authority] == [(SOA, "cluster.local")]


@pytest.mark.parametrize(("name", "target"), REVERSE)
def test_an_address_leads_back_to_its_name(name: str, target: str) -> None:
    found = answer(CLUSTER, SETTINGS, name, PTR)

    assert found is not None
    assert [record.value for record in found.records] == [target]


@pytest.mark.parametrize(("name", "kind"), ABROAD)
def test_other_names_are_for_other_servers(name: str, kind: int) -> None:
    assert answer(CLUSTER, SETTINGS, name, kind) is None


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind, _ in FOUND])
def test_answers_hold_for_any_cluster_domain(name: str, kind: int) -> None:
    other = zone((service("kubernetes", "10.96.0.1", ports=("https:443",)),), domain="k8s.example.org")

    assert answer(other, SETTINGS, f"{name}.cluster.local", kind) is None
    here = ask("kubernetes.default.svc", A, other)
    assert [record.value for record in here.records] == ["10.96.0.1"]
    assert (
        ask("_https._tcp.kubernetes.default.svc", SRV, other).records[0].value.endswith("svc.k8s.example.org")
    )


@pytest.mark.parametrize("kind", [A, AAAA])
@pytest.mark.parametrize(("name", "chase"), [("site", "www.example.com"), ("dotted", "www.example.com")])
def test_an_external_name_is_followed_outside(name: str, chase: str, kind: int) -> None:
    found = ask(f"{name}.default.svc", kind)

    assert ([record.type for record in found.records], found.chase) == ([CNAME], chase)


@pytest.mark.parametrize(("name", "kinds"), [("inside", [CNAME, A]), ("twice", [CNAME, CNAME, A])])
def test_an_external_name_that_points_inside_is_followed_here(name: str, kinds: list[int]) -> None:
    found = ask(f"{name}.default.svc", A)

    assert [record.type for record in found.records] == kinds
    assert (found.chase, found.records[-1].value) == ("", "10.96.0.1")


def test_a_pointer_to_nobody_says_so() -> None:
    found = ask("lost.default.svc", A)

    assert (found.rcode, [record.type for record in found.records]) == (NXDOMAIN, [CNAME])
    assert [record.type for record in found.authority] == [SOA]


def test_a_pointer_to_a_name_without_the_type_is_no_data() -> None:
    found = ask("inside.default.svc", AAAA)

    assert (found.rcode, [record.type for record in found.records]) == (NOERROR, [CNAME])


def test_a_circle_of_names_ends() -> None:
    assert ask("circle.default.svc", A).rcode == SERVFAIL


def test_the_apex_has_its_authority_and_name_server() -> None:
    assert [record.type for record in ask("", SOA).records] == [SOA]
    servers = ask("", NS)
    assert [record.value for record in servers.records] == ["ns.dns.cluster.local"]
    assert [record.value for record in servers.additional] == ["10.96.0.10"]


@pytest.mark.parametrize(("name", "addresses"), [
    ("_https._tcp.kubernetes.default.svc", ["10.96.0.1"]),
    ("_http._tcp.both.default.svc", ["10.96.0.20", "fd00::20"]),
    ("_http._tcp.pets.default.svc", ["10.244.0.5", "10.244.0.6", "10.244.1.5", "10.244.1.6"]),
])  # fmt: skip
def test_the_addresses_of_targets_come_along(name: str, addresses: list[str]) -> None:
    assert sorted(record.value for record in ask(name, SRV).additional) == addresses


def test_pod_names_can_be_switched_off() -> None:
    found = answer(CLUSTER, Settings(pods=False), "10-0-0-1.default.pod.cluster.local", A)

    assert found is not None
    assert found.rcode == NXDOMAIN


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "fd00::1", "::1", "fe80::", "2001:db8:1:2:3:4:5:6", "0.0.0.0", "::"]
)
def test_an_address_and_its_label_are_the_same(address: str) -> None:
    assert str(undashed(dashed(address))) == address
