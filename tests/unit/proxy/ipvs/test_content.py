"""Virtual servers and members of sets of a service."""

from dataclasses import replace

import pytest

from kybern.proxy.ipvs import sets
from kybern.proxy.ipvs.content import Content, Here, Writer, here, servers
from kybern.proxy.ipvs.servers import Real, Server, Terms
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.rules import Settings

SETTINGS = Settings(pod_cidr="10.244.0.0/16", pod_cidr6="fd00:244::/64", node_addresses=("192.0.2.1",))
PLACE = Here(frozenset({"192.0.2.1", "10.244.1.1"}), ("192.0.2.1",))
NEAR, FAR = Endpoint("10.244.1.2", 8080, local=True), Endpoint("10.244.2.2", 8080)
ENDING = Endpoint("10.244.1.9", 8080, local=True, ready=False, serving=True, terminating=True)
WEB = ServicePort("default", "web", "http", "TCP", 80, "10.96.0.10", endpoints=(NEAR, FAR))
OUTSIDE = replace(WEB, node_port=30080, external_ips=("198.51.100.8",), balancer_ips=("198.51.100.7",))
CLUSTER, EXTERNAL = Server("10.96.0.10", "TCP", 80), Server("198.51.100.8", "TCP", 80)
BALANCER, NODE = Server("198.51.100.7", "TCP", 80), Server("192.0.2.1", "TCP", 30080)


def made(*ports: ServicePort, taken: frozenset[Server] = frozenset(), scheduler: str = "rr") -> Content:
    return Writer(SETTINGS, scheduler, PLACE).content(ports, taken)


def answering(content: Content, server: Server) -> set[str]:
    return {real.ip for real in content.servers[server].reals}


def members(content: Content, name: str) -> set[str]:
    return {member for where, member in content.entries if where == name}


def test_a_service_in_the_cluster_has_one_server() -> None:
    found = made(replace(WEB, affinity=60), scheduler="wlc")

    assert list(found.servers) == [CLUSTER]
    assert found.servers[CLUSTER].terms == Terms("wlc", 60)
    assert found.servers[CLUSTER].reals == (Real("10.244.1.2", 8080), Real("10.244.2.2", 8080))
    assert found.entries == {
        (sets.CLUSTER_IP, "10.96.0.10,tcp:80"),
        (sets.IPS, "10.96.0.10"),
        (sets.LOOP_BACK, "10.244.1.2,tcp:8080,10.244.1.2"),
    }


def test_a_service_for_outside_has_one_server_for_each_address() -> None:
    found = made(OUTSIDE)

    assert set(found.servers) == {CLUSTER, EXTERNAL, BALANCER, NODE} == set(servers([OUTSIDE], PLACE))
    assert members(found, sets.EXTERNAL_IP) == {"198.51.100.8,tcp:80"}
    assert members(found, sets.BALANCER) == {"198.51.100.7,tcp:80"}
    assert members(found, "KUBE-NODE-PORT-TCP") == {"30080"}
    assert members(found, sets.IPS) == {"10.96.0.10", "198.51.100.8", "198.51.100.7"}
    assert not members(found, sets.BALANCER_LOCAL) | members(found, sets.GUARDED)


def test_an_external_address_that_is_the_node_s_is_not_put_on_our_device() -> None:
    found = made(replace(WEB, external_ips=("192.0.2.1",)))

    assert Server("192.0.2.1", "TCP", 80) in found.servers
    assert members(found, sets.IPS) == {"10.96.0.10"}


def test_local_policies_keep_traffic_here_as_long_as_somebody_answers_here() -> None:
    outside = made(replace(OUTSIDE, external_local=True))
    inside = made(replace(OUTSIDE, internal_local=True))
    nobody = made(replace(OUTSIDE, external_local=True, internal_local=True, endpoints=(FAR,)))

    assert [answering(outside, one) for one in (CLUSTER, EXTERNAL, BALANCER, NODE)] == [
        {"10.244.1.2", "10.244.2.2"}, *[{"10.244.1.2"}] * 3,
    ]  # fmt: skip
    assert members(outside, sets.EXTERNAL_IP_LOCAL) == {"198.51.100.8,tcp:80"}
    assert members(outside, sets.BALANCER_LOCAL) == {"198.51.100.7,tcp:80"}
    assert members(outside, "KUBE-NODE-PORT-LOCAL-TCP") == {"30080"}
    assert not members(outside, sets.EXTERNAL_IP)
    assert answering(inside, CLUSTER) == {"10.244.1.2"}
    assert (answering(nobody, CLUSTER), answering(nobody, NODE)) == (set(), {"10.244.2.2"})


