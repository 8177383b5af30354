"""Tables become input for nft, and what differs becomes little of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.proxy.families import IPV4, IPV6
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.rules import Settings
from kybern.proxy.transaction import BASES, Present, Table, containers, fixed
from tests.unit.proxy.test_rules import HERE, SETTINGS, port

WEB = ("default", "web")


@dataclass
class Kernel:
    """What nft makes of its input, and what it refuses: names that are not there, are there already, or are still in use."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, text: str) -> None:
        for line in text.splitlines():
            verb, kind, _, _, rest = [*line.split(" ", 4), ""][:5]
            getattr(self, f"{verb}_{kind}", lambda _rest: None)(rest)
        used = set(re.findall(r"(?:goto|jump) ([^ ,}]+)", str(self.chains) + str(self.sets)))
        assert {one.rstrip("']\"") for one in used} <= self.chains.keys()

    def add_chain(self, rest: str) -> None:
        self.chains.setdefault(rest.split(" ", maxsplit=1)[0], [])

    def flush_chain(self, name: str) -> None:
        self.chains[name] = []

    def add_rule(self, rest: str) -> None:
        name, _, rule = rest.partition(" ")
        assert all(one in self.sets for one in re.findall(r"@([^ ]+)", rule)), rule
        self.chains[name].append(rule)

    def delete_chain(self, name: str) -> None:
        assert self.chains.pop(name) == [], "a chain is emptied before it goes"

    def add_set(self, rest: str) -> None:
        self.sets.setdefault(rest.split(" ", maxsplit=1)[0], {})

    def flush_set(self, name: str) -> None:
        self.sets[name] = {}

    def delete_set(self, name: str) -> None:
        assert not any(f"@{name} " in rule for rules in self.chains.values() for rule in rules)
        del self.sets[name]

    add_map, flush_map = add_set, flush_set

    def add_element(self, rest: str) -> None:
        for into, key, value in self._each(rest):
            assert self.sets[into].setdefault(key, value) == value, f"{into} has {key} already"

    def delete_element(self, rest: str) -> None:
        for into, key, _ in self._each(rest):
            del self.sets[into][key]

    def _each(self, rest: str) -> list[tuple[str, str, str]]:
        into, _, body = rest.partition(" { ")
        parts = [re.split(r" comment | : ", one, maxsplit=1) for one in body.removesuffix(" }").split(", ")]
        return [(into, part[0], part[1] if len(part) > 1 else "") for part in parts]

    def present(self) -> Present:
        return Present(frozenset(self.chains), frozenset(self.sets))


def table(*ports: ServicePort, settings: Settings = SETTINGS) -> Table:
    found = Table(IPV4, settings)
    for one in ports:
        found.put((one.namespace, one.service), [one])
    return found


def test_the_first_input_makes_all_maps_and_chains() -> None:
    kernel, wanted = Kernel(), table(port())

    kernel.take(wanted.everything(Present()))

    assert kernel.present() == wanted.names()
    assert kernel.sets.keys() >= containers(IPV4).keys()
    assert kernel.chains.keys() >= fixed(SETTINGS, IPV4).keys() | {name for name, *_ in BASES} | {
        "tcp-pick-2"
    }


def test_what_is_as_wanted_needs_no_change() -> None:
    wanted = table(port())
    wanted.everything(Present())

    wanted.put(WEB, [port()])

    assert wanted.changes() == ""


def test_a_new_endpoint_sends_a_few_elements_and_no_rule() -> None:
    wanted = table(
        port(),
        port(service="other", cluster_ip="10.96.0.11"),
        port(service="third", cluster_ip="10.96.0.12", endpoints=(HERE,)),
    )
    wanted.everything(Present())

    wanted.put(WEB, [port(endpoints=(HERE,))])

    assert wanted.changes().splitlines() == [
        "delete element ip kube-proxy service-ips { 10.96.0.10 . tcp . 80 }",
        "delete element ip kube-proxy tcp-endpoints { 10.96.0.10 . 80 . 1 }",
        'add element ip kube-proxy service-ips { 10.96.0.10 . tcp . 80 comment "default/web:http" : goto tcp-pick-1 }',
    ]


