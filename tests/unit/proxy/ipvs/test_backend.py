"""What is written, and in which order, to a machine that is a few dictionaries."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from kybern.netfilter.programs import CannotApply
from kybern.proxy.ipvs import kernel as real
from kybern.proxy.ipvs import node, sets
from kybern.proxy.ipvs.backend import Ipvs
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.servers import Change, Found, Real, Server, Terms
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.restore import our_chains, removal
from kybern.proxy.rules import Settings
from tests.unit.proxy.ipvs.test_chains import after
from tests.unit.proxy.ipvs.test_plan import Kernel as Servers

SETTINGS = Settings(pod_cidr="10.244.0.0/16", pod_cidr6="fd00:244::/64")
PODS = (Endpoint("10.244.1.2", 8080, local=True), Endpoint("10.244.1.3", 8080))
WEB = ServicePort("default", "web", "http", "TCP", 80, "10.96.0.10", node_port=30080, endpoints=PODS)
SIX = replace(WEB, cluster_ip="fd00:96::10", endpoints=(Endpoint("fd00:244::2", 8080, local=True),))
KEY = ("default", "web")


class Machine(real.Kernel):
    """``done`` are the kinds of what was written; ``problem`` is raised by the next write of its kind."""

    def __init__(self) -> None:
        self.table, self.held = Servers(), dict[str, set[str]]()
        self.bound: set[str] | None = None
        self.rules = {4: "", 6: ""}
        self.own = ["192.0.2.1", "2001:db8::1"]
        self.done: list[str] = []
        self.problem = ""

    def _note(self, kind: str) -> None:
        if kind == self.problem:
            self.problem = ""
            raise CannotApply(f"no {kind}")
        self.done.append(kind)

    async def prepare(self, options: Options) -> None:
        self._note("settings")

    async def servers(self, *, with_reals: bool = False) -> Mapping[Server, Found]:
        return self.table.found()

    async def endings(self, servers: Sequence[Server]) -> Mapping[Server, Found]:
        return {server: found for server, found in self.table.found().items() if server in servers}

    async def change(self, changes: Sequence[Change]) -> None:
        if changes:
            self._note("servers")
        self.table.change(*changes)

    async def sets(self) -> str:
        return "".join(
            f"create {name} hash:ip\n" + "".join(f"add {name} {member}\n" for member in sorted(members))
            for name, members in self.held.items()
        )

    async def set_names(self) -> set[str]:
        return set(self.held)

    async def write_sets(self, text: str) -> None:
        if text:
            self._note("sets")
        for line in text.splitlines():
            verb, name, member = line.split(" ")[:3]
            if verb == "create":
                assert name not in self.held
                self.held[name] = set()
            else:
                (self.held[name].add if verb == "add" else self.held[name].discard)(member)

    async def addresses(self) -> str:
        devices = [("eth0", self.own)] + (
            [(node.DEVICE, sorted(self.bound))] if self.bound is not None else []
        )
        return json.dumps([{"ifname": n, "addr_info": [{"local": ip} for ip in ips]} for n, ips in devices])

    async def make_device(self) -> None:
        self.bound = set()

    async def write_addresses(self, text: str) -> None:
        assert self.bound is not None
        if text:
            self._note("addresses")
        for line in text.splitlines():
            _, verb, network, _, _ = line.split(" ")
            (self.bound.add if verb == "replace" else self.bound.remove)(network.partition("/")[0])

    async def chains(self, version: int) -> str:
        return self.rules[version]

    async def write_chains(self, version: int, text: str) -> None:
        self._note("chains")
        self.rules[version] = after(text, self.rules[version])

    async def clear_unserved(self, versions: Iterable[int]) -> None:
        for version in {4, 6}.difference(versions):
            self.rules[version] = after(removal(self.rules[version]), self.rules[version])


def made(machine: Machine, *ports: ServicePort) -> Ipvs:
    found = Ipvs(SETTINGS, Options(), machine)
    found.settle(("192.0.2.1", "2001:db8::1"))
    found.put(KEY, ports)
    return found


def applied(backend: Ipvs) -> int:
    return asyncio.run(backend.apply())


def is_intact(backend: Ipvs) -> bool:
    return asyncio.run(backend.is_intact())


def test_servers_and_sets_are_there_before_packets_are_led_to_them() -> None:
    machine = Machine()

    assert applied(made(machine, WEB, SIX)) > 0

    assert machine.done == ["settings", "sets", "servers", "sets", "addresses", "chains", "chains"]
    assert machine.bound == {"10.96.0.10", "fd00:96::10"}
    assert {server.ip for server in machine.table.servers} == {*machine.bound, *machine.own}
    assert machine.held["KUBE-6-CLUSTER-IP"] == {"fd00:96::10,tcp:80"}
    assert set(machine.held) == sets.names(4) | sets.names(6)


def test_a_change_writes_no_chains_and_what_goes_goes_last() -> None:
    machine = Machine()
    backend = made(machine, WEB)
    applied(backend)
    machine.done.clear()

    assert applied(backend) == 0
    assert machine.done == []

    backend.put(KEY, [replace(WEB, cluster_ip="10.96.0.11")])
    applied(backend)
    assert machine.done == ["servers", "sets", "addresses", "addresses", "servers"]
    assert machine.bound == {"10.96.0.11"}
    assert is_intact(backend)


@pytest.mark.parametrize("kind", ["settings", "sets", "servers", "addresses", "chains"])
def test_after_a_failure_all_is_looked_at_and_made_right(kind: str) -> None:
    machine = Machine()
    backend = made(machine, WEB, SIX)
    machine.problem = kind

    with pytest.raises(CannotApply):
        applied(backend)
    assert not backend.is_known
    applied(backend)

    assert backend.is_known
    assert is_intact(backend)


def test_chains_of_a_family_that_is_no_longer_served_go() -> None:
    machine = Machine()
    applied(made(machine, WEB, SIX))
    one_family = Ipvs(replace(SETTINGS, pod_cidr6=""), Options(), machine)
    one_family.settle(("192.0.2.1",))

    applied(one_family)

    assert not any(our_chains(machine.rules[6]).values())
    assert our_chains(machine.rules[4])["nat"]


def test_a_new_daemon_writes_chains_and_what_differs() -> None:
    machine = Machine()
    applied(made(machine, WEB))
    machine.done.clear()

    applied(made(machine, WEB))
    assert machine.done == ["settings", "chains", "chains"]

    applied(made(machine))
    assert (machine.table.servers, machine.bound) == ({}, set())


LOST = Server("10.96.0.10", "TCP", 80)


def lose_server(machine: Machine) -> None:
    del machine.table.servers[LOST]


def lose_address(machine: Machine) -> None:
    assert machine.bound
    machine.bound.clear()


def lose_device(machine: Machine) -> None:
    machine.bound = None


def lose_set(machine: Machine) -> None:
    del machine.held["KUBE-CLUSTER-IP"]


def lose_jump(machine: Machine) -> None:
    machine.rules[6] = machine.rules[6].replace("-A PREROUTING", "-A SOMEWHERE")


def gain_address(machine: Machine) -> None:
    machine.own.append("192.0.2.9")


def gain_server(machine: Machine) -> None:
    machine.table.servers[Server("198.18.0.1", "TCP", 80)] = (Terms("rr"), {})


@pytest.mark.parametrize(
    "what", [lose_server, lose_address, lose_device, lose_set, lose_jump, gain_address, gain_server]
)
def test_what_somebody_changed_is_noticed_and_made_right(what: Callable[[Machine], None]) -> None:
    machine = Machine()
    backend = made(machine, WEB)
    applied(backend)
    assert is_intact(backend)

    what(machine)
    assert not is_intact(backend)
    backend.forget()
    applied(backend)

    assert is_intact(backend)
    assert LOST in machine.table.servers
    assert machine.bound == {"10.96.0.10"}


def test_an_endpoint_goes_when_its_connections_have() -> None:
    machine, gone = Machine(), Real("10.244.1.3", 8080)
    backend = made(machine, WEB)
    applied(backend)
    machine.table.busy(LOST, gone, 1)

    backend.put(KEY, [replace(WEB, endpoints=PODS[:1])])
    applied(backend)
    assert gone in machine.table.servers[LOST][1]

    machine.table.busy(LOST, gone, 0)
    assert applied(backend) == 1
    assert set(machine.table.servers[LOST][1]) == {Real("10.244.1.2", 8080)}
    assert applied(backend) == 0
