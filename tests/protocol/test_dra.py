"""Claims and a driver of devices on its real sockets: registration, preparing, taking back, and slices of one that went."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kybern._proto import dra_health_pb2 as health_pb
from kybern.api.core_v1 import Node, Pod, PodResourceClaim
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import (
    AllocationResult,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
    ResourceSlice,
    ResourceSliceSpec,
)
from kybern.kubelet.csi.mounter import Mounter
from kybern.kubelet.csi.registry import Registry
from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.dra.drivers import Drivers
from kybern.kubelet.dra.health import Told
from kybern.kubelet.dra.preparing import FILE, Claims
from kybern.machinery.struct import replace
from tests.protocol.dra_driver import CDI, NAME, driver
from tests.simulation.api import FakeApi
from tests.unit.kubelet.making import pod
from tests.unit.kubelet.test_dra import asking, using, with_extended

pytestmark = pytest.mark.timeout(60)


async def until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < limit, "it did not come about"
        await asyncio.sleep(0.02)
    return found


class Bed:
    """A node n1 with the parts that claims need, and an API server."""

    def __init__(self, root: Path, api: FakeApi) -> None:
        self.root = root
        self.api = api
        self.drivers = Drivers("n1", api, delay=0.3)
        self.claims = Claims(root, api, self.drivers)
        self.registry = Registry(root, "n1", api, Mounter(root, "n1", lambda *_: None), self.drivers)

    async def slices(self) -> list[str]:
        found, _at = await self.api.list(ResourceSlice)
        return sorted(one.metadata.name for one in found)

    def written(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.root / FILE).read_text())
        return found


@asynccontextmanager
async def bed_at(root: Path) -> AsyncIterator[Bed]:
    api = FakeApi(Node, ResourceClaim, ResourceSlice)
    await api.create(Node(metadata=ObjectMeta(name="n1")))
    bed = Bed(root, api)
    tasks = [asyncio.ensure_future(part.run()) for part in (bed.registry, bed.drivers)]
    try:
        yield bed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def claim(api: FakeApi, name: str, *pods: str) -> ResourceClaim:
    results = (DeviceRequestAllocationResult(driver=NAME, pool="n1", device="one", request="knob"),)
    made = await api.create(ResourceClaim(metadata=ObjectMeta(name=name, namespace="default")))
    status = ResourceClaimStatus(
        allocation=AllocationResult(devices=DeviceAllocationResult(results=results)),
        reserved_for=tuple(ResourceClaimConsumerReference(uid=uid) for uid in pods),
    )
    return await api.patch(made, replace(made, status=status), "status")


def user(uid: str, *claims: str) -> Pod:
    asked = tuple(PodResourceClaim(name=f"my-{one}", resource_claim_name=one) for one in claims)
    found = pod(using("c", *(one.name for one in asked)), resource_claims=asked)
    return replace(found, metadata=replace(found.metadata, uid=uid, name=uid))


async def test_a_claim_is_prepared_once_for_all_and_taken_back_after_the_last(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (devices, registration):
        await until(lambda: registration.told)
        await claim(bed.api, "a", "u1", "u2")
        first, second = user("u1", "a"), user("u2", "a")
        await bed.claims.prepare(first)
        await bed.claims.prepare(first)
        await bed.claims.prepare(second)
        names = bed.claims.names(second, second.spec.containers[0])
        await bed.claims.unprepare("u1")
        await bed.claims.unprepare("u1")
        between = [one["pods"] for one in bed.written()]
        await bed.claims.unprepare("u2")
        after = bed.written()

    assert registration.told == [(True, "")]
    assert (names, between, after) == ((CDI,), [["u2"]], [])
    assert devices.calls == [("prepare", "a"), ("unprepare", "a")]


async def test_a_kubelet_that_starts_again_knows_what_is_prepared(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (devices, registration):
        await until(lambda: registration.told)
        await claim(bed.api, "a", "u1", "u2")
        await bed.claims.prepare(user("u1", "a"))
        again = Claims(tmp_path, bed.api, bed.drivers)
        await again.prepare(user("u1", "a"))
        names = again.names(user("u1", "a"), user("u1", "a").spec.containers[0])
        again.known = lambda uid: uid != "u1"
        await again.tidy()

    assert names == (CDI,)
    assert devices.calls == [("prepare", "a"), ("unprepare", "a")]


async def test_devices_for_extended_resources_reach_the_container_they_were_made_for(tmp_path: Path) -> None:
    asks, other = asking("a", knob="1"), asking("b", knob="1")
    special = with_extended(asks, other, mapped=(("a", "knob", "knob"), ("b", "knob", "another")))
    name = "web-extended-resources-x"
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (devices, registration):
        await until(lambda: registration.told)
        await claim(bed.api, name, special.metadata.uid)
        await bed.claims.prepare(special)
        shown = [bed.claims.names(special, one) for one in special.spec.containers]
        await bed.claims.unprepare(special.metadata.uid)

    assert shown == [(CDI,), ()]
    assert devices.calls == [("prepare", name), ("unprepare", name)]


async def test_what_a_driver_refuses_is_told_and_tried_again(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed:
        await claim(bed.api, "a", "u1")
        begins = "^prepare dynamic resources: "
        with pytest.raises(CannotPrepare, match=f"{begins}DRA driver {NAME} is not registered"):
            await bed.claims.prepare(user("u1", "a"))
        with pytest.raises(
            CannotPrepare, match=f"{begins}failed to fetch ResourceClaim no referenced by pod u1"
        ):
            await bed.claims.prepare(user("u1", "no"))
        async with driver(tmp_path) as (devices, registration):
            await until(lambda: registration.told)
            devices.refuse["prepare"] = "no knob"
            with pytest.raises(
                CannotPrepare, match="NodePrepareResources failed for ResourceClaim a: no knob"
            ):
                await bed.claims.prepare(user("u1", "a"))
            assert [(one["done"], one["pods"]) for one in bed.written()] == [(False, ["u1"])]
            devices.refuse.clear()
            devices.leave_out = True
            with pytest.raises(CannotPrepare, match="NodePrepareResources skipped 1 ResourceClaims"):
                await bed.claims.prepare(user("u1", "a"))
            devices.leave_out = False
            await bed.claims.prepare(user("u1", "a"))
            devices.refuse["unprepare"] = "busy"
            with pytest.raises(
                CannotPrepare, match="unprepare dynamic resources: NodeUnprepareResources failed"
            ):
                await bed.claims.unprepare("u1")
            assert bed.written()
            devices.refuse.clear()
            await bed.claims.unprepare("u1")
            assert bed.written() == []


async def test_a_claim_of_another_life_under_the_same_name_is_not_mistaken(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (_devices, registration):
        await until(lambda: registration.told)
        old = await claim(bed.api, "a", "u1")
        await bed.claims.prepare(user("u1", "a"))
        await bed.api.delete(old)
        await claim(bed.api, "a", "u2")
        with pytest.raises(CannotPrepare, match="old ResourceClaim with same name a and different UID"):
            await bed.claims.prepare(user("u2", "a"))


async def test_a_driver_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    async with bed_at(tmp_path), driver(tmp_path, ("v1alpha3.Node",)) as (_devices, registration):
        await until(lambda: registration.told)
    well, text = registration.told[0]
    assert (well, "is one of v1.DRAPlugin, v1beta1.DRAPlugin" in text) == (False, True)


async def test_slices_go_at_the_start_and_some_time_after_their_driver(tmp_path: Path) -> None:
    async def offer(api: FakeApi, name: str, of: str) -> None:
        spec = ResourceSliceSpec(driver=of, node_name="n1")
        await api.create(ResourceSlice(metadata=ObjectMeta(name=name), spec=spec))

    api = FakeApi(Node, ResourceClaim, ResourceSlice)
    await offer(api, "stale", NAME)
    drivers = Drivers("n1", api, delay=0.3)
    task = asyncio.ensure_future(drivers.run())
    try:
        await until(lambda: ("DELETE", "/apis/resource.k8s.io/v1/resourceslices/stale") in api.requests)
        drivers.add(NAME, "/nosuch", ("v1.DRAPlugin",))
        drivers.add("other", "/nosuch", ("v1.DRAPlugin",))
        await offer(api, "mine", NAME)
        await offer(api, "others", "other")
        drivers.remove(NAME)
        drivers.add(NAME, "/nosuch", ("v1.DRAPlugin",))
        drivers.remove(NAME)
        since = time.monotonic()
        await until(lambda: ("DELETE", "/apis/resource.k8s.io/v1/resourceslices/mine") in api.requests)
        assert time.monotonic() - since >= 0.25
        found, _at = await api.list(ResourceSlice)
    finally:
        task.cancel()
        await asyncio.wait({task})

    assert [one.metadata.name for one in found] == ["others"]


async def test_a_driver_that_takes_long_keeps_only_those_waiting_that_use_the_claim(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (devices, registration):
        await until(lambda: registration.told)
        for name in ("slow", "quick", "last"):
            await claim(bed.api, name, "u1", "u2", "u3")
        devices.slow = frozenset({"slow"})
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(bed.claims.prepare(user("u1", "slow")))
            await until(lambda: bed.written() if (tmp_path / FILE).exists() else [])
            second = tasks.create_task(bed.claims.prepare(user("u2", "slow", "last")))
            await bed.claims.prepare(user("u3", "quick"))
            await bed.claims.unprepare("u3")
            meanwhile = list(devices.calls), first.done(), second.done()
            devices.going_on.set()
        after = {one["name"]: (one["pods"], one["done"]) for one in bed.written()}

    assert meanwhile == ([("prepare", "quick"), ("unprepare", "quick")], False, False)
    assert devices.calls[2:] == [("prepare", "slow"), ("prepare", "last")]
    assert after == {"slow": (["u1", "u2"], True), "last": (["u2"], True)}


async def test_a_driver_tells_of_the_health_of_its_devices(tmp_path: Path) -> None:
    heard: list[str] = []
    async with bed_at(tmp_path) as bed:
        bed.claims.told = heard.append

        def watching() -> Told:
            return bed.drivers.watching.health.of((NAME, "n1", "one"))

        async with driver(tmp_path, tells=True) as (devices, _registration):
            await until(lambda: watching().health == "Healthy")
            await claim(bed.api, "a", "u1")
            await bed.claims.prepare(user("u1", "a"))
            devices.health = (health_pb.UNHEALTHY, "it smokes", 1)
            devices.changed.set()
            await until(lambda: watching().health == "Unhealthy")
            message = watching().message
            await until(lambda: watching().health == "Unknown")
            devices.health = (health_pb.HEALTHY, "", 60)
            devices.changed.set()
            await until(lambda: watching().health == "Healthy")
        await until(lambda: watching().health == "Unknown")

    assert message == "it smokes"
    assert heard == ["u1"] * 4


async def test_a_driver_that_says_nothing_of_health_is_asked_once(tmp_path: Path) -> None:
    async with bed_at(tmp_path) as bed, driver(tmp_path) as (_devices, registration):
        await until(lambda: registration.told)
        (following,) = bed.drivers._following.values()
        async with asyncio.timeout(20):
            await following