def test_a_number_of_endpoints_that_is_new_brings_its_chain_once() -> None:
    wanted = table(port())
    wanted.everything(Present())

    wanted.put(WEB, [port(endpoints=(HERE,))])
    first = wanted.changes()
    wanted.put(("default", "other"), [port(service="other", cluster_ip="10.96.0.11", endpoints=(HERE,))])

    assert "add chain ip kube-proxy tcp-pick-1" in first
    assert "chain" not in wanted.changes()


def test_a_lost_service_takes_all_of_its_own_with_it() -> None:
    kernel, wanted = Kernel(), table(port(affinity=9, node_port=30080))
    kernel.take(wanted.everything(Present()))

    wanted.put(WEB, [])
    kernel.take(wanted.changes())

    assert not any("web" in name for name in (*kernel.chains, *kernel.sets))
    assert not any(kernel.sets.values())


def test_writing_all_keeps_who_had_which_endpoint() -> None:
    kernel, sticky = Kernel(), port(affinity=9)
    kernel.take(table(sticky).everything(Present()))
    known = next(name for name in kernel.sets if name.startswith("affinity"))
    kernel.sets[known]["192.0.2.7"] = ""

    kernel.take(table(sticky).everything(kernel.present()))

    assert kernel.sets[known] == {"192.0.2.7": ""}


def test_writing_all_takes_away_what_another_daemon_left() -> None:
    kernel = Kernel()
    kernel.take(table(port(affinity=9, service="old"), port()).everything(Present()))
    kernel.chains["of-a-stranger"] = ["goto services"]

    wanted = table(port())
    kernel.take(wanted.everything(kernel.present()))

    assert kernel.present() == wanted.names()


def test_an_element_of_several_services_goes_with_the_last() -> None:
    kernel, other = Kernel(), port(service="other", cluster_ip="10.96.0.11")
    wanted = table(port(), other)
    kernel.take(wanted.everything(Present()))

    wanted.put(WEB, [])
    kernel.take(wanted.changes())
    assert kernel.sets["hairpins"] == {"10.244.1.2 . 10.244.1.2": ""}

    wanted.put(("default", "other"), [])
    kernel.take(wanted.changes())
    assert kernel.sets["hairpins"] == {}


def test_an_address_belongs_to_the_first_service_by_name_whoever_came_first() -> None:
    a = port(service="a", external_ips=("192.0.2.1",), cluster_ip="10.96.0.1", endpoints=(HERE,))
    b = replace(a, service="b", cluster_ip="10.96.0.2", name="b")
    for order in ((a, b), (b, a)):
        kernel, wanted = Kernel(), table(*order)
        kernel.take(wanted.everything(Present()))
        assert "default/a:" in kernel.sets["service-ips"]["192.0.2.1 . tcp . 80"]

        wanted.put(("default", "a"), [])
        kernel.take(wanted.changes())
        assert "default/b:" in kernel.sets["service-ips"]["192.0.2.1 . tcp . 80"]

        wanted.put(("default", "a"), [a])
        kernel.take(wanted.changes())
        assert "default/a:" in kernel.sets["service-ips"]["192.0.2.1 . tcp . 80"]


@pytest.mark.parametrize(
    ("places", "here", "networks"),
    [
        ((), "ip daddr != 127.0.0.0/8", ""),
        (("0.0.0.0/0", "10.0.0.0/8"), "ip daddr != 127.0.0.0/8", ""),
        (("fd00::/8",), "ip daddr != 127.0.0.0/8", ""),
        (("10.0.0.0/8", "10.1.0.0/16"), "ip daddr @nodeport-ips", "{ 10.0.0.0/8 }"),
        (("primary",), "ip daddr @nodeport-ips", "{ 192.0.2.1/32 }"),
    ],
)
def test_node_ports_answer_where_they_shall(places: tuple[str, ...], here: str, networks: str) -> None:
    settings = replace(
        SETTINGS, node_port_networks=places, node_addresses=("fd00::1", "192.0.2.1", "192.0.2.2")
    )

    text = table(settings=settings).everything(Present())

    assert f"fib daddr type local {here} meta l4proto" in text
    assert ("add element ip kube-proxy nodeport-ips" in text) == bool(networks)
    assert networks in text


