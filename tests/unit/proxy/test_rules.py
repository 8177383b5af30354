"""Ports become chains, and chains become input for iptables-restore."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.proxy import restore
from kybern.proxy import ruleset as ruleset_module
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.restore import (
    everything,
    is_ours,
    missing_jumps,
    our_chains,
    questions,
    removal,
    touched,
    written,
)
from kybern.proxy.restore import steps as in_steps
from kybern.proxy.rules import (
    INVALID_DROPPED,
    JUMPS,
    LOCALHOST_ACCEPTED,
    PORTALS,
    Settings,
    Tables,
    chain_of,
    endpoint_chain,
    portal,
)
from kybern.proxy.ruleset import Ruleset

SETTINGS = Settings(pod_cidr="10.244.0.0/16")
HERE = Endpoint("10.244.1.2", 8080, local=True)
THERE = Endpoint("10.244.2.2", 8080)


def port(**changes: object) -> ServicePort:
    facts = {
        "namespace": "default", "service": "web", "name": "http", "protocol": "TCP", "port": 80,
        "cluster_ip": "10.96.0.10", "endpoints": (HERE, THERE),
    }  # fmt: skip
    return ServicePort(**(facts | changes))  # type: ignore[arg-type]


def ruleset(ports: Sequence[ServicePort], settings: Settings = SETTINGS) -> Ruleset:
    found = Ruleset(settings)
    for name in dict.fromkeys((one.namespace, one.service) for one in ports):
        found.put(name, [one for one in ports if (one.namespace, one.service) == name])
    return found


def render(ports: Sequence[ServicePort], settings: Settings) -> Tables:
    return Tables(**ruleset(ports, settings).tables())


def nat(one: ServicePort, kind: str, settings: Settings = SETTINGS) -> list[str]:
    return render((one,), settings).nat[chain_of(kind, one)]


def test_a_cluster_ip_goes_to_each_endpoint_with_the_same_chance() -> None:
    one = port()

    rules = nat(one, "SVC")

    assert rules == [
        "! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
        (
            '-m comment --comment "default/web:http -> 10.244.1.2:8080" -m statistic --mode random '
            f"--probability 0.5000000000 -j {endpoint_chain(one, HERE)}"
        ),
        "-p tcp -j DNAT --to-destination 10.244.2.2:8080",
    ]


@pytest.mark.parametrize(
    ("changes", "endpoint", "expected"),
    [
        ({}, THERE, False),
        ({}, HERE, True),
        ({}, Endpoint("192.0.2.7", 8080, unplaced=True), True),
        ({"affinity": 60}, THERE, True),
        ({"node_port": 30080}, THERE, False),
        ({"external_ips": ("198.51.100.8",), "external_local": True}, THERE, True),
        ({"external_local": True}, THERE, False),
        ({"internal_local": True}, HERE, True),
    ],
)
def test_an_endpoint_has_a_chain_where_it_is_remembered_or_may_be_the_caller(
    changes: dict[str, object], endpoint: Endpoint, *, expected: bool
) -> None:
    one = port(**changes, endpoints=(endpoint,))

    chains = render((one,), SETTINGS).nat

    assert (endpoint_chain(one, endpoint) in chains) == expected
    assert str(chains).count(f"DNAT --to-destination {endpoint.address}") == 1


def test_an_endpoint_is_reached_by_dnat_and_its_own_calls_are_masqueraded() -> None:
    one = port()

    assert render((one,), SETTINGS).nat[endpoint_chain(one, HERE)] == [
        '-m comment --comment "default/web:http" -s 10.244.1.2/32 -j KUBE-MARK-MASQ',
        '-m comment --comment "default/web:http" -p tcp -j DNAT --to-destination 10.244.1.2:8080',
    ]


def test_affinity_asks_first_which_endpoint_the_client_had() -> None:
    one = port(affinity=600, endpoints=(HERE,))
    chain = endpoint_chain(one, HERE)

    asked, picked = nat(one, "SVC")[1:]

    assert f"-m recent --name {chain} --rcheck --seconds 600 --reap -j {chain}" in asked
    assert picked.endswith(f"-j {chain}")
    assert f"-m recent --name {chain} --set" in render((one,), SETTINGS).nat[chain][1]


def test_a_service_without_endpoints_refuses_at_once() -> None:
    tables = render((port(endpoints=(), node_port=30080),), SETTINGS)

    assert tables.filter["KUBE-SERVICES"] == [
        '-m comment --comment "default/web:http has no endpoints" -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j REJECT'
    ]
    assert tables.filter["KUBE-EXTERNAL-SERVICES"] == [
        (
            '-m comment --comment "default/web:http has no endpoints" -m addrtype --dst-type LOCAL '
            "-p tcp -m tcp --dport 30080 -j REJECT"
        )
    ]
    assert not tables.nat[portal("10.96.0.10")]


def test_a_node_port_masquerades_and_reaches_every_endpoint() -> None:
    one = port(node_port=30080)

    tables = render((one,), SETTINGS)

    assert tables.nat["KUBE-NODEPORTS"] == [
        f'-m comment --comment "default/web:http node port" -p tcp -m tcp --dport 30080 -j {chain_of("EXT", one)}'
    ]
    assert [rule.rpartition(" -j ")[2] for rule in ["x " + rule for rule in nat(one, "EXT")]] == [
        "KUBE-MARK-MASQ",
        chain_of("SVC", one),
    ]


def test_local_traffic_policy_keeps_the_callers_address() -> None:
    one = port(node_port=30080, external_local=True)

    rules = nat(one, "EXT")

    assert rules[-1] == f"-j {chain_of('SVL', one)}"
    assert rules[0].endswith(f"-s 10.244.0.0/16 -j {chain_of('SVC', one)}")
    assert [rule for rule in nat(one, "SVL") if endpoint_chain(one, THERE) in rule] == []


def test_local_traffic_policy_drops_where_only_others_could_answer() -> None:
    tables = render((port(node_port=30080, external_local=True, endpoints=(THERE,)),), SETTINGS)

    (rule,) = tables.filter["KUBE-EXTERNAL-SERVICES"]

    # Of this node: what a pod sends to the same port of another node, which has an endpoint, goes on its way.
    assert rule.endswith("-m addrtype --dst-type LOCAL -p tcp -m tcp --dport 30080 -j DROP")


def test_internal_policy_local_asks_only_this_node() -> None:
    one = port(internal_local=True)

    rules = nat(one, "SVL")

    assert endpoint_chain(one, HERE) in rules[-1]
    assert not any(endpoint_chain(one, THERE) in rule for rule in rules)


def test_source_ranges_guard_a_load_balancer() -> None:
    one = port(balancer_ips=("192.0.2.1",), source_ranges=("198.51.100.0/24",), node_port=30080)

    tables = render((one,), SETTINGS)

    assert tables.nat[chain_of("FW", one)][0].endswith(f"-s 198.51.100.0/24 -j {chain_of('EXT', one)}")
    assert tables.filter["KUBE-PROXY-FIREWALL"][0].endswith(
        "-d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DROP"
    )


def test_ranges_with_this_node_let_in_the_balancers_address_too() -> None:
    one = port(balancer_ips=("192.0.2.1",), source_ranges=("203.0.113.0/24",))

    rules = nat(one, "FW", replace(SETTINGS, node_addresses=("203.0.113.5",)))

    assert [rule.partition(" -s ")[2].split(" ")[0] for rule in rules] == ["203.0.113.0/24", "192.0.2.1"]
    assert len(nat(one, "FW")) == 1


SIX = "fd00:96::10"
OF_SIX = Endpoint("fd00:244::2", 8080, local=True)


def test_a_service_of_ipv6_has_the_same_chains_with_its_own_addresses() -> None:
    one = port(cluster_ip=SIX, endpoints=(OF_SIX,), external_ips=("2001:db8::7",))
    settings = replace(SETTINGS, pod_cidr6="fd00:244::/64")

    chains = render((one,), settings).nat

    where = f"-d {SIX}/128 -p tcp -m tcp --dport 80"
    assert f"! -s fd00:244::/64 {where} -j KUBE-MARK-MASQ" in chains[chain_of("SVC", one)][0]
    assert [rule.partition(" -s ")[2] for rule in chains[endpoint_chain(one, OF_SIX)][:1]] == [
        "fd00:244::2/128 -j KUBE-MARK-MASQ"
    ]
    assert chains[endpoint_chain(one, OF_SIX)][1].endswith("-j DNAT --to-destination [fd00:244::2]:8080")
    assert any("-d 2001:db8::7/128 " in rule for rule in chains["KUBE-SERVICES-7"])
    pods = nat(replace(one, external_local=True), "EXT", settings)[0]
    assert pods.endswith(f"-s fd00:244::/64 -j {chain_of('SVC', one)}")


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ((), "! -d ::1/128 "),
        (("2001:db8::/64", "10.0.0.0/8"), "-d 2001:db8::/64 "),
        (("primary",), "-d 2001:db8::1 "),
    ],
)
def test_node_ports_of_ipv6_answer_in_their_own_networks_and_never_at_the_loopback(
    places: tuple[str, ...], found: str
) -> None:
    settings = replace(
        SETTINGS, node_port_networks=places, node_addresses=("192.0.2.1", "2001:db8::1", "2001:db8::2")
    )

    rules = Ruleset(settings, 6).rules(("nat", "KUBE-SERVICES")) or ()

    assert [rule.partition("-m comment")[0] for rule in rules[len(PORTALS) :]] == [found]


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ((), ["! -d 127.0.0.0/8 "]),
        (("10.0.0.0/8",), ["-d 10.0.0.0/8 "]),
        (("primary",), ["-d 192.0.2.1 "]),
        (("fd00::/8",), ["! -d 127.0.0.0/8 "]),
    ],
)
def test_node_ports_answer_where_they_shall(places: tuple[str, ...], found: list[str]) -> None:
    settings = replace(SETTINGS, node_port_networks=places, node_addresses=("192.0.2.1", "192.0.2.2"))

    rules = render((), settings).nat["KUBE-SERVICES"]

    assert [rule.partition("-m comment")[0] for rule in rules[len(PORTALS) :]] == found


@pytest.mark.parametrize(
    ("version", "ip", "rule"),
    [
        (4, "10.96.0.16", "-d 0.0.0.0/0.0.0.15 -j KUBE-SERVICES-0"),
        (4, "10.96.3.250", "-d 0.0.0.10/0.0.0.15 -j KUBE-SERVICES-A"),
        (6, "fd00:96::8000", "-d ::/::f -j KUBE-SERVICES-0"),
        (6, "fd00:96::ab1f", "-d ::f/::f -j KUBE-SERVICES-F"),
    ],
)
def test_an_address_is_looked_for_in_the_chain_of_its_last_bits(version: int, ip: str, rule: str) -> None:
    rules = Ruleset(replace(SETTINGS, pod_cidr6="fd00:244::/64"), version).rules(("nat", "KUBE-SERVICES"))

    assert rule in (rules or ())
    assert rule.endswith(f" {portal(ip)}")


def test_node_ports_are_looked_at_last() -> None:
    rules = render((port(),), SETTINGS).nat["KUBE-SERVICES"]

    assert rules[-1].endswith("-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")


def saved(tables: Tables) -> str:
    """What iptables-save would print of these tables."""
    lines = []
    for table, chains in tables.by_name().items():
        lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
        lines += [f"-A {chain} {rule}" for where, chain, rule in JUMPS if where == table]
        lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
        lines.append("COMMIT")
    return "\n".join([*lines, ""])


def test_the_first_change_writes_all_chains_and_jumps() -> None:
    wanted = ruleset([port()])

    text = everything(wanted.tables(), "*filter\nCOMMIT\n")

    assert text.count("-I ") == len(JUMPS)
    assert all(f":{chain} - [0:0]" in text for chain in wanted.tables()["nat"])


def test_of_very_many_services_those_that_come_late_are_not_named_where_their_address_tells_them() -> None:
    with mock.patch.object(ruleset_module, "NAMED", 1):
        wanted = ruleset([port(), port(service="late", cluster_ip="10.96.0.26")])
        wanted.take()

        assert [rule.partition("-d ")[0] for rule in wanted.tables()["nat"]["KUBE-SERVICES-A"]] == [
            "",
            '-m comment --comment "default/web:http cluster IP" ',
        ]
        wanted.put(("default", "web"), [port(endpoints=(HERE,))])
        assert "default/web:http cluster IP" not in touched(wanted, wanted.take())


def test_what_is_as_wanted_needs_no_change() -> None:
    wanted = ruleset([port()])
    wanted.take()

    wanted.put(("default", "web"), [port()])

    assert touched(wanted, wanted.take()) == ""


def test_a_chain_that_became_again_what_it_was_is_not_written() -> None:
    wanted = ruleset([port(external_ips=("198.51.100.8",))])
    wanted.take()

    for changes in ({"endpoints": ()}, {"endpoints": (), "external_ips": ()}, {}):
        wanted.put(("default", "web"), [port(**{"external_ips": ("198.51.100.8",)} | changes)])

    assert not {chain for chain in wanted.take() if chain in wanted.shared}


def test_a_lost_endpoint_sends_only_its_service() -> None:
    wanted = ruleset([port(service="db", cluster_ip="10.96.0.11"), port()])
    wanted.take()

    wanted.put(("default", "web"), [port(endpoints=(THERE,))])
    text = touched(wanted, wanted.take())

    assert f"-X {endpoint_chain(port(), HERE)}" in text
    assert "default/db" not in text
    assert "*filter" not in text


def test_a_lost_service_takes_its_chains_with_it() -> None:
    wanted, empty = ruleset([port(node_port=30080)]), ruleset([])

    wanted.put(("default", "web"), [])

    assert wanted.tables() == empty.tables()
    assert f"-X {chain_of('EXT', port())}" in touched(wanted, wanted.take())


def test_a_health_check_port_may_be_called() -> None:
    tables = render((port(health_check_port=31000), port(name="https", health_check_port=31000)), SETTINGS)

    assert tables.filter["KUBE-NODEPORTS"] == [
        '-m comment --comment "default/web health check node port" -m tcp -p tcp --dport 31000 -j ACCEPT'
    ]


def test_only_chains_of_ours_are_ever_named() -> None:
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-SEP-AAAA - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n"

    assert our_chains(text) == {"filter": set(), "nat": {"KUBE-SEP-AAAA"}}
    assert "DOCKER" not in everything(ruleset([]).tables(), text)
    assert "-X KUBE-SEP-AAAA" in everything(ruleset([]).tables(), text)
    assert not is_ours("nat", "KUBE-FIREWALL"), "the kubelet's, not ours"


def test_a_missing_jump_is_put_back() -> None:
    wanted = render((), SETTINGS)
    lost = saved(wanted).replace("-A PREROUTING", "-A DOCKER")

    assert [chain for _, chain, _ in missing_jumps(lost)] == ["PREROUTING"]


def test_one_rule_of_each_chain_that_services_share_is_asked_for_and_nothing_is_written() -> None:
    signs = tuple(ruleset([port(node_port=30080), port(service="db", cluster_ip="10.96.1.10")]).signs())

    text = questions((*JUMPS, *signs))

    assert {chain for table, chain, _ in signs if table == "nat"} == {
        "KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES", "KUBE-SERVICES-A",
    }  # fmt: skip
    assert "-C KUBE-SERVICES -d 0.0.0.0/0.0.0.15 -j KUBE-SERVICES-0" in text
    assert {line[:2] for line in text.splitlines()} == {"*f", "*n", "-C", "CO"}
    assert questions(()) == ""


def test_cleaning_up_removes_our_chains_and_the_jumps_to_them() -> None:
    text = removal(saved(render((port(),), SETTINGS)) + "*nat\n-A PREROUTING -j DOCKER\nCOMMIT\n")

    assert f"-X {chain_of('SVC', port())}" in text
    assert text.count("\n-D ") == len(JUMPS)
    assert "DOCKER" not in text
    assert removal("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n") == ""


def applied(kernel: dict[str, dict[str, list[str]]], text: str) -> None:
    """What iptables-restore --noflush makes of these chains."""
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            kernel[table][line[1:].split(" ")[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            kernel[table][chain].append(rule)
        elif line.startswith("-D "):
            _, chain, rule = line.split(" ", 2)
            kernel[table][chain].remove(rule)
        elif line.startswith("-I KUBE-"):
            _, chain, number, rule = line.split(" ", 3)
            kernel[table][chain].insert(int(number) - 1, rule)
        elif line.startswith("-X "):
            assert kernel[table].pop(line[3:]) == []


hosts = st.sets(st.integers(1, 5), max_size=5)
services = st.builds(
    lambda ends, node_port, local, near: port(
        node_port=30080 if node_port else 0,
        external_local=local,
        endpoints=tuple(Endpoint(f"10.244.0.{end}", 80, local=end in near) for end in sorted(ends)),
    ),
    hosts,
    st.booleans(),
    st.booleans(),
    hosts,
)
steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | services), max_size=12)


@given(steps, st.integers(1, 4))
def test_changes_one_after_the_other_lead_where_writing_all_leads(
    changes: list[tuple[str, ServicePort | None]], pace: int
) -> None:
    now: dict[str, ServicePort] = {}
    rules = Ruleset(SETTINGS)
    kernel: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    applied(kernel, everything(rules.tables(), ""))
    rules.take()
    for at, (name, found) in enumerate(changes):
        now.pop(name, None)
        if found:
            now[name] = replace(found, service=name, cluster_ip=f"10.96.0.{ord(name)}")
        rules.put(("default", name), [now[name]] if name in now else [])
        if at % pace == 0:
            applied(kernel, touched(rules, rules.take()))
    applied(kernel, touched(rules, rules.take()))

    whole: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    applied(
        whole,
        "\n".join(
            line
            for line in everything(ruleset(list(now.values())).tables(), "").splitlines()
            if line[:2] != "-I"
        ),
    )
    assert kernel == whole


@given(steps)
def test_a_long_chain_is_edited_to_what_writing_it_would_make_of_it(
    changes: list[tuple[str, ServicePort | None]],
) -> None:
    """Here every chain with a few services is long."""
    rules = Ruleset(SETTINGS)
    shared = len(PORTALS)
    for number in range(40):
        ip = f"10.96.{number // 15}.{number % 15 * shared + 1}"
        other = port(service=f"other{number}", cluster_ip=ip, node_port=31000 + number)
        rules.put(("default", other.service), [other])
    kernel: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    applied(kernel, everything(rules.tables(), ""))
    rules.take()

    for name, found in changes:
        held = replace(found, service=name, cluster_ip=f"10.97.{ord(name)}.1") if found else None
        rules.put(("default", name), [held] if held else [])
        with mock.patch.object(restore, "LONG", 10):
            text = touched(rules, rules.take())
        applied(kernel, text)
        assert ":KUBE-SERVICES" not in text.partition("*nat")[2]
        assert {
            table: {one: sorted(held) for one, held in chains.items()} for table, chains in kernel.items()
        } == {
            table: {one: sorted(held) for one, held in chains.items()}
            for table, chains in rules.tables().items()
        }


def test_where_two_services_may_ask_for_an_address_their_order_is_kept() -> None:
    rules = Ruleset(SETTINGS)
    for name, number in (("b", 1), ("a", 2)):
        held = port(service=name, cluster_ip=f"10.96.0.{number}", external_ips=("198.51.100.8",))
        with mock.patch.object(restore, "LONG", -1000):
            rules.put(("default", name), [held])
            text = touched(rules, rules.take())

    asked = [line for line in text.splitlines() if "198.51.100.8" in line and "KUBE-SERVICES" in line]
    assert ["default/a" in line for line in asked] == [True, False]
    with mock.patch.object(restore, "LONG", -1000):
        rules.put(("default", "a"), [port(service="a", cluster_ip="10.96.0.2")])
        assert ":KUBE-SERVICES" in touched(rules, rules.take()), (
            "who gives one up is no matter of order either"
        )
        rules.put(("default", "a"), [port(service="a", cluster_ip="10.96.0.3")])
        assert ":KUBE-SERVICES" not in touched(rules, rules.take())


@given(st.lists(services, max_size=7), st.integers(0, 3), st.lists(services, max_size=3))
def test_all_of_it_written_in_steps_is_all_of_it_and_nothing_is_led_to_half_a_service(
    found: list[ServicePort], size: int, before: list[ServicePort]
) -> None:
    wanted, old = Ruleset(SETTINGS), Ruleset(SETTINGS)
    for at, (ruled, ports) in enumerate(((old, before), (wanted, found))):
        for number, one in enumerate(ports):
            held = replace(one, service=f"s{number}", cluster_ip=f"10.96.{at}.{number + 1}")
            ruled.put(("default", held.service), [held])
    kernel: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    applied(kernel, everything(old.tables(), ""))
    there = "".join(
        f"*{table}\n" + "".join(f":{chain} - [0:0]\n" for chain in chains) for table, chains in kernel.items()
    )

    for text in in_steps(wanted, there, size):
        applied(kernel, "\n".join(line for line in text.splitlines() if line[:2] != "-I"))
        for chains in kernel.values():
            for rules in chains.values():
                targets = {rule.rpartition(" -j ")[2].split(" ")[0] for rule in rules}
                assert {one for one in targets if one.startswith("KUBE-")} <= chains.keys()

    assert kernel == wanted.tables()


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, True),
        ({"localhost_node_ports": False}, False),
        ({"node_port_networks": ("192.0.2.0/24",)}, False),
        ({"node_port_networks": ("192.0.2.0/24", "127.0.0.1/32")}, True),
        ({"node_port_networks": ("primary",), "node_addresses": ("192.0.2.1",)}, False),
    ],
)
def test_node_ports_answer_at_the_loopback_address_where_they_shall_and_are_counted(
    settings: dict[str, object], *, served: bool
) -> None:
    asked: dict[str, Any] = {"localhost_node_ports": True, **settings}
    found = replace(SETTINGS, counters=frozenset({INVALID_DROPPED, LOCALHOST_ACCEPTED}), **asked)

    tables = render((port(node_port=30080),), found)

    assert found.serves_localhost == served
    assert bool(tables.filter["KUBE-FIREWALL"]) == served, "what listens there alone stays out of reach"
    counting = [rule for rule in tables.nat["KUBE-NODEPORTS"] if LOCALHOST_ACCEPTED in rule]
    assert len(counting) == served
    assert all("-d 127.0.0.0/8" in rule for rule in counting)
    assert any(INVALID_DROPPED in rule for rule in tables.filter["KUBE-FORWARD"])
    last = tables.nat["KUBE-SERVICES"][-1]
    assert last.startswith("! -d 127.0.0.0/8") == (not served and "node_port_networks" not in settings)


def test_nothing_is_counted_where_the_kernel_has_no_counters() -> None:
    tables = render((port(node_port=30080),), replace(SETTINGS, localhost_node_ports=True))

    assert "nfacct" not in str(tables)


def test_rules_are_counted_through_all_changes() -> None:
    found = ruleset((port(node_port=30080), port(service="other", affinity=5)))

    def counted() -> dict[str, int]:
        return {table: sum(map(len, held.values())) for table, held in found.tables().items()}

    assert found.counts == counted()
    assert written(everything(found.tables(), "")) == counted(), "all of them are written at first"

    found.take()
    found.put(("default", "web"), [port(node_port=30080, endpoints=(HERE,))])
    assert found.counts == counted()
    text = touched(found, found.take())
    assert written(text)["nat"] == text.count("-A ") < counted()["nat"]

    for name in ("web", "other"):
        found.put(("default", name), [])
    assert found.counts == counted() == ruleset(()).counts
