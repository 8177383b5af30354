"""Ports become elements of maps, a handful of chains that all share, and chains of their own where they must."""

from dataclasses import replace

import pytest

from kybern.proxy.elements import Content, content, keys, networks
from kybern.proxy.families import IPV4, IPV6, Family
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.rules import Settings
from tests.unit.proxy.test_rules import HERE, SETTINGS, THERE, port

ENDING = replace(THERE, ready=False, serving=True, terminating=True)
BALANCED = port(balancer_ips=("192.0.2.1",), external_ips=("192.0.2.2",), node_port=30080)


def made(one: ServicePort, settings: Settings = SETTINGS, family: Family = IPV4) -> Content:
    return content([one], settings, family)


def held(found: Content, into: str) -> dict[str, str]:
    """Elements of a map or set, with their verdicts and without comments."""
    return {
        key: value.rpartition(" : ")[2] for (where, key), value in found.elements.items() if where == into
    }


def test_a_cluster_ip_goes_to_the_chain_for_its_number_of_endpoints() -> None:
    found = made(port())

    assert held(found, "service-ips") == {"10.96.0.10 . tcp . 80": "goto tcp-pick-2"}
    assert held(found, "tcp-endpoints") == {
        "10.96.0.10 . 80 . 0": "10.244.1.2 . 8080",
        "10.96.0.10 . 80 . 1": "10.244.2.2 . 8080",
    }
    assert held(found, "cluster-ips") == {"10.96.0.10": ""}
    assert found.chains == {
        "tcp-pick-2": ("dnat ip to ip daddr . tcp dport . numgen random mod 2 map @tcp-endpoints",)
    }


def test_an_element_tells_whose_it_is() -> None:
    assert made(port()).elements["service-ips", "10.96.0.10 . tcp . 80"] == (
        ' comment "default/web:http" : goto tcp-pick-2'
    )


def test_services_with_as_many_endpoints_share_their_chain() -> None:
    assert made(port()).chains == made(port(service="other", cluster_ip="10.96.0.11")).chains


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_each_protocol_has_maps_of_its_own(protocol: str) -> None:
    found, name = made(port(protocol=protocol, node_port=30080)), protocol.lower()

    assert held(found, "service-ips") == {f"10.96.0.10 . {name} . 80": f"goto {name}-pick-2"}
    assert held(found, f"nodeport-{name}-endpoints").keys() == {"30080 . 0", "30080 . 1"}


def test_a_node_port_masquerades_and_reaches_every_endpoint() -> None:
    found = made(port(node_port=30080))

    assert held(found, "service-nodeports") == {"tcp . 30080": "goto nodeport-tcp-external-2"}
    assert found.chains["nodeport-tcp-external-2"] == ("jump mark-for-masquerade", "goto nodeport-tcp-pick-2")
    assert found.chains["nodeport-tcp-pick-2"] == (
        "dnat ip to tcp dport . numgen random mod 2 map @nodeport-tcp-endpoints",
    )


def test_local_traffic_policy_has_both_lists_under_one_address() -> None:
    found = made(port(external_ips=("192.0.2.2",), external_local=True))

    assert held(found, "service-ips")["192.0.2.2 . tcp . 80"] == "goto tcp-local-1-2"
    assert {key: value for key, value in held(found, "tcp-endpoints").items() if key.startswith("192")} == {
        "192.0.2.2 . 80 . 0": "10.244.1.2 . 8080",  # of this node
        "192.0.2.2 . 80 . 1": "10.244.1.2 . 8080",  # and all, for pods and the node itself
        "192.0.2.2 . 80 . 2": "10.244.2.2 . 8080",
    }
    assert found.chains["tcp-local-1-2"] == (
        "ip saddr 10.244.0.0/16 goto tcp-pick-2-from-1",
        "fib saddr type local jump mark-for-masquerade",
        "fib saddr type local goto tcp-pick-2-from-1",
        "goto tcp-pick-1",
    )
    assert "numgen random mod 2 offset 1" in found.chains["tcp-pick-2-from-1"][0]


