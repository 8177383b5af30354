"""Containers on CPUs of their own, and the rest on the rest."""

import os
from typing import Any

import pytest

from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, OneNode, clean, first, one_node, running

pytestmark = [
    pytest.mark.containerd,
    pytest.mark.timeout(180),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU is never given away"),
]

STATIC: dict[str, Any] = {"cpu_policy": "static", "reserved_cpus": "0", "system_reserved": {"cpu": "1"}}
AMOUNTS = {"cpu": "1", "memory": "32Mi"}
WHOLE = {"name": "c", "command": SLEEP, "resources": {"limits": AMOUNTS, "requests": AMOUNTS}}


async def allowed(node: OneNode, name: str) -> str:
    return (await node.execute(name, "grep", "Cpus_allowed_list", "/proc/1/status")).split()[1]


async def test_a_whole_cpu_is_one_containers_own(bed: Bed) -> None:
    last, api = (os.cpu_count() or 1) - 1, Api(*KINDS)
    every = f"0-{last}"
    async with one_node(bed, api, **STATIC) as node:
        await node.add("shares", {"name": "c", "command": SLEEP})
        await node.until("shares", running)
        before = await allowed(node, "shares")
        await node.add("owns", WHOLE)
        await node.until("owns", running)
        own, rest = await allowed(node, "owns"), await allowed(node, "shares")
        greedy = {"cpu": str(last + 1), "memory": "1Mi"}
        await node.add("greedy", WHOLE | {"resources": {"limits": greedy, "requests": greedy}})
        refused = await node.until("greedy", lambda p: p.status.phase == "Failed")

    async with one_node(bed, api, **STATIC) as node:
        await node.until("owns", running)
        kept = await allowed(node, "owns")
        await node.delete("owns")
        await node.gone("owns")
        after = await allowed(node, "shares")
        found = node.pod("shares")

    assert before == after == every
    assert own == kept
    assert own not in ("0", every)
    assert own not in rest.split(",")
    assert refused.status.reason in ("UnexpectedAdmissionError", "OutOfcpu")
    assert found is not None
    assert first(found).restart_count == 0
    await clean(bed)
