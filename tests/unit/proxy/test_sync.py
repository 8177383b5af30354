"""The loop between what the watches saw and a backend."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kybern.api.core_v1 import Node, NodeAddress, NodeStatus
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.cli.proxy import backends
from kybern.machinery.struct import replace
from kybern.netfilter.programs import CannotApply, Missing
from kybern.proxy import metrics
from kybern.proxy.config import Config
from kybern.proxy.conntrack import Conntrack
from kybern.proxy.health_ports import HealthPorts
from kybern.proxy.model import ServicePort
from kybern.proxy.places import Places
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Key
from kybern.proxy.state import State
from kybern.proxy.stranded import POLICIES
from kybern.proxy.sync import Syncer
from kybern.proxy.topology import Place
from tests.unit.proxy.test_model import SLICE, WEB

KEY = ("default", "web")


@dataclass
class Kernel:
    """Notes what it is asked; raises ``problems`` one after the other first."""

    problems: list[CannotApply] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    served: dict[Key, Sequence[ServicePort]] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    is_known: bool = False
    intact: bool = True

    def settle(self, addresses: tuple[str, ...]) -> bool:
        changed, self.addresses = addresses != self.addresses, addresses
        if changed:
            self.served.clear()
        return changed

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        self.served[service] = ports

    async def apply(self) -> int:
        self._note("all" if not self.is_known else "changes")
        self.is_known = True
        return 1

    def forget(self) -> None:
        self.is_known = False

    async def is_intact(self) -> bool:
        return self.intact

    async def remove(self) -> None:
        self._note("removed")

    def _note(self, what: str) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.done.append(what)


@dataclass
class Flows(Conntrack):
    """Notes the ports of UDP that it is told of, as they are and as they were; fails as often as it is to."""

    failures: int = 0
    told: list[tuple[list[str], list[str]]] = field(default_factory=list)

    async def forget_stale(self, ports: Iterable[ServicePort], before: Iterable[ServicePort] = ()) -> bool:
        self.told.append(([one.name for one in ports if one.protocol == "UDP"], [one.name for one in before]))
        self.failures -= 1
        return self.failures < 0


@dataclass
class Running:
    """A loop that is driven until it waits for something to happen."""

    kernel: Kernel = field(default_factory=Kernel)
    other: Kernel = field(default_factory=Kernel)
    period: float = 30.0
    flows: Flows = field(default_factory=Flows)
    state: State = field(default_factory=lambda: State(Place("n1")))

    def __post_init__(self) -> None:
        self.state.sync(type(WEB), [WEB])
        self.state.sync(EndpointSlice, [SLICE])
        self.syncer = self.sync()

    def sync(self) -> Syncer:
        asked = HealthPorts("n1", lambda *_: None, lambda: True, Places(Settings(""), tuple))
        return Syncer(self.state, self.kernel, [self.other], self.flows, asked, self.period, 0, lambda: None)

    async def settled(self) -> None:
        task = asyncio.create_task(self.syncer.run())
        while not task.done() and self.state.changed.is_set():
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


TOLD = CollectorRegistry()
metrics.register("nftables", TOLD)
STRANDED = "kubeproxy_sync_proxy_rules_no_local_endpoints_total"
PROGRAMMED = "kubeproxy_network_programming_duration_seconds_count"


def counted(name: str) -> float:
    return TOLD.get_sample_value(name, {"ip_family": "IPv4"}) or 0.0


def stranded(policy: str) -> float | None:
    return TOLD.get_sample_value(STRANDED, {"ip_family": "IPv4", "traffic_policy": policy})


def elsewhere() -> Iterator[Endpoint]:
    """Those of SLICE, all on another node, and all ready."""
    return (
        replace(one, node_name="n2", conditions=EndpointConditions(ready=True)) for one in SLICE.endpoints
    )


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_nothing_is_written_before_all_lists_are_in() -> None:
    one = Running()

    run(one.settled())
    assert one.kernel.done == []

    one.state.sync(Node, [])
    run(one.settled())
    assert one.kernel.done == ["all"]
    assert one.kernel.served.keys() == {KEY}


def test_rules_of_the_other_mode_go_once_the_rules_are_right() -> None:
    one = Running(kernel=Kernel(problems=[CannotApply("busy")]))
    one.state.sync(Node, [])

    run(one.settled())
    assert (one.kernel.done, one.other.done) == ([], [])

    one.state.changed.set()
    run(one.settled())
    one.state.changed.set()
    run(one.settled())
    assert one.other.done == ["removed"], "and they go once"


@pytest.mark.parametrize(("problem", "tries"), [(CannotApply("busy"), 1), (Missing("no such program"), 0)])
def test_clearing_up_is_tried_again_unless_there_is_no_program(problem: CannotApply, tries: int) -> None:
    one = Running(other=Kernel(problems=[problem]))
    one.state.sync(Node, [])

    for _ in range(3):
        one.state.changed.set()
        run(one.settled())

    assert one.other.done == ["removed"] * tries


def test_another_address_of_the_node_puts_every_service_again() -> None:
    one = Running()
    one.state.sync(Node, [])
    run(one.settled())

    status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address="192.0.2.1"),))
    one.state.put(Node(metadata=ObjectMeta(name="n1"), status=status), None)
    run(one.settled())

    assert one.kernel.addresses == ("192.0.2.1",)
    assert one.kernel.served.keys() == {KEY}


def test_ports_that_lead_nowhere_from_here_are_counted_until_they_do() -> None:
    one = Running()
    one.state.sync(Node, [])
    run(one.settled())
    assert [stranded(policy) for policy in POLICIES] == [0, 0]

    local = replace(WEB.spec, internal_traffic_policy="Local", external_traffic_policy="Local")
    one.state.put(replace(WEB, spec=local), WEB)
    one.state.put(replace(SLICE, endpoints=tuple(elsewhere())), SLICE)
    run(one.settled())
    ports = len(WEB.spec.ports)
    assert [stranded(policy) for policy in POLICIES] == [ports, ports]

    one.state.drop(WEB)
    run(one.settled())
    assert [stranded(policy) for policy in POLICIES] == [0, 0]


def test_flows_of_udp_are_looked_at_once_the_rules_are_right_until_it_is_done() -> None:
    one = Running(kernel=Kernel(problems=[CannotApply("busy")]), flows=Flows(failures=1))
    names = replace(WEB.spec, ports=(replace(WEB.spec.ports[0], name="dns", protocol="UDP"),))
    one.state.put(replace(WEB, spec=names), WEB)
    one.state.sync(Node, [])

    run(one.settled())
    assert one.flows.told == [], "the rules could not be written"

    for _ in range(3):
        one.state.changed.set()
        run(one.settled())
    assert one.flows.told == [(["dns"], ["dns"])] * 2, "it failed once"

    one.state.drop(replace(WEB, spec=names))
    run(one.settled())
    assert one.flows.told[2:] == [([], ["dns"])], "flows of a service that is gone are nobody's"


def test_without_a_change_of_udp_nobody_looks_at_flows() -> None:
    one = Running()
    one.state.sync(Node, [])
    run(one.settled())
    one.state.drop(WEB)
    run(one.settled())

    assert one.flows.told == []


def test_rules_that_somebody_took_are_written_again_also_where_changes_never_end() -> None:
    one = Running(kernel=Kernel(intact=False), period=0.0)
    one.state.sync(Node, [])

    for _ in range(3):
        one.state.changed.set()
        run(one.settled())

    assert set(one.kernel.done) == {"all"}


def test_how_long_a_change_took_is_told_of_those_that_this_proxy_saw_happen() -> None:
    before, one = counted(PROGRAMMED), Running()
    one.state.sync(Node, [])
    one.state.triggered = [one.syncer.since - 60, time.time()]

    run(one.settled())

    assert counted(PROGRAMMED) == before + 1
    assert one.state.triggered == []


@pytest.mark.parametrize(
    ("mode", "others"),
    [
        ("iptables", ["remains", "nftables"]),
        ("ipvs", ["nftables"]),  # it takes over chains by itself
        ("nftables", ["iptables", "remains"]),  # a set goes after the chains that ask it
    ],
)
def test_the_backend_is_the_mode_s_and_the_others_are_cleared(mode: str, others: list[str]) -> None:
    kernel, left = backends(Config("k", "n1", "10.244.0.0/16,fd00::/64", mode=mode))

    assert type(kernel).__name__.lower() == mode
    assert [type(one).__name__.lower() for one in left] == others
