"""Changes of services one after the other, applied to a kernel that is a few dictionaries."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.proxy.ipvs import sets
from kybern.proxy.ipvs.plan import Changes, Observed, Options, Plan
from kybern.proxy.ipvs.servers import Change, Command, Found, Held, Real, Server, Terms
from kybern.proxy.ipvs.sets import Entry
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.rules import Settings

SETTINGS = Settings(pod_cidr="10.244.0.0/16", node_addresses=("192.0.2.1",))
OWN = ("192.0.2.1", "10.244.1.1")
PODS = tuple(Endpoint(f"10.244.1.{n}", 8080, local=n < 4) for n in range(2, 6))
WEB = ServicePort("default", "a", "http", "TCP", 80, "10.96.0.1", endpoints=PODS[:2])
SERVER = Server("10.96.0.1", "TCP", 80)


@dataclass
class Kernel:
    """Refuses what a kernel refuses: to make what is there, and to change what is not."""

    servers: dict[Server, tuple[Terms, dict[Real, Held]]] = field(default_factory=dict)
    entries: set[Entry] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)

    def take(self, changes: Changes) -> None:
        self.change(*changes.kept)
        assert not changes.come & self.entries
        assert changes.go <= self.entries
        self.entries = self.entries - changes.go | changes.come
        assert not changes.bind & self.bound
        assert changes.unbind <= self.bound
        self.bound = self.bound - changes.unbind | changes.bind
        self.change(*changes.lost)

    def change(self, *changes: Change) -> None:
        for one in changes:
            there = one.server in self.servers
            assert there != (one.command is Command.NEW_SERVICE), one
            match one.command:
                case Command.NEW_SERVICE | Command.SET_SERVICE:
                    assert one.terms
                    self.servers[one.server] = one.terms, self.servers.get(one.server, (one.terms, {}))[1]
                case Command.DEL_SERVICE:
                    del self.servers[one.server]
                case _:
                    self._real(one, self.servers[one.server][1])

    def _real(self, one: Change, reals: dict[Real, Held]) -> None:
        assert one.real
        assert (one.real in reals) != (one.command is Command.NEW_DEST), one
        if one.command is Command.DEL_DEST:
            del reals[one.real]
        else:
            reals[one.real] = Held(one.weight, reals.get(one.real, Held()).connections)

    def busy(self, server: Server, real: Real, connections: int) -> None:
        reals = self.servers[server][1]
        reals[real] = replace(reals[real], connections=connections)

    def observed(self) -> Observed:
        return Observed(self.found(), frozenset(self.entries), frozenset(self.bound))

    def found(self) -> Mapping[Server, Found]:
        return {
            server: Found(terms, terms.flags, dict(reals)) for server, (terms, reals) in self.servers.items()
        }

    def serving(self) -> dict[Server, tuple[Terms, frozenset[Real]]]:
        return {
            server: (terms, frozenset(real for real, held in reals.items() if held.weight))
            for server, (terms, reals) in self.servers.items()
        }


def plan(*ports: ServicePort, options: Options = Options()) -> Plan:  # noqa: B008  # frozen
    found = Plan(4, SETTINGS, options)
    found.place(OWN)
    for port in ports:
        found.put((port.namespace, port.service), [port])
    return found


def test_a_second_look_changes_nothing() -> None:
    kernel, wanted = Kernel(), plan(WEB, replace(WEB, service="b", cluster_ip="10.96.0.2", node_port=30080))

    kernel.take(wanted.everything(Observed()))

    assert len(wanted.changes()) == 0
    assert len(wanted.everything(kernel.observed())) == 0
    assert len(plan(WEB).everything(kernel.observed())) > 0
    assert wanted.servers == set(kernel.servers)
    assert wanted.bound == kernel.bound


def test_a_change_of_one_endpoint_is_two_messages() -> None:
    kernel, wanted = Kernel(), plan(WEB)
    kernel.take(wanted.everything(Observed()))

    wanted.put(("default", "a"), [replace(WEB, endpoints=PODS[1:3])])
    change = wanted.changes()

    assert [(one.command, one.real and one.real.ip, one.weight) for one in change.servers] == [
        (Command.NEW_DEST, "10.244.1.4", 1),
        (Command.SET_DEST, "10.244.1.2", 0),
    ]
    assert (change.come, change.go) == (set(), {(sets.LOOP_BACK, "10.244.1.2,tcp:8080,10.244.1.2")})


def test_an_endpoint_stays_without_new_connections_until_its_last_one_has_ended() -> None:
    kernel, wanted = Kernel(), plan(WEB)
    kernel.take(wanted.everything(Observed()))
    gone, left = Real("10.244.1.2", 8080), Real("10.244.1.3", 8080)
    kernel.busy(SERVER, gone, 2)

    wanted.put(("default", "a"), [replace(WEB, endpoints=PODS[1:2])])
    kernel.take(wanted.changes())
    kernel.change(*wanted.drain(kernel.found()))
    assert kernel.servers[SERVER][1] == {gone: Held(0, 2), left: Held(1, 0)}
    assert wanted.ending == {SERVER: {gone}}

    kernel.busy(SERVER, gone, 0)
    kernel.change(*wanted.drain(kernel.found()))
    assert set(kernel.servers[SERVER][1]) == {left}
    assert not wanted.ending


def test_a_new_daemon_goes_on_with_what_ends() -> None:
    kernel, before = Kernel(), plan(WEB)
    kernel.take(before.everything(Observed()))
    kernel.busy(SERVER, Real("10.244.1.2", 8080), 1)
    fewer = replace(WEB, endpoints=PODS[1:2])
    before.put(("default", "a"), [fewer])
    kernel.take(before.changes())

    after = plan(fewer)
    kernel.take(after.everything(kernel.observed()))

    assert after.ending == {SERVER: {Real("10.244.1.2", 8080)}}


def test_an_endpoint_that_comes_back_serves_again() -> None:
    kernel, wanted = Kernel(), plan(WEB)
    kernel.take(wanted.everything(Observed()))
    kernel.busy(SERVER, Real("10.244.1.2", 8080), 1)
    wanted.put(("default", "a"), [replace(WEB, endpoints=PODS[1:2])])
    kernel.take(wanted.changes())

    wanted.put(("default", "a"), [WEB])
    kernel.take(wanted.changes())

    assert kernel.servers[SERVER][1][Real("10.244.1.2", 8080)] == Held(1, 1)
    assert not wanted.ending


def test_an_endpoint_that_somebody_took_away_is_no_longer_waited_for() -> None:
    kernel, wanted = Kernel(), plan(WEB)
    kernel.take(wanted.everything(Observed()))
    wanted.put(("default", "a"), [replace(WEB, endpoints=PODS[1:2])])
    kernel.take(wanted.changes())

    assert wanted.drain({SERVER: Found(Terms("rr"), 0, {})}) == []
    assert not wanted.ending


@pytest.mark.parametrize(("excluded", "stays"), [((), False), (("198.18.0.0/15",), True)])
def test_servers_of_somebody_else_stay_where_the_operator_says_so(
    excluded: tuple[str, ...], stays: bool
) -> None:
    foreign = Server("198.18.0.1", "TCP", 80)
    kernel = Kernel({foreign: (Terms("sh"), {})})

    kernel.take(plan(WEB, options=Options(excluded=excluded)).everything(kernel.observed()))

    assert (foreign in kernel.servers) == stays


def test_an_address_that_two_services_ask_for_belongs_to_one_and_then_to_the_other() -> None:
    first = replace(WEB, external_ips=("198.51.100.8",))
    second = replace(first, service="b", cluster_ip="10.96.0.2", endpoints=PODS[2:])
    shared = Server("198.51.100.8", "TCP", 80)
    kernel, wanted = Kernel(), plan(second, first)

    kernel.take(wanted.everything(Observed()))
    assert {real.ip for real in kernel.servers[shared][1]} == {"10.244.1.2", "10.244.1.3"}

    wanted.put(("default", "a"), [])
    kernel.take(wanted.changes())
    assert {real.ip for real in kernel.serving()[shared][1]} == {"10.244.1.4", "10.244.1.5"}
    assert kernel.bound == {"10.96.0.2", "198.51.100.8"}


def test_another_address_of_the_node_is_another_place_of_node_ports() -> None:
    kernel, wanted = Kernel(), plan(replace(WEB, node_port=30080))
    kernel.take(wanted.everything(Observed()))
    assert Server("10.244.1.1", "TCP", 30080) in kernel.servers

    assert not wanted.place(OWN)
    assert wanted.place(("192.0.2.1", "192.0.2.9"))
    kernel.take(wanted.everything(kernel.observed()))

    assert {one.ip for one in kernel.servers if one.port == 30080} == {"192.0.2.1", "192.0.2.9"}


ports = st.builds(
    ServicePort,
    namespace=st.just("default"),
    service=st.just(""),
    name=st.just("http"),
    protocol=st.sampled_from(["TCP", "UDP", "SCTP"]),
    port=st.sampled_from([80, 81]),
    cluster_ip=st.just(""),
    node_port=st.sampled_from([0, 0, 30080, 30081]),
    external_ips=st.sampled_from([(), ("198.51.100.8",), ("192.0.2.1", "198.51.100.8")]),
    balancer_ips=st.sampled_from([(), ("198.51.100.7",), ("198.51.100.8",)]),
    source_ranges=st.sampled_from([(), ("10.0.0.0/8",), ("192.0.2.0/24", "10.0.0.0/8")]),
    affinity=st.sampled_from([0, 60]),
    external_local=st.booleans(),
    internal_local=st.booleans(),
    endpoints=st.sets(st.sampled_from(PODS)).map(lambda found: tuple(sorted(found))),
)
steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | ports), max_size=8)


@given(steps, st.integers(1, 3))
def test_changes_one_after_the_other_lead_where_writing_all_leads(
    changes: list[tuple[str, ServicePort | None]], pace: int
) -> None:
    kernel, wanted, now = Kernel(), plan(), dict[str, ServicePort]()
    kernel.take(wanted.everything(Observed()))
    for number, (name, made) in enumerate(changes):
        now.pop(name, None)
        if made:
            now[name] = replace(made, service=name, cluster_ip=f"10.96.0.{ord(name) - 96}")
        wanted.put(("default", name), [now[name]] if name in now else [])
        if number % pace == 0:
            kernel.take(wanted.changes())
            kernel.change(*wanted.drain(kernel.found()))
    kernel.take(wanted.changes())
    kernel.change(*wanted.drain(kernel.found()))

    fresh, anew = Kernel(), plan(*now.values())
    fresh.take(anew.everything(Observed()))
    assert (kernel.serving(), kernel.entries, kernel.bound) == (fresh.serving(), fresh.entries, fresh.bound)
    assert not wanted.ending, "nobody has a connection"
    assert len(anew.everything(kernel.observed())) == 0
    assert wanted.servers == set(kernel.servers)
