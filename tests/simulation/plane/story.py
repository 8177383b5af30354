"""What happens to a cluster in a simulation, from the first object to rest: users, losses, kills; all by a seed.

0 s    everything is sent, while daemons are killed and their requests fail
20     some workloads get another size or template; a node stops answering, another one for good
60     a namespace is deleted; a third node is emptied by evictions that respect budgets
100    troubles end
250    the first node is back
480    pods of the node that stays away have been given up (300 s after its taint); its node is deleted
rest   nobody writes any more
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from kybern.client.verbs import PATCHES
from kybern.machinery.errors import Forbidden, NotFound, TooManyRequests
from tests.simulation.fights import Fights
from tests.simulation.plane.checker import wrong
from tests.simulation.plane.mix import mix
from tests.simulation.plane.plane import Plane, running
from tests.simulation.plane.world import Outside, World

MERGE = PATCHES["merge"]


@dataclass(frozen=True, slots=True)
class Told:
    """How it ended: ``problems`` and ``fights`` are sentences, ``seconds`` virtual; ``troubles`` counts them by sort.

    ``trace`` has a line for each write.
    """

    problems: list[str]
    fights: list[str]
    pods: int
    writes: int
    seconds: float
    troubles: dict[str, int]
    writers: set[str]
    trace: list[str]


async def told(nodes: int, pods: int, seed: int) -> Told:
    """Run the story on so many nodes and about so many pods."""
    dice, fights = random.Random(seed), Fights()
    wanted = mix(nodes, pods, dice)
    async with running(wanted, nodes, dice, fights) as plane:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_until(plane, 100.0, _kills(plane)))
            for happening in (_users, _losses, _namespace, _drain):
                tasks.create_task(happening(plane))
        await plane.rest()
        world = World(plane.objects())
        return Told(
            wrong(world, Outside(wanted.loads, wanted.due)),
            fights.found,
            len(world.of("Pod")),
            plane.server.store.writes,
            asyncio.get_running_loop().time(),
            {**plane.weather.seen, "kill": plane.kills},
            plane.server.store.writers,
            plane.server.store.trace,
        )


async def _until(plane: Plane, seconds: float, work: Any) -> None:
    """Trouble for so long."""
    task = asyncio.create_task(work)
    await asyncio.sleep(seconds)
    plane.weather.over = True
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def _kills(plane: Plane) -> None:
    while True:
        await asyncio.sleep(3 + 20 * plane.dice.random())
        # Not in the midst of the restart, or it would never come to anything.
        await asyncio.shield(plane.kill(plane.dice.choice(["manager", "scheduler"])))


async def _users(plane: Plane) -> None:
    for path, raw in plane.mix.objects:
        await plane.send(path, raw)
    await asyncio.sleep(max(0.0, 20 - asyncio.get_running_loop().time()))
    for path, raw in plane.mix.objects:
        plural, name = path.rpartition("/")[2], raw["metadata"]["name"]
        if plural not in ("deployments", "statefulsets") or name.startswith("scaled"):
            continue
        change = plane.dice.randrange(4)
        spec: dict[str, Any] = {}
        if change == 0:
            spec = {"replicas": max(0, raw["spec"]["replicas"] + plane.dice.randint(-5, 3))}
        elif change == 1:
            changed = {**raw["spec"]["template"]["spec"]["containers"][0], "image": "b"}
            spec = {"template": {"spec": {"containers": [changed]}}}
        if spec:
            await plane.send(f"{path}/{name}", {"spec": spec}, "PATCH", content_type=MERGE)


async def _losses(plane: Plane) -> None:
    back, gone = plane.names[0], plane.names[1]
    await asyncio.sleep(20)
    plane.machines.down |= {back, gone}
    await asyncio.sleep(230)
    plane.machines.down.discard(back)
    await asyncio.sleep(230)
    await plane.machines.leave(gone)


async def _namespace(plane: Plane) -> None:
    await asyncio.sleep(60)
    await plane.user.request("DELETE", f"/api/v1/namespaces/{plane.mix.namespaces[-1]}")


async def _drain(plane: Plane) -> None:
    """What ``kubectl drain`` does: nobody new, then evictions for as long as it takes."""
    node = f"/api/v1/nodes/{plane.names[2]}"
    await asyncio.sleep(60)
    await plane.send(node, {"spec": {"unschedulable": True}}, "PATCH", content_type=MERGE)
    for _ in range(120):
        left = [
            pod["metadata"]
            for pod in plane.objects().get("Pod", ())
            if pod["spec"].get("nodeName") == plane.names[2]
            and pod["metadata"]["ownerReferences"][0]["kind"] != "DaemonSet"
            and (pod.get("status") or {}).get("phase") in ("Pending", "Running")
        ]
        if not left:
            break
        for meta in left:
            await _evict(plane, meta["namespace"], meta["name"])
        await asyncio.sleep(5)
    else:
        raise AssertionError(
            f"node {plane.names[2]} could not be emptied: {[one['name'] for one in left]} stay"
        )
    await plane.send(node, {"spec": {"unschedulable": None}}, "PATCH", content_type=MERGE)


async def _evict(plane: Plane, namespace: str, name: str) -> None:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    try:
        await plane.user.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)
    except (Forbidden, NotFound, TooManyRequests):
        # Forbidden is what the server says in a namespace that is being deleted; kubectl asks again, too.
        return