def test_local_traffic_policy_drops_where_only_others_could_answer() -> None:
    found = made(replace(BALANCED, external_local=True, endpoints=(THERE,)))

    assert held(found, "no-endpoint-nodeports") == {"tcp . 30080": "drop"}
    assert held(found, "no-endpoint-services") == {
        "192.0.2.1 . tcp . 80": "drop",
        "192.0.2.2 . tcp . 80": "drop",
    }
    assert held(found, "service-nodeports") == {"tcp . 30080": "goto nodeport-tcp-local-0-1"}
    assert len(found.chains["nodeport-tcp-local-0-1"]) == 3, "who is not of this node goes on, and is dropped"


def test_internal_policy_local_asks_only_this_node() -> None:
    found = made(port(internal_local=True))

    assert held(found, "tcp-endpoints") == {"10.96.0.10 . 80 . 0": "10.244.1.2 . 8080"}


def test_internal_policy_local_drops_where_only_others_could_answer() -> None:
    found = made(port(internal_local=True, endpoints=(THERE,)))

    assert held(found, "no-endpoint-services") == {"10.96.0.10 . tcp . 80": "drop"}
    assert held(found, "service-ips") == {}


def test_a_service_without_endpoints_refuses_at_once() -> None:
    found = made(replace(BALANCED, endpoints=()))

    assert set(held(found, "no-endpoint-services").values()) == {"goto reject-chain"}
    assert len(held(found, "no-endpoint-services")) == 3
    assert held(found, "no-endpoint-nodeports") == {"tcp . 30080": "goto reject-chain"}
    assert found.chains == {}


def test_endpoints_that_end_serve_when_no_other_is_left() -> None:
    assert set(held(made(port(endpoints=(ENDING, HERE))), "tcp-endpoints").values()) == {"10.244.1.2 . 8080"}
    assert set(held(made(port(endpoints=(ENDING,))), "tcp-endpoints").values()) == {"10.244.2.2 . 8080"}


def test_endpoints_that_hints_give_to_others_are_not_used() -> None:
    far = replace(THERE, near=False)

    assert set(held(made(port(endpoints=(HERE, far))), "tcp-endpoints").values()) == {"10.244.1.2 . 8080"}


def test_only_endpoints_that_may_be_here_can_call_themselves() -> None:
    somewhere = replace(THERE, ip="10.244.3.3", unplaced=True)

    found = made(port(endpoints=(HERE, THERE, somewhere)))

    assert held(found, "hairpins").keys() == {"10.244.1.2 . 10.244.1.2", "10.244.3.3 . 10.244.3.3"}


def test_source_ranges_guard_a_load_balancer_and_nothing_else() -> None:
    found = made(replace(BALANCED, source_ranges=("198.51.100.0/24",)))
    ((address, verdict),) = held(found, "firewall-ips").items()

    assert address == "192.0.2.1 . tcp . 80"
    assert found.chains[verdict.removeprefix("goto ")] == ("ip saddr != { 198.51.100.0/24 } drop",)


def test_ranges_within_others_are_left_out_as_are_those_of_another_family() -> None:
    texts = ("10.1.0.0/16", "10.0.0.0/8", "fd00::/8", "198.51.100.7/24", "nonsense")

    assert networks(texts, IPV4) == ["10.0.0.0/8", "198.51.100.0/24"]
    assert networks(texts, IPV6) == ["fd00::/8"]


def test_ranges_with_this_node_let_in_the_balancers_address_too() -> None:
    guarded = replace(BALANCED, source_ranges=("203.0.113.0/24",))

    found = made(guarded, replace(SETTINGS, node_addresses=("203.0.113.5",)))

    (rule,) = next(rules for name, rules in found.chains.items() if name.startswith("firewall-"))
    assert rule == "ip saddr != { 192.0.2.1/32, 203.0.113.0/24 } drop"


