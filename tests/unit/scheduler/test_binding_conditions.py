"""Devices that have to be made ready before their pod is bound."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kybern.api.meta_v1 import Condition
from kybern.api.resource_v1 import AllocatedDeviceStatus, ResourceClaim
from kybern.machinery.struct import replace
from kybern.scheduler import settling
from kybern.scheduler.cycle import schedule
from kybern.scheduler.devices.conditions import over, ready, waits
from kybern.scheduler.devices.offers import NAME
from kybern.scheduler.framework import Attempt
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import dynamic_resources
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import attempt, decide
from tests.unit.scheduler.test_devices import claim, device, exactly, slice_of
from tests.unit.scheduler.test_dynamic_resources import table, wants

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def fabric() -> Table:
    """A device that has to be attached, for any node; it is the only one."""
    on = table(claim(exactly()), devices={"n2": 0})
    attached = replace(
        device("d"), binding_conditions=("Attached",), binding_failure_conditions=("Broken", "Lost")
    )
    on.set_object(slice_of(attached, name="fabric", pool="fabric", all_nodes=True))
    return on


class Api:
    def __init__(self) -> None:
        self.version = 10
        self.last: ResourceClaim | None = None

    async def patch(self, _old: ResourceClaim, new: ResourceClaim, _subresource: str = "") -> ResourceClaim:
        self.version += 1
        self.last = replace(new, metadata=replace(new.metadata, resource_version=str(self.version)))
        return self.last


class Bed:
    """One attempt whose binding is under way; ``now`` is what the clock shows."""

    def __init__(self) -> None:
        self.on, self.api, self.now = fabric(), Api(), NOW
        self.events: list[str] = []
        self.tried = self._taken()

    def _taken(self) -> Attempt:
        tried = attempt(wants(), self.on)
        found = schedule(tried, np.random.default_rng(1))
        assert isinstance(found, Placed)
        self.node = found.node
        self.on.place("uid-p", found.node, tried.facts)
        assert settling.reserve(tried, found.node) is None
        return tried

    def handle(self) -> Any:
        recorder = SimpleNamespace(
            emit=lambda _pod, _type, reason, said: self.events.append(f"{reason}: {said}")
        )
        return SimpleNamespace(
            client=self.api, recorder=recorder, binder=SimpleNamespace(clock=lambda: self.now)
        )

    async def binding(self, seconds: float = 600) -> asyncio.Task[str]:
        """Under way, as far as it gets by itself."""
        hook = dynamic_resources.pre_bind(seconds, self.tried, self.node, self.handle())
        task = asyncio.create_task(hook)
        for _ in range(20):
            await asyncio.sleep(0)
        return task

    def says(self, *conditions: Condition) -> ResourceClaim:
        """The driver's word, as the watch brings it."""
        assert self.api.last is not None
        self.api.version += 1
        status = AllocatedDeviceStatus(
            driver="gpu.example.com", pool="fabric", device="d", conditions=conditions
        )
        meta = replace(self.api.last.metadata, resource_version=str(self.api.version))
        found = replace(self.api.last, metadata=meta, status=replace(self.api.last.status, devices=(status,)))
        self.on.set_object(found)
        return found


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)


async def test_a_pod_is_bound_when_all_conditions_are_true() -> None:
    bed = Bed()
    binding = await bed.binding()
    assert bed.events == [
        f"BindingConditionsPending: waiting for binding conditions for device on node {bed.node}"
    ]
    bed.says(condition("Attached", "False"))
    await asyncio.sleep(0)
    assert not binding.done()

    bed.says(condition("Attached"))

    assert await binding == ""
    assert bed.on.listeners == {}


async def test_a_condition_of_failure_ends_the_waiting_and_the_devices_are_given_back() -> None:
    bed = Bed()
    binding = await bed.binding()

    bed.says(condition("Attached"), condition("Lost", reason="Cable", message="unplugged"))

    assert await binding == 'claim c binding failed: reason=Cable, message="unplugged"'
    again = attempt(wants(), bed.on)
    refused = schedule(again, np.random.default_rng(1))
    assert isinstance(refused, Refused)
    assert refused.reasons == "0/2 nodes are available: 2 resourceclaim not available on the node."
    settling.unreserve(bed.tried, bed.node)
    relief = await dynamic_resources.post_filter(again, refused, bed.handle())
    assert relief.said == "deallocation of ResourceClaim completed"
    assert bed.api.last is not None
    assert bed.api.last.status.allocation is None
    bed.on.set_object(bed.api.last)
    assert isinstance(decide(wants(), bed.on), Placed)


async def test_devices_that_take_too_long_are_given_back() -> None:
    bed = Bed()
    binding = await bed.binding(seconds=60)
    bed.now += timedelta(seconds=61)

    bed.says(condition("Attached", "False"))

    assert await binding == "claim c binding timeout"
    again = attempt(wants(), bed.on)
    refused = schedule(again, np.random.default_rng(1))
    assert isinstance(refused, Refused)
    assert refused.reasons == "0/2 nodes are available: 2 resourceclaim not available on the node."
    relief = await dynamic_resources.post_filter(again, refused, bed.handle())
    assert relief.said == "deallocation of ResourceClaim completed"


async def test_the_time_of_a_silent_driver_ends() -> None:
    bed = Bed()

    assert await (await bed.binding(seconds=0.01)) == "claim c binding timeout"


async def test_a_pod_that_is_gone_waits_no_more() -> None:
    bed = Bed()
    binding = await bed.binding()

    bed.on.unplace("uid-p")

    assert await binding == "pod does not exist any more"


def test_another_pod_waits_until_the_claim_is_written() -> None:
    bed = Bed()

    found = decide(wants("q"), bed.on)

    assert isinstance(found, Refused)
    assert found.reasons == (
        "0/2 nodes are available: resource claim default/c is in the process of being allocated."
    )


@pytest.mark.parametrize(
    ("conditions", "is_ready"),
    [
        ((), False),
        ((condition("Attached", "False"),), False),
        ((condition("Other"),), False),
        ((condition("Broken", "False"), condition("Attached")), True),
    ],
)
async def test_a_claim_is_ready_when_its_devices_say_so(
    conditions: tuple[Condition, ...], is_ready: bool
) -> None:
    bed = Bed()
    binding = await bed.binding()

    one = bed.says(*conditions)

    assert ready(one) is is_ready
    assert waits((one,))
    assert not over(one, 600, NOW + timedelta(seconds=600))
    assert over(one, 600, NOW + timedelta(seconds=601))
    binding.cancel()


def test_a_claim_without_conditions_is_ready_at_once() -> None:
    on = table(claim(exactly()))
    tried = attempt(wants(), on)
    assert schedule(tried, np.random.default_rng(1)) == Placed("n2")
    assert settling.reserve(tried, "n2") is None
    (held,) = tried.state[NAME].held

    assert ready(held)
    assert not waits((held,))
    assert not over(held, 0, NOW)