def test_a_node_whose_address_is_not_known_yet_has_no_primary_node_ports() -> None:
    text = table(settings=replace(SETTINGS, node_port_networks=("primary",))).everything(Present())

    assert "fib daddr type local ip daddr @nodeport-ips" in text
    assert "add element" not in text


def test_all_is_masqueraded_where_that_is_asked_for() -> None:
    some, everything = (
        fixed(replace(SETTINGS, masquerade_all=each), IPV4)["services"][0] for each in (False, True)
    )

    assert some == "ip daddr @cluster-ips ip saddr != 10.244.0.0/16 jump mark-for-masquerade"
    assert everything == "ip daddr @cluster-ips jump mark-for-masquerade"


def test_the_tables_of_both_families_bear_one_name() -> None:
    assert table().removal() == "add table ip kube-proxy\ndelete table ip kube-proxy\n"
    assert Table(IPV6, SETTINGS).removal().startswith("add table ip6 kube-proxy\n")


hosts = st.sets(st.integers(1, 4), max_size=4)
services = st.builds(
    lambda ends, near, bools, affinity, ranges: port(
        node_port=30080 if bools[0] else 0,
        external_local=bools[1],
        internal_local=bools[2],
        external_ips=("192.0.2.9",) if bools[3] else (),
        balancer_ips=("192.0.2.8",),
        source_ranges=ranges,
        affinity=affinity,
        endpoints=tuple(Endpoint(f"10.244.0.{end}", 80, local=end in near) for end in sorted(ends)),
    ),
    hosts,
    hosts,
    st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from([0, 0, 10, 20]),
    st.sampled_from([(), ("10.0.0.0/8",)]),
)
steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | services), max_size=12)


def named(name: str, found: ServicePort) -> ServicePort:
    return replace(found, service=name, cluster_ip=f"10.96.0.{ord(name)}")


@given(steps, st.integers(1, 4))
def test_changes_one_after_the_other_lead_where_writing_all_leads(
    changes: Sequence[tuple[str, ServicePort | None]], pace: int
) -> None:
    now: dict[str, ServicePort] = {}
    wanted, kernel = table(), Kernel()
    kernel.take(wanted.everything(Present()))
    for at, (name, found) in enumerate(changes):
        now.pop(name, None)
        if found:
            now[name] = named(name, found)
        wanted.put(("default", name), [now[name]] if name in now else [])
        if at % pace == 0:
            kernel.take(wanted.changes())
    kernel.take(wanted.changes())

    whole = Kernel()
    whole.take(table(*now.values()).everything(Present()))
    shared = {name for name in kernel.chains if "/" not in name}
    assert kernel.sets == whole.sets
    assert {name: rules for name, rules in kernel.chains.items() if name in whole.chains} == whole.chains
    assert kernel.chains.keys() - whole.chains.keys() <= shared, "only shared chains may stay behind"


@given(st.lists(services, min_size=1, max_size=3))
def test_every_number_that_can_be_drawn_has_an_endpoint(found: Sequence[ServicePort]) -> None:
    kernel = Kernel()
    kernel.take(table(*(named("abc"[at], one) for at, one in enumerate(found))).everything(Present()))

    for into in ("service-ips", "service-nodeports"):
        for key, verdict in kernel.sets[into].items():
            for chain in reached(kernel, verdict.rpartition("goto ")[2]):
                for drawn, first, picked in DRAWS.findall(" ".join(kernel.chains[chain])):
                    place = key.replace("tcp . ", "")
                    numbers = range(int(first or 0), int(first or 0) + int(drawn))
                    assert all(f"{place} . {number}" in kernel.sets[picked] for number in numbers)


DRAWS = re.compile(r"numgen random mod (\d+)(?: offset (\d+))? map @([^ ]+)")


def reached(kernel: Kernel, chain: str) -> set[str]:
    found, todo = set[str](), [chain]
    while todo:
        found.add(one := todo.pop())
        todo += [
            each for each in re.findall(r"goto ([^ ,}]+)", " ".join(kernel.chains[one])) if each not in found
        ]
    return found