def test_affinity_asks_first_which_endpoint_the_client_had() -> None:
    found = made(port(affinity=600))
    (name,) = (one.removeprefix("goto ") for one in held(found, "service-ips").values())

    assert name.startswith("service-")
    assert name.endswith("-default/web/tcp/http")
    first, second, draw = found.chains[name]
    assert first.startswith("ip saddr @affinity-600-")
    assert draw.startswith("numgen random mod 2 vmap { 0 : goto endpoint-")
    assert second.endswith("default/web/tcp/http__10.244.2.2/8080")
    assert set(found.sets.values()) == {600}


def test_affinity_remembers_an_endpoint_before_it_goes_there() -> None:
    found = made(port(affinity=600, endpoints=(HERE,)))
    (known,) = found.sets

    (rules,) = (rules for name, rules in found.chains.items() if name.startswith("endpoint-"))

    assert rules == (f"update @{known} {{ ip saddr }}", "meta l4proto tcp dnat to 10.244.1.2:8080")


def test_another_time_out_means_another_set() -> None:
    assert made(port(affinity=600)).sets.keys().isdisjoint(made(port(affinity=60)).sets)


def test_affinity_and_local_policy_go_together() -> None:
    found = made(port(affinity=600, external_local=True, node_port=30080))
    kinds = sorted(name.partition("-")[0] for name in found.chains)

    assert kinds == ["endpoint", "endpoint", "external", "local", "service"]
    (entry,) = (one.removeprefix("goto ") for one in held(found, "service-nodeports").values())
    assert found.chains[entry][-1].startswith("goto local-")


def test_chains_of_a_port_have_a_slash_in_their_name_and_shared_ones_have_none() -> None:
    own = made(replace(BALANCED, affinity=9, source_ranges=("10.0.0.0/8",)))
    shared = made(BALANCED)

    assert all("/" in name for name in own.chains)
    assert not any("/" in name for name in shared.chains)


def test_ipv6_is_said_in_its_own_words() -> None:
    six = port(
        cluster_ip="fd00::a",
        endpoints=(Endpoint("fd00:1::2", 8080, local=True),),
        affinity=5,
        node_port=30080,
    )
    settings = replace(SETTINGS, pod_cidr6="fd00:1::/64")

    sticky, plain = made(six, settings, IPV6), made(replace(six, affinity=0), settings, IPV6)

    assert held(plain, "tcp-endpoints") == {"fd00::a . 80 . 0": "fd00:1::2 . 8080"}
    assert plain.chains["tcp-pick-1"][0].startswith("dnat ip6 to ip6 daddr . tcp dport . ")
    assert any("dnat to [fd00:1::2]:8080" in rule for rules in sticky.chains.values() for rule in rules)
    assert not any(":" in name for name in sticky.chains), "no name may have a colon"


def test_an_address_that_another_service_has_is_left_to_it() -> None:
    taken = frozenset({"192.0.2.2 . tcp . 80", "tcp . 30080"})

    found = content([BALANCED], SETTINGS, IPV4, taken)

    assert held(found, "service-ips").keys() == {"10.96.0.10 . tcp . 80", "192.0.2.1 . tcp . 80"}
    assert held(found, "service-nodeports") == {}
    assert not any(key.startswith("192.0.2.2") for key in held(found, "tcp-endpoints"))


def test_every_address_of_a_port_is_a_key() -> None:
    assert list(keys([BALANCED])) == [
        "10.96.0.10 . tcp . 80",
        "192.0.2.2 . tcp . 80",
        "192.0.2.1 . tcp . 80",
        "tcp . 30080",
    ]


def test_an_address_that_is_external_and_a_balancer_s_is_written_once() -> None:
    found = made(port(balancer_ips=("192.0.2.1",), external_ips=("192.0.2.1", "10.96.0.10")))

    assert held(found, "service-ips").keys() == {"10.96.0.10 . tcp . 80", "192.0.2.1 . tcp . 80"}
    assert held(found, "service-ips")["10.96.0.10 . tcp . 80"] == "goto tcp-pick-2", (
        "its own address goes first"
    )
