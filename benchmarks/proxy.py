"""What kube-proxy spends on services of five endpoints each: in this process, and with the programs that write the rules.

The kernel's rules are those of a network namespace that is made for it, in a process of its own, so that its memory can
be told.
"""

import asyncio
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

from benchmarks.measure import Benchmark, Row, resident_mebibytes, timed
from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.proxy.backend import Backend
from kybern.proxy.iptables import Iptables
from kybern.proxy.ipvs import node, sets, wire
from kybern.proxy.ipvs.plan import Changes, Observed, Options, Plan
from kybern.proxy.model import SERVICE_NAME
from kybern.proxy.nftables import Nftables
from kybern.proxy.restore import touched
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Ruleset
from kybern.proxy.state import State
from kybern.proxy.topology import Place

SERVICES, ROUNDS = 10_000, 50
NODES = 500  # the endpoints are spread over so many: a hundred of 50,000 are on this one
SETTINGS = Settings(pod_cidr="10.244.0.0/16")
MODES: dict[str, tuple[Callable[[Settings], Backend], str, int]] = {
    "nftables": (Nftables, "nft", SERVICES),
    "iptables": (Iptables, "iptables-restore", SERVICES),
}


def service(number: int) -> Service:
    ports = (ServicePort(name="http", port=80, protocol="TCP"),)
    spec = ServiceSpec(type="ClusterIP", cluster_ip=f"10.96.{number // 250}.{number % 250 + 1}", ports=ports)
    return Service(metadata=ObjectMeta(namespace="default", name=f"s{number}"), spec=spec)


def endpoints(number: int, last: int = 1) -> EndpointSlice:
    addresses = [f"10.{200 + at}.{number // 250}.{number % 250 + 1}" for at in range(4)] + [
        f"10.244.0.{last}"
    ]
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    return EndpointSlice(
        metadata=ObjectMeta(namespace="default", name=f"s{number}-x", labels={SERVICE_NAME: f"s{number}"}),
        address_type="IPv4",
        endpoints=tuple(
            Endpoint(addresses=(one,), conditions=ready, node_name=f"n{(5 * number + at) % NODES}")
            for at, one in enumerate(addresses)
        ),
        ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
    )


def filled(count: int) -> State:
    state = State(Place("n0"))
    state.sync(Service, [service(number) for number in range(count)])
    state.sync(EndpointSlice, [endpoints(number) for number in range(count)])
    return state


class Virtual:
    """What ipvs decides, and the messages and lines that it would send; the kernel's part is left out, which few have."""

    def __init__(self) -> None:
        self.state, self.plan = filled(SERVICES), Plan(4, SETTINGS, Options())
        self.plan.place(("192.0.2.1",))

    def put(self) -> None:
        for key in self.state.take():
            self.plan.put(key, self.state.ports(key))

    def written(self, change: Changes) -> None:
        messages = [wire.change(33, number, one) for number, one in enumerate(change.kept + change.lost)]
        sets.update(4, change.come, change.go)
        node.addressing(change.bind, change.unbind)
        if not messages:  # sets stay as they are when an endpoint of another node changes
            raise ValueError("a change has to change servers")

    def all(self) -> None:
        self.put()
        self.written(self.plan.everything(Observed()))

    def one(self, number: int, service_number: int, last: int) -> None:
        if number:
            self.state.put(service(service_number), None)
        self.state.put(endpoints(service_number, last), None)
        self.put()
        self.written(self.plan.changes())


def virtual() -> Iterable[Row]:
    found = Virtual()

    def fill(_number: int) -> None:
        nonlocal found
        found = Virtual()
        found.all()

    yield timed("ipvs' servers and sets of 10,000 services, all decided and put in messages", 2, fill)
    yield timed("the same, one endpoint changed", ROUNDS, lambda number: found.one(0, 0, 2 + number))
    yield timed("the same, one service more", ROUNDS, lambda number: found.one(1, SERVICES + number, 1))


def virtual_memory() -> list[Row]:
    found = Virtual()
    found.all()
    return [
        Row(
            "ipvs, 10,000 services: memory, with what the watches saw", resident_mebibytes(os.getpid()), "MiB"
        )
    ]


def pure() -> Iterable[Row]:
    state, rules = State(Place("n0")), Ruleset(SETTINGS)

    def render() -> str:
        for key in state.take():
            rules.put(key, state.ports(key))
        return touched(rules, rules.take())

    def fill(_number: int) -> None:
        nonlocal state, rules
        state, rules = filled(SERVICES), Ruleset(SETTINGS)
        render()

    yield timed("iptables' rules of 10,000 services, all written", 2, fill)

    def one_endpoint(number: int) -> None:
        state.put(endpoints(0, 2 + number), None)
        if not render():
            raise ValueError("a changed endpoint has to change the rules")

    def one_service(number: int) -> None:
        state.put(service(SERVICES + number), None)
        state.put(endpoints(SERVICES + number), None)
        if not render():
            raise ValueError("a new service has to change the rules")

    yield timed("the same, one endpoint changed", ROUNDS, one_endpoint)
    yield timed("the same, one service more", ROUNDS, one_service)


class Measured:
    """A backend over a kernel of its own. ``rows`` are what was found."""

    def __init__(self, mode: str) -> None:
        made, self.program, self.count = MODES[mode]
        self.name = f"{mode}, {self.count:,} services"
        self.kernel, self.state, self.rows = made(SETTINGS), filled(self.count), list[Row]()

    async def write(self) -> None:
        for key in self.state.take():
            self.kernel.put(key, self.state.ports(key))
        if not await self.kernel.apply():
            raise ValueError("a change has to change the rules")

    async def spent(self, operation: str, count: int, change: Callable[[int], None]) -> None:
        """Processor time of a change and of writing it, here and in the program."""
        warm = count // 10
        for number in range(warm):
            change(number)
            await self.write()
        ours, theirs = time.process_time(), children()
        for number in range(warm, warm + count):
            change(number)
            await self.write()
        spent = time.process_time() - ours, children() - theirs
        for who, seconds in zip(("", f", {self.program}"), spent, strict=True):
            self.rows.append(Row(f"{self.name}: {operation}{who}", seconds * 1000 / count, count=count))

    def one_endpoint(self, number: int) -> None:
        self.state.put(endpoints(0, 2 + number), None)

    def one_service(self, number: int) -> None:
        self.state.put(service(self.count + number), None)
        self.state.put(endpoints(self.count + number), None)

    def one_less(self, number: int) -> None:
        self.state.drop(service(self.count // 2 + number))

    async def all(self) -> None:
        await self.spent("all written", 1, lambda _number: None)
        await self.spent("one endpoint changed", ROUNDS, self.one_endpoint)
        await self.spent("one service more", ROUNDS, self.one_service)
        await self.spent("one service less", ROUNDS, self.one_less)
        self.rows.append(
            Row(f"{self.name}: memory, with what the watches saw", resident_mebibytes(os.getpid()), "MiB")
        )


def children() -> float:
    """Processor time of the programs that ended so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(mode: str) -> list[Row]:
    """In a process of its own: what a mode takes in a network namespace without any rule."""
    os.unshare(os.CLONE_NEWNET)
    found = Measured(mode)
    asyncio.run(found.all())
    return found.rows


def rows() -> Iterable[Row]:
    yield from pure()
    yield from virtual()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield from process.submit(virtual_memory).result()
    if os.geteuid() != 0:
        return  # making a namespace takes root
    for mode, (_, program, _) in MODES.items():
        if shutil.which(program):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                yield from process.submit(measured, mode).result()


BENCHMARKS = (Benchmark("proxy", rows),)
