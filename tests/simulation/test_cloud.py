"""The cloud's controllers at work: they come to rest, and whoever dies between two of their writes changes nothing."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeAddress, NodeSpec, Service, ServicePort, ServiceSpec, Taint
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.taints import SHUTDOWN, UNINITIALIZED
from kybern.client.verbs import Verbs
from kybern.cloud.controllers import possible
from kybern.cloud.provider import Instance
from kybern.cloud.service_lb import FINALIZER
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Controller
from kybern.machinery.errors import Conflict
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import Mortal, alive
from tests.unit.cloud.making import FakeCloud

TOLD = CloudSettings(
    cluster_cidrs=(IPv4Network("10.244.0.0/16"),),
    node_monitor_period=0.05,
    route_reconciliation_period=0.05,
    concurrent_service_syncs=2,
)


@dataclass
class World:
    """An API server, and a cloud that outlives the controller managers."""

    api: FakeApi
    cloud: FakeCloud = field(default_factory=FakeCloud)

    def controllers(self) -> tuple[Controller[Any], ...]:
        return possible(self.cloud, TOLD)

    async def settled(self, client: Verbs | None = None) -> None:
        async with alive(client or self.api, self.controllers()) as loop:
            await Simulation(self.api, loop).rest()

    async def condition(self, name: str, ready: str) -> None:
        node = self.api.one(Node, "", name)
        assert node is not None
        await self.api.set_status(node, conditions=[{"type": "Ready", "status": ready}])

    def node(self, name: str) -> Node:
        found = self.api.one(Node, "", name)
        assert found is not None
        return found

    def seen(self) -> dict[str, Any]:
        """All that must be the same whoever did it."""
        nodes = {
            one.metadata.name: (
                one.spec.provider_id,
                sorted(taint.key for taint in one.spec.taints),
                one.metadata.labels,
                one.status.addresses,
                [(each.type, each.status) for each in one.status.conditions],
            )
            for one in self.api.all(Node)
        }
        services = {
            one.metadata.name: (one.metadata.finalizers, one.status.load_balancer)
            for one in self.api.all(Service)
        }
        return {"nodes": nodes, "services": services, "cloud": (self.cloud.balancers, self.cloud.table)}


async def world() -> World:
    """Three nodes of which one's machine is gone and one's is off, two services, and a route of nobody's."""
    made = World(FakeApi(*kinds_of(possible(FakeCloud(), TOLD))))
    taints = (Taint(key=UNINITIALIZED, value="true", effect="NoSchedule"),)
    for number, name in enumerate(("n1", "n2", "n3"), 1):
        cidr = f"10.244.{number}.0/24"
        spec = NodeSpec(taints=taints, pod_cidr=cidr, pod_cidrs=(cidr,))
        await made.api.create(Node(metadata=ObjectMeta(name=name), spec=spec))
        address = NodeAddress(type="InternalIP", address=f"10.0.0.{number}")
        made.cloud.machines[name] = Instance(
            f"fake://rack/{name}", addresses=(address,), instance_type="cpu1-mem512"
        )
        await made.condition(name, "True")
    for name, kind in (("web", "LoadBalancer"), ("inside", "ClusterIP")):
        spec_ = ServiceSpec(type=kind, ports=(ServicePort(port=80),))
        await made.api.create(Service(metadata=ObjectMeta(name=name, namespace="a"), spec=spec_))
    await made.settled()
    assert all(node.status.addresses for node in made.api.all(Node))
    for name in ("n2", "n3"):
        await made.condition(name, "Unknown")
    del made.cloud.machines["n2"]
    made.cloud.machines["n3"] = Instance("fake://rack/n3", running=False)
    service = made.api.one(Service, "a", "inside")
    assert service is not None
    await made.api.update(replace(service, spec=replace(service.spec, type="LoadBalancer")))
    return made


async def _lives(made: World, deaths: Sequence[int]) -> dict[str, Any]:
    for writes in deaths:
        client = Mortal(made.api, writes)
        async with alive(client, made.controllers()) as loop:
            rest = asyncio.create_task(Simulation(made.api, loop).rest())
            died = asyncio.create_task(client.died.wait())
            await asyncio.wait([rest, died], return_when=asyncio.FIRST_COMPLETED, timeout=10)
            for one in (rest, died):
                one.cancel()
            await asyncio.gather(rest, died, return_exceptions=True)
    await made.settled()
    return made.seen()


async def test_nodes_and_services_are_what_the_cloud_says() -> None:
    made = await world()
    await made.settled()

    assert {one.metadata.name for one in made.api.all(Node)} == {"n1", "n3"}
    assert [taint.key for taint in made.node("n1").spec.taints] == []
    assert [taint.key for taint in made.node("n3").spec.taints] == [SHUTDOWN]
    assert made.node("n1").spec.provider_id == "fake://rack/n1"
    assert [one.address for one in made.node("n1").status.addresses] == ["10.0.0.1"]
    assert made.cloud.balancers == {"web": ("n1", "n3"), "inside": ("n1", "n3")}
    assert {route.node for route in made.cloud.table.values()} == {"n1", "n3"}
    service = made.api.one(Service, "a", "inside")
    assert service is not None
    assert service.metadata.finalizers == (FINALIZER,)


async def test_a_machine_that_runs_again_is_marked_no_more() -> None:
    made = await world()
    await made.settled()
    made.cloud.machines["n3"] = Instance("fake://rack/n3")
    await made.condition("n3", "True")
    await made.settled()

    assert made.node("n3").spec.taints == ()


async def test_services_that_go_take_their_balancers_with_them() -> None:
    made = await world()
    await made.settled()
    for service in made.api.all(Service):
        await made.api.delete(service)
    await made.settled()

    assert made.cloud.balancers == {}
    assert made.api.all(Service) == []


async def test_a_cloud_that_does_not_answer_costs_no_node() -> None:
    made = await world()
    made.cloud.broken = True
    async with alive(made.api, made.controllers()):
        await asyncio.sleep(0.3)

    assert {one.metadata.name for one in made.api.all(Node)} == {"n1", "n2", "n3"}


@pytest.mark.parametrize("seed", range(6))
async def test_a_kill_between_any_two_writes_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)  # no secret
    undisturbed = await _lives(await world(), [])

    assert await _lives(await world(), [chance.randrange(5) for _ in range(8)]) == undisturbed


async def test_conflicts_are_tried_again() -> None:
    made, tries = await world(), dict[str, int]()

    def refuse(method: str, path: str) -> None:
        tries[path] = tries.get(path, 0) + 1
        if method in ("PATCH", "PUT") and tries[path] == 1:
            raise Conflict("the object has been modified")

    undisturbed = await _lives(await world(), [])
    made.api.refuse = refuse

    async with alive(made.api, made.controllers()) as loop:
        # What is tried again after a while does not count as work: it is waited for.
        await Simulation(made.api, loop).until(lambda: made.seen() == undisturbed)
    assert any(count > 1 for count in tries.values())