def test_endpoints_that_end_answer_when_no_other_does() -> None:
    assert answering(made(replace(WEB, endpoints=(NEAR, ENDING))), CLUSTER) == {"10.244.1.2"}
    assert answering(made(replace(WEB, endpoints=(ENDING,))), CLUSTER) == {"10.244.1.9"}


@pytest.mark.parametrize(
    ("ranges", "allowed", "from_itself"),
    [
        (("203.0.113.0/24", "10.0.0.0/8", "10.1.0.0/16"), {"203.0.113.0/24", "10.0.0.0/8"}, set()),
        (("198.18.0.1/32",), {"198.18.0.1"}, set()),
        (("192.0.2.0/24",), {"192.0.2.0/24"}, {"198.51.100.7,tcp:80,198.51.100.7"}),
        (("0.0.0.0/0",), None, set()),
        ((), None, set()),
    ],
)
def test_ranges_guard_the_balancer_s_address(
    ranges: tuple[str, ...], allowed: set[str] | None, from_itself: set[str]
) -> None:
    found = made(replace(OUTSIDE, source_ranges=ranges))

    assert members(found, sets.GUARDED) == (set() if allowed is None else {"198.51.100.7,tcp:80"})
    assert members(found, sets.SOURCE_CIDR) == {f"198.51.100.7,tcp:80,{one}" for one in allowed or ()}
    assert members(found, sets.SOURCE_IP) == from_itself


def test_node_ports_of_sctp_name_the_address() -> None:
    found = made(replace(OUTSIDE, protocol="SCTP", external_local=True))

    assert members(found, "KUBE-NODE-PORT-SCTP-HASH") == {"192.0.2.1,sctp:30080"}
    assert members(found, "KUBE-NODE-PORT-LOCAL-SCTP-HASH") == {"192.0.2.1,sctp:30080"}


def test_health_check_ports_may_be_called() -> None:
    assert members(made(replace(OUTSIDE, health_check_port=31000)), sets.HEALTH_PORT) == {"31000"}


def test_what_another_service_has_is_left_to_it() -> None:
    found = made(OUTSIDE, taken=frozenset({EXTERNAL, NODE}))

    assert set(found.servers) == {CLUSTER, BALANCER}
    assert not members(found, sets.EXTERNAL_IP) | members(found, "KUBE-NODE-PORT-TCP")
    assert "198.51.100.8" not in members(found, sets.IPS)


def test_an_address_of_ipv6_is_written_as_the_kernel_does() -> None:
    six = replace(
        WEB,
        cluster_ip="fd00:96:0::010",
        external_ips=("FD00::0:8",),
        endpoints=(Endpoint("fd00:244::2", 8080),),
    )

    found = Writer(SETTINGS, "rr", Here()).content([six])

    assert set(found.servers) == {Server("fd00:96::10", "TCP", 80), Server("fd00::8", "TCP", 80)}
    assert members(found, sets.CLUSTER_IP) == {"fd00:96::10,tcp:80"}


OWN = ("192.0.2.1", "10.244.1.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("networks", "four", "six"),
    [
        ((), ("10.244.1.1", "192.0.2.1"), ("2001:db8::1",)),
        (("192.0.2.0/24",), ("192.0.2.1",), ("2001:db8::1",)),
        (("0.0.0.0/0",), ("10.244.1.1", "192.0.2.1"), ("2001:db8::1",)),
        (("primary",), ("192.0.2.1",), ()),
    ],
)
def test_node_ports_are_at_addresses_that_the_node_has(
    networks: tuple[str, ...], four: tuple[str, ...], six: tuple[str, ...]
) -> None:
    settings = replace(SETTINGS, node_port_networks=networks)

    assert here(OWN, settings, 4) == Here(frozenset({"192.0.2.1", "10.244.1.1"}), four)
    assert here(OWN, settings, 6) == Here(frozenset({"2001:db8::1"}), six)
