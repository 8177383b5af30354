"""Containers on the memory of NUMA nodes, across restarts of the kubelet."""

from typing import Any

import msgspec
import pytest

from kybern.kubelet import machine
from kybern.kubelet.memory.reservation import Reservation
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, clean, one_node, running

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

AMOUNTS = {"cpu": "100m", "memory": "32Mi"}
OWN = {"name": "c", "command": SLEEP, "resources": {"limits": AMOUNTS, "requests": AMOUNTS}}


async def test_a_guaranteed_container_has_its_memory_for_certain(bed: Bed) -> None:
    kept = (Reservation(min(machine.numa_memory() or (0,)), {"memory": "64Mi"}),)
    more: dict[str, Any] = {
        "memory_policy": "Static",
        "reserved_memory": kept,
        "system_reserved": {"memory": "64Mi"},
    }
    api = Api(*KINDS)

    async with one_node(bed, api, **more) as node:
        file = node.kubelet.here.volumes.root / "memory_manager_state"
        await node.add("owns", OWN)
        await node.add("shares", {"name": "c", "command": SLEEP})
        await node.until("owns", running)
        await node.until("shares", running)
        words = (await node.execute("owns", "grep", "Mems_allowed_list", "/proc/1/status")).split()
        written = msgspec.json.decode(file.read_bytes())

    async with one_node(bed, api, **more) as node:
        await node.until("owns", running)
        again = msgspec.json.decode(file.read_bytes())
        await node.delete("owns")
        await node.gone("owns")
        after = msgspec.json.decode(file.read_bytes())
        await node.delete("shares")
        await node.gone("shares")
    file.unlink()
    await clean(bed)

    (blocks,) = (found["c"] for found in written["entries"].values())
    assert [(one["type"], one["size"]) for one in blocks] == [("memory", 32 << 20)]
    assert words[1] == ",".join(str(node) for node in blocks[0]["numaAffinity"])
    assert again == written
    assert "entries" not in after
    assert all(cell["numberOfAssignments"] == 0 for cell in after["machineState"].values())
