"""The health of devices of claims: what drivers tell, how long it counts, and what a container is told of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kybern.api.core_v1 import ContainerStatus, PodResourceClaim, PodStatus, ResourceHealth, ResourceStatus
from kybern.kubelet.dra.claims import CannotPrepare, Device, Prepared
from kybern.kubelet.dra.driver import Driver, SaysNothing
from kybern.kubelet.dra.drivers import Drivers
from kybern.kubelet.dra.health import Health, Told, shortened, statuses
from kybern.kubelet.dra.preparing import Claims
from kybern.kubelet.dra.watching import Watching
from tests.unit.kubelet.making import pod
from tests.unit.kubelet.test_dra import using

ONE, TWO = ("gpus", "n1", "one"), ("gpus", "n1", "two")
WELL, ILL = Told("Healthy", until=30.0), Told("Unhealthy", "it smokes", until=30.0)
DEVICES = (
    Device(("big",), "n1", "one", ("gpus.example/gpu=one",), "gpus"),
    Device(("small/cheap",), "n1", "two", (), "gpus"),
)
CLAIM = Prepared("u1", "default", "shared", ("gpus",), ("uid-1",), DEVICES, done=True)


def test_changes_are_told_once() -> None:
    health = Health()

    assert health.update("gpus", {ONE[1:]: WELL, TWO[1:]: ILL}, 0.0) == {ONE, TWO}
    assert health.update("gpus", {ONE[1:]: WELL, TWO[1:]: ILL}, 1.0) == frozenset()
    assert health.update("gpus", {TWO[1:]: Told("Unhealthy", "it burns", until=30.0)}, 2.0) == {TWO}
    assert (health.of(ONE).health, health.of(TWO).message) == ("Healthy", "it burns")
    assert health.update("others", {("n1", "one"): WELL}, 3.0) == {("others", "n1", "one")}


def test_what_is_not_told_again_in_time_is_unknown() -> None:
    health = Health()
    health.update("gpus", {ONE[1:]: WELL, TWO[1:]: Told("Healthy", until=5.0)}, 0.0)

    assert health.next_expiry == 5.0
    assert health.expire(4.9) == frozenset()
    assert health.expire(5.0) == {TWO}
    assert health.of(TWO).health == "Unknown"
    assert health.update("gpus", {}, 30.0) == {ONE}
    assert health.next_expiry is None


def test_nothing_is_known_of_a_driver_that_is_gone() -> None:
    health = Health()
    health.update("gpus", {ONE[1:]: WELL, TWO[1:]: Told("Unknown", until=30.0)}, 0.0)
    health.update("others", {ONE[1:]: WELL}, 0.0)

    assert health.forget("gpus") == {ONE}
    assert health.of(("others", "n1", "one")) == WELL


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["gpu"], {"claim:gpu": [("gpus.example/gpu=one", "Healthy", ""), ("gpus/n1/two", "Unhealthy", "it smokes")]}),
        (["gpu/big"], {"claim:gpu/big": [("gpus.example/gpu=one", "Healthy", "")]}),
        (["gpu/small"], {"claim:gpu/small": [("gpus/n1/two", "Unhealthy", "it smokes")]}),
        (["gpu/none", "other"], {}),
        ([], {}),
    ],
)  # fmt: skip
def test_a_container_is_told_of_the_devices_that_it_sees(
    named: list[str], expected: dict[str, list[tuple[str, str, str]]]
) -> None:
    health = Health()
    health.update("gpus", {ONE[1:]: WELL, TWO[1:]: ILL}, 0.0)

    told = statuses(using("c", *named), {"gpu": CLAIM}, health)

    assert {
        one.name: [(d.resource_id, d.health, d.message) for d in one.resources] for one in told
    } == expected


def test_a_message_is_no_longer_than_a_status_may_hold() -> None:
    assert shortened("x" * 1024) == "x" * 1024
    assert shortened("x" * 1025) == "x" * 1021 + "..."


def test_a_pods_status_tells_and_keeps_what_was_told_last(tmp_path: Path) -> None:
    claims = Claims(tmp_path, None, Drivers("n1", None))
    mine = pod(
        using("c", "gpu"), resource_claims=(PodResourceClaim(name="gpu", resource_claim_name="shared"),)
    )
    fresh = PodStatus(container_statuses=(ContainerStatus(name="c"), ContainerStatus(name="d")))
    plugged = ResourceStatus(name="example.com/knob", resources=(ResourceHealth(resource_id="a"),))
    beside = PodStatus(container_statuses=(ContainerStatus(name="c", allocated_resources_status=(plugged,)),))
    assert claims.health(mine, fresh, PodStatus()) == fresh

    claims._prepared["u1"] = CLAIM
    told = claims.health(mine, beside, PodStatus())
    first, second = told.container_statuses[0].allocated_resources_status
    assert (first, second.name) == (plugged, "claim:gpu")
    assert [one.health for one in second.resources] == ["Unknown", "Unknown"]

    del claims._prepared["u1"]
    assert claims.health(mine, fresh, told).container_statuses[0].allocated_resources_status == (second,)


def test_the_pods_of_a_claim_hear_of_its_devices(tmp_path: Path) -> None:
    drivers = Drivers("n1", None)
    claims = Claims(tmp_path, None, drivers)
    claims._prepared["u1"] = CLAIM
    heard: list[str] = []
    claims.told = heard.append

    drivers.watching.changed(frozenset({("gpus", "n2", "one"), ("others", "n1", "one")}))
    assert heard == []
    drivers.watching.changed(frozenset({TWO}))
    assert heard == ["uid-1"]


class Scripted(Driver):
    """Tells once, then its stream breaks; after that it says that it says nothing."""

    tries = 0

    async def health(self) -> AsyncIterator[dict[tuple[str, str], Told]]:
        Scripted.tries += 1
        if Scripted.tries > 1:
            raise SaysNothing
        yield {ONE[1:]: Told("Healthy", until=float("inf"))}
        raise CannotPrepare("gone")


async def test_a_stream_that_breaks_is_tried_again_until_the_driver_says_nothing() -> None:
    watching = Watching(again=0.0)
    heard: list[frozenset[tuple[str, str, str]]] = []
    watching.changed = heard.append

    async with asyncio.timeout(30):
        await watching.follow(Scripted("gpus", "", "v1"))

    assert heard == [frozenset({ONE}), frozenset({ONE})]
    assert watching.health.of(ONE).health == "Unknown"


async def test_what_expires_is_told_when_it_does() -> None:
    watching = Watching()
    heard = asyncio.Event()
    watching.changed = lambda _devices: heard.set()
    task = asyncio.create_task(watching.run())
    try:
        loop = asyncio.get_running_loop()
        watching.health.update("gpus", {ONE[1:]: Told("Healthy", until=loop.time() + 0.05)}, loop.time())
        watching._look.set()
        async with asyncio.timeout(30):
            await heard.wait()
    finally:
        task.cancel()
        await asyncio.wait([task])

    assert watching.health.next_expiry is None
