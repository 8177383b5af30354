"""Machines that exist only as their kubelets' words: leases, pods that start, finish and go, and nodes that are lost.

Everything takes a while of virtual time, a little different for each pod. A machine that is ``down`` says nothing more.
"""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.core_v1 import Node, NodeCondition, NodeStatus, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.lease import micro
from kybern.client.verbs import Verbs
from kybern.client.watch import Deleted, Synced, watch
from kybern.machinery.errors import Conflict, NotFound
from tests.simulation.plane.virtual import moment

ZONES = 3
HEARTBEAT = 20.0
LEASES = "kube-node-lease"
RUNS = 8.0  # seconds for which a pod of a job runs at most


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def zone(number: int) -> str:
    return f"z{number % ZONES}"


class Machines:
    """All machines of a cluster; ``run`` in the plane's TaskGroup."""

    def __init__(self, client: Verbs, dice: random.Random) -> None:
        self.client = client
        self.down: set[str] = set()
        self._dice = dice
        self._news: dict[str, asyncio.Event] = {}
        self._addresses = 0
        self._known: dict[str, Pod] = {}

    def usage(self, namespace: str, labels: Mapping[str, str], total: int) -> dict[str, Any]:
        """A load of so many millicores, spread evenly over the ready pods that bear these labels."""
        found = [
            pod
            for pod in self._known.values()
            if pod.metadata.namespace == namespace
            and labels.items() <= pod.metadata.labels.items()
            and pod.metadata.deletion_timestamp is None
            and any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
        ]
        now = stamp(moment())
        each = f"{total // len(found)}m" if found else "0"
        return {
            "items": [
                {
                    "metadata": {"name": pod.metadata.name, "namespace": namespace},
                    "timestamp": now,
                    "window": "10s",
                    "containers": [{"name": "c", "usage": {"cpu": each, "memory": "10Mi"}}],
                }
                for pod in found
            ]
        }

    async def join(self, name: str, number: int, cpu: str = "8", pods: str = "110") -> None:
        """A new node, ready at once."""
        labels = {
            "kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": zone(number),
            "disk": "fast" if number % 4 == 0 else "slow",
        }
        now = moment()
        conditions = tuple(
            NodeCondition(type=kind, status=status, last_heartbeat_time=now, last_transition_time=now)
            for kind, status in (
                ("MemoryPressure", "False"),
                ("DiskPressure", "False"),
                ("PIDPressure", "False"),
                ("Ready", "True"),
            )
        )
        room = {"cpu": cpu, "memory": "32Gi", "pods": pods}
        status = NodeStatus(capacity=room, allocatable=room, conditions=conditions)
        await self.client.create(Node(metadata=ObjectMeta(name=name, labels=labels), status=status))
        spec = LeaseSpec(holder_identity=name, lease_duration_seconds=40, renew_time=micro(now))
        await self.client.create(Lease(metadata=ObjectMeta(name=name, namespace=LEASES), spec=spec))

    async def leave(self, name: str) -> None:
        """Somebody removes the node of a machine that is down for good."""
        await self.client.delete(Node, name)

    async def run(self, names: list[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._beat(name, self._dice.random() * HEARTBEAT))
            async for change in watch(self.client, Pod):
                match change:
                    case Synced(items):
                        for pod in items:
                            self._see(pod, tasks)
                    case Deleted(pod):
                        self._known.pop(pod.metadata.uid, None)
                        if pod.metadata.uid in self._news:
                            self._news[pod.metadata.uid].set()
                    case _:
                        self._see(change.object, tasks)

    async def _beat(self, name: str, first: float) -> None:
        await asyncio.sleep(first)
        while True:
            if name not in self.down:
                try:
                    await self._alive(name)
                except NotFound:
                    return
            await asyncio.sleep(HEARTBEAT)

    async def _alive(self, name: str) -> None:
        """Renew the lease; say that the node is ready if somebody says otherwise."""
        node = await self.client.get(Node, name)
        if any(one.type == "Ready" and one.status != "True" for one in node.status.conditions):
            now = stamp(moment())
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
            pressures = [
                {"type": kind, "status": "False", "lastHeartbeatTime": now, "lastTransitionTime": now}
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
            ]
            body = {"status": {"conditions": [ready, *pressures]}}
            await self.client.patch_raw(Node, "", name, body, "strategic", "status")
        renewed = {"spec": {"renewTime": micro(moment())}}
        await self.client.patch_raw(Lease, LEASES, name, renewed, "merge")

    def _see(self, pod: Pod, tasks: asyncio.TaskGroup) -> None:
        uid = pod.metadata.uid
        self._known[uid] = pod
        if pod.spec.node_name:
            news = self._news.get(uid)
            if news is None:
                news = self._news[uid] = asyncio.Event()
                tasks.create_task(self._live(uid, news))
            news.set()

    async def _live(self, uid: str, news: asyncio.Event) -> None:
        """A pod's life on its node, from the pull of its image to its end."""
        await asyncio.sleep(0.5 + 2 * self._dice.random())
        while (pod := self._known.get(uid)) is not None:
            if pod.spec.node_name in self.down:
                await asyncio.sleep(2.0)
                continue
            news.clear()
            await self._act(pod)
            await news.wait()
            await asyncio.sleep(0.2 + 0.5 * self._dice.random())
        del self._news[uid]

    async def _act(self, pod: Pod) -> None:
        """What the kubelet does next; nothing when the pod is as it should be."""
        running, lasting = pod.status.phase == "Running", pod.spec.restart_policy == "Always"
        try:
            if pod.metadata.deletion_timestamp is not None:
                if running and not lasting:
                    await self._end(pod, "Failed")
                await self.client.delete(pod, grace_seconds=0)
            elif running and not lasting:
                await asyncio.sleep(RUNS * self._dice.random())
                await self._end(pod, "Succeeded")
            elif pod.status.phase in ("", "Pending") or (running and not _ready(pod)):
                await self._start(pod)
        except (NotFound, Conflict):
            # Others were faster: news of what they did is on its way.
            return

    async def _start(self, pod: Pod) -> None:
        self._addresses += 1
        number = self._addresses
        ip = pod.status.pod_ip or f"172.{16 + number // 65536}.{number // 256 % 256}.{number % 256}"
        now = stamp(moment())
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": now,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }
        await self._say(pod, status)

    async def _end(self, pod: Pod, phase: str) -> None:
        now = stamp(moment())
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        state = {"terminated": {"exitCode": 0, "startedAt": now, "finishedAt": now}}
        container = {
            "name": "c",
            "image": "a",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        await self._say(pod, {"phase": phase, "conditions": [unready], "containerStatuses": [container]})

    async def _say(self, pod: Pod, status: Mapping[str, Any]) -> None:
        meta = pod.metadata
        body = {"metadata": {"uid": meta.uid}, "status": status}
        await self.client.patch_raw(Pod, meta.namespace, meta.name, body, "strategic", "status")


def _ready(pod: Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
