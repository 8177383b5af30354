"""Pods are given other resources while they run: the kernel's numbers, the status and the events."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Node, Pod
from tests.protocol.containerd_bed import SLEEP, OneNode, first, running

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


def resources(cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def sized(name: str, cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": SLEEP, "resources": resources(cpu, memory), **more}


async def resize(node: OneNode, name: str, **wanted: tuple[str, str]) -> Pod:
    found = node.pod(name)
    assert found is not None
    usual = {"image": "busybox:1.36", "command": SLEEP, "terminationMessagePath": "/dev/termination-log"}
    containers = [
        {
            **usual, "name": c.name, "resources": resources(*wanted[c.name]),
            "resizePolicy": [{"resourceName": p.resource_name, "restartPolicy": p.restart_policy} for p in c.resize_policy],
        }
        for c in found.spec.containers
    ]  # fmt: skip
    return await node.change(name, {"spec": {"containers": containers}})


def resized(generation: int | None) -> Any:
    def check(pod: Pod) -> bool:
        busy = any(condition.type.startswith("PodResize") for condition in pod.status.conditions)
        shown = all(
            status.resources == container.resources
            for status, container in zip(pod.status.container_statuses, pod.spec.containers, strict=True)
        )
        return not busy and shown and running(pod) and pod.status.observed_generation == generation

    return check


def of_kernel(node: OneNode, pod: Pod, index: int | None) -> tuple[int, int, int]:
    """Shares, quota and memory limit of a container's cgroup, or of the pod's."""
    own = "" if index is None else pod.status.container_statuses[index].container_id.partition("://")[2]
    below = f"{node.bed.cgroup.lstrip('/')}/kubepods/pod{pod.metadata.uid}/{own}"
    root = Path("/sys/fs/cgroup")
    cpu, memory = root / "cpu" / below, root / "memory" / below
    return (
        int((cpu / "cpu.shares").read_text()),
        int((cpu / "cpu.cfs_quota_us").read_text()),
        int((memory / "memory.limit_in_bytes").read_text()),
    )


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/cpu").exists(), reason="the numbers are read as of cgroup version 1"
)
async def test_containers_are_resized_in_place(node: OneNode) -> None:
    await node.add("grow", sized("one", "100m", "64Mi"), sized("two", "200m", "128Mi"))
    before = await node.until("grow", running)

    asked = await resize(node, "grow", one=("300m", "200Mi"), two=("100m", "64Mi"))
    after = await node.until("grow", resized(asked.metadata.generation))

    mebi = 1024 * 1024
    assert of_kernel(node, after, 0) == (307, 30000, 200 * mebi)
    assert of_kernel(node, after, 1) == (102, 10000, 64 * mebi)
    assert of_kernel(node, after, None) == (409, 40000, 264 * mebi)
    assert [s.container_id for s in after.status.container_statuses] == [
        s.container_id for s in before.status.container_statuses
    ]
    assert first(after).allocated_resources == {"cpu": "300m", "memory": "200Mi"}
    assert [reason for reason, _ in node.events("grow")][-2:] == ["ResizeStarted", "ResizeCompleted"]


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/cpu").exists(), reason="the numbers are read as of cgroup version 1"
)
async def test_a_pod_is_resized_as_a_whole(node: OneNode) -> None:
    await node.add(
        "whole",
        {"name": "free", "command": SLEEP},
        sized("own", "100m", "64Mi"),
        resources=resources("400m", "128Mi"),
    )
    before = await node.until("whole", running)

    asked = await node.change("whole", {"spec": {"resources": resources("600m", "256Mi")}})
    after = await node.until(
        "whole",
        lambda p: (
            p.status.observed_generation == asked.metadata.generation
            and p.status.resources == asked.spec.resources
            and not any(condition.type.startswith("PodResize") for condition in p.status.conditions)
        ),
    )

    mebi = 1024 * 1024
    assert before.status.resources == before.spec.resources
    assert before.status.allocated_resources == {"cpu": "400m", "memory": "128Mi"}
    assert after.status.allocated_resources == {"cpu": "600m", "memory": "256Mi"}
    # A container without a limit has that of the pod.
    assert of_kernel(node, after, 0)[1:] == (60000, 256 * mebi)
    assert of_kernel(node, after, 1) == (102, 10000, 64 * mebi)
    assert of_kernel(node, after, None) == (614, 60000, 256 * mebi)
    assert [s.container_id for s in after.status.container_statuses] == [
        s.container_id for s in before.status.container_statuses
    ]
    assert [reason for reason, _ in node.events("whole")][-2:] == ["ResizeStarted", "ResizeCompleted"]


async def test_a_container_is_run_anew_where_its_policy_says_so(node: OneNode) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    await node.add("anew", sized("one", "100m", "64Mi", resizePolicy=policy), restartPolicy="OnFailure")
    await node.until("anew", running)

    asked = await resize(node, "anew", one=("100m", "96Mi"))
    after = await node.until("anew", resized(asked.metadata.generation))

    assert first(after).restart_count == 1
    assert ("Killing", "Container one resize requires restart") in node.events("anew")


async def test_memory_is_not_limited_below_what_is_used(node: OneNode) -> None:
    hold = ["sh", "-c", "dd if=/dev/zero of=/dev/shm/held bs=1M count=40; while true; do sleep 0.1; done"]
    await node.add("full", sized("one", "100m", "128Mi") | {"command": hold})
    await node.until("full", running)
    while "40.0M" not in await node.execute("full", "ls", "-lh", "/dev/shm"):
        await asyncio.sleep(0.1)

    await resize(node, "full", one=("100m", "16Mi"))
    pod = await node.until("full", lambda p: any(c.reason == "Error" for c in p.status.conditions))

    assert first(pod).resources.limits["memory"] == "128Mi"
    condition = next(c for c in pod.status.conditions if c.type == "PodResizeInProgress")
    assert condition.message.startswith(
        "attempting to set container one memory limit (16777216) below current usage"
    )
    assert running(pod)


async def test_a_resize_waits_for_room_and_is_refused_where_there_will_never_be_any(node: OneNode) -> None:
    await node.add("big", sized("one", "1", "64Mi"))
    await node.add("other", sized("one", "100m", "64Mi"))
    await node.until("big", running)
    await node.until("other", running)
    machine = node.api.one(Node, "", "n1")
    assert machine is not None
    cpus = int(machine.status.allocatable["cpu"])

    await resize(node, "other", one=(str(cpus + 1), "64Mi"))
    refused = await node.until("other", lambda p: any(c.reason == "Infeasible" for c in p.status.conditions))
    await resize(node, "other", one=(str(cpus), "64Mi"))
    await node.until("other", lambda p: any(c.reason == "Deferred" for c in p.status.conditions))
    await node.delete("big")
    asked = node.pod("other")
    assert asked is not None
    after = await node.until("other", resized(asked.metadata.generation))

    assert first(refused).resources.requests["cpu"] == "100m"
    assert first(after).resources.requests["cpu"] == str(cpus)
    reasons = [reason for reason, _ in node.events("other")]
    assert reasons[-4:] == ["ResizeInfeasible", "ResizeDeferred", "ResizeStarted", "ResizeCompleted"]
