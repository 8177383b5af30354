"""Every controller survives a kill between any two of its actions: the next one comes to the same result."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from kybern.api.core_v1 import Event, Namespace, Node
from kybern.controllers import CONTROLLERS
from kybern.machinery.errors import Cause, Details, Forbidden
from tests.simulation.api import FakeApi, Raw
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import Mortal, alive
from tests.simulation.occasions import SETTINGS, make_ready
from tests.simulation.test_rest import create_some

LIVES = 12


async def brought_about(deaths: list[int], *, then_delete: bool = False) -> Counter[str]:
    """What is there at the end, when controller managers died after so many writes each, and the last one did not."""
    made = [make(SETTINGS) for make in CONTROLLERS]
    api = FakeApi(*kinds_of(made))
    await create_some(api)
    await make_ready(api)
    async with alive(api, ()) as nothing:
        cluster = Simulation(api, nothing)
    kubelets = asyncio.create_task(cluster.kubelets())
    try:
        if then_delete:
            async with alive(api, made) as cluster.loop:
                await cluster.rest()
            namespace = api.one(Namespace, "", "a")
            assert namespace is not None
            await api.delete(namespace)
            api.refuse = _nothing_new
        for writes in deaths:
            client = Mortal(api, writes)
            async with alive(client, made) as cluster.loop:
                await _death_or_rest(cluster, client)
        async with alive(api, made) as cluster.loop:
            await cluster.rest()
    finally:
        kubelets.cancel()
    ranges = [node.spec.pod_cidr for node in api.all(Node)]
    assert all(ranges)
    assert len(set(ranges)) == len(ranges)
    assert api.stale == set()
    return shape(api)


def _nothing_new(method: str, path: str) -> None:
    """What admission says of a namespace that is being deleted."""
    if method == "POST" and "/namespaces/a/" in path:
        cause = Cause("metadata.namespace", "NamespaceTerminating", "namespace a is being terminated")
        raise Forbidden("it is being terminated", Details(causes=(cause,)))


async def _death_or_rest(cluster: Simulation, client: Mortal) -> None:
    death, rest = asyncio.create_task(client.died.wait()), asyncio.create_task(cluster.rest())
    _, late = await asyncio.wait([death, rest], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    for one in late:
        one.cancel()
    await asyncio.gather(death, rest, return_exceptions=True)


def shape(api: FakeApi) -> Counter[str]:
    """What must be the same whoever did it: how many of each sort there are, and what their statuses say."""
    return Counter(_shape(item) for item in api.objects.values() if item["kind"] != Event.kind)


def _shape(item: Raw) -> str:
    metadata, status = item["metadata"], item.get("status") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if "uid" not in key}
    owners = sorted(owner["kind"] for owner in metadata.get("ownerReferences") or ())
    numbers = {key: value for key, value in status.items() if isinstance(value, int)}
    conditions = sorted(
        (one["type"], one["status"], one.get("reason")) for one in status.get("conditions") or ()
    )
    held = sorted(metadata.get("finalizers") or ())
    parts: list[Any] = [
        item["kind"], metadata.get("namespace"), sorted(labels.items()), owners, held,
        sorted(numbers.items()), conditions, status.get("phase"), _taints(item),
    ]  # fmt: skip
    return repr(parts)


def _taints(item: Raw) -> list[tuple[str, str]]:
    return sorted((one["key"], one["effect"]) for one in (item.get("spec") or {}).get("taints") or ())


@pytest.fixture(scope="module")
def undisturbed() -> Counter[str]:
    return asyncio.run(brought_about([]))


@pytest.mark.parametrize("seed", range(6))
async def test_a_kill_between_any_two_actions_changes_nothing(undisturbed: Counter[str], seed: int) -> None:
    chance = random.Random(seed)  # no secret
    deaths = [chance.randrange(12) for _ in range(LIVES)]

    found = await brought_about(deaths)

    assert found - undisturbed == Counter()
    assert undisturbed - found == Counter()


@pytest.mark.parametrize("seed", range(3))
async def test_a_namespace_goes_whoever_dies_over_it(seed: int) -> None:
    chance = random.Random(seed)  # no secret
    deaths = [chance.randrange(8) for _ in range(LIVES)]

    found = await brought_about(deaths, then_delete=True)

    assert [one for one in found if "'a'" in one] == []
    # The node lets go of the volumes of its pods.
    assert [one for one in found if "VolumeAttachment" in one] == []
