"""A node that is short of something gives up pods, and takes no more of those that would make it worse."""

import asyncio
import time
from typing import Any

import pytest

from kybern.api.core_v1 import Event, Node, Pod
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, one_node, running
from tests.unit.daemon.test_descent import make_deep

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

SIMPLE = {"name": "c", "command": SLEEP}
QUICK: dict[str, Any] = {"eviction_every": 0.3, "stats_fresh": 0.2, "status_every": 0.3}


def evicted(pod: Pod) -> bool:
    return pod.status.phase == "Failed" and pod.status.reason == "Evicted"


async def condition(node: OneNode, name: str, status: str, seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while True:
        found = node.api.one(Node, "", "n1")
        conditions = {c.type: c for c in found.status.conditions} if found is not None else {}
        if name in conditions and conditions[name].status == status:
            return conditions[name]
        assert time.monotonic() < limit, conditions
        await asyncio.sleep(0.1)


async def test_a_node_short_of_memory_gives_up_pods_but_not_the_systems(bed: Bed) -> None:
    async with one_node(bed) as node:
        await node.add("needed", SIMPLE, priority=2_000_001_000)
        await node.add("spare", SIMPLE)
        await node.until("needed", running)
        await node.until("spare", running)
        api = node.api

    # Always crossed: that much is never left.
    async with one_node(bed, api, eviction_hard={"memory.available": "99.9%"}, **QUICK) as node:
        spare = await node.until("spare", evicted)
        pressure = await condition(node, "MemoryPressure", "True")
        asks = {"requests": {"memory": "1Mi"}}
        await node.add("asks", SIMPLE | {"resources": asks}, priority=2_000_001_000)
        await node.add("refused", SIMPLE)
        refused = await node.until("refused", evicted)
        await node.until("asks", running)
        needed = node.pod("needed")

    assert spare.status.message.startswith("The node was low on resource: memory. Threshold quantity: ")
    assert "Container c was using " in spare.status.message
    assert "request is 0, has larger consumption of memory. " in spare.status.message
    target = next(c for c in spare.status.conditions if c.type == "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "TerminationByKubelet")
    assert spare.status.container_statuses[0].state is not None
    assert spare.status.container_statuses[0].state.terminated is not None
    assert pressure.reason == "KubeletHasInsufficientMemory"
    assert refused.status.message == "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert needed is not None
    assert running(needed)
    reasons = [event.reason for event in api.all(Event)]
    assert "EvictionThresholdMet" in reasons
    assert "NodeHasInsufficientMemory" in reasons
    await clean(bed)


async def test_a_pressure_that_is_over_is_told_until_its_period_is(bed: Bed) -> None:
    lines = {"eviction_hard": {"pid.available": "99.99%"}, **QUICK}
    async with one_node(bed, **lines) as node:
        await condition(node, "PIDPressure", "True")
        api = node.api
    async with one_node(bed, api, **QUICK) as node:
        await condition(node, "PIDPressure", "False")
    await clean(bed)


async def test_a_pod_that_fills_more_than_it_may_is_given_up(bed: Bed) -> None:
    async with one_node(bed, **QUICK) as node:
        fills = ["sh", "-c", f"dd if=/dev/zero of=/v/x bs=1M count=3; {SLEEP[2]}"]
        await node.add(
            "volume",
            {"name": "c", "command": fills, "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
        )
        talks = ["sh", "-c", f"yes 0123456789 | head -c 3000000; {SLEEP[2]}"]
        limits = {"limits": {"ephemeral-storage": "2M"}}
        await node.add("log", {"name": "c", "command": talks, "resources": limits})
        await node.add("fits", {"name": "c", "command": SLEEP, "resources": limits})

        volume = await node.until("volume", evicted, 40)
        log = await node.until("log", evicted, 40)
        fits = node.pod("fits")

        assert volume.status.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
        assert (
            log.status.message
            == "Pod ephemeral local storage usage exceeds the total limit of containers 2M. "
        )
        assert ("Evicted", volume.status.message) in node.events("volume")
        assert fits is not None
        assert running(fits)
    await clean(bed)


async def test_what_lies_deeper_than_any_path_counts_and_goes(bed: Bed) -> None:
    async with one_node(bed, **QUICK) as node:
        mounts = [{"name": "v", "mountPath": "/v"}]
        pod = await node.add(
            "deep",
            {"name": "c", "command": SLEEP, "volumeMounts": mounts},
            volumes=[{"name": "v", "emptyDir": {"sizeLimit": "20Mi"}}],
        )
        await node.until("deep", running)
        home = bed.at / "kubelet/pods" / pod.metadata.uid
        # As much as its directories alone could not take.
        make_deep(home / "volumes/kubernetes.io~empty-dir/v/deep", 2100, 25_000_000)

        deep = await node.until("deep", evicted, 40)
        assert deep.status.message == 'Usage of EmptyDir volume "v" exceeds the limit "20Mi". '
        await node.delete("deep")
        await node.gone("deep")
        assert not home.exists()
    await clean(bed)


async def test_a_critical_pod_pushes_others_off(bed: Bed) -> None:
    async with one_node(bed, system_reserved={"cpu": "1"}, status_every=0.3) as node:
        await condition(node, "Ready", "True")
        found = node.api.one(Node, "", "n1")
        assert found is not None
        whole = {"requests": {"cpu": found.status.allocatable["cpu"]}}
        await node.add("ordinary", SIMPLE | {"resources": whole})
        await node.until("ordinary", running)
        await node.add("critical", SIMPLE | {"resources": whole}, priority=2_000_001_000)
        await node.until("critical", running)
        gone = await node.until("ordinary", lambda p: p.status.phase == "Failed")

    text = "Preempted in order to admit critical pod"
    assert (gone.status.reason, gone.status.message) == ("Preempting", text)
    assert ("Preempting", text) in node.events("ordinary")
    assert any(c.type == "DisruptionTarget" for c in gone.status.conditions)
    await clean(bed)
